"""System prompts, and what they speak of: tools, project instructions, environment. Knows no engine and no store."""

from power_loop.prompt.builder import SystemPromptBuilder
from power_loop.prompt.defaults import (
    DEFAULT_AGENT_SYSTEM_PROMPT,
    DEFAULT_EXPLORE_SUBAGENT_SYSTEM_PROMPT,
    DEFAULT_SUBAGENT_SYSTEM_PROMPT,
    build_agent_system_prompt,
    build_explore_subagent_system_prompt,
    build_subagent_system_prompt,
)
from power_loop.prompt.environment import ENVIRONMENT, Environment, GitFacts, collect_environment, read_git
from power_loop.prompt.instructions import (
    InstructionFile,
    InstructionProblem,
    Instructions,
    discover_instructions,
)
from power_loop.prompt.sections import BUILTIN_SECTIONS, TOOL_HINTS, Renderer, SystemPromptContext

__all__ = [
    "BUILTIN_SECTIONS",
    "DEFAULT_AGENT_SYSTEM_PROMPT",
    "DEFAULT_EXPLORE_SUBAGENT_SYSTEM_PROMPT",
    "DEFAULT_SUBAGENT_SYSTEM_PROMPT",
    "ENVIRONMENT",
    "TOOL_HINTS",
    "Environment",
    "GitFacts",
    "InstructionFile",
    "InstructionProblem",
    "Instructions",
    "Renderer",
    "SystemPromptBuilder",
    "SystemPromptContext",
    "build_agent_system_prompt",
    "build_explore_subagent_system_prompt",
    "build_subagent_system_prompt",
    "collect_environment",
    "discover_instructions",
    "read_git",
]
