"""Edits of the model's view: the smallest splice, and whether the result is still a valid conversation."""

from collections.abc import Sequence

from power_loop.decisions.state import State
from power_loop.facts.entries import ViewEdited
from power_loop.facts.errors import InvalidRequestError
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.ports.llm import LLMRequest, validate_request


def splice(before: Sequence[AgentMessage], after: Sequence[AgentMessage]) -> ViewEdited | None:
    """Return the smallest splice that turns one view into the other; None where they are equal."""
    start = 0
    shorter = min(len(before), len(after))
    while start < shorter and before[start] == after[start]:
        start += 1
    if start == len(before) == len(after):
        return None
    tail = 0
    while tail < shorter - start and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    return ViewEdited(start, len(before) - tail, tuple(after[start : len(after) - tail]))


def check_view(messages: Sequence[AgentMessage], state: State) -> None:
    """Check pairing of a view that a hook wants; while calls are open, their reply must stay the last message.

    Raises InvalidRequestError.
    """
    if state.open_calls:
        if not messages or messages[-1] != state.messages[-1]:
            raise InvalidRequestError("While tool calls are open, the reply that asked for them must stay last.")
        messages = messages[:-1]
    placeholder = AgentMessage(MessageRole.USER, "-")
    validate_request(LLMRequest([*messages, placeholder]))
