"""The published suite judges a store of your own. Needs pytest and pytest-asyncio; no key, no network.

Run it as it is, or put the class into a test file of yours.
"""

import subprocess
import sys

from power_loop import MemoryStore
from power_loop.testing.conformance import StoreConformance


class MyStore(MemoryStore):
    """The store to be judged; yours implements power_loop.ports.store.SessionStore."""


class TestMyStore(StoreConformance):
    """All the suite's tests, on this store."""

    async def make_store(self, tmp_path):  # noqa: ARG002 -- a durable store would put its file there
        """Return the store of one test."""
        return MyStore()


if __name__ == "__main__":
    command = [sys.executable, "-m", "pytest", __file__, "-q", "--asyncio-mode=auto", "-p", "no:cacheprovider"]
    raise SystemExit(subprocess.run(command, check=False).returncode)  # noqa: S603 -- pytest on this very file
