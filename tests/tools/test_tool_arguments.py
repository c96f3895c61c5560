"""What a model passes: accepted where the type accepts it, refused in words it can act on."""

import enum
import math
from typing import Any, Literal

import hypothesis.strategies as st
import jsonschema_rs
import pydantic
import pytest
from hypothesis import given, settings

from power_loop.facts import jsontext
from power_loop.facts.errors import ToolValidationError
from power_loop.ports.registry import ToolRegistry, validate_tool_args
from power_loop.ports.tool_decorator import tool
from power_loop.ports.tools import ToolDefinition


class Shade(enum.StrEnum):
    DARK = "dark"
    LIGHT = "light"


class Item(pydantic.BaseModel):
    name: str
    amount: float = 1.0


class Options(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    items: list[Item]


def taken(
    _context_free: str, count: int, ratio: float, flags: list[bool], shade: Shade, options: Options | None
) -> None:
    pass


BOUND = 1 << 60
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, st.text(st.characters(codec="utf-8"))),
    (int, st.integers(-BOUND, BOUND)),
    (float, st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000)),
    (bool, st.booleans()),
    (Literal["a", 2] | None, st.sampled_from(["a", 2, None])),
    (str | None, st.none() | st.text(st.characters(codec="utf-8"))),
    (list[int | str], st.lists(st.integers(-BOUND, BOUND) | st.text("ab12"))),
    (dict[str, list[float]], st.dictionaries(st.text("abc"), st.lists(st.floats(-1e6, 1e6)))),
    (dict, st.dictionaries(st.text("abc"), st.integers(-5, 5) | st.none())),
    (list[int] | list[str], st.lists(st.integers(0, 9)) | st.lists(st.text("ab", min_size=1))),
    (Shade, st.sampled_from(["dark", "light"])),
    (Item, st.fixed_dictionaries({"name": st.text("abc")}, optional={"amount": st.floats(0, 10)})),
    (Any, st.none() | st.integers(-5, 5) | st.lists(st.text("ab"))),
    (set[int], st.lists(st.integers(0, 99), unique=True)),
]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_schema_and_coercion_accept_what_the_types_accept(data):
    chosen = data.draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))

    def target(**_: Any) -> None:
        pass

    names = [f"p{position}" for position in range(len(chosen))]
    namespace: dict[str, Any] = {name: kind for name, (kind, _) in zip(names, chosen, strict=True)}
    source = f"def target({', '.join(f'{name}: {name}' for name in names)}): pass"
    exec(source, namespace)
    made = tool(namespace["target"]).registered
    arguments = {name: data.draw(strategy) for name, (_, strategy) in zip(names, chosen, strict=True)}
    schema = made.definition.input_schema
    assert jsonschema_rs.validator_for(schema).is_valid(arguments)
    coerced = made.coerce(jsontext.parse_object(jsontext.encode(arguments)))
    for name, (kind, _) in zip(names, chosen, strict=True):
        expected = pydantic.TypeAdapter(kind).validate_python(arguments[name])
        assert coerced[name] == expected
        assert type(coerced[name]) is type(expected)


PLAIN_KINDS = [
    str,
    int,
    float,
    bool,
    list[int],
    dict[str, float],
    int | None,
    Literal["x", 1],
    float | str,
    list[bool | int],
]
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("x1.", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PLAIN_KINDS), JSON_VALUES)
def test_the_fast_path_decides_as_pydantic_does(kind, value):
    def target(a):
        pass

    target.__annotations__["a"] = kind
    coerce = tool(target).registered.coerce
    try:
        expected = pydantic.TypeAdapter(kind).validate_python(value)
    except pydantic.ValidationError:
        with pytest.raises(ToolValidationError):
            coerce({"a": value})
        return
    result = coerce({"a": value})["a"]
    assert result == expected
    assert type(result) is type(expected)


# -- words


def test_every_mistake_is_named_with_its_path():
    made = tool(taken)
    text = ToolRegistry([made]).validate(
        "taken", {"_context_free": 3, "count": "many", "flags": [True, "perhaps"], "shade": "pale", "extra": 1}
    )
    assert text is not None
    lines = text.splitlines()
    assert "'taken'" in lines[0]
    assert len(lines) == 7
    assert lines[1].startswith("- _context_free: Input should be a valid string")
    assert any(line.startswith("- flags[1]:") for line in lines)
    assert "- ratio: missing, but required" in lines
    assert lines[-1] == "- and more"


RAW = ToolDefinition(
    "raw",
    input_schema={
        "type": "object",
        "properties": {
            "n": {"type": "integer", "maximum": 5},
            "kind": {"enum": ["a", "b"]},
            "deep": {"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string"}}}},
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "word": {"type": "string", "pattern": "^(a+)+$"},
        },
        "required": ["n"],
        "additionalProperties": False,
    },
    required_params=("word",),
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, ["word: missing, but required", "n: missing, but required"]),
        ({"n": "3", "word": "a"}, ["n: must be integer, got '3'"]),
        ({"n": 9, "word": "a"}, ["n: 9 is greater than the maximum of 5"]),
        ({"n": 1, "word": "a", "kind": "c"}, ['kind: "c" is not one of']),
        ({"n": 1, "word": "a", "deep": {"list": ["x", 2]}}, ["deep.list[1]: must be string, got 2"]),
        ({"n": 1, "word": "a", "maybe": "x"}, ["maybe: fits none", "must be integer, got 'x'", "must be null"]),
        ({"n": 1, "word": "a", "more": 1, "most": 2}, ["no such argument: 'more', 'most'"]),
        ({"n": 1, "word": None}, ["word: missing, but required", "word: must be string"]),
    ],
)
def test_raw_schemas_are_really_checked(arguments, said):
    text = validate_tool_args(RAW, arguments)
    assert text is not None
    for part in said:
        assert part in text
    assert validate_tool_args(RAW, {"n": 1, "word": "a", "maybe": None}) is None


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"list": [value]}
    return value


HOSTILE = [
    pytest.param({"n": 10**400, "word": "a"}, id="huge int"),
    pytest.param({"n": "9" * 1_000_000, "word": "a"}, id="long text"),
    pytest.param({"n": 1, "word": "a" * 40 + "!"}, id="backtracking"),
    pytest.param({"n": 1, "word": "a", "deep": nested(400)}, id="deep"),
    pytest.param({"n": 1, "word": "a", "deep": nested(50_000)}, id="deeper than any stack"),
    pytest.param({"n": 1, "word": "\ud800"}, id="surrogate"),
    pytest.param({"n": math.inf, "word": "a"}, id="infinite"),
    pytest.param({str(number): number for number in range(5000)}, id="many extra"),
    pytest.param({"n": [[]] * 10_000, "word": {}}, id="wrong containers"),
    pytest.param({1: 2}, id="key that is no text"),
]


@pytest.mark.parametrize("arguments", HOSTILE)
def test_hostile_arguments_get_a_short_refusal(arguments):
    text = validate_tool_args(RAW, arguments)
    assert text is not None
    assert len(text) < 4000

    @tool
    def typed(n: int, word: Literal["a"]) -> None:
        pass

    typed_text = ToolRegistry([typed]).validate("typed", {"extra": arguments, **arguments})
    assert typed_text is not None
    assert len(typed_text) < 4000


def test_json_booleans_and_numbers_are_not_confused():
    @tool
    def f(n: int | None = None, s: str = "", r: float = 0.0) -> tuple[Any, ...]:
        return n, s, r

    coerce = f.registered.coerce
    assert coerce({"n": "12", "r": 3}) == {"n": 12, "r": 3.0}
    assert type(coerce({"r": 3})["r"]) is float
    for wrong in ({"s": 1}, {"n": 1.5}, {"r": "x"}, {"n": []}):
        with pytest.raises(ToolValidationError):
            coerce(wrong)
