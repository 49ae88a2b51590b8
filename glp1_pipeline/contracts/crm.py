"""The allow-list of the CRM, read from crm.yaml and checked.

Here: the file's shape, and that nothing clinical stands in it. Not here: what is sent of a patient (`domain.crm`).
"""

from __future__ import annotations

from ..domain.contract import Contract
from .reading import Folder

SECTIONS = frozenset({"identity", "contact", "consent", "lead"})
"""Sections of fields that a CRM may hear of."""
UNTOLD = frozenset({"demo.dob", "demo.sex_at_birth", "demo.gender", "demo.gender_identity", "id.photo_id", "id.selfie"})
"""Fields of those sections that it may not."""


def check_crm(contract: Contract, folder: Folder) -> None:
    for name, declared in contract.crm.items():

        def wrong(what: str, mend: str, name: str = name) -> None:
            folder.fault_at("property", name, f"property `{name}` {what}", mend)

        if bool(declared.field) == bool(declared.computed):
            wrong("must come from a field or be computed", "state one of `field` and `computed`")
            continue
        if declared.computed:
            if declared.flows != "out":
                wrong("is computed by us and heard from the CRM", "make it `flows: out`")
            continue
        field = contract.fields.get(declared.field)
        if field is None and declared.field in contract.ownership and declared.flows == "in":
            continue  # a record that no question asks: only the CRM says it
        if field is None:
            wrong(f"names `{declared.field}`, which is no field", "name one of fields/*.yaml")
            continue
        if field.section not in SECTIONS or field.name in UNTOLD:
            wrong(f"would tell the CRM of `{field.name}`", "it must never leave for the CRM: take the line out")
        if (declared.means == "opt_out") != (field.type == "consent"):
            wrong(f"does not fit `{field.name}`", "a consent, and nothing else, is told as `means: opt_out`")
        if declared.part and declared.part not in field.parts:
            wrong(f"names part `{declared.part}`, which `{field.name}` has not", "use one of its parts")
        if declared.part and declared.flows != "in":
            wrong("tells a part of a field", "parts are only heard: make it `flows: in`")
