"""Decisions: pure functions of the journal. No I/O, no clock, no randomness, no event loop."""
