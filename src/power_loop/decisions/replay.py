"""From a journal to its state, checked on the way."""

from collections.abc import Iterable

from power_loop.decisions.state import State
from power_loop.facts.chain import chain, check_tombstones
from power_loop.facts.entries import Erased
from power_loop.facts.errors import StoreCorrupt
from power_loop.facts.journal import Entry


def replay(entries: Iterable[Entry], *, base_seq: int, base_digest: bytes) -> State:
    """Derive the state of a journal, checking numbers and digests on the way.

    Raises StoreCorrupt where an entry does not follow from the one before it, JournalTooNew for what a newer
    release wrote.
    """
    state = State(base_seq, base_digest)
    apply, seq, digest = state.apply, base_seq, base_digest
    touched: list[Entry] = []
    for entry in entries:
        seq += 1
        digest = chain(
            digest, seq, entry.kind, entry.version, entry.run, entry.round, entry.time, entry.body, entry.body_digest
        )
        if entry.seq != seq or entry.digest != digest:
            raise StoreCorrupt(f"Entry {seq} is missing or does not match its digest.", seq=entry.seq)
        if entry.body_digest is not None or entry.kind == Erased.kind:
            touched.append(entry)
        try:
            apply(entry)
        except (KeyError, IndexError) as error:
            raise StoreCorrupt(f"Entry {entry.seq} speaks of {error}, which is not there.", seq=entry.seq) from error
    check_tombstones(touched)
    return state
