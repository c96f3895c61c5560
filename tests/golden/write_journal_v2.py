"""Writes the second golden journal: ``python tests/golden/write_journal_v2.py``. Refuses to overwrite it.

The first one, continued with one entry of each kind that came after it. When a release adds a kind or a version, write
the next file beside this one and keep both.
"""

import json
import sys

from golden import FOLDER, read, summary, write

from power_loop.facts.chain import seal_all
from power_loop.facts.entries import (
    BudgetReached,
    Compacted,
    CompactionSkipped,
    DefinitionChanged,
    Erased,
    Fact,
    OutputChecked,
    Pruned,
)
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.facts.usage import LLMTokenUsage

JOURNAL = FOLDER / "journal_v2.jsonl"
EXPECTED = FOLDER / "journal_v2.expected.json"
NEW: tuple[Fact, ...] = (
    Erased(2, "0" * 32, "on request"),
    Pruned(1, 1),
    DefinitionChanged("d9", "Answer briefly.", (), '[{"x":1}]', "final_answer"),
    OutputChecked(False, "", "days: 'five' is not an integer", 1),
    OutputChecked(True, '{"days":5}', repairs=2),
    BudgetReached("session", "cost", "0.50", "0.4987"),
    CompactionSkipped("llm_retry_exhausted", "rate limited", 1_200, LLMTokenUsage(900), "0.002"),
    Compacted(
        "<conversation_summary>\nA summary.\n</conversation_summary>",
        0,
        2,
        (AgentMessage(MessageRole.USER, "<conversation_summary>\nA summary.\n</conversation_summary>"),),
        (0,),
        {"rounds": 2, "started_fact": {"limits": {"compact_at": 24_000, "session": {"cost": "0.50"}}}},
        from_seq=2,
        to_seq=4,
        trigger="context_too_long",
        before_tokens=1_200,
        after_tokens=300,
        usage=LLMTokenUsage(1_000, 60),
        cost="0.003",
        model="golden",
    ),
)


def main() -> None:
    if JOURNAL.exists():
        sys.exit(f"{JOURNAL.name} exists: write the next file instead.")
    base, entries = read(FOLDER / "journal_v1.jsonl")
    last = entries[-1]
    at = {"run": last.run, "round_": last.round, "time": last.time + 1}
    entries += seal_all(NEW, head_seq=last.seq, head_digest=last.digest, **at)
    write(JOURNAL, base, entries)
    text = json.dumps(summary(base, entries), ensure_ascii=False, indent=1)
    EXPECTED.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
