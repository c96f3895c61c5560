"""Blobs as who handles content meets them: bytes by address, and a reader."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

NO_BLOBS: Final[Mapping[str, bytes]] = MappingProxyType({})


class BlobReader(Protocol):
    """Reads the bytes that a content address names."""

    async def __call__(self, blob: str, /) -> bytes:
        """Return the bytes. Raises a StoreError where they are gone or cannot be read."""
        ...
