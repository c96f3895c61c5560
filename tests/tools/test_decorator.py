"""@tool: what the model is told of a function, and what the function stays."""

import asyncio
import dataclasses
import enum
import json
import subprocess
import sys
from functools import partial, wraps
from typing import Annotated, Any, Literal, Optional

import pydantic
import pytest

from power_loop.facts.errors import ConfigError
from power_loop.ports import tool_schema
from power_loop.ports.tool_decorator import Tool, effect_from_hints, tool
from power_loop.ports.tool_signature import read_signature
from power_loop.ports.tools import ToolContext


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(pydantic.BaseModel):
    """A place."""

    title: str
    x: int = 0
    colour: Colour = Colour.RED


class Node(pydantic.BaseModel):
    children: list["Node"] = []


@dataclasses.dataclass
class Pair:
    left: int
    right: int


@tool
def search(query: str, limit: int = 10, deep: bool = False) -> list[str]:
    """Search the
    archive.

    Not part of the description.

    Args:
        query (str): What to look for:
            words or a phrase.
        limit: How many.

    Returns:
        limit: not a parameter text.
    """
    return [query] * limit


def test_a_tool_stays_a_function():
    assert search("a", limit=2) == ["a", "a"]
    assert search.__name__ == "search"
    assert search.__doc__
    assert isinstance(search, Tool)
    assert repr(search) == "<Tool search (once)>"


def test_schema_comes_from_signature_and_docstring():
    assert search.definition.name == "search"
    assert search.definition.description == "Search the archive."
    assert search.definition.input_schema == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for: words or a phrase."},
            "limit": {"type": "integer", "default": 10, "description": "How many."},
            "deep": {"type": "boolean", "default": False},
        },
        "required": ["query"],
        "additionalProperties": False,
    }
    assert search.definition is search.definition


def test_options_reach_the_definition():
    def ask(_context: ToolContext, _arguments: dict[str, Any]) -> str:
        return ""

    @tool(
        name="other-name",
        description="Told.",
        effect="idempotent",
        timeout=2.5,
        exclusive=True,
        reconcile=ask,
        output_limit=99,
    )
    async def f(x: int) -> int:
        return x

    definition = f.definition
    assert (definition.name, definition.description, definition.effect) == ("other-name", "Told.", "idempotent")
    assert (definition.timeout, definition.exclusive, definition.output_limit) == (2.5, True, 99)
    assert f.registered.reconcile is ask
    assert f.registered.is_async
    assert asyncio.run(f(3)) == 3
    renamed = f.with_options(name="third", timeout=None)
    assert (renamed.name, renamed.definition.timeout, f.name) == ("third", None, "other-name")


@pytest.mark.parametrize(
    ("hints", "effect"),
    [
        ({}, "once"),
        ({"readOnlyHint": True}, "read"),
        ({"readOnlyHint": True, "destructiveHint": True}, "once"),
        ({"idempotentHint": True, "destructiveHint": True}, "idempotent"),
        ({"destructiveHint": True}, "once"),
        ({"destructiveHint": False, "openWorldHint": True}, "once"),
        ({"readOnlyHint": "yes"}, "once"),
    ],
)
def test_mcp_hints_give_the_effect(hints, effect):
    assert effect_from_hints(hints) == effect
    assert tool(search.function, annotations=hints).definition.effect == effect


def test_an_explicit_effect_beats_hints():
    assert tool(search.function, effect="once", annotations={"readOnlyHint": True}).definition.effect == "once"


# -- types


def optional_fields(a: Optional[int], b: str | None = None, c: int = None) -> None:  # noqa: RUF013, UP045
    pass


def literals(a: Literal["x", "y"], b: Literal["only"] = "only", c: Literal[1, "one"] | None = None) -> None:
    pass


def containers(a: list[int], b: list, c: dict, *, d: dict[str, list[float]], e: dict[str, Any], f: Any) -> None:
    pass


def told(a: Annotated[int, "How many."], b: Annotated[str, "Which."] = "z") -> None:
    """Do.

    Args:
        b: Not this.
    """


def odd_names(schema: int, model_config: str, _private: bool, title: float, json: list[str], self_: None) -> None:
    pass


def nothing() -> None:
    pass


def keyword_only(*, a: int, b: int | str = 3) -> None:
    pass


PLAIN = [optional_fields, literals, containers, told, odd_names, nothing, keyword_only, search.function]


@pytest.mark.parametrize("function", PLAIN, ids=lambda function: function.__name__)
def test_the_fast_path_gives_pydantics_schema(function):
    parameters = read_signature(function, "t").parameters
    fast = tool(function).definition.input_schema
    slow = tool_schema._Model("t", parameters).schema()
    slow.setdefault("properties", {})
    assert fast == slow
    assert "title" not in json.dumps({k: v for k, v in fast["properties"].items() if k != "title"})


def test_descriptions_in_annotations_win():
    properties = tool(told).definition.input_schema["properties"]
    assert properties["a"]["description"] == "How many."
    assert properties["b"]["description"] == "Which."


def test_models_dataclasses_and_enums_become_clean_schemas():
    @tool
    def place(
        point: Point, colour: Colour, pair: Pair | None = None, size: Annotated[int, pydantic.Field(ge=1)] = 1
    ) -> str:
        """Place.

        Args:
            point: Where.
        """
        return f"{point.x} {colour.name} {pair and pair.right} {size}"

    schema = place.definition.input_schema
    assert "$defs" not in schema
    assert schema["properties"]["point"] == {
        "type": "object",
        "description": "Where.",
        "properties": {
            "title": {"type": "string"},
            "x": {"type": "integer", "default": 0},
            "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        },
        "required": ["title"],
    }
    assert schema["properties"]["size"] == {"type": "integer", "minimum": 1, "default": 1}
    assert schema["required"] == ["point", "colour"]
    arguments = place.registered.coerce(
        {"point": {"title": "a", "x": "4"}, "colour": "blue", "pair": {"left": 1, "right": 2}}
    )
    assert place(**arguments) == "4 BLUE 2 1"


def test_recursive_models_keep_their_definition():
    @tool
    def walk(node: Node) -> int:
        return len(node.children)

    schema = walk.definition.input_schema
    assert schema["properties"]["node"] == {"$ref": "#/$defs/Node"}
    assert list(schema["$defs"]) == ["Node"]
    assert walk(**walk.registered.coerce({"node": {"children": [{}, {}]}})) == 2


def test_pydantic_field_defaults_are_filled_in():
    @tool
    def f(a: int = pydantic.Field(5, description="Five."), b: list[int] = pydantic.Field(default_factory=list)) -> Any:  # noqa: B008
        return a, b

    assert f.definition.input_schema["properties"]["a"] == {"type": "integer", "default": 5, "description": "Five."}
    assert f(**f.registered.coerce({})) == (5, [])
    assert f(**f.registered.coerce({"b": [1]})) == (5, [1])


def test_string_annotations_are_resolved():
    namespace: dict[str, Any] = {}
    source = "from __future__ import annotations\ndef f(ctx: ToolContext, a: list[int]) -> Missing:\n    return a\n"
    exec(source, namespace)
    registered = tool(namespace["f"]).registered
    assert registered.wants_context
    assert registered.definition.input_schema["properties"] == {"a": {"type": "array", "items": {"type": "integer"}}}


# -- shapes of functions


class Box:
    def __init__(self) -> None:
        self.calls: list[int] = []

    @tool(effect="read")
    def count(self, step: int) -> int:
        """Count."""
        self.calls.append(step)
        return len(self.calls)

    async def __call__(self, word: str) -> str:
        """Say it."""
        return word


def test_methods_partials_and_callable_objects():
    box = Box()
    assert list(box.count.definition.input_schema["properties"]) == ["step"]
    assert box.count(step=3) == 1
    assert box.calls == [3]
    assert list(tool(partial(search.function, "fixed")).definition.input_schema["properties"]) == ["limit", "deep"]
    assert tool(partial(search.function, "fixed")).name == "search"
    said = tool(box, name="say").registered
    assert said.is_async
    assert said.definition.input_schema["required"] == ["word"]


def test_wrapped_async_functions_are_async():
    @wraps(Box.__call__)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return Box.__call__(*args, **kwargs)

    assert tool(partial(outer, Box()), name="x").registered.is_async


def test_the_context_is_injected_and_hidden():
    @tool
    def f(context: ToolContext, a: int) -> str:
        return context.call_id

    @tool
    def g(context: ToolContext | None, a: int) -> str:
        return str(context)

    for made in (f, g):
        assert made.registered.wants_context
        assert list(made.definition.input_schema["properties"]) == ["a"]
    assert not search.registered.wants_context


def refused(*, late: bool = True):
    def mark(function):
        return pytest.param(function, late, id=function.__name__)

    return mark


@refused(late=False)
def var_args(a: int, *many: int):
    pass


@refused(late=False)
def var_keywords(a: int, **many: int):
    pass


@refused(late=False)
def only_by_position(a: int, b: int, /):
    pass


@refused()
def many_first(many: int, /):
    pass


@refused()
def untyped(a: int, many):
    pass


@refused()
def unresolved(many: "Nowhere"):  # noqa: F821
    pass


@refused()
def context_later(a: int, many: ToolContext):
    pass


@refused()
def no_json(many: object.__class__):
    pass


@refused(late=False)
def generator(many: int):
    yield many


@pytest.mark.parametrize(
    ("function", "late"),
    [
        var_args, var_keywords, only_by_position, many_first, untyped, unresolved, context_later, no_json, generator,
    ],
)  # fmt: skip
def test_signatures_that_cannot_work_are_refused_by_name(function, late):
    made = None
    with pytest.raises(ConfigError) as caught:  # noqa: PT012 -- which of the two refuses is part of the promise
        made = tool(function)
        _ = made.definition
    assert (made is not None) == late
    assert function.__name__ in str(caught.value)
    assert any(word in str(caught.value) for word in ("many", "'b'", "generator"))


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "naïve", "a.b", "a\n"])
def test_names_that_providers_refuse_are_refused(name):
    with pytest.raises(ConfigError):
        tool(search.function).with_options(name=name)


def test_lambdas_need_a_name():
    with pytest.raises(ConfigError, match="<lambda>"):
        tool(lambda: 1)
    assert tool(lambda: 1, name="one").definition.name == "one"


@pytest.mark.parametrize("options", [{"effect": "twice"}, {"timeout": 0}, {"timeout": -1.0}, {"output_limit": 0}])
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(ConfigError, match="search"):
        tool(search.function, **options)


def test_plain_tools_load_neither_pydantic_nor_the_validator():
    script = (
        "import sys\n"
        "from power_loop.ports.registry import ToolRegistry\n"
        "def f(a: int, b: list[str] | None = None) -> str:\n    return str(a)\n"
        "registry = ToolRegistry([f])\n"
        "assert registry.validate('f', {'a': 1}) is None and registry.invoke('f', {'a': 1}) == '1'\n"
        "print([name for name in ('pydantic', 'jsonschema_rs') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
