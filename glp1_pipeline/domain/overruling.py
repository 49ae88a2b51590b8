"""What another system's record still says though it was settled otherwise: told over it once, and then left alone.

Somebody in the EHR changed a name; a steward, or whose field it is, said that the other one is right. What holds is the
same as before, so nothing new would be sent, and the EHR would keep what does not hold. Here: which elements are said
again, each time once. Not here: what holds (`voices`), and how it is merged there (`outbox.merging`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from .chart import Chart
from .contract import CRM, EHR

ELEMENTS: Final = {
    "demo.legal_first": "name", "demo.legal_last": "name", "demo.preferred_name": "name", "demo.dob": "birthDate",
    "demo.gender": "gender", "demo.sex_at_birth": "extension", "demo.gender_identity": "extension",
    "demo.mobile": "telecom", "demo.email": "telecom", "demo.address": "address", "demo.state_residence": "address",
    "demo.language": "communication",
}  # fmt: skip
"""Field -> the element of a Patient that it is told in."""
APART: Final = ("active", "link")
"""Elements that say whether a Patient is another's."""


@dataclass(frozen=True, slots=True)
class Insistence:
    """A Patient that is told again although nothing of it is new."""

    key: str
    over: tuple[str, ...]
    """Elements that are told over what stands there."""
    tokens: tuple[str, ...]
    """What it is about: each is told once."""
    heard: tuple[tuple[str, str], ...]
    """Resource and event of every version that the EHR told of a Patient of theirs, the newest last."""


def insistence(chart: Chart, key: str, refused: Iterable[str], told: Collection[str]) -> Insistence | None:
    """What is to be told over the EHR's Patient now. `refused`: events of decisions against a merge that was made
    there. `told`: tokens of what was told before."""
    over: dict[str, str] = {}
    for (name, source), event_id in chart.overruled.items():
        if source == EHR and name in ELEMENTS and (token := f"{name}:{event_id}") not in told:
            over[token] = ELEMENTS[name]
    for event_id in refused:
        if (token := f"{APART[1]}:{event_id}") not in told:
            over[token] = APART[1]
    if not over:
        return None
    elements = {*over.values(), *(APART if APART[1] in over.values() else ())}
    heard = tuple(
        (report.submission_id, report.event_id)
        for report in sorted(chart.submissions, key=lambda report: report.order)
        if report.source == EHR and report.submission_id.startswith("Patient/")
    )
    return Insistence(key, tuple(sorted(elements)), tuple(sorted(over)), heard)


def contact_insistence(chart: Chart, key: str, told: Collection[str]) -> Insistence | None:
    """A contact that is told again since the CRM's word was overruled: its carrier tells what is ours to say there."""
    tokens = {f"{name}:{event_id}" for (name, source), event_id in chart.overruled.items() if source == CRM}
    fresh = sorted(tokens - set(told))
    return Insistence(key, (), tuple(fresh), ()) if fresh else None
