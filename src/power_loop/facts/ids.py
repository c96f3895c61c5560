"""Identifiers: UUIDv7 (RFC 9562) as 26 characters of Crockford base32, with a prefix that names the kind."""

import os
import re
import time

_CALL = re.compile(r"call_(\d{1,18})_\d{1,9}", re.ASCII)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """Return a new id such as ``sess_01k9…``: sortable by creation time, unique without coordination."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76  # version 7
    value = value & ~(0x3 << 62) | 0x2 << 62  # RFC variant
    return f"{prefix}_" + "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def call_id(seq: int, index: int) -> str:
    """Return the kernel's id of call ``index`` of the reply at ``seq``; unique within its session."""
    return f"call_{seq}_{index}"


def reply_of(call: str) -> int | None:
    """Return the seq of the reply that a call id names; None for text that is no call id."""
    found = _CALL.fullmatch(call)
    return int(found[1]) if found else None


def idempotency_key(session_id: str, call: str) -> str:
    """Return the key that every attempt of one tool call hands to the outside world."""
    return f"{session_id}.{call}"
