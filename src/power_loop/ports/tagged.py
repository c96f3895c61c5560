"""Text between tags, for what the model reads and did not come from the host."""

import re


def tagged(tag: str, body: str) -> str:
    """Return ``body`` between ``<tag>`` and ``</tag>``; tags of the same name inside it are defused."""
    defused = re.sub(rf"<(?=\s*/?\s*{re.escape(tag)}\b)", "&lt;", body, flags=re.IGNORECASE)
    return f"<{tag}>\n{defused}\n</{tag}>"


def is_tagged(tag: str, text: str) -> bool:
    """Tell whether a text is what :func:`tagged` made."""
    return text.startswith(f"<{tag}>\n") and text.endswith(f"\n</{tag}>")
