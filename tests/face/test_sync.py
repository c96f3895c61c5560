"""The blocking twins: from scripts, from threads, inside running loops; never where waiting would not end."""

import asyncio
import inspect
import threading

import pytest

from power_loop import AgentHooks, StatefulAgentLoop, SyncInsideRun, tool
from power_loop.testing import ScriptedLLM, call, reply


def test_a_script_needs_no_event_loop(tmp_path):
    loop = StatefulAgentLoop(llm=ScriptedLLM("one", "two"), db_path=str(tmp_path / "s.db"))
    first = loop.send_sync("a")
    assert loop.send_sync("b", first.session_id).final_text == "two"
    assert len(loop.get_messages_sync(first.session_id)) == 4
    assert loop.list_sessions_sync()[0].status == "completed"
    assert loop.close_session_sync(first.session_id) == 1
    loop.close_sync()


async def test_a_running_loop_may_be_blocked_by_its_own_thread():
    loop = StatefulAgentLoop(llm=ScriptedLLM("hi"), db_path=":memory:")
    assert loop.send_sync("a").final_text == "hi"


def test_a_sync_tool_may_ask_another_session():
    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("ask")), "inner", "outer"), db_path=":memory:")

    @tool
    def ask() -> str:
        """Ask."""
        return loop.send_sync("inner question").final_text

    loop.tool_registry.add(ask)
    assert loop.send_sync("go").final_text == "outer"


@pytest.mark.parametrize("where", ["hook", "tool"])
def test_on_the_kernels_own_thread_it_is_refused(where):
    caught = []

    def try_it():
        with pytest.raises(SyncInsideRun):
            loop.send_sync("never")
        caught.append(threading.current_thread().name)

    @tool
    async def act() -> str:
        """Act."""
        try_it()
        return "ok"

    hooks = AgentHooks()
    if where == "hook":
        hooks.register("session.start", lambda _ctx: try_it())
    loop = StatefulAgentLoop(
        llm=ScriptedLLM(reply("", call("act")), "done"), tools=[act], hooks=hooks, db_path=":memory:"
    )
    assert loop.send_sync("go").final_text == "done"
    assert "power-loop-kernel" in caught


def test_threads_share_one_session_in_turn(tmp_path):
    loop = StatefulAgentLoop(llm=ScriptedLLM("x", repeat=True), db_path=str(tmp_path / "s.db"))
    session = loop.new_session_sync()
    threads = [threading.Thread(target=loop.send_sync, args=(f"m{i}", session)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loop.get_messages_sync(session)) == 16
    loop.close_sync()


def test_several_event_loops_share_one_store(tmp_path):
    loop = StatefulAgentLoop(llm=ScriptedLLM("x", repeat=True), db_path=str(tmp_path / "s.db"))
    session = asyncio.run(loop.new_session())
    for _ in range(3):
        asyncio.run(loop.send("again", session))
    assert len(asyncio.run(loop.get_messages(session))) == 6
    asyncio.run(loop.close())


def test_each_storing_verb_has_a_twin_with_the_same_parameters():
    for name, verb in inspect.getmembers(StatefulAgentLoop, inspect.iscoroutinefunction):
        if name.startswith("_"):
            continue
        twin = getattr(StatefulAgentLoop, f"{name}_sync")
        assert inspect.signature(twin) == inspect.signature(verb), name
