"""P1 to P5, P8, P9: kill -9 at every commit, at every SQL statement, inside tools and model calls, and twice.

The numbers of points come from undisturbed runs. ``POWER_LOOP_DEEP=1`` plays all pairs of all scenarios.
"""

import sys
from collections.abc import Iterator

import pytest
from crash_jobs import DEEP, Job, Servers, around, complaints, deaths, scratch
from crash_world import SCENARIOS

pytestmark = pytest.mark.timeout(3600 if DEEP else 120)
INSIDE = [f"tool:{name}:{place}" for name in ("put", "look", "fire") for place in ("enter", "begun", "mid")]
MODEL = [f"model:{number}:{place}" for number in (1, 2) for place in ("asked", "paid")]

COMMITS = {"text": 3, "one_tool": 5, "parallel": 7, "stream": 5, "cancel": 8, "talk": 13, "fold": 20, "long": 23}
COMMITS["output"] = 5


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with scratch() as folder:
        servers = Servers(folder)
        yield servers
        servers.close()
        sys.stdout.write(f"{servers.killed} processes killed\n")


def play(servers: Servers, scenario: str, faults: list[tuple[str, ...]]) -> tuple[int, int]:
    """Play one job per tuple of faults; return how many jobs and deaths there were. Nothing may be wrong."""
    expected = servers.undisturbed(scenario)["view"]
    jobs: list[Job] = [{"scenario": scenario, "faults": list(fault), "expected": expected} for fault in faults]
    verdicts = servers.play(jobs)
    assert complaints(jobs, verdicts) == []
    return len(jobs), deaths(verdicts)


@pytest.mark.parametrize(
    ("scenario", "commits"),
    COMMITS.items(),
)
def test_before_and_after_every_commit(servers: Servers, scenario: str, commits: int) -> None:
    """Nothing acknowledged is lost, nothing recorded is redone, whichever commit the driver dies at."""
    assert servers.undisturbed(scenario)["commits"] >= commits
    points = around("commit", servers.undisturbed(scenario)["commits"])
    played, died = play(servers, scenario, [(point,) for point in points])
    assert (played, died) == (len(points), len(points))
    assert len(points) >= 2 * commits


def test_before_and_after_every_sql_statement(servers: Servers) -> None:
    """Also inside a transaction, between COMMIT and its acknowledgement, and while the schema is made."""
    points = around("sql", servers.undisturbed("parallel")["sql"])
    played, died = play(servers, "parallel", [(point,) for point in points])
    assert died >= played - 6, "the last statements run after the journal is complete"
    assert played >= 100


def test_between_an_output_that_did_not_fit_and_its_repair(servers: Servers) -> None:
    """Whoever resumes still knows what output is wanted, and how often it was asked for."""
    points = ["model:2:asked", "model:2:paid", "tool:put:mid", "model:3:asked", "model:3:paid"]
    assert play(servers, "output", [(point,) for point in points]) == (5, 5)


@pytest.mark.parametrize("scenario", ["parallel", "talk"])
def test_inside_tools_and_model_calls(servers: Servers, scenario: str) -> None:
    """Each tool started and nothing done; something begun; the effect made and its result not recorded."""
    points = INSIDE + MODEL
    assert play(servers, scenario, [(point,) for point in points]) == (13, 13)


def test_inside_the_call_that_makes_a_summary(servers: Servers) -> None:
    """Nothing is folded and nothing is lost; the next driver folds."""
    assert servers.undisturbed("fold")["kinds"].count("compacted") >= 2
    assert play(servers, "fold", [("summary",), ("summary", "summary")]) == (2, 3)


def test_a_summary_that_keeps_killing_its_process_ends_as_a_crash_loop(servers: Servers) -> None:
    verdict = servers.play([{"scenario": "fold", "faults": ["summary"] * 5}])[0]
    assert verdict["killed"] == [True, True, True, False, False], "its call is recorded before it is made"


def test_inside_a_stream(servers: Servers) -> None:
    assert play(servers, "stream", [("delta",)]) == (1, 1)


@pytest.mark.parametrize("scenario", list(SCENARIOS) if DEEP else ["one_tool", "parallel", "cancel"])
def test_twice(servers: Servers, scenario: str) -> None:
    """The process that resumes dies too, at each of its commits; a third one comes to the end."""
    firsts = around("commit", servers.undisturbed(scenario)["commits"])
    firsts += [point for point in INSIDE + MODEL if scenario == "parallel"]
    pairs = []
    for first in firsts if DEEP else firsts[1::2]:
        points = around("commit", servers.undisturbed(scenario, [first])["commits"])
        pairs += [(first, second) for second in (points if DEEP else points[1::2] + points[:1])]
    played, died = play(servers, scenario, pairs)
    assert died >= 2 * played - 3, "only the order of a cancel and a result may differ from run to run"
    assert played >= {"one_tool": 15, "parallel": 60, "cancel": 25}.get(scenario, 6)


@pytest.mark.parametrize("place", ["tool:look:mid", "tool:put:begun"])
def test_a_read_that_keeps_killing_its_process_becomes_unknown(servers: Servers, place: str) -> None:
    """After three attempts that ended in process death a tool is not run again, and the model is told."""
    verdict = servers.play([{"scenario": "parallel", "faults": [place] * 4}])[0]
    assert verdict["killed"] == [True, True, True, False]
    name = place.split(":")[1]
    (told,) = [message["content"] for message in verdict["view"] if message.get("tool_call_id") == f"w1_{name}"]
    assert "died while" in told
    assert "attempt 3" in told
