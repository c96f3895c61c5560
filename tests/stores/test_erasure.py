"""Erased content is gone, and the history around it stays valid; a replaced body that nobody recorded is noticed."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from power_loop.decisions.replay import replay
from power_loop.facts import erasure, jsontext
from power_loop.facts.chain import base_digest, body_hash, seal_all, verify
from power_loop.facts.entries import (
    Compacted,
    InputReceived,
    ModelReplied,
    RecordedCall,
    RunEnded,
    ToolFinished,
    ViewEdited,
)
from power_loop.facts.erasure import ERASED, erased_body, erasure_of
from power_loop.facts.errors import InvalidInputError, JournalTooNew, StoreCorrupt
from power_loop.facts.journal import FACTS, Entry, decode
from power_loop.facts.messages import AgentMessage, Image, MessageRole, Reasoning, Text, ToolCall
from power_loop.ports.llm import LLMRequest, validate_request

GOLDEN = Path(__file__).parents[1] / "golden" / "journal_v1.jsonl"
STRUCTURAL = {"session_opened", "run_started", "definition_changed", "model_called", "round_skipped"}


def golden() -> tuple[bytes, list[Entry]]:
    head, *lines = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    entries = [Entry(**{**line, "digest": bytes.fromhex(line["digest"])}) for line in lines]
    return bytes.fromhex(head["base_digest"]), entries


def erased(entry: Entry) -> Entry:
    body = erased_body(entry.kind, entry.body)
    return msgspec.structs.replace(entry, body=body, decoded=None, body_digest=body_hash(entry.body))


def erasable(entry: Entry) -> bool:
    return entry.kind not in STRUCTURAL


def test_every_kind_is_erased_to_itself_and_no_further():
    _, entries = golden()
    for entry in filter(erasable, entries):
        body = erased_body(entry.kind, entry.body)
        assert decode(entry.kind, 1, body) is not None
        assert erased_body(entry.kind, body) == body


def test_what_has_no_content_cannot_be_erased():
    _, entries = golden()
    refused = set()
    for entry in entries:
        try:
            erased_body(entry.kind, entry.body)
        except InvalidInputError:
            refused.add(entry.kind)
    assert refused == STRUCTURAL


def test_of_every_kind_it_is_decided_what_an_erasure_leaves():
    """A new kind of entry either has an eraser, or is listed here as one that says nothing of its own."""
    silent = STRUCTURAL | {"budget_reached", "pruned", "erased"}
    assert set(FACTS) - silent <= erasure._ERASERS.keys()


def test_of_an_edit_of_the_view_some_messages_can_go():
    messages = tuple(AgentMessage(MessageRole.USER, text) for text in ("a", "b", "c"))
    (entry,) = seal_all([ViewEdited(0, 0, messages)], head_seq=0, head_digest=b"", run=1, round_=0, time=0)
    fact = decode("view_edited", 1, erased_body("view_edited", entry.body, parts=(1,)))
    assert [message.content for message in fact.messages] == ["a", ERASED, "c"]
    record = erasure_of(entry, "asked for", (1,))
    assert record.parts == (1,)
    assert record.tombstone != erasure_of(entry).tombstone


def test_what_is_one_message_has_no_parts():
    with pytest.raises(InvalidInputError, match="parts"):
        erased_body("note", '{"topic":"t","text":"x"}', parts=(0,))


def test_a_kind_of_a_newer_version_is_not_touched():
    with pytest.raises(JournalTooNew):
        erased_body("note", "{}", 99)


def test_a_history_whose_every_content_is_erased_is_as_long_and_as_valid():
    base, entries = golden()
    facts = [erasure_of(entry) for entry in entries if erasable(entry)]
    last = entries[-1]
    records = seal_all(facts, head_seq=last.seq, head_digest=last.digest, run=last.run, round_=0, time=last.time)
    gone = [erased(entry) if erasable(entry) else entry for entry in entries]
    state = replay([*gone, *records], base_seq=0, base_digest=base)
    before = replay(entries, base_seq=0, base_digest=base)
    assert [message.role for message in state.messages] == [message.role for message in before.messages]
    assert (state.spent.total.usage, state.spent.total.cost, state.rounds, state.wire_ids) == (
        before.spent.total.usage, before.spent.total.cost, before.rounds, before.wire_ids,
    )  # fmt: skip
    assert {message.text for message in state.messages} <= {ERASED, ""}
    assert {str(call.arguments) for message in state.messages for call in message.tool_calls} <= {
        "{}",
        str({"unreadable_arguments": ERASED}),
    }
    validate_request(LLMRequest([*state.messages, AgentMessage(MessageRole.USER, "-")]))


SECRET = "sesame"
SECRETS: list[Any] = [
    InputReceived(content=SECRET, name=SECRET),
    InputReceived(content=(Text(SECRET), Image(blob=SECRET, media_type="image/png"))),
    ModelReplied(
        content=(Reasoning(SECRET, signature=SECRET, data=SECRET), Text(SECRET)),
        calls=(RecordedCall(id="a", name="b", arguments={SECRET: SECRET}, raw=SECRET, error=SECRET),),
        payload={"x": SECRET},
    ),
    ToolFinished(call="c", name="d", content=SECRET),
    RunEnded(status="completed", final_text=SECRET, reason=SECRET),
    ViewEdited(0, 1, (AgentMessage(MessageRole.ASSISTANT, SECRET, (ToolCall("i", "n", {"k": SECRET}),), name=SECRET),)),
]


@pytest.mark.parametrize("fact", SECRETS, ids=lambda fact: fact.kind)
def test_nothing_of_a_secret_stays(fact):
    (entry,) = seal_all([fact], head_seq=0, head_digest=b"", run=0, round_=0, time=0)
    assert SECRET in entry.body
    assert SECRET not in erased_body(entry.kind, entry.body)


def test_a_call_that_could_not_be_read_still_cannot():
    call = RecordedCall(id="a", name="b", raw="{", error="no JSON")
    (entry,) = seal_all([ModelReplied(calls=(call,))], head_seq=0, head_digest=b"", run=0, round_=0, time=0)
    fact = decode(entry.kind, 1, erased_body(entry.kind, entry.body))
    assert isinstance(fact, ModelReplied)
    assert fact.calls[0].raw is not None


def test_a_summary_is_erased_where_it_stands():
    kept = AgentMessage(MessageRole.USER, "sesame")
    fact = Compacted("about sesame", 0, 2, (AgentMessage(MessageRole.USER, "note"), kept), (0, 4), {"rounds": 3}, 1, 3)
    body = erased_body("compacted", jsontext.encode(fact))
    assert "sesame" not in body
    assert json.loads(body)["summary"] == ERASED
    assert (json.loads(body)["carried"], json.loads(body)["seqs"]) == ({"rounds": 3}, [0, 4])


# -- tampering


def journal() -> list[Entry]:
    first = seal_all(
        [InputReceived(content="one"), InputReceived(content="two")],
        head_seq=0, head_digest=base_digest("s"), run=0, round_=0, time=0,
    )  # fmt: skip
    record = seal_all([erasure_of(first[0])], head_seq=2, head_digest=first[-1].digest, run=0, round_=0, time=0)
    return [erased(first[0]), first[1], *record]


CHECKS = {
    "verify": lambda entries: verify(
        entries, base_seq=0, base=base_digest("s"), head_seq=len(entries), head=entries[-1].digest
    ),
    "replay": lambda entries: replay(entries, base_seq=0, base_digest=base_digest("s")),
}


@pytest.mark.parametrize("check", CHECKS)
def test_a_recorded_erasure_is_in_order(check):
    CHECKS[check](journal())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("how", ["no record", "other body", "other hash", "no hash"])
def test_a_body_replaced_in_any_other_way_is_noticed(check, how):
    entries = journal()
    change = {
        "no record": (1, {"body": '{"content":"evil"}', "body_digest": body_hash(entries[1].body)}),
        "other body": (0, {"body": '{"content":"evil"}'}),
        "other hash": (0, {"body_digest": b"\1" * 16}),
        "no hash": (0, {"body_digest": None}),
    }
    place, fields = change[how]
    entries[place] = msgspec.structs.replace(entries[place], **fields)
    with pytest.raises(StoreCorrupt):
        CHECKS[check](entries)
