"""The tool port: what a tool is, how it is declared, and what it is handed when it runs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from power_loop.facts.entries import Effect
from power_loop.ports.reader import NoReader, SessionReader

DEFAULT_OUTPUT_LIMIT = 50_000
"""Characters of a tool result that the model may see, unless the tool says otherwise."""


class ToolDefinition(msgspec.Struct, frozen=True):
    """What the model is told of a tool, and what the kernel must know to run it safely.

    ``effect`` says what running it twice would do: ``read`` changes nothing, ``idempotent`` changes nothing more
    when repeated with the same idempotency key, ``once`` (the default) must not be repeated. ``timeout`` is in
    seconds, None for no limit. ``exclusive``: no other tool of the session runs meanwhile. ``output_limit`` is in
    characters.
    """

    name: str
    description: str = ""
    input_schema: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})
    required_params: tuple[str, ...] = ()
    effect: Effect = "once"
    timeout: float | None = None
    exclusive: bool = False
    output_limit: int = DEFAULT_OUTPUT_LIMIT

    def to_openai_tool(self) -> dict[str, Any]:
        """Return the OpenAI Chat shape."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": self.input_schema},
        }


class ToolHandlerResult(msgspec.Struct, frozen=True):
    """A result that says for itself whether the tool succeeded."""

    ok: bool
    content: str
    data: dict[str, Any] = {}


class ProcessResult(msgspec.Struct, frozen=True):
    """What a process started through ``ToolContext.run_process`` left behind.

    ``exit_code`` is minus the signal's number where a signal ended it. ``truncated``: the middle of an output was
    cut. ``timed_out``: the deadline ended it; the output until then is here.
    """

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool = False
    timed_out: bool = False


class ProcessRunner(Protocol):
    """Runs a process that ends with its tool: on cancel, on timeout, and after the driver's death."""

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 -- part of the contract: the runner kills at the deadline
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        output_limit: int = DEFAULT_OUTPUT_LIMIT,
    ) -> ProcessResult:
        """Run ``argv`` (no shell) and return its output; ``timeout`` is in seconds.

        The environment is PATH, HOME and LANG, plus ``env``. ``output_limit`` is in bytes, for each of stdout and
        stderr. Raises OSError where the program cannot be started.
        """
        ...


async def no_processes(argv: Sequence[str], **_: Any) -> ProcessResult:  # noqa: ANN401
    """Refuse to start a process: this context has no driver that would end it."""
    raise RuntimeError(f"Cannot start {argv[0]!r}: this ToolContext belongs to no run.")


class ToolContext(msgspec.Struct, frozen=True):
    """What a running tool may know and use. Declare it as the first parameter to receive it.

    ``idempotency_key`` is the same in every attempt of this call, ``attempt`` counts from 1. ``progress(text)``
    tells whoever watches; nothing of it is recorded. ``is_cancelled()`` says whether the result is no longer wanted.
    ``session`` reads what this session has recorded; async tools can use it.
    """

    session_id: str
    call_id: str
    idempotency_key: str
    attempt: int = 1
    progress: Callable[[str], None] = lambda _text: None
    is_cancelled: Callable[[], bool] = lambda: False
    run_process: ProcessRunner = no_processes
    session: SessionReader = NoReader()


ToolHandler: TypeAlias = Callable[..., Any]
Reconcile: TypeAlias = Callable[..., Awaitable[str | None] | str | None]
"""Asked with (ToolContext, arguments) what became of a call in doubt: its result, or None if it did not happen."""


class RegisteredTool(msgspec.Struct, frozen=True):
    """A definition with what runs it. ``handler`` None: the tool runs elsewhere, its result is handed in."""

    definition: ToolDefinition
    handler: ToolHandler | None = None
    is_async: bool = False
    wants_context: bool = False
    reconcile: Reconcile | None = None
    coerce: Callable[[dict[str, Any]], dict[str, Any]] | None = None
