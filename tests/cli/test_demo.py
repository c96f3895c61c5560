"""The demo: the same story with a stand-in that asks for both tools at once and with the real local model.

Its assertions are tested too: evidence that was tampered with must fail exactly the check that is about it.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from cli_helpers import MODEL, StandIn

from power_loop import SqliteStore
from power_loop.cli.demo.ledger import Ledger, Line
from power_loop.cli.demo.subject import files, subject
from power_loop.cli.demo.verdict import Evidence, judge
from power_loop.testing.faulty_server import Hang, Reply, text_reply, tool_reply

DEMO = (sys.executable, "-m", "power_loop", "demo")


def both_tools() -> Reply:
    path = json.dumps({"path": subject()})
    return tool_reply(("a", "count_lines", path), ("b", "count_bytes", path))


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> tuple["subprocess.CompletedProcess[str]", Path]:
    folder = tmp_path_factory.mktemp("demo") / "kept"
    with StandIn() as model:
        model.says(both_tools(), text_reply("It is long."))
        environment = os.environ | {"OPENAI_BASE_URL": model.server.base_url, "OPENAI_API_KEY": "none"}
        command = [*DEMO, "--model", MODEL, "--json", "--keep", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done, folder


@pytest.fixture
def evidence(played):
    """Everything that the demo left, with room to tamper."""
    _, folder = played

    async def load():
        store = SqliteStore(folder / "sessions.db")
        (record,) = await store.list()
        record, entries = await store.load(record.id)
        await store.close()
        return record, list(entries)

    record, entries = asyncio.run(load())
    lines = Ledger(folder / "ledger.jsonl").read()

    def make(lines=lines, entries=entries, killed_by=-signal.SIGKILL) -> dict[str, bool]:
        return {check.name: check.ok for check in judge(Evidence(record, entries, lines, killed_by))}

    make.lines, make.entries = lines, entries
    return make


@pytest.mark.slow
def test_a_model_that_asks_for_both_tools_at_once(played):
    done, folder = played
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["ok"]
    assert all(check["ok"] for check in document["checks"])
    assert (document["model_calls_paid"], document["tool_runs"]) == (2, 3)
    lines, size = document["tools"]
    assert (lines["name"], lines["attempts"]) == ("count_lines", [1])
    assert (size["name"], size["attempts"], len(size["keys"])) == ("count_bytes", [1, 2], 1)
    data = files()[subject()].read_bytes()
    assert str(data.count(b"\n")) in lines["result"]
    assert str(len(data)) in size["result"]
    assert {"sessions.db", "ledger.jsonl"} <= {path.name for path in folder.iterdir()}


def test_the_evidence_as_it_is_holds(evidence):
    assert all(evidence().values())


def failing(checks: dict[str, bool]) -> list[str]:
    return [name for name, ok in checks.items() if not ok]


def doubled(lines: list[Line], **wanted: str) -> list[Line]:
    """Write a line of the ledger twice."""
    found = next(line for line in lines if all(getattr(line, name) == value for name, value in wanted.items()))
    return [*lines, found]


def test_a_worker_that_was_not_killed_is_noticed(evidence):
    assert failing(evidence(killed_by=0)) == ["worker 1 was killed with SIGKILL"]


def test_a_finished_tool_that_ran_again_is_noticed(evidence):
    lines = doubled(evidence.lines, name="count_lines", happened="started")
    assert failing(evidence(lines)) == ["no finished tool ran again"]


def test_a_model_call_paid_twice_is_noticed(evidence):
    lines = doubled(doubled(evidence.lines, what="model", happened="started"), what="model", happened="finished")
    assert failing(evidence(lines)) == ["no model call was paid twice"]


def test_a_tool_in_flight_under_another_key_is_noticed(evidence):
    second = [line for line in evidence.lines if line.attempt == 2]
    changed = [msgspec.structs.replace(line, key="other") if line in second else line for line in evidence.lines]
    assert failing(evidence(changed)) == ["the tool in flight ran again under the same idempotency key"]


def test_a_result_that_no_tool_returned_is_noticed(evidence):
    wrong = [
        msgspec.structs.replace(line, detail="42") if line.happened == "finished" else line for line in evidence.lines
    ]
    assert failing(evidence(wrong)) == ["each recorded result is what its tool returned"]


def test_a_session_without_an_end_is_noticed(evidence):
    failed = failing(evidence(entries=evidence.entries[:-1]))
    assert failed == ["worker 2 brought the session to its end", "the journal has no gap and every digest holds"]


def test_a_journal_that_was_never_cut_off_is_noticed(evidence):
    one_run = [msgspec.structs.replace(entry, run=1) for entry in evidence.entries]
    assert "it had finished one tool call and was inside another" in failing(evidence(entries=one_run))


def test_a_model_that_calls_no_tool_is_told_so(cli, model):
    model.says(text_reply("I would rather not."))
    done = cli("demo", "--model", MODEL, "--json")
    assert done.code == 1
    error = done.json()["error"]
    assert error["code"] == "demo_failed"
    assert "was never inside one tool call with another finished" in error["message"]


def test_a_model_that_fails_is_told_so(cli, model, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "")
    done = cli("demo", "--model", MODEL)
    assert done.code != 0
    assert "Traceback" not in done.out + done.err


def is_gone(pid: int) -> bool:
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()  # a zombie has none
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_process_outlives_the_demo(model, child, how, code):
    model.says(Reply((Hang(),)))
    parent = child("demo", "--model", MODEL)
    model.wait_for_request()
    told = ""
    while "watches the journal" not in told:
        told += parent.stdout.readline()
    pids = [int(pid) for pid in re.findall(r"process (\d+)", told)]
    assert len(pids) == 2
    parent.send_signal(how)
    _, err = parent.communicate(timeout=60)
    assert (parent.returncode, "Traceback" in err) == (code, False)
    until = time.monotonic() + 30
    while not all(map(is_gone, pids)):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(600)  # the weights may have to be fetched first
def test_the_real_model_on_a_real_file(tmp_path):
    done = subprocess.run(DEMO, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("kill -9", "cut off after slice", "resumes the session", "no model call was paid twice"):
        assert words in done.stdout
    assert "nothing was lost, nothing was done twice" in done.stdout
    assert "✗ no" not in done.stdout
    assert list(tmp_path.iterdir()) == []
