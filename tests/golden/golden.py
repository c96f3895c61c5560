"""Golden journals: files that a release has written and every later one must read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from power_loop.decisions.events import Narrator
from power_loop.decisions.replay import replay
from power_loop.decisions.state import State
from power_loop.facts.journal import Entry

FOLDER = Path(__file__).parent
SESSION = "golden"


def write(path: Path, base_digest: bytes, entries: Sequence[Entry]) -> None:
    lines: list[dict[str, Any]] = [{"session": SESSION, "base_digest": base_digest.hex()}]
    lines += [
        {
            "seq": e.seq, "kind": e.kind, "version": e.version, "run": e.run, "round": e.round, "time": e.time,
            "body": e.body, "digest": e.digest.hex(),
        }
        for e in entries
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def read(path: Path) -> tuple[bytes, list[Entry]]:
    """Return base digest and entries, none of them decoded yet."""
    head, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    entries = [Entry(**{**line, "digest": bytes.fromhex(line["digest"])}) for line in lines]
    return bytes.fromhex(head["base_digest"]), entries


def derived(state: State) -> dict[str, Any]:
    """Return what must follow from a journal, as plain data."""
    ended = state.ended
    return {
        "head": [state.head_seq, state.head_digest.hex()],
        "messages": [message.to_openai_message() for message in state.messages],
        "wire_ids": sorted(state.wire_ids),
        "offered": sorted(state.offered),
        "definition": state.definition,
        "run": state.run,
        "run_open": state.run_open,
        "rounds": state.rounds,
        "reply_needed": state.reply_needed,
        "open_calls": state.open_calls,
        "results": {call.id: call.result and call.result.content for call in state.calls.values()},
        "keys": {call.id: call.key for call in state.calls.values()},
        "status": ended and ended.status,
        "final_text": ended and ended.final_text,
        "usage": state.spent.total.usage.as_dict(),
        "cost": str(state.spent.total.cost),
    }


def told(entries: Sequence[Entry]) -> list[list[Any]]:
    """Return what subscribers hear of a journal."""
    narrator = Narrator(SESSION)
    return [[event.seq, str(event.type)] for entry in entries for event in narrator.tell(entry)]


def summary(base_digest: bytes, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the state at every end of a run and at the end of the journal, and the events."""
    places = [entry.seq for entry in entries if entry.kind == "run_ended"] + [len(entries)]
    states = {
        str(place): derived(replay(entries[:place], base_seq=0, base_digest=base_digest))
        for place in sorted(set(places))
    }
    return {"states": states, "events": told(entries)}
