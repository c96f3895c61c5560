"""The lines of an archive, and the session that they make. Knows no files and no stores."""

from typing import Annotated, Any, TypeAlias

import msgspec

from power_loop.facts.blobs import blob_id
from power_loop.facts.chain import DIGEST_BYTES, base_digest, chain, verify
from power_loop.facts.errors import JournalTooNew, StoreCorrupt
from power_loop.facts.journal import Entry
from power_loop.ports.store import CommandKind, InboxRow, NewSession, SessionKind, SessionRecord, SubagentLifecycle

FORMAT = 1
"""The version of the format that this release writes. It reads this and every older one."""
PIECE = 768 << 10
"""Bytes of a blob in one line."""
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""What every database can hold, and can still count on from."""
Seq: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
"""The number of an entry; stores keep it in 32 bits beside the session's key."""
Digest: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]


class Line(msgspec.Struct, frozen=True, tag_field="line", omit_defaults=True, forbid_unknown_fields=True):
    """One line. Bytes are Base64 (RFC 4648)."""


class SessionLine(Line, frozen=True, tag="session"):
    """A session's row begins it. Leases are not exported: nobody drives a copy."""

    id: str
    created_at: Number
    base_seq: Seq
    base_digest: Digest
    head_seq: Seq
    head_digest: Digest
    epoch: Number
    parent_id: str | None = None
    kind: SessionKind = "root"
    lifecycle: SubagentLifecycle = SubagentLifecycle.EPHEMERAL
    depth: Number = 0
    config: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class EntryLine(Line, frozen=True, tag="entry"):
    """An entry of the session that began last."""

    seq: Seq
    kind: str
    version: Number
    run: Number
    round: Number
    time: Number
    body: str
    digest: Digest
    body_digest: Digest | None = None


class BlobLine(Line, frozen=True, tag="blob"):
    """A piece of a blob; pieces of one blob follow each other."""

    blob: str
    data: bytes


class CommandLine(Line, frozen=True, tag="command"):
    """A command that waits in the session's inbox."""

    kind: CommandKind
    run: Number
    body: str
    created_at: Number


class EndLine(Line, frozen=True, tag="end"):
    """The session is complete, with this many entries, pieces of blobs, and commands."""

    entries: int
    pieces: int
    commands: int


class ClosingLine(Line, frozen=True, tag="closing"):
    """The file is complete, with this many sessions."""

    sessions: int


class Header(msgspec.Struct, frozen=True):
    """The first line. Of a newer format only this much can be read."""

    power_loop_archive: int


AnyLine: TypeAlias = SessionLine | EntryLine | BlobLine | CommandLine | EndLine | ClosingLine

_DECODER: msgspec.json.Decoder[AnyLine] = msgspec.json.Decoder(AnyLine)
_HEADER = msgspec.json.Decoder(Header)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def encode(line: Line | Header) -> bytes:
    """Return the text of a line, in UTF-8."""
    return msgspec.json.encode(line) + b"\n"


def decode(text: bytes, number: int, where: str) -> AnyLine:
    """Read a line. Raises StoreCorrupt naming its number."""
    try:
        return _DECODER.decode(text)
    except _UNREADABLE as error:
        raise StoreCorrupt(f"{where}: line {number} cannot be read: {error}", path=where, line=number) from error


def check_header(text: bytes, where: str) -> None:
    """Check the first line. Raises StoreCorrupt where it is not ours, JournalTooNew for a newer format."""
    try:
        version = _HEADER.decode(text).power_loop_archive
    except _UNREADABLE as error:
        raise StoreCorrupt(f"{where} is not an archive of a session: {error}", path=where) from error
    if version > FORMAT:
        raise JournalTooNew(
            f"{where} is an archive of format {version}; this release reads up to {FORMAT}. Upgrade power-loop.",
            path=where,
            version=version,
        )


def session_line(record: SessionRecord) -> SessionLine:
    """Return the line of a row."""
    return SessionLine(**{name: getattr(record, name) for name in SessionLine.__struct_fields__})


def entry_line(entry: Entry) -> EntryLine:
    """Return the line of an entry."""
    return EntryLine(**{name: getattr(entry, name) for name in EntryLine.__struct_fields__})


def command_line(row: InboxRow) -> CommandLine:
    """Return the line of a command."""
    return CommandLine(row.kind, row.run, row.body, row.created_at)


class Incoming:
    """One session, as its lines come in."""

    def __init__(self, row: SessionLine, where: str) -> None:
        self.row = row
        self.commands: list[CommandLine] = []
        self._where = where
        self._entries: list[Entry] = []
        self._blobs: dict[str, bytearray] = {}
        self._pieces = 0

    def take(self, line: AnyLine) -> bool:
        """Take in a line; True when the session is complete. Raises StoreCorrupt for one that has no place here."""
        if isinstance(line, EntryLine):
            columns = (line.seq, line.kind, line.version, line.run, line.round, line.time, line.body, line.digest)
            self._entries.append(Entry(*columns, body_digest=line.body_digest))
        elif isinstance(line, BlobLine):
            self._blobs.setdefault(line.blob, bytearray()).extend(line.data)
            self._pieces += 1
        elif isinstance(line, CommandLine):
            self.commands.append(line)
        elif line == EndLine(len(self._entries), self._pieces, len(self.commands)):
            return True
        else:
            raise StoreCorrupt(f"{self._where}: session {self.row.id!r} is not complete.", path=self._where)
        return False

    def check(self) -> None:
        """Check chain and blobs. Raises StoreCorrupt naming what is wrong, JournalTooNew."""
        row, where = self.row, f"{self._where}: session {self.row.id!r}"
        if row.base_seq == 0 and row.base_digest != base_digest(row.id):
            raise StoreCorrupt(f"{where}: the journal belongs to another session.", path=self._where)
        bounds = {"base": row.base_digest, "head_seq": row.head_seq, "head": row.head_digest}
        verify(self._entries, base_seq=row.base_seq, where=where, **bounds)  # type: ignore[arg-type]  # by name
        for address, data in self._blobs.items():
            if blob_id(bytes(data)) != address:
                raise StoreCorrupt(f"{where}: the blob {address} does not match its address.", path=self._where)

    def to_session(self, *, new_id: str | None, parent_id: str | None) -> NewSession:
        """Return what to create; sealed anew where it gets another id, since the chain hangs on the id."""
        row = self.row
        base = row.base_digest if new_id is None else base_digest(new_id)
        entries = self._entries if new_id is None else sealed_anew(self._entries, base)
        return NewSession(
            id=new_id or row.id,
            created_at=row.created_at,
            first=tuple(entries),
            parent_id=parent_id,
            kind=row.kind if parent_id is not None else "root",
            lifecycle=row.lifecycle,
            depth=row.depth,
            config=row.config,
            metadata=row.metadata,
            blobs={address: bytes(data) for address, data in self._blobs.items()},
            base_seq=row.base_seq,
            base_digest=base,
            epoch=row.epoch,
        )


def sealed_anew(entries: list[Entry], digest: bytes) -> list[Entry]:
    """Return the same entries, chained on another base."""
    sealed: list[Entry] = []
    for entry in entries:
        columns = (entry.seq, entry.kind, entry.version, entry.run, entry.round, entry.time, entry.body)
        digest = chain(digest, *columns, entry.body_digest)
        sealed.append(Entry(*columns, digest, body_digest=entry.body_digest))
    return sealed
