"""run_in_thread: blocking work off the loop, in threads nobody waits for."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest

from power_loop.engine import threads
from power_loop.engine.threads import run_in_thread

WHO = contextvars.ContextVar("WHO", default="nobody")


async def test_results_errors_and_context_come_through():
    WHO.set("me")

    def work(a: int, b: int) -> tuple[int, str, bool, bool]:
        seen = WHO.get()
        WHO.set("changed")
        return a + b, seen, threading.current_thread().daemon, threading.current_thread() is threading.main_thread()

    assert await run_in_thread(work, 1, 2) == (3, "me", True, False)
    assert WHO.get() == "me"
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 / 0)


@pytest.mark.parametrize("error", [StopIteration(3), KeyboardInterrupt(), SystemExit(2), asyncio.CancelledError()])
async def test_what_would_break_the_loop_becomes_an_error(error):
    def work() -> None:
        raise error

    with pytest.raises(RuntimeError, match=type(error).__name__) as caught:
        await run_in_thread(work)
    assert caught.value.__cause__ is error
    assert await run_in_thread(lambda: 1) == 1


async def test_sequential_calls_share_a_thread_and_parallel_ones_do_not():
    first = await run_in_thread(threading.get_ident)
    assert await run_in_thread(threading.get_ident) == first
    barrier = threading.Barrier(8)

    def meet() -> int:
        barrier.wait(30)
        return threading.get_ident()

    assert len(set(await asyncio.gather(*(run_in_thread(meet) for _ in range(8))))) == 8


async def test_a_cancelled_caller_leaves_at_once_and_the_late_result_is_dropped():
    begun, may_end, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    class Result:
        pass

    kept: list[weakref.ref] = []

    def work() -> Result:
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(30)
        result = Result()
        kept.append(weakref.ref(result))
        ended.set()
        return result

    task = asyncio.create_task(run_in_thread(work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(30)
    while kept[0]() is not None:
        gc.collect()
        await asyncio.sleep(0)


def test_a_result_for_a_closed_loop_does_not_end_its_thread():
    threads._idle.clear()
    may_end, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(30)

    async def main() -> None:
        task = asyncio.create_task(run_in_thread(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(main())
    may_end.set()
    while not threads._idle:
        time.sleep(0.001)

    async def again() -> int:
        return await run_in_thread(lambda: 5)

    assert asyncio.run(again()) == 5


async def test_many_parallel_calls_leave_a_bounded_number_of_idle_threads():
    barrier = threading.Barrier(60)
    await asyncio.gather(*(run_in_thread(barrier.wait, 60) for _ in range(60)))
    assert 0 < len(threads._idle) <= threads._MOST_IDLE + 2


def test_the_interpreter_does_not_wait_for_a_stuck_tool():
    script = (
        "import asyncio, threading\n"
        "from power_loop.engine.threads import run_in_thread\n"
        "begun = threading.Event()\n"
        "def stuck():\n    begun.set()\n    threading.Event().wait()\n"
        "async def main():\n"
        "    task = asyncio.create_task(run_in_thread(stuck))\n"
        "    while not begun.is_set():\n        await asyncio.sleep(0)\n"
        "asyncio.run(main())\nprint('out')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "out\n"


def test_a_forked_child_makes_its_own_threads():
    script = (
        "import asyncio, os\n"
        "from power_loop.engine.threads import run_in_thread\n"
        "asyncio.run(run_in_thread(lambda: 1))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(asyncio.run(asyncio.wait_for(run_in_thread(lambda: 7), 20)))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "7\n"
