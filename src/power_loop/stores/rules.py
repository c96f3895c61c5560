"""What every store of this package decides alike. Knows records and appends, not where they are kept."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from power_loop.facts import jsontext
from power_loop.facts.clock import Instant
from power_loop.facts.entries import Entry, base_digest
from power_loop.facts.errors import (
    CancelRequested,
    HeadMoved,
    InboxNotEmpty,
    InvalidInputError,
    LeaseLost,
    PowerLoopError,
    SessionBusy,
)
from power_loop.ports.store import ENDS, STARTS, Append, Claim, Lease, NewSession, SessionRecord

Dead = Callable[[str], bool]


def is_live(lease: Lease | None, now: Instant, dead: Dead) -> bool:
    """Tell whether someone may still be driving under this lease.

    Both stores of this package live on one machine, so a lease of another boot has outlived its driver.
    """
    if lease is None or lease.until.reached(now):
        return False
    rebooted = bool(lease.until.boot_id and now.boot_id) and lease.until.boot_id != now.boot_id
    return not rebooted and not dead(lease.owner)


def busy(session_id: str, lease: Lease | None) -> SessionBusy:
    """Return the error that names the holder of a live lease."""
    owner, until = (lease.owner, lease.until.wall_ms) if lease else ("", 0)
    return SessionBusy(session_id, owner=owner, until=until)


def may_claim(lease: Lease | None, claim: Claim, dead: Dead) -> bool:
    """Tell whether a claim wins: the lease is free, its own, expired, or its holder is dead."""
    return lease is None or lease.owner == claim.owner or not is_live(lease, claim.now, dead)


def lease_after(lease: Lease | None, append: Append) -> Lease | None:
    """Return the lease that a commit leaves behind."""
    if append.release:
        return None
    return Lease(append.claim.owner, append.claim.until) if append.claim else lease


def epoch_after(append: Append) -> int:
    """Return the epoch that a commit leaves behind."""
    return append.epoch + 1 if append.claim else append.epoch


def fence_refusal(
    append: Append, *, epoch: int, head_seq: int, head_digest: bytes, lease: Lease | None, path: str
) -> PowerLoopError | None:
    """Return why the session's row does not admit this append, or None."""
    where = f"{append.session_id!r} in {path}"
    if append.claim is None and (lease is None or epoch != append.epoch):
        return LeaseLost(
            f"The lease on {where} is no longer held: this driver's epoch is {append.epoch}, the session's is {epoch}. "
            f"Nothing was written; another driver may have taken over.",
            path=path,
            session_id=append.session_id,
            epoch=epoch,
        )
    if (epoch, head_seq, head_digest) != (append.epoch, append.expected_head, append.expected_digest):
        return HeadMoved(
            f"The head of {where} is entry {head_seq} of epoch {epoch}, not {append.expected_head} of {append.epoch}. "
            f"Read the session again.",
            path=path,
            head_seq=head_seq,
            epoch=epoch,
        )
    return None


def consumed_twice(append: Append, path: str) -> HeadMoved:
    """Return the error for an append that consumes an inbox row which is not there."""
    return HeadMoved(
        f"An inbox row of {append.session_id!r} among {list(append.consumes)} is gone. Read the inbox again.", path=path
    )


def ends(append: Append) -> bool:
    """Tell whether an append ends a run or frees the lease, which no unconsumed inbox row may wait behind."""
    return append.release or any(entry.kind in ENDS for entry in append.entries)


def starting_runs(append: Append) -> set[int]:
    """Return the runs in which an append starts a model call or a tool."""
    return {entry.run for entry in append.entries if entry.kind in STARTS}


def inbox_refusal(append: Append, path: str) -> InboxNotEmpty:
    """Return the error for an end over an unconsumed inbox row."""
    return InboxNotEmpty(
        f"Commands wait in the inbox of {append.session_id!r}; consume them before the end.", path=path
    )


def cancel_refusal(append: Append, path: str) -> CancelRequested:
    """Return the error for a start over an unconsumed cancel."""
    return CancelRequested(f"A cancel waits in the inbox of {append.session_id!r}; nothing may start.", path=path)


def check_numbering(entries: Iterable[Entry], head: int) -> None:
    """Refuse entries that would leave a gap: a mistake of the caller, raised as InvalidInputError."""
    for expected, entry in enumerate(entries, head + 1):
        if entry.seq != expected:
            raise InvalidInputError(f"Entry {entry.seq} cannot follow entry {expected - 1}; seal it on the head.")


def json_text(value: Mapping[str, Any], what: str) -> str:
    """Return canonical JSON that every store can hold. Raises InvalidInputError."""
    try:
        return jsontext.encode(jsontext.clean_value(value)[0])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInputError(f"The session's {what} cannot be written as JSON: {error}") from error


def check_new(session: NewSession) -> tuple[str, str]:
    """Check a new session's id and numbering; return its config and metadata as JSON. Raises InvalidInputError."""
    if not session.id or jsontext.clean(session.id)[1]:
        raise InvalidInputError(f"{session.id!r} cannot be a session id: use text without NUL or lone surrogates.")
    check_numbering(session.first, 0)
    return json_text(session.config, "config"), json_text(session.metadata, "metadata")


def new_record(session: NewSession) -> SessionRecord:
    """Return the row of a session that begins now."""
    base = base_digest(session.id)
    last = session.first[-1] if session.first else None
    return SessionRecord(
        id=session.id,
        created_at=session.created_at,
        updated_at=session.created_at,
        base_seq=0,
        base_digest=base,
        head_seq=last.seq if last else 0,
        head_digest=last.digest if last else base,
        epoch=0,
        parent_id=session.parent_id,
        kind=session.kind,
        lifecycle=session.lifecycle,
        depth=session.depth,
        config=session.config,
        metadata=session.metadata,
    )
