"""The store port: one journal per session, appended under a fencing epoch.

A store knows nothing of what entries mean, except the kinds that its append rules name: ``run_ended`` may not
pass an unconsumed inbox row; ``model_called`` and ``tool_started`` may not pass an unconsumed cancel; ``compacted``
moves the place where replay starts; ``pruned`` and ``erased`` do what they say, in the commit that records it.

An entry refers to a blob by writing its address (``facts.blobs``) anywhere in its body; where a prune or an erasure
takes a session's last mention away, the session lets go of the blob, and the last session frees it.
``power_loop.testing.conformance`` is the executable form of this page.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from power_loop.facts.clock import Instant
from power_loop.facts.journal import Entry

SessionKind: TypeAlias = Literal["root", "subagent"]
CommandKind: TypeAlias = Literal["input", "cancel"]

LEASE_TTL = 30.0
"""Seconds a lease lasts without renewal."""
LEASE_RENEWAL = 10.0
"""Seconds between renewals."""
STARTS = frozenset({"model_called", "tool_started"})
"""Kinds that may not be appended over an unconsumed cancel."""
ENDS = frozenset({"run_ended"})
"""Kinds that may not be appended over any unconsumed inbox row."""
ANCHORS = frozenset({"compacted"})
"""Kinds at which replay can start: they carry everything derived that is still needed."""
PRUNES = frozenset({"pruned"})
"""Kinds (``facts.entries.Pruned``) whose append deletes older entries."""
ERASES = frozenset({"erased"})
"""Kinds (``facts.entries.Erased``) whose append replaces the body of an older entry."""
MAX_BLOB_BYTES = 256 << 20
"""The largest blob a store takes."""


class SubagentLifecycle(StrEnum):
    """What becomes of a sub-agent's session: deleted when it has answered, kept with its parent, or kept for itself."""

    EPHEMERAL = "ephemeral"
    LINKED = "linked"
    DETACHED = "detached"


class Lease(msgspec.Struct, frozen=True):
    """Who drives a session. ``owner`` is a driver id that the store handed out; ``until`` is durable time."""

    owner: str
    until: Instant


class SessionRecord(msgspec.Struct, frozen=True):
    """A session's row. Its lease may have outlived its driver: ask ``is_live``.

    The journal holds the entries after ``base_seq``; ``base_digest`` is the digest before the first of them.
    ``anchor_seq`` is the number of the entry where replay starts, the newest of ANCHORS, and ``anchor_digest`` the
    digest before it; without any they are ``base_seq + 1`` and the base's.
    """

    id: str
    created_at: int
    updated_at: int
    base_seq: int
    base_digest: bytes
    head_seq: int
    head_digest: bytes
    epoch: int
    anchor_seq: int
    anchor_digest: bytes
    lease: Lease | None = None
    parent_id: str | None = None
    kind: SessionKind = "root"
    lifecycle: SubagentLifecycle = SubagentLifecycle.EPHEMERAL
    depth: int = 0
    config: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class NewSession(msgspec.Struct, frozen=True):
    """What a session starts with. ``first`` are its sealed first entries, numbered from ``base_seq + 1``.

    ``blobs`` are stored with them, by address. ``base_seq``, ``base_digest`` (default: that of a new session) and
    ``epoch`` are for a journal that comes from elsewhere; its ``pruned`` and ``erased`` entries have been done there.
    """

    id: str
    created_at: int
    first: tuple[Entry, ...] = ()
    parent_id: str | None = None
    kind: SessionKind = "root"
    lifecycle: SubagentLifecycle = SubagentLifecycle.EPHEMERAL
    depth: int = 0
    config: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    blobs: Mapping[str, bytes] = {}
    base_seq: int = 0
    base_digest: bytes | None = None
    epoch: int = 0


class Claim(msgspec.Struct, frozen=True):
    """Take the lease in the same transaction. Works when it is free, expired, dead or already ``owner``'s."""

    owner: str
    until: Instant
    now: Instant


class Append(msgspec.Struct, frozen=True):
    """One commit. All of it happens, or none.

    ``epoch`` is the fencing epoch this driver holds; with ``claim`` it is the epoch the session must still have,
    and the entries carry ``epoch + 1``, which becomes the session's. ``expected_head`` and ``expected_digest``
    are the head the entries were sealed on. ``consumes`` are inbox ids that become entries here. ``release``
    frees the lease with the commit.

    ``blobs`` are bytes by address, kept as long as a session refers to them; they need entries to come with. A
    ``pruned`` entry deletes every entry up to its ``through``, which must be below the anchor, and makes that one
    the base. An ``erased`` entry replaces the body of its ``target`` by ``facts.erasure.erased_body``; the row keeps
    H(body), so that the chain still verifies.
    """

    session_id: str
    epoch: int
    expected_head: int
    expected_digest: bytes
    entries: tuple[Entry, ...] = ()
    consumes: tuple[int, ...] = ()
    claim: Claim | None = None
    release: bool = False
    blobs: Mapping[str, bytes] = {}


class InboxRow(msgspec.Struct, frozen=True):
    """A command for a session that its driver has not consumed yet. ``run`` is the run a cancel means, else 0."""

    id: int
    kind: CommandKind
    run: int
    body: str
    created_at: int


class Renewal(msgspec.Struct, frozen=True):
    """Answer to a lease renewal: is it still ours, and do commands wait?"""

    held: bool
    inbox: bool = False


class SearchHit(msgspec.Struct, frozen=True):
    """An entry in which all words of a query stand. ``excerpt`` is a part of its text; ``time`` wall milliseconds."""

    session_id: str
    seq: int
    kind: str
    time: int
    excerpt: str


class SessionStats(msgspec.Struct, frozen=True):
    """What one session takes. ``entry_bytes`` counts bodies in UTF-8; ``oldest`` and ``newest`` are wall milliseconds.

    Blobs count in every session that refers to them.
    """

    session_id: str
    entries: int
    entry_bytes: int
    blobs: int
    blob_bytes: int
    oldest: int | None
    newest: int | None


class StoreStats(msgspec.Struct, frozen=True):
    """What a store holds: some of its sessions, newest first, and in ``database_bytes`` all of it, overhead included.

    ``free_bytes`` of those ``vacuum`` would give back.
    """

    sessions: tuple[SessionStats, ...]
    database_bytes: int
    free_bytes: int = 0


class SessionStore(Protocol):
    """Durable sessions. All methods are safe to cancel and to call from any event loop of the process."""

    @property
    def path(self) -> str:
        """Where the data is, for error messages; ``":memory:"`` where it is nowhere."""
        ...

    @property
    def identity(self) -> str:
        """Equal for two store objects of this process that reach the same sessions."""
        ...

    @property
    def owner(self) -> str:
        """This process's driver id at this store, used in claims; made on first use."""
        ...

    def is_live(self, lease: Lease, now: Instant) -> bool:
        """Tell whether a lease's holder may still be driving: it is not expired, nor its driver known to be dead."""
        ...

    async def create(self, session: NewSession) -> SessionRecord:
        """Create a session. Raises SessionExistsError, SessionNotFoundError for a missing parent, InvalidInputError."""
        ...

    async def get(self, session_id: str) -> SessionRecord:
        """Return a session's row. Raises SessionNotFoundError."""
        ...

    async def list(
        self, *, limit: int = 100, before: str | None = None, parent_id: str | None = None
    ) -> Sequence[SessionRecord]:
        """Return sessions, newest first; ``before`` is the last id of the previous page."""
        ...

    async def read(self, session_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        """Return entries with ``seq > after`` in order. Raises SessionNotFoundError, StoreCorrupt."""
        ...

    async def load(self, session_id: str, *, whole: bool = False) -> tuple[SessionRecord, Sequence[Entry]]:
        """Return row and entries from the anchor on, or all with ``whole``, as of one moment.

        Raises SessionNotFoundError.
        """
        ...

    async def last(self, session_id: str, kinds: Sequence[str]) -> Entry | None:
        """Return the newest entry of one of these kinds."""
        ...

    async def append(self, append: Append) -> None:
        """Commit; returns when the entries are durable.

        Checks, in this order: SessionNotFoundError; SessionBusy when a claim meets a live lease; LeaseLost when
        the epoch is not the session's (without claim), or the lease is no longer held; HeadMoved when head or
        digest differ, or a claim's epoch does; InboxNotEmpty; CancelRequested; InvalidInputError for a ``pruned`` or
        ``erased`` entry that cannot be done. Before all of them InvalidInputError for entries that leave a gap and
        for a blob that is not what its address says. Storage faults are StoreErrors.
        """
        ...

    async def read_blob(self, blob: str) -> bytes:
        """Return the bytes at a content address. Raises BlobNotFound, StoreCorrupt where they do not match it."""
        ...

    async def renew(self, session_id: str, epoch: int, until: Instant) -> Renewal:
        """Extend the lease while the epoch is ours; not synced to disk."""
        ...

    async def release(self, session_id: str, epoch: int) -> bool:
        """Free the lease without an entry, for a driver that gives up; False if it was not ours."""
        ...

    async def enqueue(self, session_id: str, kind: CommandKind, body: str, *, run: int = 0, now: int) -> int:
        """Add a command to the inbox, durably; returns its id, ascending per store."""
        ...

    async def inbox(self, session_id: str) -> Sequence[InboxRow]:
        """Return the unconsumed commands, oldest first."""
        ...

    async def delete(self, session_id: str, *, cascade: bool = True, now: Instant) -> int:
        """Delete a session; 0 if there is none. Raises SessionBusy over a live lease, of children too.

        With ``cascade`` its children go too, recursively, except ``detached`` ones, which become roots.
        """
        ...

    async def list_blobs(self, session_id: str) -> frozenset[str]:
        """Return the addresses of the blobs that a session refers to. Raises SessionNotFoundError."""
        ...

    async def search(self, query: str, *, session_id: str | None = None, limit: int = 20) -> Sequence[SearchHit]:
        """Find the entries whose text has every word of ``query``, case and accents apart; words may be beginnings.

        Newest session first, and in it the newest entry. Searched is what was said: inputs, replies, calls, results,
        notes, summaries, each as far as ``facts.words.MAX_TEXT``. Erased entries are not found. A query without
        words finds nothing. Raises SessionNotFoundError.
        """
        ...

    async def stats(self, session_id: str | None = None) -> StoreStats:
        """Measure one session, or all; reads every body. Raises SessionNotFoundError."""
        ...

    async def vacuum(self) -> int:
        """Give back the space of what was deleted, and leave nothing of what was erased; returns the bytes given back.

        Writes wait meanwhile. Needs about as much free space as the store takes.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued and let go of files, threads and the driver lock."""
        ...
