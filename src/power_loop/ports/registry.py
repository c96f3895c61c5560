"""Which tools there are, whether arguments fit, and how one is called. Records nothing and retries nothing."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

from power_loop.facts import ids, jsontext
from power_loop.facts.errors import AsyncToolInSyncContext, ConfigError, ToolError, ToolNotFound, ToolValidationError
from power_loop.facts.messages import Text
from power_loop.ports.content import Attachment
from power_loop.ports.json_schema import mistakes_in
from power_loop.ports.tool_decorator import Tool, check_name, tool
from power_loop.ports.tool_signature import is_async, wants_context
from power_loop.ports.tool_text import clip, complaint, parts_of, render_result
from power_loop.ports.tools import Reconcile, RegisteredTool, ToolContext, ToolDefinition, ToolHandler

__all__ = [
    "ToolOutput",
    "ToolRegistry",
    "build_registry",
    "clip",
    "filtered_registry",
    "render_result",
    "run_tool",
    "validate_tool_args",
]


class InThread(Protocol):
    """Runs a blocking function off the event loop, such as ``asyncio.to_thread``."""

    def __call__(self, function: Callable[[], Any], /) -> Awaitable[Any]:
        """Return what the function returns."""
        ...


class ToolOutput(NamedTuple):
    """A result as the model reads it, not yet clipped. ``parts`` where there are images or documents in it."""

    text: str
    failed: bool
    parts: tuple[Text | Attachment, ...] = ()


def output_of(value: Any) -> ToolOutput:  # noqa: ANN401 -- whatever a handler returned
    """Return what a handler returned as a result. Never raises."""
    parts = parts_of(value)
    if not parts:
        return ToolOutput(*render_result(value))
    text = "\n".join(part.text if isinstance(part, Text) else repr(part) for part in parts)
    return ToolOutput(text, failed=False, parts=parts)


# -- arguments


def validate_tool_args(definition: ToolDefinition, args: Mapping[str, Any]) -> str | None:
    """Return what is wrong with ``args`` in words a model can act on, or None.

    Checks the JSON Schema (``$ref`` to other documents is refused, patterns are bounded) and ``required_params``.
    Raises ConfigError naming the tool when the schema itself is invalid.
    """
    missing = [name for name in definition.required_params if args.get(name) is None]
    mistakes = [f"{name}: missing, but required" for name in missing]
    try:
        found = mistakes_in(args, jsontext.encode(definition.input_schema), "arguments")
    except ValueError as error:
        raise ConfigError(
            f"Tool {definition.name!r} has an input_schema that is not a valid JSON Schema: {error}"
        ) from error
    mistakes += [mistake for mistake in found if mistake not in mistakes]
    return complaint(definition.name, mistakes) if mistakes else None


def checked_args(tool: RegisteredTool, args: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments for the handler: those of an ``@tool`` as the types that its signature names.

    Raises ToolValidationError, in words a model can act on, for arguments that do not fit.
    """
    if tool.coerce is not None:
        return tool.coerce(args)
    wrong = validate_tool_args(tool.definition, args)
    if wrong is not None:
        raise ToolValidationError(tool.definition.name, wrong)
    return args


def _wrong(tool: RegisteredTool, args: dict[str, Any]) -> str | None:
    try:
        checked_args(tool, args)
    except ToolValidationError as error:
        return error.message
    return None


# -- calling


def _bound(tool: RegisteredTool, ready: dict[str, Any], context: ToolContext | None) -> Callable[[], Any]:
    name = tool.definition.name
    if tool.handler is None:
        raise ToolError(name, f"Tool {name!r} has no handler here; its result is handed in from outside.")
    if not tool.wants_context:
        return partial(tool.handler, **ready)
    return partial(tool.handler, context or ToolContext("", "", ids.new_id("key")), **ready)


async def _contained(name: str, awaitable: Awaitable[Any]) -> Any:  # noqa: ANN401 -- whatever the tool returns
    try:
        return await awaitable
    except SystemExit as error:
        raise ToolError(name, f"Tool {name!r} tried to exit the process ({error}).") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ToolError(name, f"Tool {name!r} was cancelled by itself.") from error


def _rendered(call: Callable[[], Any]) -> ToolOutput | Awaitable[Any]:
    value = call()
    return value if inspect.isawaitable(value) else output_of(value)


async def run_tool(
    tool: RegisteredTool,
    args: dict[str, Any],
    context: ToolContext | None = None,
    *,
    in_thread: InThread = asyncio.to_thread,
) -> ToolOutput:
    """Check ``args`` and call the tool with them; see :func:`checked_args` and :func:`call_tool`."""
    return await call_tool(tool, checked_args(tool, args), context, in_thread=in_thread)


async def call_tool(
    tool: RegisteredTool,
    ready: dict[str, Any],
    context: ToolContext | None = None,
    *,
    in_thread: InThread = asyncio.to_thread,
) -> ToolOutput:
    """Call the handler with checked arguments and render what it returns; a sync handler runs ``in_thread``.

    What the handler raises comes through; an attempt to exit the process becomes a ToolError, as does a tool without
    a handler. Timeouts are the caller's.
    """
    call = _bound(tool, ready, context)
    outcome: Any = call() if tool.is_async else await in_thread(partial(_rendered, call))
    if inspect.isawaitable(outcome):
        outcome = await _contained(tool.definition.name, outcome)
    return outcome if isinstance(outcome, ToolOutput) else output_of(outcome)


class ToolRegistry:
    """Tools by name, in the order they came."""

    def __init__(self, tools: Iterable[Tool[..., Any] | RegisteredTool | Callable[..., Any]] = ()) -> None:
        self._tools: dict[str, RegisteredTool] = {}
        for item in tools:
            self.add(item)

    def __len__(self) -> int:
        return len(self._tools)

    def __iter__(self) -> Iterator[RegisteredTool]:
        return iter(tuple(self._tools.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def register(
        self,
        definition: ToolDefinition,
        handler: ToolHandler | None = None,
        *,
        overwrite: bool = False,
        reconcile: Reconcile | None = None,
    ) -> RegisteredTool:
        """Add a tool with a schema of your own; it is called as ``handler(**args)``.

        A handler whose first parameter is annotated ``ToolContext`` is called as ``handler(context, **args)``.
        Without a handler the tool runs elsewhere. Raises ConfigError for a duplicate, a name no provider takes,
        or a schema that is no object.
        """
        function = handler.function if isinstance(handler, Tool) else handler
        if function is None:
            return self._put(RegisteredTool(definition, reconcile=reconcile), overwrite=overwrite)
        context = wants_context(function, definition.name)
        return self._put(
            RegisteredTool(definition, function, is_async(function), context, reconcile), overwrite=overwrite
        )

    def add(
        self, item: Tool[..., Any] | RegisteredTool | Callable[..., Any], *, overwrite: bool = False
    ) -> RegisteredTool:
        """Add an ``@tool``, a plain typed function, or a tool of another registry."""
        if isinstance(item, RegisteredTool):
            return self._put(item, overwrite=overwrite)
        if not callable(item):
            raise ConfigError(f"A tool must be a function or made with @tool; got {type(item).__name__}.")
        made = item if isinstance(item, Tool) else tool(item)
        return self._put(made.registered, overwrite=overwrite)

    def _put(self, item: RegisteredTool, *, overwrite: bool) -> RegisteredTool:
        name = check_name(item.definition.name)
        schema: Any = item.definition.input_schema
        if not isinstance(schema, dict) or schema.get("type", "object") != "object":
            raise ConfigError(f"Tool {name!r}: input_schema must be a JSON Schema of type 'object'.")
        if name in self._tools and not overwrite:
            raise ConfigError(f"Tool {name!r} is registered already; pass overwrite=True to replace it.")
        self._tools[name] = item
        return item

    def unregister(self, name: str) -> None:
        """Remove a tool; nothing happens if there is none."""
        self._tools.pop(name, None)

    def has(self, name: str) -> bool:
        """Tell whether there is a tool of this name."""
        return name in self._tools

    def get(self, name: str) -> RegisteredTool | None:
        """Return the tool of this name, or None."""
        return self._tools.get(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order they came."""
        return tuple(self._tools)

    def definitions(self) -> list[ToolDefinition]:
        """Return all definitions."""
        return [item.definition for item in self._tools.values()]

    def to_openai_tools(self) -> list[dict[str, Any]]:
        """Return all definitions in the OpenAI Chat shape."""
        return [definition.to_openai_tool() for definition in self.definitions()]

    def validate(self, name: str, args: dict[str, Any]) -> str | None:
        """Return what is wrong with a call in words a model can act on, or None.

        Raises ConfigError naming the tool when its schema is invalid.
        """
        found = self._tools.get(name)
        return _wrong(found, args) if found else f"Unknown tool: {name[:200]}"

    def _found(self, name: str) -> RegisteredTool:
        found = self._tools.get(name)
        if found is None:
            raise ToolNotFound(name)
        return found

    def invoke(self, name: str, args: dict[str, Any]) -> str:
        """Call a sync tool here and now and return its text.

        Raises ToolNotFound, ToolValidationError, AsyncToolInSyncContext, and what the handler raises.
        """
        found = self._found(name)
        ready = checked_args(found, args)
        if found.is_async:
            raise AsyncToolInSyncContext(f"Tool {name!r} is async; use invoke_async.")
        return output_of(_bound(found, ready, None)()).text

    async def invoke_async(self, name: str, args: dict[str, Any], context: ToolContext | None = None) -> str:
        """Call a tool, a sync one in a thread, and return its text.

        Raises ToolNotFound, ToolValidationError, and what the handler raises.
        """
        return (await run_tool(self._found(name), args, context)).text


def build_registry(definitions: Iterable[ToolDefinition], handlers_map: Mapping[str, ToolHandler]) -> ToolRegistry:
    """Return a registry of definitions and their handlers by name; raises ConfigError for a missing handler."""
    registry = ToolRegistry()
    for definition in definitions:
        if definition.name not in handlers_map:
            raise ConfigError(f"Tool {definition.name!r} has no handler in handlers_map.")
        registry.register(definition, handlers_map[definition.name])
    return registry


def filtered_registry(parent: ToolRegistry, whitelist: Iterable[str]) -> ToolRegistry:
    """Return a registry of the named tools, in the parent's order; raises ConfigError for an unknown name."""
    wanted = set(whitelist)
    if unknown := sorted(wanted - set(parent.names)):
        raise ConfigError(f"Unknown tool(s): {', '.join(unknown)}. There are: {', '.join(parent.names) or 'none'}.")
    return ToolRegistry(item for item in parent if item.definition.name in wanted)
