"""What a function takes: its parameters with their types, defaults and descriptions. Knows no JSON Schema."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Union

from power_loop.facts.errors import ConfigError
from power_loop.ports.tools import ToolContext

EMPTY = inspect.Parameter.empty
"""Stands for "no default"."""


@dataclass(slots=True, frozen=True)
class Parameter:
    """One argument of a tool. ``default`` is ``EMPTY`` where there is none."""

    name: str
    annotation: Any
    default: Any = EMPTY
    description: str = ""


@dataclass(slots=True, frozen=True)
class Signature:
    """What a function takes from the model, and whether its first parameter is the context."""

    parameters: tuple[Parameter, ...]
    wants_context: bool


def summary_of(doc: str | None) -> str:
    """Return a docstring's first paragraph as one line."""
    return " ".join(inspect.cleandoc(doc or "").split("\n\n", 1)[0].split())


def argument_texts(doc: str | None) -> dict[str, str]:
    """Return the parameter descriptions of a Google-style ``Args:`` section."""
    lines = inspect.cleandoc(doc or "").splitlines()
    start = next((at for at, line in enumerate(lines) if re.fullmatch(r"(Args|Arguments|Parameters):\s*", line)), None)
    if start is None:
        return {}
    texts: dict[str, list[str]] = {}
    indent, current = 0, None
    for line in lines[start + 1 :]:
        depth = len(line) - len(line.lstrip())
        if line.strip() and not depth:
            break
        indent = indent or depth
        entry = re.match(r"\s*\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)", line) if depth == indent else None
        if entry:
            current = entry[1]
            texts[current] = [entry[2]]
        elif current:
            texts[current].append(line.strip())
    return {name: " ".join(" ".join(parts).split()) for name, parts in texts.items()}


def _plain_function(handler: Callable[..., Any]) -> Any:  # noqa: ANN401 -- whatever carries the annotations
    while isinstance(handler, partial):
        handler = handler.func
    if inspect.isroutine(handler) or inspect.isclass(handler) or hasattr(handler, "__wrapped__"):
        return inspect.unwrap(handler)
    return type(handler).__call__


def is_async(handler: Callable[..., Any]) -> bool:
    """Tell whether calling ``handler`` gives a coroutine."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(_plain_function(handler))


def check_callable(handler: Callable[..., Any], tool: str) -> inspect.Signature:
    """Return the raw signature; raises ConfigError for what can never be called with named JSON arguments."""
    function = _plain_function(handler)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"Tool {tool!r} is a generator function; a tool returns its result once.")
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Tool {tool!r} has no readable signature: {error}") from error
    for position, parameter in enumerate(signature.parameters.values()):
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise ConfigError(
                f"Tool {tool!r}: parameter {str(parameter)!r} has no name a model could use; list each one."
            )
        if parameter.kind is parameter.POSITIONAL_ONLY and position:
            raise ConfigError(
                f"Tool {tool!r}: parameter {parameter.name!r} is positional-only; arguments come by name."
            )
    return signature


def _hints(handler: Callable[..., Any], raw: Mapping[str, inspect.Parameter], tool: str) -> dict[str, Any]:
    namespace = {"ToolContext": ToolContext, **getattr(_plain_function(handler), "__globals__", {})}
    hints: dict[str, Any] = {}
    for name, parameter in raw.items():
        if parameter.annotation is EMPTY:
            continue
        holder = types.SimpleNamespace(__annotations__={name: parameter.annotation})
        try:
            hints |= typing.get_type_hints(holder, namespace, include_extras=True)
        except (NameError, TypeError, SyntaxError, AttributeError) as error:
            raise ConfigError(f"Tool {tool!r}: the type of parameter {name!r} cannot be resolved: {error}") from error
    return hints


def _is_context(annotation: object) -> bool:
    return annotation is ToolContext or (is_union(annotation) and ToolContext in typing.get_args(annotation))


def wants_context(handler: Callable[..., Any], tool: str) -> bool:
    """Tell whether the first parameter is annotated ``ToolContext``; never looks at any other."""
    try:
        raw = inspect.signature(handler).parameters
    except (TypeError, ValueError):
        return False
    first = {
        name: parameter for name, parameter in list(raw.items())[:1] if parameter.kind is not parameter.KEYWORD_ONLY
    }
    try:
        return any(map(_is_context, _hints(handler, first, tool).values()))
    except ConfigError:
        return False


def read_signature(handler: Callable[..., Any], tool: str) -> Signature:
    """Return what the model passes to ``handler``; raises ConfigError naming the parameter that cannot be."""
    raw = check_callable(handler, tool).parameters
    hints, texts = _hints(handler, raw, tool), argument_texts(inspect.getdoc(_plain_function(handler)))
    parameters: list[Parameter] = []
    context = False
    for position, (name, parameter) in enumerate(raw.items()):
        if name not in hints:
            raise ConfigError(f"Tool {tool!r}: parameter {name!r} has no type; annotate it, a model needs to know.")
        if _is_context(hints[name]):
            if position or parameter.kind is parameter.KEYWORD_ONLY:
                raise ConfigError(f"Tool {tool!r}: the ToolContext {name!r} must be the first positional parameter.")
            context = True
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(f"Tool {tool!r}: parameter {name!r} is positional-only; arguments come by name.")
        parameters.append(_parameter(name, hints[name], parameter.default, texts.get(name, "")))
    return Signature(tuple(parameters), context)


def _parameter(name: str, annotation: Any, default: Any, text: str) -> Parameter:  # noqa: ANN401
    extras = annotation.__metadata__ if typing.get_origin(annotation) is Annotated else ()
    told = [extra if isinstance(extra, str) else getattr(extra, "description", None) for extra in extras]
    if type(default).__module__.startswith("pydantic"):
        told.append(default.description)
    if default is None and not allows_none(annotation):
        annotation = Union[annotation, None]  # noqa: UP007 -- the other form does not take every annotation
    return Parameter(name, annotation, default, next((item for item in told if isinstance(item, str)), text))


def is_union(annotation: object) -> bool:
    """Tell whether an annotation is a union, however it is written."""
    return typing.get_origin(annotation) in {Union, types.UnionType}


def allows_none(annotation: Any) -> bool:  # noqa: ANN401 -- any annotation
    """Tell whether None fits the annotation."""
    if typing.get_origin(annotation) is Annotated:
        return allows_none(annotation.__origin__)
    if typing.get_origin(annotation) is Literal:
        return None in typing.get_args(annotation)
    if is_union(annotation):
        return any(map(allows_none, typing.get_args(annotation)))
    return annotation is None or annotation is type(None) or annotation is Any
