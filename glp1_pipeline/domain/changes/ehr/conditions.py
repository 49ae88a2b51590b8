"""Conditions, procedures and family history: what stands against treatment, and what speaks for it.

Our own codes say field and answer. A standard code counts where the contract declares it: of a comorbidity that people
signed, or of a flag that history.csv names beside an answer. A code that means two of our answers, or none, is a
problem by name and no value: most of a problem list is not our business. Not here: medicines and allergies.
"""

from __future__ import annotations

from typing import Any, Final

from ...contract import FAMILY, Contract, FlagRule
from ...declared import kept
from ...fhir.elements import CODE_SYSTEM, SNOMED
from .reading import Reading, codings, has_code, objects, status_code, text

_ICD10: Final = ("http://hl7.org/fhir/sid/icd-10-cm", "http://hl7.org/fhir/sid/icd-10")
_COMORBIDITIES: Final = "hx.comorbidities"
_OVER: Final = frozenset(("inactive", "remission", "resolved"))
_UNCERTAIN: Final = frozenset(("unconfirmed", "provisional", "differential"))
_TAKEN_BACK: Final = frozenset(("refuted", "entered-in-error"))


class _Known:
    """The rows of history.csv as an EHR's word is looked up in them."""

    def __init__(self, contract: Contract) -> None:
        rows = [row for answers in contract.history.values() for row in answers.values()]
        written = ("Condition", "Procedure")
        self.fields = dict.fromkeys(r.field for r in rows if r.resource in written and r.field != _COMORBIDITIES)
        """Fields whose own codes a condition or procedure may have."""
        self.once_over = {(r.field, r.answer): r.once_over for r in rows if r.once_over}
        self.same_as = {r.comorbidity: r for r in rows if r.comorbidity}
        """A comorbidity that is a question of its own, too."""
        self.by_flag = [
            (contract.flags[flag], r) for r in rows if r.resource != "FamilyMemberHistory" for flag in r.flags
        ]
        self.of_family = [(contract.flags[flag], r) for r in rows if r.field == FAMILY for flag in r.flags]


@kept
def _known(contract: Contract) -> _Known:
    return _Known(contract)


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
    known = _known(reading.contract).of_family
    for condition in objects(family.get("condition")):
        code = condition.get("code")
        if has_code(code, f"{CODE_SYSTEM}:{FAMILY}", "yes") or any(_has_code_of(code, flag) for flag, _ in known):
            return reading.put(FAMILY, {"value": "yes"})
    reason = status_code(family.get("dataAbsentReason"))
    if kind := {"subject-unknown": "unknown", "withheld": "declined"}.get(reason):
        reading.put(FAMILY, {"null": kind})
    return None


def _read_own(reading: Reading, code: Any, *, is_over: bool) -> bool:
    """Whether the code is one of ours, and what it says."""
    own = reading.set_of(_COMORBIDITIES)
    listed = {text(c.get("code")) for c in codings(code) if c.get("system") == f"{CODE_SYSTEM}:{own}"}
    if listed:
        _say_comorbidities(reading, listed, is_over=is_over, is_own=True)
        return True
    known = _known(reading.contract)
    for field in known.fields:
        system = f"{CODE_SYSTEM}:{reading.set_of(field)}"
        if told := [text(c.get("code")) for c in codings(code) if c.get("system") == system]:
            reading.say(field, known.once_over.get((field, told[0]), told[0]) if is_over else told[0])
            return True
    return False


def _say_comorbidities(reading: Reading, codes: set[str], *, is_over: bool, is_own: bool = False) -> None:
    """An addition to the list; what is over is taken from it."""
    if not codes:
        return
    reading.is_taken_back = reading.is_taken_back or is_over
    reading.put(_COMORBIDITIES, {"value": sorted(codes)})
    same_as = _known(reading.contract).same_as
    for row in (same_as[code] for code in codes & same_as.keys() if not is_own):
        reading.put(row.field, {"value": row.answer})


def _answers(contract: Contract, code: Any, *, is_over: bool) -> set[tuple[str, str]]:
    """Field and answer of every flag that declares one of the codes."""
    found: set[tuple[str, str]] = set()
    for coding in codings(code):
        told: dict[str, str] = {}
        for flag, row in _known(contract).by_flag:
            if _has_code_of({"coding": [coding]}, flag):
                told.setdefault(row.field, row.once_over if is_over else row.answer)
        found.update(told.items())
    return found


def _has_code_of(code: Any, flag: FlagRule) -> bool:
    icd10 = flag.icd10cm.split("|")
    return has_code(code, SNOMED, *flag.snomed.split("|")) or any(has_code(code, s, *icd10) for s in _ICD10)
