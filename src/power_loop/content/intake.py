"""The intake: reads attachments, each within its bounds, and looks at the bytes before anything else does."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

from power_loop.content.files import read_file
from power_loop.content.pdf import GRACE, broken, can_extract, check_pdf, pdf_text
from power_loop.facts.blobs import blob_id, is_blob_id
from power_loop.facts.errors import (
    BlobNotFound,
    BrokenContent,
    ContentTooLarge,
    ContentUnavailable,
    MissingExtraError,
    UnsupportedContent,
)
from power_loop.facts.media import IMAGES, PDF, PLAIN, media_type_of
from power_loop.facts.messages import Block, Document, Image
from power_loop.ports.blobs import BlobReader
from power_loop.ports.content import Attachment, ContentPolicy, Part, Taken
from power_loop.ports.registry import InThread

_T = TypeVar("_T")
_Fetch: TypeAlias = Callable[[Attachment, str, ContentPolicy, int, InThread], Awaitable[bytes]]
_AT_ONCE = 256 << 10
"""Bytes that are looked at and hashed on the event loop; more of them would hold it up, and go to a thread."""


class Intake:
    """Turns attachments into blocks and blobs.

    ``policy`` is asked each time. ``needs_text`` tells whether the model is known to take no PDF files. ``in_thread``
    runs what blocks.
    """

    def __init__(
        self,
        policy: Callable[[], ContentPolicy] = ContentPolicy,
        needs_text: Callable[[], bool] = lambda: False,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        self._policy = policy
        self._needs_text = needs_text
        self._in_thread = in_thread

    async def take(self, parts: Sequence[Part], blobs: BlobReader) -> Taken:
        """Return the parts with every attachment read, in order; ``blobs`` reads what is stored already.

        Raises a ContentError; MissingExtraError.
        """
        read: dict[str, bytes] = {}
        content = [await self._block(part, blobs, read) if isinstance(part, Attachment) else part for part in parts]
        return Taken(tuple(content), read)

    async def _block(self, attachment: Attachment, stored: BlobReader, blobs: dict[str, bytes]) -> Block:
        policy = self._policy()
        limit = policy.limit(attachment.kind)
        data = await self._read(attachment, stored, policy, limit)
        if len(data) > limit:
            raise too_large(attachment, limit)
        address, media_type = await self._off_loop(len(data), lambda: (blob_id(data), media_type_of(data)))
        _check_type(attachment, data, media_type)
        blobs[address] = data
        if attachment.kind == "image":
            return Image(address, media_type or "", len(data))
        text = await self._text(attachment, data, policy.timeout) if media_type == PDF else None
        text_blob = None
        if text:
            extracted = text.encode()
            text_blob = await self._off_loop(len(extracted), lambda: blob_id(extracted))
            blobs[text_blob] = extracted
        return Document(address, media_type or "", attachment.name, len(data), text_blob)

    async def _read(self, attachment: Attachment, stored: BlobReader, policy: ContentPolicy, limit: int) -> bytes:
        source = attachment.source
        if isinstance(source, bytes):
            return source
        if isinstance(source, Path):
            path = source
            data: bytes = await self._in_thread(lambda: read_file(attachment, path, policy.roots, limit))
            return data
        if is_blob_id(source):
            return await _stored(attachment, source, stored)
        if source[:5].lower() == "data:":
            return await self._off_loop(len(source), lambda: _decoded(attachment, source, limit))
        fetch: _Fetch = import_module("power_loop.content.fetch").fetch  # HTTP is loaded when it is needed
        return await fetch(attachment, source, policy, limit, self._in_thread)

    async def _off_loop(self, size: int, function: Callable[[], _T]) -> _T:
        """Call a pure function where it holds nobody up."""
        if size <= _AT_ONCE:
            return function()
        result: _T = await self._in_thread(function)
        return result

    async def _text(self, attachment: Attachment, data: bytes, seconds: float) -> str | None:
        """Return the text of a PDF file. Raises BrokenContent; MissingExtraError where the text will be needed."""
        if can_extract():
            try:
                async with asyncio.timeout(seconds + GRACE):
                    text: str = await self._in_thread(lambda: pdf_text(attachment, data, seconds))
                    return text
            except TimeoutError as error:
                raise broken(attachment, f"a page of it takes more than {GRACE:g} s to read") from error
        check_pdf(attachment, data)
        if self._needs_text():
            raise MissingExtraError(
                "The model takes no PDF files, and to send their text pypdf is needed: pip install 'power-loop[pdf]'."
            )
        return None


async def _stored(attachment: Attachment, address: str, blobs: BlobReader) -> bytes:
    try:
        return await blobs(address)
    except BlobNotFound as error:
        raise ContentUnavailable(
            f"There are no bytes at {address} that can be used here. Send them.", source=attachment.told
        ) from error


def too_large(attachment: Attachment, limit: int) -> ContentTooLarge:
    """Return the error for what has more bytes than it may have."""
    setting = f"AgentLoopConfig.max_{attachment.kind}_bytes"
    return ContentTooLarge(
        f"{attachment!r} is larger than {limit} bytes, which {setting} allows. Make it smaller, or raise the setting.",
        source=attachment.told,
        limit=limit,
    )


def _check_type(attachment: Attachment, data: bytes, media_type: str | None) -> None:
    fits = media_type in (IMAGES if attachment.kind == "image" else {PDF, PLAIN})
    if fits:
        return
    if not data:
        raise BrokenContent(f"{attachment!r} is empty.", source=attachment.told)
    taken = "PNG, JPEG, GIF or WebP" if attachment.kind == "image" else "PDF or UTF-8 text"
    other = "document()" if media_type in {PDF, PLAIN} else "image()" if media_type in IMAGES else ""
    raise UnsupportedContent(
        f"{attachment!r} is {media_type or 'of an unknown type'} by its first bytes; {taken} is taken. "
        + (f"Send it with {other}." if other else "Convert it first."),
        source=attachment.told,
        media_type=media_type,
    )


def _decoded(attachment: Attachment, url: str, limit: int) -> bytes:
    """Decode a ``data:`` URL (RFC 2397). The type that it declares is not believed."""
    head, comma, body = url.partition(",")
    if not comma:
        raise BrokenContent(f"{attachment!r} has no comma before its data.", source=attachment.told)
    if len(body) > limit * 4:
        raise too_large(attachment, limit)
    raw = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except binascii.Error as error:
        raise BrokenContent(f"{attachment!r} is not valid base64: {error}", source=attachment.told) from error
