"""Which definition a session goes on with when the host's is not the recorded one, and what differs."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from power_loop.decisions.state import State
from power_loop.facts import jsontext
from power_loop.facts.entries import DefinitionChanged, Fact
from power_loop.facts.errors import DefinitionChangedError

OnDefinitionChange: TypeAlias = Literal["adopt", "pin", "ask"]
"""adopt: record the host's and go on; pin: go on with the recorded one; ask: raise before anything is written."""

Plan: TypeAlias = Callable[[State], Sequence[Fact]]


def asking(session_id: str, plan: Plan, here: DefinitionChanged) -> Plan:
    """Return the plan of a verb that raises DefinitionChangedError before it does anything under a changed definition.

    A session without a recorded definition, and a plan with nothing to do, are not asked about.
    """

    def planned(state: State) -> Sequence[Fact]:
        facts = plan(state)
        recorded = state.told.definition
        if facts and recorded is not None and recorded.digest != here.digest:
            raise difference(session_id, recorded, here)
        return facts

    return planned


def difference(session_id: str, recorded: DefinitionChanged, here: DefinitionChanged) -> DefinitionChangedError:
    """Make the error that names what differs."""
    before, now = _by_name(recorded), _by_name(here)
    return DefinitionChangedError(
        session_id,
        system=recorded.system != here.system,
        added=[name for name in now if name not in before],
        removed=[name for name in before if name not in now],
        changed=[name for name in now if name in before and now[name] != before[name]],
    )


def _by_name(definition: DefinitionChanged) -> dict[str, str]:
    return {tool["function"]["name"]: jsontext.encode(tool) for tool in definition.tools}
