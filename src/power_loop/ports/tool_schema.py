"""From parameters to a JSON Schema, and from a model's JSON to arguments.

Plain annotations (str, int, float, bool, None, Any, Literal, list, dict, unions of them) need nothing but this
file. Everything else, and every value that is not exactly of its plain type, goes to pydantic, which is loaded
when first needed and yields the same schema for what both can say.
"""

import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from power_loop.facts.errors import ConfigError, ToolValidationError
from power_loop.ports.tool_signature import EMPTY, Parameter, is_union
from power_loop.ports.tool_text import complaint, path_text, shown

Schema: TypeAlias = dict[str, Any]
Coerce: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
_SCALARS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


class _NotPlainError(Exception):
    """The annotation, default or value is beyond what this file handles by itself."""


# -- plain annotations

Check: TypeAlias = Callable[[Any], Any]
"""Returns a value of exactly the annotated type, or raises _NotPlainError."""


def _exactly(expected: type) -> Check:
    def check(value: Any) -> Any:  # noqa: ANN401
        if type(value) is not expected:
            raise _NotPlainError
        return value

    return check


def _number(value: Any) -> float:  # noqa: ANN401
    if type(value) is float:
        return value
    if type(value) is int and abs(value) < 1 << 53:
        return float(value)
    raise _NotPlainError


def _plain_literal(values: tuple[Any, ...]) -> tuple[Schema, Check]:
    kinds = {type(value) for value in values}
    if not kinds <= _SCALARS.keys():
        raise _NotPlainError
    schema: Schema = {"const": values[0]} if len(values) == 1 else {"enum": list(values)}
    if len(kinds) == 1:
        schema["type"] = _SCALARS[kinds.pop()]

    def check(value: Any) -> Any:  # noqa: ANN401
        if not any(type(value) is type(allowed) and value == allowed for allowed in values):
            raise _NotPlainError
        return value

    return schema, check


def _plain_union(members: tuple[Any, ...]) -> tuple[Schema, Check]:
    pairs = [_plain(member) for member in members]
    checks = [_exactly(float) if member is float else check for member, (_, check) in zip(members, pairs, strict=True)]
    shapes = [typing.get_origin(member) or member for member in members]
    if shapes.count(list) > 1 or shapes.count(dict) > 1:
        raise _NotPlainError  # which container was meant takes more than one look

    def check(value: Any) -> Any:  # noqa: ANN401
        for attempt in checks:
            try:
                return attempt(value)
            except _NotPlainError:
                continue
        raise _NotPlainError

    return {"anyOf": [schema for schema, _ in pairs]}, check


def _plain_list(args: tuple[Any, ...]) -> tuple[Schema, Check]:
    items, each = _plain(args[0] if args else Any)

    def check(value: Any) -> Any:  # noqa: ANN401
        if type(value) is not list:
            raise _NotPlainError
        return [each(item) for item in value]

    return {"type": "array", "items": items}, check


def _plain_dict(args: tuple[Any, ...]) -> tuple[Schema, Check]:
    if args and args[0] is not str:
        raise _NotPlainError
    values, each = _plain(args[1] if args else Any)

    def check(value: Any) -> Any:  # noqa: ANN401
        if type(value) is not dict or any(type(key) is not str for key in value):
            raise _NotPlainError
        return {key: each(item) for key, item in value.items()}

    return {"type": "object", "additionalProperties": values or True}, check


def _plain(annotation: Any) -> tuple[Schema, Check]:  # noqa: ANN401
    origin, args = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin is Annotated and all(isinstance(extra, str) for extra in annotation.__metadata__):
        return _plain(annotation.__origin__)
    if is_union(annotation):
        return _plain_union(args)
    for shape, read in _SHAPES.items():
        if origin is shape:
            return read(args)
    return _plain_scalar(annotation)


def _plain_scalar(annotation: Any) -> tuple[Schema, Check]:  # noqa: ANN401
    if annotation is Any:
        return {}, lambda value: value
    kind = type(None) if annotation is None else annotation
    if not isinstance(kind, type) or kind not in _SCALARS:
        raise _NotPlainError
    return {"type": _SCALARS[kind]}, _number if kind is float else _exactly(kind)


_SHAPES: dict[Any, Callable[[tuple[Any, ...]], tuple[Schema, Check]]] = {
    Literal: _plain_literal,
    list: _plain_list,
    dict: _plain_dict,
}


def _plain_default(value: object) -> object:
    if isinstance(value, list):
        return [_plain_default(item) for item in value]
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {key: _plain_default(item) for key, item in value.items()}
    if type(value) in _SCALARS and not (isinstance(value, float) and not math.isfinite(value)):
        return value
    raise _NotPlainError


def _plain_schema(parameters: Sequence[Parameter]) -> tuple[Schema, dict[str, Check]]:
    properties: dict[str, Schema] = {}
    checks: dict[str, Check] = {}
    for parameter in parameters:
        schema, checks[parameter.name] = _plain(parameter.annotation)
        if parameter.description:
            schema = {**schema, "description": parameter.description}
        if parameter.default is not EMPTY:
            schema = {**schema, "default": _plain_default(parameter.default)}
        properties[parameter.name] = schema
    result: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := [parameter.name for parameter in parameters if parameter.default is EMPTY]:
        result["required"] = required
    return result, checks


# -- everything else


class _Model:
    """The parameters as a pydantic model. Fields are named by position, so that any argument name works."""

    def __init__(self, tool: str, parameters: Sequence[Parameter]) -> None:
        import pydantic  # noqa: PLC0415 -- a tenth of a second, and plain tools never need it

        self._tool = tool
        self._invalid = pydantic.ValidationError
        self._fields = {f"a{position}": parameter for position, parameter in enumerate(parameters)}
        self._own_defaults = {
            field
            for field, parameter in self._fields.items()
            if not isinstance(parameter.default, pydantic.fields.FieldInfo)
        }
        definitions: dict[str, Any] = {}
        for field, parameter in self._fields.items():
            alias = pydantic.Field(alias=parameter.name, description=parameter.description or None)
            default = ... if parameter.default is EMPTY else parameter.default
            definitions[field] = (Annotated[parameter.annotation, alias], default)
        config = pydantic.ConfigDict(extra="forbid")
        try:
            self._model = pydantic.create_model("Arguments", __config__=config, **definitions)
        except pydantic.PydanticUserError as error:
            raise _unsayable(tool, parameters, error) from error

    def schema(self) -> Schema:
        from pydantic.errors import PydanticInvalidForJsonSchema  # noqa: PLC0415 -- loaded already

        try:
            schema = self._model.model_json_schema(schema_generator=quiet_generator())
        except PydanticInvalidForJsonSchema as error:
            raise _unsayable(self._tool, tuple(self._fields.values()), error) from error
        return tidy(schema)

    def coerce(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            model = self._model.model_validate(arguments)
        except self._invalid as error:
            mistakes = [said(item) for item in error.errors(include_url=False, include_context=False)]
            raise ToolValidationError(self._tool, complaint(self._tool, mistakes)) from None
        given = model.model_fields_set
        return {
            parameter.name: getattr(model, field)
            for field, parameter in self._fields.items()
            if field in given or field not in self._own_defaults
        }


def quiet_generator() -> Any:  # noqa: ANN401 -- a class of pydantic's, which is loaded already
    """Return pydantic's maker of schemas without its warnings, which are errors in strict programs."""
    from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind  # noqa: PLC0415 -- loaded already

    silent: set[JsonSchemaWarningKind] = {"non-serializable-default", "skipped-choice"}

    class Quiet(GenerateJsonSchema):
        ignored_warning_kinds = silent

    return Quiet


def _unsayable(tool: str, parameters: Sequence[Parameter], error: Exception) -> ConfigError:
    import pydantic  # noqa: PLC0415 -- loaded already

    name = "?"
    for parameter in parameters:
        try:
            pydantic.TypeAdapter(parameter.annotation).json_schema()
        except pydantic.PydanticUserError:
            name = parameter.name
            break
    return ConfigError(f"Tool {tool!r}: parameter {name!r} has a type that JSON cannot say: {error}")


def said(item: Mapping[str, Any], root: str = "arguments") -> str:
    """Return a mistake that pydantic found, in words a model can act on; ``root`` is the name of the whole value."""
    path = path_text(item["loc"], root)
    if item["type"] == "missing":
        return f"{path}: missing, but required"
    if item["type"] == "extra_forbidden":
        return f"{path}: no such argument"
    return f"{path}: {item['msg']}, got {shown(item['input'])}"


def compile_arguments(tool: str, parameters: Sequence[Parameter]) -> tuple[Schema, Coerce]:
    """Return the schema of ``parameters``, and what turns JSON arguments into Python ones.

    The coercion raises ToolValidationError in words a model can act on. Raises ConfigError for a type that has
    no JSON form.
    """
    model: list[_Model] = []

    def slow(arguments: dict[str, Any]) -> dict[str, Any]:
        if not model:
            model.append(_Model(tool, parameters))
        return model[0].coerce(arguments)

    try:
        schema, checks = _plain_schema(parameters)
    except _NotPlainError:
        model.append(_Model(tool, parameters))
        return model[0].schema(), slow
    required = frozenset(schema.get("required", ()))

    def coerce(arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            if not required <= arguments.keys():
                return slow(arguments)
            return {name: checks[name](value) for name, value in arguments.items()}
        except (_NotPlainError, KeyError, RecursionError):
            return slow(arguments)

    return schema, coerce


# -- schemas

_IN_MAPS = ("properties", "$defs", "patternProperties")
_IN_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_IN_PLACE = ("items", "additionalProperties", "not", "contains", "propertyNames")


def _children(schema: Schema) -> Iterator[tuple[Any, Any, Any]]:
    for key in _IN_MAPS:
        yield from ((schema[key], name, child) for name, child in schema.get(key, {}).items())
    for key in _IN_LISTS:
        yield from ((schema[key], at, child) for at, child in enumerate(schema.get(key, ())))
    yield from ((schema, key, schema[key]) for key in _IN_PLACE if key in schema)


def _walk(schema: Any) -> Iterator[Schema]:  # noqa: ANN401 -- a schema may be True or False
    if isinstance(schema, dict):
        yield schema
        for _, _, child in list(_children(schema)):
            yield from _walk(child)


def tidy(schema: Schema) -> Schema:
    """Drop titles and discriminators, and put definitions that are used once, or are mere enums, in their place."""
    for node in _walk(schema):
        node.pop("title", None)
        node.pop("discriminator", None)
    definitions: dict[str, Schema] = schema.get("$defs", {})
    uses = [node["$ref"] for node in _walk(schema) if "$ref" in node]
    for name, definition in list(definitions.items()):
        pointer = f"#/$defs/{name}"
        recursive = any(node.get("$ref") == pointer for node in _walk(definition))
        if recursive or (uses.count(pointer) > 1 and "enum" not in definition):
            continue
        del definitions[name]
        for node in list(_walk(schema)):
            if node.get("$ref") == pointer:
                del node["$ref"]
                node |= {key: value for key, value in definition.items() if key not in node}
    if not definitions:
        schema.pop("$defs", None)
    return schema
