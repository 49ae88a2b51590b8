"""What the patient tells of their own past and their family's: conditions, procedures, family history.

Here: only what was answered with yes. A patient's no is an answer, not a refuted condition, and stays in the
QuestionnaireResponse; not knowing is a flag and a task. Not here: what each answer is in the EHR
(contracts/history.csv), medicines, allergies, and substance use (42 CFR Part 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..chart import Value
from ..contract import ANY, FAMILY, NOTHING, HistoryAnswer
from .elements import HL7, Resource, concept
from .page import Page, part

_CLINICAL: Final = {c: concept(HL7 + "condition-clinical", c) for c in ("active", "inactive", "remission")}
_UNCONFIRMED: Final = concept(HL7 + "condition-ver-status", "unconfirmed")
_ERROR: Final = concept(HL7 + "condition-ver-status", "entered-in-error")
_PROBLEM: Final = [concept(HL7 + "condition-category", "problem-list-item")]
_ANY_RELATIVE: Final = concept(HL7 + "v3-RoleCode", "FAMMEMB", "A relative, not said which")
_FAMILY_ABSENT: Final = {
    "unknown": concept(HL7 + "history-absent-reason", "subject-unknown"),
    "declined": concept(HL7 + "history-absent-reason", "withheld"),
}


def write_history(page: Page) -> None:
    values, former = page.told.values, page.told.former
    for kind, field, meanings in page.tables.history:
        value = values.get(field)
        if value is None:
            continue
        answer = value.get("value")
        if type(answer) is str and answer in NOTHING and field not in former:  # most answers
            continue
        _write_all(page, kind, field, meanings)
    if FAMILY in values:
        _write_family(page)


def told_codes(value: Value) -> list[str]:
    """The codes of an answer that say yes to something."""
    told: Any = value.get("value")
    if isinstance(told, dict):
        told = part(told, "status", "answer", "code", "value")
    if isinstance(told, str):
        told = [told]
    return [code for code in told if code not in NOTHING] if isinstance(told, list) else []


def _write_all(page: Page, kind: str, field: str, meanings: Mapping[str, HistoryAnswer]) -> None:
    """Answers that `meanings` name; an answer that no row names is the other kind's."""
    any_other = meanings.get(ANY)
    now: set[str] = set()
    for told, retracted in ((page.told.values[field], False), *((former, True) for former in page.history(field))):
        for code in told_codes(told):
            said = meanings.get(code, any_other)
            if said and code not in now:
                now.add(code)
                _write(page, kind, field, code, said, retracted=retracted)


def _write(page: Page, kind: str, field: str, code: str, said: HistoryAnswer, *, retracted: bool) -> None:
    answers, authored = page.origin(field)
    told: Resource = {
        "code": page.tables.concept(field, code, said),
        "subject": page.patient,
        "recorder": page.patient,
        "asserter": page.patient,
    }
    if kind == "Condition":
        if not retracted:
            told["clinicalStatus"] = _CLINICAL[said.clinical_status]
        told["verificationStatus"] = _ERROR if retracted else _UNCONFIRMED
        told["category"] = _PROBLEM
        told["recordedDate"] = authored
        if answers:
            told["evidence"] = [{"detail": [answers]}]
    else:
        told["status"] = "entered-in-error" if retracted else "completed"
    # One question with one answer is one condition, whichever the answer; of a list each code is its own.
    page.add(kind, field if code == "yes" else f"{field}/{code}", told)


def _write_family(page: Page) -> None:
    value = page.told.values[FAMILY]
    reported = value.get("value") == "yes"
    why = _FAMILY_ABSENT.get("unknown" if value.get("value") in ("unsure", "unknown") else value.get("null", ""))
    status = "partial" if reported else "health-unknown"
    if not reported and why is None:
        earlier = [v for v in page.history(FAMILY) if v.get("value") == "yes" or v.get("null") in _FAMILY_ABSENT]
        if not earlier:
            return
        status, reported, why = "entered-in-error", earlier[0].get("value") == "yes", None
        if not reported:
            why = _FAMILY_ABSENT[earlier[0]["null"]]
    _, authored = page.origin(FAMILY)
    family: Resource = {"status": status, "patient": page.patient, "date": authored, "relationship": _ANY_RELATIVE}
    if reported:
        code = page.tables.concept(FAMILY, "yes", page.tables.contract.history[FAMILY]["yes"])
        family["condition"] = [{"code": code}]
    else:
        family["dataAbsentReason"] = why
    page.add("FamilyMemberHistory", FAMILY, family)
