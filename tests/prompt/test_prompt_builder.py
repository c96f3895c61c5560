"""A prompt speaks of what is there, and the same context gives the same bytes (P20)."""

import subprocess
import sys

import pytest

from power_loop import ToolDefinition, ToolRegistry, tool
from power_loop.facts.errors import ConfigError
from power_loop.prompt import (
    BUILTIN_SECTIONS,
    DEFAULT_AGENT_SYSTEM_PROMPT,
    DEFAULT_EXPLORE_SUBAGENT_SYSTEM_PROMPT,
    DEFAULT_SUBAGENT_SYSTEM_PROMPT,
    TOOL_HINTS,
    Environment,
    InstructionFile,
    Instructions,
    SystemPromptBuilder,
    SystemPromptContext,
    build_agent_system_prompt,
    build_explore_subagent_system_prompt,
    build_subagent_system_prompt,
)
from power_loop.toolkits.todo import todo_tool

REFERENCE_SECTIONS = ["identity", "style", "workflow", "security", "tool_guide", "paths", "todo_discipline", "skills"]


@tool
def water(plant: str) -> str:
    """Water a plant.

    Not for cacti.
    """
    return plant


def full() -> SystemPromptContext:
    return SystemPromptContext.of(
        ToolRegistry([water, todo_tool(), ToolDefinitionTool("bash"), ToolDefinitionTool("load_skill")]),
        model="m-1",
        workspace_dir="/w",
        agent_dir="/a",
        skill_descriptions="- pdf: read PDFs",
        extra="Speak French.",
        instructions=Instructions(InstructionFile("AGENTS.md", "Use tabs.", 9)),
        environment=Environment("2026-01-02 (Friday)", "Linux", "3.11", "/w"),
    )


def ToolDefinitionTool(name: str):  # noqa: N802
    return ToolRegistry().register(ToolDefinition(name, "Something long and winding."))


# -- what is said


def test_the_sections_stand_in_the_order_of_the_list():
    assert list(BUILTIN_SECTIONS)[:8] == REFERENCE_SECTIONS
    text = SystemPromptBuilder().build(full())
    words = ["coding agent", "# Style", "# Workflow", "# Security", "# Tools", "# Paths", "# Todo", "# Skills"]
    places = [text.index(word) for word in [*words, "Use tabs.", "2026-01-02", "Speak French."]]
    assert places == sorted(places)
    assert "m-1" in text


def test_only_registered_tools_are_spoken_of():
    text = build_agent_system_prompt(SystemPromptContext.of([water]))
    guide = text[text.index("# Tools") :].splitlines()
    assert guide == ["# Tools", "- water: Water a plant."]


def test_without_tools_no_tool_is_promised():
    for prompt in (DEFAULT_AGENT_SYSTEM_PROMPT, DEFAULT_SUBAGENT_SYSTEM_PROMPT, DEFAULT_EXPLORE_SUBAGENT_SYSTEM_PROMPT):
        assert "# Tools" not in prompt
        assert not [name for name in TOOL_HINTS if name in prompt]


def test_the_todo_section_needs_the_todo_tool():
    assert "# Todo list" not in build_agent_system_prompt(SystemPromptContext.of([water]))
    assert "# Todo list" in build_agent_system_prompt(SystemPromptContext.of([todo_tool()]))


def test_tools_may_be_known_by_name_only():
    text = build_agent_system_prompt(SystemPromptContext(tool_names=("grep", "unheard_of")))
    assert f"- grep: {TOOL_HINTS['grep']}" in text
    assert text.endswith("- unheard_of\n")


def test_skills_are_told_to_be_loaded_only_where_they_can_be():
    skills = SystemPromptContext(skill_descriptions="- pdf: read PDFs")
    assert "load_skill" not in build_agent_system_prompt(skills)
    assert "- pdf: read PDFs" in build_agent_system_prompt(skills)
    assert "load_skill" in SystemPromptBuilder().use("skills").build(full())


def test_paths_need_a_workspace():
    assert "# Paths" not in build_agent_system_prompt(SystemPromptContext(agent_dir="/a"))
    paths = SystemPromptBuilder().use("paths")
    assert "@workspace/" in paths.build(SystemPromptContext(workspace_dir="/w"))
    assert "@agent/" not in paths.build(SystemPromptContext(workspace_dir="/w"))
    assert "@agent/" in paths.build(full())


def test_a_long_description_is_cut():
    long = ToolRegistry().register(ToolDefinition("long", "word " * 100))
    line = SystemPromptBuilder().use("tool_guide").build(SystemPromptContext.of([long])).splitlines()[-1]
    assert len(line) < 180
    assert line.endswith("...")


def test_the_three_prompts_differ_in_who_is_spoken_to():
    agent = build_agent_system_prompt(full())
    sub = build_subagent_system_prompt(full(), "Be quick.")
    explore = build_explore_subagent_system_prompt(full())
    assert "another agent" not in agent
    assert "another agent" in sub
    assert sub.endswith("Speak French.\n\nBe quick.\n")
    assert "Change nothing" in explore
    assert "# Tools" in explore


# -- bytes


def test_the_same_context_gives_the_same_bytes_in_every_process():
    program = (
        "from power_loop.prompt import *; print(build_agent_system_prompt(SystemPromptContext(model='m')), end='')"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {build_agent_system_prompt(SystemPromptContext(model="m")).encode()}


def test_a_registry_a_list_and_definitions_give_the_same_bytes():
    registry = ToolRegistry([water, todo_tool()])
    texts = {
        build_agent_system_prompt(SystemPromptContext.of(source))
        for source in (registry, [water, todo_tool()], registry.definitions())
    }
    assert len(texts) == 1


def test_text_that_no_store_can_hold_is_made_holdable():
    assert "a\ufffdb" in build_agent_system_prompt(extra="a\ud800b")


# -- the builder


def test_sections_are_kept_removed_and_added_in_place():
    builder = SystemPromptBuilder().use("style", "identity")
    assert builder.section_names() == ["identity", "style"]
    builder.add("tone", "Be kind.", after="identity").add("end", lambda ctx: ctx.model or "", before="style")
    assert builder.section_names() == ["identity", "tone", "end", "style"]
    assert builder.add("tone", "Be kinder.").section_names() == ["identity", "tone", "end", "style"]
    assert builder.add("tone", "Be kinder.", after="style").section_names() == ["identity", "end", "style", "tone"]
    assert builder.remove("identity", "style").build(SystemPromptContext(model="m")) == "m\n\nBe kinder.\n"


def test_a_section_that_says_nothing_leaves_no_gap():
    builder = SystemPromptBuilder(use_defaults=False).add("a", "A").add("none", "  \n").add("b", "B\n\n")
    assert builder.build() == "A\n\nB\n"
    assert SystemPromptBuilder(use_defaults=False).build() == ""


def test_one_builder_does_not_change_another():
    SystemPromptBuilder().remove("identity").add("style", "None.")
    assert SystemPromptBuilder().build() == DEFAULT_AGENT_SYSTEM_PROMPT


@pytest.mark.parametrize(
    "change",
    [
        lambda builder: builder.use("identity", "tone"),
        lambda builder: builder.remove("tone"),
        lambda builder: builder.add("x", "X", after="tone"),
        lambda builder: builder.add("x", "X", before="style", after="style"),
        lambda builder: builder.add("style", "X", before="style"),
    ],
)
def test_a_section_that_is_not_there_is_named(change):
    builder = SystemPromptBuilder()
    with pytest.raises(ConfigError, match=r"tone|not both|itself"):
        change(builder)
    assert builder.section_names() == list(BUILTIN_SECTIONS)
