"""Seats: one run per session in this process. Who comes second waits here, not at the database."""

import asyncio
import os
import threading
from collections import deque
from concurrent.futures import Future

from power_loop.engine.run import Run
from power_loop.facts.errors import SessionBusy
from power_loop.ports.store import SessionStore


class _Seat:
    def __init__(self) -> None:
        self.run: Run | None = None
        self.waiting: deque[Future[None]] = deque()


class Seats:
    """All sessions that this process drives, by store and id; safe from any thread and event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seats: dict[tuple[str, str], _Seat] = {}

    async def take(self, store: SessionStore, session_id: str, *, wait: bool) -> None:
        """Take a session's seat, in order of arrival. Raises SessionBusy at once without ``wait``."""
        key = (store.identity, session_id)
        with self._lock:
            seat = self._seats.get(key)
            if seat is None:
                self._seats[key] = _Seat()
                return
            if not wait:
                raise SessionBusy(session_id, owner=f"{store.owner} (this process)", until=0)
            turn: Future[None] = Future()
            seat.waiting.append(turn)
        try:
            await asyncio.wrap_future(turn)
        except asyncio.CancelledError:
            with self._lock:
                given = not (turn.cancelled() or turn.cancel())
                if turn in seat.waiting:
                    seat.waiting.remove(turn)
            if given:
                self.leave(store, session_id)
            raise

    def seat_run(self, store: SessionStore, session_id: str, run: Run) -> None:
        """Say which run sits there."""
        with self._lock:
            self._seats[store.identity, session_id].run = run

    def running(self, store: SessionStore, session_id: str) -> Run | None:
        """Return the run that this process drives, if any."""
        with self._lock:
            seat = self._seats.get((store.identity, session_id))
            return seat.run if seat is not None else None

    def leave(self, store: SessionStore, session_id: str) -> None:
        """Give the seat to the next in line."""
        key = (store.identity, session_id)
        with self._lock:
            seat = self._seats[key]
            seat.run = None
            while seat.waiting:
                turn = seat.waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            del self._seats[key]

    def forget(self) -> None:
        """Start empty: a forked child drives nothing."""
        self._lock = threading.Lock()
        self._seats = {}


SEATS = Seats()
os.register_at_fork(after_in_child=SEATS.forget)
