"""Which URLs may be fetched, and where a name may lead: the rules against requests that a host did not mean.

Two kinds of permission. A host name (``example.com``, ``*.example.com``) allows https at its default port, and only
addresses that are public, so that no name leads into the host's own network. An origin (``http://127.0.0.1:8080``)
allows exactly that scheme, name and port, wherever they lead: who writes it down means it.
"""

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlsplit

from power_loop.facts.errors import ContentNotAllowed

_PORTS = {"https": 443, "http": 80}
_IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Target(NamedTuple):
    """Where a request goes. ``trusted``: whatever its name leads to."""

    scheme: str
    host: str
    port: int
    path: str
    trusted: bool


def target_of(url: str, hosts: Sequence[str], told: str) -> Target:
    """Return where a URL leads. Raises ContentNotAllowed, naming the setting, for one that the host does not allow."""
    parts, port = _split(url)
    if parts is None or port is None or not parts.hostname:
        raise ContentNotAllowed(f"{told} is not an http(s) URL that can be fetched.", source=told)
    if parts.username is not None or parts.password is not None:
        raise ContentNotAllowed(f"{told} has a user name or password in it; send a URL without.", source=told)
    host = parts.hostname.rstrip(".")
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    if not (path.isascii() and path.isprintable()) or " " in path or not host.isascii():
        raise ContentNotAllowed(f"{told} has characters that must be percent-encoded (names in punycode).", source=told)
    origin = (parts.scheme, host, port)
    if any(_origin(entry) == origin for entry in hosts if "://" in entry):
        return Target(*origin, path, trusted=True)
    named = any(_names(entry.lower(), host) for entry in hosts if "://" not in entry)
    if named and parts.scheme == "https" and port == _PORTS["https"]:
        return Target(*origin, path, trusted=False)
    raise ContentNotAllowed(
        f"{told} is not allowed. Add {host!r} to AgentLoopConfig.content_hosts"
        + (f" (as {parts.scheme}://{host}:{port}, since it is not https at port 443)." if named else ".")
        + " Or fetch it yourself and send the bytes.",
        source=told,
        host=host,
    )


def _split(url: str) -> tuple[SplitResult | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None, None


def _origin(entry: str) -> tuple[str, str, int | None]:
    parts, port = _split(entry)
    return ("", "", None) if parts is None else (parts.scheme, (parts.hostname or "").rstrip("."), port)


def _names(entry: str, host: str) -> bool:
    if entry.startswith("*."):
        return host.endswith(entry[1:]) and len(host) > len(entry[1:])
    return host == entry


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the open internet, also where it wraps an IPv4 address."""
    ip: _IP = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast
