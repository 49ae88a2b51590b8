"""A patient as the CRM may know them, and whose word a contact's property is.

Nothing clinical leaves by this door: the contract's crm.yaml is all that is told (`docs/crm.md` says how). Here: what a
contact is told, by ownership; what differs; which version of a contact is our own doing. Not here: HTTP
(`adapters.crm`), delivery (`adapters.outbox`), what a contact says in our fields (`changes.crm`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

import orjson

from .chart import Chart, death
from .contract import Contract, CrmProperty, Stage
from .declared import kept
from .gates import GateResult

COPY: Final = "contact"
"""Under this name a patient's contact lies in ops.copies: its hash, its place, its conflict."""
KEY: Final = "glp1_patient_id"
"""Property that holds our id of the patient; the CRM must keep it unique."""
CHANGE: Final = "glp1_change"
"""Property that holds the number of our last write, so that a version is known as the one that we made."""
DELETED: Final = "deleted_in_crm"
"""Why a contact is in conflict that somebody deleted there."""
CLOSED: Final = "closed"
"""Pipeline status of a contact whom nobody is to reach any more."""
MERGED: Final = "merged"
"""Pipeline status of a contact whose person is told of by another one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One value that a property had, and whose doing it was, as the CRM names programs and people."""

    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact as the CRM holds it now."""

    contact_id: str
    version: str | None
    """None where the CRM counts no versions."""
    changed_at: datetime
    properties: Mapping[str, str]
    is_archived: bool = False
    history: Mapping[str, tuple[Entry, ...]] | None = None
    """What each property was, the newest first; None where the CRM does not say."""

    @property
    def stamp(self) -> str:
        """What this state of the contact is known by: its version, else the millisecond of its last change."""
        return self.version or f"t{round(self.changed_at.timestamp() * 1000)}"


# ---- what the CRM is told


def contact(
    contract: Contract, chart: Chart, stage: Stage, gate: GateResult | None, followup_status: str | None = None
) -> dict[str, Any]:
    """The body of a write of kind `crm_contact`.

    `properties` are ours to say in this stage. `when_new` are those that the CRM owns now: they are given to a contact
    that is made new, and never written over. What we do not know is left out, so nothing in the CRM is ever emptied.
    """
    told: dict[str, str] = {}
    when_new: dict[str, str] = {}
    worked_out = {"pipeline_status": pipeline_status(chart, stage, gate), "followup_status": followup_status}
    for name, computed, field, is_opt_out, theirs in _outgoing(contract):
        if computed:
            value = worked_out[computed]
        elif is_opt_out:
            value = "true" if is_opted_out(chart.get(field)) else None
        else:
            value = _text(chart.get(field))
        if value:
            (when_new if stage in theirs else told)[name] = value
    return {COPY: {"key": chart.patient_id, "properties": told, "when_new": when_new}}


@kept
def _outgoing(contract: Contract) -> list[tuple[str, str, str, bool, frozenset[Stage]]]:
    """What the CRM is told: property, what is worked out for it, else its field, whether that is told as an opt-out,
    and the stages in which the CRM owns it, or nobody."""
    return [
        (name, p.computed, p.field, p.means == "opt_out", _theirs(contract, p))
        for name, p in contract.crm.items()
        if p.flows != "in"
    ]


def _theirs(contract: Contract, declared: CrmProperty) -> frozenset[Stage]:
    owners = contract.fields[declared.field].owner if declared.field and declared.means == "value" else {}
    return frozenset(stage for stage, owner in owners.items() if owner in ("crm", "nobody"))


def retired_contact(contract: Contract, body: Mapping[str, Any], record_id: str) -> dict[str, Any]:
    """What is told of the contact that a record has which is part of another's patient now: that it is, and the
    patient's opt-outs, for who opted out is not to be reached by their other contact. `body` is the patient's."""
    told: dict[str, str] = {}
    for name, declared in contract.crm.items():
        if declared.computed == "pipeline_status":
            told[name] = MERGED
        elif declared.means == "opt_out" and name in body[COPY]["properties"]:
            told[name] = body[COPY]["properties"][name]
    return {COPY: {"key": record_id, "properties": told, "when_new": {}}}


def contact_hash(body: Mapping[str, Any]) -> str:
    """Sixteen hex digits of what we say of a contact: kept in ops.copies.planned under `contact`. What the CRM owns
    is not part of it, or each change that we hear from there would be written back."""
    said = {"key": body[COPY]["key"], "properties": body[COPY]["properties"]}
    return blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def pipeline_status(chart: Chart, stage: Stage, gate: GateResult | None) -> str:
    """The stage, and within intake how far the form is: never why it is held, and never why all is over."""
    if death(chart.submissions) is not None:
        return CLOSED
    if stage != "intake":
        return stage
    if not chart.is_complete:
        return "intake_started"
    return "intake_incomplete" if gate is not None and gate.outcome != "passed" else "intake_submitted"


def is_opted_out(consent: Any) -> bool:
    return isinstance(consent, dict) and consent.get("status") in ("refused", "revoked")


def _text(value: Any) -> str | None:
    return value.strip() if isinstance(value, str) else None


# ---- what is there


def difference(wanted: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str]:
    """Of what we say, what the contact does not say yet."""
    return {name: value for name, value in wanted.items() if not _is_same(name, value, there.get(name, ""))}


def _is_same(name: str, ours: str, theirs: str) -> bool:
    return ours == theirs or (name == "email" and ours.casefold() == theirs.casefold())


def is_known(stamp: str, known: str) -> bool:
    """Whether a state of a contact is one that we knew of already: what we last left or saw there, or an older one."""
    if stamp.isdecimal() and known.isdecimal():
        return int(stamp) <= int(known)
    if stamp[:1] == known[:1] == "t" and stamp[1:].isdecimal() and known[1:].isdecimal():
        return int(stamp[1:]) <= int(known[1:])
    return stamp == known


def is_our_write(there: Contact, known: str | None, n: int) -> bool:
    """Whether this state is what our n-th write made of the state that we knew, and nobody touched it since."""
    if there.properties.get(CHANGE) != str(n) or not (there.version or "").isdecimal():
        return False
    before = 0 if known is None else int(known) if known.isdecimal() else -1
    return int(there.version or 0) == before + 1


def heard_properties(contract: Contract) -> list[str]:
    """Properties that we hear of."""
    return [name for name, declared in contract.crm.items() if declared.flows != "out"]


def said_there(contract: Contract, there: Contact) -> dict[str, str]:
    """What somebody in the CRM said: of the properties that we hear of, those whose last word is not ours.

    We are whoever wrote `glp1_change`. A CRM without history lets us not tell: there all of them are its word.
    """
    if there.history is None:
        return {name: value for name in heard_properties(contract) if (value := there.properties.get(name, ""))}
    us = {entry.source for entry in there.history.get(CHANGE, ())}
    return {
        name: there.properties.get(name, "")
        for name in heard_properties(contract)
        if (entries := there.history.get(name, ())) and entries[0].source not in us
    }


def actor_of(there: Contact, names: Collection[str]) -> str:
    """Who in the CRM said it, as far as the CRM tells."""
    sources = {entries[0].source for name, entries in (there.history or {}).items() if name in names and entries}
    return min(sources, default="")


def event_of(contract: Contract, there: Contact, portal: str, record_id: str | None) -> dict[str, Any] | None:
    """The CloudEvent of a changed contact; None where nobody but us said anything of it.

    One state of a contact is one event, however often it is noticed.
    """
    said = {} if there.is_archived else said_there(contract, there)
    if not said and not there.is_archived:
        return None
    data: dict[str, Any] = {
        "contact_id": there.contact_id, "version": there.stamp, "deleted": there.is_archived, "properties": said,
    }  # fmt: skip
    if record_id:
        data["record_id"] = record_id
    if actor := actor_of(there, said):
        data["actor"] = actor
    return {
        "specversion": "1.0",
        "type": "contact.updated",
        "source": f"/crm/{portal}",
        "id": f"contact/{there.contact_id}/_history/{there.stamp}",
        "subject": there.contact_id,
        "time": there.changed_at.isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        "data": data,
    }
