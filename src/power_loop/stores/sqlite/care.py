"""What the writer does beyond adding entries: blobs, the anchor, pruning, erasure. Inside the commit that says so."""

from collections.abc import Iterator, Mapping

from power_loop.facts.blobs import blob_address, blob_digest
from power_loop.facts.chain import body_hash
from power_loop.facts.entries import Erased, Pruned
from power_loop.facts.errors import StoreCorrupt
from power_loop.ports.store import ANCHORS, Append
from power_loop.stores import rules
from power_loop.stores.blobs import check_address, check_stored, let_go, not_found
from power_loop.stores.sqlite import sql
from power_loop.stores.sqlite.connection import Connection
from power_loop.stores.sqlite.queries import find_key


def add_blobs(db: Connection, key: int, blobs: Mapping[str, bytes]) -> None:
    """Store bytes that are not there yet, and refer to them."""
    for address, data in blobs.items():
        digest = blob_digest(address)
        db.execute(sql.ADD_BLOB, (digest, data))
        db.execute(sql.ADD_BLOB_REF, (key, digest))


def read_blob(db: Connection, address: str, path: str) -> bytes:
    """Return the bytes at an address. Raises BlobNotFound, StoreCorrupt."""
    check_address(address, path)
    row = db.execute(sql.READ_BLOB, (blob_digest(address),)).fetchone()
    if row is None:
        raise not_found(address, path)
    return check_stored(address, row[0], path)


def list_blobs(db: Connection, session_id: str) -> frozenset[str]:
    """Return the addresses that a session refers to. Raises SessionNotFoundError."""
    rows = db.execute(sql.SESSION_BLOBS, (find_key(db, session_id),))
    return frozenset(blob_address(digest) for (digest,) in rows.fetchall())


def take_care(db: Connection, key: int, append: Append) -> int:
    """Do what the entries of an append say beyond themselves; return how many entries that deleted.

    Raises InvalidInputError, JournalTooNew.
    """
    deleted = 0
    digest = append.expected_digest
    for entry in append.entries:
        if entry.kind in ANCHORS:
            db.execute(sql.MOVE_ANCHOR, (entry.seq, digest, key))
        elif entry.kind in rules.CARE:
            fact = entry.fact
            if isinstance(fact, Pruned):
                deleted += _prune(db, key, fact)
            elif isinstance(fact, Erased):
                _erase(db, key, fact)
        digest = entry.digest
    return deleted


def _prune(db: Connection, key: int, fact: Pruned) -> int:
    base_seq, anchor_seq = db.execute(sql.BOUNDS, (key,)).fetchone()
    rules.check_prune(fact, base_seq, anchor_seq)
    first, last = sql.entry_ids(key)
    through = sql.entry_id(key, fact.through)
    base = db.execute(sql.ENTRY_DIGEST, (through,)).fetchone()
    if base is None:
        raise StoreCorrupt(f"Entry {fact.through} is missing.", seq=fact.through)
    released = let_go(_mentions(db, first, through), _kept(db, key, through + 1, last))
    db.execute(sql.DELETE_ENTRIES, (first, through))
    db.execute(sql.MOVE_BASE, (fact.through, base[0], key))
    _unindex(db, first, through)
    _release(db, key, released)
    return fact.entries


def _erase(db: Connection, key: int, fact: Erased) -> None:
    target = sql.entry_id(key, fact.target) if 0 < fact.target <= sql.MAX_SEQ else 0
    row = db.execute(sql.ERASABLE, (target,)).fetchone()
    if row is None:
        raise rules.no_target(fact)
    kind, version, body, body_digest = row
    replacement = rules.tombstone(fact, kind, version, body)
    db.execute(sql.REPLACE_BODY, (replacement, body_digest or body_hash(body), target))
    _unindex(db, target, target)
    _release(db, key, let_go([body], _kept(db, key, *sql.entry_ids(key))))


def _mentions(db: Connection, first: int, last: int) -> Iterator[str]:
    """Yield the bodies that may mention a blob; asks the database when first iterated."""
    for (body,) in db.execute(sql.MENTIONS, (first, last)):
        yield body


def _kept(db: Connection, key: int, first: int, last: int) -> Iterator[str]:
    yield from _mentions(db, first, last)
    yield from db.execute(sql.SESSION_TEXTS, (key,)).fetchone()


def _release(db: Connection, key: int, addresses: set[str]) -> None:
    for address in addresses:
        digest = blob_digest(address)
        db.execute(sql.DROP_BLOB_REF, (key, digest))
        db.execute(sql.FREE_BLOB, (digest,))


def _unindex(db: Connection, first: int, last: int) -> None:
    if db.execute(sql.HAS_SEARCH).fetchone():
        db.execute(sql.UNINDEX, (first, last))


def forget(db: Connection, key: int) -> None:
    """Let go of the blobs of a session that is being deleted, and of its words. The next session may get its key."""
    for (digest,) in db.execute(sql.SESSION_BLOBS, (key,)).fetchall():
        db.execute(sql.DROP_BLOB_REF, (key, digest))
        db.execute(sql.FREE_BLOB, (digest,))
    if db.execute(sql.HAS_SEARCH).fetchone():
        db.execute(sql.UNINDEX, sql.entry_ids(key))
        db.execute(sql.DROP_PROGRESS, (key,))
