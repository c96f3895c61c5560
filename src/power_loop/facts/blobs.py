"""Blobs: bytes named by what they are. An entry refers to one by writing its address anywhere in its body."""

import re
from hashlib import sha256

_PREFIX = "sha256:"
_HEX_DIGITS = 64
_ADDRESS = re.compile(rf"(?<![0-9A-Za-z]){_PREFIX}[0-9a-f]{{{_HEX_DIGITS}}}(?![0-9a-f])")


def blob_id(data: bytes) -> str:
    """Return the content address of ``data``: ``"sha256:"`` and 64 lower-case hex digits (SHA-256, FIPS 180-4)."""
    return blob_address(sha256(data).digest())


def blob_digest(address: str) -> bytes:
    """Return the 32 bytes of an address that has the right form."""
    return bytes.fromhex(address.removeprefix(_PREFIX))


def blob_address(digest: bytes) -> str:
    """Return the address of bytes with this SHA-256 digest."""
    return _PREFIX + digest.hex()


def is_blob_id(text: str) -> bool:
    """Tell whether ``text`` has the form of a content address."""
    return _ADDRESS.fullmatch(text) is not None


def blobs_in(text: str) -> set[str]:
    """Return the content addresses that a text mentions."""
    return set(_ADDRESS.findall(text)) if _PREFIX in text else set()
