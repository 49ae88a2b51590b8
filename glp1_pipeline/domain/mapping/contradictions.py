"""Answers of one person that cannot all be meant.

Here: naming them. Not here: choosing between them, which nobody but the patient and a provider may do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Values = Mapping[str, Mapping[str, Any]]


def find_contradictions(values: Values) -> tuple[str, ...]:
    """Names of the contradictions in these value documents, sorted; works on one submission and on a whole chart."""

    def get(name: str) -> Any:
        doc = values.get(name)
        return None if doc is None else doc.get("value")

    found: set[str] = set()
    for edge in ("exclusive_none", "words_beside_no"):
        if any(edge in doc["edges"] for doc in values.values() if "edges" in doc):
            found.add(edge)
    if get("demo.sex_at_birth") == "male" and get("preg.status") in ("yes", "possible"):
        found.add("male_and_pregnant")
    medicines = {row.get("class") for row in get("med.current_list") or ()}
    denied_t2dm = get("hx.t2dm") == "no"
    if "insulin" in medicines and denied_t2dm and get("hx.t1dm") != "yes":
        found.add("diabetes_denied_insulin_listed")
    if denied_t2dm and "t2dm" in (get("hx.comorbidities") or ()):
        found.add("diabetes_denied_and_listed")
    if "glp1" in medicines and get("med.glp1_history") == "never":
        found.add("glp1_denied_and_listed")
    if get("allergy.any") == "no" and get("allergy.list"):
        found.add("allergy_denied_and_listed")
    return tuple(sorted(found))
