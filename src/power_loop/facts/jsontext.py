"""Canonical JSON text, and the one border where text that no store can hold is made holdable."""

import json
import math
import re
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

_ENCODER = msgspec.json.Encoder(order="deterministic")
_T = TypeVar("_T")
REPLACEMENT = "\ufffd"


def encode(value: object) -> str:
    """Return canonical JSON: sorted keys of mappings, no white space, non-ASCII kept.

    Raises TypeError or OverflowError for what JSON cannot say.
    """
    return _ENCODER.encode(value).decode()


def clean(text: str) -> tuple[str, bool]:
    """Replace lone surrogates and NUL by U+FFFD; the flag tells whether anything was replaced."""
    if text.isascii():
        if "\0" not in text:
            return text, False
        return text.replace("\0", REPLACEMENT), True
    try:
        text.encode()
    except UnicodeEncodeError:
        text = "".join(REPLACEMENT if "\ud800" <= char <= "\udfff" else char for char in text)
        return text.replace("\0", REPLACEMENT), True
    if "\0" in text:
        return text.replace("\0", REPLACEMENT), True
    return text, False


def clean_value(value: Any) -> tuple[Any, bool]:  # noqa: ANN401 -- any JSON value, nested
    """Apply :func:`clean` to every string of a JSON value; keys included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        pairs = [clean_value(item) for item in value]
        return [item for item, _ in pairs], any(dirty for _, dirty in pairs)
    if isinstance(value, dict):
        dirty = False
        cleaned: dict[str, Any] = {}
        for key, item in value.items():
            name, key_dirty = clean(str(key))
            cleaned[name], item_dirty = clean_value(item)
            dirty = dirty or key_dirty or item_dirty
        return cleaned, dirty
    return value, False


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number


_OBJECT = msgspec.json.Decoder(dict[str, Any])
_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_LENIENT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, strict=False)
_LONG_NUMBER = re.compile(r"\d{18}")
_SPACE = re.compile(r"[ \t\r\n]*")


def parse_object(text: str) -> dict[str, Any]:
    """Parse model-made tool arguments strictly.

    Empty text means no arguments. Raises ValueError, in words a model can act on, for anything that is not one
    JSON object of finite numbers that can be written back.
    """
    if not text.strip():
        return {}
    if not _LONG_NUMBER.search(text):
        with suppress(msgspec.MsgspecError):  # what the quick decoder takes, the quick encoder can write
            return _OBJECT.decode(text)
    try:
        value = _object(_STRICT.decode(text))
        encode(clean_value(value)[0])
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"the arguments are not valid JSON: {error}") from error
    return value


def parse_at(text: str, start: int) -> tuple[Any, int]:
    """Return the JSON value that begins at ``start``, white space before it aside, cleaned, and where it ends.

    Line breaks and other control characters may stand in strings: models write them. Raises ValueError for anything
    that is not a JSON value of finite numbers that can be written back.
    """
    begin = _SPACE.match(text, start)
    try:
        value, end = _LENIENT.raw_decode(text, begin.end() if begin else start)
        value = clean_value(value)[0]
        encode(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"no valid JSON: {error}") from error
    return value, end


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")  # noqa: TRY004 -- bad text, not a bad type
    return value


def decode(text: str, kind: type[_T]) -> _T:
    """Decode JSON text into a type. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(text, type=kind)
