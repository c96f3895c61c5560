"""When older messages are folded into a summary, where a view may be cut, and what the fold leaves behind. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from power_loop.facts.entries import CompactionSkipped, CompactTrigger, ModelFailed
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.ports.compactor import CompactionPlan
from power_loop.ports.tagged import is_tagged, tagged

if TYPE_CHECKING:
    from power_loop.decisions.state import State

MAX_USELESS = 3
"""Compactions in a row that each bought no more than one reply; then folding once more is no way on."""
_GROWTH = 1.1
"""How much the context must have grown before a compaction that came to nothing is tried again."""
_TAG = "conversation_summary"
_HEAD = "What was said before, in short; the messages themselves are not shown any more:"


class Folding(msgspec.Struct):
    """How compaction has gone.

    ``pressed``: the provider refused the context as too long, and nothing was folded since; ``folded``: since the last
    reply something was, for that reason; ``refused``: that came to nothing. ``replies`` since the last fold.
    """

    pressed: bool = False
    refused: bool = False
    folded: bool = False
    skipped_at: int = 0
    replies: int = MAX_USELESS
    useless: int = 0

    def renewed(self) -> None:
        """A new input, or a new run, is a new chance."""
        self.pressed = self.refused = self.folded = False
        self.skipped_at = self.useless = 0

    def replied(self) -> None:
        """The model has answered."""
        self.pressed = self.refused = self.folded = False
        self.replies += 1

    def failed(self, failure: ModelFailed) -> bool:
        """A model call has failed. True: a fold is due for it, whose attempts count anew."""
        refused = failure.code == "llm_context_too_long" and failure.purpose == "reply"
        self.pressed = self.pressed or refused
        return refused

    def compacted(self) -> None:
        """A fold has been made."""
        self.useless = self.useless + 1 if self.replies <= 1 else 0
        self.folded = self.folded or self.pressed
        self.pressed = self.refused = False
        self.replies = self.skipped_at = 0

    def skipped(self, fact: CompactionSkipped) -> None:
        """A fold has come to nothing."""
        self.refused = self.pressed
        self.skipped_at = fact.tokens


def fold_due(state: "State", compact_at: int | None) -> CompactTrigger | None:
    """Tell whether older messages are to be folded before the next call."""
    folding = state.folding
    if folding.pressed:
        return "context_too_long"
    if compact_at is None or not state.size.reaches(compact_at, state.messages):
        return None
    if folding.skipped_at and state.size.tokens(state.messages) < folding.skipped_at * _GROWTH:
        return None
    return "threshold"


def folding_is_over(state: "State") -> bool:
    """Tell whether one more fold is no way on: one was just made or refused for nothing, or several bought nothing."""
    folding = state.folding
    return (folding.pressed and (folding.refused or folding.folded)) or folding.useless >= MAX_USELESS


def safe_cuts(messages: Sequence[AgentMessage], unheard: int | None = None) -> tuple[int, ...]:
    """Return the places where a view may be cut: in front of every message that is no result.

    Its end is one too, unless the newest message is an input or a note, which is not to be folded before it is heard.
    For that reason none lies behind the place ``unheard``, where :func:`unheard_input` stands.
    """
    cuts = [index for index, message in enumerate(messages) if message.role is not MessageRole.TOOL]
    if messages and messages[-1].role in {MessageRole.TOOL, MessageRole.ASSISTANT}:
        cuts.append(len(messages))
    return tuple(cut for cut in cuts if unheard is None or cut <= unheard)


def unheard_input(state: "State") -> int | None:
    """Return the place of the newest input where no reply stands behind it; notes may."""
    for place in range(len(state.messages) - 1, -1, -1):
        if state.messages[place].role is MessageRole.ASSISTANT:
            return None
        if state.seqs[place] == state.told.newest:
            return place
    return None


def note_of(summary: str) -> AgentMessage:
    """Return the note that stands where the fold was."""
    return AgentMessage(MessageRole.USER, tagged(_TAG, f"{_HEAD}\n\n{summary}"))


def is_note(message: AgentMessage) -> bool:
    """Tell whether a message is what :func:`note_of` made."""
    return message.role is MessageRole.USER and is_tagged(_TAG, message.text)


def older_note(messages: Sequence[AgentMessage], seqs: Sequence[int], compacted: int) -> int | None:
    """Return the index of the note that the compaction at entry ``compacted`` left; None where there is none."""
    if not compacted:
        return None
    return next((index for index, seq in enumerate(seqs) if seq == compacted and is_note(messages[index])), None)


def objection(plan: CompactionPlan, state: "State", sizes: Sequence[int]) -> str | None:
    """Return why a plan cannot be followed, in words for whoever wrote the compactor; None if it can.

    ``sizes`` are the messages' estimated tokens.
    """
    start: object = plan.fold_start  # a host's plan need not be typed
    stop: object = plan.fold_end
    if not isinstance(plan.summary_text, str) or not plan.summary_text.strip():
        return "its summary is empty"
    if not (isinstance(start, int) and isinstance(stop, int)):
        return f"fold_start and fold_end have to be whole numbers, not {start!r} and {stop!r}"
    if not 0 <= start < stop <= len(state.messages):
        return f"messages[{start}:{stop}] is no part of a view of {len(state.messages)} messages"
    cuts = safe_cuts(state.messages, unheard_input(state))
    if start not in cuts or stop not in cuts:
        return f"messages[{start}:{stop}] would part a call from its result, or fold what the model has not heard yet"
    note = older_note(state.messages, state.seqs, state.compacted)
    if note is not None and not start <= note < stop:
        return f"the summary at {note} has to be folded into the new one"
    if state.size.of(note_of(plan.summary_text)) >= sum(sizes[start:stop]):
        return "its summary is not smaller than what it replaces"
    return None
