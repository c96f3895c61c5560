"""Words: what of an entry can be searched, and which words stand in a text.

Made here and not by a database's tokenizer, so that every store finds the same, and a database needs no more than to
compare words byte by byte. Scripts that do not put spaces between words count each character as one, so that
any part of a sentence is found.
"""

import re
import unicodedata
from functools import cache
from typing import Any

import msgspec

from power_loop.facts import jsontext

MAX_TEXT = 100_000
"""Characters of an entry's text that are searched."""
_MAX_WORD = 64
_BEFORE, _AFTER = 80, 160

# Thai to Lao, Myanmar, Khmer, kana, Han, Hangul
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_INDIC = "\u0900-\u0963\u0966-\u0dff"  # whose vowel signs are no letters to ``re``
_ACCENTS = "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670]+"


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what a word is and what an accent is; compiled when first needed, since that takes its time."""
    return re.compile(f"[{_SPACELESS}]|(?:[^\\W_{_SPACELESS}]|[{_INDIC}])+"), re.compile(_ACCENTS)


def words_of(text: str) -> list[str]:
    """Return the words of a text in order, without their differences of form (NFKC), case and accents."""
    word, accents = _patterns()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", accents.sub("", unicodedata.normalize("NFKD", text)))
    return [found[:_MAX_WORD] for found in word.findall(text.casefold())]


def phrases_of(query: str) -> list[str]:
    """Return what must stand in a text for each of a query's words, in words joined by one space."""
    return [" ".join(words) for words in map(words_of, query.split()) if words]


def has_phrases(text: str, phrases: list[str]) -> bool:
    """Tell whether every phrase stands in a text; its last word may be the beginning of one there."""
    padded = " " + " ".join(words_of(text))
    return all(f" {phrase}" in padded for phrase in phrases)


def excerpt(text: str, query: str) -> str:
    """Return the part of a text around the first word of a query that is found in it, else its beginning."""
    folded = text.casefold()
    places = [folded.find(word.casefold()) for word in query.split()]
    start = max(min((place for place in places if place >= 0), default=0) - _BEFORE, 0)
    return text[start : start + _BEFORE + _AFTER]


def searchable(kind: str, body: str) -> str:
    """Return what an entry says, for search; empty for kinds that say nothing and for bodies that cannot be read."""
    fields = _FIELDS.get(kind)
    if fields is None:
        return ""
    try:
        values = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return ""
    parts = [part for field in fields for part in _texts(values.get(field))]
    return "\n".join(part for part in parts if part)[:MAX_TEXT]


_FIELDS: dict[str, tuple[str, ...]] = {
    "input_received": ("content",),
    "model_replied": ("content", "calls"),
    "reply_edited": ("content", "calls"),
    "tool_finished": ("content",),
    "result_edited": ("content",),
    "note": ("text",),
    "compacted": ("summary",),
}
SEARCHED = frozenset(_FIELDS)
"""The kinds of entries that say something."""


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return []
    return [_text_of_item(item) for item in value if isinstance(item, dict)]


def _text_of_item(item: dict[str, Any]) -> str:
    """Return what a content block or a recorded call says; what a model thought is not said."""
    if "type" in item:
        return str(item.get("text", "")) if item["type"] == "text" else str(item.get("name", ""))
    said = item.get("raw") or jsontext.encode(item.get("arguments", {}))
    return f"{item.get('name', '')} {said}"
