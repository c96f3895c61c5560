"""``run`` and ``resume``: what they print, how they end, and that what is cut off can be continued."""

import asyncio
import io
import json
import signal
from pathlib import Path

import pytest
from cli_helpers import MODEL, kinds, wait_for_kind

from power_loop import AgentEvent, AgentEventType, AutoCompactStatusPayload, MemoryStore
from power_loop.cli.live import LiveRun
from power_loop.cli.screen import Screen
from power_loop.testing.faulty_server import Hang, Reply, error_reply, text_reply, tool_reply

DB = "power_loop_sessions.db"
STUCK = ("--tool", "cli_test_tools:stuck")


def test_the_answer_goes_to_stdout_and_the_way_to_go_on_to_stderr(cli, model):
    model.says(text_reply("Hello ", "world"))
    done = cli("run", "Say hello", "--model", MODEL)
    assert (done.code, done.out) == (0, "Hello world\n")
    assert "completed · 1 round · 10 in + 5 out tokens · cost unknown" in done.err
    assert "continue with: power-loop run --session sess_" in done.err


def test_json_is_one_document_and_nothing_else(cli, model):
    model.says(text_reply("Hello"))
    done = cli("run", "Say hello", "--model", MODEL, "--json")
    document = done.json()
    assert (done.code, done.err) == (0, "")
    assert (document["status"], document["final_text"], document["rounds"]) == ("completed", "Hello", 1)
    assert document["usage"]["total_tokens"] == 15
    assert document["error"] is None


def test_a_session_goes_on(cli, model):
    model.says(text_reply("one"), text_reply("two"), text_reply("three"))
    first = cli("run", "first", "--model", MODEL, "--json").json()["session_id"]
    assert cli("run", "second", "--session", first, "--model", MODEL, "--json").json()["session_id"] == first
    assert cli("run", "third", "--session", "last", "--model", MODEL, "--json").json()["session_id"] == first
    said = [message["content"] for message in model.server.requests[-1].json["messages"]]
    assert said == ["first", "one", "second", "two", "third"]


def test_system_text_and_reply_cap_reach_the_model(cli, model):
    model.says(text_reply("yes"))
    cli("run", "hello", "--model", MODEL, "--system", "Be brief.", "--max-tokens", "77")
    request = model.server.requests[0].json
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert 77 in request.values()


def test_the_task_can_come_from_stdin(cli, model, monkeypatch):
    model.says(text_reply("read"))
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\n"))
    assert cli("run", "-", "--model", MODEL).code == 0
    assert model.server.requests[0].json["messages"][0]["content"] == "from a pipe\n"


def test_tools_are_shown_with_progress_and_result(cli, model):
    model.says(tool_reply(("a", "measure", '{"unit": "degrees"}')), text_reply("21"))
    done = cli("run", "How warm?", "--model", MODEL, "--tool", "cli_test_tools:measure")
    assert done.code == 0, done.err
    assert 'started measure(unit="degrees")' in done.err
    assert "measure: half way" in done.err
    assert '✓ measure(unit="degrees") → 21 degrees' in done.err


def test_a_failed_tool_is_marked(cli, model):
    model.says(tool_reply(("a", "measure", '{"nothing": 1}')), text_reply("no"))
    done = cli("run", "How warm?", "--model", MODEL, "--tool", "cli_test_tools:measure")
    assert "✗ measure(nothing=1)" in done.err


def test_a_retry_is_told(cli, model):
    model.says(error_reply(429, "slow down", headers={"Retry-After": "0"}), text_reply("now"))
    done = cli("run", "hello", "--model", MODEL)
    assert (done.code, done.out) == (0, "now\n")
    assert "model call failed" in done.err


def test_an_error_of_the_model_ends_with_one(cli, model):
    model.says(error_reply(401, "bad key"))
    done = cli("run", "hello", "--model", MODEL, "--json")
    assert done.code == 1
    assert (done.json()["status"], done.json()["error"]["code"]) == ("error", "llm_auth_error")


def test_the_cause_of_an_error_and_the_next_action_are_told(cli, model):
    model.says(error_reply(401, "bad key"))
    done = cli("run", "hello", "--model", MODEL)
    assert (done.code, done.out) == (1, "")
    assert "llm_auth_error" in done.err
    assert "continue with: power-loop resume sess_" in done.err


def test_the_round_limit_ends_with_one_and_still_answers(cli, model):
    model.says(tool_reply(("a", "measure", '{"unit": "K"}')), text_reply("so far"))
    done = cli("run", "go", "--model", MODEL, "--tool", "cli_test_tools:measure", "--max-rounds", "1")
    assert done.code == 1
    assert "so far" in done.out
    assert "hit_round_limit" in done.err


def test_resume_with_nothing_to_do_returns_the_last_result(cli, model):
    model.says(text_reply("Hello"))
    session = cli("run", "hi", "--model", MODEL, "--json").json()["session_id"]
    again = cli("resume", session, "--model", MODEL, "--json")
    assert (again.code, again.json()["final_text"]) == (0, "Hello")
    assert len(model.server.requests) == 1


def test_an_escape_sequence_of_the_model_does_not_reach_the_terminal(cli, model):
    model.says(text_reply("a\x1b]0;owned\x07b\x1b[2Jc\u202ed"))
    assert cli("run", "hi", "--model", MODEL).out == "abcd\n"


def stopped_in_a_tool(child, model, place: Path, how: signal.Signals):
    """Run until the tool is started, and end the process with a signal."""
    model.says(tool_reply(("a", "stuck", "{}")))
    process = child("run", "go", "--model", MODEL, *STUCK)
    wait_for_kind(place / DB, "tool_started")
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.slow
def test_ctrl_c_in_a_tool_leaves_a_session_that_resumes(cli, child, model, place):
    code, _, err = stopped_in_a_tool(child, model, place, signal.SIGINT)
    assert code == 130, err
    assert "power-loop resume sess_" in err
    assert "Traceback" not in err
    assert cli("sessions", "--json").json()["sessions"][0]["status"] == "cancelled"
    model.says(text_reply("done"))
    resumed = cli("resume", "last", "--model", MODEL, *STUCK)
    assert (resumed.code, resumed.out) == (0, "done\n")


def test_ctrl_c_in_a_model_call_leaves_a_session_that_resumes(cli, child, model, place):
    model.says(Reply((Hang(),)))
    process = child("run", "go", "--model", MODEL, "--json")
    model.wait_for_request()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["status"], err) == (130, "cancelled", "")
    model.says(text_reply("done"))
    assert cli("resume", "last", "--model", MODEL).out == "done\n"


def test_a_killed_run_is_finished_by_resume_and_refuses_new_input_before(cli, child, model, place):
    code, _, _ = stopped_in_a_tool(child, model, place, signal.SIGKILL)
    assert code == -signal.SIGKILL
    (listed,) = cli("sessions", "--json").json()["sessions"]
    assert (listed["status"], listed["owner"]) == ("cut_off", None)
    assert "resume" in listed["waiting_for"]
    refused = cli("run", "more", "--session", "last", "--model", MODEL, "--json")
    assert (refused.code, refused.json()["error"]["code"]) == (3, "session_pending")
    assert "power-loop resume sess_" in refused.json()["error"]["message"]
    model.says(text_reply("done"))
    resumed = cli("resume", "last", "--model", MODEL, *STUCK)
    assert (resumed.code, resumed.out) == (0, "done\n"), resumed.err
    assert "✓ stuck() → free again" in resumed.err
    assert kinds(place / DB).count("model_replied") == 2


def test_a_session_that_another_process_drives_is_busy(cli, child, model, place):
    model.says(Reply((Hang(),)))
    child("run", "go", "--model", MODEL)
    model.wait_for_request()
    busy = cli("resume", "last", "--model", MODEL, "--json")
    assert (busy.code, busy.json()["error"]["code"]) == (3, "session_busy")


def test_tools_of_a_dead_run_that_are_not_offered_now_leave_it_pending(cli, child, model, place):
    stopped_in_a_tool(child, model, place, signal.SIGKILL)
    resumed = cli("resume", "last", "--model", MODEL, "--json")
    assert (resumed.code, resumed.json()["status"]) == (1, "pending_tools")
    assert resumed.json()["pending_tool_calls"][0]["function"]["name"] == "stuck"


async def test_a_fold_is_told_with_its_figures(place, capsys):
    queue = asyncio.Queue()
    for phase, before, after in (("started", 0, 0), ("completed", 24_100, 6_020)):
        payload = AutoCompactStatusPayload("auto_compact", phase, 3, "threshold", before, after)
        queue.put_nowait(AgentEvent(AgentEventType.STATUS_CHANGED, payload, "s", 3, 40, 1))
    queue.put_nowait(None)
    await LiveRun(Screen(), MemoryStore()).follow(queue)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "older messages folded: about 24,100 tokens became 6,020\n")
