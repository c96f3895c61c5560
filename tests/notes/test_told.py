"""What the kernel told is a value: it follows from the journal alone, and JSON can carry it over a compaction."""

import msgspec
import pytest

from power_loop import StatefulAgentLoop
from power_loop.decisions.told import Told
from power_loop.facts.entries import DefinitionChanged
from power_loop.ports.todo import TodoItem
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.toolkits.todo import todo_tool


async def test_json_carries_it():
    model = ScriptedLLM(reply("", call("todo", items=[{"text": "write", "status": "in_progress"}])), "Busy.")
    async with StatefulAgentLoop(llm=model, tools=[todo_tool()], db_path=":memory:") as loop:
        session = (await loop.send("Go.")).session_id
        state = await loop._driver.look(session)
    told = state.told
    assert told.todos.items == (TodoItem("1", "write", "in_progress"),)
    assert told.definition is not None
    assert msgspec.json.decode(msgspec.json.encode(told), type=Told) == told


@pytest.mark.parametrize(("more", "since"), [(True, 2), (False, 9)])
def test_an_input_begins_what_is_answered_unless_something_waits_already(more, since):
    assert Told().asked(2, more=True).asked(9, more=more).since == since


def test_a_model_call_settles_what_was_due_and_keeps_the_rest():
    told = Told(definition=DefinitionChanged("d")).asked(2, more=False).noted("other")
    assert (told.recall_due, told.behind) == (True, 1)
    assert told.called() == Told(definition=told.definition, since=2, newest=2)
    assert told.noted("memory") == told.called()
