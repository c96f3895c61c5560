"""The hooks around the steps. A hook's change is a fact of its own; a reply or result is recorded before it runs."""

from collections.abc import Sequence

import msgspec

from power_loop.decisions.calls import answer
from power_loop.decisions.steps import CallModel, CheckOutput, Compact, EndRun, RunTools
from power_loop.decisions.views import check_view, splice
from power_loop.engine.call_model import due_notes, make_call, pause, prepare, record_calls, replied
from power_loop.engine.check_output import check_output
from power_loop.engine.compact import compact
from power_loop.engine.end_run import end_run
from power_loop.engine.run import Run
from power_loop.engine.run_tools import run_tools
from power_loop.facts import jsontext
from power_loop.facts.entries import CompactionSkipped, Note, ReplyEdited, RoundSkipped
from power_loop.facts.errors import HookError, InvalidRequestError
from power_loop.facts.messages import AgentMessage, MessageRole, to_message
from power_loop.ports.hooks import (
    CompactAfterCtx,
    CompactBeforeCtx,
    HookDirective,
    HookPoint,
    LlmAfterCtx,
    LlmBeforeCtx,
    MessageAppendCtx,
    RoundDecideCtx,
    RoundEndCtx,
    RoundStartCtx,
    SessionEndCtx,
    SessionStartCtx,
    ToolsBatchAfterCtx,
    ToolsBatchBeforeCtx,
)
from power_loop.ports.llm import LLMRequest, LLMResponse, ReplyCall, validate_request
from power_loop.ports.todo import TODO_TOOL


async def hooked_start(run: Run) -> None:
    """Before the first step of a run. A reply that no after-hook is known to have seen is shown to it now."""
    hooks = run.services.hooks
    if hooks.has(HookPoint.SESSION_START):
        await run.flush()
        ctx = await hooks.run(SessionStartCtx(session_id=run.session_id, messages=list(run.state.messages)))
        _edit_view(run, ctx.messages)
    if run.state.reply_fresh:
        await _after_reply(run)


async def hooked_call_model(step: CallModel, run: Run) -> None:
    """round.start, llm.before, the call, llm.after."""
    if step.attempt == 1 and not step.wrap_up and await _round_start(run):
        return
    if not await pause(step, run):
        return
    for note in due_notes(step, run):
        run.stage(await hooked_note(run, note))
    request = prepare(step, run)
    edited: Sequence[str] = ()
    if run.services.hooks.has(HookPoint.LLM_BEFORE):
        answered, request, edited = await _llm_before(run, request)
        if answered:
            return
    await make_call(step, run, request, edited)
    if run.state.reply_fresh:
        await _after_reply(run)


async def hooked_compact(step: Compact, run: Run) -> None:
    """compact.before, the fold, compact.after."""
    hooks, before = run.services.hooks, list(run.state.messages)
    if hooks.has(HookPoint.COMPACT_BEFORE):
        await run.flush()
        ctx = await hooks.run(CompactBeforeCtx(session_id=run.session_id, messages=before))
        if ctx.directive is HookDirective.SKIP:
            await run.commit(CompactionSkipped("hook_skip", tokens=run.state.size.tokens(before)))
            return
    folds = run.state.compacted
    await compact(step, run)
    if run.state.compacted != folds and hooks.has(HookPoint.COMPACT_AFTER):
        await run.flush()
        after = list(run.state.messages)
        await hooks.run(
            CompactAfterCtx(
                session_id=run.session_id,
                messages=after,
                messages_before_count=len(before),
                messages_after_count=len(after),
            )
        )


async def hooked_run_tools(step: RunTools, run: Run) -> None:
    """round.decide, tools.batch.before, the tools, tools.batch.after, round.end."""
    if run.state.reply_fresh and await _before_batch(run):
        return
    if await run_tools(step, run):
        await end_run(run, "hook_break")
        return
    await _after_batch(run)


async def hooked_check_output(step: CheckOutput, run: Run) -> None:
    """The check, then what ends its round: tools.batch.after and round.end, or round.end where another one follows."""
    await check_output(step, run)
    if step.call is not None:
        await _after_batch(run)
    elif run.state.reply_needed:
        await _round_end(run, has_tools=False)


async def hooked_end_run(step: EndRun, run: Run) -> None:
    """round.end for a round without tools, session.end, the end."""
    hooks = run.services.hooks
    if step.status in {"completed", "hit_round_limit"} and not run.state.calls:
        await _round_end(run, has_tools=False)
    if hooks.has(HookPoint.SESSION_END):
        await run.flush()
        await hooks.run(
            SessionEndCtx(
                session_id=run.session_id,
                reason=step.status,
                messages=list(run.state.messages),
                final_text=run.state.reply_text,
            )
        )
    await end_run(run, step.status)


async def append_hook(run: Run, message: AgentMessage) -> AgentMessage:
    """Run message.append on a message that is not recorded yet."""
    await run.flush()
    ctx = await run.services.hooks.run(MessageAppendCtx(session_id=run.session_id, message=message))
    return to_message(ctx.message)


async def hooked_note(run: Run, note: Note) -> Note:
    """Run message.append on a note that is not recorded yet."""
    if not run.services.hooks.has(HookPoint.MESSAGE_APPEND):
        return note
    message = await append_hook(run, AgentMessage(note.role, note.text))
    return msgspec.structs.replace(note, text=message.text, role=message.role)


def used_todo(run: Run) -> bool:
    """Tell whether the newest reply called the todo tool."""
    return any(call.recorded.name == TODO_TOOL for call in run.state.calls.values())


# -- parts


async def _round_start(run: Run) -> bool:
    """Return True when the hook has settled the round: skipped or ended."""
    hooks = run.services.hooks
    if not hooks.has(HookPoint.ROUND_START):
        return False
    await run.flush()
    messages = list(run.state.messages)
    ctx = await hooks.run(RoundStartCtx(session_id=run.session_id, round_index=run.state.rounds, messages=messages))
    if ctx.directive is HookDirective.BREAK:
        await end_run(run, "hook_break", reason=ctx.reason or "hook_break")
        return True
    if ctx.directive is HookDirective.SKIP:
        await run.commit(RoundSkipped(ctx.reason))
        return True
    _edit_view(run, ctx.messages)
    return False


async def _round_end(run: Run, *, has_tools: bool) -> None:
    hooks = run.services.hooks
    if hooks.has(HookPoint.ROUND_END):
        await run.flush()
        await hooks.run(
            RoundEndCtx(
                session_id=run.session_id,
                round_index=max(run.state.rounds - 1, 0),
                messages=list(run.state.messages),
                has_tools=has_tools,
                response_text=run.state.reply_text,
                used_todo=has_tools and used_todo(run),
            )
        )


async def _after_batch(run: Run) -> None:
    hooks = run.services.hooks
    if run.state.open_calls or not hooks.has(HookPoint.TOOLS_BATCH_AFTER, HookPoint.ROUND_END):
        return
    await run.flush()
    index = max(run.state.rounds - 1, 0)
    messages = list(run.state.messages)
    await hooks.run(
        ToolsBatchAfterCtx(session_id=run.session_id, round_index=index, messages=messages, used_todo=used_todo(run))
    )
    await _round_end(run, has_tools=True)


def _edit_view(run: Run, wanted: Sequence[AgentMessage]) -> None:
    """Record how a hook changed the view; refuse a change that no provider would accept."""
    messages = [to_message(message) for message in wanted]
    edit = splice(run.state.messages, messages)
    if edit is None:
        return
    try:
        check_view(messages, run.state)
    except InvalidRequestError as error:
        raise HookError(f"A hook's edit of the messages is not valid: {error}") from error
    run.stage(edit)


async def _llm_before(run: Run, request: LLMRequest) -> tuple[bool, LLMRequest, Sequence[str]]:
    """Return (settled, the request to make, names of the fields that a hook changed)."""
    await run.flush()
    ctx = await run.services.hooks.run(
        LlmBeforeCtx(
            session_id=run.session_id,
            round_index=run.state.rounds,
            messages=list(request.messages),
            system_prompt=request.system_prompt,
            tools=list(request.tools),
            max_tokens=request.max_tokens,
            temperature=request.temperature,
        )
    )
    if ctx.directive is HookDirective.BREAK:
        await end_run(run, "hook_break")
        return True, request, ()
    if ctx.directive is HookDirective.SHORT_CIRCUIT:
        if not isinstance(ctx.output, LLMResponse):
            raise HookError("llm.before asked for SHORT_CIRCUIT without setting ctx.output to an LLMResponse.")
        await run.commit(replied(ctx.output, run.state, run.limits.recorded.max_rounds, provided=True))
        return True, request, ()
    changes = {
        "messages": tuple(to_message(message) for message in ctx.messages),
        "system_prompt": ctx.system_prompt,
        "tools": tuple(ctx.tools),
        "max_tokens": ctx.max_tokens,
        "temperature": ctx.temperature,
    }
    changed = {name: value for name, value in changes.items() if value != getattr(request, name)}
    if not changed:
        return False, request, ()
    edited = msgspec.structs.replace(request, **changed)
    try:
        validate_request(edited)
    except InvalidRequestError as error:
        raise HookError(f"An llm.before hook's edit is not a valid request: {error}") from error
    return False, edited, tuple(changed)


async def _after_reply(run: Run) -> None:
    """Let hooks see and change a recorded reply before anything is done with it."""
    hooks = run.services.hooks
    if not hooks.has(HookPoint.LLM_AFTER, HookPoint.MESSAGE_APPEND):
        return
    await run.flush()
    before = _reply(run)
    ctx = await hooks.run(
        LlmAfterCtx(
            session_id=run.session_id,
            round_index=max(run.state.rounds - 1, 0),
            messages=list(run.state.messages),
            output=before,
        )
    )
    broken = ctx.directive is HookDirective.BREAK
    after = msgspec.structs.replace(ctx.output, tool_calls=()) if broken else ctx.output
    message = AgentMessage(MessageRole.ASSISTANT, after.content)
    appended = await hooks.run(MessageAppendCtx(session_id=run.session_id, message=message))
    after = msgspec.structs.replace(after, content=to_message(appended.message).content)
    if (after.content, after.tool_calls) != (before.content, before.tool_calls):
        state = run.state
        old_ids = frozenset(call.recorded.id for call in state.calls.values())
        calls = record_calls(after.tool_calls, state, state.reply_seq, old_ids)
        await run.commit(ReplyEdited(state.reply_seq, after.content, calls))
    if broken:
        await end_run(run, "hook_break")


def _reply(run: Run) -> LLMResponse:
    """Return the newest reply as a response, for hooks."""
    state = run.state
    content = state.messages[state.reply_position].content if state.reply_position < len(state.messages) else ""
    calls = tuple(
        ReplyCall(
            call.recorded.id,
            call.recorded.name,
            call.recorded.raw if call.recorded.raw is not None else jsontext.encode(call.recorded.arguments),
        )
        for call in state.calls.values()
    )
    return LLMResponse(content, calls, "tool_calls" if calls else "stop")


async def _before_batch(run: Run) -> bool:
    """Return True when a hook has settled the batch."""
    hooks, state = run.services.hooks, run.state
    if not hooks.has(HookPoint.ROUND_DECIDE, HookPoint.TOOLS_BATCH_BEFORE):
        return False
    await run.flush()
    calls = tuple(call.recorded for call in state.pending())
    index = max(state.rounds - 1, 0)
    decide = await hooks.run(
        RoundDecideCtx(
            session_id=run.session_id,
            round_index=index,
            messages=list(state.messages),
            tool_calls=calls,
            assistant_text=state.reply_text,
        )
    )
    if decide.directive is HookDirective.BREAK:
        await end_run(run, "hook_break")
        return True
    if decide.directive is HookDirective.SKIP:
        await _answer_all(run, decide.output)
        return True
    batch = await hooks.run(
        ToolsBatchBeforeCtx(
            session_id=run.session_id, round_index=index, messages=list(state.messages), tool_calls=calls
        )
    )
    if batch.directive is HookDirective.SKIP:
        await _answer_all(run, batch.output)
        return True
    return False


async def _answer_all(run: Run, output: str) -> None:
    for call in run.state.pending():
        run.stage(answer(call, run.state, "skipped", output))
    await run.flush()
    await _round_end(run, has_tools=True)
