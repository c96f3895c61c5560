"""A server of other people in a process of its own: ``llm-mock-api``, which reads requests by schemas of its own."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("llm-mock-api")


@asynccontextmanager
async def mock_api(folder: Path, *rules: dict[str, Any]) -> AsyncIterator[str]:
    """Serve these rules; give the URL without a path."""
    file = folder / "rules.json5"
    file.write_text(json.dumps({"rules": rules}))
    arguments = ("start", "-p", "0", "-r", str(file), "-c", "7", "-l", "0", "--log-level", "info")
    server = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        cwd=folder,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert server.stdout is not None
    try:
        seen = b""
        while (address := re.search(rb"Listening on (http://\S+)\s", seen)) is None:
            line = await server.stdout.readline()
            assert line, f"the server ended: {seen.decode()}"
            seen += line
        yield address.group(1).decode()
    finally:
        server.kill()
        await server.communicate()
