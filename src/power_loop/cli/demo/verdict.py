"""What the journal and the ledger say together: the demo's assertions. Never looks at wording."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from signal import SIGKILL
from typing import Any

import msgspec

from power_loop.cli.demo.ledger import Deed, Line, deeds, model_calls
from power_loop.facts.chain import verify
from power_loop.facts.entries import ModelReplied, RunEnded, ToolFinished, ToolStarted
from power_loop.facts.errors import StoreCorrupt
from power_loop.facts.journal import Entry
from power_loop.facts.messages import text_of
from power_loop.ports.store import SessionRecord


class Check(msgspec.Struct, frozen=True):
    """One assertion, whether it holds, and the figures behind it."""

    name: str
    ok: bool
    detail: str


class Evidence:
    """Everything that is known once all processes are gone."""

    def __init__(
        self, record: SessionRecord, entries: Sequence[Entry], lines: Sequence[Line], killed_by: int | None
    ) -> None:
        self.record = record
        self.entries = entries
        self.killed_by = killed_by
        self.deeds = deeds(lines)
        self.calls_started, self.calls_paid = model_calls(lines)
        self.results = {fact.call: fact for _, fact in _facts(entries, ToolFinished)}
        first_run = entries[0].run if not entries else min((entry.run for entry in entries if entry.run), default=0)
        mine = [entry for entry in entries if entry.run == first_run]
        self.finished_first = [fact.call for _, fact in _facts(mine, ToolFinished)]
        started = [fact.call for _, fact in _facts(mine, ToolStarted)]
        self.in_doubt = [call for call in started if call not in self.finished_first]

    def count(self, kind: str) -> int:
        """Return how many entries of a kind there are."""
        return sum(entry.kind == kind for entry in self.entries)

    @property
    def final_text(self) -> str:
        """What the session said in the end."""
        texts = [fact.content for _, fact in _facts(self.entries, ModelReplied) if not fact.calls]
        last = texts[-1] if texts else ""
        return last if isinstance(last, str) else "".join(getattr(block, "text", "") for block in last)

    @property
    def tool_runs(self) -> int:
        """How often a tool was started, by the ledger."""
        return sum(deed.runs for deed in self.deeds.values())


def _facts(entries: Sequence[Entry], kind: type[Any]) -> Iterator[tuple[Entry, Any]]:
    return ((entry, entry.fact) for entry in entries if isinstance(entry.fact, kind))


def judge(evidence: Evidence) -> list[Check]:
    """Return every assertion, in the order in which the story tells them."""
    return [assertion(evidence) for assertion in _ASSERTIONS]


def _killed(evidence: Evidence) -> Check:
    ok = evidence.killed_by == -SIGKILL
    return Check("worker 1 was killed with SIGKILL", ok, f"exit status {evidence.killed_by}")


def _cut_off(evidence: Evidence) -> Check:
    ok = bool(evidence.finished_first) and bool(evidence.in_doubt)
    detail = f"{len(evidence.finished_first)} finished, {len(evidence.in_doubt)} in flight"
    return Check("it had finished one tool call and was inside another", ok, detail)


def _completed(evidence: Evidence) -> Check:
    last = evidence.entries[-1].fact if evidence.entries else None
    status = last.status if isinstance(last, RunEnded) else "no end"
    return Check("worker 2 brought the session to its end", status == "completed", status)


def _paid_once(evidence: Evidence) -> Check:
    replies = Counter((entry.round) for entry, _ in _facts(evidence.entries, ModelReplied))
    once = all(count == 1 for count in replies.values())
    called, failed = evidence.count("model_called"), evidence.count("model_failed")
    ok = (
        once and evidence.calls_paid == replies.total() and evidence.calls_started == called == replies.total() + failed
    )
    return Check("no model call was paid twice", ok, f"{evidence.calls_paid} paid, {replies.total()} replies recorded")


def _not_again(evidence: Evidence) -> Check:
    runs = [_runs(evidence, call) for call in evidence.finished_first]
    ok = bool(runs) and all(count == 1 for count in runs)
    return Check("no finished tool ran again", ok, f"started {', '.join(map(str, runs)) or 0} x")


def _runs(evidence: Evidence, call: str) -> int:
    deed = evidence.deeds.get(call)
    return deed.runs if deed is not None and len(deed.results) == 1 else 0


def _again(evidence: Evidence) -> Check:
    found = [evidence.deeds[call] for call in evidence.in_doubt if call in evidence.deeds]
    ok = bool(found) and len(found) == len(evidence.in_doubt) and all(map(_second_attempt, found))
    detail = ", ".join(f"attempts {' and '.join(map(str, deed.attempts))}" for deed in found) or "no run in the ledger"
    return Check("the tool in flight ran again under the same idempotency key", ok, detail)


def _second_attempt(deed: Deed) -> bool:
    return deed.attempts == (1, 2) and len(deed.keys) == 1 and "" not in deed.keys and len(deed.results) == 1


def _same_results(evidence: Evidence) -> Check:
    recorded = {call: (text_of(result.content),) for call, result in evidence.results.items()}
    happened = {call: deed.results for call, deed in evidence.deeds.items()}
    detail = f"{len(recorded)} of {len(happened)}"
    return Check("each recorded result is what its tool returned", bool(recorded) and recorded == happened, detail)


def _unbroken(evidence: Evidence) -> Check:
    name = "the journal has no gap and every digest holds"
    record = evidence.record
    try:
        verify(
            evidence.entries,
            base_seq=record.base_seq,
            base=record.base_digest,
            head_seq=record.head_seq,
            head=record.head_digest,
        )
    except StoreCorrupt as error:
        return Check(name, ok=False, detail=str(error))
    return Check(name, ok=True, detail=f"{len(evidence.entries)} entries")


_ASSERTIONS: tuple[Callable[[Evidence], Check], ...] = (
    _killed,
    _cut_off,
    _completed,
    _paid_once,
    _not_again,
    _again,
    _same_results,
    _unbroken,
)
