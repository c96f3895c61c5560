"""Run: one driver at one session. It has the journal, keeps the lease, and hears of cancels."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from power_loop.decisions.spending import budgets
from power_loop.decisions.state import State
from power_loop.decisions.steps import RunLimits
from power_loop.engine.cancellation import CancellationToken
from power_loop.engine.interrupt import Deadline, Interrupt
from power_loop.engine.journal import Journal, Plan, Snapshot
from power_loop.engine.processes import ProcessScope, reap_leftovers
from power_loop.engine.services import Services
from power_loop.facts.entries import Cancelled, Fact
from power_loop.facts.errors import LLMTimeout, StoreError
from power_loop.facts.events import AgentEvent
from power_loop.ports.store import LEASE_RENEWAL, LEASE_TTL

logger = logging.getLogger("power_loop")

_POLL = 0.05
"""Seconds between looks at a cancellation source that cannot call back."""


class Run:
    """One driver at one session, from its claim to its release."""

    def __init__(
        self,
        session_id: str,
        services: Services,
        plan: Plan,
        snapshot: Snapshot | None = None,
        token: CancellationToken | None = None,
    ) -> None:
        self.session_id = session_id
        self.services = services
        self.limits = RunLimits(services.limits, services.runnable(), services.compactor is not None)
        self.reserves = (services.model is not None and services.model.prices is not None) or any(
            budgets(services.limits)
        )
        """Whether calls set something aside: there is a budget, or prices are known."""
        self.journal = Journal(session_id, services, plan, snapshot)
        self.interrupt = Interrupt()
        self.deadline = Deadline()
        self.fresh = True
        self._token = token or CancellationToken.never()
        self._reason: str | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._forget = self._token.listen(self._heard)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._processes: ProcessScope | None = None
        self._call_deadline: float | None = None
        self._began = services.clock.monotonic()
        if self._token.polled:
            self._poll()

    @property
    def state(self) -> State:
        """What the journal says, staged facts included."""
        return self.journal.state

    async def replay(self) -> State:
        """Load the session and stage what the verb plans."""
        await self.journal.open()
        self._beat()
        return self.state

    async def end_leftovers(self) -> None:
        """End what a driver that died in the middle of a run left running; before this one's first step."""
        if self.journal.cut_off:
            self.journal.cut_off = False
            await reap_leftovers(self.session_id, self.journal.run, store=self.services.store.identity)

    def stage(self, fact: Fact) -> None:
        """Apply a fact tentatively; the next commit writes it."""
        self.journal.stage(fact)

    def commit(self, *facts: Fact) -> Coroutine[Any, Any, None]:
        """Make these and all staged facts durable in one transaction, then tell."""
        return self.journal.commit(*facts)

    def flush(self) -> Coroutine[Any, Any, None]:
        """Make all staged facts durable before something other than pure work happens."""
        return self.journal.flush()

    def tell(self, event: AgentEvent) -> None:
        """Tell a transient event to whoever listens."""
        for listener in self.services.listeners:
            listener.on_event(event)

    def call_on_loop(self, function: Callable[[AgentEvent], None], event: AgentEvent) -> None:
        """Call on this run's event loop, from whatever thread."""
        if threading.get_ident() == self._thread:
            function(event)
        else:
            self._loop.call_soon_threadsafe(function, event)

    # -- cancelling

    def cancel(self, reason: str) -> None:
        """Ask this run to stop; from any thread."""
        self._loop.call_soon_threadsafe(self._cancel_here, reason)

    def _heard(self, reason: str) -> None:
        self.cancel(reason)

    def _cancel_here(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
        self.interrupt.fire()

    def cancel_requested(self) -> bool:
        """Tell whether somebody of this process asked for a stop that no entry records yet."""
        if self._reason is None and self._token.is_cancelled():
            self._cancel_here(self._token.reason)
        return self._reason is not None and self.state.cancel is None and self.state.run_open

    async def record_cancel(self) -> None:
        """Stage the cancel that was asked for; commands in the inbox come first."""
        if self.journal.claimed:
            self.journal.take(await self.services.store.inbox(self.session_id))
        if self.cancel_requested():
            self.stage(Cancelled(self.journal.run, self._reason or "cancelled"))

    def _poll(self) -> None:
        if self._token.is_cancelled():
            self._cancel_here(self._token.reason)
        else:
            self._timers["poll"] = self._loop.call_later(_POLL, self._poll)

    # -- the lease

    def _beat(self) -> None:
        """Set the time of the next heartbeat."""
        timer = self._timers["renew"] = self._loop.call_later(LEASE_RENEWAL, self._renew_soon)
        self.deadline.look(timer.when())

    def _renew_soon(self) -> None:
        if self._renewing is None or self._renewing.done():
            self._renewing = self._loop.create_task(self._renew())

    async def _renew(self) -> None:
        """Renew the lease, and look for a cancel on the way. A lease that is gone stops the run at its next commit."""
        self._beat()
        if not self.journal.claimed:
            return
        store = self.services.store
        try:
            renewal = await store.renew(self.session_id, self.journal.run, self.services.clock.now().plus(LEASE_TTL))
            rows = await store.inbox(self.session_id) if renewal.inbox else ()
        except StoreError as error:
            logger.warning("Could not renew the lease of %s: %s", self.session_id, error)
            return
        cancel = next((row for row in rows if row.kind == "cancel" and row.run == self.journal.run), None)
        if cancel is not None or not renewal.held:
            self._cancel_here(cancel.body or "cancelled" if cancel is not None else "lease lost")

    # -- what steps use

    @property
    def processes(self) -> ProcessScope:
        """Where this run's tools start their processes."""
        if self._processes is None:
            store = self.services.store
            self._processes = ProcessScope(self.session_id, self.journal.run, store.owner, store=store.identity)
        return self._processes

    @property
    def has_processes(self) -> bool:
        """Whether tools have started processes in this run."""
        return self._processes is not None and self._processes.used

    def elapsed(self) -> float:
        """Return the seconds since this run began."""
        return self.services.clock.monotonic() - self._began

    def call_time_left(self) -> float | None:
        """Return the seconds that the retry policy leaves for the reply that is due; None for no bound."""
        total = self.services.retry.total_timeout
        if total is None:
            return None
        now = self.services.clock.monotonic()
        if self._call_deadline is None:
            self._call_deadline = now + total
        return self._call_deadline - now

    def call_timed_out(self, attempts: int) -> LLMTimeout:
        """Make the error for a reply that did not come in time."""
        total = self.services.retry.total_timeout or 0.0
        return LLMTimeout(elapsed=total - (self.call_time_left() or 0.0), attempts=attempts, total_timeout=total)

    def call_settled(self) -> None:
        """Start the clock of the next reply anew."""
        self._call_deadline = None

    def close_now(self) -> bool:
        """End timers; tell whether tasks or processes of this run have to be waited for."""
        self._forget()
        self.deadline.close()
        for timer in self._timers.values():
            timer.cancel()
        return self._renewing is not None or self._processes is not None

    async def close(self) -> None:
        """End tasks and processes of this run."""
        if self._renewing is not None and not self._renewing.done():
            self._renewing.cancel()
            await asyncio.wait((self._renewing,))
        for timer in self._timers.values():
            timer.cancel()
        await self.end_processes()

    async def end_processes(self) -> None:
        """End what this run's tools started; a run whose end is durable is never looked at again."""
        if self._processes is not None:
            await self._processes.close()
            self._processes = None
