"""Breaks critical mechanisms one by one, in copies of the sources, and shows which test notices.

``python tests/mutants/run.py [WORD ...]`` runs the mutants whose name holds one of the words, or all. The exit code
is 0 only when every mutant was killed by a test that passes on the sources as they are.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from care_mutants import CARE
from content_mutants import CONTENT
from context_mutants import CONTEXT
from mutants import KERNEL, Edit, Mutant
from notes_mutants import NOTES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("src") / "power_loop"
MUTANTS = (*KERNEL, *CONTEXT, *CARE, *CONTENT, *NOTES)
AT_ONCE = int(os.environ.get("TEST_JOBS", "2"))
LIMIT = 180
"""Seconds for the tests of one mutant."""
FAILED = 1
"""pytest's exit code where tests ran and some failed; others mean that nothing was shown."""


class DoesNotApply(Exception):
    """The sources no longer hold what a mutant replaces, exactly once."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant; ``killer`` is the test that noticed."""

    mutant: Mutant
    outcome: str
    killer: str = ""
    output: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.outcome == "killed"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def apply(edit: Edit, root: Path) -> None:
    """Make one replacement in a copy."""
    path = root / PACKAGE / edit.file
    if not path.is_file():
        raise DoesNotApply(f"{edit.file} is not there")
    text = path.read_text(encoding="utf-8")
    if (found := text.count(edit.old)) != 1:
        raise DoesNotApply(f"{edit.file} holds {edit.old.strip()[:60]!r} {found} times")
    path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def copy_sources(folder: Path) -> None:
    shutil.copytree(ROOT / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which the copy is what tests and their child processes import."""
    return os.environ | {"PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}


def run_tests(folder: Path, tests: Iterable[str], *, first: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=line", "--no-header", "--timeout=60"]
    command += ["-n0", f"--basetemp={folder / 'tmp'}", *(["-x"] if first else []), *tests]
    return subprocess.run(
        command, cwd=ROOT, env=environment(folder), capture_output=True, text=True, timeout=LIMIT, check=False
    )


def imported_from(folder: Path) -> Path:
    """Return where the package comes from in that environment."""
    told = subprocess.run(
        [sys.executable, "-c", "import power_loop; print(power_loop.__file__)"],
        cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Path(told.stdout.strip()).resolve()


def judge(mutant: Mutant) -> Verdict:
    """Break a copy, run the tests, and tell what happened."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant_") as name:
        folder = Path(name)
        copy_sources(folder)
        try:
            for edit in mutant.edits:
                apply(edit, folder)
            done = run_tests(folder, mutant.tests)
        except DoesNotApply as error:
            return Verdict(mutant, "does not apply", output=str(error))
        except subprocess.TimeoutExpired as error:
            return Verdict(mutant, "not shown", output=f"no end within {error.timeout:g} s")
    seconds = time.monotonic() - began
    killer = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    if done.returncode == FAILED and killer:
        return Verdict(mutant, "killed", killer.group(1), seconds=seconds)
    outcome = "SURVIVED" if done.returncode == 0 else "not shown"
    return Verdict(mutant, outcome, output=(done.stdout + done.stderr)[-2000:], seconds=seconds)


def sound(mutants: Iterable[Mutant]) -> bool:
    """Check that the named tests pass on a copy without a mutant, and that tests import that copy."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    with tempfile.TemporaryDirectory(prefix="mutant_none_") as name:
        folder = Path(name)
        copy_sources(folder)
        if not imported_from(folder).is_relative_to(folder.resolve()):
            say("Tests would not import the copy, but the installed package.")
            return False
        done = run_tests(folder, tests, first=False)
    if done.returncode:
        say(done.stdout[-4000:] + done.stderr[-2000:])
        say("These tests fail on the sources as they are: they cannot show anything about a mutant.")
    return done.returncode == 0


def chosen(words: list[str]) -> list[Mutant]:
    return [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]


def show(verdict: Verdict) -> None:
    mutant = verdict.mutant
    said = verdict.killer.split("/")[-1] if verdict.good else verdict.outcome.upper()
    say(f"{mutant.name:<44} {mutant.promise:<8} {said} ({verdict.seconds:.1f} s)")
    if not verdict.good:
        say(verdict.output)


def main(words: list[str]) -> int:
    mutants = chosen(words)
    if not mutants or not sound(mutants):
        return 2
    say(f"{'mutant':<44} {'promise':<8} killed by")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = []
        for verdict in pool.map(judge, mutants):
            show(verdict)
            verdicts.append(verdict)
    killed = sum(verdict.good for verdict in verdicts)
    say(f"\n{killed} of {len(verdicts)} mutants killed.")
    return 0 if killed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
