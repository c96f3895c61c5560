"""What models can do and cost: :func:`lookup` tells, from this machine alone and without a provider's SDK."""

from power_loop.llms.catalogue.capabilities import Wire, capability_overrides_from_env
from power_loop.llms.catalogue.find import Overrides, lookup

__all__ = ["Overrides", "Wire", "capability_overrides_from_env", "lookup"]
