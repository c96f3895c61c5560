"""When prompt or tools are not what a session was told: adopt, pin or ask."""

import msgspec
import pytest

from power_loop import (
    AgentLoopConfig,
    ConfigError,
    DefinitionChangedError,
    MemoryStore,
    SqliteStore,
    StatefulAgentLoop,
    SystemPromptBuilder,
    SystemPromptContext,
    ToolDefinition,
    ToolRegistry,
)
from power_loop.decisions.definitions import difference
from power_loop.facts.entries import DefinitionChanged
from power_loop.testing import ScriptedLLM, call, reply

OLD = {
    "type": "object",
    "required": ["zeta", "alpha"],
    "properties": {"zeta": {"type": "string"}, "alpha": {"description": "first", "type": "integer"}},
}
NEW = {"type": "object", "properties": {"alpha": {"type": "integer"}}}


def loop_of(store, model, *tools, prompt="Be brief.", policy="adopt") -> StatefulAgentLoop:
    registry = ToolRegistry()
    for definition in tools:
        registry.register(definition, lambda **_: "done")
    config = AgentLoopConfig(system_prompt=prompt, on_definition_change=policy)
    return StatefulAgentLoop(llm=model, tools=registry, store=store, config=config)


def wire(request) -> tuple:
    """What the model was told before the conversation, byte for byte."""
    return request.system_prompt, [msgspec.json.encode(tool.to_openai_tool()) for tool in request.tools]


async def kinds(store, session: str) -> list[str]:
    return [entry.kind for entry in await store.read(session)]


LOOK, LOOK_NOW = ToolDefinition("look", "Look.", OLD), ToolDefinition("look", "Look twice.", NEW)
BUY = ToolDefinition("buy", "Buy.")


async def test_adopt_records_the_new_one_and_goes_on():
    store, model = MemoryStore(), ScriptedLLM("One.", "Two.", "Three.")
    result = await loop_of(store, model, LOOK).send("a")
    loop = loop_of(store, model, LOOK_NOW, BUY, prompt="Be kind.")
    await loop.send("b", result.session_id)
    await loop.send("c", result.session_id)
    assert (await kinds(store, result.session_id)).count("definition_changed") == 2
    assert [request.system_prompt for request in model.requests] == ["Be brief.", "Be kind.", "Be kind."]
    assert [len(request.tools) for request in model.requests] == [1, 2, 2]


async def test_pin_goes_on_with_what_is_recorded_byte_for_byte(tmp_path):
    store, model = SqliteStore(tmp_path / "sessions.db"), ScriptedLLM("One.", "Two.", "Three.")
    result = await loop_of(store, model, LOOK, BUY).send("a")
    other = loop_of(store, model, LOOK_NOW, prompt="Be kind.", policy="pin")
    await other.send("b", result.session_id)
    assert wire(model.requests[1]) == wire(model.requests[0])
    assert (await kinds(store, result.session_id)).count("definition_changed") == 1
    await other.send("new", None)
    assert model.requests[2].system_prompt == "Be kind.", "a session that was told nothing yet has nothing to keep"
    await store.close()


async def test_pin_keeps_a_tool_that_is_the_same_here_as_it_is_here():
    """Whose parameters are required is part of no wire; a model in the process wants it nevertheless."""
    same = ToolDefinition("look", "Look.", OLD, required_params=("zeta",))
    store, model = MemoryStore(), ScriptedLLM("One.", "Two.")
    result = await loop_of(store, model, same, BUY).send("a")
    await loop_of(store, model, same, policy="pin").send("b", result.session_id)
    assert [tool.required_params for tool in model.requests[1].tools] == [("zeta",), ()]


async def test_under_pin_a_tool_that_is_gone_waits_and_a_new_one_is_not_offered():
    store = MemoryStore()
    result = await loop_of(store, ScriptedLLM("One."), LOOK).send("a")
    session = result.session_id
    model = ScriptedLLM(reply("", call("look", id="c1", zeta="z", alpha=1), call("buy", id="c2")))
    elsewhere = loop_of(store, model, BUY, policy="pin")
    waiting = await elsewhere.send("b", session)
    assert waiting.status == "pending_tools"
    assert [item.name for item in waiting.pending_tool_calls] == ["look"]
    done = await loop_of(store, ScriptedLLM("Two."), LOOK, policy="pin").resume(session)
    messages = await elsewhere.get_messages(session)
    assert done.final_text == "Two."
    assert [message["content"] for message in messages if message["role"] == "tool"] == [
        "done",
        "Error: unknown tool 'buy'. Available tools: look.",
    ]


async def test_ask_raises_before_anything_is_written_and_names_what_differs():
    store = MemoryStore()
    loop = loop_of(store, ScriptedLLM("One."), LOOK, ToolDefinition("sell"))
    session = (await loop.send("a")).session_id
    before = await kinds(store, session)
    model = ScriptedLLM("Two.", "Three.", "Four.")
    asking = loop_of(store, model, LOOK_NOW, BUY, prompt="Be kind.", policy="ask")
    with pytest.raises(DefinitionChangedError, match=r"'adopt'.*'pin'.*'ask'") as caught:
        await asking.send("b", session)
    error = caught.value
    assert (error.system, error.added, error.removed, error.changed) == (True, ["buy"], ["sell"], ["look"])
    assert (error.session_id, error.code) == (session, "definition_changed")
    assert await kinds(store, session) == before
    assert (await store.get(session)).lease is None

    await asking.send("b", session, on_definition_change="pin")
    assert model.requests[0].system_prompt == "Be brief."
    with pytest.raises(DefinitionChangedError):
        await asking.send("c", session)
    await asking.send("c", session, on_definition_change="adopt")
    assert (await asking.send("d", session)).final_text == "Four.", "adopted: nothing to ask"


async def test_ask_has_nothing_to_say_where_there_is_nothing_to_do():
    store = MemoryStore()
    session = (await loop_of(store, ScriptedLLM("One."), LOOK).send("a")).session_id
    asking = loop_of(store, ScriptedLLM("New."), BUY, policy="ask")
    assert (await asking.resume(session)).final_text == "One."
    assert (await asking.send("fresh")).final_text == "New."


async def test_ask_looks_at_the_store_before_it_complains():
    """Another loop has adopted what this one has, while this one's state is of before."""
    store, model = MemoryStore(), ScriptedLLM("One.", "Two.", "Three.")
    old = loop_of(store, model, LOOK, policy="ask")
    session = (await old.send("a")).session_id
    new = loop_of(store, model, BUY)
    old.tool_registry.unregister("look")
    old.tool_registry.register(BUY, lambda: "done")
    await new.send("b", session)
    assert (await old.send("c", session)).final_text == "Three."


async def test_a_stream_and_a_resume_take_the_policy_too():
    store = MemoryStore()
    session = (await loop_of(store, ScriptedLLM("One."), LOOK).send("a")).session_id
    model = ScriptedLLM("Two.")
    asking = loop_of(store, model, BUY, policy="ask")
    with pytest.raises(DefinitionChangedError):
        _ = [event async for event in asking.stream("b", session)]
    stream = asking.stream("b", session, on_definition_change="pin")
    _ = [event async for event in stream]
    assert stream.result.final_text == "Two."
    assert (await asking.resume(session, on_definition_change="pin")).final_text == "Two."


async def test_an_unknown_policy_is_refused_before_anything_is_written():
    store = MemoryStore()
    with pytest.raises(ConfigError, match="'adopt', 'pin' or 'ask'"):
        await loop_of(store, ScriptedLLM()).send("a", on_definition_change="maybe")
    assert await store.list() == []


def test_tools_in_another_order_are_another_definition():
    look, buy = LOOK.to_openai_tool(), BUY.to_openai_tool()
    error = difference("s", DefinitionChanged("1", None, (look, buy)), DefinitionChanged("2", None, (buy, look)))
    assert "the order of the tools" in str(error)


# -- a prompt that is built


async def test_a_builder_is_rendered_once_for_the_tools_that_are_registered():
    rendered = []

    def names(context):
        rendered.append(context.tools)
        return ", ".join(tool.name for tool in context.tools)

    builder = SystemPromptBuilder(use_defaults=False).add("names", names).add("who", "Ask Ada.")
    store, model = MemoryStore(), ScriptedLLM("One.", "Two.", "Three.")
    loop = loop_of(store, model, LOOK, prompt=builder)
    session = (await loop.send("a")).session_id
    await loop.send("b", session)
    assert len(rendered) == 1
    loop.tool_registry.register(BUY, lambda: "done")
    await loop.send("c", session)
    assert len(rendered) == 2
    assert [request.system_prompt for request in model.requests] == [
        "look\n\nAsk Ada.\n", "look\n\nAsk Ada.\n", "look, buy\n\nAsk Ada.\n",
    ]  # fmt: skip


@pytest.mark.parametrize(("root", "text"), [(None, "Use tabs."), ("packages", "")])
def test_a_builder_looks_for_instructions_from_its_folder_up(tmp_path, root, text):
    folder = tmp_path / "packages" / "web"
    folder.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / "AGENTS.md").write_text("Use tabs.")
    builder = SystemPromptBuilder().use("identity", "project")
    builder.about(SystemPromptContext(workspace_dir=str(folder)), root=root and tmp_path / root)
    assert text in builder.render([LOOK])
    assert ("Use tabs." in builder.render([LOOK])) is bool(text)
    (folder / "AGENTS.md").write_text("Use spaces.")
    assert "Use spaces." in builder.render([LOOK])
    assert "Use" not in builder.remove("project").render([LOOK])


def test_a_folder_without_a_working_tree_is_its_own_root(tmp_path):
    (tmp_path / "AGENTS.md").write_text("Use tabs.")
    inner = tmp_path / "inner"
    inner.mkdir()
    builder = SystemPromptBuilder().about(SystemPromptContext(workspace_dir=str(inner)))
    assert "Use tabs." not in builder.render([])


def test_instructions_that_cannot_be_used_are_logged(tmp_path, caplog):
    (tmp_path / "AGENTS.md").write_bytes(b"\xff\xfe\xff")
    SystemPromptBuilder().about(SystemPromptContext(workspace_dir=str(tmp_path))).render([])
    assert "AGENTS.md" in caplog.text
