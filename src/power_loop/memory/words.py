"""From text to words that a full-text index can hold and find, in any script.

Scripts that are written without spaces are cut into single characters and pairs of neighbours, so that a word of
two characters is found inside a sentence. Case, accents and English endings are the index's own business.
"""

import re
import unicodedata
from collections.abc import Iterator

MAX_QUERY_WORDS = 48
"""Words of a query that are looked for."""

_WORD = re.compile(r"\w+")
_SPACELESS = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003fffd]+)"
)
_COMMON = """
    a about again all also am an and any are as at be been but by can could did do does doing done for from get got
    had has have he her here him his how i if in into is it its just know let like make may me might more most much
    must my need no not now of on one only or other our out over please say she should so some such tell than that
    the their them then there these they this those to too up us use very want was we were what when where which
    who why will with would you your yes don t s re ve ll m d
"""
_STOP_WORDS = frozenset(_COMMON.split())


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each word, and whether it is a run of a script without spaces."""
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        for place, part in enumerate(_SPACELESS.split(word)):
            if part:
                yield part, place % 2 == 1


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)]


def terms_of(text: str) -> str:
    """Return the words of a text as the index stores them, with spaces between them."""
    terms: list[str] = []
    for word, spaceless in _words(text):
        terms += [*word, *_pairs(word)] if spaceless else [word]
    return " ".join(terms)


def query_of(text: str) -> str:
    """Return an FTS5 query that finds what shares a word with ``text``; empty where it has no telling word.

    Every word is quoted: nothing in it is FTS5 syntax. Common English words are left out, and so is what is
    beyond the first words of a long text.
    """
    found: dict[str, None] = {}
    for word, spaceless in _words(text):
        if spaceless:
            found.update(dict.fromkeys(_pairs(word) or [word]))
        elif word not in _STOP_WORDS:
            found[word] = None
        if len(found) >= MAX_QUERY_WORDS:
            break
    return " OR ".join(f'"{word}"' for word in list(found)[:MAX_QUERY_WORDS])
