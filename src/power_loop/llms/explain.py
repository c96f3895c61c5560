"""What went wrong with a model call, in the kernel's errors, and never with a secret in it.

Knows nothing of the SDKs but the shape that their exceptions share, so that it can be imported without them.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from power_loop.facts.errors import (
    LLMAuthError,
    LLMBadRequest,
    LLMConnectionError,
    LLMContextTooLong,
    LLMError,
    LLMMalformed,
    LLMOverloaded,
    LLMRateLimited,
    LLMRefused,
    LLMStalled,
    LLMTruncated,
    LLMUnavailable,
)
from power_loop.llms.redaction import redact

_PROVIDER_TEXT_LIMIT = 300

_ACTIONS: dict[type[LLMError], str] = {
    LLMAuthError: "Check the API key, what it may use, and the account's quota; retrying will not help.",
    LLMRateLimited: "Slow down or raise the limit with the provider.",
    LLMOverloaded: "Try again later.",
    LLMUnavailable: "Try again; if it lasts, check the provider's status.",
    LLMConnectionError: "Check base_url, the network and that the server runs.",
    LLMContextTooLong: "Compact the session or use a model with a larger context window.",
    LLMBadRequest: "Check the model name, base_url and the request's parameters.",
    LLMRefused: "Rephrase the input, or use another model.",
    LLMMalformed: "Try again; if it lasts, check that base_url is an endpoint of this kind.",
    LLMTruncated: "Try again; if it lasts, check for a proxy that cuts streams.",
    LLMStalled: "Try again, or raise the limit for slow models.",
}

_CONTEXT_WORDS = (
    "context_length",
    "context length",
    "context window",
    "context_window",
    "context size",
    "exceed_context_size",
    "prompt is too long",
    "input is too long",
    "maximum prompt length",
    "input token count",
    "range of input length",
    "reduce the length of the messages",
    "too many input tokens",
    "max_input_tokens",
    "exceed context limit",
    "request_too_large",
)
_REFUSED_WORDS = ("content_filter", "content_policy", "content policy", "data_inspection_failed")
_REFUSED_MESSAGES = ("blocked by content filtering",)
_QUOTA_WORDS = (
    "insufficient_quota",
    "insufficient_balance",
    "insufficient balance",
    "billing_hard_limit",
    "billing_error",
    "credit balance is too low",
    "specified api usage limits",
    "spend_limit_reached",
)
_AUTH_WORDS = ("authentication_error", "invalid_api_key", "permission_error", "permission_denied")
_CONTEXT_STATUS = frozenset({None, 400, 413, 422, 500})


def _has(words: Iterable[str], text: str) -> bool:
    return any(word in text for word in words)


def _by_words(status: int | None, code: str, message: str) -> type[LLMError] | None:
    everything = f"{code} {message}"
    if status in _CONTEXT_STATUS and _has(_CONTEXT_WORDS, everything):
        return LLMContextTooLong
    if _has(_REFUSED_WORDS, code) or _has(_REFUSED_MESSAGES, message):
        return LLMRefused
    if _has(_QUOTA_WORDS, everything) or _has(_AUTH_WORDS, code):
        return LLMAuthError
    return None


_BY_STATUS: dict[int, type[LLMError]] = {
    401: LLMAuthError,
    402: LLMAuthError,
    403: LLMAuthError,
    408: LLMUnavailable,
    409: LLMUnavailable,
    413: LLMContextTooLong,
    429: LLMRateLimited,
    503: LLMOverloaded,
    529: LLMOverloaded,
}


def _by_status(status: int, everything: str) -> type[LLMError]:
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if status >= 500:  # noqa: PLR2004 -- HTTP's border between their fault and ours
        return LLMOverloaded if "overloaded" in everything else LLMUnavailable
    return LLMBadRequest


_RATE_CODES = ("rate_limit", "too_many_requests", "throttling")
_BAD_CODES = ("invalid_request", "bad_request", "not_found", "validationexception")


def _by_code(code: str, everything: str) -> type[LLMError]:
    if _has(_RATE_CODES, code):
        return LLMRateLimited
    if "overloaded" in everything:
        return LLMOverloaded
    if _has(_BAD_CODES, code):
        return LLMBadRequest
    return LLMUnavailable


def classify(status: int | None, code: str, message: str) -> type[LLMError]:
    """Return the error class for an HTTP status (None inside a stream) and the provider's code and words.

    A used-up quota or balance arrives as 429 or 402, yet no retry helps: it is an LLMAuthError.
    """
    code, message = code.lower(), message.lower()
    found = _by_words(status, code, message)
    if found is not None:
        return found
    everything = f"{code} {message}"
    return _by_code(code, everything) if status is None else _by_status(status, everything)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds the provider asks to wait, from ``retry-after-ms`` or ``Retry-After`` (seconds or date).

    A date is measured against the reply's own ``Date``, so that a wrong clock here does no harm.
    """
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except ValueError:
        pass
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        return _seconds_until(value, headers.get("date", ""))


def _seconds_until(value: str, date: str) -> float | None:
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    try:
        now = parsedate_to_datetime(date)
    except ValueError:
        now = datetime.now(UTC)
    if until.tzinfo is None or now.tzinfo is None:
        return None
    return max(0.0, (until - now).total_seconds())


def _said(error: object) -> tuple[int | None, str, str]:
    """Return (HTTP status if the error names one, code and type, message) of a provider's error object."""
    if not isinstance(error, Mapping):
        return None, "", str(error or "")
    code = error.get("code")
    status = error.get("status", code)
    details = error.get("details")
    cause = details.get("error_code") if isinstance(details, Mapping) else None
    words = " ".join(word for word in (code, error.get("type"), error.get("status"), cause) if isinstance(word, str))
    message = error.get("message") or error.get("detail") or error.get("error") or ""
    known = isinstance(status, int) and not isinstance(status, bool) and 400 <= status < 600  # noqa: PLR2004
    return (status if known else None), words, str(message)


class Explainer:
    """Makes the kernel's errors out of a provider's failures, for one model at one endpoint."""

    def __init__(self, model: str, endpoint: str, *, idle_timeout: float, secrets: Iterable[str] = ()) -> None:
        self._idle_timeout = idle_timeout
        self._secrets = tuple(secrets)
        self._where = self._clean(f"{model} at {endpoint}")

    def _clean(self, text: str) -> str:
        return redact(text, self._secrets)

    def make(self, kind: type[LLMError], cause: str, **fields: Any) -> LLMError:  # noqa: ANN401 -- LLMError's own
        """Return an error that names where, why and what to do."""
        cause = self._clean(cause)
        if len(cause) > _PROVIDER_TEXT_LIMIT:
            cause = cause[:_PROVIDER_TEXT_LIMIT] + "…"
        return kind(f"{self._where}: {cause.rstrip('. ')}. {_ACTIONS[kind]}", **fields)

    def http(self, status: int, headers: Mapping[str, str], body: object) -> LLMError:
        """Explain a reply with an error status."""
        error = body.get("error", body) if isinstance(body, Mapping) else body
        _, code, message = _said(error)
        said = f"HTTP {status}" + (f" ({code})" if code else "") + (f": {message}" if message else "")
        return self.make(
            classify(status, code, message),
            said,
            status=status,
            retry_after=retry_after(headers),
            request_id=headers.get("x-request-id") or headers.get("request-id"),
        )

    def in_stream(self, error: object) -> LLMError:
        """Explain an error object that arrived inside a stream."""
        status, code, message = _said(error)
        said = message or code or "no reason given"
        return self.make(classify(status, code, message), f"error inside the stream: {said}", status=status)

    def exception(self, error: Exception, *, streaming: bool = False) -> LLMError:
        """Explain what the SDK or its HTTP library raised, before the reply began or while it was streaming.

        Both httpx and its successor may be at work: their exceptions share names, not classes.
        """
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            response = getattr(error, "response", None)
            headers = {str(key).lower(): str(value) for key, value in getattr(response, "headers", {}).items()}
            return self.http(status, headers, getattr(error, "body", None) or getattr(response, "text", ""))
        chain = _chain(error)
        names = {base.__name__ for link in chain for base in type(link).__mro__}
        if streaming and "RemoteProtocolError" in names:
            return self.make(LLMTruncated, _told(chain))
        kind = next((kind for kind, marks in _BY_NAME if names & marks), LLMBadRequest)
        if kind is LLMStalled:
            return self.make(kind, f"nothing arrived for {self._idle_timeout:g} s")
        return self.make(kind, _told(chain))


_BY_NAME: tuple[tuple[type[LLMError], frozenset[str]], ...] = (
    (LLMAuthError, frozenset({"CredentialsError"})),
    (LLMConnectionError, frozenset({"ConnectTimeout", "PoolTimeout", "ConnectError"})),
    (LLMStalled, frozenset({"ReadTimeout", "WriteTimeout"})),
    (LLMMalformed, frozenset({"DecodingError"})),
    (LLMBadRequest, frozenset({"UnsupportedProtocol", "LocalProtocolError", "InvalidURL"})),
    (LLMConnectionError, frozenset({"TransportError", "APIConnectionError", "OSError", "EndOfStream"})),
)
_CHAIN_LIMIT = 8


def _chain(error: BaseException) -> list[BaseException]:
    links = [error]
    while (link := links[-1].__cause__ or links[-1].__context__) is not None and len(links) < _CHAIN_LIMIT:
        links.append(link)
    return links


def _told(chain: list[BaseException]) -> str:
    first, last = chain[0], chain[-1]
    told = f"{type(first).__name__}: {first}".rstrip(": .")
    return told if first is last else f"{told} ({type(last).__name__}: {last})"
