"""The verbs that take care of what is stored: find, measure, prune, erase, move, give back."""

import os
from collections.abc import Sequence
from datetime import timedelta

from power_loop.decisions.erasing import holders_of, holds_open_call
from power_loop.decisions.state import State
from power_loop.decisions.verbs import pending_error
from power_loop.face.config import OnBusy
from power_loop.face.driver import Driver
from power_loop.face.inputs import checked_id
from power_loop.face.kernel_thread import sync_twin
from power_loop.face.pruning import PruneReport, keep_of, prune_folded, prune_sessions
from power_loop.facts import jsontext
from power_loop.facts.clock import Clock
from power_loop.facts.entries import Fact
from power_loop.facts.erasure import erasure_of
from power_loop.facts.errors import ConfigError
from power_loop.ports.store import SearchHit, SessionStore, StoreStats
from power_loop.stores.archive import export_session, import_session


class StoreCare:
    """What StatefulAgentLoop does with sessions that it does not drive."""

    store: SessionStore
    _driver: Driver
    _clock: Clock

    async def prune(
        self,
        *,
        older_than: timedelta | None = None,
        max_bytes: int | None = None,
        keep_last: int | None = None,
        session_id: str | None = None,
        dry_run: bool = False,
    ) -> PruneReport:
        """Delete what is more than is to be kept, longest unchanged first; at least one bound must be given.

        Whole sessions go, with the children that ``close_session`` would take along; never one that is driven, was
        cut off, waits for results or has input or open calls waiting. Somebody who begins to drive one meanwhile
        keeps it.

        With ``session_id`` the parts of that one session go that compactions have folded away: from its beginning up
        to a compaction. The model's view stays as it is, a ``pruned`` entry records it, and the chain still verifies;
        then no bound means everything that is folded away.

        Args:
            older_than: What did not change for longer than this goes.
            max_bytes: What is needed goes until the content, as ``stats`` measures it, is at most so many bytes.
            keep_last: So many of the newest sessions (of the newest folded parts) stay, whatever else is asked. Alone:
                all others go.
            session_id: Prune within this session.
            dry_run: Only tell what would go.

        Freed space is used again; ``vacuum`` gives it back to the file system. Raises ConfigError, StoreError, and with
        ``session_id`` SessionNotFoundError and SessionBusy.
        """
        if session_id is None and older_than is None and max_bytes is None and keep_last is None:
            raise ConfigError("prune() deletes sessions; say which: older_than, max_bytes, keep_last, or session_id.")
        keep = keep_of(older_than, max_bytes, keep_last, self._clock.now())
        if session_id is not None:
            return await prune_folded(self.store, self._driver, session_id, keep, dry_run=dry_run)
        return await prune_sessions(self.store, self._driver, self._clock, keep, dry_run=dry_run)

    async def erase_message(
        self, session_id: str, seq: int, *, reason: str = "", on_busy: OnBusy | None = None
    ) -> list[int]:
        """Erase the content of the message at entry ``seq``; return the entries that lost theirs, none for none left.

        Roles, call ids, tool names and usage stay, so that the conversation stays valid and the chain verifies; an
        ``erased`` entry records each. The content is gone from ``get_messages``, events, search and blobs, and the
        next request has ``[erased]`` in its place. ``search`` and events tell a message's ``seq``, as does the SQL view
        ``messages``. A summary that retells the message is an entry of its own. ``reason`` is kept.

        Raises SessionNotFoundError, SessionBusy, InvalidInputError for an entry that is not there or says nothing, and
        SessionPendingError for a reply whose calls are still open: finish or abort them first.
        """
        async with self._driver.seat(session_id, on_busy):
            record, entries = await self.store.load(session_id, whole=True)
            holders = [holder for holder in holders_of(entries, seq) if not holder.erased]
            said = jsontext.clean(reason)[0]
            facts = [erasure_of(entry, said, parts) for entry, parts in holders]

            def plan(state: State) -> Sequence[Fact]:
                if holds_open_call(holders, state):
                    raise pending_error(session_id, state)
                return facts

            await self._driver.record(session_id, plan, record)
        return [holder.entry.seq for holder in holders]

    async def search(self, query: str, *, session_id: str | None = None, limit: int = 20) -> list[SearchHit]:
        """Find what was said, newest first: the entries that have every word of ``query``.

        Case and accents do not matter, and a word may be the beginning of one. Raises SessionNotFoundError, StoreError.
        """
        return [*await self.store.search(query, session_id=session_id, limit=limit)]

    async def stats(self, session_id: str | None = None) -> StoreStats:
        """Measure one session, or all, in bytes; reads every body. Raises SessionNotFoundError, StoreError."""
        return await self.store.stats(session_id)

    async def export_session(
        self, session_id: str, path: str | os.PathLike[str], *, children: bool = True
    ) -> tuple[str, ...]:
        """Write a session, and with ``children`` its sub-agents', to one file of JSON lines; return the ids.

        The file appears whole or not at all, and tells one moment of each session, also of one that is being driven.
        Raises SessionNotFoundError, SessionBusy where it changes too fast, StoreError.
        """
        return await export_session(self.store, session_id, path, children=children)

    async def import_session(self, path: str | os.PathLike[str], *, session_id: str | None = None) -> tuple[str, ...]:
        """Create the sessions of an exported file; return their ids. All of it is checked before anything counts.

        ``session_id`` gives the session of a file that has only one another id. Raises SessionExistsError for an id
        that is there, StoreCorrupt for a file that is damaged or cut off, JournalTooNew, InvalidInputError, StoreError.
        """
        new_id = None if session_id is None else checked_id(session_id)
        return await import_session(self.store, path, new_id=new_id)

    async def vacuum(self) -> int:
        """Give the space of what was deleted back to the file system; return how many bytes.

        Nothing of what was pruned or erased is left in the file then. Writes wait meanwhile, those of other processes
        get StoreBusy. Raises StoreError.
        """
        return await self.store.vacuum()

    prune_sync = sync_twin(prune)
    erase_message_sync = sync_twin(erase_message)
    search_sync = sync_twin(search)
    stats_sync = sync_twin(stats)
    export_session_sync = sync_twin(export_session)
    import_session_sync = sync_twin(import_session)
    vacuum_sync = sync_twin(vacuum)
