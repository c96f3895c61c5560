"""The entry point of ``power-loop``: checks that the extra is there, and hands over. Imports nothing optional."""

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

_MISSING = "The command line needs the package 'rich'. Install it with: pip install 'power-loop[cli]'"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; ``argv`` None means the process's own arguments. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if find_spec("rich") is None:
        if "--json" in arguments:
            print(json.dumps({"error": {"code": "missing_extra", "message": _MISSING}}))
        else:
            print(f"power-loop: {_MISSING}", file=sys.stderr)
        return 2
    try:
        code: int = import_module("power_loop.cli.app").run_command(arguments)
    except KeyboardInterrupt:  # before or after the command's own handling
        return 130
    return code
