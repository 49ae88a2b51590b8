"""Consent resources: one per consent the patient was asked for.

Here: what was agreed to, refused or taken back. Not here: whether that holds a patient (`gates`, `flags`).
"""

from __future__ import annotations

from typing import Any, Final

from .elements import CODE_SYSTEM, HL7, LOINC, Resource, clean, concept, instant_told
from .page import Page

_SCOPE: Final = HL7 + "consentscope"
_CATEGORY: Final = HL7 + "consentcategorycodes"
_LOCAL: Final = CODE_SYSTEM + ":consent"
_TREATMENT: Final = [concept(_SCOPE, "treatment"), [concept(LOINC, "59284-0", "Consent paper")]]
_KINDS: Final[dict[str, list[Any]]] = {
    "consent.privacy_npp": [concept(_SCOPE, "patient-privacy"), [concept(_CATEGORY, "npp", "Privacy notice seen")]],
    "consent.marketing": [concept(_SCOPE, "patient-privacy"), [concept(_LOCAL, "marketing", "Marketing messages")]],
    "consent.sms": [concept(_SCOPE, "patient-privacy"), [concept(_LOCAL, "sms", "Text messages")]],
    "consent.release_pcp": [
        concept(_SCOPE, "patient-privacy"),
        [concept(LOINC, "64292-6", "Records may go to the family doctor")],
    ],
}
"""Scope and category by field; a consent that is not here is one to treatment."""
_STATUS: Final = {"given": "active", "refused": "rejected", "revoked": "inactive"}
_PERMIT: Final = {"type": "permit"}
_DENY: Final = {"type": "deny"}


def write_consents(page: Page) -> None:
    for field in page.tables.consents:
        value = page.told.values.get(field)
        if value is None:
            continue
        decision = value.get("value")
        if decision is not None:
            _write(page, field, decision, _STATUS[decision["status"]])
        elif value.get("null") != "absent":
            # Given before and no longer vouched for: of two readings the one that permits less.
            former = next((v["value"] for v in page.history(field) if "value" in v), None)
            if former is not None:
                _write(page, field, former, "inactive")


def _write(page: Page, field: str, decision: dict[str, Any], status: str) -> None:
    answers, authored = page.origin(field)
    scope, category = _KINDS.get(field, _TREATMENT)
    coding = {"system": _LOCAL, "code": field}
    if version := clean(decision.get("version") or ""):
        coding["version"] = version
    rule: Resource = {"coding": [coding], "text": page.tables.contract.fields[field].label}
    consent: Resource = {
        "status": status,
        "scope": scope,
        "category": category,
        "patient": page.patient,
        "dateTime": instant_told(decision["at"]) if decision.get("at") else authored,
        "performer": [page.patient],
        "policyRule": rule,
        "provision": _PERMIT if status == "active" else _DENY,
    }
    if answers:
        consent["sourceReference"] = answers
    page.add("Consent", field, consent)
