"""A secret that must not show, and where to look for it."""

import traceback
from collections.abc import Iterator

CANARY = "canary-7f3a9b-canary"


def everything_of(error: BaseException) -> Iterator[str]:
    """Yield all that a log or an error tracker could show, also of suppressed links."""
    seen: set[int] = set()
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        links += [link.__cause__, link.__context__]
        yield from (str(link), repr(link), repr(link.args), repr(vars(link)), *getattr(link, "__notes__", ()))
    yield "".join(traceback.format_exception(error))
