"""Compaction by summary. Any object with ``threshold`` and ``compact`` may stand in its place."""

from power_loop.compaction.default import DefaultCompactor

__all__ = ["DefaultCompactor"]
