"""The hooks around one tool call. Where none is registered, nothing is awaited and nothing is flushed."""

from typing import Any

from power_loop.decisions.call import Call
from power_loop.engine.results import with_text
from power_loop.engine.run import Run
from power_loop.facts.entries import Outcome, ResultEdited
from power_loop.facts.errors import ToolTimeout
from power_loop.facts.messages import AgentMessage, MessageRole, text_of, to_message
from power_loop.ports.hooks import (
    HookDirective,
    HookPoint,
    MessageAppendCtx,
    ToolAfterCtx,
    ToolBeforeCtx,
    ToolErrorCtx,
)

_GOOD = frozenset({"ok", "skipped"})


def arguments_of(call: Call) -> dict[str, Any]:
    """Return the arguments a call runs with."""
    return dict(call.arguments if call.arguments is not None else call.recorded.arguments)


async def before_tool(call: Call, run: Run) -> tuple[bool, dict[str, Any], str]:
    """Return (skipped, arguments, output)."""
    arguments = arguments_of(call)
    hooks = run.services.hooks
    if not hooks.has(HookPoint.TOOL_BEFORE):
        return False, arguments, ""
    await run.flush()
    ctx = await hooks.run(
        ToolBeforeCtx(
            session_id=run.session_id,
            round_index=max(run.state.rounds - 1, 0),
            tool_call=call.recorded,
            tool_name=call.recorded.name,
            tool_args=arguments,
        )
    )
    return ctx.directive is HookDirective.SKIP, ctx.tool_args, ctx.output


async def on_tool_error(call: Call, run: Run, arguments: dict[str, Any], error: Exception) -> tuple[bool, Outcome, str]:
    """Return (try once more, outcome, content) for a tool that raised."""
    message = f"{type(error).__name__}: {error}"
    outcome: Outcome = "timeout" if isinstance(error, ToolTimeout) else "failed"
    hooks = run.services.hooks
    if not hooks.has(HookPoint.TOOL_ERROR):
        return False, outcome, f"Error: {message}"
    await run.flush()
    ctx = await hooks.run(
        ToolErrorCtx(
            session_id=run.session_id,
            round_index=max(run.state.rounds - 1, 0),
            tool_call=call.recorded,
            tool_name=call.recorded.name,
            tool_args=arguments,
            error=error,
            error_message=message,
        )
    )
    if ctx.directive is HookDirective.SKIP:
        return False, "ok", ctx.output or f"Error: {message}"
    return ctx.directive is HookDirective.SHORT_CIRCUIT, outcome, f"Error: {message}"


async def after_tool(call: Call, run: Run) -> bool:
    """Let hooks see and change a recorded result. Returns True when one asked to end the run."""
    hooks = run.services.hooks
    result = call.result
    if result is None or not hooks.has(HookPoint.TOOL_AFTER, HookPoint.MESSAGE_APPEND):
        return False
    await run.flush()
    output = text_of(result.content)
    ctx = await hooks.run(
        ToolAfterCtx(
            session_id=run.session_id,
            round_index=max(run.state.rounds - 1, 0),
            tool_call=call.recorded,
            tool_name=call.recorded.name,
            tool_args=arguments_of(call),
            output=output,
            failed=result.outcome not in _GOOD,
        )
    )
    content = result.content if ctx.output == output else with_text(result.content, ctx.output)
    message = AgentMessage(MessageRole.TOOL, content, tool_call_id=call.recorded.id)
    appended = await hooks.run(MessageAppendCtx(session_id=run.session_id, message=message))
    content = to_message(appended.message).content
    if content != result.content or ctx.failed != (result.outcome not in _GOOD):
        await run.commit(ResultEdited(call.id, content, ctx.failed))
    return ctx.directive is HookDirective.BREAK
