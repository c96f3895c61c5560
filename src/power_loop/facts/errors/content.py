"""Errors of images and documents."""

from typing import Any

from power_loop.facts.errors.base import InvalidInputError


class ContentError(InvalidInputError):
    """An image or a document cannot be taken. ``source`` says which, without its bytes and without secrets."""

    code = "content_error"

    def __init__(self, message: str, *, source: str = "", **details: Any) -> None:  # noqa: ANN401
        super().__init__(message, source=source, **details)
        self.source = source


class UnsupportedContent(ContentError):
    """Its bytes are of a type that is not supported there; ``details["media_type"]`` where it is known."""

    code = "unsupported_content"


class BrokenContent(ContentError):
    """It is not what it claims to be: undecodable, cut off, encrypted."""

    code = "broken_content"


class ContentTooLarge(ContentError):
    """It is larger than the setting allows; ``details["limit"]`` is in bytes."""

    code = "content_too_large"


class ContentNotAllowed(ContentError):
    """Its path or URL is not one that the host allows."""

    code = "content_not_allowed"


class ContentUnavailable(ContentError):
    """It is allowed and could not be read or fetched."""

    code = "content_unavailable"
