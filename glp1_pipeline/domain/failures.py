"""How a failure of our own code is named: enough to find it, and never a value.

Here: that name. Not here: refusals of bad input, which name themselves (`events.Refused`).
"""

from traceback import extract_tb


def where(error: BaseException) -> str:
    """Class, function and line of a failure; its text is left out, since it may quote what it failed on."""
    last = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}, line {last.lineno}"
