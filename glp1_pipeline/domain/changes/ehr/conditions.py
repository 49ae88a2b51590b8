"""Conditions, procedures and family history: what stands against treatment, and what speaks for it.

Our own codes say field and answer. A standard code counts where the contract declares it: of a comorbidity that people
signed, or of a flag whose field is known. A code that means two of our answers, or none, is a problem by name and no
value: most of a problem list is not our business. Not here: medicines and allergies.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ...contract import Contract
from ...fhir.elements import CODE_SYSTEM, SNOMED
from .reading import Reading, codings, has_code, objects, status_code, text

_ICD10: Final = ("http://hl7.org/fhir/sid/icd-10-cm", "http://hl7.org/fhir/sid/icd-10")
_COMORBIDITIES: Final = "hx.comorbidities"
_FAMILY: Final = "hx.mtc_family"
_OVER: Final = frozenset(("inactive", "remission", "resolved"))
_UNCERTAIN: Final = frozenset(("unconfirmed", "provisional", "differential"))
_TAKEN_BACK: Final = frozenset(("refuted", "entered-in-error"))


class Meaning(NamedTuple):
    """What a condition with a flag's code answers, while it lasts and when it is over (empty: then it says nothing).
    A code that several flags declare is the first one's."""

    field: str
    now: str
    past: str = ""


_FLAGS: Final[dict[str, Meaning]] = {
    "MTC_PERSONAL": Meaning("hx.mtc_personal", "yes", "yes"),
    "MEN2": Meaning("hx.men2", "yes", "yes"),
    "PANCREATITIS_ACTIVE": Meaning("hx.pancreatitis", "current", "past"),
    "PANCREATITIS_HX": Meaning("hx.pancreatitis", "past", "past"),
    "GALLBLADDER_ACTIVE": Meaning("hx.gallbladder", "stones"),
    "GASTROPARESIS_SEVERE": Meaning("hx.gastroparesis", "yes"),
    "T1DM": Meaning("hx.t1dm", "yes", "yes"),
    "DIABETIC_RETINOPATHY": Meaning("hx.retinopathy", "yes", "yes"),
    "RENAL_CKD4_5": Meaning("hx.kidney", "ckd"),
    "ESRD_DIALYSIS": Meaning("hx.kidney", "dialysis"),
    "SUICIDAL_ACTIVE": Meaning("hx.suicide", "current", "past"),
    "SUICIDE_ATTEMPT_HX": Meaning("hx.suicide", "past", "past"),
    "EATING_DISORDER_ACTIVE": Meaning("hx.eating_disorder", "current", "past"),
    "EATING_DISORDER_HX": Meaning("hx.eating_disorder", "current", "past"),
    "LIVER_CIRRHOSIS": Meaning("hx.liver", "cirrhosis", "cirrhosis"),
    "THYROID_CA_NONMTC": Meaning("hx.thyroid_other", "yes", "yes"),
    "TRANSPLANT_IMMUNOSUPP": Meaning("hx.transplant", "yes", "yes"),
    "PREGNANT": Meaning("preg.status", "yes"),
}
_ENDS: Final = {m.field: m.past for m in _FLAGS.values() if m.now == "current"}
"""Fields whose present answer becomes another one when it is over."""
_LIKE: Final = {"t2dm": ("hx.t2dm", "yes")}
"""A comorbidity that is a question of its own, too."""
_OWN_FIELDS: Final = (
    "hx.mtc_personal", "hx.men2", "hx.pancreatitis", "hx.gallbladder", "hx.gastroparesis", "hx.t1dm", "hx.t2dm",
    "hx.retinopathy", "hx.kidney", "hx.liver", "hx.suicide", "hx.eating_disorder", "hx.cancer", "hx.thyroid_other",
    "hx.bariatric", "hx.transplant",
)  # fmt: skip


def read_condition(reading: Reading) -> None:
    condition = reading.content
    verification = status_code(condition.get("verificationStatus"))
    reading.is_taken_back = reading.is_taken_back or verification in _TAKEN_BACK
    reading.is_confirmed = verification not in _UNCERTAIN
    is_over = status_code(condition.get("clinicalStatus")) in _OVER
    code = condition.get("code")
    if _read_own(reading, code, is_over=is_over):
        return
    comorbidities = reading.codes_of(_COMORBIDITIES, code)
    answers = _answers(reading.contract, code, is_over=is_over)
    if len(answers) > 1 or (not answers and not comorbidities):
        reading.trouble(_COMORBIDITIES, "ambiguous_condition" if answers else "unmapped_condition")
    for field, answer in sorted(answers) if len(answers) == 1 else ():
        if answer:
            reading.put(field, {"value": answer})
    _say_comorbidities(reading, comorbidities, is_over=is_over)


def read_procedure(reading: Reading) -> None:
    """Our own alone: when a procedure was, and which, decides what it means, and no standard code is signed for it."""
    status = text(reading.content.get("status"))
    reading.is_taken_back = reading.is_taken_back or status in ("entered-in-error", "not-done")
    if not _read_own(reading, reading.content.get("code"), is_over=False):
        reading.trouble("hx.bariatric", "unmapped_procedure")


def read_family(reading: Reading) -> None:
    family = reading.content
    reading.is_confirmed = bool(reading.change.actor)  # the resource itself does not say whose word it is
    reading.is_taken_back = reading.is_taken_back or family.get("status") == "entered-in-error"
    rule = reading.contract.flags.get("MTC_FAMILY")
    for condition in objects(family.get("condition")):
        code = condition.get("code")
        if has_code(code, f"{CODE_SYSTEM}:{_FAMILY}", "yes") or (rule and _has_flag(code, rule.snomed, rule.icd10cm)):
            return reading.put(_FAMILY, {"value": "yes"})
    reason = status_code(family.get("dataAbsentReason"))
    if kind := {"subject-unknown": "unknown", "withheld": "declined"}.get(reason):
        reading.put(_FAMILY, {"null": kind})
    return None


def _read_own(reading: Reading, code: Any, *, is_over: bool) -> bool:
    """Whether the code is one of ours, and what it says."""
    own = reading.set_of(_COMORBIDITIES)
    listed = {text(c.get("code")) for c in codings(code) if c.get("system") == f"{CODE_SYSTEM}:{own}"}
    if listed:
        _say_comorbidities(reading, listed, is_over=is_over, is_own=True)
        return True
    for field in _OWN_FIELDS:
        system = f"{CODE_SYSTEM}:{reading.set_of(field)}"
        if told := [text(c.get("code")) for c in codings(code) if c.get("system") == system]:
            answer = _ENDS[field] if is_over and told[0] == "current" and field in _ENDS else told[0]
            reading.say(field, answer)
            return True
    return False


def _say_comorbidities(reading: Reading, codes: set[str], *, is_over: bool, is_own: bool = False) -> None:
    """An addition to the list; what is over is taken from it."""
    if not codes:
        return
    reading.is_taken_back = reading.is_taken_back or is_over
    reading.put(_COMORBIDITIES, {"value": sorted(codes)})
    for code in codes & _LIKE.keys() if not is_own else ():
        field, answer = _LIKE[code]
        reading.put(field, {"value": answer})


def _answers(contract: Contract, code: Any, *, is_over: bool) -> set[tuple[str, str]]:
    """Field and answer of every flag that declares one of the codes."""
    found: set[tuple[str, str]] = set()
    for coding in codings(code):
        told: dict[str, str] = {}
        for flag_id, meaning in _FLAGS.items():
            rule = contract.flags.get(flag_id)
            if rule and _has_flag({"coding": [coding]}, rule.snomed, rule.icd10cm):
                told.setdefault(meaning.field, meaning.past if is_over else meaning.now)
        found.update(told.items())
    return found


def _has_flag(code: Any, snomed: str, icd10: str) -> bool:
    return has_code(code, SNOMED, *snomed.split("|")) or any(has_code(code, s, *icd10.split("|")) for s in _ICD10)
