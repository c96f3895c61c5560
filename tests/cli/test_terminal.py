"""On a real terminal: text appears while the model still speaks, words stay whole, nothing steers the screen."""

import asyncio
import io
import os
import pty
import subprocess
import sys
import termios

import pytest
from cli_helpers import MODEL

from power_loop.cli.flow import Flow
from power_loop.cli.safe import safe, safe_line
from power_loop.testing.faulty_server import DONE, Reply, Wait, chunk


def read_until(master: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        try:
            piece = os.read(master, 4096)
        except OSError:  # the other side is closed
            piece = b""
        assert piece, seen
        seen += piece
    return seen


def test_text_appears_before_the_model_has_finished(model, place):
    go_on = asyncio.Event()
    begin = chunk({"content": "first \x1b[31mwords "})
    rest = (chunk({"content": "and last"}), chunk(finish_reason="stop"), DONE)
    model.says(Reply((begin, Wait(go_on), *rest)))
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    command = [sys.executable, "-m", "power_loop", "run", "hi", "--model", MODEL, "--no-color"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=place)
    os.close(slave)
    try:
        early = read_until(master, b"first words")
        assert b"last" not in early
        model.call(go_on.set)
        late = read_until(master, b"continue with")
        assert late.index(b"and last") < late.index(b"completed")
        assert b"\x1b[31m" not in early + late
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("\x9b2Jx\x9d0;t\x9cy", "xy"),
        ("a\rb\x08c\x00d\x7fe", "abcde"),
        ("\u202eabc\u2066d\u2069\u200f", "abcd"),
        ("tag\U000e0041s\ufeff", "tags"),
        ("line\u2028sep", "line\nsep"),
        ("\ud800", "\ufffd"),
        ("\x1b", ""),
        ("ÄöЖ中👩\u200d🚀", "ÄöЖ中👩\u200d🚀"),
        ("\x1b]never ended\nnext line", "\nnext line"),
    ],
)
def test_what_is_left_of_hostile_text(hostile, harmless):
    assert safe(hostile) == harmless
    assert "\x1b" not in safe(hostile[:1]) + safe(hostile[1:])  # also when it comes in two pieces


def test_one_line_of_bounded_length():
    assert safe_line("a\n b\t\x1b[1mc") == "a b c"
    assert safe_line("x" * 500, 10) == "x" * 9 + "…"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_words_stay_whole_however_the_text_arrives(size):
    text = "The quick brown fox jumps over the lazy dog, again and again.\n\nNext 中文字 paragraph."
    out = io.StringIO()
    flow = Flow(out, 20)
    for start in range(0, len(text), size):
        flow.write(text[start : start + size])
    flow.end()
    lines = out.getvalue().split("\n")
    assert max(map(len, lines)) <= 20
    assert out.getvalue().split() == text.split()
    assert out.getvalue().endswith("\n")
    assert "" in lines[:-1]


def test_a_word_is_shown_when_it_is_complete():
    out = io.StringIO()
    flow = Flow(out, 80)
    flow.write("one tw")
    assert out.getvalue() == "one"
    flow.write("o ")
    assert out.getvalue() == "one two"
