"""How a request asks for structured output: by the provider's schema mode, by a tool that takes it, or in words."""

from functools import lru_cache
from typing import Any

from power_loop.decisions.outputs import OUTPUT_FORMAT, OUTPUT_REPAIR, OUTPUT_TOOL, as_text, by_calling, repair_words
from power_loop.engine.run import Run
from power_loop.engine.services import Definition
from power_loop.facts import jsontext
from power_loop.facts.entries import Note
from power_loop.facts.structured import StructuredOutputSpec, asked_schema, ordered_json
from power_loop.ports.llm import DescribedLLM, LLMService
from power_loop.ports.models import ModelInfo
from power_loop.ports.tools import ToolDefinition

_TOLD = "Give your final answer by calling this tool, once, when you are done. Its arguments are the answer."


def asked(run: Run, own: Definition) -> tuple[Definition, dict[str, Any] | None]:
    """Return the definition under which the model is called, and the ``response_format`` of the request.

    ``own`` is the host's definition. Decided anew for each call from what the service says of itself: the recorded
    definition tells which way a reply was asked for, so that a session goes on where another service drives it.
    """
    wanted = run.state.output.wanted
    if wanted is None:
        return own, None
    info = _known(run.services.llm)
    if info.native_schema:
        return own, wanted.spec().to_openai_response_format()
    return (_with_tool(run, own, wanted.spec()) if info.tools else own), None


def stage_own(run: Run, own: Definition, definition: Definition) -> None:
    """Stage the host's definition before one that has an output tool too, unless it is recorded already."""
    if definition.output and run.state.output.base != own.digest:
        run.stage(own.fact())


def output_notes(run: Run) -> list[Note]:
    """Return what the model is to be told of the output before it is called, and what is not in the journal yet."""
    output = run.state.output
    if output.wanted is None:
        return []
    info = _known(run.services.llm)
    by_tool = info.tools and not info.native_schema
    notes: list[Note] = []
    if output.repair_due:
        notes.append(Note(OUTPUT_REPAIR, repair_words(output, by_calling(_name(run)) if by_tool else as_text(output))))
    if not (output.told or info.native_schema or info.tools):
        notes.append(Note(OUTPUT_FORMAT, as_text(output)))
    return notes


def _with_tool(run: Run, own: Definition, spec: StructuredOutputSpec) -> Definition:
    name = _name(run)
    tool = _tool(name, spec.description, ordered_json(asked_schema(spec.schema)))
    return Definition.of(own.system_prompt, (*own.tools, tool), output=name)


def _name(run: Run) -> str:
    """Return the name of the output tool; the host's own tools keep theirs."""
    name = OUTPUT_TOOL
    while run.services.registry.has(name):
        name += "_"
    return name


def _known(llm: LLMService) -> ModelInfo:
    return llm.describe() if isinstance(llm, DescribedLLM) else ModelInfo()


@lru_cache(maxsize=128)
def _tool(name: str, description: str, schema: str) -> ToolDefinition:
    """Return the output tool; the same object each time, since services keep what they encoded by identity."""
    told = f"{_TOLD} {description}" if description else _TOLD
    return ToolDefinition(name, told, jsontext.parse_object(schema))
