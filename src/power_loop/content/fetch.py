"""Fetching: one GET at a time, to an address that was looked at before the connection is made to that very address.

The standard library in a thread; proxies of the environment are not used, since they would resolve names again.
"""

import asyncio
import contextlib
import http.client
import socket
import ssl
import time
from urllib.parse import urljoin

from power_loop.content.hosts import Target, is_public, target_of
from power_loop.content.intake import too_large
from power_loop.facts.errors import ContentError, ContentNotAllowed, ContentUnavailable
from power_loop.ports.content import Attachment, ContentPolicy
from power_loop.ports.registry import InThread

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200
_CHUNK = 64 << 10
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "power-loop", "Connection": "close"}


async def fetch(attachment: Attachment, url: str, policy: ContentPolicy, limit: int, in_thread: InThread) -> bytes:
    """Return at most ``limit + 1`` bytes of what is at an allowed URL, within ``policy.timeout`` seconds.

    Each redirect is checked like the URL itself. Raises ContentNotAllowed, ContentTooLarge, ContentUnavailable.
    """
    fetching = _Fetch(attachment, policy, limit)
    try:
        async with asyncio.timeout(policy.timeout):
            data: bytes = await in_thread(lambda: fetching.run(url))
            return data
    except TimeoutError as error:
        raise _unavailable(attachment, f"no complete reply within {policy.timeout:g} s") from error
    finally:
        fetching.stop()


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked, whatever its name leads to by now."""

    def __init__(self, target: Target, address: str, timeout: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout)
        self.default_port = 443 if target.scheme == "https" else 80
        self._secure = target.scheme == "https"
        self._address = (address, target.port)
        self.raw: socket.socket | None = None

    def connect(self) -> None:
        """Connect, and for https prove that the name is the server's."""
        self.sock = socket.create_connection(self._address, self.timeout)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
        self.raw = self.sock


class _Fetch:
    """One fetch, in a thread of its own; ``stop`` ends it from outside."""

    def __init__(self, attachment: Attachment, policy: ContentPolicy, limit: int) -> None:
        self._attachment = attachment
        self._policy = policy
        self._limit = limit
        self._until = time.monotonic() + policy.timeout
        self._stopped = False
        self._connection: _Connection | None = None

    def stop(self) -> None:
        """End a fetch that nobody waits for any more."""
        self._stopped = True
        if self._connection is not None and self._connection.raw is not None:
            with contextlib.suppress(OSError):
                self._connection.raw.shutdown(socket.SHUT_RDWR)

    def run(self, url: str) -> bytes:
        """Follow redirects to the bytes."""
        for _ in range(MAX_REDIRECTS + 1):
            target = target_of(url, self._policy.hosts, self._attachment.told)
            try:
                data, location = self._get(target)
                if location is None:
                    return data
                url = urljoin(url, location)
            except ContentError:
                raise
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise _unavailable(self._attachment, f"{type(error).__name__}: {error}"[:200]) from error
        raise _unavailable(self._attachment, f"more than {MAX_REDIRECTS} redirects")

    def _get(self, target: Target) -> tuple[bytes, str | None]:
        """Return the body, or where a redirect leads."""
        connection = self._connection = _Connection(target, self._address(target), self._left())
        try:
            connection.request("GET", target.path, headers=_HEADERS)
            response = connection.getresponse()
            if response.status in _REDIRECTS and (location := response.getheader("Location")):
                return b"", location
            if response.status != _OK:
                raise _unavailable(self._attachment, f"the server answered {response.status}")
            return self._body(response), None
        finally:
            self._connection = None
            connection.close()

    def _address(self, target: Target) -> str:
        """Resolve the name once, and check all that it leads to: what is connected to is what was looked at."""
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = [str(info[4][0]) for info in found]
        if not target.trusted and not all(map(is_public, addresses)):
            raise ContentNotAllowed(
                f"{self._attachment!r}: {target.host} leads to an address that is not public. To allow that, name its "
                f"origin, https://{target.host}, in AgentLoopConfig.content_hosts.",
                source=self._attachment.told,
                host=target.host,
            )
        return addresses[0]

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        if (response.length or 0) > self._limit:
            raise too_large(self._attachment, self._limit)
        data = bytearray()
        while chunk := response.read1(_CHUNK):
            data += chunk
            if len(data) > self._limit:
                raise too_large(self._attachment, self._limit)
            self._left()
        if response.length:
            raise _unavailable(self._attachment, f"the reply ended {response.length} bytes early")
        return bytes(data)

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if self._stopped or left <= 0:
            raise _unavailable(self._attachment, f"no complete reply within {self._policy.timeout:g} s")
        return left


def _unavailable(attachment: Attachment, why: str) -> ContentUnavailable:
    return ContentUnavailable(
        f"{attachment!r} could not be fetched: {why}. Try again, or send the bytes.", source=attachment.told
    )
