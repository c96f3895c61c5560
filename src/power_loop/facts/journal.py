"""The journal's rows: one fact each, numbered, chained by digest, versioned by kind.

A kind whose name starts with ``aux_`` is ancillary: a release that does not know it keeps it and skips it. Every
other unknown kind is essential and makes the session read-only for that release.
"""

import msgspec

from power_loop.facts.entries import (
    BudgetReached,
    Cancelled,
    Compacted,
    CompactionSkipped,
    DefinitionChanged,
    Erased,
    Fact,
    InputReceived,
    ModelCalled,
    ModelFailed,
    ModelReplied,
    Note,
    OutputChecked,
    Pruned,
    ReplyEdited,
    ResultEdited,
    RoundSkipped,
    RunEnded,
    RunStarted,
    SessionOpened,
    ToolFinished,
    ToolStarted,
    ViewEdited,
)
from power_loop.facts.errors import JournalTooNew, StoreCorrupt

ANCILLARY_PREFIX = "aux_"

FACTS: dict[str, type[Fact]] = {
    fact.kind: fact
    for fact in (
        SessionOpened,
        InputReceived,
        RunStarted,
        DefinitionChanged,
        ModelCalled,
        ModelFailed,
        ModelReplied,
        ReplyEdited,
        ToolStarted,
        ToolFinished,
        ResultEdited,
        Note,
        OutputChecked,
        RoundSkipped,
        ViewEdited,
        Compacted,
        CompactionSkipped,
        BudgetReached,
        Cancelled,
        RunEnded,
        Pruned,
        Erased,
    )
}
_DECODERS = {kind: msgspec.json.Decoder(fact) for kind, fact in FACTS.items()}
_VERSIONS = {kind: fact.version for kind, fact in FACTS.items()}


class Entry(msgspec.Struct, gc=False):
    """One row of the journal. ``run`` is the epoch of the driver that wrote it, ``time`` wall milliseconds.

    ``body_digest`` is the hash of the body that was sealed, where an erasure has replaced it since.
    """

    seq: int
    kind: str
    version: int
    run: int
    round: int
    time: int
    body: str
    digest: bytes
    decoded: Fact | None = None
    body_digest: bytes | None = None

    @property
    def fact(self) -> Fact | None:
        """The typed body; None for an ancillary kind that this release does not know.

        Raises JournalTooNew for an essential kind or version that this release does not know, StoreCorrupt for
        a body that is not what its kind says.
        """
        fact = self.decoded
        if fact is None:
            fact = self.decoded = decode(self.kind, self.version, self.body, self.seq)
        return fact


def decode(kind: str, version: int, body: str, seq: int = 0) -> Fact | None:
    """Decode a stored body; see :attr:`Entry.fact`."""
    decoder = _DECODERS.get(kind)
    if decoder is None or version > _VERSIONS[kind]:
        if kind.startswith(ANCILLARY_PREFIX):
            return None
        raise JournalTooNew(
            f"Entry {seq} is a {kind!r} of version {version}, which this release does not know. Upgrade power-loop to "
            f"continue this session; it can still be read.",
            seq=seq,
            kind=kind,
        )
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(f"Entry {seq} ({kind}) cannot be decoded: {error}", seq=seq, kind=kind) from error
