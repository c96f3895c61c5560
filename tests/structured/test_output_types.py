"""From types and schemas to what is asked for, and back."""

import datetime as dt
import enum
import re
from dataclasses import dataclass
from typing import Annotated, Literal, NotRequired, TypedDict

import jsonschema_rs
import pydantic
import pytest

from power_loop import ConfigError, StructuredOutputError, StructuredOutputSpec, parse_structured
from power_loop.facts import jsontext
from power_loop.facts.entries import InputReceived
from power_loop.facts.structured import RecordedOutput, asked_schema
from power_loop.ports.structured import OutputForm


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Point:
    x: int
    y: int


class Step(TypedDict):
    what: str
    minutes: NotRequired[int]


class Plan(pydantic.BaseModel):
    """A plan for a day."""

    title: str
    on: dt.date
    mood: Mood = Mood.GOOD
    where: Point | None = None

    @pydantic.field_validator("title")
    @classmethod
    def _short(cls, title: str) -> str:
        if len(title) > 10:
            raise ValueError("a title has at most 10 characters")
        return title


class Node(pydantic.BaseModel):
    name: str
    children: list["Node"] = []


POINT = '{"x": 1, "y": 2}'


@pytest.mark.parametrize(
    ("output_type", "text", "value"),
    [
        (Point, POINT, Point(1, 2)),
        (Step, '{"what": "eat"}', {"what": "eat"}),
        (Plan, '{"title": "a", "on": "2026-05-01"}', Plan(title="a", on=dt.date(2026, 5, 1))),
        (Node, '{"name": "a", "children": [{"name": "b"}]}', Node(name="a", children=[Node(name="b")])),
        (list[Step], '[{"what": "eat", "minutes": 5}]', [{"what": "eat", "minutes": 5}]),
        (dict[str, Step | None], '{"a": {"what": "eat"}, "b": null}', {"a": {"what": "eat"}, "b": None}),
        (Annotated[list[Point], "points"], f"So: [{POINT}]", [Point(1, 2)]),
        (Point | Step, POINT, Point(1, 2)),
        (Annotated[Point, ["metadata", "that has no hash"]], POINT, Point(1, 2)),
        (Literal["yes", "no"], '"yes"', "yes"),
        (int, "```\n5\n```", 5),
        (int, 'It is {"value": 5}.', 5),
        (set[int], "[1]", {1}),
        ({"type": "array", "items": {"type": "integer"}}, "[1]", [1]),
        ({"type": "object", "title": "any thing"}, POINT, {"x": 1, "y": 2}),
        (StructuredOutputSpec("p", {"required": ["x"]}), POINT, {"x": 1, "y": 2}),
    ],
)
def test_text_becomes_an_instance(output_type, text, value):
    assert parse_structured(text, output_type) == value


@pytest.mark.parametrize(
    ("output_type", "text", "words"),
    [
        (Point, '{"x": 1}', "y: missing, but required"),
        (Point, '{"x": "1", "y": 2}', "x: must be integer, got '1'"),
        (Plan, '{"title": "much too long", "on": "2026-05-01"}', "title: Value error, a title has at most 10"),
        (Plan, '{"title": "a", "on": "2026-13-41"}', "on: Input should be a valid date"),
        (Step, "[]", "the output: must be object, got list of 0"),
        (list[int], '["a"]', "[0]: must be integer, got 'a'"),
        (Point, "no idea", "contains no JSON object"),
    ],
)
def test_what_does_not_fit_is_told_with_the_text(output_type, text, words):
    with pytest.raises(StructuredOutputError) as caught:
        parse_structured(text, output_type)
    assert words in caught.value.problem
    assert caught.value.text == text
    assert caught.value.code == "structured_output_invalid"


def test_the_last_value_that_fits_counts():
    assert parse_structured(f'Not {{"x": 0, "y": 0}} but {POINT}, see {{"z": 3}}', Point) == Point(1, 2)


def test_a_validator_that_raises_anything_is_told_and_does_not_break():
    class Angry(pydantic.BaseModel):
        x: int

        @pydantic.field_validator("x")
        @classmethod
        def _never(cls, x: int) -> int:
            raise ZeroDivisionError("boom")

    with pytest.raises(StructuredOutputError, match="ZeroDivisionError: boom"):
        parse_structured('{"x": 1}', Angry)


@pytest.mark.parametrize(
    "output_type",
    [
        {"type": "nonsense"},
        {"$ref": "https://example.com/schema.json"},
        {"enum": []},
        {"not": {}},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "object", "properties": {}, "required": ["a"], "additionalProperties": False},
        {"anyOf": [{"enum": []}, {"const": 1, "enum": [2]}]},
        {"allOf": [{"type": "string"}, {"enum": []}]},
        {"type": "array", "minItems": 1, "items": False},
        {"a": object()},
        {1: 2, "b": float},
        StructuredOutputSpec("has spaces", {}),
        StructuredOutputSpec("n", {}, max_repairs=-1),
        StructuredOutputSpec("n", ["not a dict"]),  # type: ignore[arg-type]
        lambda: None,
        parse_structured,
        jsonschema_rs,
        "Point",
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)),
)
def test_what_cannot_be_asked_for_is_refused(output_type):
    with pytest.raises(ConfigError):
        OutputForm.of(output_type)


def test_the_journal_keeps_the_order_of_properties():
    """Models write properties in the order of the schema: thoughts first means thinking first."""
    schema = {"type": "object", "properties": {"thoughts": {"type": "string"}, "answer": {"type": "string"}}}
    spec = OutputForm.of(schema).spec
    fact = InputReceived("?", output=RecordedOutput.of(spec))
    again = jsontext.decode(jsontext.encode(fact), InputReceived)
    assert again.output is not None
    assert again.output.spec() == spec
    assert list(again.output.spec().schema["properties"]) == ["thoughts", "answer"]


def test_repairs_are_the_hosts_choice_unless_a_specification_says_so():
    assert OutputForm.of(Point, max_repairs=5).spec.max_repairs == 5
    assert OutputForm.of(Point).spec.max_repairs == 2
    assert OutputForm.of(StructuredOutputSpec("n", {}, max_repairs=0), max_repairs=5).spec.max_repairs == 0


# -- on the wire


def wire(output_type):
    return OutputForm.of(output_type).spec.to_openai_response_format()["json_schema"]


def test_strict_mode_closes_objects_and_requires_what_has_a_default():
    sent = wire(Plan)
    assert sent["strict"] is True
    assert sent["description"] == "A plan for a day."
    assert sent["schema"]["required"] == ["title", "on", "mood", "where"]
    assert sent["schema"]["additionalProperties"] is False
    point = sent["schema"]["properties"]["where"]["anyOf"][0]
    assert (point["required"], point["additionalProperties"]) == (["x", "y"], False)
    assert "default" not in jsontext.encode(sent)


@pytest.mark.parametrize(
    "output_type",
    [
        Step,
        dict[str, int],
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "a+"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"allOf": [{"type": "string"}]}}, "required": ["a"]},
        StructuredOutputSpec("n", {"type": "object", "properties": {}}, strict=False),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)),
)
def test_what_strict_mode_cannot_say_is_sent_as_it_is(output_type):
    sent = wire(output_type)
    assert sent["strict"] is False
    assert sent["schema"] == asked_schema(OutputForm.of(output_type).spec.schema)


@pytest.mark.parametrize(
    ("output_type", "text"),
    [
        (Plan, '{"title": "a", "on": "2026-05-01", "mood": "bad", "where": {"x": 1, "y": 2}}'),
        (Node, '{"value": {"name": "a", "children": [{"name": "b", "children": []}]}}'),
        (list[Point], '{"value": [{"x": 1, "y": 2}]}'),
        (Point | None, '{"value": null}'),
    ],
)
def test_what_fits_the_wire_fits_the_type(output_type, text):
    jsonschema_rs.validator_for(wire(output_type)["schema"]).validate(jsontext.parse_object(text))
    parse_structured(text, output_type)
