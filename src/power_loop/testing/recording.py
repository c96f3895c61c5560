"""A model recorded once and replayed in tests: a cassette is a JSON Lines file, one answered request a line.

A request is recorded as what the provider was asked, without its blobs (their addresses stand in the messages),
without what only the kernel needs of a tool, and without whatever looks like a secret. Its SHA-256 finds the answer.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from power_loop.facts.errors import ConfigError, LLMError, PowerLoopError
from power_loop.ports.llm import DescribedLLM, LLMDelta, LLMRequest, LLMResponse, LLMService, OnDelta, ignore_delta
from power_loop.ports.models import ModelInfo
from power_loop.testing.cassette import (
    Exchange,
    append_line,
    canonical_request,
    delta_from_plain,
    digest_of,
    error_from_plain,
    first_difference,
    hide,
    plain_delta,
    plain_error,
    read_lines,
)

Normalise = Callable[[dict[str, Any]], dict[str, Any]]


class NoRecordedReply(LLMError):
    """The cassette has no answer to this request, or no further one; the message shows the first difference.

    ``details``: ``digest`` of the request, ``path`` of the cassette, ``difference`` as ``(place, recorded, asked)``
    or None.
    """

    code: ClassVar[str] = "no_recorded_reply"


class RecordingLLM:
    """Passes everything on to a model and appends each request with its answer to a cassette.

    An answer is the reply with its deltas, cut as they came, or the error. Each is one locked append, so that
    sessions, threads and processes may share a cassette; a call that is cancelled leaves nothing.

    Args:
        inner: The model; closed with this one.
        path: The cassette; made where it is missing, appended to where it is there.
        secrets: Texts that must not get into the file: replaced by ``***`` in requests and in answers. Requests are
            cleared of what looks like a secret besides.
        normalise: Changes the recorded request before it is compared, for instance to blank today's date. Use the
            same one for replaying.
    """

    def __init__(
        self,
        inner: LLMService,
        path: str | PathLike[str],
        *,
        secrets: Iterable[str] = (),
        normalise: Normalise | None = None,
    ) -> None:
        self.inner = inner
        self.max_retries = getattr(inner, "max_retries", None)
        self.path = Path(path)
        self._secrets = tuple(secrets)
        self._normalise = normalise

    def __repr__(self) -> str:
        return f"RecordingLLM({self.inner!r}, {str(self.path)!r})"

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Return the model's reply, recorded. Raises what the model raises, recorded too, and OSError."""
        deltas: list[LLMDelta] = []

        def hear(delta: LLMDelta) -> None:
            deltas.append(delta)
            on_delta(delta)

        try:
            response = await self.inner.complete(request, on_delta=hear)
        except Exception as error:
            self._record(request, deltas, error=plain_error(error))
            raise
        self._record(request, deltas, response=msgspec.to_builtins(response))
        return response

    async def close(self) -> None:
        """Close the model."""
        await self.inner.close()

    def describe(self, model: str | None = None) -> ModelInfo:
        """Return what the model says of itself; safe defaults where it says nothing."""
        return self.inner.describe(model) if isinstance(self.inner, DescribedLLM) else ModelInfo()

    def _record(
        self,
        request: LLMRequest,
        deltas: Iterable[LLMDelta],
        response: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        asked = canonical_request(request, self._secrets, self._normalise)
        exchange = Exchange(
            digest=digest_of(asked),
            request=asked,
            deltas=[hide(plain_delta(delta), self._secrets) for delta in deltas],
            response=hide(response, self._secrets),
            error=hide(error, self._secrets),
            model=msgspec.to_builtins(self.describe(), order="deterministic"),
        )
        append_line(self.path, exchange)


class ReplayingLLM:
    """Answers from a cassette, in any order of requests; equal requests get their answers in recorded order.

    Args:
        path: The cassette.
        strict: A request must be one of the recorded ones. False: one that is not gets the next answer not used yet.
        on_missing: When the answers to a request are used up: ``raise``, or ``repeat`` the last one.
        secrets: As they were given for recording.
        normalise: As it was given for recording.

    Raises ConfigError where there is no cassette or it cannot be read.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        strict: bool = True,
        on_missing: Literal["raise", "repeat"] = "raise",
        secrets: Iterable[str] = (),
        normalise: Normalise | None = None,
    ) -> None:
        self.path = Path(path)
        self._strict = strict
        self._repeat = on_missing == "repeat"
        self._secrets = tuple(secrets)
        self._normalise = normalise
        try:
            self._exchanges = read_lines(self.path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.path} is no cassette: {error}. Record one with RecordingLLM.") from error
        self._left: dict[str, deque[Exchange]] = defaultdict(deque)
        self._last: dict[str, Exchange] = {}
        for exchange in self._exchanges:
            self._left[exchange.digest].append(exchange)

    def __repr__(self) -> str:
        return f"ReplayingLLM({str(self.path)!r})"

    @property
    def unused(self) -> int:
        """How many recorded answers were not asked for yet."""
        return sum(map(len, self._left.values()))

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Replay the answer. Raises the recorded error, and NoRecordedReply where there is no answer."""
        asked = canonical_request(request, self._secrets, self._normalise)
        exchange = self._take(digest_of(asked), asked)
        for delta in exchange.deltas:
            on_delta(delta_from_plain(delta))
            await asyncio.sleep(0)
        if exchange.error is not None:
            raise error_from_plain(exchange.error)
        return msgspec.convert(exchange.response, LLMResponse)

    async def close(self) -> None:
        """Nothing to let go of."""

    def describe(self, model: str | None = None) -> ModelInfo:
        """Return what the recorded model said of itself at the first call; safe defaults without one."""
        recorded = self._exchanges[0].model if self._exchanges else {}
        info = msgspec.convert(recorded, ModelInfo)
        return info if model is None else msgspec.structs.replace(info, name=model)

    def _take(self, digest: str, asked: dict[str, Any]) -> Exchange:
        if self._left.get(digest):
            self._last[digest] = self._left[digest].popleft()
            return self._last[digest]
        if self._repeat and digest in self._last:
            return self._last[digest]
        if not self._strict:
            following = next(
                (exchange for exchange in self._exchanges if exchange in self._left[exchange.digest]), None
            )
            if following is not None:
                self._left[following.digest].remove(following)
                return following
        raise self._missing(digest, asked)

    def _missing(self, digest: str, asked: dict[str, Any]) -> PowerLoopError:
        if digest in self._last:
            problem, difference = "every recorded answer to this request was used already", None
        elif not self._exchanges:
            problem, difference = "the cassette is empty", None
        else:
            place, recorded, got = difference = first_difference([one.request for one in self._exchanges], asked)
            problem = f"the nearest recorded request differs at {place}: recorded {recorded}, asked {got}"
        return NoRecordedReply(
            f"{self.path.name} has no answer: {problem}. Record it again if the change is meant.",
            digest=digest,
            path=str(self.path),
            difference=difference,
        )
