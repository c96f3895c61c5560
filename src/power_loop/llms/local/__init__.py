"""A small model that runs inside the process: no key, no service, no network once its weights are there."""

from power_loop.llms.local.client import LocalLLM, from_config
from power_loop.llms.local.weights import ensure_weights

__all__ = ["LocalLLM", "ensure_weights", "from_config"]
