"""The store port as executable promises.

A store of your own runs them in a few lines::

    class TestMyStore(StoreConformance):
        async def make_store(self, tmp_path):
            return MyStore(tmp_path / "data")

Needs pytest and pytest-asyncio. A store that outlives its process derives from DurableStoreConformance, which holds
the same tests and more; there every ``make_store`` with the same ``tmp_path`` reaches the same sessions, in other
processes too, and the test class is importable from its file.
"""

from power_loop.testing.conformance.anchors import Anchors
from power_loop.testing.conformance.blobs import Blobs
from power_loop.testing.conformance.care import Erasure, Pruning
from power_loop.testing.conformance.concurrency import Concurrency
from power_loop.testing.conformance.durability import Durability
from power_loop.testing.conformance.inboxes import Inboxes
from power_loop.testing.conformance.journals import Journals
from power_loop.testing.conformance.leases import Leases
from power_loop.testing.conformance.searches import Searches, Statistics
from power_loop.testing.conformance.sessions import Deletion, Sessions
from power_loop.testing.conformance.texts import Texts

__all__ = ["DurableStoreConformance", "StoreConformance"]


class StoreConformance(
    Sessions,
    Deletion,
    Journals,
    Leases,
    Inboxes,
    Texts,
    Concurrency,
    Blobs,
    Anchors,
    Pruning,
    Erasure,
    Searches,
    Statistics,
):
    """What every store promises. Override ``make_store``."""


class DurableStoreConformance(StoreConformance, Durability):
    """What a store promises that outlives its process. Override ``make_store``."""
