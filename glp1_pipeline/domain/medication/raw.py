"""The parts of a message about a medicine, found but not yet understood: one shape for our messages and for FHIR.

Not here: finding them (`reading`, `resources`), and what they mean (`doses`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .doses import Amount, Named
from .facts import Kind


@dataclass(slots=True)
class Raw:
    kind: Kind
    ref: str
    named: Named
    amount: Amount
    at: Any = None
    shipped_at: Any = None
    status: str = "active"
    days: float | None = None
    refills: Any = None
    quantity: float | None = None
    unit: str = ""
    order_ref: str = ""
    keeps_dose: bool = False
    replaces: str = ""
    missed: Any = None


def part(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = raw.get(key)
    return found if isinstance(found, Mapping) else {}


def text(raw: Mapping[str, Any], key: str) -> str:
    found = raw.get(key)
    return found if isinstance(found, str) else ""


def number(raw: Any) -> float | None:
    """A number above zero that can be one of a dose; anything else is none."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 < raw < 1e6:
        return None
    return float(raw) if math.isfinite(raw) else None
