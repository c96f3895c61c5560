"""A run as it goes: text where it arrives, one line per tool call, a moving line for what is at work."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from power_loop.cli.flow import Flow
from power_loop.cli.safe import safe, safe_line
from power_loop.cli.screen import Screen
from power_loop.cli.words import call_text
from power_loop.facts.entries import ModelReplied
from power_loop.facts.events import AgentEvent, AgentEventType
from power_loop.facts.messages import text_of
from power_loop.ports.store import SessionStore

_T = AgentEventType
_WAITING = "the model"


class LiveRun:
    """Shows the events of one run. Where stdout is no terminal, text waits for the end of the run."""

    def __init__(self, screen: Screen, store: SessionStore) -> None:
        self.session_id = ""
        self.shown_text = False
        self._screen = screen
        self._store = store
        self._flow = Flow(screen.out.file, screen.out.width) if screen.out.is_terminal else None
        self._streamed = False
        self._working: dict[str, Text] = {}
        self._failed: set[str] = set()
        self._live: Live | None = None

    async def follow(self, queue: "asyncio.Queue[AgentEvent | None]") -> None:
        """Show events until None comes."""
        try:
            while (event := await queue.get()) is not None:
                self.session_id = event.session_id
                await self._show(event)
        finally:
            self._rest()
            if self._flow is not None:
                self._flow.end()

    async def _show(self, event: AgentEvent) -> None:
        if event.type is _T.STREAM_COMPLETED and event.seq is not None:
            await self._reply(event.session_id, event.seq)
        elif (teller := _TELLERS.get(event.type)) is not None:
            teller(self, event.payload)

    # -- text

    def _begin(self, _payload: Mapping[str, Any]) -> None:
        self._streamed = False
        self._work(_WAITING, Text("waiting for the model", "dim"))

    def _delta(self, payload: Mapping[str, Any]) -> None:
        if self._flow is None:
            return
        self._done(_WAITING)
        self._streamed = self.shown_text = True
        self._flow.write(safe(payload["text"]))

    async def _reply(self, session_id: str, seq: int) -> None:
        """End the text of a reply; one that did not come in pieces is shown whole."""
        self._done(_WAITING)
        if self._flow is None:
            return
        if not self._streamed:
            for entry in await self._store.read(session_id, after=seq - 1, limit=1):
                if isinstance(fact := entry.fact, ModelReplied) and (text := text_of(fact.content)):
                    self._flow.write(safe(text))
                    self.shown_text = True
        self._flow.end()

    # -- tools

    def _tool_started(self, payload: Mapping[str, Any]) -> None:
        label = Text(call_text(payload["name"], payload["tool_input"]), "bold")
        if not self._screen.err.is_terminal:
            self._line("started ", label.plain)
        self._work(payload["tool_call_id"], label)

    def _progress(self, payload: Mapping[str, Any]) -> None:
        text = safe_line(payload["text"], 60)
        if not self._screen.err.is_terminal:
            self._line("  ", f"{safe_line(payload['name'])}: {text}")
        elif payload["tool_call_id"] in self._working:
            label = self._working[payload["tool_call_id"]].plain.split("  ")[0]
            self._work(payload["tool_call_id"], Text.assemble((label, "bold"), ("  " + text, "dim")))

    def _tool_failed(self, payload: Mapping[str, Any]) -> None:
        self._failed.add(payload["tool_call_id"])

    def _tool_done(self, payload: Mapping[str, Any]) -> None:
        identity = payload["tool_call_id"]
        sign, style = ("✗ ", "red") if identity in self._failed else ("✓ ", "green")
        self._done(identity)
        call = call_text(payload["name"], payload["tool_input"])
        self._screen.err.print(
            Text.assemble((sign, style), (call, "bold"), (f" → {safe_line(payload['output'], 160)}", "dim"))
        )

    # -- the rest

    def _retry(self, payload: Mapping[str, Any]) -> None:
        self._done(_WAITING)
        if self._flow is not None:
            self._flow.end()
        message = safe_line(payload["error_message"])
        self._line("model call failed: ", f"{message}; again in {payload['next_sleep_seconds']:.1f} s", "yellow")

    def _cancelled(self, _payload: Mapping[str, Any]) -> None:
        self._rest()

    def _status(self, payload: Mapping[str, Any]) -> None:
        if payload["kind"] == "hit_round_limit":
            self._line("", f"limit of {payload['max_rounds']} round(s) reached; one last word", "yellow")
        elif payload["kind"] == "auto_compact" and payload["phase"] == "started":
            self._work(_WAITING, Text("waiting for a summary of older messages", "dim"))
        elif payload["kind"] == "auto_compact" and payload["phase"] == "completed":
            self._done(_WAITING)
            before, after = payload["before_tokens"], payload["after_tokens"]
            self._line("", f"older messages folded: about {before:,} tokens became {after:,}")

    def _line(self, label: str, text: str, style: str = "dim") -> None:
        self._screen.err.print(Text(label + text, style), soft_wrap=True)

    # -- the moving line

    def _work(self, key: str, label: Text) -> None:
        self._working[key] = label
        if not self._screen.err.is_terminal or self._screen.as_json:
            return
        if self._flow is not None:
            self._flow.end()
        if self._live is None:
            self._live = Live(console=self._screen.err, transient=True, get_renderable=self._region)
            self._live.start()

    def _done(self, key: str) -> None:
        self._working.pop(key, None)
        if not self._working:
            self._rest()

    def _rest(self) -> None:
        self._working.clear()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _region(self) -> Table:
        grid = Table.grid()
        for label in self._working.values():
            grid.add_row(Spinner("dots", label))
        return grid


_TELLERS: dict[AgentEventType, Callable[[LiveRun, Mapping[str, Any]], None]] = {
    _T.STREAM_STARTED: LiveRun._begin,  # noqa: SLF001 -- the class's own table
    _T.STREAM_DELTA: LiveRun._delta,  # noqa: SLF001
    _T.TOOL_CALL_STARTED: LiveRun._tool_started,  # noqa: SLF001
    _T.TOOL_PROGRESS: LiveRun._progress,  # noqa: SLF001
    _T.TOOL_CALL_FAILED: LiveRun._tool_failed,  # noqa: SLF001
    _T.TOOL_CALL_COMPLETED: LiveRun._tool_done,  # noqa: SLF001
    _T.LLM_RETRY_ATTEMPTED: LiveRun._retry,  # noqa: SLF001
    _T.LOOP_CANCELLED: LiveRun._cancelled,  # noqa: SLF001
    _T.STATUS_CHANGED: LiveRun._status,  # noqa: SLF001
}
