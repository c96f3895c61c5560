"""``@tool``: a typed function becomes a tool and stays a function."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, overload

from power_loop.facts.entries import Effect
from power_loop.facts.errors import ConfigError
from power_loop.ports.tool_schema import compile_arguments
from power_loop.ports.tool_signature import check_callable, is_async, read_signature, summary_of
from power_loop.ports.tools import DEFAULT_OUTPUT_LIMIT, Reconcile, RegisteredTool, ToolDefinition

P = ParamSpec("P")
R = TypeVar("R")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EFFECTS = ("read", "idempotent", "once")


def check_name(name: str) -> str:
    """Return a tool name that every provider takes; raises ConfigError for another one."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"Tool name {name[:80]!r} must be 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'.")
    return name


def effect_from_hints(hints: Mapping[str, Any]) -> Effect:
    """Map MCP's hints to an effect.

    ``readOnlyHint`` gives ``read``, else ``idempotentHint`` gives ``idempotent``, else, and with an explicit
    ``destructiveHint`` that contradicts ``readOnlyHint``, it is ``once``.
    """
    if hints.get("readOnlyHint") is True and hints.get("destructiveHint") is not True:
        return "read"
    return "idempotent" if hints.get("idempotentHint") is True else "once"


@dataclass(slots=True, frozen=True)
class _Options:
    name: str
    description: str
    effect: Effect
    timeout: float | None
    exclusive: bool
    reconcile: Reconcile | None
    output_limit: int


class Tool(Generic[P, R]):
    """A function that a model may call. Calling it calls the function, unchecked.

    ``definition`` and ``registered`` are made when first read: they raise ConfigError naming the parameter that
    has no type, or one that JSON cannot say.
    """

    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], options: _Options) -> None:
        check_callable(function, options.name)
        update_wrapper(self, function)
        self.function = function
        self._options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> "Tool[..., R]":
        if instance is None:
            return self
        method: Callable[..., R] = self.function.__get__(instance, owner)
        return Tool(method, self._options)

    def __repr__(self) -> str:
        return f"<Tool {self.name} ({self._options.effect})>"

    @property
    def name(self) -> str:
        """The name the model uses."""
        return self._options.name

    @cached_property
    def registered(self) -> RegisteredTool:
        """The tool as a registry holds it."""
        options = self._options
        signature = read_signature(self.function, options.name)
        schema, coerce = compile_arguments(options.name, signature.parameters)
        definition = ToolDefinition(
            name=options.name,
            description=options.description,
            input_schema=schema,
            effect=options.effect,
            timeout=options.timeout,
            exclusive=options.exclusive,
            output_limit=options.output_limit,
        )
        return RegisteredTool(
            definition, self.function, is_async(self.function), signature.wants_context, options.reconcile, coerce
        )

    @property
    def definition(self) -> ToolDefinition:
        """What the model is told of the tool."""
        return self.registered.definition

    def with_options(self, **changes: Any) -> "Tool[P, R]":  # noqa: ANN401 -- the options of tool()
        """Return the same tool with other options, for instance another ``name`` or ``timeout``."""
        return Tool(self.function, _checked(replace(self._options, **changes)))


def _checked(options: _Options) -> _Options:
    check_name(options.name)
    if options.effect not in _EFFECTS:
        raise ConfigError(
            f"Tool {options.name!r}: effect must be one of {', '.join(_EFFECTS)}; got {options.effect!r}."
        )
    if options.timeout is not None and not options.timeout > 0:
        raise ConfigError(f"Tool {options.name!r}: timeout must be seconds above 0 or None; got {options.timeout!r}.")
    if options.output_limit < 1:
        raise ConfigError(f"Tool {options.name!r}: output_limit must be at least 1 character.")
    return options


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def _doc_of(function: Callable[..., Any]) -> str | None:
    while isinstance(function, partial):
        function = function.func
    return function.__doc__


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect | None = None,
    timeout: float | None = None,
    exclusive: bool = False,
    reconcile: Reconcile | None = None,
    output_limit: int = DEFAULT_OUTPUT_LIMIT,
    annotations: Mapping[str, Any] | None = None,
) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect | None = None,
    timeout: float | None = None,
    exclusive: bool = False,
    reconcile: Reconcile | None = None,
    output_limit: int = DEFAULT_OUTPUT_LIMIT,
    annotations: Mapping[str, Any] | None = None,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect | None = None,
    timeout: float | None = None,
    exclusive: bool = False,
    reconcile: Reconcile | None = None,
    output_limit: int = DEFAULT_OUTPUT_LIMIT,
    annotations: Mapping[str, Any] | None = None,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a tool of a typed function, sync or async; use it plainly or with options.

    The schema comes from the signature, descriptions from the docstring: its first paragraph, and the entries of
    its ``Args:`` section. A first parameter annotated ``ToolContext`` receives the context and is not shown.

    Args:
        function: The function; its parameters need types and names.
        name: What the model calls it; the function's name by default.
        description: What the model reads; the docstring's first paragraph by default.
        effect: What running it twice would do: ``read``, ``idempotent`` or ``once`` (default).
        timeout: Seconds the tool may take; None for no limit.
        exclusive: Whether no other tool of the session may run meanwhile.
        reconcile: Asked with (ToolContext, arguments) what became of a call in doubt.
        output_limit: Characters of its result that the model may see.
        annotations: MCP hints, such as ``{"readOnlyHint": True}``; they give the effect where ``effect`` does not.

    Raises ConfigError for a name, option or signature that cannot work.
    """
    if function is None:
        return lambda function: tool(
            function,
            name=name,
            description=description,
            effect=effect,
            timeout=timeout,
            exclusive=exclusive,
            reconcile=reconcile,
            output_limit=output_limit,
            annotations=annotations,
        )
    options = _Options(
        name=name or _name_of(function),
        description=summary_of(_doc_of(function)) if description is None else description,
        effect=effect or effect_from_hints(annotations or {}),
        timeout=timeout,
        exclusive=exclusive,
        reconcile=reconcile,
        output_limit=output_limit,
    )
    return Tool(function, _checked(options))
