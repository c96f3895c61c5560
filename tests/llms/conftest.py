import logging
from collections.abc import Iterator
from io import StringIO

import pytest

VARIABLES = (
    *(f"OPENAI_{name}" for name in ("API_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID", "ADMIN_KEY")),
    *(f"ANTHROPIC_{name}" for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "CUSTOM_HEADERS", "PROFILE")),
)


@pytest.fixture(autouse=True)
def _no_provider_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's environment says must not decide a test."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """All logs of all libraries, at their most talkative."""
    collected = StringIO()
    handler = logging.StreamHandler(collected)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield collected
    root.removeHandler(handler)
    root.setLevel(level)
