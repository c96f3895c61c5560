"""A tool's JSON Schema, reduced to what constrains a small model well.

llama.cpp turns a schema into a grammar, but ignores some keywords, chokes on others (an empty range of lengths
takes all memory), and leaves most of them unbounded. What comes out here uses ``const``, ``enum``, ``anyOf`` and
closed, bounded objects, arrays, strings and numbers only, without references. It is narrower than the schema that
went in, except that patterns and the like are dropped: the kernel still validates what the model makes of it.
Optional properties are left out: a tool's defaults are wiser than a model that needs this.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

Schema: TypeAlias = dict[str, Any]

MAX_STRING = 120
"""Characters of a string, where the schema allows as many."""
MAX_ITEMS = 8
"""Items of an array, where the schema allows as many."""
MAX_DEPTH = 6
"""Levels of nesting; recursive schemas end there."""
MAX_NODES = 500
"""Parts of a reduced schema; beyond, parts become null."""
MAX_INTEGER = 10**15

_FORMATS: Final = frozenset({"date", "time", "date-time", "uuid"})
_NULL: Final[Schema] = {"type": "null"}


def reduce_schema(schema: Mapping[str, Any], required: Iterable[str] = ()) -> Schema:
    """Return a bounded schema for an object; ``required`` names parameters beyond those the schema requires."""
    root = {**schema, "type": "object", "required": [*_names(schema.get("required")), *required]}
    return _Reducer(schema).reduce(root)


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else []


def _count(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default


def _bound(value: object, whole: float, step: int) -> int | None:
    """Return a bound as an integer: the next one inwards, one further if the bound itself is excluded."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    inwards = math.ceil(value) if whole < 0 else math.floor(value)
    return inwards + step if inwards == value else inwards


def _range(schema: Schema) -> tuple[int | None, int | None]:
    lows = [_bound(schema.get("minimum"), -1, 0), _bound(schema.get("exclusiveMinimum"), -1, 1)]
    highs = [_bound(schema.get("maximum"), 1, 0), _bound(schema.get("exclusiveMaximum"), 1, -1)]
    low = max((bound for bound in lows if bound is not None), default=None)
    high = min((bound for bound in highs if bound is not None), default=None)
    return low, high


class _Reducer:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._nodes = 0

    def reduce(self, schema: object, depth: int = 0) -> Schema:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            return _NULL
        node = self._resolved(schema)
        if "const" in node:
            return {"const": node["const"]}
        if isinstance(node.get("enum"), list | tuple) and node["enum"]:
            return {"enum": list(node["enum"])}
        branches = node.get("anyOf") or node.get("oneOf")
        if isinstance(branches, list | tuple) and branches and "properties" not in node:
            return self._any_of(branches, depth)
        kinds = node.get("type")
        if isinstance(kinds, list | tuple) and kinds:
            return self._any_of([{**node, "type": kind} for kind in kinds], depth)
        return self._typed(kinds, node, depth)

    def _typed(self, kind: object, node: Schema, depth: int) -> Schema:
        if kind == "object" or (kind is None and "properties" in node):
            return self._object(node, depth)
        if kind == "array" or (kind is None and "items" in node):
            return self._array(node, depth)
        if kind in {"integer", "number"}:
            return _number(str(kind), node)
        if kind in {"boolean", "null"}:
            return {"type": kind}
        return _string(node)

    def _resolved(self, schema: object) -> Schema:
        """Return the schema with its references followed and its ``allOf`` merged in."""
        node = dict(schema) if isinstance(schema, Mapping) else {}
        for _ in range(MAX_DEPTH):
            parts = [self._target(node.pop("$ref"))] if "$ref" in node else []
            also = node.pop("allOf", None)
            parts += [part for part in also if isinstance(part, Mapping)] if isinstance(also, list | tuple) else []
            if not parts:
                break
            for part in parts:
                node = _merged(part, node)
        return node

    def _target(self, reference: object) -> Mapping[str, Any]:
        target: object = self._root
        path = reference if isinstance(reference, str) and reference.startswith("#") else "#/?"
        for step in path.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, Mapping) else None
        return target if isinstance(target, Mapping) else {}

    def _any_of(self, branches: Iterable[object], depth: int) -> Schema:
        reduced = [self.reduce(branch, depth + 1) for branch in branches]
        return {"anyOf": reduced} if len(reduced) > 1 else reduced[0]

    def _object(self, node: Schema, depth: int) -> Schema:
        known = node.get("properties")
        known = known if isinstance(known, Mapping) else {}
        names = list(dict.fromkeys(_names(node.get("required"))))
        names.sort(key=lambda name: list(known).index(name) if name in known else len(known))
        if not names:
            return {"const": {}}
        properties = {name: self.reduce(known.get(name), depth + 1) for name in names}
        return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}

    def _array(self, node: Schema, depth: int) -> Schema:
        low = min(_count(node.get("minItems"), 0), MAX_ITEMS)
        high = min(_count(node.get("maxItems"), MAX_ITEMS), MAX_ITEMS)
        if high == 0 or depth >= MAX_DEPTH:
            return {"const": []}
        item = self.reduce(node.get("items"), depth + 1)
        return {"type": "array", "items": item, "minItems": min(low, high), "maxItems": high}


def _merged(base: Mapping[str, Any], over: Schema) -> Schema:
    merged = {**base, **over}
    for key in ("properties", "required"):
        first, second = base.get(key), over.get(key)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            merged[key] = {**first, **second}
        elif isinstance(first, list) and isinstance(second, list):
            merged[key] = [*first, *second]
    return merged


def _number(kind: str, node: Schema) -> Schema:
    low, high = _range(node)
    if low is None and high is None:
        return {"type": kind}
    low = max(-MAX_INTEGER, low if low is not None else min(-MAX_INTEGER, high or 0))
    high = min(MAX_INTEGER, high if high is not None else MAX_INTEGER)
    # The grammar cannot bound fractions, so a bounded number is a whole one, which is a number too.
    return {"type": "integer", "minimum": low, "maximum": high} if low <= high else {"type": kind}


def _string(node: Schema) -> Schema:
    if node.get("format") in _FORMATS:
        return {"type": "string", "format": node["format"]}
    high = min(_count(node.get("maxLength"), MAX_STRING), MAX_STRING)
    return {"type": "string", "minLength": min(_count(node.get("minLength"), 0), high), "maxLength": high}
