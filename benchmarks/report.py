"""The table and the JSON of what was measured."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.figures import Figure

_HEADINGS = ("figure", "unit", "power-loop", "(min - max)", "floor", "(min - max)", "ratio", "goal", "")
_VERDICTS = {True: "met", False: "NOT MET", None: ""}


def number(value: float) -> str:
    """Return a number with about three digits that matter."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _spread(values: Sequence[float]) -> tuple[str, str]:
    if not values:
        return "", ""
    return number(statistics.median(values)), f"({number(min(values))} - {number(max(values))})"


def _row(figure: Figure) -> tuple[str, ...]:
    ratio = f"{statistics.median(figure.ratios):.2f}" if figure.ratios else ""
    goal = "" if figure.goal is None else str(figure.goal)
    return (
        figure.name,
        figure.unit,
        *_spread(figure.kernel),
        *_spread(figure.floor),
        ratio,
        goal,
        _VERDICTS[figure.met],
    )


def table(figures: Iterable[Figure]) -> str:
    """Return the table: medians, the spread over all runs, and the median ratio of neighbouring runs."""
    rows = [_HEADINGS, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    left = {0, 1, len(widths) - 1}
    cells = [
        cell.ljust(width) if column in left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def as_json(figures: Iterable[Figure], machine: Mapping[str, Any], failed: Mapping[str, str]) -> str:
    """Return everything measured, every run of it."""
    return json.dumps(
        {"machine": machine, "figures": [_record(figure) for figure in figures], "failed": failed},
        indent=2,
        ensure_ascii=False,
    )


def _record(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "unit": figure.unit,
        "median": statistics.median(figure.kernel),
        "floor_median": statistics.median(figure.floor) if figure.floor else None,
        "ratio": statistics.median(figure.ratios) if figure.ratios else None,
        "goal": str(figure.goal) if figure.goal else None,
        "met": figure.met,
        "runs": figure.kernel,
        "floor_runs": figure.floor,
    }
