"""Export and import of whole sessions, as one file of JSON lines; checked when it is written and when it is read."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar

from power_loop.facts.chain import verify
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.errors import InvalidInputError, PowerLoopError, SessionBusy, StoreCorrupt
from power_loop.facts.ids import new_id as unique_id
from power_loop.facts.journal import Entry
from power_loop.ports.store import InboxRow, SessionRecord, SessionStore
from power_loop.stores import archive_format as form
from power_loop.stores.sqlite.faults import typed

Place: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, or a file open for bytes."""
T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 1 << 20
_TRIES = 10
_PAGE = 1000


async def export_session(
    store: SessionStore, session_id: str, target: Place, *, children: bool = False
) -> tuple[str, ...]:
    """Write a session to a file: row, entries, blobs, waiting commands. Return the ids written.

    With ``children`` its sub-agents' sessions follow, recursively. A path appears whole or not at all, and is synced
    to disk. The session may be driven meanwhile: the file tells one moment of it. Raises SessionNotFoundError,
    StoreCorrupt where journal or blob do not match their digests, SessionBusy where the session changed too often to
    be read, and StoreErrors for the file.
    """
    ids = [session_id]
    where = _name(target)
    async with _written(target, where) as file:
        await _in_thread(file.write, form.encode(form.Header(form.FORMAT)), where)
        for name in ids:
            if children:
                ids += [child async for child in _children(store, name)]
            async for batch in _batches(_lines_of(store, name)):
                await _in_thread(file.write, batch, where)
        await _in_thread(file.write, form.encode(form.ClosingLine(len(ids))), where)
    return tuple(ids)


async def import_session(store: SessionStore, source: Place, *, new_id: str | None = None) -> tuple[str, ...]:
    """Create the sessions of a file, parents first; return their ids. The first becomes a root.

    All of it is checked before it counts: a file that is damaged, cut off or of a newer format imports nothing. With
    ``new_id`` a file of one session becomes a session of that id: its journal is checked, and then sealed anew, since
    the chain hangs on the id; idempotency keys in it stay, so that the outside world knows a repeated call of both.
    Each session is one commit, held in memory meanwhile; after an error those already made are deleted again.

    Raises SessionExistsError for an id that is there, StoreCorrupt, JournalTooNew, InvalidInputError, StoreErrors.
    """
    made: list[str] = []
    try:
        async with aclosing(_sessions_of(source, alone=new_id is not None)) as sessions:
            async for incoming in sessions:
                await asyncio.to_thread(incoming.check)
                parent_id = incoming.row.parent_id if incoming.row.parent_id in made else None
                session = await asyncio.to_thread(incoming.to_session, new_id=new_id, parent_id=parent_id)
                await store.create(session)
                made.append(session.id)
                for command in incoming.commands:
                    await store.enqueue(session.id, command.kind, command.body, run=command.run, now=command.created_at)
    except BaseException:
        for name in reversed(made):
            with suppress(PowerLoopError):
                await store.delete(name, cascade=False, now=SYSTEM_CLOCK.now())
        raise
    return tuple(made)


# -- reading sessions


async def _children(store: SessionStore, parent_id: str) -> AsyncIterator[str]:
    before = None
    while page := await store.list(parent_id=parent_id, limit=_PAGE, before=before):
        before = page[-1].id
        for record in page:
            yield record.id


async def _moment(store: SessionStore, session_id: str) -> tuple[SessionRecord, Sequence[Entry], Sequence[InboxRow]]:
    """Return row, journal and inbox of one moment: a command is in the inbox or in the journal, never in both."""
    record = await store.get(session_id)
    for _ in range(_TRIES):
        inbox = await store.inbox(session_id)
        after, entries = await store.load(session_id, whole=True)
        if after.head_digest == record.head_digest:
            return after, entries, inbox
        record = after
    lease = record.lease
    raise SessionBusy(session_id, owner=lease.owner if lease else "", until=lease.until.wall_ms if lease else 0)


async def _lines_of(store: SessionStore, session_id: str) -> AsyncIterator[form.Line]:
    record, entries, inbox = await _moment(store, session_id)
    await asyncio.to_thread(
        verify,
        entries,
        base_seq=record.base_seq,
        base=record.base_digest,
        head_seq=record.head_seq,
        head=record.head_digest,
        where=f"session {session_id!r} in {store.path}",
    )
    yield form.session_line(record)
    for entry in entries:
        yield form.entry_line(entry)
    pieces = 0
    for address in sorted(await store.list_blobs(session_id)):
        data = await store.read_blob(address)
        for start in range(0, max(len(data), 1), form.PIECE):
            pieces += 1
            yield form.BlobLine(address, data[start : start + form.PIECE])
    for row in inbox:
        yield form.command_line(row)
    yield form.EndLine(len(entries), pieces, len(inbox))


async def _batches(lines: AsyncIterator[form.Line]) -> AsyncIterator[bytes]:
    batch = bytearray()
    async for line in lines:
        batch += form.encode(line)
        if len(batch) >= _AT_ONCE:
            yield bytes(batch)
            batch.clear()
    yield bytes(batch)


# -- reading files


async def _lines_in(source: Place, where: str) -> AsyncGenerator[tuple[int, form.AnyLine], None]:
    """Yield the lines behind the header, with their numbers."""
    async with _read(source, where) as file:
        number = 0
        while batch := await _in_thread(file.readlines, _AT_ONCE, where):
            for text in batch:
                number += 1
                if number == 1:
                    form.check_header(text, where)
                else:
                    yield number, form.decode(text, number, where)


async def _sessions_of(source: Place, *, alone: bool) -> AsyncGenerator[form.Incoming, None]:
    """Yield the sessions of a file, each when it is complete. Raises StoreCorrupt, JournalTooNew.

    ``alone``: there may be one only, else InvalidInputError.
    """
    where = _name(source)
    incoming: form.Incoming | None = None
    sessions = 0
    closed = False
    async with aclosing(_lines_in(source, where)) as lines:
        async for number, line in lines:
            if incoming is not None:
                if incoming.take(line):
                    yield incoming
                    incoming = None
            elif isinstance(line, form.SessionLine) and not closed:
                sessions += 1
                if alone and sessions > 1:
                    raise InvalidInputError("Sessions that name each other keep their ids; import without new_id.")
                incoming = form.Incoming(line, where)
            elif line == form.ClosingLine(sessions) and not closed:
                closed = True
            else:
                raise StoreCorrupt(f"{where}: line {number} has no place there.", path=where, line=number)
    if not closed:
        raise StoreCorrupt(f"{where} was cut off: its last line is missing.", path=where)


# -- files


def _name(place: Place) -> str:
    return os.fspath(place) if isinstance(place, str | os.PathLike) else str(getattr(place, "name", "the file"))


async def _in_thread(function: Callable[[T], R], value: T, where: str) -> R:
    with _typed(where):
        return await asyncio.to_thread(function, value)


@contextmanager
def _typed(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise typed(error, where) from error


@asynccontextmanager
async def _read(source: Place, where: str) -> AsyncIterator[BinaryIO]:
    if not isinstance(source, str | os.PathLike):
        yield source
        return
    with _typed(where):
        file = await asyncio.to_thread(Path(source).open, "rb")
    try:
        yield file
    finally:
        file.close()


@asynccontextmanager
async def _written(target: Place, where: str) -> AsyncIterator[BinaryIO]:
    """Open a place for writing; a path is written beside, and takes its name when all of it is on the disk."""
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    path = Path(target)
    beside = path.parent / unique_id(f".{path.name}")
    with _typed(where):
        file = await asyncio.to_thread(open, beside, "xb", opener=_for_us_alone)
    try:
        yield file
        with _typed(where):
            await asyncio.to_thread(_publish, file, beside, path)
    finally:
        await asyncio.to_thread(_discard, file, beside)


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _discard(file: BinaryIO, beside: Path) -> None:
    file.close()
    beside.unlink(missing_ok=True)


def _publish(file: BinaryIO, beside: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
