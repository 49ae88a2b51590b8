"""What a change in another system says of a person, in our own fields.

Here: which reader a change has; a steward speaks in our own fields. Not here: the readers (`ehr`, `crm`), and whose
word counts (`ownership`).
"""

from __future__ import annotations

from ..contract import Contract
from ..events import Change
from ..events.medication import is_medication
from ..events.refill import AUTHORIZATION
from .crm import read_contact
from .ehr import read_resource
from .ehr.labs import lab_told
from .ehr.patient import death_told
from .ehr.work import flag_told, task_told
from .shapes import Said

__all__ = ["Said", "death_told", "flag_told", "lab_told", "read_change", "task_told"]


def read_change(contract: Contract, change: Change) -> Said:
    """The values of a change by field; nothing where none of our fields has its home in it."""
    if is_medication(change.kind):  # what was ordered, handed over or taken is no field (`domain.medication`)
        return Said(voice="reported")
    if change.kind.startswith(AUTHORIZATION):
        return Said(voice="verified")
    if change.system == "steward":
        return Said({name: value for name, value in change.content.items() if name in contract.fields}, (), "reported")
    return read_resource(contract, change) if change.system == "ehr" else read_contact(contract, change)
