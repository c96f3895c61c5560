"""What must hold of a session after any number of deaths, seen in its journal and in the ledger."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from crash_world import SESSION, World

from power_loop.facts.chain import verify
from power_loop.facts.entries import ModelCalled, RunEnded, ToolFinished, ToolStarted
from power_loop.facts.journal import Entry

UNKNOWN = "is unknown"


async def problems(world: World, expected: Sequence[dict[str, Any]] | None) -> list[str]:
    """Return everything that is wrong; nothing when all promises were kept."""
    record, entries = await world.store.load(SESSION, whole=True)
    verify(entries, base_seq=0, base=record.base_digest, head_seq=record.head_seq, head=record.head_digest)
    found = [] if record.lease is None else [f"the lease is still {record.lease.owner}'s"]
    last = entries[-1].fact
    if not isinstance(last, RunEnded) or last.status != "completed":
        found.append(f"the last entry is {last}")
    found += _lost(world, entries) + _paid_twice(world, entries) + _tools(world, entries) + _started_late(world)
    if expected is not None:
        found += _view(await world.loop.get_messages(SESSION), expected)
    seqs = [event.seq async for event in world.loop.events(SESSION)]
    if seqs != sorted(seqs):
        found.append(f"events out of order: {seqs}")
    return found


def _lost(world: World, entries: Sequence[Entry]) -> list[str]:
    kept = {(entry.seq, entry.digest.hex()) for entry in entries}
    said = [(int(line.key), line.details["digest"]) for line in world.ledger.read("ack")]
    return [f"acknowledged entry {seq} is lost" for seq, digest in said if (seq, digest) not in kept]


def _paid_twice(world: World, entries: Sequence[Entry]) -> list[str]:
    """Each call of the model was announced, and none came after its reply was recorded."""
    announced: Counter[int] = Counter()
    replies = 0
    for entry in entries:
        fact = entry.fact
        announced[replies + 1] += isinstance(fact, ModelCalled) and fact.purpose == "reply"
        replies += entry.kind == "model_replied"
    made = Counter(int(line.key) for line in world.ledger.read("model"))
    found = [f"reply {n}: {made[n]} calls, {announced[n]} announced" for n in made if made[n] > announced[n]]
    return found + [f"reply {n} was recorded but never asked for" for n in range(1, replies + 1) if not made[n]]


def _tools(world: World, entries: Sequence[Entry]) -> list[str]:
    starts: dict[str, list[ToolStarted]] = defaultdict(list)
    results: dict[str, ToolFinished] = {}
    found: list[str] = []
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, ToolStarted):
            starts[fact.call].append(fact)
            if fact.call in results:
                found.append(f"{fact.name} {fact.call} was started again behind its result")
        elif isinstance(fact, ToolFinished):
            if fact.call in results:
                found.append(f"{fact.name} {fact.call} has two results")
            results[fact.call] = fact
    for call, begun in starts.items():
        found += _one_tool(world, begun, results.get(call))
    return found


def _one_tool(world: World, starts: list[ToolStarted], result: ToolFinished | None) -> list[str]:
    first = starts[0]
    begun = world.ledger.read("begun", first.key)
    effects = world.ledger.count("effect", first.key)
    where = f"{first.name} {first.call}"
    found: list[str] = []
    if not first.key or any(start.key for start in starts[1:]):
        found.append(f"{where}: the key was not written once")
    if [start.attempt for start in starts] != list(range(1, len(starts) + 1)):
        found.append(f"{where}: attempts {[start.attempt for start in starts]}")
    attempts = [line.details["attempt"] for line in begun]
    if len(set(attempts)) != len(attempts) or not set(attempts) <= {start.attempt for start in starts}:
        found.append(f"{where}: ran as attempts {attempts} of {len(starts)}")
    if first.effect == "once" and (len(starts) > 1 or effects > 1):
        found.append(f"{where}: once, but started {len(starts)} times with {effects} effects")
    if result is None:
        found.append(f"{where}: no result")
    elif result.outcome == "ok" and (effects < 1 or (first.effect == "once" and effects != 1)):
        found.append(f"{where}: ok with {effects} effects")
    elif result.outcome == "unknown" and (first.effect != "once" or UNKNOWN not in result.content):
        found.append(f"{where}: {result}")
    return found


def _started_late(world: World) -> list[str]:
    """Nothing starts in a process between a cancel's acknowledgement and the next verb."""
    stopped: set[int] = set()
    found: list[str] = []
    for line in world.ledger.read():
        if line.what == "cancel-acknowledged":
            stopped.add(line.pid)
        elif line.what == "verb":
            stopped.discard(line.pid)
        elif line.what in {"model", "begun"} and line.pid in stopped:
            found.append(f"{line.what} {line.key} started after the cancel was acknowledged")
    return found


def _view(seen: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> list[str]:
    """The view equals the undisturbed one, except where a ``once`` tool's outcome is honestly unknown."""
    if len(seen) != len(expected):
        return [f"{len(seen)} messages instead of {len(expected)}: {seen}"]
    found = []
    for message, wanted in zip(seen, expected, strict=True):
        honest = message["role"] == "tool" and UNKNOWN in message["content"] and "fire" in wanted["content"]
        if message != wanted and not (honest and message | {"content": wanted["content"]} == wanted):
            found.append(f"{message} instead of {wanted}")
    return found
