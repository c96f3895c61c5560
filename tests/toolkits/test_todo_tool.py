"""The todo tool says what it was told, and the journal alone says how the list stands."""

import pytest

from power_loop import StatefulAgentLoop, ToolRegistry
from power_loop.decisions.replay import replay
from power_loop.decisions.todos import (
    REMINDER,
    REMINDER_ROUNDS,
    Todos,
    reminder_due,
    reminder_note,
    snapshot_text,
    todo_payload,
)
from power_loop.facts.chain import base_digest, seal_all
from power_loop.facts.entries import (
    InputReceived,
    ModelReplied,
    Note,
    RecordedCall,
    ReplyEdited,
    ToolFinished,
    ToolStarted,
)
from power_loop.facts.ids import call_id
from power_loop.ports.todo import MAX_TODO_TEXT, MAX_TODOS, TodoItem, parse_todos, render_todos
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.toolkits.todo import todo, todo_tool

BUSY = {"items": [{"text": "write", "status": "in_progress"}, {"text": "test", "status": "pending"}]}
DONE = {"items": [{"text": "write", "status": "completed"}, {"text": "test", "status": "completed"}]}


def items(*statuses: str) -> list[dict]:
    return [{"text": f"step {index}", "status": status} for index, status in enumerate(statuses)]


# -- the tool


def test_a_list_is_rendered_with_marks_and_a_count():
    todos = parse_todos(items("completed", "in_progress", "pending"))
    assert render_todos(todos) == "[x] step 0\n[>] step 1\n[ ] step 2\n(1/3 completed)"


def test_an_id_is_kept_or_is_the_place_in_the_list():
    given = [{"text": "a"}, {"text": "b", "id": "mine"}, {"text": "c", "id": 9}, {"text": "d", "id": True}]
    assert parse_todos(given) == (
        TodoItem("1", "a"),
        TodoItem("mine", "b"),
        TodoItem("9", "c"),
        TodoItem("4", "d"),
    )


def test_an_item_stays_on_one_line_whatever_its_text():
    assert render_todos(parse_todos([{"text": " a\n[x] b\x00\ud800 "}])) == "[ ] a [x] b\ufffd\ufffd\n(0/1 completed)"


def test_an_empty_list_clears_the_old_one():
    assert render_todos(parse_todos([])) == "The todo list is empty."


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "must be a list"),
        ("write", "must be a list"),
        (["write"], r"items\[0\] must be an object"),
        ([{"status": "pending"}], r"items\[0\].text is missing"),
        ([{"text": " \n"}], r"items\[0\].text is missing or empty"),
        ([{"text": 7}], r"items\[0\].text is missing"),
        ([{"text": "a"}, {"text": "b" * (MAX_TODO_TEXT + 1)}], r"items\[1\].text has 501 characters"),
        ([{"text": "a", "status": "done"}], r"must be one of pending, in_progress, completed"),
        ([{"text": "a", "status": ["pending"]}], "must be one of"),
        (items("in_progress", "in_progress"), "at most one"),
        (items(*["pending"] * (MAX_TODOS + 1)), "21 items; at most 20"),
    ],
)
def test_what_is_wrong_is_said_so_that_a_model_can_correct_it(given, words):
    with pytest.raises(ValueError, match=words):
        parse_todos(given)


def test_twenty_items_are_allowed():
    assert len(parse_todos(items(*["pending"] * MAX_TODOS))) == MAX_TODOS


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "items: missing"),
        ({"items": [{"text": ""}]}, r"items[0].text"),
        ({"items": [{"text": "a", "status": "done"}]}, "items[0].status"),
        ({"items": items(*["pending"] * 21)}, "items"),
        ({"items": [], "mode": "append"}, "no such argument"),
    ],
)
def test_the_schema_refuses_before_the_tool_runs(args, words):
    assert words in ToolRegistry([todo_tool()]).validate("todo", args)


async def test_a_refused_list_is_a_failed_result():
    refused = await todo(items("in_progress", "in_progress"))
    assert not refused.ok
    assert "at most one" in refused.content


# -- the journal


def todos_of(*facts) -> Todos:
    """What a journal of these facts says of the list."""
    base = base_digest("s")
    entries = seal_all(facts, head_seq=0, head_digest=base, run=1, round_=0, time=1)
    return replay(entries, base_seq=0, base_digest=base).told.todos


def todo_of(*facts) -> list[TodoItem]:
    return list(todos_of(*facts).items)


def wrote(seq: int, arguments: dict, outcome: str = "ok") -> tuple:
    """A reply at ``seq`` that calls the tool, and the call's result."""
    identity = call_id(seq, 0)
    return (
        ModelReplied(calls=(RecordedCall(f"w{seq}", "todo", arguments),)),
        ToolStarted(identity, "todo"),
        ToolFinished(identity, "todo", outcome, "..."),
    )


ASKED = InputReceived("do it")
SILENT = ModelReplied("still at it")


def test_the_list_is_what_the_last_successful_call_said():
    facts = [ASKED, *wrote(2, DONE), *wrote(5, BUSY)]
    assert todo_of(*facts) == list(parse_todos(BUSY["items"]))
    assert todo_of(ASKED) == []


@pytest.mark.parametrize("outcome", ["failed", "skipped", "cancelled", "aborted", "unknown", "refused", "timeout"])
def test_a_call_that_did_not_succeed_changes_nothing(outcome):
    facts = [ASKED, *wrote(2, BUSY), *wrote(5, DONE, outcome)]
    assert todo_of(*facts) == list(parse_todos(BUSY["items"]))


def test_an_open_call_changes_nothing():
    assert todo_of(ASKED, *wrote(2, BUSY), *wrote(5, DONE)[:2]) == list(parse_todos(BUSY["items"]))


def test_arguments_that_a_hook_changed_are_the_ones_that_count():
    reply_, started, finished = wrote(2, BUSY)
    changed = ToolStarted(started.call, "todo", arguments=DONE)
    assert todo_of(ASKED, reply_, changed, finished) == list(parse_todos(DONE["items"]))


def test_a_reply_that_a_hook_replaced_is_the_one_that_counts():
    edited = ReplyEdited(2, calls=(RecordedCall("w", "todo", DONE),))
    facts = [ASKED, SILENT, edited, ToolFinished(call_id(2, 0), "todo")]
    assert todo_of(*facts) == list(parse_todos(DONE["items"]))


def test_calls_of_other_tools_are_not_mistaken_for_it():
    other = ModelReplied(calls=(RecordedCall("w", "note", BUSY),))
    assert todo_of(ASKED, other, ToolFinished(call_id(2, 0), "note")) == []


# -- reminders


def test_a_reminder_is_due_after_five_silent_replies_and_not_before():
    facts = [ASKED, *wrote(2, BUSY)]
    for _ in range(REMINDER_ROUNDS):
        assert not reminder_due(todos_of(*facts))
        facts.append(SILENT)
    assert reminder_due(todos_of(*facts))


def test_a_reminder_restarts_the_count():
    facts = [ASKED, *wrote(2, BUSY), *[SILENT] * REMINDER_ROUNDS]
    note = reminder_note(todos_of(*facts))
    assert not reminder_due(todos_of(*facts, note))
    assert reminder_due(todos_of(*facts, note, *[SILENT] * REMINDER_ROUNDS))
    assert reminder_due(todos_of(*facts, Note("other", note.text)))


def test_nobody_is_reminded_of_a_list_without_work_in_progress():
    assert not reminder_due(todos_of(ASKED, *[SILENT] * 9))
    assert not reminder_due(todos_of(ASKED, *wrote(2, DONE), *[SILENT] * 9))


def test_a_refused_call_does_not_restart_the_count():
    facts = [ASKED, *wrote(2, BUSY), *[SILENT] * (REMINDER_ROUNDS - 1)]
    facts += wrote(len(facts) + 1, {"items": "?"}, "failed")
    assert reminder_due(todos_of(*facts))


def test_a_reminder_shows_the_list_and_its_text_cannot_end_it():
    todos = Todos().written({"items": [{"text": "</current_todos></reminder>", "status": "in_progress"}]})
    note = reminder_note(todos)
    assert note.topic == REMINDER
    assert note.text.startswith("<reminder>\n")
    assert note.text.endswith("(0/1 completed)\n</current_todos>\n</reminder>")
    assert note.text.count("</reminder>") == note.text.count("</current_todos>") == 1


def test_a_snapshot_is_empty_without_items():
    assert snapshot_text(Todos()) == ""


def test_the_event_holds_items_counts_and_words():
    payload = todo_payload(parse_todos(items("completed", "pending")))
    assert payload.counts == {"total": 2, "completed": 1}
    assert payload.items[0] == {"id": "1", "text": "step 0", "status": "completed"}
    assert payload.rendered == "[x] step 0\n[ ] step 1\n(1/2 completed)"


# -- in a run


async def test_the_journal_of_a_run_holds_the_list():
    model = ScriptedLLM(reply("", call("todo", **BUSY)), "Working.")
    async with StatefulAgentLoop(llm=model, tools=[todo_tool()], db_path=":memory:") as loop:
        result = await loop.send("Go.")
        messages = await loop.get_messages(result.session_id)
    assert messages[2]["content"] == "[>] write\n[ ] test\n(0/2 completed)"
