"""``stats``, ``search``, ``prune``, ``erase``, ``export``, ``import``, ``vacuum``: what they do, print and return."""

import asyncio
from pathlib import Path

import pytest
from cli_helpers import MODEL

from power_loop import StatefulAgentLoop
from power_loop.cli.care_parser import _age, _size
from power_loop.cli.words import size
from power_loop.testing import ScriptedLLM
from power_loop.testing.faulty_server import Hang, Reply

DB = "power_loop_sessions.db"
HOSTILE = "\x1b[31mred \u202eright\u202c [bold]kept[/bold]"


@pytest.fixture
def make(place: Path):
    """Make sessions with these ids, each with one exchange."""

    def sessions(*ids: str, text: str = "ceviche in Lima") -> None:
        async def talk() -> None:
            async with StatefulAgentLoop(llm=ScriptedLLM("fine", repeat=True), db_path=str(place / DB)) as loop:
                for identity in ids:
                    await loop.new_session(identity)
                    await loop.send(f"{text}, says {identity}", identity)

        asyncio.run(talk())

    return sessions


def test_stats(cli, make):
    make("alpha", "beta")
    lines = cli("stats").out.splitlines()
    assert lines[0].split() == ["session", "entries", "content", "blobs", "age"]
    assert [line.split()[:2] for line in lines[2:4]] == [["beta", "7"], ["alpha", "7"]]
    assert lines[-1].startswith("database ")
    document = cli("stats", "al", "--json").json()
    assert [session["session_id"] for session in document["sessions"]] == ["alpha"]
    assert document["database_bytes"] > 0
    assert cli("stats", "gamma").code == 3


def test_search(cli, make):
    make("alpha", "beta", text=f"{HOSTILE} Ceviche")
    done = cli("search", "cevi", "KEPT")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()[2:]] == [["beta", "2"], ["alpha", "2"]]
    assert "[bold]kept[/bold]" in done.out
    assert "\x1b" not in done.out
    (hit,) = cli("search", "ceviche", "--session", "alpha", "--json").json()["hits"]
    assert (hit["session_id"], hit["seq"], hit["kind"]) == ("alpha", 2, "input_received")
    assert len(cli("search", "ceviche", "--limit", "1", "--json").json()["hits"]) == 1
    nothing = cli("search", "tacos")
    assert (nothing.code, nothing.out) == (0, "")
    assert "tacos" in nothing.err
    assert cli("search", "tacos", "--json").json() == {"hits": []}


def test_prune(cli, make):
    make("alpha", "beta", "gamma")
    would = cli("prune", "--keep-last", "1", "--dry-run")
    assert would.out.split() == ["alpha", "beta"]
    assert "would delete 2 sessions, 14 entries" in would.err
    assert len(cli("sessions", "--json").json()["sessions"]) == 3
    assert cli("prune", "--older-than", "1w").err.startswith("deleted 0 sessions")
    done = cli("prune", "--keep-last", "1", "--json").json()
    assert (done["sessions"], done["entries"], done["dry_run"]) == (["alpha", "beta"], 14, False)
    assert cli("prune", "--session", "gamma").err.startswith("deleted 0 entries")
    assert cli("prune", "--max-size", "0").out.split() == ["gamma"]


@pytest.mark.parametrize(
    "options",
    [[], ["--older-than", "3"], ["--older-than", "x"], ["--max-size", "5 apples"], ["--keep-last", "-1"]],
)
def test_a_prune_that_does_not_say_what_deletes_nothing(cli, make, options):
    make("alpha")
    assert cli("prune", *options).code == 2
    assert len(cli("sessions", "--json").json()["sessions"]) == 1


def test_erase(cli, make, place):
    make("alpha")
    done = cli("erase", "alpha", "2", "--reason", "asked for")
    assert (done.code, done.err.strip()) == (0, "erased the content of entry 2 of alpha")
    shown = cli("show", "alpha").out
    assert "ceviche" not in shown
    assert "the content of entry 2: asked for" in shown
    assert "before" in cli("erase", "alpha", "2").err
    assert cli("erase", "alpha", "2", "--json").json() == {"session_id": "alpha", "erased": []}
    assert cli("erase", "alpha", "99").code == 2
    assert cli("erase", "alpha", "1").code == 2
    assert cli("erase", "beta", "1").code == 3


def test_export_and_import(cli, make, place):
    make("alpha")
    done = cli("export", "alpha", "alpha.jsonl")
    assert (done.code, done.out.split()) == (0, ["alpha"])
    assert "wrote 1 session to alpha.jsonl" in done.err
    assert cli("export", "alpha", "alpha.jsonl").code == 2, "a file that is there is not written over"
    assert cli("import", "alpha.jsonl").code == 3
    assert cli("import", "alpha.jsonl", "--as", "copy", "--json").json() == {
        "sessions": ["copy"],
        "path": "alpha.jsonl",
    }
    assert cli("import", "alpha.jsonl", "--db", "elsewhere.db").out.split() == ["alpha"]
    assert cli("show", "alpha", "--db", "elsewhere.db").code == 0
    cut = Path("alpha.jsonl").read_bytes()[:-20]
    Path("cut.jsonl").write_bytes(cut)
    assert cli("import", "nowhere.jsonl", "--db", "new.db").code == 4
    assert not Path("new.db").exists()
    assert cli("import", "cut.jsonl", "--db", "new.db").code == 4
    assert cli("sessions", "--db", "new.db", "--json").json() == {"sessions": []}


def test_vacuum(cli, make):
    make("alpha", "beta")
    cli("prune", "--keep-last", "0")
    assert cli("vacuum").err.startswith("gave back ")
    assert set(cli("vacuum", "--json").json()) == {"bytes"}


@pytest.mark.parametrize(
    "argv",
    [
        ["stats"],
        ["search", "x"],
        ["prune", "--keep-last", "1"],
        ["erase", "alpha", "1"],
        ["export", "alpha", "f"],
        ["vacuum"],
    ],
)
def test_looking_creates_no_database(cli, place, argv):
    assert cli(*argv).code == 4
    assert not (place / DB).exists()


def test_ages_and_sizes_as_people_type_them():
    assert [_age(text).total_seconds() for text in ("45s", "90m", "12h", "30d", "2w", "999999999w")] == [
        45, 5400, 43_200, 2_592_000, 1_209_600, 3_153_600_000,
    ]  # fmt: skip
    assert [_size(text) for text in ("7", "7B", "7kB", "7 mb", "7GiB")] == [7, 7, 7000, 7_000_000, 7 * 2**30]
    assert [size(number) for number in (0, 999, 1000, 999_949, 1_500_000, 3 * 10**8, 2 * 10**12)] == [
        "0 B", "999 B", "1.0 kB", "999.9 kB", "1.5 MB", "300.0 MB", "2000.0 GB",
    ]  # fmt: skip


def test_a_session_that_another_process_drives_is_left_alone(cli, child, model, place):
    model.says(Reply((Hang(),)))
    child("run", "go", "--model", MODEL)
    model.wait_for_request()
    busy = cli("erase", "last", "2", "--json")
    assert (busy.code, busy.json()["error"]["code"]) == (3, "session_busy")
    assert cli("prune", "--keep-last", "0", "--json").json()["sessions"] == []
    assert cli("search", "go").code == cli("stats").code == 0
