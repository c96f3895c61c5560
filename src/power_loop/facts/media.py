"""What bytes are, told by the bytes themselves: names and declared types are hearsay."""

PDF = "application/pdf"
PLAIN = "text/plain"
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What the providers' image inputs have in common."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", PDF),
)
_NOT_IN_TEXT = bytes(set(range(32)) - set(b"\t\n\r\f\x1b"))


def media_type_of(data: bytes) -> str | None:
    """Return the media type of PNG, JPEG, GIF, WebP, PDF and of UTF-8 text without control characters; else None."""
    for magic, media_type in _MAGIC:
        if data.startswith(magic):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return PLAIN if data and _is_text(data) else None


def _is_text(data: bytes) -> bool:
    if len(data.translate(None, _NOT_IN_TEXT)) < len(data):
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
