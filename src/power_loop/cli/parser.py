"""Commands and options, as argparse knows them."""

import argparse
from functools import partial
from typing import NoReturn

from power_loop import __version__
from power_loop.cli.care_parser import add_care
from power_loop.cli.exits import UsageError
from power_loop.face.config import DEFAULT_DB_PATH

_CODES = """\
exit codes:
  0    done
  1    the run ended otherwise: degraded, error, cancelled, round limit, budget,
       full context, pending tools, crash loop; or the demo failed
  2    usage or configuration
  3    session not found, ambiguous, busy, or with unfinished calls
  4    store error
  130  interrupted; the session can be resumed
"""
_MODEL = (
    "openai:NAME, openai-responses:NAME, anthropic:NAME, openai-compat:NAME, local or local:FILE.gguf "
    "(default: what POWER_LOOP_MODEL and its kin configure, else local)"
)
_TOOL = (
    "a tool to offer: a function, @tool or ToolRegistry of a module, also in the working directory; repeatable. "
    "None is offered unless named; power_loop.cli.tools:current_time is one to try"
)
_SESSION = "a session's id, its beginning, or 'last'"


class Parser(argparse.ArgumentParser):
    """Raises UsageError instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError naming the command whose help tells more."""
        raise UsageError(f"{message}. See: {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the parsed namespace has ``command`` and the command's options."""
    parser = Parser(
        prog="power-loop",
        description="Durable agent sessions from the command line.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"power-loop {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    shared = _shared()
    _add_demo(commands, shared)
    _add_run(commands, shared)
    _add_resume(commands, shared)
    _add_looks(commands, shared)
    for care in add_care(partial(commands.add_parser, parents=[shared]), _SESSION, _count):
        _db(care)
    return parser


_Commands = argparse._SubParsersAction  # noqa: SLF001 -- argparse gives the type no public name


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return number


def _shared() -> Parser:
    shared = Parser(add_help=False)
    shared.add_argument("--json", action="store_true", help="one JSON document on stdout, and nothing else")
    shared.add_argument("--no-color", action="store_true", help="no colours; NO_COLOR in the environment does the same")
    return shared


def _db(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db", metavar="PATH", default=DEFAULT_DB_PATH, help="the database (default: %(default)s)")


def _driving(parser: argparse.ArgumentParser) -> None:
    _db(parser)
    parser.add_argument("--model", metavar="PROVIDER:NAME", help=_MODEL)
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before the conversation")
    parser.add_argument("--max-rounds", metavar="N", type=_count, help="rounds per input (default: 24)")
    parser.add_argument("--max-tokens", metavar="N", type=_count, help="cap of one reply (default: the provider's)")
    parser.add_argument("--tool", metavar="MODULE:NAME", action="append", default=[], help=_TOOL)


def _add_demo(commands: "_Commands[Parser]", shared: Parser) -> None:
    demo = commands.add_parser(
        "demo",
        parents=[shared],
        help="kill a session in the middle, finish it in another process, count what ran",
        description="Runs a session in a process that is killed with SIGKILL between two tool calls, finishes it in "
        "another process, and checks from the journal and a ledger outside it that nothing was done twice.",
    )
    demo.add_argument("--model", metavar="PROVIDER:NAME", default="local", help="the model (default: %(default)s)")
    demo.add_argument("--keep", metavar="DIR", help="keep database, ledger and logs in this new or empty folder")


def _add_run(commands: "_Commands[Parser]", shared: Parser) -> None:
    run = commands.add_parser("run", parents=[shared], help="give a task to a new session, or to one with --session")
    run.add_argument("task", metavar="TASK", help="what to do; '-' reads it from stdin")
    run.add_argument("--session", metavar="ID", help=f"the session to continue: {_SESSION}")
    _driving(run)


def _add_resume(commands: "_Commands[Parser]", shared: Parser) -> None:
    resume = commands.add_parser("resume", parents=[shared], help="continue a session where its last run stopped")
    resume.add_argument("session", metavar="SESSION", help=_SESSION)
    resume.add_argument("--force", action="store_true", help="try again after a crash loop")
    _driving(resume)


def _add_looks(commands: "_Commands[Parser]", shared: Parser) -> None:
    sessions = commands.add_parser("sessions", parents=[shared], help="list sessions and what each waits for")
    sessions.add_argument(
        "--limit", metavar="N", type=_count, default=100, help="at most so many (default: %(default)s)"
    )
    _db(sessions)
    show = commands.add_parser("show", parents=[shared], help="print a session's conversation and journal")
    show.add_argument("session", metavar="SESSION", help=_SESSION)
    _db(show)
