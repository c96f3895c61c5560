"""Hooks that do something allowed, now and then, by a seeded generator."""

import random
from typing import Any

import msgspec

from power_loop import AgentHooks, AgentMessage, HookDirective, HookPoint, LLMResponse, MessageRole, ReplyCall

SKIP, BREAK, SHORT = HookDirective.SKIP, HookDirective.BREAK, HookDirective.SHORT_CIRCUIT


def random_hooks(dice: random.Random) -> AgentHooks:
    """Register some points; each handler mostly looks on."""
    hooks = AgentHooks()
    points = [point for point in HookPoint if point in _ACTS]
    for point in dice.sample(points, dice.randint(1, 4)):
        hooks.register(point, _handler(point, dice))
    return hooks


def _handler(point: HookPoint, dice: random.Random) -> Any:
    def handle(ctx: Any) -> HookDirective | None:
        if dice.random() < 0.6:
            return None
        return dice.choice(_ACTS[point])(ctx)

    return handle


def fail(_ctx: Any) -> None:
    raise RuntimeError("a bug in a hook")


def skip(_ctx: Any) -> HookDirective:
    return SKIP


def stop(_ctx: Any) -> HookDirective:
    return BREAK


def say_first(ctx: Any) -> None:
    """Put a word in front."""
    ctx.messages.insert(0, AgentMessage(MessageRole.USER, "a word before"))


def trim(ctx: Any) -> None:
    """Keep the last exchange only, from an input on."""
    inputs = [place for place, message in enumerate(ctx.messages) if message.role is MessageRole.USER]
    if inputs:
        del ctx.messages[: inputs[-1]]


def other_system(ctx: Any) -> None:
    ctx.system_prompt = "for this once"


def answer(ctx: Any) -> HookDirective:
    ctx.output = LLMResponse("from a hook")
    return SHORT


def reword(ctx: Any) -> None:
    ctx.output = msgspec.structs.replace(ctx.output, content="reworded")


def drop_calls(ctx: Any) -> None:
    ctx.output = LLMResponse("without calls")


def add_call(ctx: Any) -> None:
    if len(ctx.output.tool_calls) < 2:
        calls = (*ctx.output.tool_calls, ReplyCall("", "look", '{"n": 1}'))
        ctx.output = LLMResponse("one more", calls)


def change_args(ctx: Any) -> None:
    ctx.tool_args = {"n": 2}


def censor(ctx: Any) -> None:
    ctx.output = "censored"


def mark(ctx: Any) -> None:
    if ctx.message.text:
        ctx.message = msgspec.structs.replace(ctx.message, content=ctx.message.text + "!")


_ACTS: dict[HookPoint, list[Any]] = {
    HookPoint.SESSION_START: [say_first, trim, fail],
    HookPoint.ROUND_START: [skip, stop, say_first, trim, fail],
    HookPoint.LLM_BEFORE: [stop, other_system, answer, fail],
    HookPoint.LLM_AFTER: [reword, drop_calls, add_call, stop, fail],
    HookPoint.ROUND_DECIDE: [skip, stop, fail],
    HookPoint.TOOLS_BATCH_BEFORE: [skip, fail],
    HookPoint.TOOL_BEFORE: [skip, change_args, fail],
    HookPoint.TOOL_AFTER: [censor, stop, fail],
    HookPoint.TOOL_ERROR: [skip],
    HookPoint.MESSAGE_APPEND: [mark],
    HookPoint.ROUND_END: [fail],
    HookPoint.SESSION_END: [fail],
}
