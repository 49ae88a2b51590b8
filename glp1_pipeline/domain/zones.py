"""Time zones: by their names, and the patient's own.

Not here: what is counted in them (`flags`, `followup`), and clock times that people write (`mapping.dates`).
"""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from .contract import Contract
from .told import Chart

# Not `localtime`, which is another zone on each machine, and no copies of zones that some machines have and others not.
_NAME = re.compile(r"(?!right/|posix/)[A-Za-z_]+(?:/[A-Za-z0-9_+-]+){1,2}|UTC")


@lru_cache(maxsize=512)
def zone_named(name: str) -> ZoneInfo | None:
    """The zone of an IANA name, or None where there is none of this name."""
    if not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None


def zone_of(contract: Contract, chart: Chart) -> tzinfo:
    """The patient's zone as told, else the one of their state; UTC where nobody knows."""
    told, state = chart.get("demo.timezone"), str(chart.get("demo.state_residence"))
    named = zone_named(told) if isinstance(told, str) else None
    return named or zone_named(contract.followups.zones.get(state, "")) or UTC
