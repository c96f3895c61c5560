import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_helpers import StandIn

from power_loop.cli.main import main

TOOLS = """
import threading
from power_loop import ToolContext, tool

@tool(effect="read")
def measure(context: ToolContext, unit: str) -> str:
    "Measure."
    context.progress("half way")
    return f"21 {unit}"

@tool(effect="read")
def stuck(context: ToolContext) -> str:
    "Hang in the first attempt."
    if context.attempt == 1:
        threading.Event().wait()
    return "free again"
"""


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with StandIn() as stand_in:
        monkeypatch.setenv("OPENAI_BASE_URL", stand_in.server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield stand_in


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with tools of its own."""
    (tmp_path / "cli_test_tools.py").write_text(TOOLS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def cli(place: Path, capsys: pytest.CaptureFixture[str]):
    """Call the command line in this process; gives exit code, stdout and stderr."""

    def call(*argv: str) -> SimpleNamespace:
        path = list(sys.path)
        try:
            code = main(argv)
        finally:
            sys.path[:] = path
            sys.modules.pop("cli_test_tools", None)
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err, json=lambda: json.loads(out))

    return call


@pytest.fixture
def child(place: Path):
    """Start the command line in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "power_loop", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=place,
            env=os.environ | {"PYTHONWARNINGS": "error"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
