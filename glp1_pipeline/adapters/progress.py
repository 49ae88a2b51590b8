"""Progress of long work, for whoever waits for it: in a run's log and on the command line.

Not here: what is counted, and the words.
"""

import time
from collections.abc import Callable
from typing import Any


def every_few_seconds(tell: Callable[[Any], None], seconds: float = 5.0) -> Callable[[Any], None]:
    """Progress of long work, as often as a person wants to hear of it: counts, never a value."""
    last = time.monotonic()

    def heard(now: Any) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            tell(now)

    return heard
