"""What a cassette's lines are made of: requests in canonical form, deltas, errors, and how lines get to the file."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from power_loop.facts.errors import LLMError, PowerLoopError
from power_loop.llms.redaction import redact
from power_loop.ports.llm import LLMDelta, LLMRequest, ReasoningDelta, TextDelta, ToolCallDelta

VERSION: Final = 1
_HIDDEN: Final = "***"
_SECRET_FIELDS: Final = ("authorization", "api_key", "api-key", "apikey", "token", "secret", "password", "cookie")
_COUNTS: Final = ("tokens", "token_count")
_SHOWN: Final = 80
_T = TypeVar("_T")
_Step = str | int
_ABSENT: Final = object()


class Exchange(msgspec.Struct, frozen=True, eq=False):
    """One line: a request and its answer, which is a response or an error; ``model`` is what the model says it is."""

    digest: str
    request: dict[str, Any]
    deltas: list[dict[str, Any]] = []
    response: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    model: dict[str, Any] = {}
    version: int = VERSION


# -- requests


def canonical_request(
    request: LLMRequest, secrets: Iterable[str], normalise: Callable[[dict[str, Any]], dict[str, Any]] | None
) -> dict[str, Any]:
    """Return the request as plain data: what a provider is asked, no bytes, no secrets."""
    plain: dict[str, Any] = {
        "model": request.model,
        "system_prompt": request.system_prompt,
        "messages": [msgspec.to_builtins(message) for message in request.messages],
        "tools": [tool.to_openai_tool()["function"] for tool in request.tools],
        "tool_choice": request.tool_choice,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "response_format": request.response_format,
        "extra": _without_secret_fields(request.extra),
    }
    plain = json.loads(_text(plain))
    known = tuple(secrets)
    plain = _in_strings(plain, lambda text: redact(_without(text, known)))
    return normalise(plain) if normalise else plain


def digest_of(asked: dict[str, Any]) -> str:
    """Return the hexadecimal SHA-256 of a canonical request."""
    return hashlib.sha256(_text(asked)).hexdigest()


def hide(value: _T, secrets: Sequence[str]) -> _T:
    """Replace known secrets in all strings of plain data."""
    return _in_strings(value, lambda text: _without(text, secrets)) if secrets else value


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, _HIDDEN)
    return text


def _without_secret_fields(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    if isinstance(value, Mapping):
        return {
            str(name): _HIDDEN if _is_secret(str(name)) else _without_secret_fields(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secret_fields(item) for item in value]
    return value


def _is_secret(name: str) -> bool:
    name = name.lower()
    return any(word in name for word in _SECRET_FIELDS) and not name.endswith(_COUNTS)


def _in_strings(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 -- any JSON value
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _in_strings(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_in_strings(item, change) for item in value]
    return value


# -- the nearest request


def first_difference(recorded: Iterable[dict[str, Any]], asked: dict[str, Any]) -> tuple[str, str, str]:
    """Return where the nearest request differs first, and what stands there in the recorded one and in this one.

    Nearest is the one that shares the most leading messages, then the most other fields.
    """
    nearest = max(recorded, key=lambda one: _likeness(one, asked))
    path, left, right = next(_differences(nearest, asked, ()), ((), nearest, asked))
    left, right = _around(left, right)
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    return place or "request", left, right


def _likeness(one: dict[str, Any], asked: dict[str, Any]) -> tuple[int, int]:
    pairs = zip(one.get("messages", []), asked.get("messages", []), strict=False)
    leading = next((index for index, (left, right) in enumerate(pairs) if left != right), None)
    if leading is None:
        leading = min(len(one.get("messages", [])), len(asked.get("messages", [])))
    return leading, sum(one.get(name) == item for name, item in asked.items())


def _differences(
    left: Any,  # noqa: ANN401 -- any JSON value
    right: Any,  # noqa: ANN401
    path: tuple[_Step, ...],
) -> Iterator[tuple[tuple[_Step, ...], Any, Any]]:
    if left == right:
        return
    steps: Iterable[_Step]
    if isinstance(left, dict) and isinstance(right, dict):
        steps = list(dict.fromkeys((*left, *right)))
    elif isinstance(left, list) and isinstance(right, list):
        steps = range(max(len(left), len(right)))
    else:
        yield path, left, right
        return
    for step in steps:
        yield from _differences(_at(left, step), _at(right, step), (*path, step))


def _at(value: Any, step: Any) -> Any:  # noqa: ANN401 -- any JSON value, its key or index
    if isinstance(value, dict):
        return value.get(step, _ABSENT)
    return value[step] if step < len(value) else _ABSENT


def _around(left: object, right: object) -> tuple[str, str]:
    """Show two values short, from shortly before they part."""
    texts = ["nothing" if value is _ABSENT else json.dumps(value, ensure_ascii=False) for value in (left, right)]
    same = len(os.path.commonprefix(texts))  # noqa: RUF071 -- texts, not paths
    start = max(0, same - _SHOWN // 2) if max(map(len, texts)) > _SHOWN else 0
    first, second = (
        ("…" if start else "") + text[start : start + _SHOWN] + ("…" if len(text) > start + _SHOWN else "")
        for text in texts
    )
    return first, second


# -- deltas and errors


_DELTAS: Final[dict[str, type[LLMDelta]]] = {"text": TextDelta, "reasoning": ReasoningDelta, "call": ToolCallDelta}
_KINDS: Final = {kind: name for name, kind in _DELTAS.items()}


def plain_delta(delta: LLMDelta) -> dict[str, Any]:
    """Return a delta as plain data."""
    return {"kind": _KINDS[type(delta)], **msgspec.structs.asdict(delta)}


def delta_from_plain(plain: dict[str, Any]) -> LLMDelta:
    """Return the delta again."""
    fields = {name: value for name, value in plain.items() if name != "kind"}
    return _DELTAS[plain["kind"]](**fields)


def plain_error(error: Exception) -> dict[str, Any]:
    """Return an error as plain data: by its code; one that is not ours becomes an LLMError."""
    if not isinstance(error, PowerLoopError):
        return {"code": LLMError.code, "message": f"{type(error).__name__}: {error}", "details": {}}
    details = {name: value for name, value in error.details.items() if _is_plain(value)}
    return {"code": error.code, "message": redact(error.message), "details": details}


def error_from_plain(plain: dict[str, Any]) -> PowerLoopError:
    """Return the error again, of the class that has its code."""
    kind = next((kind for kind in _classes(PowerLoopError) if kind.code == plain["code"]), LLMError)
    error = kind.__new__(kind)
    PowerLoopError.__init__(error, plain["message"], **plain["details"])
    if isinstance(error, LLMError):
        error.retry_after, error.status = plain["details"].get("retry_after"), plain["details"].get("status")
    for name, value in plain["details"].items():
        setattr(error, name, value)
    return error


def _classes(root: type[PowerLoopError]) -> Iterator[type[PowerLoopError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _classes(kind)


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


# -- the file


def append_line(path: Path, exchange: Exchange) -> None:
    """Append one line under a lock on the file; a line that a dead writer left torn is ended first. Raises OSError."""
    line = _text(msgspec.to_builtins(exchange)) + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
            line = b"\n" + line
        while line:
            line = line[file.write(line) :]


def read_lines(path: Path) -> list[Exchange]:
    """Return the exchanges of a cassette; a torn line counts as not written.

    Raises OSError, and ValueError for whole lines that are of no exchange or of a newer version.
    """
    exchanges = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            plain = json.loads(line or b"null")
        except ValueError:
            continue
        if plain is not None:
            exchanges.append(_exchange(number, plain))
    return exchanges


def _exchange(number: int, plain: object) -> Exchange:
    try:
        exchange = msgspec.convert(plain, Exchange)
    except msgspec.ValidationError as error:
        raise ValueError(f"line {number}: {error}") from error
    if exchange.version > VERSION:
        raise ValueError(f"line {number} is of version {exchange.version}, this release reads up to {VERSION}")
    return exchange


def _text(value: object) -> bytes:
    """Return canonical JSON; text stands as it is unless it has lone surrogates. What is no JSON goes by its type."""
    try:
        return _READABLE.encode(value).encode()
    except UnicodeEncodeError:
        return _ESCAPED.encode(value).encode()


def _type_name(value: object) -> str:
    return f"<{type(value).__name__}>"


_READABLE: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_type_name)
_ESCAPED: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_type_name)
