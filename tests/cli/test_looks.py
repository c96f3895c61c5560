"""``sessions`` and ``show``: tables, JSON, abbreviated ids, hostile text, and stores that cannot be read."""

import asyncio
import base64
import re
import sqlite3
import unicodedata
from pathlib import Path

import pytest

from power_loop import AgentLoopConfig, Budget, DefaultCompactor, SqliteStore, StatefulAgentLoop, document, image
from power_loop.facts.chain import chain
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.journal import Entry
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.store import Append, Claim
from power_loop.testing import ScriptedLLM, call, reply

HOSTILE = (
    "\x1b[31mred\x1b[0m \x1b]52;c;cm0=\x07 \u202eright\u202c \x9b2J \r\x08 \u2066x\u2069 [bold]kept[/bold] :smile:"
)


DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def lookup(city: str) -> str:
    """Look up a dish."""
    return f"{HOSTILE} ceviche of {city}"


@pytest.fixture
def make(place: Path):
    """Make sessions with these ids; each has a tool call and hostile text."""

    def sessions(*ids: str, db: str = "power_loop_sessions.db") -> None:
        async def talk() -> None:
            for identity in ids:
                llm = ScriptedLLM(reply("Looking.", call("lookup", city="Lima")), f"{HOSTILE} done")
                async with StatefulAgentLoop(llm=llm, tools=[lookup], db_path=str(place / db)) as loop:
                    await loop.new_session(identity, metadata={"made": HOSTILE})
                    await loop.send(f"{HOSTILE} Lima?", identity)

        asyncio.run(talk())

    return sessions


def assert_harmless(text: str) -> None:
    bad = [char for char in text if unicodedata.category(char) in {"Cc", "Cs"} and char != "\n"]
    assert not bad
    assert not set(text) & set("\u202e\u202c\u2066\u2069\u200e\u200f")


def test_sessions_as_a_table(cli, make):
    make("alpha", "beta")
    done = cli("sessions")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [name in lines[0] for name in ("session", "status", "waits for", "age", "entries")] == [True] * 5
    assert [line.split()[:2] for line in lines[2:]] == [["beta", "completed"], ["alpha", "completed"]]


def test_folds_files_checks_and_budgets_are_told_in_words(cli, place):
    def answer(request):
        if (request.system_prompt or "").startswith("You sum up"):
            return f"They spoke of the sun. {HOSTILE}"
        tokens = sum(len(message.text) // 4 for message in request.messages)
        return reply("Noted.", usage=LLMTokenUsage(tokens, 2))

    async def talk() -> None:
        config = AgentLoopConfig(
            context_window=4_000, max_tokens=500, max_output_repairs=0, compactor=DefaultCompactor(keep_ratio=0.2)
        )
        llm = ScriptedLLM(answer, repeat=True)
        async with StatefulAgentLoop(llm=llm, db_path="power_loop_sessions.db", config=config) as loop:
            await loop.new_session("long")
            for _ in range(6):
                await loop.send("It goes round the sun. " * 100, "long")
            await loop.send("A number?", "long", output_type=int)
            await loop.send(["See:", document(b"ceviche", name=f"{HOSTILE}.txt"), image(DOT)], "long")
        config = AgentLoopConfig(session_budget=Budget(tokens=1))
        async with StatefulAgentLoop(llm=llm, db_path="power_loop_sessions.db", config=config) as loop:
            await loop.send("More.", "long")

    asyncio.run(talk())
    shown = cli("show", "long")
    assert_harmless(shown.out)
    assert "[image, image/png, 70 B]" in shown.out
    assert re.search(r"\[document red.*\.txt, text/plain, 7 B\]", shown.out)
    words = {entry["kind"]: entry["words"] for entry in cli("show", "long", "--json").json()["journal"]}
    figures = r"entries \d+ to \d+ folded, about [\d,]+ tokens became [\d,]+ \(threshold\): (.*)"
    told = re.fullmatch(figures, words["compacted"])
    assert told
    assert told[1].startswith('"They spoke of the sun.')
    assert told[1].endswith(':smile:"')
    assert words["output_checked"].startswith("does not fit, no further try: ")
    assert re.fullmatch(r"\d+ of 1 tokens spent in this session", words["budget_reached"])
    assert not any(text.startswith("{") for text in words.values())


def test_long_ids_are_never_cut(cli, make, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    make("s" * 36)
    assert "s" * 36 in cli("sessions").out


def test_sessions_as_json(cli, make):
    make("alpha")
    (session,) = cli("sessions", "--json").json()["sessions"]
    assert (session["session_id"], session["status"], session["waiting_for"]) == ("alpha", "completed", "")
    assert session["entries"] > 5


def test_the_number_of_sessions_is_bounded(cli, make):
    make("a", "b", "c")
    listed = cli("sessions", "--limit", "2", "--json").json()["sessions"]
    assert [session["session_id"] for session in listed] == ["c", "b"]


def test_show_prints_conversation_and_journal(cli, make):
    make("alpha")
    done = cli("show", "alpha")
    assert done.code == 0
    assert '→ lookup(city="Lima")' in done.out
    assert "ceviche of Lima" in done.out
    for words in ("session opened", "input received", "model replied", "tool started", "run ended"):
        assert words in done.out


def test_hostile_text_is_shown_without_its_teeth(cli, make):
    make("alpha")
    done = cli("show", "alpha")
    assert_harmless(done.out)
    assert "red" in done.out
    assert "[bold]kept[/bold] :smile:" in done.out
    assert_harmless(cli("sessions").out)


def test_json_of_hostile_text_is_ascii_and_exact(cli, make):
    make("alpha")
    done = cli("show", "alpha", "--json")
    assert done.out.isascii()
    assert_harmless(done.out)
    document = done.json()
    assert document["messages"][0]["content"] == f"{HOSTILE} Lima?"
    assert document["session"]["metadata"] == {"made": HOSTILE}


def test_show_as_json(cli, make):
    make("alpha")
    document = cli("show", "alpha", "--json").json()
    assert [message["role"] for message in document["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert [entry["seq"] for entry in document["journal"]] == list(range(1, len(document["journal"]) + 1))
    assert document["journal"][-1]["body"]["status"] == "completed"
    assert document["usage"]["total_tokens"] == 30
    assert document["pending"] is None


def test_an_id_may_be_abbreviated(cli, make):
    make("alpha-1", "alpha-2", "sess_beta")
    for typed, meant in (("alpha-1", "alpha-1"), ("alpha-2", "alpha-2"), ("be", "sess_beta"), ("last", "sess_beta")):
        assert cli("show", typed, "--json").json()["session"]["session_id"] == meant


def test_an_abbreviation_of_several_names_them(cli, make):
    make("alpha-1", "alpha-2")
    done = cli("show", "alpha", "--json")
    assert (done.code, done.json()["error"]["code"]) == (3, "ambiguous_session")
    assert "alpha-1" in done.json()["error"]["message"]
    assert "alpha-2" in done.json()["error"]["message"]


def test_a_whole_id_wins_over_longer_ones(cli, make):
    make("alpha", "alpha-2")
    assert cli("show", "alpha", "--json").json()["session"]["session_id"] == "alpha"


def test_an_unknown_session(cli, make):
    make("alpha")
    done = cli("show", "nobody")
    assert (done.code, done.out) == (3, "")
    assert (
        done.err
        == "power-loop: No session 'nobody' here. See which there are with: power-loop sessions (and check --db)\n"
    )


@pytest.mark.parametrize("command", [("sessions",), ("show", "last"), ("resume", "last", "--model", "openai:m")])
def test_looking_at_a_database_that_is_not_there_makes_none(cli, place, command):
    done = cli(*command, "--json")
    assert (done.code, done.json()["error"]["code"]) == (4, "store_unavailable")
    assert [path.name for path in place.iterdir()] == ["cli_test_tools.py"]


def test_a_file_that_is_no_database(cli, place):
    (place / "notes.txt").write_text("just text, and quite a lot of it " * 40)
    done = cli("sessions", "--db", "notes.txt")
    assert done.code == 4
    assert done.err.startswith("power-loop: ")
    assert "notes.txt" in done.err
    assert "Traceback" not in done.err


def test_a_changed_entry_is_told_and_not_shown(cli, make, place):
    make("alpha")
    db = sqlite3.connect(place / "power_loop_sessions.db")
    db.execute("UPDATE entries SET body = replace(body, 'Lima', 'Roma') WHERE kind = 'input_received'")
    db.commit()
    db.close()
    done = cli("show", "alpha", "--json")
    assert (done.code, done.json()["error"]["code"]) == (4, "store_corrupt")


def test_a_journal_of_a_newer_release_can_still_be_looked_at(cli, make, place):
    make("alpha")
    add_entry_of_the_future(place / "power_loop_sessions.db")
    document = cli("show", "alpha", "--json").json()
    assert document["messages"] is None
    assert document["journal"][-1]["kind"] == "from_the_future"
    assert "does not know" in document["journal"][-1]["words"]
    shown = cli("show", "alpha")
    assert shown.code == 0
    assert "A newer release wrote parts of this journal" in shown.out


def add_entry_of_the_future(path: Path) -> None:

    async def add() -> None:
        store = SqliteStore(path)
        record = await store.get("alpha")
        columns = (record.head_seq + 1, "from_the_future", 1, record.epoch + 1, 0, 1, "{}")
        entry = Entry(*columns, digest=chain(record.head_digest, *columns))
        now = SYSTEM_CLOCK.now()
        claim = Claim(store.owner, now.plus(30), now)
        head = (record.epoch, record.head_seq, record.head_digest)
        await store.append(Append("alpha", *head, (entry,), claim=claim, release=True))
        await store.close()

    asyncio.run(add())


def test_an_empty_store_says_how_to_begin(cli, make, place):
    make(db="power_loop_sessions.db")
    asyncio.run(touch(place / "power_loop_sessions.db"))
    done = cli("sessions")
    assert (done.code, done.out) == (0, "")
    assert "power-loop run TASK" in done.err


async def touch(path: Path) -> None:
    store = SqliteStore(path)
    await store.list()
    await store.close()


def test_a_reader_that_leaves_early_sees_no_traceback(child, make):
    make("alpha")
    process = child("show", "alpha")
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
