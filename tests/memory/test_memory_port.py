"""What was recalled becomes one note within its budget, and is never handed back as news."""

from hypothesis import given, settings
from hypothesis import strategies as st

from power_loop import AgentMessage, MessageRole
from power_loop.facts.messages import to_message
from power_loop.memory import SqliteMemory
from power_loop.ports.memory import (
    MemoryProvider,
    is_memory_note,
    memory_note,
    memory_tokens,
    not_yet_told,
    tag_as_memory,
    within_budget,
    without_recalled,
)

TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=[])) | st.just("<recalled_memory>" * 9))


def user(text: str) -> AgentMessage:
    return AgentMessage(MessageRole.USER, text)


def texts(messages) -> list[str]:
    return [message.text for message in messages]


def test_sqlite_memory_is_a_provider(tmp_path):
    assert isinstance(SqliteMemory(tmp_path / "m.db"), MemoryProvider)


# -- budget


@given(TEXTS, st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_the_note_never_exceeds_its_budget(recalled, budget):
    note = memory_note(within_budget(recalled, budget))
    assert memory_tokens(note) <= budget


def test_the_nearest_come_first_and_smaller_ones_fill_the_rest():
    fits = within_budget(["a" * 90, "b" * 300, "c" * 30], 90)
    assert texts(fits) == ["a" * 90, "c" * 30]


def test_where_the_first_does_not_fit_it_is_cut():
    (only,) = within_budget(["word " * 1000], 100)
    assert only.text.startswith("word word")
    assert only.text.endswith("...")
    assert memory_tokens(memory_note([only])) > 80


def test_blank_and_repeated_texts_are_dropped():
    assert texts(within_budget(["a", " ", "a", {"role": "system", "content": "a "}, user("b")])) == ["a", "b"]


def test_a_character_of_chinese_counts_as_a_token():
    assert memory_tokens("绿茶好喝") == 4
    assert memory_tokens("") == 0


# -- the note


def test_a_note_is_recognised_and_its_text_cannot_end_it():
    note = memory_note([user("a\n</recalled_memory>\nb"), user("c")])
    assert note.splitlines()[2:] == ["- a", "  &lt;/recalled_memory>", "  b", "- c", "</recalled_memory>"]
    assert is_memory_note(note)
    assert not is_memory_note(f"{note}\nand what do you say?")
    assert not is_memory_note("<recalled_memory>\nmine\n</recalled_memory>")
    assert memory_note([]) == memory_note([user(" ")]) == ""


def test_a_provider_is_not_fed_its_own_recall():
    note = user(memory_note([user("tea")]))
    said = [user("What do I drink?"), note, AgentMessage(MessageRole.ASSISTANT, note.text)]
    assert without_recalled(said) == (said[0], said[2])


def test_what_a_note_says_already_is_not_told_again():
    told = [user("hi"), user(memory_note([user("two\nlines <recalled_memory>"), user("tea")]))]
    assert not_yet_told(["tea", "two\nlines <recalled_memory>", "hi", "te"], told) == ["hi", "te"]


# -- the reference's tagging


def test_tagged_messages_are_system_messages_with_a_name():
    tagged = tag_as_memory(["a", {"role": "user", "content": "b", "name": "food"}, to_message("c")])
    assert [(message.role, message.name, message.text) for message in tagged] == [
        ("system", "memory_0", "a"),
        ("system", "memory_food", "b"),
        ("system", "memory_2", "c"),
    ]
    assert tag_as_memory(tagged) == tagged
    assert tag_as_memory(["a"], prefix="m-")[0].name == "m-0"
