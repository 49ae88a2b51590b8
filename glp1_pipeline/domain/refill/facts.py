"""What events say of refills, flags, authorizations and the patient's own clock, as it is kept beside the event.

Here: from an event to one document without a word of free text. Not here: whether whoever said it may
(`events.refill`), and what follows (`requests`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from ..chart import Reported, in_order
from ..contract import Contract
from ..events import Change
from ..events.refill import SPEAKERS, is_refill
from ..flags import RaisedFlag
from ..followup import OF_REQUESTS, request_id

Kind = Literal["requested", "approved", "denied", "overridden", "resolved", "authorized", "tested", "died", "reached"]
"""tested: a laboratory value was measured; died: the patient did; both as the EHR shows (`changes`)."""
KINDS: Final[Mapping[str, Kind]] = {
    "refill.requested": "requested",
    "refill.approved": "approved",
    "refill.denied": "denied",
    "refill.overridden": "overridden",
    "flag.resolved": "resolved",
    "pa.decided": "authorized",
}
"""Event type -> what it says; every other one is a moment that the patient's clock reached."""


@dataclass(frozen=True, slots=True)
class Said:
    """One document, with its event."""

    kind: Kind
    event_id: str
    record_id: str
    at: datetime
    """When it was said, at most when it was received."""
    doc: Mapping[str, Any]

    @property
    def refill_id(self) -> str:
        return self.doc.get("refill_id", "")


def told(contract: Contract, change: Change) -> dict[str, Any] | None:
    """The document of a change; None where it speaks of none of this."""
    if not is_refill(change.kind):
        return None
    kind, data = KINDS.get(change.kind, "reached"), change.content
    doc: dict[str, Any] = {"kind": kind}
    if "refill_id" in data:
        doc["refill_id"] = kept_id(data["refill_id"])
    match kind:
        case "requested":
            doc |= {"product": data["product_key"], "channel": SPEAKERS.get(change.system, change.system)}
        case "denied":
            doc["reason_code"] = data["reason_code"]
        case "overridden":
            reason = contract.override_reasons[data["reason_code"]]
            doc |= {key: data[key] for key in ("rules", "reason_code", "expires_at", "role")}
            doc |= {"flags": data.get("flags", []), "class": reason.reason_class, "actor": change.actor}
        case "resolved":
            doc |= {key: data[key] for key in ("flag_id", "resolution", "reason_code")} | {"actor": change.actor}
        case "authorized":
            doc |= {"pa_id": kept_id(data["pa_id"]), "product": data["product_key"], "until": data["valid_to"]}
        case "reached":
            doc |= {"moment": change.kind} | {key: data[key] for key in ("of", "name", "at")}
            doc["is_late"] = data.get("is_late") is True
    return doc


def kept_id(told_id: str) -> str:
    """An id that may be kept, from whatever id a request or an authorization was given; our own comes back as it is."""
    try:
        return str(uuid.UUID(told_id))
    except ValueError:
        return str(uuid.uuid5(OF_REQUESTS, told_id))


def id_of_request(word: Said) -> str:
    """Ours of a request: two senders may use one id for two people."""
    return request_id(word.record_id, word.refill_id)


def own_ids(words: Iterable[Said]) -> dict[str, str]:
    """Of each request that was made: the id that a message may name it by -> ours."""
    found: dict[str, str] = {}
    for word in words:
        if word.kind == "requested" and word.refill_id not in found:
            own = id_of_request(word)
            found[word.refill_id] = found[own] = own
    return found


def said(reports: Iterable[Reported]) -> Iterator[Said]:
    """All that reports say of this, oldest first."""
    for report in in_order(reports):
        if report.refill is not None:
            yield Said(
                report.refill["kind"],
                report.event_id,
                report.record_id,
                report.received_at.astimezone(UTC),
                report.refill,
            )


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def standing(flags: Mapping[str, RaisedFlag], reports: Iterable[Reported]) -> dict[str, RaisedFlag]:
    """The flags that no provider refuted since they were raised last."""
    resolved = {s.doc["flag_id"]: s for s in said(reports) if s.kind == "resolved"}
    raised_at = {report.event_id: report.received_at for report in reports}

    def stands(flag_id: str, flag: RaisedFlag) -> bool:
        word = resolved.get(flag_id)
        return word is None or word.doc["resolution"] != "refuted" or word.at < raised_at.get(flag.event_id, word.at)

    return {flag_id: flag for flag_id, flag in flags.items() if stands(flag_id, flag)}
