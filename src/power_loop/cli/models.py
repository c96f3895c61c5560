"""From ``--model`` and ``--tool`` to a service and tools."""

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from power_loop.cli.exits import UsageError
from power_loop.llms.provider import DEFAULT_PREFIX, FALLBACK_PREFIX, create_llm_service_from_env
from power_loop.llms.resolve import service_from_string
from power_loop.ports.llm import LLMService
from power_loop.ports.registry import ToolRegistry

LOCAL = "local"


def model_service(name: str | None) -> LLMService:
    """Return the service of ``--model``; without one what the environment configures, else the local model.

    Raises ConfigError naming the option or variable that cannot work.
    """
    if name is not None:
        return service_from_string(name)
    if any(os.environ.get(f"{prefix}_MODEL", "").strip() for prefix in (DEFAULT_PREFIX, FALLBACK_PREFIX)):
        return create_llm_service_from_env()
    return service_from_string(LOCAL)


def load_tools(names: Iterable[str]) -> ToolRegistry:
    """Return the tools that ``MODULE:NAME`` names: functions, ``@tool`` functions or registries.

    Modules are looked for in the working directory too. Raises UsageError, ConfigError.
    """
    registry = ToolRegistry()
    for name in names:
        found = _load(name)
        for item in found if isinstance(found, ToolRegistry) else (found,):
            registry.add(item)
    return registry


def _load(name: str) -> Any:  # noqa: ANN401 -- whatever the module holds; the registry checks it
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"--tool takes MODULE:NAME, such as mytools:lookup; got {name!r}.")
    here = os.getcwd()  # noqa: PTH109 -- sys.path holds text
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--tool {name}: {error}. Check the spelling and the working directory.") from error
