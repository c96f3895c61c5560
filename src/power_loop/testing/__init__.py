"""Stand-ins and suites that we test with, for users too: nothing here is needed to run a session."""

from power_loop.testing.clock import FakeClock
from power_loop.testing.crashing import CommitPoint, CrashingStore
from power_loop.testing.ledger import EffectLedger
from power_loop.testing.recording import NoRecordedReply, RecordingLLM, ReplayingLLM
from power_loop.testing.scripted import ScriptedLLM, ScriptExhausted, call, reply

__all__ = [
    "CommitPoint",
    "CrashingStore",
    "EffectLedger",
    "FakeClock",
    "NoRecordedReply",
    "RecordingLLM",
    "ReplayingLLM",
    "ScriptExhausted",
    "ScriptedLLM",
    "call",
    "reply",
]
