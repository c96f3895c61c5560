"""Schemas that nothing can fit, as far as that shows at a glance. A schema that passes may still be impossible."""

from typing import Any, Final

_RANGES: Final = (
    ("minimum", "maximum"),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
)


def is_impossible(schema: object) -> bool:
    """Tell whether no value can fit a schema, for reasons that stand in it side by side."""
    if not isinstance(schema, dict):
        return schema is False
    return (
        schema.get("not", False) in ({}, True)
        or schema.get("enum", [None]) == []
        or ("const" in schema and schema["const"] not in schema.get("enum", [schema["const"]]))
        or any(_above(schema.get(low), schema.get(high)) for low, high in _RANGES)
        or any(map(is_impossible, schema.get("allOf", ())))
        or any(key in schema and all(map(is_impossible, schema[key])) for key in ("anyOf", "oneOf"))
        or (schema.get("type") == "object" and _needs_impossible(schema))
        or (schema.get("type") == "array" and schema.get("minItems", 0) > 0 and is_impossible(schema.get("items")))
    )


def _above(low: object, high: object) -> bool:
    return isinstance(low, int | float) and isinstance(high, int | float) and low > high


def _needs_impossible(schema: dict[str, Any]) -> bool:
    properties = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    return any(is_impossible(properties[name]) if name in properties else closed for name in schema.get("required", ()))
