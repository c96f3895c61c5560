"""The prompts for an agent, for a sub-agent, and for a sub-agent that only explores."""

import msgspec

from power_loop.prompt.builder import SystemPromptBuilder
from power_loop.prompt.sections import SystemPromptContext


def _subagent_identity(ctx: SystemPromptContext) -> str:
    model = f" You run on the model {ctx.model}." if ctx.model else ""
    return (
        "You work for another agent, on one task that it has handed to you. Nobody can answer questions: decide for "
        f"yourself and say what you assumed. Your last message is your report; nothing else of yours is read.{model}"
    )


def _explore_identity(ctx: SystemPromptContext) -> str:
    rules = (
        "You explore: find out and report, with paths and line numbers. Change nothing: write no files, install "
        "nothing, and run only what reads."
    )
    return f"{_subagent_identity(ctx)}\n{rules}"


def _subagent_builder() -> SystemPromptBuilder:
    return SystemPromptBuilder().add("identity", _subagent_identity)


def _explore_builder() -> SystemPromptBuilder:
    return _subagent_builder().remove("workflow").add("identity", _explore_identity)


def _build(builder: SystemPromptBuilder, ctx: SystemPromptContext | None, extra: str | None) -> str:
    ctx = ctx or SystemPromptContext()
    if extra:
        ctx = msgspec.structs.replace(ctx, extra="\n\n".join(filter(None, [ctx.extra.strip(), extra.strip()])))
    return builder.build(ctx)


def build_agent_system_prompt(
    ctx: SystemPromptContext | None = None, extra: str | None = None, *, builder: SystemPromptBuilder | None = None
) -> str:
    """Return the prompt of an agent; ``extra`` is said at the end, ``builder`` replaces the built-in sections."""
    return _build(builder or SystemPromptBuilder(), ctx, extra)


def build_subagent_system_prompt(ctx: SystemPromptContext | None = None, extra: str | None = None) -> str:
    """Return the prompt of an agent that works on one task for another agent."""
    return _build(_subagent_builder(), ctx, extra)


def build_explore_subagent_system_prompt(ctx: SystemPromptContext | None = None, extra: str | None = None) -> str:
    """Return the prompt of a sub-agent that finds out and changes nothing."""
    return _build(_explore_builder(), ctx, extra)


DEFAULT_AGENT_SYSTEM_PROMPT = build_agent_system_prompt()
"""The agent's prompt where nothing is known of tools and folders: it promises no tool."""
DEFAULT_SUBAGENT_SYSTEM_PROMPT = build_subagent_system_prompt()
DEFAULT_EXPLORE_SUBAGENT_SYSTEM_PROMPT = build_explore_subagent_system_prompt()
