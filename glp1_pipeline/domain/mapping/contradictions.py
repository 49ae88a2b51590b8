"""Answers of one person that cannot all be meant.

Here: naming them. Not here: choosing between them, which nobody but the patient and a provider may do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Values = Mapping[str, Mapping[str, Any]]
BY_EDGE = ("exclusive_none", "unsure_beside_answers", "words_beside_no")
"""Edges that are contradictions within one answer."""


def find_contradictions(values: Values, edges: Iterable[str]) -> tuple[str, ...]:
    """Names of the contradictions in these value documents, sorted. `edges`: those of all the documents."""

    def get(name: str) -> Any:
        doc = values.get(name)
        return None if doc is None else doc.get("value")

    found = {edge for edge in edges if edge in BY_EDGE}
    if get("demo.sex_at_birth") == "male":
        if get("preg.status") in ("yes", "possible"):
            found.add("male_and_pregnant")
        if get("preg.breastfeeding") == "yes":
            found.add("male_and_breastfeeding")
    medicines = {row.get("class") for row in get("med.current_list") or ()}
    denied_t2dm = get("hx.t2dm") == "no"
    if "insulin" in medicines and denied_t2dm and get("hx.t1dm") != "yes":
        found.add("diabetes_denied_insulin_listed")
    conditions = get("hx.comorbidities") or ()
    if denied_t2dm and "t2dm" in conditions:
        found.add("diabetes_denied_and_listed")
    if get("hx.t1dm") == "yes" and get("hx.t2dm") == "yes":
        found.add("both_types_of_diabetes")
    if get("hx.retinopathy") == "yes" and denied_t2dm and get("hx.t1dm") == "no":
        found.add("retinopathy_without_diabetes")
    if get("hx.liver") == "none" and "masld" in conditions:
        found.add("liver_disease_denied_and_listed")
    if "glp1" in medicines and get("med.glp1_history") == "never":
        found.add("glp1_denied_and_listed")
    if get("allergy.any") == "no" and get("allergy.list"):
        found.add("allergy_denied_and_listed")
    if get("allergy.any") == "yes" and get("allergy.list") == []:
        found.add("allergy_told_and_none_listed")
    covered, payer = get("ins.has_coverage"), get("ins.payer_type")
    if covered is not None and payer is not None and covered == (payer == "none"):
        found.add("coverage_and_payer_differ")
    home, mail = get("demo.state_residence"), (get("demo.address") or {}).get("state")
    if home and mail and home != mail:
        found.add("residence_and_address_differ")
    return tuple(sorted(found))
