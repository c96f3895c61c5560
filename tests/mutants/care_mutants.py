"""The mechanisms that look after what is stored, each broken once; see ``mutants.py`` for the form."""

from mutants import mutant

FACE = "tests/face/test_care_verbs.py"
FOLDS = "tests/compaction/test_care_of_folds.py"
INBOX = "tests/face/test_unreadable_input.py"

CARE = (
    mutant(
        "a prune deletes what waits", "P22", "face/pruning.py",
        "if record.head_digest != member.head_digest or not await _ended(store, clock, record):",
        "if record.head_digest != member.head_digest:",
        f"{FACE}::test_what_is_driven_or_waits_for_something_stays",
    ),
    mutant(
        "an erasure makes a session young", "P21", "face/pruning.py",
        "return record.updated_at if last is None else last.time", "return record.updated_at",
        f"{FACE}::test_an_erasure_makes_no_session_young_again",
    ),
    mutant(
        "a prune ends between compactions", "P2", "decisions/retention.py",
        "if entry.kind in ANCHORS or not parts:", "if not parts:",
        f"{FACE}::test_a_journal_begins_with_a_compaction_whatever_is_kept",
    ),
    mutant(
        "detached children count as family", "P16", "decisions/retention.py",
        "if record.parent_id in known and record.lifecycle != SubagentLifecycle.DETACHED:",
        "if record.parent_id in known:",
        f"{FACE}::test_a_family_goes_as_a_whole_or_stays",
    ),
    mutant(
        "erased content stays in the view of a fold", "P12", "decisions/erasing.py",
        "return seq in self.seqs or (seq in self.edits", "return (seq in self.edits",
        f"{FOLDS}::test_what_was_folded_away_is_gone_from_every_fold_that_had_kept_it",
    ),
    mutant(
        "an erasure takes all messages of a fold", "P12", "stores/rules.py",
        "erased_body(kind, body, version, fact.parts)", "erased_body(kind, body, version)",
        f"{FOLDS}::test_each_message_that_is_still_seen_can_be_erased_alone",
    ),
    mutant(
        "a reply with open calls is erased", "P4", "face/care.py",
        "if holds_open_call(holders, state):", "if False:",
        f"{FACE}::test_a_reply_whose_calls_are_open_is_not_erased",
    ),
    mutant(
        "care on a journal that moved meanwhile", "P6", "face/driver.py",
        "if state.head_digest != looked_at.head_digest:", "if False:",
        f"{FACE}::test_what_another_process_wrote_meanwhile_is_not_judged_by_what_was_there_before",
    ),
    mutant(
        "unreadable input raises", "P22", "engine/commands.py",
        "except (msgspec.MsgspecError, RecursionError) as error:", "except RecursionError as error:",
        f"{INBOX}::test_a_run_ends_over_it",
    ),
    mutant(
        "unreadable input is not consumed", "P22", "engine/journal.py",
        "if not facts and self._consumes:", "if False:",
        f"{INBOX}::test_at_rest_it_is_consumed_by_the_next_verb",
    ),
    mutant(
        "an archive numbers entries beyond a session's", "P12", "stores/archive_format.py",
        "msgspec.Meta(ge=0, lt=1 << 32)", "msgspec.Meta(ge=0, le=1 << 53)",
        "tests/stores/test_archive.py::test_entries_beyond_the_numbers_of_a_session_reach_no_other",
    ),
)  # fmt: skip
