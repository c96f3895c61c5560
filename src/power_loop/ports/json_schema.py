"""Checking JSON values against a JSON Schema, and saying what is wrong in words that a model can act on.

References to other documents are refused and patterns are bounded. The validator is loaded when first needed.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from power_loop.facts import jsontext
from power_loop.ports.tool_text import MAX_ERRORS, path_text, shown

_BACKTRACK_LIMIT = 100_000
_PATTERN_BYTES = 1 << 20


@lru_cache(maxsize=512)
def validator_of(schema: str) -> Any:  # noqa: ANN401 -- a jsonschema_rs validator
    """Return the validator of a schema in canonical JSON. Raises ValueError for what is not a JSON Schema."""
    import jsonschema_rs  # noqa: PLC0415 -- loaded when the first schema meets a value

    patterns = jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_LIMIT, size_limit=_PATTERN_BYTES)
    return jsonschema_rs.validator_for(jsontext.parse_object(schema), offline=True, pattern_options=patterns)


def mistakes_in(value: object, schema: str, root: str) -> list[str]:
    """Return what is wrong with a value, at most one more than ``MAX_ERRORS``; ``root`` is the value's name.

    Raises ValueError for what is not a JSON Schema.
    """
    validator = validator_of(schema)
    mistakes: list[str] = []
    try:
        msgspec.to_builtins(value)  # refuses a depth at which the validator would overrun its stack
        for error in validator.iter_errors(value):
            mistake = _mistake(error, root)
            if mistake not in mistakes:
                mistakes.append(mistake)
            if len(mistakes) > MAX_ERRORS:
                break
    except (ValueError, TypeError, RecursionError) as error:
        mistakes.append(f"{root}: cannot be checked: {shown(str(error))}")
    return mistakes


def _mistake(error: Any, root: str) -> str:  # noqa: ANN401 -- a jsonschema_rs error
    path, kind = path_text(error.instance_path, root), error.kind
    if kind.name == "required":
        return f"{path_text([*error.instance_path, kind.property])}: missing, but required"
    if kind.name in {"additionalProperties", "unevaluatedProperties"}:
        return f"{path}: no such argument: {_listed(kind.unexpected)}"
    if kind.name == "type":
        return f"{path}: must be {' or '.join(kind.types)}, got {shown(error.instance)}"
    if kind.name in {"anyOf", "oneOf"} and kind.context:
        branches = [_mistake(branch[0], root) for branch in kind.context[:MAX_ERRORS] if branch]
        return f"{path}: fits none of the allowed forms ({'; '.join(branches)})"[:600]
    return f"{path}: {error.message[:300]}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))[:200]
