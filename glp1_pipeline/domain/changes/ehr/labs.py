"""Laboratory results in the EHR: that a value the program asks for was measured, and when.

Here: final results by the codes of refills.yaml. Not here: the value itself, which the EHR shows to whoever decides,
and what follows where it is missing (`domain.refill`).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from ...contract import Contract
from ...events import Change
from ...fhir.elements import LOINC
from .reading import FINAL, has_code, part, text

_EARLIEST = date(2000, 1, 1)
_ZONES = timedelta(days=1)
"""A day there may be the next one here. A later one is a slip, and no word of when it was."""


def lab_told(contract: Contract, change: Change) -> dict[str, Any] | None:
    """That it was measured, as a document of `domain.refill`; None where a version of a resource does not say so."""
    result = change.content
    if change.kind != "Observation" or change.is_deleted or text(result.get("status")) not in FINAL:
        return None
    lab = next((one for one in contract.refills.labs if has_code(result.get("code"), LOINC, *one.loinc)), None)
    on = _measured_on(result)
    if lab is None or on is None or not _EARLIEST <= on <= change.seen_at.date() + _ZONES or not _has_value(result):
        return None
    return {"kind": "tested", "lab": lab.lab, "on": on.isoformat()}


def _measured_on(result: dict[str, Any]) -> date | None:
    """The day on which the specimen was taken, as written there; when the result came out says less."""
    period = result.get("effectivePeriod")
    told = (result.get("effectiveDateTime"), result.get("effectiveInstant"), part(period, "end"), part(period, "start"))
    try:
        return date.fromisoformat(next((said[:10] for one in told if len(said := text(one)) >= 10), ""))
    except ValueError:
        return None


def _has_value(result: dict[str, Any]) -> bool:
    """A number, or words with one (`<30`): of a specimen that was spoilt there is a final result too, without."""
    number = part(result.get("valueQuantity"), "value")
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number or any(letter.isdigit() for letter in text(result.get("valueString")))
