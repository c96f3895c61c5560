"""A model service that goes to the next one when the first cannot: another provider, or a larger window.

A wrapper around services: knows no provider. Retries stay the engine's business; within one attempt each service is
asked once.
"""

import logging
import weakref
from collections.abc import Iterable, Sequence

import msgspec

from power_loop.facts.errors import (
    ConfigError,
    LLMAuthError,
    LLMConnectionError,
    LLMContextTooLong,
    LLMError,
    LLMMalformed,
    LLMOverloaded,
    LLMRateLimited,
    LLMStalled,
    LLMTruncated,
    LLMUnavailable,
)
from power_loop.facts.messages import AgentMessage
from power_loop.ports.cost import dearest
from power_loop.ports.llm import DescribedLLM, LLMDelta, LLMRequest, LLMResponse, LLMService, OnDelta, ignore_delta
from power_loop.ports.models import ModelInfo

logger = logging.getLogger("power_loop")

FALLS_OVER: tuple[type[LLMError], ...] = (
    LLMRateLimited,
    LLMOverloaded,
    LLMUnavailable,
    LLMConnectionError,
    LLMStalled,
    LLMTruncated,
    LLMMalformed,
    LLMAuthError,
    LLMContextTooLong,
)
"""What another service may not have. Not a refusal and not a bad request: those are about what was asked."""


class FallbackLLM:
    """Several services in order of preference; ``LLMResponse.model`` tells which one answered.

    Watchers concatenate the deltas of an attempt, so two replies must not share one. When a service fails after it
    passed a delta on, its error is therefore raised; the engine records it and makes a new attempt, whose deltas
    carry a new number, and that attempt starts with the next service. ``after_delta=True`` falls over within the
    attempt all the same: for hosts that show no deltas, or show only what the entry says in the end.

    A request that names a model means one of the first service; the others use their own.

    Args:
        first: Asked first.
        others: Asked in this order, each where the one before failed.
        on: Errors that lead to the next service; others are raised at once. An LLMContextTooLong leads past
            services that are known to have no larger window.
        after_delta: See above.

    Raises ConfigError without a second service.
    """

    def __init__(
        self,
        first: LLMService,
        *others: LLMService,
        on: tuple[type[LLMError], ...] = FALLS_OVER,
        after_delta: bool = False,
    ) -> None:
        if not others:
            raise ConfigError("FallbackLLM needs at least two services.")
        self.services: Sequence[LLMService] = (first, *others)
        self.max_retries = most_retries(self.services)
        self._on = on
        self._after_delta = after_delta
        self._starts: dict[int, tuple[weakref.ref[AgentMessage], int]] = {}

    def __repr__(self) -> str:
        return f"FallbackLLM({', '.join(map(repr, self.services))})"

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Return the reply of the first service that gives one.

        Raises an error not listed in ``on`` at once. Where all fail, raises the last error that is worth another
        try or a compaction, else the last one; its message names the earlier ones.
        """
        failed: list[tuple[int, LLMError]] = []
        for index in self._order(request):
            if not self._worth_asking(index, failed, request.model):
                continue
            heard = _Ear(on_delta)
            try:
                return await self.services[index].complete(
                    self._for(index, request), on_delta=on_delta if on_delta is ignore_delta else heard
                )
            except self._on as error:
                failed.append((index, error))
                logger.warning("Model service %d of %d failed: %s", index + 1, len(self.services), error.message)
                if heard.anything and not self._after_delta:
                    self._start_next_with(request, (index + 1) % len(self.services))
                    break
        raise _summed_up([error for _, error in failed])

    async def close(self) -> None:
        """Close every service. Raises the first error after all were closed."""
        await close_all(self.services)

    def describe(self, model: str | None = None) -> ModelInfo:
        """Return figures that hold for whichever service answers; see :func:`tightest`."""
        return tightest([self._info(index, model) for index in range(len(self.services))])

    def _info(self, index: int, model: str | None) -> ModelInfo:
        return described(self.services[index], model if index == 0 else None)

    def _for(self, index: int, request: LLMRequest) -> LLMRequest:
        if index == 0 or request.model is None:
            return request
        return msgspec.structs.replace(request, model=None)

    def _worth_asking(self, index: int, failed: list[tuple[int, LLMError]], model: str | None) -> bool:
        """Tell whether a service may take what was too long for another."""
        mine = self._info(index, model)
        for other, error in failed:
            if isinstance(error, LLMContextTooLong):
                theirs = self._info(other, model)
                if mine.known and theirs.known and mine.context_window <= theirs.context_window:
                    return False
        return True

    def _order(self, request: LLMRequest) -> Iterable[int]:
        start = 0
        if request.messages:
            _, start = self._starts.pop(id(request.messages[-1]), (None, 0))
        count = len(self.services)
        return [(start + step) % count for step in range(count)]

    def _start_next_with(self, request: LLMRequest, index: int) -> None:
        """Remember it as long as the newest message lives, which the next attempt at the same request has too."""
        if request.messages:
            newest, starts = request.messages[-1], self._starts
            key = id(newest)
            starts[key] = (weakref.ref(newest, lambda _: starts.pop(key, None)), index)


class _Ear:
    """Passes deltas on and knows whether there were any."""

    def __init__(self, on_delta: OnDelta) -> None:
        self.anything = False
        self._on_delta = on_delta

    def __call__(self, delta: LLMDelta) -> None:
        self.anything = True
        self._on_delta(delta)


def described(service: LLMService, model: str | None = None) -> ModelInfo:
    """Return what a service says of its model; safe defaults where it says nothing."""
    return service.describe(model) if isinstance(service, DescribedLLM) else ModelInfo()


def tightest(infos: Sequence[ModelInfo]) -> ModelInfo:
    """Return figures that hold for each of these: smallest window and cap, common inputs, highest prices."""
    caps = [info.max_output for info in infos if info.max_output is not None]
    return ModelInfo(
        name=infos[0].name,
        context_window=min(info.context_window for info in infos),
        max_output=min(caps, default=None),
        inputs=frozenset.intersection(*(info.inputs for info in infos)),
        tools=all(info.tools for info in infos),
        native_schema=all(info.native_schema for info in infos),
        prices=dearest([info.prices for info in infos]),
        known=all(info.known for info in infos),
        inputs_known=all(info.inputs_known for info in infos),
    )


def most_retries(services: Iterable[LLMService]) -> int | None:
    """Return the most retries that one of the services wishes for; None where none says."""
    wishes = (getattr(service, "max_retries", None) for service in services)
    return max((wish for wish in wishes if wish is not None), default=None)


async def close_all(services: Iterable[LLMService]) -> None:
    """Close each service once. Raises the first error after all were closed."""
    first: Exception | None = None
    for service in {id(service): service for service in services}.values():
        try:
            await service.close()
        except Exception as error:  # noqa: BLE001 -- one that cannot be closed must not keep the others open
            first = first or error
    if first is not None:
        raise first


def _summed_up(errors: Sequence[LLMError]) -> LLMError:
    """Return the error to raise: one that leads on, if there is one, naming the others."""
    hopeful = [error for error in errors if error.retryable or isinstance(error, LLMContextTooLong)]
    chosen = (hopeful or errors)[-1]
    others = [error for error in errors if error is not chosen]
    if not others:
        return chosen
    said = "; ".join(f"{error.code}: {error.message}" for error in others)
    if type(chosen).__init__ is not LLMError.__init__:
        chosen.add_note(f"Other services failed too: {said}")
        return chosen
    details = {name: value for name, value in chosen.details.items() if name not in {"retry_after", "status"}}
    summed = type(chosen)(
        f"{chosen.message} (Other services failed too: {said})",
        retry_after=_shortest_wait(errors),
        status=chosen.status,
        **details,
    )
    summed.__cause__ = chosen
    return summed


def _shortest_wait(errors: Sequence[LLMError]) -> float | None:
    """Return when the first of those that may work again asks to be asked again; None: whenever the policy says."""
    waits = [error.retry_after for error in errors if error.retryable]
    return min((wait for wait in waits if wait is not None), default=None) if None not in waits else None
