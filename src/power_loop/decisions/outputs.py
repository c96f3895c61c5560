"""Structured output, decided: what the newest input wants, how far that has come, and what the model is told of it."""

from typing import Final

import msgspec

from power_loop.decisions.call import Call
from power_loop.facts.entries import DefinitionChanged, OutputChecked
from power_loop.facts.structured import RecordedOutput, asked_schema, ordered_json

OUTPUT_REPAIR: Final = "output_repair"
"""Topic of the note that says what was wrong with the output, and asks for it again."""
OUTPUT_FORMAT: Final = "output_format"
"""Topic of the note that says in which form the answer is wanted, to a model that takes neither schemas nor tools."""
OUTPUT_TOOL: Final = "final_answer"
"""Name of the tool whose arguments are the output; longer where the host has a tool of this name."""

_SHOWN: Final = 8_000
_replace = msgspec.structs.replace


class Output(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the newest input wants as output, and how far that has come.

    ``tool`` is the output tool of the recorded definition, ``base`` the digest of the host's own one, without that
    tool. ``told``: a note has said in which form the answer is wanted. ``due``: the newest reply answers the newest
    input, and is not checked yet. The rest speaks of the newest reply that was checked: ``text`` is the output as
    canonical JSON when ``accepted``, else what the tool was given; ``problem`` is what was wrong and no note has told
    yet; ``spent``: it was wrong, and no further try is made.
    """

    wanted: RecordedOutput | None = None
    tool: str = ""
    base: str = ""
    told: bool = False
    due: bool = False
    repairs: int = 0
    accepted: bool = False
    spent: bool = False
    by_tool: bool = False
    text: str = ""
    problem: str = ""

    @property
    def settled(self) -> bool:
        """Whether no further model call is wanted."""
        return self.accepted or self.spent

    @property
    def repair_due(self) -> bool:
        """Whether the model is to be told what was wrong; a call of the output tool has its result for that."""
        return bool(self.problem) and not self.by_tool and not self.spent

    def defined(self, fact: DefinitionChanged) -> "Output":
        """Return this after a change of the definition. One with an output tool stands beside the host's own."""
        return _replace(self, tool=fact.output) if fact.output else _replace(self, tool="", base=fact.digest)

    def asked(self, wanted: RecordedOutput | None) -> "Output":
        """Return this after a new input."""
        return Output(wanted, self.tool, self.base)

    def noted(self, topic: str) -> "Output":
        """Return this after a note."""
        if topic == OUTPUT_REPAIR:
            return _replace(self, problem="")
        return _replace(self, told=True) if topic == OUTPUT_FORMAT else self

    def replied(self) -> "Output":
        """Return this after a reply."""
        return Output(self.wanted, self.tool, self.base, self.told, due=True, repairs=self.repairs)

    def reopened(self) -> "Output":
        """Return this after a host asked to go on with what was settled."""
        return Output(self.wanted, self.tool, self.base, self.told)

    def checked(self, fact: OutputChecked) -> "Output":
        """Return this after a check."""
        return _replace(
            self,
            due=False,
            repairs=fact.repairs + (not fact.ok and not fact.final),
            accepted=fact.ok,
            spent=fact.final,
            by_tool=fact.call is not None,
            text=fact.text,
            problem=fact.problem,
        )


def is_answer(call: Call, output: Output) -> bool:
    """Tell whether a call's arguments are meant as the output."""
    return call.offered and bool(output.tool) and call.recorded.name == output.tool


def is_last_try(output: Output, *, wrap_up: bool) -> bool:
    """Tell whether no repair is left for the output that is being checked."""
    return wrap_up or output.wanted is None or output.repairs >= output.wanted.max_repairs


# -- what the model is told

ACCEPTED: Final = "Accepted."
OVERTAKEN: Final = "<not checked: another answer or a newer input came first>"


def refused(problem: str, tool: str) -> str:
    """Answer a call of the output tool whose arguments do not fit."""
    return f"Error: these arguments are not the answer that is wanted.\n{problem}\nCall {tool} again."


def repair_words(output: Output, how: str = "Answer again.") -> str:
    """Tell what is wrong with an output, and ask again."""
    return f"Your reply is not the answer that is wanted.\n{output.problem}\n{how}"


def last_words(output: Output) -> str:
    """Ask for the output at the round limit, where no tool can be called any more."""
    return (
        "The limit of rounds for this task is reached and no further tool can be used. Answer now with what you know. "
        + as_text(output)
    )


def by_calling(tool: str) -> str:
    """Ask for the output as arguments of a tool."""
    return f"Give your answer by calling {tool}."


def as_text(output: Output) -> str:
    """Ask for the output as text."""
    if output.wanted is None:
        return ""
    schema = ordered_json(asked_schema(output.wanted.spec().schema))
    fitting = f" that fits this JSON Schema: {schema}" if len(schema) <= _SHOWN else ""
    return f"Write nothing but one JSON object{fitting}{'' if fitting else '.'}"
