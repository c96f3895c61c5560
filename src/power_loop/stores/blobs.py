"""Blobs at the border of every store: nothing is stored under an address that is not its own."""

import asyncio
from collections.abc import Iterable, Mapping

from power_loop.facts.blobs import blob_id, blobs_in, is_blob_id
from power_loop.facts.errors import BlobNotFound, InvalidInputError, StoreCorrupt
from power_loop.ports.store import MAX_BLOB_BYTES

_HASHED_AT_ONCE = 256 << 10
"""Bytes that are hashed on the event loop; more of them would hold it up, and go to a thread."""


async def check_blobs(blobs: Mapping[str, bytes]) -> None:
    """Check that bytes are what their addresses say. Raises InvalidInputError."""
    if sum(map(len, blobs.values())) <= _HASHED_AT_ONCE:
        _check(blobs)
    else:
        await asyncio.to_thread(_check, blobs)


def _check(blobs: Mapping[str, bytes]) -> None:
    for address, data in blobs.items():
        if len(data) > MAX_BLOB_BYTES:
            raise InvalidInputError(f"A blob of {len(data)} bytes is too large; {MAX_BLOB_BYTES} are the most.")
        if blob_id(data) != address:
            raise InvalidInputError(
                f"{address!r} is not the address of these {len(data)} bytes: that is {blob_id(data)}."
            )


def check_address(address: str, path: str) -> None:
    """Refuse what names no blob. Raises BlobNotFound."""
    if not is_blob_id(address):
        raise not_found(address, path)


def check_stored(address: str, data: bytes, path: str) -> bytes:
    """Return stored bytes. Raises StoreCorrupt where they are not what the address says."""
    if blob_id(data) != address:
        raise StoreCorrupt(f"The blob {address} in {path} does not match its address.", path=path, blob=address)
    return data


def not_found(address: str, path: str) -> BlobNotFound:
    """Return the error for a blob that is not there."""
    return BlobNotFound(f"No blob {address!r} in {path}.", path=path, blob=address)


def let_go(gone: Iterable[str], kept: Iterable[str]) -> set[str]:
    """Return the addresses that texts mentioned which are gone, and that none of the kept ones mentions."""
    released = {address for text in gone for address in blobs_in(text)}
    if released:
        for text in kept:
            released -= blobs_in(text)
    return released
