"""A conversation that grows, a model that reports its size, and a way to look at what became of it."""

from power_loop import AgentLoopConfig, LLMContextTooLong, LLMRetryPolicy, StatefulAgentLoop, tool
from power_loop.compaction import DefaultCompactor
from power_loop.compaction.default import SUMMARY_PROMPT
from power_loop.facts.tokens import estimate_tokens
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.llm import LLMRequest, LLMResponse, OnDelta, ignore_delta, validate_request
from power_loop.ports.models import ModelInfo
from power_loop.testing import call, reply

WINDOW = 2_000
QUICK = LLMRetryPolicy(max_attempts=2, backoff_initial=0, backoff_max=0)
WORDS = "The quick brown fox jumps over the lazy dog and looks back once. "


class Model:
    """Asks for ``rounds`` tools per input, then answers; sums up when asked. Reports what its estimates say.

    ``refuse_above``: tokens from which on it refuses the context; ``info`` is what it says of itself.
    """

    def __init__(self, rounds=0, *, summary="They talked about foxes.", info=None, refuse_above=None):
        self.rounds, self.summary, self.info, self.refuse_above = rounds, summary, info, refuse_above
        self.requests: list[LLMRequest] = []
        self.summaries: list[LLMRequest] = []
        self._left = rounds

    def describe(self, model=None):
        return self.info or ModelInfo("grower", WINDOW, known=True)

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        validate_request(request)
        usage = LLMTokenUsage(estimate_tokens(request.messages), 40)
        if request.system_prompt == SUMMARY_PROMPT:
            self.summaries.append(request)
            answer = self.summary(request) if callable(self.summary) else self.summary
            if isinstance(answer, Exception):
                raise answer
            return reply(answer, usage=usage, cost="0.001")
        if self.refuse_above is not None and usage.input_tokens > self.refuse_above:
            raise LLMContextTooLong(f"{usage.input_tokens} tokens are more than {self.refuse_above}")
        self.requests.append(request)
        if self._left and request.tool_choice == "auto":
            self._left -= 1
            return reply("", call("look", n=self._left), usage=usage, cost="0.01")
        self._left = self.rounds
        return reply(f"answer {len(self.requests)}", usage=usage, cost="0.01")

    async def close(self):
        """Nothing to let go of."""


@tool(effect="read")
async def look(n: int) -> str:
    """Look at something."""
    return f"result {n}: " + WORDS * 4


def folding_loop(model, store, **settings):
    given = {"max_tokens": 200, "retry_policy": QUICK, "max_rounds": 60, "compactor": DefaultCompactor()} | settings
    return StatefulAgentLoop(llm=model, store=store, tools=[look], config=AgentLoopConfig(**given))


async def kinds(store, session):
    _, entries = await store.load(session, whole=True)
    return [entry.kind for entry in entries]


async def facts_of(store, session, kind):
    _, entries = await store.load(session, whole=True)
    return [entry.fact for entry in entries if entry.kind == kind]
