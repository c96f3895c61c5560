"""Commands: what becomes of a row of the inbox when a driver takes it."""

import logging

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.entries import Cancelled, Fact, InputReceived
from power_loop.facts.errors import InvalidInputError
from power_loop.facts.messages import MessageRole
from power_loop.ports.store import InboxRow

logger = logging.getLogger("power_loop")


def command_fact(row: InboxRow, run: int) -> Fact | None:
    """Return the entry that a command becomes; None for a cancel that meant another run, and for unreadable input."""
    if row.kind == "input":
        try:
            return input_of(row)
        except InvalidInputError as error:
            logger.warning("%s: %s", error.code, error.message)
            return None
    if row.run != run:
        return None
    return Cancelled(run, row.body or "cancelled")


def input_of(row: InboxRow) -> InputReceived:
    """Read the input of a command. Raises InvalidInputError where nobody can do anything with it."""
    try:
        fact = jsontext.decode(row.body, InputReceived)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidInputError(f"Input {row.id} of the inbox was skipped, it cannot be read: {error}") from error
    if fact.role is MessageRole.TOOL:
        raise InvalidInputError(f"Input {row.id} of the inbox was skipped: results of tools are no input.")
    return fact
