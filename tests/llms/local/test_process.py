"""What the model does to the process it lives in: nothing is printed, and leaving is always possible."""

import os
import subprocess
import sys

import pytest

PRELUDE = """
import asyncio, os, sys, threading
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.llms.local import LocalLLM
from power_loop.ports.llm import LLMRequest
story = LLMRequest([AgentMessage(MessageRole.USER, "Tell me a long story.")])
hello = LLMRequest([AgentMessage(MessageRole.USER, "Say hello.")], max_tokens=4)
llm = LocalLLM(sys.argv[1])
"""
SCENES = {
    "closed": "asyncio.run(llm.complete(hello)); asyncio.run(llm.close())",
    "never closed": "asyncio.run(llm.complete(hello))",
    "left in the middle": """
first = threading.Event()
def work():
    try:
        asyncio.run(llm.complete(story, on_delta=lambda _delta: first.set()))
    except Exception:
        pass
threading.Thread(target=work, daemon=True).start()
first.wait()
""",
    "child leaves": """
asyncio.run(llm.complete(hello))
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
""",
    "child leaves with a status": """
asyncio.run(llm.complete(hello))
child = os.fork()
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
else:
    sys.exit(7)
""",
    "child asks": """
asyncio.run(llm.complete(hello))
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(llm.complete(hello)).text
else:
    try:
        asyncio.run(llm.complete(hello))
        os._exit(1)
    except Exception as error:
        assert "forked" in str(error)
""",
    "child asks first": """
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
assert asyncio.run(llm.complete(hello)).text
""",
    "child closes": """
asyncio.run(llm.complete(hello))
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(llm.complete(hello)).text
else:
    asyncio.run(llm.close())
""",
}


@pytest.mark.parametrize("scene", SCENES)
def test_the_process_ends_well_and_says_nothing(weights, scene):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + SCENES[scene], str(weights)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_port_wants_a_key_and_the_key_is_not_in_the_environment(weights):
    code = PRELUDE + (
        "import urllib.request, urllib.error\n"
        "asyncio.run(llm.complete(hello))\n"
        "engine = llm._engine\n"
        "try:\n    urllib.request.urlopen(engine.address + '/v1/models', timeout=30)\n"
        "    urllib.request.urlopen(engine.address + '/props', timeout=30)\n"
        "    raise SystemExit('open')\n"
        "except urllib.error.HTTPError as error:\n    assert error.code == 401, error\n"
        "assert engine.address.startswith('http://127.0.0.1:')\n"
        "assert engine.api_key not in repr(llm) + repr(engine) + str(os.environ)\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(weights)],
        capture_output=True, text=True, timeout=90, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout


def test_importing_the_adapter_loads_no_engine():
    code = (
        "import sys, power_loop.llms.local; print([m for m in ('xllamacpp', 'openai', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
