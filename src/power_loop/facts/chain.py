"""The chain of digests through a journal: how an entry is sealed on the one before it, and how that is checked."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import msgspec

from power_loop.facts.entries import Erased, Fact
from power_loop.facts.errors import StoreCorrupt
from power_loop.facts.journal import Entry

DIGEST_BYTES = 16
_ENCODE = msgspec.json.Encoder(order="deterministic").encode


def base_digest(session_id: str) -> bytes:
    """Return the anchor of a new session's chain."""
    return blake2b(b"power-loop session " + session_id.encode(), digest_size=DIGEST_BYTES).digest()


def body_hash(body: str) -> bytes:
    """Return H(body), which an erased entry keeps."""
    return blake2b(body.encode(), digest_size=DIGEST_BYTES).digest()


def chain(
    previous: bytes,
    seq: int,
    kind: str,
    version: int,
    run: int,
    round_: int,
    time: int,
    body: str,
    body_digest: bytes | None = None,
) -> bytes:
    """Return d(n) = H(d(n-1), all columns, H(body)); H is BLAKE2b (RFC 7693) of 16 bytes, quick on short texts.

    ``body_digest`` stands for H(body) where the body was erased.
    """
    content = body_digest or blake2b(body.encode(), digest_size=DIGEST_BYTES).digest()
    columns = f"{seq}|{kind}|{version}|{run}|{round_}|{time}|".encode()
    return blake2b(previous + columns + content, digest_size=DIGEST_BYTES).digest()


def seal(fact: Fact, previous: bytes, seq: int, run: int, round_: int, time: int) -> Entry:
    """Make the entry that follows ``previous`` at ``seq``."""
    kind, version, body = fact.kind, fact.version, _ENCODE(fact)
    content, text = blake2b(body, digest_size=DIGEST_BYTES).digest(), body.decode()
    digest = chain(previous, seq, kind, version, run, round_, time, text, content)
    return Entry(seq, kind, version, run, round_, time, text, digest, fact)


def seal_all(
    facts: Sequence[Fact], *, head_seq: int, head_digest: bytes, run: int, round_: int, time: int
) -> tuple[Entry, ...]:
    """Make the entries that follow a head."""
    entries: list[Entry] = []
    for fact in facts:
        entry = seal(fact, head_digest, head_seq + 1, run, round_, time)
        head_seq, head_digest = entry.seq, entry.digest
        entries.append(entry)
    return tuple(entries)


def check_tombstones(entries: Iterable[Entry]) -> None:
    """Check that every replaced body among these is the one that an ``erased`` entry among them recorded.

    Raises StoreCorrupt naming the first that is not.
    """
    recorded: dict[int, str] = {}
    replaced: list[Entry] = []
    for entry in entries:
        if entry.body_digest is not None:
            replaced.append(entry)
        fact = entry.fact if entry.kind == Erased.kind else None
        if isinstance(fact, Erased):
            recorded[fact.target] = fact.tombstone
    for entry in replaced:
        if recorded.get(entry.seq) != body_hash(entry.body).hex():
            raise StoreCorrupt(f"The body of entry {entry.seq} was replaced, and no erasure says so.", seq=entry.seq)


def verify(
    entries: Iterable[Entry], *, base_seq: int, base: bytes, head_seq: int, head: bytes, where: str = ""
) -> None:
    """Check numbering and digests of a whole journal; raises StoreCorrupt naming the first entry that is wrong."""
    seq, digest = base_seq, base
    touched: list[Entry] = []
    for entry in entries:
        if entry.seq != seq + 1:
            raise StoreCorrupt(f"{where}: entry {seq + 1} is missing (found {entry.seq}).", seq=seq + 1)
        columns = (entry.seq, entry.kind, entry.version, entry.run, entry.round, entry.time)
        digest = chain(digest, *columns, entry.body, entry.body_digest)
        if entry.body_digest is not None or entry.kind == Erased.kind:
            touched.append(entry)
        if digest != entry.digest:
            raise StoreCorrupt(f"{where}: entry {entry.seq} does not match its digest.", seq=entry.seq)
        seq = entry.seq
    if seq != head_seq or digest != head:
        raise StoreCorrupt(f"{where}: the journal ends at entry {seq}, its session row says {head_seq}.", seq=seq)
    check_tombstones(touched)
