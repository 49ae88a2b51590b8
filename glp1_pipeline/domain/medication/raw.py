"""The parts of a message about a medicine, found but not yet understood: one shape for our messages and for FHIR.

Not here: finding them (`reading`, `resources`), and what they mean (`doses`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .doses import Amount, Named
from .facts import Kind

LEAST, MOST = 1e-6, 1e6


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
    """Of one line; anything else says nothing."""
    found = raw.get(key)
    return found if isinstance(found, str) and found.isprintable() else ""


def number(raw: Any) -> float | None:
    """A number that can be one of a dose, a quantity or days; anything else is none."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not LEAST <= raw < MOST:
        return None
    return float(raw)
