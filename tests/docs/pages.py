"""The pages of the documentation, and the fenced blocks in them.

An HTML comment directly above a block says how it is treated:

    <!-- file: NAME -->        write it to NAME in the page's folder, for blocks below
    <!-- run -->               execute this bash block in the page's folder
    <!-- output -->            what the block above printed, '...' standing for anything
    <!-- not run: REASON -->   leave it alone

Without one, python blocks are executed and bash blocks are looked through.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    line: int
    language: str
    text: str
    note: str


def blocks(text: str) -> list[Block]:
    return [
        Block(text.count("\n", 0, found.start("text")), found["language"], found["text"], found["note"] or "")
        for found in _BLOCK.finditer(text)
    ]


def prose(text: str) -> str:
    """The page without its blocks."""
    return _BLOCK.sub("", text)


def table_rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
