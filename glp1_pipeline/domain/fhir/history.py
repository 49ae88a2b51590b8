"""What the patient tells of their own past and their family's: conditions, procedures, family history.

Here: only what was answered with yes. A patient's no is an answer, not a refuted condition, and stays in the
QuestionnaireResponse; not knowing is a flag and a task. The texts are our own words: a dictionary's display text is
licensed, and would claim more than the patient said. Not here: medicines, allergies, and substance use (42 CFR Part 2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from ..chart import Value
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
_NOTHING: Final = frozenset(("no", "none", "never", "na", "declined", "unsure", "unknown"))


class Said(NamedTuple):
    """What an answer means: our words, the clinical status, and the flag whose first code is just that."""

    text: str
    status: str = "active"
    flag: str = ""
    like: str = ""
    """The comorbidity that it is the same as."""

    def as_concept(self) -> tuple[str, str, str]:
        return self.text, self.flag, self.like


_CONDITIONS: Final[dict[str, dict[str, Said]]] = {
    "hx.mtc_personal": {"yes": Said("Own history of medullary thyroid cancer", flag="MTC_PERSONAL")},
    "hx.men2": {"yes": Said("Own history of MEN type 2", flag="MEN2")},
    "hx.pancreatitis": {
        "current": Said("Pancreas inflamed now", flag="PANCREATITIS_ACTIVE"),
        "past": Said("Pancreas inflamed in the past, kind not said", "inactive"),
    },
    "hx.gallbladder": {"stones": Said("Stones in the gallbladder", flag="GALLBLADDER_ACTIVE")},
    "hx.gastroparesis": {"yes": Said("Slow stomach emptying or other severe gut trouble")},
    "hx.t1dm": {"yes": Said("Diabetes, type 1", flag="T1DM")},
    "hx.t2dm": {"yes": Said("Diabetes, type 2", like="t2dm")},
    "hx.retinopathy": {"yes": Said("Eye damage from diabetes", flag="DIABETIC_RETINOPATHY")},
    "hx.kidney": {"ckd": Said("Long-term kidney trouble"), "dialysis": Said("On dialysis")},
    "hx.liver": {
        "masld": Said("Fatty liver", like="masld"),
        "cirrhosis": Said("Scarred liver", flag="LIVER_CIRRHOSIS"),
        "other": Said("Liver trouble, kind not said"),
    },
    "hx.suicide": {
        "current": Said("Thoughts of suicide now", flag="SUICIDAL_ACTIVE"),
        "past": Said("Thoughts of suicide or an attempt in the past", "inactive"),
    },
    "hx.eating_disorder": {
        "current": Said("Eating disorder now", flag="EATING_DISORDER_HX"),
        "past": Said("Eating disorder in the past", "inactive", "EATING_DISORDER_HX"),
    },
    "hx.cancer": {
        "active": Said("Cancer now, kind not said"),
        "remission>5y": Said("Cancer, gone for more than 5 years", "remission"),
        "remission<5y": Said("Cancer, gone for less than 5 years", "remission"),
    },
    "hx.thyroid_other": {"yes": Said("Thyroid nodule or other thyroid cancer")},
    "hx.comorbidities": {},
}
"""Field -> answer -> what to write. An answer that is not here and is no kind of no is written in the field's words."""
_PROCEDURES: Final[dict[str, dict[str, Said]]] = {
    "hx.gallbladder": {"removed": Said("Gallbladder taken out")},
    "hx.bariatric": {
        "<12mo": Said("Weight-loss surgery within the last 12 months", flag="BARIATRIC_RECENT"),
        ">=12mo": Said("Weight-loss surgery more than 12 months ago", flag="BARIATRIC_RECENT"),
    },
    "hx.transplant": {"yes": Said("Organ transplant")},
}
_KINDS: Final = [
    *(("Condition", field, meanings, _PROCEDURES.get(field, {})) for field, meanings in _CONDITIONS.items()),
    *(("Procedure", field, meanings, _CONDITIONS.get(field, {})) for field, meanings in _PROCEDURES.items()),
]
"""What a field's answers become, and the answers that become the other kind."""
_UNSAID: Final = Said("")


def write_history(page: Page) -> None:
    values, former = page.told.values, page.told.former
    for kind, field, meanings, others in _KINDS:
        value = values.get(field)
        if value is None:
            continue
        answer = value.get("value")
        if type(answer) is str and answer in _NOTHING and field not in former:  # most answers
            continue
        _write_all(page, kind, field, meanings, others)
    if "hx.mtc_family" in values:
        _write_family(page, "hx.mtc_family")


def told_codes(value: Value) -> list[str]:
    """The codes of an answer that say yes to something."""
    told: Any = value.get("value")
    if isinstance(told, dict):
        told = part(told, "status", "answer", "code", "value")
    if isinstance(told, str):
        told = [told]
    return [code for code in told if code not in _NOTHING] if isinstance(told, list) else []


def _write_all(page: Page, kind: str, field: str, meanings: dict[str, Said], others: Iterable[str]) -> None:
    now = [code for code in told_codes(page.told.values[field]) if code not in others]
    for code in now:
        _write(page, kind, field, code, meanings.get(code, _UNSAID), retracted=False)
    for former in page.history(field):
        for code in told_codes(former):
            if code not in others and code not in now:
                now.append(code)
                _write(page, kind, field, code, meanings.get(code, _UNSAID), retracted=True)


def _write(page: Page, kind: str, field: str, code: str, said: Said, *, retracted: bool) -> None:
    answers, authored = page.origin(field)
    told: Resource = {
        "code": page.tables.concept(field, code, *said.as_concept()),
        "subject": page.patient,
        "recorder": page.patient,
        "asserter": page.patient,
    }
    if kind == "Condition":
        if not retracted:
            told["clinicalStatus"] = _CLINICAL[said.status]
        told["verificationStatus"] = _ERROR if retracted else _UNCONFIRMED
        told["category"] = _PROBLEM
        told["recordedDate"] = authored
        if answers:
            told["evidence"] = [{"detail": [answers]}]
    else:
        told["status"] = "entered-in-error" if retracted else "completed"
    # One question with one answer is one condition, whichever the answer; of a list each code is its own.
    page.add(kind, field if code == "yes" else f"{field}/{code}", told)


def _write_family(page: Page, field: str) -> None:
    value = page.told.values[field]
    reported = value.get("value") == "yes"
    why = _FAMILY_ABSENT.get("unknown" if value.get("value") in ("unsure", "unknown") else value.get("null", ""))
    status = "partial" if reported else "health-unknown"
    if not reported and why is None:
        earlier = [v for v in page.history(field) if v.get("value") == "yes" or v.get("null") in _FAMILY_ABSENT]
        if not earlier:
            return
        status, reported, why = "entered-in-error", earlier[0].get("value") == "yes", None
        if not reported:
            why = _FAMILY_ABSENT[earlier[0]["null"]]
    _, authored = page.origin(field)
    family: Resource = {"status": status, "patient": page.patient, "date": authored, "relationship": _ANY_RELATIVE}
    if reported:
        code = page.tables.concept(field, "yes", "Medullary thyroid cancer in the family", "MTC_FAMILY")
        family["condition"] = [{"code": code}]
    else:
        family["dataAbsentReason"] = why
    page.add("FamilyMemberHistory", field, family)
