"""How a failure of our own code is named: enough to find it, and never a value.

Here: that name, and the whole way that it came. Not here: refusals of bad input, which name themselves
(`events.Refused`).
"""

from collections.abc import Iterator
from traceback import extract_tb, format_tb

OURS = __name__.partition(".")[0] + "."


def where(error: BaseException) -> str:
    """Class, function and line of a failure; its text is left out, since it may quote what it failed on."""
    last = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}, line {last.lineno}"


def is_ours(error: BaseException) -> bool:
    """Whether its text may be told: those of our own classes say what to do and quote nothing."""
    return type(error).__module__.startswith(OURS)


def trace_of(error: BaseException) -> str:
    """As Python prints it, but for texts that are not ours: such a one may quote what it failed on."""
    return "\n\n".join(_told(one) for one in reversed([*_chain(error)]))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """It, and what it came of: as far as whoever raised it did not break the chain."""
    met: set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _told(error: BaseException) -> str:
    kind = type(error)
    text = f": {error}" if is_ours(error) else ""
    frames = "".join(format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{kind.__module__}.{kind.__qualname__}{text}"
