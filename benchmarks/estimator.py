"""The measured program of the estimator: how far estimates are from the usage that a real model reports.

A conversation grows by one text after another; before each call the kernel's figure is compared with what the local
model's server then counts. No floor: whoever counts exactly needs the model's tokenizer.
"""

import asyncio
import json
import random
import statistics
import sys
from pathlib import Path

from benchmarks.child import Numbers
from power_loop.decisions.size import ContextSize
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.llms.local import LocalLLM
from power_loop.ports.llm import LLMRequest

_CALLS = 8
_CHARACTERS = 300
_SEED = 7
_ROOT = Path(__file__).parents[1]
_CHINESE = (
    "人工智能是计算机科学的一个分支,研究如何让机器完成需要人类智能的任务。它包括学习、推理、规划、感知与语言。"
    "研究者用大量数据训练模型,再检查它们在新的问题上是否可靠。许多系统已经在医院、工厂和学校里使用。"
)


def texts(kind: str) -> list[str]:
    """Return as many texts of a kind as there are calls. Raises KeyError for an unknown kind."""
    chosen = random.Random(_SEED)
    sources = {
        "english": lambda: "\n".join(path.read_text() for path in sorted((_ROOT / "docs").glob("*.md"))),
        "code": lambda: "\n".join(path.read_text() for path in sorted((_ROOT / "src").rglob("*.py"))),
        "json": lambda: json.dumps([{"id": n, "name": f"item {n}", "price": n * 1.37} for n in range(2_000)]),
        "chinese": lambda: _CHINESE * 100,
    }
    source = sources[kind]()
    length = _CHARACTERS if kind != "chinese" else _CHARACTERS // 4
    return [source[at : at + length] for at in (chosen.randrange(len(source) - length) for _ in range(_CALLS))]


async def measure(kind: str) -> Numbers:
    """Return the median error in percent of the request's size: from the first call, and once calibrated."""
    llm, size = LocalLLM(), ContextSize()
    messages: list[AgentMessage] = []
    raw, calibrated = [], []
    for text in texts(kind):
        messages.append(AgentMessage(MessageRole.USER, text))
        plain = ContextSize().tokens(messages)
        expected = size.tokens(messages)
        size.asked(len(messages))
        reply = await llm.complete(LLMRequest(messages, max_tokens=1))
        counted = reply.usage.input_tokens
        raw.append(abs(plain / counted - 1) * 100)
        calibrated.append(abs(expected / counted - 1) * 100)
        messages.append(AgentMessage(MessageRole.ASSISTANT, reply.text or "ok"))
        size.replied(reply.usage, len(messages))
    await llm.close()
    return {"raw": statistics.median(raw), "calibrated": statistics.median(calibrated[1:])}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1]))))
