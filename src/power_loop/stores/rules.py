"""What every store of this package decides alike. Knows records and appends, not where they are kept."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from power_loop.facts import jsontext
from power_loop.facts.chain import base_digest, body_hash
from power_loop.facts.clock import Instant
from power_loop.facts.entries import Erased, Pruned
from power_loop.facts.erasure import erased_body
from power_loop.facts.errors import (
    CancelRequested,
    HeadMoved,
    InboxNotEmpty,
    InvalidInputError,
    LeaseLost,
    PowerLoopError,
    SessionBusy,
)
from power_loop.facts.journal import Entry
from power_loop.ports.store import (
    ANCHORS,
    ENDS,
    ERASES,
    PRUNES,
    STARTS,
    Append,
    Claim,
    Lease,
    NewSession,
    SessionRecord,
)

Dead = Callable[[str], bool]
CARE = ANCHORS | PRUNES | ERASES
"""Kinds whose append does more than add an entry."""


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


def takes_care(append: Append) -> bool:
    """Tell whether an append does more than add entries."""
    for entry in append.entries:  # noqa: SIM110 -- on the way of every commit; half the time of any()
        if entry.kind in CARE:
            return True
    return False


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


def check_append(append: Append) -> None:
    """Refuse what no state of the session could admit: a gap, or blobs that no entry comes with."""
    check_numbering(append.entries, append.expected_head)
    if append.blobs and not append.entries:
        raise InvalidInputError("Blobs are appended with the entries that refer to them; there is none.")


def anchor_after(entries: Iterable[Entry], digest: bytes) -> tuple[int, bytes] | None:
    """Return number of and digest before the last anchor among entries that follow ``digest``; None without any."""
    anchor = None
    for entry in entries:
        if entry.kind in ANCHORS:
            anchor = (entry.seq, digest)
        digest = entry.digest
    return anchor


def check_prune(fact: Pruned, base_seq: int, anchor_seq: int) -> None:
    """Refuse to delete what is gone, what replay needs, or what the fact counts wrongly. Raises InvalidInputError."""
    if not base_seq < fact.through < anchor_seq:
        raise InvalidInputError(
            f"Cannot prune through entry {fact.through}: the journal begins with entry {base_seq + 1}, and replay "
            f"needs everything from entry {anchor_seq} on."
        )
    if fact.entries != fact.through - base_seq:
        raise InvalidInputError(f"Pruning through entry {fact.through} deletes {fact.through - base_seq} entries.")


def tombstone(fact: Erased, kind: str, version: int, body: str) -> str:
    """Return what replaces the body of an erasure's target. Raises InvalidInputError, JournalTooNew."""
    replacement = erased_body(kind, body, version, fact.parts)
    if body_hash(replacement).hex() != fact.tombstone:
        raise InvalidInputError(
            f"The erasure of entry {fact.target} records another replacement. Make it with facts.erasure.erasure_of()."
        )
    return replacement


def no_target(fact: Erased) -> InvalidInputError:
    """Return the error for an erasure of an entry that is not there."""
    return InvalidInputError(f"Entry {fact.target} is not in the journal; there is nothing to erase.")


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
    check_numbering(session.first, session.base_seq)
    return json_text(session.config, "config"), json_text(session.metadata, "metadata")


def new_record(session: NewSession) -> SessionRecord:
    """Return the row of a session that begins now."""
    base = base_digest(session.id) if session.base_digest is None else session.base_digest
    last = session.first[-1] if session.first else None
    anchor_seq, anchor_digest = anchor_after(session.first, base) or (session.base_seq + 1, base)
    return SessionRecord(
        id=session.id,
        created_at=session.created_at,
        updated_at=max(session.created_at, last.time) if last else session.created_at,
        base_seq=session.base_seq,
        base_digest=base,
        head_seq=last.seq if last else session.base_seq,
        head_digest=last.digest if last else base,
        epoch=session.epoch,
        anchor_seq=anchor_seq,
        anchor_digest=anchor_digest,
        parent_id=session.parent_id,
        kind=session.kind,
        lifecycle=session.lifecycle,
        depth=session.depth,
        config=session.config,
        metadata=session.metadata,
    )
