"""Critical mechanisms, each taken out by hand, and the tests that must notice.

A mutant is one or more replacements in the sources. What is to be replaced must be there exactly once; where it is
not, the code has moved on and the run fails until the mutant is mended.
"""

from dataclasses import dataclass

STORES = "tests/stores/test_conformance.py"
DURABLE = "tests/properties/test_durable_first.py"
VERBS = "tests/face/test_verbs.py"
STATE = "tests/decisions/test_state.py"
STEPS = "tests/decisions/test_steps.py"
TOOLS = "tests/engine/test_tools_in_runs.py"
WIRE = "tests/properties/test_wire.py"
FAULTS = "tests/llms/openai/test_openai_chat_faults.py"
GOLDEN = "tests/golden/test_golden.py"


@dataclass(frozen=True)
class Edit:
    """In ``file`` (below ``src/power_loop``) ``old`` becomes ``new``."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A broken mechanism: which promise it breaks, and the tests of which one must fail."""

    name: str
    promise: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def mutant(name: str, promise: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    """Make a mutant of one replacement."""
    return Mutant(name, promise, (Edit(file, old, new),), tests)


KERNEL = (
    # -- stores
    Mutant(
        "fence dropped",
        "P6 P7",
        (
            Edit("stores/sqlite/sql.py", "    AND epoch = :epoch\n", ""),
            Edit("stores/rules.py", "(lease is None or epoch != append.epoch)", "(lease is None)"),
            Edit(
                "stores/rules.py",
                "if (epoch, head_seq, head_digest) != (append.epoch, append.expected_head, append.expected_digest):",
                "if (head_seq, head_digest) != (append.expected_head, append.expected_digest):",
            ),
        ),
        (
            f"{STORES}::TestSqliteStore::test_after_a_takeover_the_old_driver_cannot_write",
            f"{STORES}::TestMemoryStore::test_after_a_takeover_the_old_driver_cannot_write",
        ),
    ),
    mutant(
        "fence dropped in SQL alone", "P7", "stores/sqlite/sql.py", "    AND epoch = :epoch\n", "",
        f"{STORES}::TestSqliteStore::test_after_a_takeover_the_old_driver_cannot_write",
        f"{STORES}::TestSqliteStore::test_a_future_epoch_cannot_write",
        f"{STORES}::TestSqliteStore::test_a_claim_on_an_old_epoch_is_a_moved_head",
    ),
    mutant(
        "head not compared", "P2 P9", "stores/sqlite/sql.py",
        "    AND head_seq = :head\n    AND head_digest = :digest\n", "",
        f"{STORES}::TestSqliteStore::test_a_commit_on_an_old_head_is_refused",
        f"{STORES}::TestSqliteStore::test_a_commit_on_another_digest_is_refused",
    ),
    Mutant(
        "NORMAL for FULL",
        "P1",
        (
            Edit("stores/sqlite/connection.py", 'SYNCHRONOUS = "FULL"', 'SYNCHRONOUS = "NORMAL"'),
            Edit("stores/sqlite/connection.py", "SYNCHRONOUS_CODE = 2", "SYNCHRONOUS_CODE = 1"),
        ),
        ("tests/stores/test_power_loss.py::test_full_loses_nothing",),
    ),
    mutant(
        "a live lease does not refuse", "P6", "stores/rules.py",
        "return lease is None or lease.owner == claim.owner or not is_live(lease, claim.now, dead)", "return True",
        f"{VERBS}::test_a_session_that_another_driver_holds_is_refused_before_anything_is_paid",
    ),
    mutant(
        "every holder counts as dead", "P6 P8", "stores/sqlite/locks.py",
        'if owner == self._owner or "/" in owner:\n            return False', "return True",
        "tests/stores/test_processes.py::test_a_stopped_driver_is_alive",
        f"{STORES}::TestSqliteStore::test_another_processes_lease_is_respected",
    ),
    mutant(
        "no holder counts as dead", "P8", "stores/sqlite/locks.py",
        'if owner == self._owner or "/" in owner:\n            return False', "return False",
        "tests/stores/test_processes.py::test_a_killed_drivers_lease_is_free_at_once",
    ),
    mutant(
        "inbox check dropped", "P22", "stores/rules.py",
        "return append.release or any(entry.kind in ENDS for entry in append.entries)", "return False",
        f"{VERBS}::test_an_input_that_waits_at_the_end_keeps_the_run_going",
        f"{STORES}::TestMemoryStore::test_a_run_does_not_end_over_an_input",
        f"{STORES}::TestSqliteStore::test_a_run_does_not_end_over_an_input",
    ),
    mutant(
        "cancel check dropped", "P15", "stores/rules.py",
        "return {entry.run for entry in append.entries if entry.kind in STARTS}", "return set()",
        f"{STORES}::TestMemoryStore::test_no_tool_starts_over_a_cancel",
        f"{STORES}::TestSqliteStore::test_no_model_call_starts_over_a_cancel",
    ),
    mutant(
        "lost answer of a commit not looked up", "P9", "stores/sqlite/workers.py",
        "return job.committed(db)", "return False",
        "tests/stores/test_faults.py::test_a_commit_whose_answer_is_lost_is_a_commit",
    ),
    # -- facts
    mutant(
        "digest not chained", "P12", "facts/chain.py",
        "return blake2b(previous + columns + content", "return blake2b(columns + content",
        f"{GOLDEN}::test_a_forged_entry_with_a_digest_of_its_own_is_noticed_by_the_next",
    ),
    mutant(
        "digest without the body", "P12", "facts/chain.py",
        "blake2b(previous + columns + content,", "blake2b(previous + columns,",
        f"{STATE}::test_a_changed_body_is_noticed",
    ),
    mutant(
        "digests not compared", "P12", "decisions/replay.py",
        "if entry.seq != seq or entry.digest != digest:", "if entry.seq < 0 or not digest:",
        f"{STATE}::test_a_changed_body_is_noticed",
    ),
    mutant(
        "unknown essential entries skipped", "P18", "facts/journal.py",
        "if kind.startswith(ANCILLARY_PREFIX):\n            return None", "return None",
        f"{STATE}::test_an_unknown_essential_kind_stops_and_an_ancillary_one_is_skipped",
    ),
    # -- decisions
    mutant(
        "results out of call order", "P5", "decisions/state.py",
        "        for call in self.calls.values():\n            call.position = len(self.messages)",
        "        for call in reversed(self.calls.values()):\n            call.position = len(self.messages)",
        f"{STATE}::test_results_stand_in_call_order_whatever_order_they_came_in",
    ),
    mutant(
        "an input inside a batch is not held back", "P5", "decisions/state.py",
        "        if self.open_calls:\n            self.deferred", "        if False:\n            self.deferred",
        f"{STATE}::test_an_input_inside_an_open_batch_stands_behind_the_last_result",
    ),
    mutant(
        "open calls not answered at the end", "P5 P15", "decisions/endings.py",
        "    if status in _KEEPS_CALLS:\n        return []", "    return []",
        "tests/face/test_hooks.py::test_round_decide_break_answers_the_calls_and_ends",
        "tests/face/test_hooks.py::test_tool_after_break_answers_the_rest_and_ends",
    ),
    mutant(
        "finished calls run again", "P3", "decisions/state.py",
        "[call for call in self.calls.values() if call.open] if self.open_calls else []", "list(self.calls.values())",
        f"{VERBS}::test_a_finished_sibling_is_never_run_again",
    ),
    mutant(
        "a once call in doubt runs again", "P4", "decisions/calls.py",
        "if call.once:\n        return Fate.RECONCILE", "if call.once:\n        return Fate.RUN",
        f"{VERBS}::test_calls_in_doubt_follow_their_effect",
    ),
    mutant(
        "attempts that end in death not bounded", "P4", "decisions/calls.py", "MAX_ATTEMPTS = 3", "MAX_ATTEMPTS = 99",
        f"{STEPS}::test_a_repeatable_call_in_doubt_runs_again_at_most_three_times",
    ),
    mutant(
        "unreadable arguments run as {}", "P4", "decisions/calls.py", " or call.recorded.raw is not None:", ":",
        f"{TOOLS}::test_arguments_that_do_not_fit_never_reach_the_tool",
        f"{STEPS}::test_a_tool_never_offered_and_unreadable_arguments_are_refused",
    ),
    mutant(
        "crash loops not counted", "P17", "decisions/state.py", "self.deaths += 1", "self.deaths += 0",
        f"{STEPS}::test_three_deaths_in_model_calls_end_in_crash_loop_and_force_forgives",
    ),
    mutant(
        "a cancel of another run counts", "P15", "decisions/state.py",
        "if self.run_open and fact.target == self.run:", "if self.run_open:",
        f"{STEPS}::test_a_cancel_of_another_run_is_void",
    ),
    # -- engine
    mutant(
        "tool started not committed", "P4 P7", "engine/run_tools.py",
        "            await self._run.commit(*admitted.values())",
        "            for start in admitted.values():\n                self._run.stage(start)",
        f"{DURABLE}::test_calls_of_model_and_tools_are_durable_before_they_are_made",
    ),
    mutant(
        "model called not committed", "P17 P7", "engine/call_model.py",
        "await run.commit(called)", "run.stage(called)",
        f"{DURABLE}::test_calls_of_model_and_tools_are_durable_before_they_are_made",
    ),
    mutant(
        "told before written", "P1", "engine/journal.py",
        "            await self._store.append(append)\n        except asyncio.CancelledError:",
        "            for listener in self._services.listeners:\n"
        "                listener.on_entries(self.session_id, append.entries)\n"
        "            await self._store.append(append)\n        except asyncio.CancelledError:",
        f"{DURABLE}::test_nobody_hears_of_an_entry_before_it_is_durable",
    ),
    mutant(
        "commands consumed but not recorded", "P22", "engine/journal.py",
        "            if fact is not None:\n                self.stage(fact)", "            pass",
        f"{VERBS}::test_an_input_that_waits_at_the_end_keeps_the_run_going",
    ),
    mutant(
        "the last word may use tools", "P17", "engine/call_model.py",
        'tool_choice="none" if step.wrap_up else "auto"', 'tool_choice="auto"',
        f"{VERBS}::test_the_round_limit_gives_a_last_word_and_reopens_with_more",
        f"{WIRE}::test_the_last_word_at_the_round_limit_keeps_the_prefix",
    ),
    mutant(
        "the last word takes the tools away", "P20", "engine/call_model.py",
        "tools=definition.tools,", "tools=() if step.wrap_up else definition.tools,",
        f"{WIRE}::test_the_last_word_at_the_round_limit_keeps_the_prefix",
    ),
    mutant(
        "another key for a second attempt", "P4", "engine/tool_call.py",
        "idempotency_key=call.key or idempotency_key(run.session_id, call.id),",
        'idempotency_key=f"{call.key}.{call.attempt}" if call.attempt > 1 else call.key,',
        f"{DURABLE}::test_every_attempt_hands_out_the_key_of_the_first",
    ),
    mutant(
        "a changed definition not recorded", "P20", "engine/call_model.py",
        "if run.state.definition != definition.digest:", "if not run.state.definition:",
        f"{DURABLE}::test_a_definition_is_recorded_whenever_it_changes_and_only_then",
    ),
    mutant(
        "wire ids taken as they come", "P5", "engine/call_model.py",
        "if wire_id in here or (wire_id in state.wire_ids and wire_id not in reusable):", "if not wire_id:",
        f"{TOOLS}::test_wire_ids_of_the_provider_are_kept_where_they_can_be",
        f"{WIRE}::test_a_long_conversation_is_valid_and_prefix_stable",
    ),
    # -- models
    mutant(
        "end marker not required", "P3", "llms/openai_chat.py",
        "if self._require_done or builder.finish_reason is None:", "if builder.finish_reason is None:",
        f"{FAULTS}::test_a_finish_reason_without_the_end_marker_is_no_end",
    ),
    mutant(
        "every message converted anew", "P21", "llms/message_cache.py",
        "if entry is not None and entry[0]() is message:", "if False:",
        "tests/properties/test_linear.py::test_a_message_is_converted_for_the_wire_once",
    ),
)  # fmt: skip
