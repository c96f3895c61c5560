"""What a model needs before its first call: the local model's weights, with a progress bar while they come."""

import asyncio
import threading
from contextlib import ExitStack
from typing import Self

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from power_loop.cli.screen import Screen
from power_loop.facts.errors import CancellationRequested
from power_loop.llms.local import LocalLLM, ensure_weights
from power_loop.llms.local.weights import MODEL_NAME
from power_loop.ports.llm import LLMService


async def prepare_model(service: LLMService, screen: Screen) -> None:
    """Have what the service needs fetched now; without a word where nothing is missing. Raises ConfigError."""
    if not isinstance(service, LocalLLM) or service.model != MODEL_NAME:
        return
    with Download(screen) as download:
        try:
            await asyncio.to_thread(ensure_weights, progress=download)
        except asyncio.CancelledError:
            download.given_up.set()
            raise


class Download:
    """A progress bar that appears with the first bytes. Called from the thread that fetches."""

    def __init__(self, screen: Screen) -> None:
        self.given_up = threading.Event()
        self._screen = screen
        self._open = ExitStack()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` bytes are there. Raises CancellationRequested once it is given up."""
        if self.given_up.is_set():
            raise CancellationRequested("the download was given up")
        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            self._bar = self._open.enter_context(Progress(*columns, console=self._screen.err))
            self._task = self._bar.add_task(f"fetching {MODEL_NAME}", total=total)
        self._bar.update(self._task, completed=done, total=total)
