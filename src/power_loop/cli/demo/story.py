"""The demo on a screen: who did what, the slices as they are read, the kill, and the reckoning."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from rich import box
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from power_loop.cli.demo.verdict import Check, Evidence
from power_loop.cli.safe import safe, safe_line
from power_loop.cli.screen import Screen
from power_loop.cli.tables import journal_table
from power_loop.cli.words import call_text
from power_loop.facts.messages import text_of

_STYLES = {"worker 1": "cyan", "watcher": "red", "worker 2": "green", "demo": "dim"}
_BAR = 24


class Story:
    """Tells what the actors say, as they say it. Quiet on a screen that is for JSON."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._began = time.monotonic()
        self._pids: dict[str, int] = {}
        self._busy: dict[tuple[str, str], tuple[Text, int, int]] = {}
        self._live: Live | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self._began

    def __enter__(self) -> Self:
        if not self._screen.as_json:
            self._live = Live(console=self._screen.out, transient=True, get_renderable=self._region)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def open(self, question: str, model: str, folder: str) -> None:
        """Say what is going to happen."""
        grid = Table.grid(padding=(0, 2))
        for label, value in (("question", question), ("model", model), ("kept in", folder)):
            if not value:
                continue
            grid.add_row(Text(label, "dim"), Text(safe_line(value)))
        self._print(Text("A session is killed with SIGKILL and finished by another process", "bold"))
        self._print(grid)
        self._print(Text())

    def enter(self, name: str, pid: int, what: str) -> None:
        """Say that a process has started."""
        self._pids[name] = pid
        self.say(name, f"process {pid}: {what}")

    def say(self, name: str, text: str | Text, sign: str = "") -> None:
        """Say something in the name of a process."""
        body = text if isinstance(text, Text) else Text(safe_line(text, 300))
        style = _STYLES.get(name, "")
        grid = Table.grid(padding=(0, 1, 0, 0))
        for width in (6, 8, 1):
            grid.add_column(width=width, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(f"{self.seconds:5.1f}s", "dim"), Text(name, f"bold {style}"), Text(sign or "│", style), body)
        self._print(grid)

    def hear(self, name: str, told: Mapping[str, Any]) -> None:
        """Take in what a process told."""
        teller = _TELLERS.get(told["event"])
        if teller is not None:
            teller(self, name, told)

    def cut_off(self, name: str) -> None:
        """Say what a process was doing when it ended."""
        for (who, _), (label, done, total) in list(self._busy.items()):
            if who == name and total:
                self.say(name, Text.assemble(label, (f"  cut off after slice {done} of {total}", "red")), "✗")
        self._busy = {key: value for key, value in self._busy.items() if key[0] != name}

    # -- what is told

    def _opened(self, name: str, told: Mapping[str, Any]) -> None:
        self.say(name, f"opened session {told['session']}")

    def _calls_model(self, name: str, told: Mapping[str, Any]) -> None:
        del told
        self._busy[name, ""] = (Text("the model is at work", "dim"), 0, 0)

    def _model_done(self, name: str, told: Mapping[str, Any]) -> None:
        self._busy.pop((name, ""), None)
        self.say(name, Text.assemble(("model replied", "magenta"), (f"  recorded as entry {told['seq']}", "dim")))

    def _retry(self, name: str, told: Mapping[str, Any]) -> None:
        self._busy.pop((name, ""), None)
        self.say(name, Text(f"model call failed: {safe_line(told['data']['error_message'])}", "yellow"))

    def _tool_started(self, name: str, told: Mapping[str, Any]) -> None:
        data = told["data"]
        label = Text(call_text(data["name"], data["tool_input"]), "yellow")
        self._busy[name, data["tool_call_id"]] = (label, 0, 1)
        self.say(name, Text.assemble(label, ("  start recorded, running", "dim")))

    def _slice(self, name: str, told: Mapping[str, Any]) -> None:
        data = told["data"]
        key = (name, data["tool_call_id"])
        done, _, total = data["text"].partition("/")
        if key in self._busy and done.isdigit() and total.isdigit():
            label = self._busy[key][0]
            if told["attempt"] > 1 and "attempt" not in label.plain:
                label = Text.assemble(label, (f"  attempt {told['attempt']}", "dim"))
            self._busy[key] = (label, int(done), int(total))

    def _tool_done(self, name: str, told: Mapping[str, Any]) -> None:
        data = told["data"]
        self._busy.pop((name, data["tool_call_id"]), None)
        self.say(name, Text.assemble((data["name"], "yellow"), f" → {safe_line(data['output'])}"), "✓")

    def _killed(self, name: str, told: Mapping[str, Any]) -> None:
        done = ", ".join(told["finished"])
        self.say(
            name, f"on disk: {told['head']} entries; {done} finished, {told['in_flight']} started without a result"
        )
        pid = self._pids.get("worker 1", 0)
        self.say(name, Text(f"kill -9 {pid}", "bold red"), "✗")

    def _result(self, name: str, told: Mapping[str, Any]) -> None:
        error = f": {told['error']['message']}" if told["error"] else ""
        self.say(name, f"run ended: {told['status']}{error}")

    # -- how it looks

    def _print(self, what: Any) -> None:  # noqa: ANN401 -- whatever rich can draw
        if not self._screen.as_json:
            self._screen.out.print(what)

    def _region(self) -> Group:
        rows = []
        for (name, _), (label, done, total) in self._busy.items():
            row = Table.grid(padding=(0, 1, 0, 0))
            style = _STYLES.get(name, "")
            bar = ProgressBar(total, done, width=_BAR, complete_style=style, finished_style=style) if total > 1 else ""
            row.add_row(Spinner("dots", style=style), Text(name, f"bold {style}"), label, bar)
            rows.append(row)
        return Group(*rows)

    def reckon(self, evidence: Evidence, checks: list[Check]) -> None:
        """Print journal, results, and the checks."""
        self._print(Text("\nthe journal", "bold"))
        self._print(journal_table(evidence.entries, self._screen.out.width))
        results = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        for column in ("tool", "times run", "result"):
            results.add_column(column, overflow="fold")
        for call, result in evidence.results.items():
            deed = evidence.deeds.get(call)
            results.add_row(
                safe_line(result.name), str(deed.runs if deed else 0), Text(safe_line(text_of(result.content)))
            )
        self._print(Text("\nwhat the tools returned", "bold"))
        self._print(results)
        self._print(Text("\nthe model's final answer", "bold"))
        self._print(Text(safe(evidence.final_text) + "\n"))
        self._print(self._checks(checks))

    def _checks(self, checks: list[Check]) -> Table:
        grid = Table.grid(padding=(0, 1, 0, 0))
        for check in checks:
            sign = Text("✓", "bold green") if check.ok else Text("✗", "bold red")
            grid.add_row(sign, Text.assemble(check.name, (f"  {safe_line(check.detail)}", "dim")))
        return grid


_TELLERS: dict[str, Callable[[Story, str, Mapping[str, Any]], None]] = {
    "opened": Story._opened,  # noqa: SLF001 -- the class's own table
    "stream_started": Story._calls_model,  # noqa: SLF001
    "stream_completed": Story._model_done,  # noqa: SLF001
    "llm_retry_attempted": Story._retry,  # noqa: SLF001
    "tool_call_started": Story._tool_started,  # noqa: SLF001
    "tool_progress": Story._slice,  # noqa: SLF001
    "tool_call_completed": Story._tool_done,  # noqa: SLF001
    "killed": Story._killed,  # noqa: SLF001
    "result": Story._result,  # noqa: SLF001
}
