"""A change in the EHR as a CloudEvent: the bytes that the ledger keeps.

Here: `chart.updated`, `patient.merged` where two Patients were made one there, and `patient.merge_asked` where a person
here had told them apart. Not here: which changes are told
(`changes`), and what they mean (`domain.changes`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from ...domain.fhir import dump
from .entries import Entry

CHANGED, MERGED = "chart.updated", "patient.merged"
MERGE_REASON = "merged in the EHR"
ASKED = "patient.merge_asked"
ASKED_REASON = "merged in the EHR, after a person here said that they are two"


class Heard(NamedTuple):
    """A resource of ours that somebody changed: whose, which, and the version that they made."""

    patient_id: str
    key: str
    version: str


class Told(NamedTuple):
    """One event, not yet in the ledger. `id` is what its source calls it."""

    id: str
    type: str
    document: bytes
    stamp: datetime
    is_deleted: bool = False
    heard: tuple[Heard, ...] = ()
    """Whose resource of ours it was."""


def changed(
    source: str, patient: str, entry: Entry, record_id: str | None, actor: str, sent: dict[str, Any] | None = None
) -> Told:
    """One version of a resource as the EHR holds it; of a deleted one what it said before, where that is known.

    `sent`: the resource as we wrote it last, where what still stands so is nobody's word there.
    """
    data: dict[str, Any] = {
        "resource_type": entry.kind,
        "resource_id": entry.remote_id,
        "version": entry.version,
        "deleted": entry.is_deleted,
    }
    if entry.content:
        data["resource"] = entry.content
    if sent:
        data["sent"] = sent
    if record_id:
        data["record_id"] = record_id
    if actor:
        data["actor"] = actor
    told_id = f"{entry.place}/_history/{entry.version}"
    return _event(source, told_id, CHANGED, patient, entry.stamp, data, entry.is_deleted)


def merged(source: str, entry: Entry, survivor: str, retired: str, actor: str) -> Told:
    """Two records of ours that the EHR made one. Said once for the two, not at every later change of the Patient."""
    data = {"survivor_id": survivor, "retired_id": retired, "reason": MERGE_REASON, "actor": actor or "ehr"}
    return _event(source, f"merged/{retired}/into/{survivor}", MERGED, entry.place, entry.stamp, data)


def asked(source: str, entry: Entry, survivor: str, retired: str, actor: str, stamp: datetime) -> Told:
    """Two records of ours that the EHR made one although a person here told them apart: for a person to decide."""
    data = {"record_id": survivor, "other_id": retired, "reason": ASKED_REASON, "actor": actor or "ehr"}
    told_id = f"asked/{retired}/into/{survivor}/{entry.place}/_history/{entry.version}"
    return _event(source, told_id, ASKED, entry.place, stamp, data)


def merge_links(patient: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """`replaced-by` and `replaces` of a Patient, each with the reference to the other."""
    links = patient.get("link") or []
    return [
        (str(link.get("type")), link["other"])
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, dict) and link.get("type") in ("replaced-by", "replaces")
        and isinstance(link.get("other"), dict)
    ]  # fmt: skip


def _event(source: str, told_id: str, kind: str, subject: str, stamp: datetime, data: Any, gone: bool = False) -> Told:
    document = {
        "specversion": "1.0",
        "id": told_id,
        "source": source,
        "type": kind,
        "subject": subject,
        "time": stamp.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }
    return Told(told_id, kind, dump(document), stamp, gone)
