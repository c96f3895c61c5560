"""The mechanisms behind models, content and context, each broken once; see ``mutants.py`` for the form."""

from mutants import mutant

FOLD = "tests/compaction/test_compaction.py"
BUDGET = "tests/compaction/test_budgets.py"
FINDS = "tests/properties/test_context_finds.py"
KILLS = "tests/crash/test_kill_points.py"

CONTEXT = (
    # -- compaction
    mutant(
        "a fold may part a call from its result", "P5", "decisions/folding.py",
        "for index, message in enumerate(messages) if message.role is not MessageRole.TOOL]",
        "for index, message in enumerate(messages)]",
        f"{FOLD}::test_a_plan_that_cannot_be_followed_is_recorded_and_loses_nothing",
    ),
    mutant(
        "a summary may be larger than what it replaces", "P21", "decisions/folding.py",
        "if state.size.of(note_of(plan.summary_text)) >= sum(sizes[start:stop]):", "if False:",
        f"{FOLD}::test_a_plan_that_cannot_be_followed_is_recorded_and_loses_nothing",
    ),
    mutant(
        "folding that buys nothing goes on", "P17", "decisions/folding.py",
        "or folding.useless >= MAX_USELESS", "or False",
        f"{FOLD}::test_folding_that_buys_nothing_stops_with_a_status",
    ),
    mutant(
        "a refused context is folded again and again", "P17", "decisions/folding.py",
        "(folding.pressed and (folding.refused or folding.folded)) or", "",
        f"{FOLD}::test_a_context_that_is_refused_however_it_is_folded_ends_with_a_status",
    ),
    mutant(
        "a failed compaction is tried in every round", "P17", "decisions/folding.py",
        "if folding.skipped_at and", "if False and",
        f"{FOLD}::test_a_plan_that_cannot_be_followed_is_recorded_and_loses_nothing",
    ),
    mutant(
        "usage is not carried over a fold", "P21", "decisions/carried.py", '    "spent": Spent,\n', "",
        f"{FOLD}::test_replay_starts_at_the_fold_and_comes_to_the_same",
    ),
    mutant(
        "the cost of summaries is not counted", "P17", "engine/compact.py",
        "[msgspec.structs.replace(fact, usage=calls.usage, cost=calls.cost, model=calls.model)]", "[fact]",
        f"{FOLD}::test_cost_and_usage_of_summaries_are_counted",
    ),
    mutant(
        "a summary's call is not recorded before it is made", "P17", "engine/compact.py",
        "await run.commit(\n            ModelCalled(", "run.stage(\n            ModelCalled(",
        f"{KILLS}::test_a_summary_that_keeps_killing_its_process_ends_as_a_crash_loop",
    ),
    mutant(
        "an input is folded with a note behind it", "P5", "decisions/folding.py",
        "if unheard is None or cut <= unheard)", ")",
        f"{FINDS}::test_an_input_with_a_note_behind_it_is_not_folded_before_it_is_heard",
    ),
    mutant(
        "what a compaction paid before a cancel is lost", "P17", "engine/compact.py",
        "        if calls.made:", "        if False:",
        f"{FINDS}::test_what_a_compaction_has_paid_before_a_cancel_is_counted",
    ),
    # -- budgets
    mutant(
        "a last attempt that stalled costs nothing", "P17", "decisions/spending.py",
        "if fact.unsettled or fact.code in UNSETTLED:", "if fact.code in UNSETTLED:",
        f"{FINDS}::test_a_last_attempt_that_stalled_counts_as_it_was_set_aside",
    ),
    mutant(
        "reservation not settled", "P17", "decisions/spending.py",
        "if self.open_tokens or self.open_cost:", "if False:",
        f"{BUDGET}::test_a_settled_call_counts_as_it_was_used",
    ),
    mutant(
        "a call that died costs nothing", "P17", "decisions/spending.py",
        "self.lost_cost += self.open_cost", "self.lost_cost += 0",
        f"{BUDGET}::test_a_call_nobody_knows_the_end_of_counts_as_it_was_set_aside",
    ),
    mutant(
        "budgets are looked at after the call", "P17", "engine/budget.py",
        "    if stop is not None:\n        return stop\n", "",
        f"{BUDGET}::test_tokens_stop_at_a_step_boundary_and_go_on_with_more",
    ),
    mutant(
        "a reply may be longer than its budget", "P17", "engine/budget.py",
        "        caps.append(left.tokens - prompt_tokens)\n", "        caps.append(left.tokens)\n",
        f"{BUDGET}::test_a_reply_is_capped_by_the_tokens_that_are_left",
    ),
    mutant(
        "a budget that was reached is forgotten on resume", "P17", "decisions/verbs.py",
        "if state.budget_reached is not None and not raised(state.budget_reached, started.limits):", "if False:",
        f"{BUDGET}::test_tokens_stop_at_a_step_boundary_and_go_on_with_more",
    ),
)  # fmt: skip
