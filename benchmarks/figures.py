"""The measurements: each is a function that runs its programs and returns figures with their goals."""

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from benchmarks.child import MESSAGES_PER_TURN
from benchmarks.harness import Bench, MeasurementFailed, Role, Sample, Samples

Judged: TypeAlias = Literal["value", "ratio"]

_TURNS = 200
_SESSIONS, _TURNS_EACH = 500, 4
_LONG_TURNS = 400
_CHUNKS = 20_000
_WIRES = ("Chat", "Responses", "Anthropic")
_REQUEST_MESSAGES = 5_000
_TEXTS = ("english", "code", "json", "chinese")
_SAME_SIZE = 0.1
"""How far the text that the floor writes in a turn may be from the kernel's, as a share."""


@dataclass(frozen=True)
class Goal:
    """A bound on the median of a figure, or on the median of its ratios to the floor."""

    bound: float
    at: Literal["most", "least"] = "most"
    judged: Judged = "value"

    def met(self, value: float) -> bool:
        """Tell whether a value keeps the bound."""
        return value <= self.bound if self.at == "most" else value >= self.bound

    def __str__(self) -> str:
        sign = "≤" if self.at == "most" else "≥"
        return f"{sign} {self.bound:,g}" + (" x floor" if self.judged == "ratio" else "")


@dataclass(frozen=True)
class Figure:
    """One line of the table: what every run of ours and of the floor gave; ``floor`` is empty where there is none."""

    name: str
    unit: str
    kernel: list[float]
    floor: list[float]
    goal: Goal | None = None

    @property
    def ratios(self) -> list[float]:
        """Ours over the floor, pair by pair: the two of a pair ran next to each other."""
        return [ours / floor for ours, floor in zip(self.kernel, self.floor, strict=bool(self.floor)) if floor]

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return self.goal.met(statistics.median(self.kernel if self.goal.judged == "value" else self.ratios))


def figure(samples: Samples, key: str, name: str, unit: str, goal: Goal | None = None) -> Figure:
    """Make the figure of one number that both programs give."""
    return Figure(name, unit, samples.of("kernel", key), samples.of("floor", key), goal)


def same_work(samples: Samples, *keys: str) -> None:
    """Refuse a floor that writes something else than the kernel. Raises MeasurementFailed."""
    for floor, kernel in zip(samples.floor, samples.kernel, strict=True):
        if any(floor[key] != kernel[key] for key in keys):
            counts = ", ".join(f"{kernel[key]:g} {key}, the floor {floor[key]:g}" for key in keys)
            raise MeasurementFailed(f"A turn of the kernel makes {counts}: bring benchmarks/floor.py up to date.")
        if abs(floor["characters"] / kernel["characters"] - 1) > _SAME_SIZE:
            sizes = f"{kernel['characters']:.0f} characters, the floor {floor['characters']:.0f}"
            raise MeasurementFailed(f"A turn of the kernel writes {sizes}: bring benchmarks/floor.py up to date.")


def cost(bench: Bench) -> list[Figure]:
    """One session, 200 turns of two tool calls each: CPU, its growth, bytes on disk."""
    samples = bench.programs("cost", turns=_TURNS)
    same_work(samples, "rows", "commits")
    return [
        figure(samples, "cpu_ms", "CPU per turn of two tool calls", "ms", Goal(1.5, judged="ratio")),
        figure(samples, "growth", "CPU of turns 181-200 over turns 1-20", "x", Goal(1.1)),
        figure(samples, "bytes_per_message", "on disk per message of 100 characters", "bytes", Goal(600)),
    ]


def concurrency(bench: Bench) -> list[Figure]:
    """500 sessions at once, four turns each."""
    figures = []
    for tools, kind, goal in ((True, "with two tool calls", Goal(1400, "least")), (False, "of text only", None)):
        samples = bench.programs("concurrency", sessions=_SESSIONS, turns=_TURNS_EACH, tools=tools)
        same_work(samples, "rows")
        figures.append(figure(samples, "turns_per_s", f"500 sessions at once, turns {kind}", "turns/s", goal))
        figures.append(figure(samples, "cpu_ms", f"CPU per turn {kind}, 500 at once", "ms"))
    return figures


def reopen(bench: Bench) -> list[Figure]:
    """A new process opens a session of 2,000 messages and runs a turn."""
    with bench.scratch() as floor, bench.scratch() as kernel:
        prepared: dict[Role, Path] = {"floor": floor, "kernel": kernel}
        for role, folder in prepared.items():
            bench.program(role, "prepare", folder, turns=_LONG_TURNS)

        def measure(role: Role) -> Sample:
            with bench.scratch(copy_of=prepared[role]) as folder:
                return bench.program(role, "reopen", folder, messages=_LONG_TURNS * MESSAGES_PER_TURN)

        samples = bench.samples(measure)
    return [figure(samples, "ms", "open, load 2,000 messages, run a turn", "ms", Goal(20))]


def stream(bench: Bench) -> list[Figure]:
    """20,000 streamed chunks through ``loop.stream()``, beside a bare async generator."""
    samples = bench.programs("stream", chunks=_CHUNKS)
    return [figure(samples, "us", "CPU per streamed chunk", "µs", Goal(2))]


def requests(bench: Bench) -> list[Figure]:
    """The body of 5,000 messages for each wire format, beside ``json.dumps`` of it finished."""
    figures = []
    for wire in _WIRES:
        options = json.dumps({"wire": wire, "messages": _REQUEST_MESSAGES})

        def measure(role: Role, options: str = options) -> Sample:
            sample: Sample = json.loads(bench.python("-m", "benchmarks.requests", role, options).stdout)
            return sample

        samples = bench.samples(measure)
        figures += [
            figure(samples, "cold_ms", f"{wire} body of 5,000 messages, first", "ms", Goal(4, judged="ratio")),
            figure(samples, "warm_ms", f"{wire} body of 5,000 messages, a turn later", "ms", Goal(1, judged="ratio")),
        ]
    return figures


def compaction(bench: Bench) -> list[Figure]:
    """A session of 2,000 messages is folded once, and opened again."""
    options = [str(bench.folder), str(_LONG_TURNS * MESSAGES_PER_TURN)]
    runs = [json.loads(bench.python("-m", "benchmarks.compaction", *options).stdout) for _ in range(bench.runs)]
    floor = [run["floor_ms"] for run in runs]
    return [
        Figure("CPU of folding 2,000 messages", "ms", [run["fold_ms"] for run in runs], floor),
        Figure("open the folded session, run a turn", "ms", [run["open_ms"] for run in runs], [], Goal(20)),
    ]


def estimator(bench: Bench) -> list[Figure]:
    """Estimated tokens beside what the local model counts: English, program text, JSON, Chinese."""
    figures = []
    for kind in _TEXTS:
        errors = json.loads(bench.python("-m", "benchmarks.estimator", kind).stdout)
        figures += [
            Figure(f"error of the estimate, {kind}, uncalibrated", "%", [errors["raw"]], []),
            Figure(f"error of the estimate, {kind}, calibrated", "%", [errors["calibrated"]], [], Goal(5)),
        ]
    return figures


_IMPORT = """
import sys, time
before, cpu = time.perf_counter(), time.process_time()
{statement}
wall, cpu = time.perf_counter() - before, time.process_time() - cpu
loaded = len(sys.modules)
import json, pathlib, resource
status = pathlib.Path("/proc/self/status")
if status.exists():
    kilobytes = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))
else:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"ms": wall * 1e3, "cpu_ms": cpu * 1e3, "mb": kilobytes / 1024, "modules": loaded}}))
"""
_STATEMENTS: Mapping[Role, str] = MappingProxyType(
    {"floor": "import asyncio, sqlite3", "kernel": "import power_loop"},
)
_HEAVIEST = 15


def importing(bench: Bench) -> list[Figure]:
    """``import power_loop`` in a new interpreter, beside ``import asyncio, sqlite3``."""

    def measure(role: Role) -> Sample:
        sample: Sample = json.loads(bench.python("-c", _IMPORT.format(statement=_STATEMENTS[role])).stdout)
        return sample

    for role in _STATEMENTS:
        measure(role)  # once for nothing: the first import of an installation compiles
    samples = bench.samples(measure)
    bare = json.loads(bench.python("-c", _IMPORT.format(statement="pass")).stdout)
    bench.say(f"  a bare interpreter: {bare['mb']:.1f} MB")
    if bench.verbose:
        bench.say(heaviest_imports(bench))
    return [
        figure(samples, "ms", "import power_loop", "ms", Goal(80)),
        figure(samples, "cpu_ms", "CPU of import power_loop", "ms"),
        figure(samples, "mb", "memory after import power_loop", "MB", Goal(30)),
    ]


def heaviest_imports(bench: Bench) -> str:
    """Return the modules that take the longest to import, without what they import themselves."""
    lines = bench.python("-X", "importtime", "-c", _STATEMENTS["kernel"]).stderr.splitlines()
    fields = [line.removeprefix("import time:").split("|") for line in lines if line.startswith("import time:")]
    times = [(int(own), name.strip()) for own, _, name in fields if own.strip().isdigit()]
    rows = [f"  {own / 1e3:8.2f} ms  {name}" for own, name in sorted(times, reverse=True)[:_HEAVIEST]]
    return "\n".join(["  the heaviest modules by themselves:", *rows])


MEASUREMENTS: Mapping[str, Callable[[Bench], list[Figure]]] = MappingProxyType(
    {
        "cost": cost,
        "concurrency": concurrency,
        "reopen": reopen,
        "stream": stream,
        "requests": requests,
        "compaction": compaction,
        "estimator": estimator,
        "import": importing,
    }
)
