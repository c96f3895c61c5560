"""Where the work of each file of the reference lives in ours: names that must be there, and their tests."""

from importlib import import_module

import pytest
from pages import ROOT

import power_loop

TOP = "power_loop"
ROWS = {
    "llm_client/interface": (
        TOP,
        "LLMService LLMRequest LLMResponse LLMTokenUsage LLMDelta TextDelta ReasoningDelta ToolCallDelta ReplyCall",
        "tests/llms/openai/test_openai_chat_replies.py",
    ),
    "llm_client/llm_factory": (
        "power_loop.llms.openai_chat",
        "OpenAIChatLLM",
        "tests/llms/openai/test_openai_chat_faults.py",
    ),
    "llm_client/llm_tooling": (TOP, "tool ToolContext validate_tool_args", "tests/tools/test_decorator.py"),
    "power_loop/__init__": (TOP, "__version__ STABLE_API", "tests/docs/test_public_surface.py"),
    "agent/stateful_loop, agent/types": (
        TOP,
        "StatefulAgentLoop StatefulResult AgentLoopConfig AgentLoopResult DEFAULT_DB_PATH",
        "tests/face/test_verbs.py",
    ),
    "agent/sink": (
        TOP,
        "SessionStore MemoryStore SqliteStore MessageSink NullSink",
        "tests/face/test_events.py",
    ),
    "contracts/errors": (
        TOP,
        (
            "PowerLoopError SessionPendingError SessionNotFoundError ToolNotFound ToolValidationError "
            "SpecValidationError LLMTimeout LLMRetryExhausted CancellationRequested AsyncToolInSyncContext"
        ),
        "tests/face/test_verbs.py",
    ),
    "contracts/events, contracts/payloads": (
        TOP,
        (
            "AgentEvent AgentEventType BaseEventPayload SessionStartedPayload SessionEndedPayload RoundStartedPayload "
            "RoundCompletedPayload RoundToolsPresentPayload LlmRetryAttemptedPayload LlmDegradedPayload "
            "LoopCancelledPayload MemoryRecalledPayload MemoryFailedPayload StreamStartedPayload "
            "StreamCompletedPayload StreamDeltaPayload ToolCallStartedPayload ToolCallCompletedPayload "
            "ToolCallFailedPayload StatusChangedPayload AutoCompactStatusPayload RoundUsageStatusPayload "
            "HitRoundLimitStatusPayload UsageUpdatedPayload TodoUpdatedPayload UserNotificationPayload "
            "AgentErrorPayload SystemLogPayload SubagentTaskStartPayload SubagentTextPayload "
            "SubagentCompletedPayload SubagentLimitPayload"
        ),
        "tests/face/test_events.py",
    ),
    "contracts/hooks, contracts/contexts": (
        TOP,
        (
            "HookPoint HookDirective HookHandler BaseHookCtx SessionStartCtx SessionEndCtx RoundStartCtx RoundEndCtx "
            "LlmBeforeCtx LlmAfterCtx RoundDecideCtx ToolsBatchBeforeCtx ToolsBatchAfterCtx ToolBeforeCtx ToolAfterCtx "
            "ToolErrorCtx CompactBeforeCtx CompactAfterCtx MessageAppendCtx MemoryRecalledCtx"
        ),
        "tests/face/test_hooks.py",
    ),
    "contracts/messages": (TOP, "AgentMessage MessageRole ToolCall", "tests/decisions/test_state.py"),
    "contracts/handlers, contracts/protocols, contracts/tools": (
        TOP,
        "EventHandler ToolHandler ToolHandlerResult ToolDefinition CancellationLike",
        "tests/tools/test_registry.py",
    ),
    "core/pipeline, core/runner, core/phase": ("power_loop.engine.loop", "drive", "tests/face/test_hooks.py"),
    "core/agent_context": (TOP, "ToolContext current_session_id", "tests/engine/test_tools_in_runs.py"),
    "core/events, core/hooks": (TOP, "AgentEventBus AgentHooks", "tests/face/test_hooks.py"),
    "runtime/session_store": (TOP, "SessionStore SubagentLifecycle SessionInfo", "tests/stores/test_conformance.py"),
    "runtime/provider": (
        TOP,
        "LLMProviderConfig create_llm_service_from_config create_llm_service_from_env",
        "tests/llms/openai/test_provider_config.py",
    ),
    "runtime/retry": (TOP, "LLMRetryPolicy with_retry", "tests/engine/test_retry.py"),
    "runtime/cancellation": (TOP, "CancellationToken CancellationLike", "tests/crash/test_cancel_everywhere.py"),
    "runtime/memory": (TOP, "MemoryProvider MemorySnapshot tag_as_memory", "tests/notes/test_recall.py"),
    "agent/system_prompt": (
        TOP,
        (
            "SystemPromptBuilder SystemPromptContext BUILTIN_SECTIONS DEFAULT_AGENT_SYSTEM_PROMPT "
            "DEFAULT_SUBAGENT_SYSTEM_PROMPT DEFAULT_EXPLORE_SUBAGENT_SYSTEM_PROMPT build_agent_system_prompt "
            "build_subagent_system_prompt build_explore_subagent_system_prompt"
        ),
        "tests/notes/test_definition_policy.py",
    ),
    "core/state (todo)": ("power_loop.decisions.todos", "Todos reminder_due", "tests/notes/test_todos_in_runs.py"),
    "llm_client/llm_utils, runtime/structured": (
        TOP,
        "StructuredOutputSpec StructuredOutputError parse_structured",
        "tests/structured/test_structured_runs.py",
    ),
    "llm_client/capabilities": (TOP, "ModelInfo Prices", "tests/llms/test_catalogue.py"),
    "llm_client/capabilities (environment)": (
        "power_loop.llms.catalogue",
        "lookup capability_overrides_from_env",
        "tests/llms/test_catalogue.py",
    ),
    "llm_client/multimodal": (TOP, "Image Document Attachment image document", "tests/content/test_intake.py"),
    "runtime/compact": (
        TOP,
        "Compactor DefaultCompactor CompactionPlan CompactionRequest CompactionFailed",
        "tests/compaction/test_compaction.py",
    ),
    "runtime/budget": (
        TOP,
        "Budget estimate_text_tokens estimate_message_tokens estimate_tokens trim_history",
        "tests/decisions/test_tokens.py",
    ),
    "core/state (large results)": (
        "power_loop.toolkits.results",
        "read_result_tool",
        "tests/engine/test_large_results.py",
    ),
    "tools/registry": (
        TOP,
        "ToolRegistry RegisteredTool build_registry filtered_registry",
        "tests/tools/test_registry.py",
    ),
}
VERBS = {
    "new_session", "send", "resume", "abort_pending", "cancel", "close_session", "get_messages", "get_pending",
    "get_todos", "get_usage", "list_sessions", "close",
    "prune", "erase_message", "search", "stats", "export_session",
    "import_session", "vacuum",
}  # fmt: skip
REPLACED = {"AgentPipeline", "AgentRunner", "phase", "PhaseContext", "PhaseResult", "SQLiteSink"}


@pytest.mark.parametrize("row", ROWS)
def test_a_row(row):
    module, names, test = ROWS[row]
    where = import_module(module)
    missing = [name for name in names.split() if not hasattr(where, name)]
    assert missing == []
    if module == TOP:
        assert set(names.split()) <= set(power_loop.__all__)
    assert (ROOT / test).is_file()


def test_every_verb_has_a_sync_twin():
    loop = power_loop.StatefulAgentLoop
    assert all(callable(getattr(loop, name)) and callable(getattr(loop, f"{name}_sync")) for name in VERBS)
    assert callable(loop.stream)
    assert callable(loop.events)


def test_one_door_replaces_three():
    assert REPLACED.isdisjoint(power_loop.__all__)


def test_sixteen_points_four_directives_twenty_seven_events():
    assert (len(power_loop.HookPoint), len(power_loop.HookDirective)) == (16, 4)
    ours = {"session_opened", "input_received", "stream_tool_delta", "tool_progress"}
    assert len({str(kind) for kind in power_loop.AgentEventType} - ours) == 27
