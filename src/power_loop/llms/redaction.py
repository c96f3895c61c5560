"""Taking secrets out of text, before it goes where people read it."""

import re
from collections.abc import Iterable

_SHORTEST_SECRET = 6
_SECRETS = (
    (r"(?<=://)[^/\s@?#]+@", "***@"),
    (r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}", r"\1 ***"),
    (r"\bsk-[\w*-]{6,}", "sk-***"),
    (
        r"(?i)(\b(?:api[-_ ]?key|access[-_]?token|token|password|secret)\b[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]{6,}",
        r"\1***",
    ),
    (r"(?i)([?&](?:key|sig|signature|code)=)[^\s&#\"']+", r"\1***"),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without the given secrets and without whatever looks like one.

    Covers URL credentials, authorization values, ``sk-`` keys and ``key=value`` forms. Secrets shorter than six
    characters are placeholders of keyless servers and stay.
    """
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    for pattern, replacement in _SECRETS:
        text = re.sub(pattern, replacement, text)
    return text
