"""SDK clients, one per event loop, none of which outlives its loop."""

import asyncio
import base64
import importlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from power_loop.facts.errors import ConfigError, LLMAuthError, MissingExtraError

KEYLESS = "none"
"""Stands for the key that a server does not ask for; the SDK insists on one."""


@dataclass(frozen=True, slots=True)
class Sdk:
    """An official SDK: its module, which is also the extra's name, its client class and its variables' prefix.

    ``url`` is where it sends requests unless told otherwise.
    """

    module: str
    client: str
    variables: str
    servers: str
    url: str

    def serves(self, url: str) -> bool:
        """Tell whether a URL is the maker's own."""
        return urlsplit(url).hostname == urlsplit(self.url).hostname


OPENAI = Sdk("openai", "AsyncOpenAI", "OPENAI", "OpenAI-compatible servers", "https://api.openai.com/v1")
ANTHROPIC = Sdk("anthropic", "AsyncAnthropic", "ANTHROPIC", "Anthropic's API", "https://api.anthropic.com")


class SdkClient(Protocol):
    """What the services use of an SDK's client."""

    @property
    def post(self) -> Callable[..., Awaitable[Any]]:
        """Send a request; returns the SDK's response object."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to send requests and with what. ``base_url`` and ``api_key`` None: the SDK's own defaults."""

    base_url: str | None
    api_key: str | None = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


def endpoint_of(base_url: str | None, api_key: str | None, sdk: Sdk = OPENAI) -> Endpoint:
    """Settle URL and key, as the SDK does: where they are None, from ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``.

    Another SDK's variables begin with its own name.

    Credentials inside the URL move to a header: HTTP libraries write URLs to their logs. A URL without any key
    gets a placeholder, since many servers of one's own ask for none. Raises ConfigError for a key that no HTTP
    header can carry: libraries below would print it when they refuse it.

    Without TLS each request has a connection of its own, which costs next to nothing: servers of one's own close
    idle ones within seconds, llama-server within hundredths, and a request that meets the closing is lost.
    """
    base_url = base_url or os.environ.get(f"{sdk.variables}_BASE_URL", "").strip() or None
    api_key = (api_key or os.environ.get(f"{sdk.variables}_API_KEY", "")).strip() or None
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise ConfigError("The API key contains line breaks or other characters that no key has; check how it is read.")
    headers: dict[str, str] = {}
    secrets = [api_key] if api_key else []
    if base_url is not None:
        parts = urlsplit(base_url)
        credentials, at, host = parts.netloc.rpartition("@")
        if at:
            base_url = urlunsplit(parts._replace(netloc=host))
            token = base64.b64encode(unquote(credentials).encode()).decode()
            headers["Authorization"] = f"Basic {token}"
            secrets += [token, credentials, unquote(credentials.partition(":")[2])]
        if parts.scheme == "http":
            headers["Connection"] = "close"
        api_key = api_key or KEYLESS
    return Endpoint(base_url, api_key, headers, tuple(secrets))


async def load_sdk(sdk: Sdk = OPENAI) -> ModuleType:
    """Import the SDK off the loop's thread: it takes about a second of CPU, and leases must be renewed meanwhile.

    Raises MissingExtraError if it is not installed.
    """
    try:
        return await asyncio.to_thread(importlib.import_module, sdk.module)
    except ModuleNotFoundError as error:
        if error.name != sdk.module:
            raise
    raise MissingExtraError(f"Talking to {sdk.servers} needs the SDK: pip install 'power-loop[{sdk.module}]'")


async def _guard(client: SdkClient) -> AsyncGenerator[None, None]:
    """Close the client when the generator is closed; ``asyncio.run`` closes those that are open at its end."""
    try:
        yield
    finally:
        await client.close()


async def _close(guard: AsyncGenerator[None, None]) -> None:
    await guard.aclose()


class ClientPool:
    """Hands out the SDK client of the running loop."""

    def __init__(self, endpoint: Endpoint, sdk: Sdk = OPENAI) -> None:
        self.sdk = sdk
        self._endpoint = endpoint
        self._clients: dict[asyncio.AbstractEventLoop, tuple[SdkClient, AsyncGenerator[None, None]]] = {}

    async def get(self) -> SdkClient:
        """Return this loop's client, made when first asked for."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            module = await load_sdk(self.sdk)
            for old in [old for old in self._clients if old.is_closed()]:
                del self._clients[old]
        if loop not in self._clients:
            client = self._make(module)
            guard = _guard(client)
            self._clients[loop] = (client, guard)
            await anext(guard)
        return self._clients[loop][0]

    def _make(self, module: ModuleType) -> SdkClient:
        endpoint = self._endpoint
        if endpoint.api_key is None:
            variable = f"{self.sdk.variables}_API_KEY"
            raise LLMAuthError(f"No API key. Set {variable}, pass api_key, or pass the base_url of your own server.")
        client: SdkClient = getattr(module, self.sdk.client)(
            base_url=endpoint.base_url, api_key=endpoint.api_key, default_headers=endpoint.headers
        )
        return client

    async def close(self) -> None:
        """Close the clients of all loops that still run."""
        here = asyncio.get_running_loop()
        clients, self._clients = self._clients, {}
        for loop, (_, guard) in clients.items():
            if loop is here:
                await guard.aclose()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_close(guard), loop))
