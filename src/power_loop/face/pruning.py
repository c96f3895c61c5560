"""Pruning: carries out what ``decisions.retention`` chooses, and looks first whether a session may go."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from power_loop.decisions.retention import Family, Keep, bytes_of, families, folded_away
from power_loop.engine.journal import load_state
from power_loop.face.driver import Driver
from power_loop.face.reports import info_of
from power_loop.facts import jsontext
from power_loop.facts.blobs import blobs_in
from power_loop.facts.clock import Clock, Instant
from power_loop.facts.entries import Pruned
from power_loop.facts.errors import ConfigError, SessionBusy, SessionNotFoundError
from power_loop.facts.journal import Entry
from power_loop.ports.store import SessionRecord, SessionStats, SessionStore

_PAGE = 500
_DONE = frozenset({"empty", "completed"})
_STOPPED = {"hit_round_limit", "budget_exceeded", "context_full", "cancelled", "degraded", "error", "crash_loop"}
_ENDED = _DONE | _STOPPED | {"hook_break"}
"""Statuses of sessions in which nothing is left to do but what a host may ask anew, unless calls are open."""


class PruneReport(msgspec.Struct, frozen=True):
    """What ``prune`` deleted, or with ``dry_run`` would delete.

    ``sessions`` are the ids of whole sessions, ``entries`` counts entries of journals, and ``bytes`` their content:
    bodies in UTF-8, and blobs, as ``stats`` counts them.
    """

    sessions: tuple[str, ...] = ()
    entries: int = 0
    bytes: int = 0
    dry_run: bool = False


def keep_of(older_than: timedelta | None, max_bytes: int | None, keep_last: int | None, now: Instant) -> Keep:
    """Return what the arguments of ``prune`` ask for. Raises ConfigError."""
    if older_than is not None and (not isinstance(older_than, timedelta) or older_than < timedelta()):
        raise ConfigError(f"older_than of prune() must be a timedelta that is not negative, got {older_than!r}.")
    for name, bound in (("max_bytes", max_bytes), ("keep_last", keep_last)):
        if bound is not None and (not isinstance(bound, int) or bound < 0):
            raise ConfigError(f"{name} of prune() must be a whole number from 0, got {bound!r}.")
    before = None if older_than is None else now.wall_ms - older_than // timedelta(milliseconds=1)
    return Keep(before, max_bytes, keep_last or 0)


# -- whole sessions


async def prune_sessions(
    store: SessionStore, driver: Driver, clock: Clock, keep: Keep, *, dry_run: bool
) -> PruneReport:
    """Delete ended sessions, longest unchanged first."""
    records = await _records(store)
    everything = families({record.id: await _changed_at(store, record) for record in records}, records)
    total = sum(map(_bytes, (await store.stats()).sessions)) if keep.max_bytes is not None else 0
    report = PruneReport(dry_run=dry_run)
    for family in everything[: max(len(everything) - keep.last, 0)]:
        if not keep.too_much(family.changed_at, total):
            continue
        try:
            async with driver.seat(family.root.id, "raise"):
                if not await _is_over(store, clock, family):
                    continue
                sizes = [size for member in family.members for size in (await store.stats(member.id)).sessions]
                if not dry_run:
                    await store.delete(family.root.id, now=clock.now())
        except (SessionBusy, SessionNotFoundError):  # somebody drives it now, or deleted it
            continue
        total -= sum(map(_bytes, sizes))
        report = _added(report, family, sizes)
    return report


def _added(report: PruneReport, family: Family, sizes: Sequence[SessionStats]) -> PruneReport:
    return PruneReport(
        (*report.sessions, *(member.id for member in family.members)),
        report.entries + sum(size.entries for size in sizes),
        report.bytes + sum(map(_bytes, sizes)),
        report.dry_run,
    )


def _bytes(size: SessionStats) -> int:
    return size.entry_bytes + size.blob_bytes


async def _records(store: SessionStore) -> list[SessionRecord]:
    records: list[SessionRecord] = []
    while page := await store.list(limit=_PAGE, before=records[-1].id if records else None):
        records += page
    return records


async def _changed_at(store: SessionStore, record: SessionRecord) -> int:
    """Return when something was last said or done; a prune or an erasure makes no session young again."""
    last = await store.last(record.id, ("run_started", "run_ended", "input_received"))
    return record.updated_at if last is None else last.time


async def _is_over(store: SessionStore, clock: Clock, family: Family) -> bool:
    """Tell whether these sessions are as they were when they were listed, and nothing waits in any of them."""
    for member in family.members:
        record = await store.get(member.id)
        if record.head_digest != member.head_digest or not await _ended(store, clock, record):
            return False
    return True


async def _ended(store: SessionStore, clock: Clock, record: SessionRecord) -> bool:
    status = (await info_of(store, record, clock.now())).status
    if status not in _ENDED or any(row.kind == "input" for row in await store.inbox(record.id)):
        return False
    return status in _DONE or not load_state(*await store.load(record.id)).open_calls


# -- within one session


async def prune_folded(
    store: SessionStore, driver: Driver, session_id: str, keep: Keep, *, dry_run: bool
) -> PruneReport:
    """Delete entries that compactions have folded away. Raises SessionNotFoundError, SessionBusy."""
    async with driver.seat(session_id, None):
        record, entries = await store.load(session_id, whole=True)
        sizes = (await store.stats(session_id)).sessions
        folded = entries[: record.anchor_seq - record.base_seq - 1]
        gone = folded_away(folded, keep, sum(map(_bytes, sizes)))
        if not gone:
            return PruneReport(dry_run=dry_run)
        blobs = await _blobs_of(store, record, gone, entries[len(gone) :])
        if not dry_run:
            await driver.record(session_id, lambda _: [Pruned(gone[-1].seq, len(gone))], record)
    return PruneReport((), len(gone), bytes_of(gone) + blobs, dry_run)


async def _blobs_of(store: SessionStore, record: SessionRecord, gone: Sequence[Entry], kept: Sequence[Entry]) -> int:
    """Return the bytes of the blobs that a session lets go of with these entries."""
    texts = [jsontext.encode([record.config, record.metadata]), *(entry.body for entry in kept)]
    blobs = {blob for entry in gone for blob in blobs_in(entry.body)}.difference(*map(blobs_in, texts))
    return sum([len(await store.read_blob(blob)) for blob in blobs & await store.list_blobs(record.id)])
