"""Types and models for tests of structured output; imported by child processes too."""

from dataclasses import dataclass

from power_loop.ports.models import ModelInfo
from power_loop.testing import ScriptedLLM, call, reply


@dataclass
class Trip:
    city: str
    days: int


GOOD = '{"city": "Lima", "days": 5}'
BAD = '{"city": "Lima"}'
LIMA = Trip("Lima", 5)


class NativeLLM(ScriptedLLM):
    """A model whose provider holds replies to a schema."""

    def describe(self, model: str | None = None) -> ModelInfo:
        return ModelInfo(native_schema=True)


class PlainLLM(ScriptedLLM):
    """A model that takes no tools."""

    def describe(self, model: str | None = None) -> ModelInfo:
        return ModelInfo(tools=False)


def answer(**arguments):
    return reply("", call("final_answer", **arguments))
