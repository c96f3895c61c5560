"""The mechanisms behind notes, definitions and structured output, each broken once; see ``mutants.py`` for the form."""

from mutants import mutant

POLICY = "tests/notes/test_definition_policy.py"
RECALL = "tests/notes/test_recall.py"
TODOS = "tests/notes/test_todos_in_runs.py"
REMEMBER = "tests/notes/test_remembering.py"
OUTPUTS = "tests/decisions/test_outputs.py"
STRUCTURED = "tests/structured/test_structured_runs.py"

NOTES = (
    mutant(
        "pin sends what is here", "P20", "engine/services.py", "return here.recorded(recorded)", "return here",
        f"{POLICY}::test_pin_goes_on_with_what_is_recorded_byte_for_byte",
    ),
    mutant(
        "pinned tools in another order of keys", "P20", "engine/services.py",
        "if fact.wire else None", "if False else None",
        f"{POLICY}::test_pin_goes_on_with_what_is_recorded_byte_for_byte",
    ),
    mutant(
        "ask asks where nothing is to be done", "P22", "decisions/definitions.py",
        "if facts and recorded", "if recorded",
        f"{POLICY}::test_ask_has_nothing_to_say_where_there_is_nothing_to_do",
    ),
    mutant(
        "memory is told twice", "P20", "decisions/told.py",
        "due = self.recall_due and topic != MEMORY", "due = self.recall_due",
        f"{RECALL}::test_a_note_that_was_told_is_not_told_again_where_no_model_was_called",
    ),
    mutant(
        "memory is asked before the input is durable", "P1", "engine/recall.py", "    await run.flush()\n", "",
        f"{RECALL}::test_the_input_is_durable_before_memory_is_asked_and_the_note_before_the_model_is",
    ),
    mutant(
        "a reminder does not reset the count", "P20", "decisions/told.py",
        "self.todos.reminded() if topic == REMINDER else self.todos", "self.todos",
        f"{TODOS}::test_after_five_silent_replies_the_next_request_ends_with_a_reminder_which_then_is_history",
    ),
    mutant(
        "memory is fed its own words", "P20", "decisions/said.py",
        "return without_recalled(state.messages)", "return tuple(state.messages)",
        f"{REMEMBER}::test_said_leaves_out_notes_and_answers_to_what_came_before",
    ),
    # -- structured output
    mutant(
        "a reply ends a run unchecked", "P5", "decisions/steps.py",
        "    if state.output.due:\n        return CheckOutput()\n", "",
        f"{OUTPUTS}::test_a_reply_is_checked_before_it_ends_anything",
    ),
    mutant(
        "repairs without end", "P17", "decisions/outputs.py", " or output.repairs >= output.wanted.max_repairs", "",
        f"{STRUCTURED}::test_a_model_that_does_not_manage_is_asked_so_often_and_no_more",
    ),
    mutant(
        "repairs are forgotten", "P17", "decisions/outputs.py", "due=True, repairs=self.repairs", "due=True",
        f"{OUTPUTS}::test_repairs_are_counted_from_facts",
    ),
    mutant(
        "an accepted answer is asked for again", "P3", "decisions/state.py",
        "        self._undefer()\n        self.reply_needed = not self.output.settled",
        "        self._undefer()\n        self.reply_needed = True",
        f"{OUTPUTS}::test_an_answer_by_the_tool_needs_no_further_call",
    ),
    mutant(
        "a resume forgets to check", "P5", "decisions/verbs.py", " or state.output.due", "",
        f"{OUTPUTS}::test_a_resume_checks_a_reply_that_was_never_checked",
    ),
    mutant(
        "a part of a broken object is taken", "P4", "facts/json_in_text.py",
        "            if _MEANT.match(text, begin.start()):\n                return values, error\n", "",
        "tests/structured/test_json_in_text.py::test_of_a_broken_object_no_part_is_taken",
    ),
)  # fmt: skip
