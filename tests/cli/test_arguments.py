"""Arguments and environment: every mistake is one line, or one document, with exit code 2."""

import subprocess
import sys

import pytest

from power_loop.cli.exits import Exit, error_line, exit_of
from power_loop.cli.screen import Screen
from power_loop.facts import errors
from power_loop.testing.faulty_server import text_reply


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "COMMAND"),
        (("dance",), "invalid choice: 'dance'"),
        (("run",), "TASK"),
        (("run", "hi", "--max-rounds", "0"), "'0' is not a whole number from 1"),
        (("run", "hi", "--max-rounds", "many"), "'many' is not a whole number from 1"),
        (("run", "hi", "--frobnicate"), "--frobnicate"),
        (("run", " "), "TASK is empty"),
        (("run", "hi", "--model", "nobody:x"), "Unknown model provider 'nobody'"),
        (("run", "hi", "--model", "openai:"), "names no model"),
        (("run", "hi", "--db", ":memory:"), "forget"),
        (("run", "hi", "--tool", "nowhere"), "MODULE:NAME"),
        (("run", "hi", "--tool", "no_such_module:x"), "no_such_module"),
        (("run", "hi", "--tool", "cli_test_tools:nothing"), "nothing"),
        (("run", "hi", "--tool", "cli_test_tools:TOOLS_ARE_NOT_TEXT"), "TOOLS_ARE_NOT_TEXT"),
        (("demo", "--keep", "."), "not empty"),
        (("demo", "--model", "nobody:x"), "Unknown model provider"),
    ],
)
def test_a_mistake_is_one_line(cli, place, argv, words):
    done = cli(*argv)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("power-loop: ")
    assert words in done.err
    assert done.err.count("\n") == 1
    assert not (place / "power_loop_sessions.db").exists()


def test_a_mistake_is_one_document(cli):
    done = cli("run", "--json")
    assert (done.code, done.err) == (2, "")
    assert done.json()["error"]["code"] == "usage"
    assert "TASK" in done.json()["error"]["message"]


def test_the_environment_names_the_model(cli, model, monkeypatch):
    monkeypatch.setenv("POWER_LOOP_MODEL", "stand-in")
    monkeypatch.setenv("POWER_LOOP_BASE_URL", model.server.base_url)
    model.says(text_reply("from the environment"))
    assert cli("run", "hi").out == "from the environment\n"
    assert model.server.requests[0].json["model"] == "stand-in"


def test_a_wrong_setting_in_the_environment_is_named(cli, monkeypatch):
    monkeypatch.setenv("POWER_LOOP_MODEL", "m")
    monkeypatch.setenv("POWER_LOOP_TIMEOUT_S", "soon")
    done = cli("run", "hi")
    assert done.code == 2
    assert "POWER_LOOP_TIMEOUT_S" in done.err


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_without_rich_it_says_which_extra_to_install(cli, monkeypatch, extra):
    monkeypatch.setitem(sys.modules, "rich", None)
    done = cli("sessions", *extra)
    assert done.code == 2
    assert "pip install 'power-loop[cli]'" in (done.json()["error"]["message"] if extra else done.err)


def test_the_entry_point_needs_nothing_optional():
    code = "import sys, power_loop.cli.main; sys.exit('rich' in sys.modules or 'openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unexpected_error_is_one_line(cli, place, monkeypatch):
    (place / "explodes.py").write_text("raise RuntimeError('boom\\nbang')")
    done = cli("run", "hi", "--tool", "explodes:x")
    assert (done.code, done.out) == (1, "")
    assert done.err == "power-loop: Unexpected RuntimeError: boom bang (set POWER_LOOP_DEBUG=1 to see where)\n"
    monkeypatch.setenv("POWER_LOOP_DEBUG", "1")
    with pytest.raises(RuntimeError):
        cli("run", "hi", "--tool", "explodes:x")


@pytest.mark.parametrize("argv", [("--help",), ("run", "--help"), ("demo", "--help"), ("--version",)])
def test_help_and_version(cli, argv):
    done = cli(*argv)
    assert done.code == 0
    assert "power-loop" in done.out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), Exit.USAGE),
        (errors.MissingExtraError("x"), Exit.USAGE),
        (errors.SessionNotFoundError("x"), Exit.SESSION),
        (errors.SessionBusy("x", owner="y", until=0), Exit.SESSION),
        (errors.StoreFull("x"), Exit.STORE),
        (errors.HookError("x"), Exit.ENDED_OTHERWISE),
        (ValueError("x"), Exit.ENDED_OTHERWISE),
    ],
)
def test_exit_codes(error, code):
    assert exit_of(error) is code
    assert "\n" not in error_line(error)


def test_colour_only_where_it_is_wanted(model, place, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not Screen().out.no_color
    assert Screen(no_color=True).out.no_color
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen().out.no_color
