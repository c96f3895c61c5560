"""One model in this process, run by the llama-server inside xllamacpp, on a thread of its own.

The thread owns the server: it loads it before the first job, runs one job after the other, and lets go of it at
the end. A forked child has no such thread and therefore never touches its parent's server; nor can it have one of
its own, since what the library keeps for the whole process does not survive a fork.
"""

import atexit
import ctypes
import json
import os
import queue
import secrets
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from power_loop.facts.errors import ConfigError, LLMBadRequest, LLMUnavailable, MissingExtraError

Chunk: TypeAlias = dict[str, Any]
Stopped: TypeAlias = Callable[[], bool]
Locate: TypeAlias = Callable[[Stopped], Path]
"""Returns the model's file, fetching it first if need be; gives up by an exception once stopped."""

_BATCH: Final = 256
"""Tokens of a prompt between two looks at whether the call was cancelled."""
_SMALL_MODEL_BYTES: Final = 512 * 1024 * 1024
_JOIN_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Settings:
    """What makes two engines the same one. ``source`` names the model's file or how it is found."""

    source: str
    context_window: int
    threads: int | None


@dataclass(eq=False)
class Job:
    """One request. ``on_chunk`` and ``on_end`` are called on the engine's thread; ``on_end`` exactly once."""

    body: Chunk
    on_chunk: Callable[[Chunk], None]
    on_end: Callable[[BaseException | None], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: bool = False


class Engine:
    """Runs jobs one after the other. ``address`` and ``api_key`` are the server's, once it is loaded."""

    def __init__(self, settings: Settings, locate: Locate) -> None:
        self.settings = settings
        self.address = ""
        self.api_key = secrets.token_urlsafe(32)
        self.users = 0
        self._locate = locate
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=_work, args=(self,), name="power-loop-local-model", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job, or refuse it where the engine was closed."""
        with self._gate:
            closed = self._closing.is_set()
            if not closed:
                self._jobs.put(job)
        if closed:
            job.on_end(_ended())

    def next_job(self) -> Job | None:
        """Wait for a job; None says that no more will come."""
        return self._jobs.get()

    def stopped(self, job: Job) -> bool:
        """Tell whether nobody waits for the job any more."""
        return self._closing.is_set() or job.cancelled.is_set()

    def load(self, job: Job) -> Any:  # noqa: ANN401 -- xllamacpp has no types
        """Return a server for this engine's model. Raises ConfigError, MissingExtraError."""
        path = self._locate(lambda: self.stopped(job))
        server = _start_server(path, self.settings, self.api_key)
        self.address = server.listening_address
        return server

    def close(self) -> None:
        """End the job that runs, refuse those that wait, and let go of the model. Blocks for up to 10 s."""
        with self._gate:
            self._closing.set()
            self._jobs.put(None)
        self._thread.join(_JOIN_SECONDS)


def _work(engine: Engine) -> None:
    server = None
    while (job := engine.next_job()) is not None:
        error: BaseException | None = None
        job.started = True
        try:
            if not engine.stopped(job):
                server = server or engine.load(job)
                _generate(server, job, engine)
            if engine.stopped(job):
                error = _ended()
        except Exception as raised:  # noqa: BLE001 -- whatever it is, the waiting call gets it
            error = raised
        job.on_end(error)
        del job, error


def _ended() -> LLMUnavailable:
    return LLMUnavailable("The call was ended before the local model had replied.")


def _generate(server: Any, job: Job, engine: Engine) -> None:  # noqa: ANN401
    failures: list[Exception] = []

    def take(text: str) -> bool:
        if engine.stopped(job):
            return True
        try:
            job.on_chunk(json.loads(text))
        except Exception as error:  # noqa: BLE001 -- must not unwind through C++
            failures.append(error)
        return bool(failures)

    try:
        server.handle_chat_completions(json.dumps(job.body), take)
    except (ValueError, RuntimeError) as error:
        raise LLMBadRequest(f"The local model does not take this request: {error}") from error
    if failures:
        raise failures[0]


def _import_xllamacpp() -> Any:  # noqa: ANN401
    if _forked:
        raise ConfigError(
            "The local model was loaded before this process was forked, and cannot run in both. Start children with "
            "the 'spawn' or 'forkserver' method, or fork before the first call."
        )
    # Spinning OpenMP threads take 40 tokens/s down to 1 on a busy machine; read when the library is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    try:
        import xllamacpp  # noqa: PLC0415 -- optional and heavy
    except ImportError as error:
        raise MissingExtraError("The local model needs xllamacpp. Run: pip install 'power-loop[local]'") from error
    return xllamacpp


def _start_server(path: Path, settings: Settings, api_key: str) -> Any:  # noqa: ANN401
    library = _import_xllamacpp()
    cores = settings.threads or _cores()
    params = library.CommonParams()
    params.model.path = str(path)
    params.api_keys = [api_key]
    params.port = 0
    params.n_ctx = settings.context_window
    params.n_batch = params.n_ubatch = _BATCH
    params.n_parallel = 1
    params.cache_ram_mib = 0
    params.verbosity = -1
    params.warmup = params.fit_params = params.ui = params.endpoint_slots = False
    params.cpuparams_batch.n_threads = cores
    # One token of a small model is less work than waking a second thread.
    small = settings.threads is None and path.stat().st_size < _SMALL_MODEL_BYTES
    params.cpuparams.n_threads = 1 if small else cores
    try:
        return library.Server(params)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{path} cannot be loaded as a model: {error} Give the path of a GGUF file.") from error


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# -- one engine per model and process

_engines: dict[Settings, Engine] = {}
_lock = threading.Lock()


def acquire(settings: Settings, locate: Locate) -> Engine:
    """Return this process's engine for the settings; each call needs one :func:`release`."""
    with _lock:
        engine = _engines.get(settings)
        if engine is None:
            engine = _engines[settings] = Engine(settings, locate)
        engine.users += 1
        return engine


def release(engine: Engine) -> None:
    """Give an engine back; the last one to do so closes it. Blocks for up to 10 s."""
    with _lock:
        if _engines.get(engine.settings) is not engine:
            return
        engine.users -= 1
        if engine.users:
            return
        del _engines[engine.settings]
    engine.close()


def alive(engine: Engine) -> bool:
    """Tell whether the engine belongs to this process and is not closed."""
    with _lock:
        return _engines.get(engine.settings) is engine


@atexit.register
def _close_all() -> None:
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.close()


_forked = False


def _forget() -> None:
    global _lock, _forked  # noqa: PLW0603 -- the parent may have held the lock
    _lock = threading.Lock()
    _engines.clear()
    _forked = _forked or "xllamacpp" in sys.modules
    libc = ctypes.CDLL(None)
    if _forked and hasattr(libc, "on_exit"):
        # The library's destructors would wait for threads that were not forked; this comes before them.
        libc.on_exit(libc._exit, None)  # noqa: SLF001 -- the name of the C function


os.register_at_fork(after_in_child=_forget)
