"""What the intake says of a GLP-1 medicine taken before: a line of the medication list, and the dose taken last.

Not here: what orders, pharmacies and later reports say (`reading`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ..chart import Chart
from ..medication_model import MedicationRules
from .doses import Amount, Named, resolve
from .facts import Fact
from .reading import instant

HISTORY, PRODUCT, LAST_DOSE = "med.glp1_history", "med.glp1_product", "med.glp1_last_dose"


def facts_of(rules: MedicationRules, chart: Chart) -> Iterator[Fact]:
    """Nothing for who never took one, and where the product or its dose is not told in mg."""
    told = chart.told(PRODUCT)
    event_id = chart.sources.get(PRODUCT, "")
    if not isinstance(told, dict) or chart.told(HISTORY) in (None, "never"):
        return
    report = next((r for r in chart.submissions if r.event_id == event_id), None)
    if report is None or told.get("dose_unit", "mg") != "mg":
        return
    dose = resolve(rules, Named(str(told.get("product", ""))), Amount(_mg(told.get("dose"))), needs_dose=False)
    if dose.held:
        return
    said: datetime = report.said_at.astimezone(UTC)
    last = instant(chart.told(LAST_DOSE))
    at = min(last or said, said)
    is_current = chart.told(HISTORY) == "current"
    status = "active" if is_current or last is not None else "over"
    yield Fact("listed", at, said, event_id, "intake", "intake", dose.product, dose.mg, status=status)


def _mg(raw: object) -> float | None:
    try:
        found = float(str(raw))
    except ValueError:
        return None
    return found if 0 < found < 1000 else None
