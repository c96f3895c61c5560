"""The registry: names, kinds of handlers, calling, and what a result becomes."""

import asyncio
import dataclasses
import datetime as dt
import decimal
import enum
import http.server
import json
import pathlib
import threading
import tracemalloc
import uuid
from functools import partial
from typing import Any

import msgspec
import pydantic
import pytest

from power_loop.facts.errors import (
    AsyncToolInSyncContext,
    ConfigError,
    ToolError,
    ToolNotFound,
    ToolValidationError,
)
from power_loop.ports.registry import (
    ToolOutput,
    ToolRegistry,
    build_registry,
    clip,
    filtered_registry,
    render_result,
    run_tool,
)
from power_loop.ports.tool_decorator import tool
from power_loop.ports.tools import ToolContext, ToolDefinition, ToolHandlerResult

ECHO = ToolDefinition(
    "echo", "Say it.", {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
)
CONTEXT = ToolContext("s", "call_1_0", "s.call_1_0", attempt=2)


def echo(text: str) -> str:
    """Say it."""
    return text


async def later(text: str) -> str:
    await asyncio.sleep(0)
    return text


def test_registering_and_looking_up():
    registry = ToolRegistry()
    registry.register(ECHO, echo)
    registry.add(tool(later))
    assert registry.names == ("echo", "later")
    assert [item.definition.name for item in registry] == ["echo", "later"]
    assert (len(registry), "echo" in registry, registry.has("none")) == (2, True, False)
    assert registry.get("none") is None
    assert registry.get("later").is_async
    assert [definition.name for definition in registry.definitions()] == ["echo", "later"]
    assert registry.to_openai_tools()[0] == {
        "type": "function",
        "function": {"name": "echo", "description": "Say it.", "parameters": ECHO.input_schema},
    }
    registry.unregister("echo")
    registry.unregister("echo")
    assert registry.names == ("later",)


def test_duplicates_need_overwrite():
    registry = ToolRegistry([echo])
    with pytest.raises(ValueError, match="'echo' is registered already"):
        registry.add(echo)
    replaced = registry.register(ECHO, later, overwrite=True)
    assert registry.get("echo") is replaced


@pytest.mark.parametrize(
    "definition",
    [
        ToolDefinition("a b"),
        ToolDefinition(""),
        ToolDefinition("x", input_schema={"type": "array"}),
        ToolDefinition("x", input_schema=[]),  # type: ignore[arg-type]
    ],
)
def test_definitions_no_provider_takes_are_refused(definition):
    with pytest.raises(ConfigError):
        ToolRegistry().register(definition, echo)


def test_things_that_are_no_tools_are_refused():
    with pytest.raises(ConfigError, match="int"):
        ToolRegistry([3])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "strnig"}}},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema"}}},
        {"type": "object", "$ref": "file:///etc/passwd"},
    ],
)
def test_invalid_and_remote_schemas_name_their_tool(schema):
    registry = ToolRegistry()
    registry.register(ToolDefinition("bad", input_schema=schema), echo)
    with pytest.raises(ConfigError, match="'bad'"):
        registry.validate("bad", {})


def test_no_schema_is_fetched_from_elsewhere():
    asked: list[str] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        registry = ToolRegistry()
        schema = {"type": "object", "properties": {"a": {"$ref": f"http://127.0.0.1:{server.server_port}/schema"}}}
        registry.register(ToolDefinition("far", input_schema=schema), echo)
        with pytest.raises(ConfigError, match="'far'"):
            registry.validate("far", {"a": 1})
        server.shutdown()
    assert asked == []


def test_validate_speaks_to_the_model():
    registry = ToolRegistry([echo])
    registry.register(msgspec.structs.replace(ECHO, name="raw"), echo)
    assert registry.validate("nope", {}) == "Unknown tool: nope"
    for name in ("echo", "raw"):
        assert registry.validate(name, {"text": "x"}) is None
        assert "text: missing, but required" in registry.validate(name, {})


# -- calling


async def test_sync_and_async_handlers_are_called_by_name():
    registry = ToolRegistry([echo, later])
    registry.register(msgspec.structs.replace(ECHO, name="raw"), later)
    assert registry.invoke("echo", {"text": "a"}) == "a"
    for name in registry.names:
        assert await registry.invoke_async(name, {"text": "b"}) == "b"
    for name in ("later", "raw"):
        with pytest.raises(AsyncToolInSyncContext):
            registry.invoke(name, {"text": "a"})


async def test_wrong_calls_raise():
    registry = ToolRegistry([echo])
    registry.register(msgspec.structs.replace(ECHO, name="raw"), echo)
    registry.register(msgspec.structs.replace(ECHO, name="outside"))
    with pytest.raises(ToolNotFound):
        registry.invoke("nope", {})
    for name in ("echo", "raw"):
        with pytest.raises(ToolValidationError, match="missing"):
            registry.invoke(name, {})
        with pytest.raises(ToolValidationError, match="missing"):
            await registry.invoke_async(name, {})
    with pytest.raises(ToolError, match="no handler"):
        registry.invoke("outside", {"text": "x"})


async def test_a_type_error_inside_a_handler_is_not_retried():
    calls = []

    def broken(text: str) -> str:
        calls.append(text)
        raise TypeError("mine")

    registry = ToolRegistry()
    registry.register(ECHO, broken)
    with pytest.raises(TypeError, match="mine"):
        await registry.invoke_async("echo", {"text": "x"})
    assert calls == ["x"]


async def test_the_context_goes_first():
    def plain(context: ToolContext, text: str) -> str:
        return f"{context.session_id} {context.attempt} {text}"

    def raw(ctx: "ToolContext", **arguments: Any) -> str:
        return f"{ctx.session_id} {ctx.attempt} {arguments['text']}"

    registry = ToolRegistry([plain])
    registry.register(ECHO, raw)
    for name in registry.names:
        assert await registry.invoke_async(name, {"text": "x"}, CONTEXT) == "s 2 x"
        assert registry.invoke(name, {"text": "x"}) == " 1 x"


async def test_sync_handlers_run_off_the_loop():
    where: list[int] = []

    def note(text: str) -> str:
        where.append(threading.get_ident())
        return text

    assert await run_tool(ToolRegistry().add(note), {"text": "x"}) == ToolOutput("x", failed=False)
    assert where != [threading.get_ident()]


async def test_a_sync_handler_may_return_an_awaitable():
    registry = ToolRegistry()

    def begin(text: str) -> Any:
        return later(text)

    registry.register(ECHO, begin)
    assert await registry.invoke_async("echo", {"text": "x"}) == "x"


async def test_an_async_tool_can_neither_exit_nor_pose_as_a_cancel():
    async def leave(text: str) -> str:
        raise SystemExit(3)

    async def pretend(text: str) -> str:
        raise asyncio.CancelledError

    for handler in (leave, pretend):
        with pytest.raises(ToolError):
            await run_tool(ToolRegistry().add(handler), {"text": "x"})


async def test_a_real_cancel_comes_through():
    started = asyncio.Event()

    async def wait(text: str) -> str:
        started.set()
        await asyncio.Event().wait()
        return text

    task = asyncio.create_task(run_tool(ToolRegistry().add(wait), {"text": "x"}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_coercion_happens_before_the_call():
    @tool
    def add(numbers: set[int], by: int = 1) -> list[int]:
        return sorted(number + by for number in numbers)

    assert await run_tool(ToolRegistry().add(add), {"numbers": ["1", 2]}) == ToolOutput("[2,3]", failed=False)


# -- registries of registries


def test_build_and_filter():
    other = msgspec.structs.replace(ECHO, name="other")
    registry = build_registry([ECHO, other], {"echo": echo, "other": later})
    assert registry.names == ("echo", "other")
    with pytest.raises(ValueError, match="'other'"):
        build_registry([ECHO, other], {"echo": echo})
    small = filtered_registry(registry, ["other"])
    assert small.names == ("other",)
    assert small.get("other") is registry.get("other")
    small.unregister("other")
    assert registry.has("other")
    with pytest.raises(ConfigError, match="nope"):
        filtered_registry(registry, ["nope", "echo"])


# -- results


class Model(pydantic.BaseModel):
    when: dt.date
    name: str = "x"


@dataclasses.dataclass
class Data:
    b: decimal.Decimal
    a: Any


class Kind(enum.Enum):
    ONE = "one"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as is \0 é", "as is \0 é"),
        ("", ""),
        (None, ""),
        (True, "true"),
        (3.5, "3.5"),
        ({"b": 1, "a": "é"}, '{"a":"é","b":1}'),
        ({2: "x", 1: "y"}, '{"1":"y","2":"x"}'),
        ([None, {3, 1, 2}], "[null,[1,2,3]]"),
        (2**200, str(2**200)),
        ([float("nan"), float("-inf"), None], "[NaN,-Infinity,null]"),
        (Model(when=dt.date(2024, 2, 29)), '{"name":"x","when":"2024-02-29"}'),
        ([Model(when=dt.date(2024, 2, 29))], '[{"name":"x","when":"2024-02-29"}]'),
        (Data(decimal.Decimal("1.10"), Kind.ONE), '{"b":"1.10","a":"one"}'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (pathlib.PurePosixPath("/a/b"), '"/a/b"'),
        (ToolHandlerResult(ok=True, content="fine"), "fine"),
    ],
)
def test_results_become_text(value, text):
    assert render_result(value) == (text, False)


def test_lone_surrogates_pass_to_the_border_that_cleans_them():
    assert render_result({"a": "\ud800"}) == ('{"a":"\ud800"}', False)


class Rude(pydantic.BaseModel):
    def model_dump(self, **_: Any) -> dict[str, Any]:
        raise RuntimeError("no")


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (ToolHandlerResult(ok=False, content="sorry"), "sorry"),
        (b"\xff\x00", "must return text"),
        (object(), "object that cannot be written as JSON"),
        ((number for number in range(3)), "generator"),
        ([threading.Lock()], "list that cannot be written"),
        (LOOP, "list that cannot be written"),
        ({(1, 2): 3}, "dict that cannot be written"),
        (Rude(), "Rude that cannot be written"),
    ],
)
def test_results_without_a_text_form_fail_with_words(value, said):
    text, failed = render_result(value)
    assert failed
    assert said in text


# -- clip


@pytest.mark.parametrize("size", [0, 99, 100, 101, 150, 5000, 123_456])
@pytest.mark.parametrize("limit", [100, 101, 333])
def test_clip_keeps_head_and_tail_within_the_limit(size, limit):
    text = "".join(chr(0x100 + number % 50_000) for number in range(size))
    clipped = clip(text, limit)
    assert len(clipped) <= limit
    if size <= limit:
        assert clipped == text
        return
    head, marker, tail = clipped.partition("\n[... ")[0], clipped.split("\n")[1], clipped.rpartition(" ...]\n")[2]
    assert text.startswith(head)
    assert text.endswith(tail)
    assert marker == f"[... {size - len(head) - len(tail)} of {size} characters cut ...]"
    assert abs(len(head) - len(tail)) <= 1


@pytest.mark.parametrize("limit", [0, 1, 30])
def test_a_limit_too_small_for_a_marker_keeps_the_head(limit):
    assert clip("x" * 1000, limit) == "x" * limit


def test_clipping_a_huge_text_copies_only_what_is_kept():
    text = "x" * 100_000_000
    tracemalloc.start()
    try:
        clipped, failed = clip(render_result(text)[0], 50_000), render_result(text)[1]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not failed
    assert len(clipped) <= 50_000
    assert peak < 1_000_000


def test_rendering_is_canonical():
    one, two = {"a": [1, {"y": 1, "x": 2}], "b": None}, {"b": None, "a": [1, {"x": 2, "y": 1}]}
    assert render_result(one) == render_result(two)
    assert json.loads(render_result(one)[0]) == one


def test_partials_register_like_functions():
    registry = ToolRegistry()
    registry.register(ToolDefinition("hello"), partial(echo, text="hello"))
    assert registry.invoke("hello", {}) == "hello"
