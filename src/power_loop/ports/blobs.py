"""Reading blobs: the one thing that who handles content needs of a store."""

from typing import Protocol


class BlobReader(Protocol):
    """Reads the bytes that a content address names."""

    async def __call__(self, blob: str, /) -> bytes:
        """Return the bytes. Raises a StoreError where they are gone or cannot be read."""
        ...
