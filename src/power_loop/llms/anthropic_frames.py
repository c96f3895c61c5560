"""Events out of the binary stream in which Amazon Bedrock sends them.

The format is that of AWS event streams (smithy.io, "Amazon Event Stream Specification"): a prelude of total length,
length of the headers and CRC, then headers, payload and a CRC of everything before it; all numbers big-endian.
"""

import base64
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

CONTENT_TYPE = "application/vnd.amazon.eventstream"
MAX_FRAME_BYTES = 24 * 1024 * 1024
"""Longest single frame; the format's own limit is 24 MiB."""
_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_OVERHEAD = _PRELUDE.size + _CRC.size
_STRING = 7
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type; types 6 and 7 carry their length."""


class FrameDecoder:
    """Splits events out of a byte stream, however it was cut into pieces; a frame counts once it is whole."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the JSON of each event that this piece completes.

        An exception of the platform becomes an error event. Raises ValueError for what is no frame.
        """
        buffer = self._tail + piece
        events: list[bytes] = []
        while len(buffer) >= _PRELUDE.size:
            total, headers, crc = _PRELUDE.unpack_from(buffer)
            if crc != zlib.crc32(buffer[:8]) or not headers + _OVERHEAD <= total <= MAX_FRAME_BYTES:
                raise ValueError("a frame of the event stream has a broken head")
            if len(buffer) < total:
                break
            frame, buffer = buffer[:total], buffer[total:]
            if _CRC.unpack(frame[-4:])[0] != zlib.crc32(frame[:-4]):
                raise ValueError("a frame of the event stream has a wrong checksum")
            body = _PRELUDE.size + headers
            events += _event(dict(_headers(frame[_PRELUDE.size : body])), frame[body:-4])
        self._tail = buffer
        return events


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield names and values of the headers that are text."""
    at = 0
    try:
        while at < len(data):
            name = data[at + 1 : at + 1 + data[at]].decode()
            at += 1 + data[at]
            kind = data[at]
            at += 1
            size = _SIZES.get(kind)
            if size is None:
                (size,) = struct.unpack_from(">H", data, at)
                at += 2
            if kind == _STRING:
                yield name, data[at : at + size].decode()
            at += size
    except (IndexError, struct.error) as error:
        raise ValueError("a frame of the event stream has broken headers") from error


def _event(headers: Mapping[str, str], payload: bytes) -> list[bytes]:
    if headers.get(":message-type") in {"exception", "error"}:
        kind = headers.get(":exception-type") or headers.get(":error-code", "")
        message = _said(payload) or headers.get(":error-message", "")
        return [msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})]
    if headers.get(":event-type") != "chunk":
        return []
    try:
        return [base64.b64decode(msgspec.json.decode(payload)["bytes"], validate=True)]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ValueError("a frame of the event stream holds no event") from error


def _said(payload: bytes) -> str:
    try:
        said: Any = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return payload.decode(errors="replace")
    return str(said.get("message") or said.get("Message") or "") if isinstance(said, Mapping) else str(said)
