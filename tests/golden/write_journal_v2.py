"""Writes the second golden journal: ``python tests/golden/write_journal_v2.py``. Refuses to overwrite it.

The first one, continued with one entry of each kind that came after it. When a release adds a kind or a version, write
the next file beside this one and keep both.
"""

import json
import sys

from golden import FOLDER, read, summary, write

from power_loop.facts.chain import seal_all
from power_loop.facts.entries import Erased, Fact, Pruned

JOURNAL = FOLDER / "journal_v2.jsonl"
EXPECTED = FOLDER / "journal_v2.expected.json"
NEW: tuple[Fact, ...] = (
    Erased(2, "0" * 32, "on request"),
    Pruned(1, 1),
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
