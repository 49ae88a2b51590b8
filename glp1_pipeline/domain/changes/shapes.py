"""The shape of what a change says. Not here: how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..chart import Value
from ..mapping import Problem


@dataclass(frozen=True, slots=True)
class Said:
    """Values by field, as one version of one resource says them."""

    values: Mapping[str, Value] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    voice: str = "verified"
    """reported, where it is only what the patient said; verified, where a clinician says so."""
