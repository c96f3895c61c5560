"""Stand-ins and suites that we test with, for users too: nothing here is needed to run a session."""

from power_loop.testing.scripted import ScriptedLLM, ScriptExhausted, call, reply

__all__ = ["ScriptExhausted", "ScriptedLLM", "call", "reply"]
