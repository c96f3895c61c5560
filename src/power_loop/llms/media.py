"""What images and documents of a request become on a wire: their bytes read beforehand, since encoders do not wait."""

import base64
from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from power_loop.facts.errors import InvalidRequestError
from power_loop.facts.media import PDF
from power_loop.facts.messages import AgentMessage, Block, Document, Image, Text
from power_loop.ports.llm import LLMRequest

Documents: TypeAlias = Literal["native", "text"]
"""How PDF files are sent: as they are, or as the text that was extracted from them."""
Media: TypeAlias = Mapping[str, bytes]
"""Bytes by content address."""
NO_MEDIA: Final[Media] = MappingProxyType({})

_NAMELESS = "unnamed"


def is_native(document: Document, documents: Documents) -> bool:
    """Tell whether the document is sent as a file."""
    return documents == "native" and document.media_type == PDF


def media_in(message: AgentMessage) -> list[Image | Document]:
    """Return the images and documents of a message, in order."""
    if isinstance(message.content, str):
        return []
    return [block for block in message.content if isinstance(block, Image | Document)]


def shown_in(message: AgentMessage) -> list[Text | Image | Document]:
    """Return what of a message's content is sent as parts, in order: text that is not empty, images, documents."""
    if isinstance(message.content, str):
        return []
    return [
        block
        for block in message.content
        if isinstance(block, Image | Document) or (isinstance(block, Text) and block.text)
    ]


async def media_of(
    request: LLMRequest, known: Container[AgentMessage] = (), *, documents: Documents = "native"
) -> Media:
    """Read the bytes that the request's images and documents need on the wire, each blob once.

    Messages in ``known`` were converted before and need none. ``documents`` is what the encoder will do with PDF
    files. Raises InvalidRequestError where there is something to read and the request brings no reader, and what the
    reader raises.
    """
    wanted: dict[str, None] = {}
    for message in request.messages:
        if isinstance(message.content, str) or message in known:
            continue
        for block in media_in(message):
            blob = _blob_of(block, documents)
            if blob is not None:
                wanted[blob] = None
    if not wanted:
        return {}
    if request.blobs is None:
        raise InvalidRequestError(
            f"The request refers to {next(iter(wanted))} and has nothing to read it with. Pass LLMRequest(blobs=...)."
        )
    return {blob: await request.blobs(blob) for blob in wanted}


def _blob_of(block: Image | Document, documents: Documents) -> str | None:
    if isinstance(block, Image) or is_native(block, documents):
        return block.blob
    return block.text_blob or (block.blob if block.media_type.startswith("text/") else None)


def base64_of(block: Image | Document, media: Media) -> str:
    """Return the block's bytes in base64."""
    return base64.b64encode(media[block.blob]).decode()


def data_url(block: Image | Document, media: Media) -> str:
    """Return the block as a ``data:`` URL (RFC 2397)."""
    return f"data:{block.media_type};base64,{base64_of(block, media)}"


def file_name(document: Document) -> str:
    """Return a name for the file; providers ask for one."""
    return document.name or ("document.pdf" if document.media_type == PDF else "document")


def document_text(document: Document, media: Media) -> str:
    """Return the document as text under a line that names the file.

    A document without text is named all the same, so that the model knows of it and the session stays valid.
    """
    blob = _blob_of(document, "text")
    head = f"File {document.name or _NAMELESS!r} ({document.media_type})"
    if blob is None:
        return f"[{head}: this model cannot read it, and no text was extracted.]"
    return f"[{head}, as text:]\n{media[blob].decode(errors='replace')}"


def with_text(block: Block, documents: Documents, media: Media) -> Block:
    """Return a document that is not sent as a file as the text that stands for it; anything else as it is."""
    if isinstance(block, Document) and not is_native(block, documents):
        return Text(document_text(block, media))
    return block
