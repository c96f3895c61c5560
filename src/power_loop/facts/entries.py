"""Facts: what can become true in a session, one class per kind of entry."""

from decimal import Decimal
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from power_loop.facts.errors import ConfigError
from power_loop.facts.messages import AgentMessage, Content, MessageRole
from power_loop.facts.structured import RecordedOutput
from power_loop.facts.usage import LLMTokenUsage

Effect: TypeAlias = Literal["read", "idempotent", "once"]
Outcome: TypeAlias = Literal["ok", "failed", "skipped", "cancelled", "aborted", "unknown", "refused", "timeout"]
RunStatus: TypeAlias = Literal[
    "completed",
    "pending_tools",
    "cancelled",
    "hit_round_limit",
    "degraded",
    "hook_break",
    "crash_loop",
    "budget_exceeded",
    "context_full",
    "error",
]
CallPurpose: TypeAlias = Literal["reply", "summary"]
CompactTrigger: TypeAlias = Literal["threshold", "context_too_long"]
BudgetScope: TypeAlias = Literal["run", "session", "tree"]
BudgetUnit: TypeAlias = Literal["tokens", "seconds", "cost"]


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The body of an entry. ``kind`` and ``version`` go into columns of their own.

    No fact can be part of a cycle, so the garbage collector need not look at a whole history again and again.
    """

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1


class SessionOpened(Fact, frozen=True):
    """The session exists; what the host said about it then."""

    kind = "session_opened"
    config: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class InputReceived(Fact, frozen=True):
    """Newest input from the host. ``cleaned``: characters that no store can hold were replaced.

    ``output`` is what its answer must be, where that is not any text.
    """

    kind = "input_received"
    content: Content
    role: MessageRole = MessageRole.USER
    name: str | None = None
    message_id: str | None = None
    cleaned: bool = False
    output: RecordedOutput | None = None


class Budget(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What may be spent; None is no bound.

    ``tokens`` are input and output together; ``seconds`` is the time of runs; ``cost`` is US dollars, kept as text and
    taken as a Decimal, a number or text. Raises ConfigError for figures that are not positive.
    """

    tokens: int | None = None
    seconds: float | None = None
    cost: str | None = None

    def __post_init__(self) -> None:
        try:
            cost = None if self.cost is None else Decimal(str(self.cost))
            bad = any(figure is not None and not figure > 0 for figure in (self.tokens, self.seconds, cost))
        except (ArithmeticError, TypeError) as error:
            raise ConfigError(f"A Budget's cost is US dollars, such as '0.50', got {self.cost!r}.") from error
        if bad or (cost is not None and not cost.is_finite()):
            raise ConfigError(f"A Budget's figures must be positive, got {self!r}.")
        if cost is not None:
            msgspec.structs.force_setattr(self, "cost", f"{cost:f}")


class Limits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one run may do. Counts hold since the last input, across resumes.

    ``compact_at`` is the size of the context, in tokens, from which older messages are folded; None: never before the
    provider refuses. ``run`` bounds what is spent since the last input, ``session`` since the beginning, ``tree``
    with all sub-agents of the session's root.
    """

    max_rounds: int = 24
    max_attempts: int = 3
    max_parallel: int = 8
    max_deaths: int = 3
    compact_at: int | None = None
    run: Budget | None = None
    session: Budget | None = None
    tree: Budget | None = None


class RunStarted(Fact, frozen=True):
    """One driver began to drive. ``force`` forgives earlier deaths."""

    kind = "run_started"
    limits: Limits
    owner: str = ""
    definition: str = ""
    force: bool = False


class DefinitionChanged(Fact, frozen=True):
    """What the model is told before the conversation: system text, and tools in wire shape by name.

    ``wire`` is the tools' JSON text as it was sent, where its keys stand in another order than in ``tools``.
    ``output`` names the tool whose arguments are the output that the input wants, where there is one.
    """

    kind = "definition_changed"
    digest: str
    system: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    wire: str = ""
    output: str = ""


class ModelCalled(Fact, frozen=True):
    """Written before the provider is called.

    ``reserved`` is the cost set aside, in USD, or None if unknown; ``reserved_tokens`` the tokens, 0 where no budget
    counts them.
    """

    kind = "model_called"
    attempt: int = 1
    request: str = ""
    reserved: str | None = None
    wrap_up: bool = False
    max_rounds: int = 24
    edited: tuple[str, ...] = ()
    purpose: CallPurpose = "reply"
    reserved_tokens: int = 0


class ModelFailed(Fact, frozen=True):
    """The call gave no usable reply. With ``retry`` another attempt follows after ``delay`` seconds.

    ``usage`` and ``cost`` are what the provider is known to charge for it all the same; ``unsettled``: it may charge
    for what nobody knows.
    """

    kind = "model_failed"
    attempt: int
    code: str
    message: str = ""
    error_type: str = ""
    retry: bool = False
    delay: float = 0.0
    max_attempts: int = 0
    purpose: CallPurpose = "reply"
    usage: LLMTokenUsage = LLMTokenUsage()
    cost: str | None = None
    unsettled: bool = False


class RecordedCall(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A call as the model asked for it. ``raw`` holds the argument text where it is not one JSON object."""

    id: str
    name: str
    arguments: dict[str, Any] = {}
    raw: str | None = None
    error: str | None = None


class ModelReplied(Fact, frozen=True):
    """A complete reply. ``payload`` keeps of the provider's data only what our blocks cannot reproduce."""

    kind = "model_replied"
    content: Content = ""
    calls: tuple[RecordedCall, ...] = ()
    finish_reason: str = "stop"
    usage: LLMTokenUsage = LLMTokenUsage()
    cost: str | None = None
    model: str = ""
    provided: bool = False
    max_rounds: int = 24
    payload: dict[str, Any] | None = None
    cleaned: bool = False


class ReplyEdited(Fact, frozen=True):
    """A hook changed the reply at ``target`` before anything was done with it."""

    kind = "reply_edited"
    target: int
    content: Content = ""
    calls: tuple[RecordedCall, ...] = ()


class ToolStarted(Fact, frozen=True):
    """Committed before the tool runs. ``arguments`` only where a hook changed them."""

    kind = "tool_started"
    call: str
    name: str
    effect: Effect = "once"
    attempt: int = 1
    key: str = ""
    arguments: dict[str, Any] | None = None


class KeptResult(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Where the whole of a result lies: its blob (UTF-8), its size in characters, and how many the blob lacks."""

    blob: str
    characters: int
    lacks: int = 0


class ToolFinished(Fact, frozen=True):
    """The one result of a call. ``closes_round``: no other call of its reply is open any more.

    ``whole`` where the result's text was too long for the model: ``content`` has its head and tail.
    """

    kind = "tool_finished"
    call: str
    name: str
    outcome: Outcome = "ok"
    content: Content = ""
    attempt: int = 0
    duration_ms: int = 0
    closes_round: bool = False
    cleaned: bool = False
    whole: KeptResult | None = None


class ResultEdited(Fact, frozen=True):
    """A hook changed the result of ``call`` before the model saw it."""

    kind = "result_edited"
    call: str
    content: Content
    failed: bool = False


class Note(Fact, frozen=True):
    """Text that the kernel adds at the tail, once; ``topic`` says why, ``figures`` what its event tells besides."""

    kind = "note"
    topic: str
    text: str
    role: MessageRole = MessageRole.USER
    figures: dict[str, int] = {}


class OutputChecked(Fact, frozen=True):
    """The newest reply was compared with the output that its input wants.

    With ``ok``, ``text`` is the output as canonical JSON; without, ``problem`` says what was wrong, and ``text`` is
    what the output tool was given. ``call`` is that tool's call, None for output that stood in the reply's text.
    ``repairs`` were asked for before; ``final``: no further one is.
    """

    kind = "output_checked"
    ok: bool
    text: str = ""
    problem: str = ""
    repairs: int = 0
    final: bool = False
    call: str | None = None


class RoundSkipped(Fact, frozen=True):
    """A hook used up one round without a model call."""

    kind = "round_skipped"
    reason: str = ""


class ViewEdited(Fact, frozen=True):
    """A hook replaced ``messages[start:stop]`` of the model's view."""

    kind = "view_edited"
    start: int
    stop: int
    messages: tuple[AgentMessage, ...] = ()


class Compacted(Fact, frozen=True):
    """Older messages of the model's view became a summary; replay can start here.

    ``messages[start:stop]`` of the view before, which the entries ``from_seq`` to ``to_seq`` had said, gave way to the
    note ``summary``. ``view`` is the whole view since, ``seqs`` the entry of each message (0: this one), ``carried``
    all else that is derived and still needed. ``usage`` and ``cost`` are those of the calls that made the summary;
    tokens before and after are estimates.
    """

    kind = "compacted"
    summary: str
    start: int
    stop: int
    view: tuple[AgentMessage, ...]
    seqs: tuple[int, ...]
    carried: dict[str, Any]
    from_seq: int = 0
    to_seq: int = 0
    trigger: CompactTrigger = "threshold"
    before_tokens: int = 0
    after_tokens: int = 0
    usage: LLMTokenUsage = LLMTokenUsage()
    cost: str | None = None
    model: str = ""


class CompactionSkipped(Fact, frozen=True):
    """A compaction that was due came to nothing; the view is as it was, of about ``tokens`` tokens.

    ``unsettled``: its last call was cut off, and nobody knows what it costs.
    """

    kind = "compaction_skipped"
    code: str
    reason: str = ""
    tokens: int = 0
    usage: LLMTokenUsage = LLMTokenUsage()
    cost: str | None = None
    unsettled: bool = False


class BudgetReached(Fact, frozen=True):
    """The next model call was not made: with what is ``spent`` it could pass the ``limit``.

    Figures are text: tokens, seconds, or US dollars.
    """

    kind = "budget_reached"
    scope: BudgetScope
    unit: BudgetUnit
    limit: str
    spent: str


class Cancelled(Fact, frozen=True):
    """Someone asked for the run to stop; ``target`` is the run meant."""

    kind = "cancelled"
    target: int
    reason: str = "cancelled"


class ErrorRecord(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An error as the journal keeps it: stable code, words, and the type's name."""

    code: str
    message: str
    type: str = ""


class RunEnded(Fact, frozen=True):
    """The run is over and its lease is free. ``final_text`` None: what the last reply said.

    ``elapsed_ms`` is how long it took, where a budget counts that.
    """

    kind = "run_ended"
    status: RunStatus
    final_text: str | None = None
    rounds: int = 0
    reason: str = ""
    error: ErrorRecord | None = None
    elapsed_ms: int = 0


class Pruned(Fact, frozen=True):
    """The journal begins behind entry ``through`` now; this many ``entries`` were deleted with this commit."""

    kind = "pruned"
    through: int
    entries: int


class Erased(Fact, frozen=True):
    """The content of entry ``target`` is gone. ``tombstone`` is the hash, in hex, of the body that replaced it.

    Of an entry that holds several messages only the ``parts`` are gone, by place; none: all of them.
    """

    kind = "erased"
    target: int
    tombstone: str
    reason: str = ""
    parts: tuple[int, ...] = ()
