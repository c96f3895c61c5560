"""What the demo asks, and the two tools that it takes to answer. They read slowly, so that one can be cut off."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import power_loop
from power_loop.cli.demo.ledger import Ledger
from power_loop.facts.entries import Effect
from power_loop.ports.llm import LLMRequest, LLMResponse, LLMService, OnDelta, ignore_delta
from power_loop.ports.registry import ToolRegistry
from power_loop.ports.tools import ToolContext, ToolDefinition, ToolHandler

SLICES = 8
"""Slices in which a tool reads its file."""
_PACE = {"count_lines": 0.3, "count_bytes": 0.5}
"""Seconds per slice. The second tool is slower, so that it is cut off also where both run at once."""
_EFFECT: Effect = "read"
_REPOSITORY = ("README.md", "Makefile", "pyproject.toml", "CHANGELOG.md")
_PACKAGE = ("engine/loop.py", "decisions/state.py", "facts/entries.py", "face/loop.py")


def files() -> dict[str, Path]:
    """Return real files by the name that the model sees: of the repository, or else of the installed package."""
    package = Path(power_loop.__file__).parent
    repository = package.parents[1]
    found = {}
    if package.parent.name == "src":
        found = {name: repository / name for name in _REPOSITORY}
    found |= {f"power_loop/{name}": package / name for name in _PACKAGE}
    return {name: path for name, path in found.items() if path.is_file()}


def subject() -> str:
    """Return the name of the file that the question is about."""
    return next(iter(files()))


def question() -> str:
    """Return the fixed question."""
    return f"How long is the file {subject()}, in lines and in bytes?"


def make_tools(ledger: Ledger) -> ToolRegistry:
    """Return the two tools; each run of one leaves its lines in the ledger."""
    registry = ToolRegistry()
    for name, unit, measure in (("count_lines", "lines", _lines), ("count_bytes", "bytes", len)):
        registry.register(_definition(name, unit), _handler(name, unit, measure, ledger))
    return registry


def _lines(data: bytes) -> int:
    return data.count(b"\n")


def _definition(name: str, unit: str) -> ToolDefinition:
    path = {"type": "string", "enum": list(files()), "description": "The file that the question is about."}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"path": path},
        "required": ["path"],
        "additionalProperties": False,
    }
    return ToolDefinition(name, f"Count the {unit} of a file.", schema, effect=_EFFECT)


def _handler(name: str, unit: str, measure: Callable[[bytes], int], ledger: Ledger) -> ToolHandler:
    async def count(context: ToolContext, path: str) -> str:
        fields = _fields(name, context)
        ledger.write("tool", "started", fields)
        data = await _read_slowly(name, ledger, context, path)
        result = f"{path} has {measure(data)} {unit}."
        ledger.write("tool", "finished", fields | {"detail": result})
        return result

    return count


def _fields(name: str, context: ToolContext) -> dict[str, Any]:
    return {
        "name": name,
        "call": context.call_id,
        "key": context.idempotency_key,
        "attempt": context.attempt,
    }


async def _read_slowly(name: str, ledger: Ledger, context: ToolContext, path: str) -> bytes:
    """Read a file slice by slice, so that there is time to watch, and to pull the plug."""
    file = files()[path]
    size = file.stat().st_size
    step = -(-size // SLICES)
    data = b""
    with file.open("rb") as opened:
        for number in range(1, SLICES + 1):
            await asyncio.sleep(_PACE[name])
            data += opened.read(step)
            ledger.write("tool", "slice", _fields(name, context) | {"detail": str(number)})
            context.progress(f"{number}/{SLICES}")
    return data


class PaidLLM:
    """A model whose calls are written to the ledger: the bill, as the outside world would write it."""

    def __init__(self, service: LLMService, ledger: Ledger) -> None:
        self._service = service
        self._ledger = ledger

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Call the model."""
        self._ledger.write("model", "started", {})
        response = await self._service.complete(request, on_delta=on_delta)
        self._ledger.write("model", "finished", {})
        return response

    async def close(self) -> None:
        """Close the model."""
        await self._service.close()
