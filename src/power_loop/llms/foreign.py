"""Reasoning that another provider made: nobody else can check it, so it is not sent, and the log says so, once.

It stays in the journal, and goes back to its own provider when the session returns there.
"""

import logging
from functools import cache

from power_loop.facts.messages import Reasoning

logger = logging.getLogger("power_loop")


def is_own(block: Reasoning, origin: str) -> bool:
    """Tell whether reasoning is of this wire format; what is not is left out of the request."""
    if block.origin == origin:
        return True
    if block.origin:
        _tell(block.origin, origin)
    return False


@cache
def _tell(origin: str, wire: str) -> None:
    logger.info("Reasoning of %s stands in this history; %s cannot take it, and goes on without it.", origin, wire)
