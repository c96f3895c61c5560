"""Server-sent events (WHATWG HTML, section 9.2) out of a byte stream. Knows nothing of what they carry."""

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Longest single event; a stream without line ends must not fill the memory."""


class EventDecoder:
    """Splits server-sent events out of a byte stream, however it was cut into pieces.

    An event counts once the blank line behind it has arrived, as the SSE standard says. Only ``data`` is kept.
    """

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of each event that this piece completes. Raises ValueError past MAX_EVENT_BYTES."""
        buffer = self._tail + piece if self._tail else piece
        held = b""
        if b"\r" in buffer:
            if buffer.endswith(b"\r"):
                buffer, held = buffer[:-1], b"\r"
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *events, rest = buffer.split(b"\n\n")
        if len(rest) > MAX_EVENT_BYTES:
            raise ValueError(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        self._tail = rest + held
        return [data for event in events if (data := _data_of(event))]


def _data_of(event: bytes) -> bytes:
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:].strip()
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
