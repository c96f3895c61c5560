"""``python -m power_loop``: the same as ``power-loop``."""

from power_loop.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
