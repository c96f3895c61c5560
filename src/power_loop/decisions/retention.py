"""Retention: what of a store, or of one session, is more than a host wants to keep. Pure: records in, choices out."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from power_loop.facts.journal import Entry
from power_loop.ports.store import ANCHORS, SessionRecord, SubagentLifecycle


class Keep(NamedTuple):
    """What is kept. ``before``: what changed last before this wall time, in milliseconds, is too old.

    ``max_bytes``: content that may be there in total. ``last``: so many of the newest are kept whatever else holds.
    """

    before: int | None
    max_bytes: int | None
    last: int

    def too_much(self, changed_at: int, total: int) -> bool:
        """Tell whether the oldest part goes, which changed then, while there are ``total`` bytes."""
        if self.before is None and self.max_bytes is None:
            return True
        old = self.before is not None and changed_at < self.before
        return old or (self.max_bytes is not None and total > self.max_bytes)


class Family(NamedTuple):
    """A session and the children that are deleted with it, root first.

    ``changed_at`` are the wall milliseconds at which something was last said or done in any of them.
    """

    members: tuple[SessionRecord, ...]
    changed_at: int

    @property
    def root(self) -> SessionRecord:
        """The session whose deletion takes the others along."""
        return self.members[0]


def families(changed_at: Mapping[str, int], records: Iterable[SessionRecord]) -> list[Family]:
    """Return what can be deleted as a whole, longest unchanged first.

    ``changed_at`` is by session id, ``records`` are newest first, as stores list them.
    """
    known = {record.id: record for record in records}
    children: dict[str, list[SessionRecord]] = {}
    roots: list[SessionRecord] = []
    for record in known.values():
        if record.parent_id in known and record.lifecycle != SubagentLifecycle.DETACHED:
            children.setdefault(record.parent_id, []).append(record)
        else:
            roots.append(record)
    trees = [_with_descendants(root, children) for root in reversed(roots)]
    found = [Family(members, max(changed_at[member.id] for member in members)) for members in trees]
    return sorted(found, key=lambda family: family.changed_at)


def _with_descendants(root: SessionRecord, children: dict[str, list[SessionRecord]]) -> tuple[SessionRecord, ...]:
    members = [root]
    for member in members:
        members += children.get(member.id, ())
    return tuple(members)


def folded_away(folded: Sequence[Entry], keep: Keep, total: int) -> list[Entry]:
    """Return the entries to prune of those below the anchor, oldest first, in a session of ``total`` bytes.

    They end where an older compaction begins, so that a journal always begins where a replay can.
    """
    parts: list[list[Entry]] = []
    for entry in folded:
        if entry.kind in ANCHORS or not parts:
            parts.append([])
        parts[-1].append(entry)
    gone = 0
    for part in parts[: max(len(parts) - keep.last, 0)]:
        if not keep.too_much(part[-1].time, total):
            break
        total -= bytes_of(part)
        gone += 1
    return list(chain.from_iterable(parts[:gone]))


def bytes_of(entries: Iterable[Entry]) -> int:
    """Return what the bodies of entries take, in bytes of UTF-8."""
    return sum(len(entry.body.encode()) for entry in entries)
