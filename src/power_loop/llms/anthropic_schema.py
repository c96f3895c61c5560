"""A JSON schema in the dialect that Anthropic's structured outputs take.

They take a part of JSON Schema only (platform.claude.com, "Structured outputs"); a schema with anything else is
refused. What they cannot hold a reply to is told to the model in words instead; whoever asked checks the reply.
"""

from collections.abc import Mapping
from typing import Any, Final

from power_loop.facts import jsontext

_KEPT: Final = frozenset({"type", "enum", "const", "$ref", "description", "title", "default", "required"})
_SCHEMAS: Final = frozenset({"properties", "$defs", "definitions"})
_LISTS: Final = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)


def to_anthropic_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema with closed objects and without unknown keywords, which its descriptions tell instead."""
    told: dict[str, Any] = {}
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _KEPT or (key == "format" and value in _FORMATS) or (key == "minItems" and value in {0, 1}):
            made[key] = value
        elif key in _SCHEMAS and isinstance(value, Mapping):
            made[key] = {name: _nested(item) for name, item in value.items()}
        elif key in _LISTS and isinstance(value, list):
            made[_LISTS[key]] = [_nested(item) for item in value]
        elif key == "items":
            made[key] = _nested(value)
        elif key not in {"additionalProperties", "$schema", "$id"}:
            told[key] = value
    if "object" in _types(schema):
        made["additionalProperties"] = False
    if told:
        words = ", ".join(f"{key}: {jsontext.encode(value)}" for key, value in told.items())
        made["description"] = f"{made.get('description', '')} ({words})".lstrip()
    return made


def _nested(schema: object) -> object:
    return to_anthropic_schema(schema) if isinstance(schema, Mapping) else schema


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    kind = schema.get("type", "object" if "properties" in schema else ())
    return (kind,) if isinstance(kind, str) else tuple(kind)
