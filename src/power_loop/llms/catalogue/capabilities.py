"""What an environment says that a model can do, for endpoints whose models no table knows."""

import os
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from power_loop.facts.errors import ConfigError
from power_loop.ports.models import InputKind, ModelInfo

Wire: TypeAlias = Literal["chat", "responses", "messages"]
"""OpenAI's two formats and Anthropic's: what a model may be sent can differ between them."""

CAPABILITIES: Final = (
    "image_input",
    "pdf_input_chat",
    "pdf_input_responses",
    "data_url",
    "tools",
    "stream",
    "native_schema",
)
_TRUTH: Mapping[str, bool] = {
    **dict.fromkeys(("1", "true", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "no", "n", "off"), False),
}


def capability_overrides_from_env(
    *,
    prefix: str = "POWER_LOOP",
    fallback_prefix: str | None = "OPENAI_COMPAT",
    env: Mapping[str, str] | None = None,
) -> dict[str, bool]:
    """Read ``{prefix}_SUPPORTS_{CAPABILITY}``, and what is unset or empty with the fallback prefix.

    Capabilities: ``IMAGE_INPUT``, ``PDF_INPUT_CHAT``, ``PDF_INPUT_RESPONSES``, ``TOOLS``, ``NATIVE_SCHEMA``; also
    ``DATA_URL`` and ``STREAM``, which are read for compatibility and change nothing: images always go as data
    URLs, replies always as streams. Keys of the result are ``supports_image_input`` and so on; ``env`` None is the
    process's own environment.

    Raises ConfigError naming a variable that is neither true nor false.
    """
    variables = os.environ if env is None else env
    found: dict[str, bool] = {}
    for head in (fallback_prefix, prefix):
        for name in CAPABILITIES if head else ():
            variable = f"{head}_SUPPORTS_{name.upper()}"
            text = variables.get(variable, "").strip().lower()
            if text:
                found[f"supports_{name}"] = _truth(variable, text)
    return found


def with_capabilities(info: ModelInfo, found: Mapping[str, bool], wire: Wire) -> ModelInfo:
    """Return the figures with what :func:`capability_overrides_from_env` found put in."""
    inputs = info.inputs
    kinds: tuple[tuple[InputKind, str], ...] = (
        ("image", "supports_image_input"),
        ("pdf", f"supports_pdf_input_{wire}"),
    )
    for kind, key in kinds:
        if key in found:
            inputs = inputs | {kind} if found[key] else inputs - {kind}
    tools = found.get("supports_tools", info.tools)
    schema = found.get("supports_native_schema", info.native_schema)
    told = info.inputs_known or not all(found.get(key, True) for _, key in kinds)
    return msgspec.structs.replace(info, inputs=inputs, inputs_known=told, tools=tools, native_schema=schema)


def _truth(variable: str, text: str) -> bool:
    if text not in _TRUTH:
        raise ConfigError(f"{variable}={text!r} is neither true nor false; use 1 or 0.", field=variable)
    return _TRUTH[text]
