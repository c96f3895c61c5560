"""How a request asks for structured output: by the provider's schema mode, by a tool that takes it, or in words."""

from functools import lru_cache
from typing import Any

from power_loop.decisions.outputs import OUTPUT_TOOL, Output, how_to_answer
from power_loop.engine.run import Run
from power_loop.engine.services import Definition
from power_loop.facts import jsontext
from power_loop.facts.structured import asked_schema, ordered_json
from power_loop.ports.llm import DescribedLLM, LLMService
from power_loop.ports.models import ModelInfo
from power_loop.ports.tools import ToolDefinition

_TOLD = "Give your final answer by calling this tool, once, when you are done. Its arguments are the answer."


def asked(run: Run) -> tuple[Definition, dict[str, Any] | None]:
    """Return the definition under which the model is called, and the ``response_format`` of the request.

    Decided anew for each call from what the service says of itself: the recorded definition tells which way a reply
    was asked for, so that a session goes on where another service drives it.
    """
    services, wanted = run.services, run.state.output.wanted
    if wanted is None:
        return services.definition, None
    spec = wanted.spec()
    base, info = services.definition, _known(services.llm)
    if info.native_schema:
        return base, spec.to_openai_response_format()
    if not info.tools:
        told = how_to_answer(Output(wanted))
        return Definition.of(f"{base.system_prompt}\n\n{told}" if base.system_prompt else told, base.tools), None
    name = OUTPUT_TOOL
    while services.registry.has(name):
        name += "_"
    tool = _tool(name, spec.description, ordered_json(asked_schema(spec.schema)))
    return Definition.of(base.system_prompt, (*base.tools, tool), output=name), None


def _known(llm: LLMService) -> ModelInfo:
    return llm.describe() if isinstance(llm, DescribedLLM) else ModelInfo()


@lru_cache(maxsize=128)
def _tool(name: str, description: str, schema: str) -> ToolDefinition:
    """Return the output tool; the same object each time, since services keep what they encoded by identity."""
    told = f"{_TOLD} {description}" if description else _TOLD
    return ToolDefinition(name, told, jsontext.parse_object(schema))
