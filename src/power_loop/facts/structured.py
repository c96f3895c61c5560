"""What output an input wants: a JSON schema with a name, as the host says it, as the journal keeps it, and on the wire.

Knows no types and checks nothing; who makes a specification has checked its schema.
"""

from typing import Any, Final, TypeAlias

import msgspec

Schema: TypeAlias = dict[str, Any]

WRAPPED: Final = "value"
"""Name of the property in which a value that is no JSON object travels: providers take objects only."""

_FORMATS: Final = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_KEPT: Final = frozenset(
    {
        "type", "enum", "const", "description", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
        "multipleOf", "minItems", "maxItems",
    }
)  # fmt: skip
_DROPPED: Final = frozenset({"title", "default", "examples", "$schema", "$id", "required", "additionalProperties"})


class StructuredOutputSpec(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Output that an input wants.

    Args:
        name: Letters, digits, ``_`` and ``-``, at most 64; providers show it to the model.
        schema: The JSON Schema (draft 2020-12) that the output must fit.
        strict: Ask the provider for its strict mode where the schema can be said in it.
        max_repairs: How often the model is told what was wrong with its output and asked again, from 0.
        description: What the output is for, told to the model.
    """

    name: str
    schema: Schema
    strict: bool = True
    max_repairs: int = 2
    description: str = ""

    def to_openai_response_format(self) -> dict[str, Any]:
        """Return the shape of OpenAI's ``response_format``, which ``LLMRequest.response_format`` has.

        Strict mode takes a part of JSON Schema only: closed objects all of whose properties are required. A schema
        that can be said so is, with properties that have a default required too; any other is sent as it is, with
        ``strict`` false. Source: the OpenAI guide "Structured model outputs", "Supported schemas".
        """
        asked = asked_schema(self.schema)
        closed = closed_schema(asked) if self.strict else None
        described = {"description": self.description} if self.description else {}
        schema = {"name": self.name, **described, "schema": closed or asked, "strict": closed is not None}
        return {"type": "json_schema", "json_schema": schema}


class RecordedOutput(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A specification as the journal keeps it: the schema as JSON text, whose properties keep their order.

    Bodies of entries have sorted keys, but models write properties in the order of the schema.
    """

    name: str
    schema: str
    strict: bool = True
    max_repairs: int = 2
    description: str = ""

    @classmethod
    def of(cls, spec: StructuredOutputSpec) -> "RecordedOutput":
        """Record a specification."""
        return cls(spec.name, ordered_json(spec.schema), spec.strict, spec.max_repairs, spec.description)

    def spec(self) -> StructuredOutputSpec:
        """Return the specification."""
        schema = msgspec.json.decode(self.schema)
        return StructuredOutputSpec(self.name, schema, self.strict, self.max_repairs, self.description)


def ordered_json(schema: Schema) -> str:
    """Return a schema as JSON text, in its own order. Raises TypeError, ValueError or OverflowError for other data."""
    return msgspec.json.encode(schema).decode()


def is_object_schema(schema: Schema) -> bool:
    """Tell whether a schema says itself that its values are objects."""
    return bool(schema.get("type", "object" if "properties" in schema else "") == "object")


def asked_schema(schema: Schema) -> Schema:
    """Return the schema of an object: this one, or one with the value in its property ``value``."""
    if is_object_schema(schema):
        return {"type": "object", **schema}
    inner = {key: value for key, value in schema.items() if key not in {"$defs", "definitions", "$schema", "$id"}}
    wrapper: Schema = {"type": "object", "properties": {WRAPPED: inner}, "required": [WRAPPED]}
    wrapper["additionalProperties"] = False
    return wrapper | {key: schema[key] for key in ("$defs", "definitions") if key in schema}


class _Open(Exception):
    """The schema cannot be said in the strict dialect."""


def closed_schema(schema: Schema) -> Schema | None:
    """Return the schema in the strict dialect, or None. It is narrower, but for ``oneOf``, which becomes ``anyOf``."""
    try:
        return _closed(schema)
    except (_Open, RecursionError):
        return None


def _closed(schema: object) -> Schema:
    if not isinstance(schema, dict):
        raise _Open
    if isinstance(schema.get("$ref"), str):
        return {"$ref": schema["$ref"]}
    made = {key: value for key, value in schema.items() if key in _KEPT}
    for key, value in schema.items():
        if key in _KEPT or key in _DROPPED:
            continue
        made[_NESTED.get(key, key)] = _closed_part(key, value)
    if not made.keys() & {"type", "enum", "const", "anyOf"}:
        raise _Open
    return made | _closed_object(schema) if "object" in _types(schema) else made


_NESTED: Final = {"anyOf": "anyOf", "oneOf": "anyOf"}


def _closed_part(key: str, value: object) -> object:
    if key in _NESTED and isinstance(value, list):
        return [_closed(item) for item in value]
    if key in {"properties", "$defs"} and isinstance(value, dict):
        return {name: _closed(item) for name, item in value.items()}
    if key == "items":
        return _closed(value)
    if key == "format" and value in _FORMATS:
        return value
    raise _Open


def _closed_object(schema: Schema) -> Schema:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or schema.get("additionalProperties") not in {None, False}:
        raise _Open
    required = schema.get("required", ())
    if any(name not in required and "default" not in value for name, value in properties.items()):
        raise _Open
    return {"required": list(properties), "additionalProperties": False}


def _types(schema: Schema) -> tuple[object, ...]:
    kind = schema.get("type", ())
    return tuple(kind) if isinstance(kind, list | tuple) else (kind,)
