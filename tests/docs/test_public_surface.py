"""What `import power_loop` gives, and what it does not do."""

import json
import os
import subprocess
import sys
from importlib.resources import files

import pytest

import power_loop
from power_loop.facts.events import __all__ as event_names

STABLE = """
AgentEventBus AgentHooks AgentLoopConfig AgentLoopResult CancellationRequested CancellationToken HookDirective HookPoint
LLMRetryExhausted LLMRetryPolicy LLMTimeout PowerLoopError SessionNotFoundError SessionPendingError SessionStore
SpecValidationError StatefulAgentLoop StatefulResult SubagentLifecycle ToolDefinition ToolNotFound ToolRegistry
ToolValidationError
"""
PROVISIONAL = """
AgentMessage AgentStream AsyncToolInSyncContext Attachment BUILTIN_SECTIONS BaseHookCtx BlobNotFound BrokenContent
Budget CancellationLike CompactAfterCtx CompactBeforeCtx CompactionFailed CompactionPlan CompactionRequest Compactor
ConfigError ContentError ContentNotAllowed ContentTooLarge ContentUnavailable DEFAULT_AGENT_SYSTEM_PROMPT
DEFAULT_DB_PATH DEFAULT_EXPLORE_SUBAGENT_SYSTEM_PROMPT DEFAULT_SUBAGENT_SYSTEM_PROMPT DefaultCompactor
DefinitionChangedError Document Entry EventHandler HookError HookHandler Image InvalidInputError InvalidRequestError
JournalTooNew LLMAuthError LLMBadRequest LLMConnectionError LLMContextTooLong LLMDelta LLMError LLMMalformed
LLMOverloaded LLMProviderConfig LLMRateLimited LLMRefused LLMRequest LLMResponse LLMService LLMStalled LLMTokenUsage
LLMTruncated LLMUnavailable LeaseLost LlmAfterCtx LlmBeforeCtx MemoryProvider MemoryRecalledCtx MemorySnapshot
MemoryStore MessageAppendCtx MessageRole MessageSink MissingExtraError ModelInfo NoProgress NullSink Prices
ProcessResult PruneReport Reasoning ReasoningDelta RegisteredTool ReplyCall RoundDecideCtx RoundEndCtx RoundStartCtx
RoundUsage STABLE_API SearchHit SessionBusy SessionEndCtx SessionError SessionExistsError SessionInfo SessionStartCtx
SessionStats SqliteStore StoreBusy StoreClosed StoreCorrupt StoreError StoreForked StoreFull StoreIOError
StoreReadOnly StoreStats StoreUnavailable StructuredOutputError StructuredOutputSpec SyncInsideRun SystemPromptBuilder
SystemPromptContext Text TextDelta ToolAfterCtx ToolBeforeCtx ToolCall ToolCallDelta ToolContext ToolError
ToolErrorCtx ToolHandler ToolHandlerResult ToolTimeout ToolsBatchAfterCtx ToolsBatchBeforeCtx UnsupportedContent
UsageReport __version__ build_agent_system_prompt build_explore_subagent_system_prompt build_registry
build_subagent_system_prompt create_llm_service_from_config create_llm_service_from_env current_session_id document
estimate_message_tokens estimate_text_tokens estimate_tokens filtered_registry image parse_structured tag_as_memory
tool trim_history validate_tool_args with_retry
"""
EVENT_NAMES = """
AgentErrorPayload AgentEvent AgentEventType AutoCompactStatusPayload BaseEventPayload BudgetStatusPayload
HitRoundLimitStatusPayload
InputReceivedPayload LlmDegradedPayload LlmRetryAttemptedPayload LoopCancelledPayload MemoryFailedPayload
MemoryRecalledPayload RoundCompletedPayload RoundStartedPayload RoundToolsPresentPayload RoundUsageStatusPayload
SessionEndedPayload SessionOpenedPayload SessionStartedPayload StatusChangedPayload StreamCompletedPayload
StreamDeltaPayload StreamStartedPayload StreamToolDeltaPayload SubagentCompletedPayload SubagentLimitPayload
SubagentTaskStartPayload SubagentTextPayload SystemLogPayload TodoUpdatedPayload ToolCallCompletedPayload
ToolCallFailedPayload ToolCallStartedPayload ToolProgressPayload UsageUpdatedPayload UserNotificationPayload
"""
HEAVY = {"openai", "pydantic", "jsonschema_rs", "xllamacpp", "pypdf", "rich", "httpx", "apsw", "pytest"}

PROBE = """
import json, os, sys
opened, spoken_to = [], []
def hook(event, args):
    if event == "open" and isinstance(args[0], str):
        opened.append((args[0], args[1] or "", args[2] or 0))
    elif event.startswith(("socket.", "subprocess.", "os.system", "os.fork", "os.mkdir", "os.remove", "sqlite3.")):
        spoken_to.append(event)
sys.addaudithook(hook)
import power_loop
loaded, opened = sorted(sys.modules), list(opened)
print(json.dumps({"loaded": loaded, "opened": opened, "events": spoken_to, "threads": len(os.listdir("/proc/self/task"))
    if os.path.isdir("/proc/self/task") else 1}))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """What an import did, told by the interpreter's audit hook."""
    folder = tmp_path_factory.mktemp("import")
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder / "nowhere")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout) | {"left": list(folder.iterdir())}


def test_the_names_are_these():
    assert sorted(power_loop.__all__) == sorted([*STABLE.split(), *PROVISIONAL.split(), *EVENT_NAMES.split()])
    assert sorted(event_names) == sorted(EVENT_NAMES.split())


def test_the_stable_names_are_these():
    assert sorted(power_loop.STABLE_API) == sorted(STABLE.split())


def test_every_name_is_there():
    assert [name for name in power_loop.__all__ if not hasattr(power_loop, name)] == []


def test_importing_loads_nothing_heavy(imported):
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in imported["loaded"])


def test_importing_writes_and_starts_nothing(imported):
    writes = [path for path, mode, flags in imported["opened"] if set(mode) & set("wax+") or flags & os.O_ACCMODE]
    assert (writes, imported["events"], imported["left"], imported["threads"]) == ([], [], [], 1)


def test_importing_reads_only_installed_files(imported):
    home = files("power_loop").joinpath("..").resolve()
    installed = (sys.prefix, sys.base_prefix, str(home), "/usr/lib", "/usr/local/lib", "/proc/", "/etc/localtime")
    assert [path for path, _, _ in imported["opened"] if not os.path.realpath(path).startswith(installed)] == []


def test_it_says_that_it_is_typed():
    assert files("power_loop").joinpath("py.typed").is_file()
