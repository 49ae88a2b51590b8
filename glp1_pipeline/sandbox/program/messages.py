"""What portal, EHR and pharmacy send about a patient under treatment, as CloudEvents.

Not here: when who says what (`life`), and the intake (`people`).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

PORTAL, EHR, PHARMACY = "/intake/web", "/ehr/clinic", "/pharmacy/mail-order"
SYMPTOMS = (
    "severe_abdominal_pain", "vomiting_24h", "jaundice", "allergic_reaction", "neck_mass", "vision_change", "suicidal",
)  # fmt: skip
REQUIRED = (
    "anthro.weight", "anthro.weight_measured_at", "checkin.doses_taken", "checkin.doses_missed", "checkin.last_dose_on",
    "checkin.side_effects", *(f"checkin.{symptom}" for symptom in SYMPTOMS), "checkin.new_conditions",
    "checkin.new_medicines", "checkin.surgery_planned", "checkin.address_unchanged", "checkin.wants",
)  # fmt: skip
"""What a check-in must tell before a refill may go on; `preg.status` too, of who may be pregnant."""


class Messages:
    """Of one patient; each has an id of its own, from its name and how many of that name came before."""

    def __init__(self, account: str, after: int = 0) -> None:
        self.account, self.after = account, after
        self._counts: dict[str, int] = {}

    def name(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, self.after) + 1
        return f"{self.account}/{kind}-{self._counts[kind]}"

    def of(self, source: str, kind: str, at: datetime, **data: Any) -> dict[str, Any]:
        subject = {PORTAL: self.account, EHR: f"Patient/{self.account}", PHARMACY: f"rx-{self.account}"}[source]
        known = [{"system": f"intake-account:{PORTAL}", "value": self.account}]
        return {
            "specversion": "1.0", "type": kind, "source": source, "id": self.name(kind), "subject": subject,
            "time": at.isoformat(), "datacontenttype": "application/json", "data": {"identifiers": known, **data},
        }  # fmt: skip

    def ordered(self, at: datetime, product: str, mg: float, **more: Any) -> dict[str, Any]:
        told = {"product_key": product, "dose": {"mg": mg}, "authored_at": at.isoformat(), **more}
        return self.of(EHR, "medication.ordered", at, medication_request_ref=self.name("order"), **told)

    def handed_over(self, at: datetime, product: str, mg: float, days: int, **more: Any) -> dict[str, Any]:
        told = {"product_key": product, "dose": {"mg": mg}, "days_supply": days, **more}
        return self.of(PHARMACY, "medication.dispensed", at, **{"dispense_ref": self.name("supply"), **told})

    def checked_in(self, at: datetime, received: datetime, zone: str, answers: dict[str, Any]) -> dict[str, Any]:
        name = self.name("check-in")
        return {
            "specversion": "1.0", "type": "followup.completed", "source": PORTAL, "id": name, "subject": self.account,
            "time": received.isoformat(), "datacontenttype": "application/json",
            "data": {
                "submission_id": name, "form_id": "glp1-checkin", "form_version": "1.0.0", "status": "completed",
                "authored_at": at.isoformat(), "received_at": received.isoformat(), "time_zone": zone,
                "channel": "app", "answers": answers,
            },
        }  # fmt: skip


def well(weighed_on: date, kg: float, last_dose_on: date, doses: int, sex: str) -> dict[str, Any]:
    """The answers of who is well and took every dose."""
    return {
        "anthro.weight": {"value": kg, "unit": "kg"}, "anthro.weight_measured_at": weighed_on.isoformat(),
        "checkin.doses_taken": doses, "checkin.doses_missed": 0, "checkin.last_dose_on": last_dose_on.isoformat(),
        "checkin.side_effects": "none", **{f"checkin.{symptom}": "no" for symptom in SYMPTOMS},
        "checkin.new_conditions": "none", "checkin.new_medicines": "none", "checkin.surgery_planned": "no",
        "checkin.address_unchanged": "yes", "checkin.wants": "same_dose",
        "preg.status": "no" if sex == "female" else "n/a",
    }  # fmt: skip
