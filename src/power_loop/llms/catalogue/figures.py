"""Prices and windows from genai-prices (MIT, by Pydantic), which ships them as data: nothing is fetched here.

Loaded when first asked: its data takes 0.2 CPU-seconds and 16 MB. Without the package: nothing is listed.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from power_loop.llms.catalogue.names import UNPRICED, ModelName, is_url
from power_loop.ports.cost import PriceStep, SteppedPrices
from power_loop.ports.models import Prices

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo as Listed
    from genai_prices.types import ModelPrice

_UNITS: Final = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")


class Figures(NamedTuple):
    """What is listed of a model; None: not listed."""

    context_window: int | None = None
    prices: Prices | None = None


def figures_of(name: ModelName, at: datetime | None = None) -> Figures | None:
    """Return what is listed of a model, None where it is not; prices are those in force ``at`` (default: now).

    Prices are those of the given provider. Without one they are the maker's own; an endpoint that nobody knows has
    none.
    """
    nobodys = name.provider in {None, UNPRICED}
    served = None if nobodys else _listed(_by_provider(name))
    listed = served or _listed((reference, None, None) for reference in (name.full, name.bare))
    if listed is None:
        return None
    priced = served is not None or name.provider is None
    return Figures(listed.context_window, _prices(listed, at or datetime.now(UTC)) if priced else None)


def _by_provider(name: ModelName) -> Iterable[tuple[str, str | None, str | None]]:
    url = is_url(name.provider)
    who = (None, name.provider) if url else (name.provider, None)
    return ((reference, *who) for reference in dict.fromkeys((name.full, name.bare)))


def _listed(references: Iterable[tuple[str, str | None, str | None]]) -> "Listed | None":
    snapshot = _snapshot()
    if snapshot is None:
        return None
    for reference, provider, url in references:
        try:
            return snapshot.find_provider_model(reference, None, provider, url)[1]
        except LookupError:
            continue
    return None


def _snapshot() -> "DataSnapshot | None":
    """Return the data in force: what is installed, or what a host had the package update it to."""
    current = _source()
    return None if current is None else current()


@cache
def _source() -> "Callable[[], DataSnapshot] | None":
    try:
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 -- optional, and slow to import
    except ImportError:
        return None
    return get_snapshot


def _prices(listed: "Listed", at: datetime) -> Prices | None:
    stated = listed.get_prices(at)
    bounds = sorted({tier.start for unit in _UNITS for tier in getattr(getattr(stated, unit), "tiers", ())})
    base = _at(stated, 0)
    if base is None:
        return None
    return _stepped(base, [(bound, _at(stated, bound + 1)) for bound in bounds])


def _stepped(base: Prices, steps: Sequence[tuple[int, Prices | None]]) -> Prices:
    known = tuple(PriceStep(bound, prices) for bound, prices in steps if prices is not None)
    if not known:
        return base
    return SteppedPrices(base.input, base.output, base.cache_read, base.cache_write, known)


def _at(stated: "ModelPrice", input_tokens: int) -> Prices | None:
    price_in, price_out, read, write = (_price(getattr(stated, unit), input_tokens) for unit in _UNITS)
    if price_in is None or price_out is None:
        return None
    return Prices(price_in, price_out, read, write)


def _price(stated: object, input_tokens: int) -> Decimal | None:
    if stated is None or isinstance(stated, Decimal):
        return stated
    price: Decimal = getattr(stated, "base")  # noqa: B009 -- a TieredPrices, whose type is not imported at run time
    for tier in getattr(stated, "tiers", ()):
        if input_tokens > tier.start:
            price = tier.price
    return price
