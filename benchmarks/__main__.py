"""``python -m benchmarks``: measure, and print a table of figures beside their goals."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figures import MEASUREMENTS, Figure
from benchmarks.harness import Bench, MeasurementFailed, machine
from benchmarks.report import as_json, table

_RUNS, _QUICK_RUNS = 9, 3
_BUSY = 0.5
"""Load per core from which times of a wall clock say little."""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    names = ", ".join(MEASUREMENTS)
    root = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    root.add_argument("names", nargs="*", metavar="MEASUREMENT", help=f"what to measure: {names} (default: all)")
    root.add_argument("--quick", action="store_true", help=f"{_QUICK_RUNS} runs instead of {_RUNS}: about a minute")
    root.add_argument("--runs", type=int, help="how many runs of each program")
    root.add_argument("--folder", type=Path, help="where databases are made (default: the temporary folder)")
    root.add_argument("--json", action="store_true", help="print JSON with every run")
    root.add_argument("--verbose", action="store_true", help="show every run, and the heaviest imports")
    return root


def say(text: str) -> None:
    """Tell about progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def measure(names: list[str], bench: Bench) -> tuple[list[Figure], dict[str, str]]:
    """Measure one after the other; what fails is told and does not stop the rest."""
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    for name in names:
        measurement = MEASUREMENTS[name]
        say(f"{name}: {(measurement.__doc__ or '').strip()}")
        try:
            figures += measurement(bench)
        except MeasurementFailed as error:
            failed[name] = str(error)
            say(f"  failed: {error}")
    return figures, failed


def headline(facts: dict[str, Any]) -> str:
    """Return one line about the machine, and a warning where others use it too."""
    line = (
        f"Python {facts['python']}, SQLite {facts['sqlite']}, {facts['system']}, {facts['cores']} cores, "
        f"load {facts['load']}, databases on {facts['filesystem']}"
    )
    if facts["load"] > facts["cores"] * _BUSY:
        line += "\nThis machine is busy: read the ratios and the smallest values, not the milliseconds."
    return line


def main() -> int:
    """Measure what was asked for. 1 when a measurement failed; a missed goal is no failure."""
    root = parser()
    options = root.parse_args()
    unknown = [name for name in options.names if name not in MEASUREMENTS]
    if unknown:
        root.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(MEASUREMENTS)}")
    runs = options.runs if options.runs is not None else _QUICK_RUNS if options.quick else _RUNS
    if runs < 1:
        root.error("--runs must be at least 1")
    if options.folder is not None and not options.folder.is_dir():
        root.error(f"--folder {options.folder} is not a folder")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders are removed then, too
    with tempfile.TemporaryDirectory(prefix="power-loop-bench-", dir=options.folder) as folder:
        bench = Bench(runs, Path(folder), say, options.verbose)
        facts = machine(bench.folder) | {"runs": runs}
        say(headline(facts))
        figures, failed = measure(options.names or list(MEASUREMENTS), bench)
    print(as_json(figures, facts, failed) if options.json else "\n" + table(figures))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
