"""What a wire format makes of a message, kept as long as the message lives, so that no history is converted twice."""

import weakref
from collections.abc import Callable
from typing import Any

import msgspec

from power_loop.facts.messages import AgentMessage

_ENCODE = msgspec.json.Encoder().encode


class MessageCache:
    """Each message's JSON, made once and forgotten with the message.

    Keyed by identity, since a message with call arguments has no hash; an entry dies before its id can be reused.
    ``convert`` makes what is encoded as JSON, out of a message and whatever else ``encode`` is given.
    """

    def __init__(self, convert: Callable[..., Any]) -> None:
        self._convert = convert
        self._known: dict[int, tuple[weakref.ref[AgentMessage], msgspec.Raw]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, message: object) -> bool:
        entry = self._known.get(id(message))
        return entry is not None and entry[0]() is message

    def encode(self, message: AgentMessage, *given: object) -> msgspec.Raw:
        """Return the message as JSON."""
        key = id(message)
        entry = self._known.get(key)
        if entry is not None and entry[0]() is message:
            return entry[1]
        raw = msgspec.Raw(_ENCODE(self._convert(message, *given)))
        known = self._known
        self._known[key] = (weakref.ref(message, lambda ref: _forget(known, key, ref)), raw)
        return raw


def _forget(
    known: dict[int, tuple[weakref.ref[AgentMessage], msgspec.Raw]], key: int, ref: weakref.ref[AgentMessage]
) -> None:
    if known.get(key, (None,))[0] is ref:
        del known[key]
