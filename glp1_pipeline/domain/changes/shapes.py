"""The shape of what a change says, and the readers that its answers go through.

Not here: which element or property means which field (`ehr`, `crm`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..chart import Value
from ..contract import Contract
from ..declared import kept
from ..mapping import Problem
from ..mapping.shapes import shape_of
from ..mapping.text import Shape


@dataclass(frozen=True, slots=True)
class Said:
    """Values by field, as one version of one resource says them."""

    values: Mapping[str, Value] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    voice: str = "verified"
    """reported, where it is only what the patient said; verified, where a clinician says so."""


@kept
def readers(contract: Contract) -> dict[str, Shape]:
    """Field -> the reader of its answers, as the newest form asks for them."""
    newest = contract.form_versions[-1]
    return {name: shape_of(contract, field, newest) for name, field in contract.fields.items()}
