"""A server that was not written here: llama-server, with a real model, over HTTP."""

import importlib
import os
from typing import Any

from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.llms.local import ensure_weights
from power_loop.ports.llm import LLMRequest

KEY = "llama-server-key-of-the-tests"
WINDOW = 1024


def llama_server(template: str | None = None, **settings: Any) -> Any:
    """Start one; it ends with the object. ``listening_address`` is its URL without a path."""
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    xllamacpp = importlib.import_module("xllamacpp")  # reads the variable
    params = xllamacpp.CommonParams()
    params.model.path = str(ensure_weights())
    params.api_keys = [KEY]
    params.n_ctx = WINDOW
    params.n_parallel = 1
    params.verbosity = -1
    params.warmup = params.fit_params = params.ui = False
    params.cpuparams.n_threads = 1
    if template is not None:
        params.chat_template = template
    for name, value in settings.items():
        setattr(params, name, value)
    return xllamacpp.Server(params)


def saying(text: str, **fields: Any) -> LLMRequest:
    return LLMRequest([AgentMessage(MessageRole.USER, text)], **fields)
