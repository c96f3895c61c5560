"""Where an agent works: facts collected once, so that what is said of them stays true to the session's start.

Reads files only: no process is started, so nothing can hang and no configuration of Git is executed.
"""

import os
import platform
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.clock import SYSTEM_CLOCK, Clock
from power_loop.ports.tagged import tagged

ENVIRONMENT = "environment"
"""Topic of the note that tells the model where it works."""

_LONGEST = 300
_MAX_GIT_FILE = 1 << 20
_SHORT_COMMIT = 12
_REF = "ref: refs/heads/"
_UNDERWAY = {
    "rebase-merge": "rebasing",
    "rebase-apply": "rebasing",
    "MERGE_HEAD": "merging",
    "CHERRY_PICK_HEAD": "cherry-picking",
    "REVERT_HEAD": "reverting",
    "BISECT_LOG": "bisecting",
}


class GitFacts(msgspec.Struct, frozen=True):
    """A working tree: its folder, branch ("" where detached), short commit ("" before the first), what is underway."""

    root: str
    branch: str = ""
    commit: str = ""
    state: str = ""


class Environment(msgspec.Struct, frozen=True):
    """Facts about where a session works, fixed when they were collected. ``date`` is ISO 8601 with its weekday."""

    date: str
    os: str
    python: str
    cwd: str
    git: GitFacts | None = None

    def render(self) -> str:
        """Return the facts as the model reads them; the same facts give the same bytes."""
        lines = [f"Date: {self.date}", f"System: {self.os}", f"Python: {self.python}", f"Working directory: {self.cwd}"]
        if self.git is not None:
            lines.append(f"Git: {_git_words(self.git)}")
        head = "The environment when this session started:"
        return tagged(ENVIRONMENT, "\n".join([head, *(f"- {_one_line(line)}" for line in lines)]))


def _git_words(git: GitFacts) -> str:
    words = [f"branch {git.branch}" if git.branch else "detached head"]
    words.append(f"commit {git.commit}" if git.commit else "no commit yet")
    words += [git.state] if git.state else []
    return f"{', '.join(words)} (root {git.root})"


def _one_line(text: str) -> str:
    flat = " ".join(jsontext.clean(text)[0].split())
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 3] + "..."


def collect_environment(
    cwd: str | Path | None = None, *, clock: Clock = SYSTEM_CLOCK, timezone: tzinfo | None = None
) -> Environment:
    """Collect the facts: date, operating system, Python, working directory, branch and commit.

    ``cwd`` None is the process' own; ``timezone`` None is the machine's. Reads a few files: from async code, call
    it in a thread. What cannot be read is left out.
    """
    folder = Path(os.path.abspath(cwd or Path.cwd()))  # noqa: PTH100 -- keeps the path as the host names it
    today = datetime.fromtimestamp(clock.now().wall_ms / 1000, tz=UTC).astimezone(timezone)
    weekday = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[today.weekday()]
    return Environment(
        date=f"{today.date().isoformat()} ({weekday})",
        os=f"{platform.system()} {platform.release()} ({platform.machine()})",
        python=platform.python_version(),
        cwd=str(folder),
        git=read_git(folder),
    )


def read_git(folder: str | Path) -> GitFacts | None:
    """Return the facts of the working tree that ``folder`` lies in, from Git's own files; None where there is none.

    Understands linked working trees, submodules and packed references (layout: gitrepository-layout(5)).
    """
    for root in (Path(folder), *Path(folder).parents):
        gitdir = _gitdir(root / ".git")
        head = _line(gitdir / "HEAD") if gitdir else ""
        if gitdir and head:
            branch = head.removeprefix(_REF) if head.startswith(_REF) else ""
            commit = _commit(gitdir, head)
            underway = next((state for name, state in _UNDERWAY.items() if _exists(gitdir / name)), "")
            return GitFacts(str(root), branch, commit[:_SHORT_COMMIT], underway)
    return None


def _gitdir(dot_git: Path) -> Path | None:
    if _exists(dot_git / "HEAD"):
        return dot_git
    pointer = _line(dot_git)
    return dot_git.parent / pointer.removeprefix("gitdir:").strip() if pointer.startswith("gitdir:") else None


def _commit(gitdir: Path, head: str) -> str:
    if not head.startswith("ref: "):
        return head if _is_hash(head) else ""
    ref = head.removeprefix("ref: ")
    if ".." in ref or ref.startswith("/"):
        return ""
    common = gitdir / (_line(gitdir / "commondir") or ".")
    for place in (gitdir, common):
        if _is_hash(found := _line(place / ref)):
            return found
    packed = (line.split(" ", 1) for line in _text(common / "packed-refs").splitlines() if " " in line)
    return next((commit for commit, name in packed if name == ref and _is_hash(commit)), "")


def _is_hash(text: str) -> bool:
    return len(text) in {40, 64} and all(char in "0123456789abcdef" for char in text)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_GIT_FILE)
    except OSError:
        return ""


def _line(path: Path) -> str:
    return _text(path).split("\n", 1)[0].strip()
