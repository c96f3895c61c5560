"""What the kernel wants to know of a model. Where the figures come from is a model service's business."""

from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

InputKind: TypeAlias = Literal["text", "image", "pdf"]

DEFAULT_CONTEXT_WINDOW = 32_768
"""Tokens that a model nobody knows is trusted to read: what small models of today can do."""


class Prices(msgspec.Struct, frozen=True):
    """US dollars per million tokens. Cache prices None: as input."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


class ModelInfo(msgspec.Struct, frozen=True):
    """What a model takes and costs.

    ``context_window`` is what request and reply may have together, ``max_output`` what a reply may have, both in
    tokens; None: unknown. ``native_schema``: the provider itself holds replies to a JSON schema. ``known``: the
    figures are this model's, not safe defaults; ``inputs_known``: so are the inputs, and nothing else is sent to it.
    ``prices`` None: unknown, and costs cannot be told.
    """

    name: str = ""
    context_window: int = DEFAULT_CONTEXT_WINDOW
    max_output: int | None = None
    inputs: frozenset[InputKind] = frozenset({"text"})
    tools: bool = True
    native_schema: bool = False
    prices: Prices | None = None
    known: bool = False
    inputs_known: bool = False
