"""Commands and options that look after what is stored, as argparse knows them."""

import argparse
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_LONGEST = 36_500 * 86_400
"""Seconds of a hundred years: nothing is older."""

AddCommand = Callable[..., argparse.ArgumentParser]


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; say for instance 30d, 12h or 90m (s, m, h, d, w)")
    return timedelta(seconds=min(int(found[1]) * _UNITS[found[2]], _LONGEST))


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d{1,15})\s?([kmg]?i?b)?", text, re.ASCII | re.IGNORECASE)
    unit = None if found is None else _BYTES.get((found[2] or "").lower())
    if found is None or unit is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; say for instance 500MB, 2GiB or 1000000")
    return int(found[1]) * unit


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def add_care(add: AddCommand, session: str, count: Callable[[str], Any]) -> list[argparse.ArgumentParser]:
    """Add the commands; ``session`` is the help for a session's id, ``count`` reads a number from 1."""
    return [
        _stats(add("stats", help="measure sessions and the database, in bytes"), session),
        _search(add("search", help="find what was said, newest first"), session, count),
        _prune(
            add(
                "prune",
                help="delete ended sessions by age, size or number",
                description="Deletes ended sessions, longest unchanged first: never one that runs or waits. With "
                "--session: what compactions of that one have folded away.",
            ),
            session,
        ),
        _erase(add("erase", help="erase the content of one message"), session),
        _export(add("export", help="write a session and its children to a file"), session),
        _import(add("import", help="create the sessions of such a file")),
        add("vacuum", help="give free space back to the file system"),
    ]


def _stats(parser: argparse.ArgumentParser, session: str) -> argparse.ArgumentParser:
    parser.add_argument("session", metavar="SESSION", nargs="?", help=f"only this one: {session}")
    return parser


def _search(parser: argparse.ArgumentParser, session: str, count: Callable[[str], Any]) -> argparse.ArgumentParser:
    parser.add_argument(
        "words", metavar="WORD", nargs="+", help="what must stand in it; may be the beginning of a word"
    )
    parser.add_argument("--session", metavar="ID", help=f"only in this one: {session}")
    parser.add_argument("--limit", metavar="N", type=count, default=20, help="at most so many (default: %(default)s)")
    return parser


def _prune(parser: argparse.ArgumentParser, session: str) -> argparse.ArgumentParser:
    parser.add_argument("--older-than", metavar="AGE", type=_age, help="unchanged for longer: 30d, 12h, 90m")
    parser.add_argument("--max-size", metavar="SIZE", type=_size, help="until the content is at most this: 500MB, 2GiB")
    parser.add_argument("--keep-last", metavar="N", type=_whole, help="keep so many of the newest, whatever else holds")
    parser.add_argument("--session", metavar="ID", help=f"what was folded away in this one: {session}")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would go")
    return parser


def _erase(parser: argparse.ArgumentParser, session: str) -> argparse.ArgumentParser:
    parser.add_argument("session", metavar="SESSION", help=session)
    parser.add_argument(
        "seq", metavar="ENTRY", type=_whole, help="the number of its entry, as show and search print it"
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="kept with the record of the erasure")
    return parser


def _export(parser: argparse.ArgumentParser, session: str) -> argparse.ArgumentParser:
    parser.add_argument("session", metavar="SESSION", help=session)
    parser.add_argument("file", metavar="FILE", help="a new file, of JSON lines")
    return parser


def _import(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("file", metavar="FILE", help="a file that export wrote")
    parser.add_argument("--as", metavar="ID", dest="as_id", help="another id, for a file of one session")
    return parser
