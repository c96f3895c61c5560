"""The compactor port: which older messages a summary is to replace in the model's view, and what it says.

The kernel decides when to ask, records what comes of it, and refuses a plan that would leave an invalid or a larger
conversation. Nothing is deleted: the journal keeps every message.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from power_loop.facts.messages import AgentMessage
from power_loop.ports.llm import LLMService


class Summarise(Protocol):
    """Makes a recorded, budgeted model call for a compactor."""

    async def __call__(
        self, prompt: str, *, system_prompt: str | None = None, max_tokens: int = 2_000, llm: LLMService | None = None
    ) -> str:
        """Return the model's answer; ``llm`` None is the session's own model, ``max_tokens`` caps the answer.

        Raises an LLMError.
        """
        ...


class CompactionRequest(msgspec.Struct, frozen=True):
    """What there is to fold.

    ``messages`` is the model's view. ``cuts`` are the places where it may be cut, ascending: between a call and its
    result there is none. ``sizes`` are the messages' estimated tokens, ``limit`` the size of the context from which
    on compaction is due. ``note`` is the index of an older compaction's note, which a fold must take in. ``forced``:
    the provider has refused the context as too long. ``window`` is the model's context window in tokens.
    """

    session_id: str
    messages: Sequence[AgentMessage]
    cuts: tuple[int, ...]
    sizes: tuple[int, ...]
    limit: int
    window: int
    summarise: Summarise
    note: int | None = None
    forced: bool = False
    round_index: int = 0


class CompactionPlan(msgspec.Struct, frozen=True):
    """Replace ``messages[fold_start:fold_end]`` by a note that says ``summary_text``."""

    fold_start: int
    fold_end: int
    summary_text: str


@runtime_checkable
class Compactor(Protocol):
    """Folds older messages into summaries. Whatever it raises is recorded and loses nothing."""

    def threshold(self, context_window: int, max_reply: int) -> int | None:
        """Return the size of the context, in tokens, from which on compaction is due; None: only when refused."""
        ...

    async def compact(self, request: CompactionRequest) -> CompactionPlan | None:
        """Return what to fold; None where nothing should be."""
        ...
