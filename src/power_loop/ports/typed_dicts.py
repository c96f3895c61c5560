"""Typed dicts of the standard library, in a form that pydantic takes before Python 3.12 too."""

import operator
import types
from functools import reduce
from typing import Annotated, Any, NotRequired, Required, get_args, get_origin, get_type_hints, is_typeddict

from power_loop.ports.tool_signature import is_union


def readable(annotation: Any) -> Any:  # noqa: ANN401 -- any annotation
    """Return the annotation with each TypedDict in it replaced by its twin from ``typing_extensions``."""
    if is_typeddict(annotation):
        return _twin(annotation)
    args = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return Annotated[(readable(args[0]), *args[1:])]
    made = tuple(readable(arg) for arg in args)
    if all(new is old for new, old in zip(made, args, strict=True)):
        return annotation
    if is_union(annotation):
        return reduce(operator.or_, made)
    return types.GenericAlias(get_origin(annotation), made)


def _twin(kind: Any) -> Any:  # noqa: ANN401 -- a TypedDict
    import typing_extensions  # noqa: PLC0415 -- pydantic has loaded it

    fields = {
        name: _field(hint, required=name in kind.__required_keys__)
        for name, hint in get_type_hints(kind, include_extras=True).items()
    }
    twin = typing_extensions.TypedDict(kind.__name__, fields)  # type: ignore[misc]  # the fields are known at run time only
    twin.__doc__ = kind.__doc__
    twin.__module__ = kind.__module__
    return twin


def _field(hint: Any, *, required: bool) -> Any:  # noqa: ANN401 -- any annotation
    origin = get_origin(hint)
    if origin in {Required, NotRequired}:
        return origin[readable(get_args(hint)[0])]
    return (Required if required else NotRequired)[readable(hint)]
