"""A model service that picks another one for each request. Knows no provider and no reason to prefer one."""

from collections.abc import Callable, Mapping

from power_loop.facts.errors import ConfigError
from power_loop.llms.fallback import close_all, described, most_retries, tightest
from power_loop.ports.llm import LLMRequest, LLMResponse, LLMService, OnDelta, ignore_delta
from power_loop.ports.models import ModelInfo


class RoutingLLM:
    """Hands each request to the service that ``choose`` picks.

    ``choose`` must be a function of the request alone, so that a retry or a resume after a crash goes the same way;
    it runs on the event loop and should be quick.

    Args:
        choose: Returns the name of one of ``services``, or a service, which then stays the host's to close.
        services: By name; closed with this one.

    Raises ConfigError without services.
    """

    def __init__(self, choose: Callable[[LLMRequest], LLMService | str], services: Mapping[str, LLMService]) -> None:
        if not services:
            raise ConfigError("RoutingLLM needs at least one service.")
        self.services = dict(services)
        self.max_retries = most_retries(self.services.values())
        self._choose = choose

    def __repr__(self) -> str:
        return f"RoutingLLM({self.services!r})"

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Return the chosen service's reply.

        Raises what it raises, what ``choose`` raises, and ConfigError for a name that no service has.
        """
        return await self._service(request).complete(request, on_delta=on_delta)

    async def close(self) -> None:
        """Close every service. Raises the first error after all were closed."""
        await close_all(self.services.values())

    def describe(self, model: str | None = None) -> ModelInfo:
        """Return figures that hold for whichever of ``services`` is chosen; see :func:`tightest`."""
        return tightest([described(service, model) for service in self.services.values()])

    def _service(self, request: LLMRequest) -> LLMService:
        chosen = self._choose(request)
        if not isinstance(chosen, str):
            return chosen
        if chosen not in self.services:
            known = ", ".join(sorted(self.services))
            raise ConfigError(f"RoutingLLM has no service {chosen!r}; it has {known}.", field="services")
        return self.services[chosen]
