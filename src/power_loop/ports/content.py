"""The content port: what hosts and tools hand in as images and documents, and who turns it into blocks and bytes."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from power_loop.facts.blobs import is_blob_id
from power_loop.facts.errors import InvalidInputError
from power_loop.facts.jsontext import clean
from power_loop.facts.messages import Block, Text
from power_loop.ports.blobs import BlobReader

MAX_IMAGE_BYTES = 20 << 20
"""Bytes an image may have by default: what OpenAI documents for one. Some providers take less (Anthropic: 5 MB)."""
MAX_DOCUMENT_BYTES = 32 << 20
"""Bytes a document may have by default: what Anthropic documents for a request, and so for a PDF file in it."""

AttachmentKind: TypeAlias = Literal["image", "document"]
Source: TypeAlias = bytes | Path | str

_SCHEMES = ("https:", "http:", "data:")


class Attachment:
    """An image or a document that has not been read yet. Make it with :func:`image` or :func:`document`.

    ``source`` is its bytes, a path, a URL, or the content address of bytes that the store holds. No struct, so that it
    has no JSON form: where a tool hides one in other data, that is an error and not its bytes in base64.
    """

    __slots__ = ("kind", "name", "source")

    def __init__(self, kind: AttachmentKind, source: Source, name: str = "") -> None:
        self.kind = kind
        self.source = source
        self.name = clean(name)[0]

    def __repr__(self) -> str:
        return f"<{self.kind} {self.told}>"

    @property
    def told(self) -> str:
        """The source in a few words, without bytes, and without the query of a URL, which may hold secrets."""
        if isinstance(self.source, bytes):
            return f"{self.name or 'bytes'} ({len(self.source)} bytes)"
        text = str(self.source)
        if text.startswith("data:"):
            return f"{self.name or 'data URL'} ({len(text)} characters)"
        return text.partition("?")[0][:200] if text.startswith(_SCHEMES) else text[:200]


Part: TypeAlias = Block | Attachment


def image(source: bytes | bytearray | memoryview | os.PathLike[str] | str) -> Attachment:
    """Return an image for ``send``, or for a tool to return: PNG, JPEG, GIF or WebP.

    Args:
        source: Its bytes; a ``Path``, which must lie in ``AgentLoopConfig.content_roots``; a ``data:`` URL; an
            ``https:`` URL, whose host must be in ``AgentLoopConfig.content_hosts``; or a content address.

    Nothing is read before it is sent. Raises InvalidInputError for another kind of source.
    """
    return Attachment("image", _source(source))


def document(source: bytes | bytearray | memoryview | os.PathLike[str] | str, *, name: str = "") -> Attachment:
    """Return a document for ``send``, or for a tool to return: PDF, or UTF-8 text.

    Args:
        source: As for :func:`image`.
        name: What the model is told that the file is called; by default the last part of its path or URL.

    Raises InvalidInputError for another kind of source.
    """
    taken = _source(source)
    if not name and isinstance(taken, Path):
        name = taken.name
    elif not name and isinstance(taken, str) and taken.startswith(("https:", "http:")):
        name = taken.partition("?")[0].partition("#")[0].rpartition("/")[2][:200]
    return Attachment("document", taken, name)


def _source(source: object) -> Source:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, os.PathLike):
        return Path(source)
    if isinstance(source, str) and (source.lower().startswith(_SCHEMES) or is_blob_id(source)):
        return source
    if isinstance(source, str):
        raise InvalidInputError(f"{source[:80]!r} is no URL. For a file pass Path(...), for content its bytes.")
    raise InvalidInputError(f"Expected bytes, a Path or a URL, got {type(source).__name__}. Read the file first.")


class Taken(NamedTuple):
    """Parts that were read: as blocks, in order, with the bytes that they refer to by address."""

    content: tuple[Block, ...]
    blobs: Mapping[str, bytes]


class ContentIntake(Protocol):
    """Reads attachments."""

    async def take(self, parts: Sequence[Part], blobs: BlobReader) -> Taken:
        """Return the parts with every attachment read, in order; ``blobs`` reads what is stored already.

        Raises a ContentError; MissingExtraError.
        """
        ...


class NoIntake:
    """Takes no attachments; for engines that are put together without a face."""

    async def take(self, parts: Sequence[Part], blobs: BlobReader) -> Taken:  # noqa: ARG002 -- the port's own
        """Refuse the first attachment."""
        for part in parts:
            if isinstance(part, Attachment):
                raise InvalidInputError(f"{part!r} cannot be taken here: no content intake was set up.")
        return Taken(tuple(part for part in parts if not isinstance(part, Attachment)), {})


class ContentPolicy(msgspec.Struct, frozen=True):
    """What may be read. Sizes are in bytes, ``timeout`` (for one attachment) in seconds."""

    roots: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    max_image: int = MAX_IMAGE_BYTES
    max_document: int = MAX_DOCUMENT_BYTES
    timeout: float = 30.0

    def limit(self, kind: AttachmentKind) -> int:
        """Return how many bytes an attachment of this kind may have."""
        return self.max_image if kind == "image" else self.max_document


def part_from(value: Any) -> Part | None:  # noqa: ANN401 -- whatever stands in a list of parts
    """Return the block or attachment that an OpenAI-style content part stands for; None for anything else.

    Known are the parts of Chat Completions (``text``, ``image_url``, ``file``) and of Responses (``input_text``,
    ``input_image``, ``input_file``). Raises InvalidInputError for a known part without what it needs, and for files
    that a provider keeps (``file_id``).
    """
    if isinstance(value, Attachment | Block):
        return value
    kind = value.get("type") if isinstance(value, Mapping) else None
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    return None if reader is None else reader(value)


def _text_part(part: Mapping[str, Any]) -> Part:
    text = part.get("text")
    if not isinstance(text, str):
        raise InvalidInputError(f"A {part['type']!r} part needs 'text'.")
    return Text(text)


def _image_part(part: Mapping[str, Any]) -> Part:
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, Mapping) else given
    if not isinstance(url, str):
        raise InvalidInputError(f"A {part['type']!r} part needs a URL in 'image_url'; provider file ids are not taken.")
    return image(url)


def _file_part(part: Mapping[str, Any]) -> Part:
    given = part.get("file", part)
    fields = given if isinstance(given, Mapping) else {}
    data = fields.get("file_data") or fields.get("file_url")
    if not isinstance(data, str):
        raise InvalidInputError(
            f"A {part['type']!r} part needs 'file_data' or 'file_url'; provider file ids are not taken."
        )
    if not data.lower().startswith(_SCHEMES) and not is_blob_id(data):
        data = f"data:;base64,{data}"
    return document(data, name=str(fields.get("filename") or ""))


_READERS: dict[str, Callable[[Mapping[str, Any]], Part]] = {
    "text": _text_part,
    "input_text": _text_part,
    "image_url": _image_part,
    "input_image": _image_part,
    "file": _file_part,
    "input_file": _file_part,
}
