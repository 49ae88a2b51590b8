"""Laboratory results in the EHR: that a value the program asks for was measured, and when.

Here: final results by the codes of refills.yaml. Not here: the value itself, which the EHR shows to whoever decides,
and what follows where it is missing (`domain.refill`).
"""

from __future__ import annotations

from datetime import date
from typing import Any

from ...contract import Contract
from ...events import Change
from ...fhir.elements import LOINC
from .reading import FINAL, has_code, part, text


def lab_told(contract: Contract, change: Change) -> dict[str, Any] | None:
    """That it was measured, as a document of `domain.refill`; None where a version of a resource does not say so."""
    result = change.content
    if change.kind != "Observation" or change.is_deleted or text(result.get("status")) not in FINAL:
        return None
    lab = next((one for one in contract.refills.labs if has_code(result.get("code"), LOINC, *one.loinc)), None)
    on = _measured_on(result)
    if lab is None or on is None or result.get("dataAbsentReason") is not None:
        return None
    return {"kind": "tested", "lab": lab.lab, "on": on}


def _measured_on(result: dict[str, Any]) -> str | None:
    """The day on which the specimen was taken, as written there; when the result came out says less."""
    period = result.get("effectivePeriod")
    told = (result.get("effectiveDateTime"), result.get("effectiveInstant"), part(period, "end"), part(period, "start"))
    on = next((said[:10] for one in told if len(said := text(one)) >= 10), "")
    try:
        return date.fromisoformat(on).isoformat()
    except ValueError:
        return None
