"""Structured output: from a Python type or a schema to what the kernel asks for, and from text back to a value.

Takes what pydantic takes (models, dataclasses, typed dicts, unions, lists), JSON Schemas, and StructuredOutputSpec.
pydantic and the validator are loaded when first needed. Asks no model and records nothing.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar, overload

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.errors import ConfigError, StructuredOutputError
from power_loop.facts.json_in_text import json_values, why_none
from power_loop.facts.structured import WRAPPED, Schema, StructuredOutputSpec, is_object_schema, ordered_json
from power_loop.ports.json_schema import mistakes_in
from power_loop.ports.satisfiable import is_impossible
from power_loop.ports.tool_schema import quiet_generator, said, tidy
from power_loop.ports.tool_text import MAX_ERRORS
from power_loop.ports.typed_dicts import readable

__all__ = ["OutputForm", "StructuredOutputSpec", "Verdict", "parse_structured"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROOT: Final = "the output"
_LONGEST: Final = 2_000
_T = TypeVar("_T")


class Verdict(NamedTuple):
    """What a check found: the output as canonical JSON, or what is wrong in words a model can act on."""

    text: str = ""
    problem: str = ""


class OutputForm:
    """What a host wants as output: the specification that is recorded, and the type that this process builds."""

    def __init__(self, spec: StructuredOutputSpec, adapter: Any = None) -> None:  # noqa: ANN401 -- a pydantic TypeAdapter
        self.spec = spec
        self._adapter = adapter

    @classmethod
    def of(cls, output_type: Any, *, max_repairs: int = 2) -> "OutputForm":  # noqa: ANN401 -- whatever pydantic takes
        """Make the form of a type, a JSON Schema or a specification; the latter says itself how many repairs it allows.

        Raises ConfigError for what JSON cannot say, for what is not a JSON Schema, and for one that nothing can fit.
        """
        if isinstance(output_type, StructuredOutputSpec):
            return cls(_checked(output_type))
        if isinstance(output_type, Mapping):
            name = str(output_type.get("title", "output"))
            return cls(_checked(StructuredOutputSpec(_fitting(name), _plain(output_type), max_repairs=max_repairs)))
        form = (_known_form if _is_hashable(output_type) else _form_of)(output_type)
        return cls(msgspec.structs.replace(form.spec, max_repairs=max_repairs), form._adapter)  # noqa: SLF001 -- of this class

    def build(self, text: str) -> Any:  # noqa: ANN401 -- an instance of the type
        """Return the value that canonical JSON stands for: an instance of the type, or plain JSON data.

        Raises StructuredOutputError where it does not fit the type.
        """
        if self._adapter is None:
            return msgspec.json.decode(text)
        built, problem = self._validated(text)
        if problem:
            raise StructuredOutputError(problem, text=text)
        return built

    def judge(self, values: Sequence[Any]) -> Verdict:
        """Return the last value that fits, else what is wrong with the last one."""
        first: Verdict | None = None
        for value in reversed(values):
            for reading in _readings(value, self.spec.schema):
                verdict = self._judged(reading)
                if not verdict.problem:
                    return verdict
                first = first or verdict
        return first or Verdict(problem="There is no JSON value.")

    def judge_text(self, text: str) -> Verdict:
        """Return what a model's text holds."""
        values = json_values(text)
        return self.judge(values) if values else Verdict(problem=why_none(text))

    def _judged(self, value: Any) -> Verdict:  # noqa: ANN401 -- any JSON value
        mistakes = mistakes_in(value, jsontext.encode(self.spec.schema), _ROOT)
        if mistakes:
            return Verdict(problem=_listed(mistakes))
        text = jsontext.encode(value)
        problem = self._validated(text)[1] if self._adapter is not None else ""
        return Verdict(problem=problem) if problem else Verdict(text)

    def _validated(self, text: str) -> tuple[Any, str]:
        import pydantic  # noqa: PLC0415 -- loaded already

        try:
            return self._adapter.validate_json(text), ""
        except pydantic.ValidationError as error:
            return None, _listed([said(item, _ROOT) for item in error.errors(include_url=False, include_context=False)])
        except Exception as error:  # noqa: BLE001 -- a host's validators may raise anything; the model is told
            return None, f"It could not be checked: {type(error).__name__}: {error}"


@overload
def parse_structured(text: str, output_type: type[_T]) -> _T: ...
@overload
def parse_structured(text: str, output_type: Any) -> Any: ...  # noqa: ANN401 -- whatever pydantic takes


def parse_structured(text: str, output_type: Any) -> Any:
    """Return the output that a model wrote, as an instance of a type, or as JSON data for a schema.

    Args:
        text: What the model wrote: JSON alone, in a code fence, or with prose around it. Where there are several
            values, the last that fits counts.
        output_type: A pydantic model, a dataclass, a TypedDict or another type that pydantic takes; a JSON Schema as a
            dict; or a StructuredOutputSpec.

    Raises StructuredOutputError with the text and what is wrong with it, ConfigError for a type or schema that cannot
    be asked for.
    """
    form = OutputForm.of(output_type)
    verdict = form.judge_text(text)
    if verdict.problem:
        raise StructuredOutputError(verdict.problem, text=text)
    return form.build(verdict.text)


def _readings(value: Any, schema: Schema) -> list[Any]:  # noqa: ANN401 -- any JSON value
    """Return what a value may mean: one that is no object travels in a property."""
    if isinstance(value, dict) and value.keys() == {WRAPPED} and not is_object_schema(schema):
        return [value[WRAPPED], value]
    return [value]


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


@lru_cache(maxsize=256)
def _known_form(output_type: Any) -> OutputForm:  # noqa: ANN401 -- whatever pydantic takes
    return _form_of(output_type)


def _form_of(output_type: Any) -> OutputForm:  # noqa: ANN401 -- whatever pydantic takes
    import pydantic  # noqa: PLC0415 -- a tenth of a second, which only hosts with structured output spend

    if inspect.isroutine(output_type):
        raise ConfigError(f"output_type must be a type, a JSON Schema or a StructuredOutputSpec, got {output_type!r}.")
    try:
        adapter = pydantic.TypeAdapter(readable(output_type))
        schema = adapter.json_schema(schema_generator=quiet_generator())
    except (pydantic.PydanticUserError, NameError) as error:
        raise ConfigError(f"output_type {output_type!r:.200} has no JSON form: {error}") from error
    name = getattr(output_type, "__name__", "output")
    description = schema.get("description", "")
    spec = StructuredOutputSpec(_fitting(name), _plain(tidy(schema)), description=description)
    return OutputForm(_checked(spec), adapter)


def _fitting(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64] or "output"


def _plain(schema: Mapping[str, Any]) -> Schema:
    """Return a schema of a host's as clean JSON data of its own."""
    try:
        plain: Schema = msgspec.json.decode(ordered_json(jsontext.clean_value(dict(schema))[0]))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"The schema of an output_type must be JSON data: {error}") from error
    return plain


def _checked(spec: StructuredOutputSpec) -> StructuredOutputSpec:
    if not isinstance(spec.name, str) or not _NAME.fullmatch(spec.name):
        raise ConfigError(f"StructuredOutputSpec.name must be 1 to 64 of A-Z a-z 0-9 _ -, got {spec.name!r:.80}.")
    if not isinstance(spec.max_repairs, int) or spec.max_repairs < 0:
        raise ConfigError(f"StructuredOutputSpec.max_repairs must be a whole number from 0, got {spec.max_repairs!r}.")
    if not isinstance(spec.schema, dict):
        raise ConfigError(f"StructuredOutputSpec.schema must be a JSON Schema as a dict, got {spec.schema!r:.80}.")
    schema = _plain(spec.schema)
    try:
        mistakes_in(None, jsontext.encode(schema), _ROOT)
    except ValueError as error:
        raise ConfigError(f"The schema of output {spec.name!r} is not a valid JSON Schema: {error}") from error
    if is_impossible(schema):
        raise ConfigError(f"No value fits the schema of output {spec.name!r}.")
    return msgspec.structs.replace(spec, schema=schema, description=jsontext.clean(spec.description)[0])


def _listed(mistakes: list[str]) -> str:
    more = ["and more"] if len(mistakes) > MAX_ERRORS else []
    return "\n".join(f"- {mistake}" for mistake in mistakes[:MAX_ERRORS] + more)[:_LONGEST]
