"""The step that folds older messages: ask the compactor, check its plan, stage the fold or why there is none."""

import msgspec

from power_loop.decisions.carried import fold
from power_loop.decisions.folding import objection, older_note, safe_cuts, unheard_input
from power_loop.decisions.steps import Compact
from power_loop.decisions.todos import snapshot_text
from power_loop.engine.budget import reservation
from power_loop.engine.call_model import pause
from power_loop.engine.interrupt import Interrupted
from power_loop.engine.journal import Redirected
from power_loop.engine.retry import failed_attempt
from power_loop.engine.run import Run
from power_loop.facts.entries import BudgetReached, CompactionSkipped, Fact, ModelCalled
from power_loop.facts.errors import CompactionFailed, LLMError, SessionError, StoreError
from power_loop.facts.jsontext import clean
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.facts.tokens import estimate_text_tokens
from power_loop.facts.usage import LLMTokenUsage, add_cost
from power_loop.ports.compactor import CompactionPlan, CompactionRequest, Compactor
from power_loop.ports.llm import LLMRequest, LLMResponse, LLMService
from power_loop.ports.models import DEFAULT_CONTEXT_WINDOW

NOTHING_TO_FOLD = "nothing_to_fold"
"""Code of a compaction whose compactor found nothing to fold."""
_INVALID = "invalid_plan"


async def compact(step: Compact, run: Run) -> None:
    """Make the pause that is due, and fold; what comes of it is staged, and the next commit writes it."""
    compactor = run.services.compactor
    assert compactor is not None  # noqa: S101 -- next_step asks for this step only where there is one
    if await pause(step, run):
        await run.flush()
        calls = _Calls(step, run)
        for fact in await _attempt(step, run, compactor, calls):
            run.stage(fact)


async def _attempt(step: Compact, run: Run, compactor: Compactor, calls: "_Calls") -> list[Fact]:
    request = _request(step, run, calls)
    try:
        with run.interrupt, run.deadline.within(run.call_time_left()):
            plan: object = await compactor.compact(request)  # a host's need not be typed
    except Interrupted:
        return [calls.skipped("cancelled", unsettled=True)]
    except _OverBudget as over:
        return [calls.skipped("budget_exceeded"), over.fact]
    except Redirected:
        if calls.made:
            run.stage(calls.skipped("cancelled"))
        raise
    except (StoreError, SessionError):
        raise
    except Exception as error:  # noqa: BLE001 -- a host's compactor may raise anything; each failure is a recorded fact
        return [_failure(step, run, calls, error)]
    run.call_settled()
    if plan is None:
        return [calls.skipped(NOTHING_TO_FOLD)]
    if not isinstance(plan, CompactionPlan):
        return [calls.skipped(_INVALID, f"the compactor returned {type(plan).__name__}, not a CompactionPlan")]
    plan = msgspec.structs.replace(plan, summary_text=_with_todos(plan.summary_text, run))
    wrong = objection(plan, run.state, request.sizes)
    if wrong is not None:
        return [calls.skipped(_INVALID, wrong)]
    fact = fold(plan, run.state, step.trigger, request.sizes)
    return [msgspec.structs.replace(fact, usage=calls.usage, cost=calls.cost, model=calls.model)]


def _with_todos(summary: object, run: Run) -> str:
    """Return the text of the note: clean, and with the todo list that the fold may take out of sight."""
    text = clean(summary)[0].strip() if isinstance(summary, str) else ""
    todos = snapshot_text(run.state.told.todos)
    return f"{todos}\n\n{text}" if text and todos else text


def _failure(step: Compact, run: Run, calls: "_Calls", error: Exception) -> Fact:
    """Try again what the retry policy lets be tried again; else the conversation goes on as it is."""
    if run.deadline.expired:
        error = run.call_timed_out(step.attempt)
    if isinstance(error, LLMError):
        failed = failed_attempt(error, step.attempt, run.services.retry, run.call_time_left())
        if failed.retry:
            return msgspec.structs.replace(failed, purpose="summary", usage=calls.usage, cost=calls.cost)
        run.call_settled()
        return calls.skipped(failed.code, failed.message, unsettled=failed.unsettled)
    run.call_settled()
    return calls.skipped(CompactionFailed.code, clean(f"{type(error).__name__}: {error}"[:500])[0])


def _request(step: Compact, run: Run, calls: "_Calls") -> CompactionRequest:
    state, model = run.state, run.services.model
    tokens = state.size.tokens(state.messages)
    return CompactionRequest(
        session_id=run.session_id,
        messages=tuple(state.messages),
        cuts=safe_cuts(state.messages, unheard_input(state)),
        sizes=tuple(map(state.size.of, state.messages)),
        limit=min(run.limits.recorded.compact_at or tokens, tokens),
        window=DEFAULT_CONTEXT_WINDOW if model is None else model.context_window,
        summarise=calls.summarise,
        note=older_note(state.messages, state.seqs, state.compacted),
        forced=step.trigger == "context_too_long",
        round_index=state.rounds,
    )


class _OverBudget(Exception):
    """A summary could pass a budget."""

    def __init__(self, fact: BudgetReached) -> None:
        super().__init__(fact)
        self.fact = fact


class _Calls:
    """The model calls of one compaction: recorded before they are made, and what they used."""

    def __init__(self, step: Compact, run: Run) -> None:
        self.usage = LLMTokenUsage()
        self.cost: str | None = None
        self.model = ""
        self.made = 0
        self._step = step
        self._run = run

    async def summarise(
        self, prompt: str, *, system_prompt: str | None = None, max_tokens: int = 2_000, llm: LLMService | None = None
    ) -> str:
        """Make one call; see :class:`power_loop.ports.compactor.Summarise`."""
        run = self._run
        tokens = round(
            run.state.size.factor * (estimate_text_tokens(prompt) + estimate_text_tokens(system_prompt or ""))
        )
        held = reservation(run, tokens, max_tokens)
        if isinstance(held, BudgetReached):
            raise _OverBudget(held)
        await run.commit(
            ModelCalled(
                self._step.attempt, reserved=held.cost, purpose="summary", reserved_tokens=held.tokens,
            )
        )  # fmt: skip
        response = await (llm or run.services.llm).complete(
            LLMRequest([AgentMessage(MessageRole.USER, prompt)], system_prompt, max_tokens=held.max_tokens)
        )
        self._take(response)
        return response.text

    def _take(self, response: LLMResponse) -> None:
        self.made += 1
        self.usage += response.usage
        total = add_cost(add_cost(None, self.cost), response.cost)
        self.cost = None if total is None else f"{total:f}"
        self.model = response.model

    def skipped(self, code: str, reason: str = "", *, unsettled: bool = False) -> CompactionSkipped:
        """Make the fact that nothing was folded, with what trying has cost."""
        state = self._run.state
        return CompactionSkipped(code, reason, state.size.tokens(state.messages), self.usage, self.cost, unsettled)
