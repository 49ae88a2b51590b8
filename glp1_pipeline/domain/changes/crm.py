"""What a contact in the CRM says, in our fields.

What the CRM keeps of what we told it in a form of its own (a phone with brackets, an address in small letters) says
the same. The event holds only what somebody in the CRM said (`domain.crm`), so what we wrote there ourselves says
nothing here.
Here: properties into values, by the same readers as the form's answers. Not here: whose word counts (`ownership`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..contract import Contract, CrmProperty
from ..events import Change
from ..mapping import Problem
from ..mapping.text import Context, Doc, held
from .shapes import Said, readers

NOBODYS_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""No property that we tell is read by when it was said."""
YES = frozenset({"true", "yes", "1"})
NO = frozenset({"false", "no", "0"})


def read_contact(contract: Contract, change: Change) -> Said:
    """The values of a contact by field, in the reported voice: a CRM hears what people say and verifies nothing.

    A property that was emptied says nothing. One that cannot be read is held, and is a problem.
    """
    values: dict[str, Doc] = {}
    if change.is_deleted:
        return Said(values, (), "reported")
    context = Context(change.seen_at, "")
    groups: dict[str, dict[str, Any]] = {}
    for name, raw in change.content.items():
        declared = contract.crm.get(name)
        if declared is None or declared.flows == "out" or raw in ("", None):
            continue
        if declared.part:
            groups.setdefault(declared.field, {})[declared.part] = raw
        elif declared.means == "opt_out":
            if consent := _consent(raw, change):
                values[declared.field] = consent
        else:
            values[declared.field] = _read(contract, declared.field, raw, context)
    for field, parts in groups.items():
        values[field] = _read(contract, field, parts, context)
    problems = tuple(Problem(n, d["held"], d.get("edges", ("",))[0]) for n, d in values.items() if "held" in d)
    return Said({n: doc for n, doc in values.items() if doc.get("null") != "absent"}, problems, "reported")


def is_kept(contract: Contract, name: str, told: str, there: str) -> bool:
    """Whether a property says there what it was told, though in other letters or marks: as we would read it."""
    if told == there:
        return True
    declared = contract.crm.get(name)
    if declared is None:
        return False
    one, other = (_plain(contract, declared, text) for text in (told, there))
    return one is not None and one == other


def _plain(contract: Contract, declared: CrmProperty, text: str) -> str | None:
    """None where it says nothing, or nothing that we can read."""
    words = " ".join(text.split()).casefold()
    if not words or declared.computed:
        return words or None
    if declared.means == "opt_out":
        return "yes" if words in YES else "no" if words in NO else None
    value = _read(contract, declared.field, text, Context(NOBODYS_TIME, "")).get("value")
    return None if value is None else " ".join(str(value).split()).casefold()


def _read(contract: Contract, field: str, raw: Any, context: Context) -> Doc:
    if field not in contract.fields:
        told = str(raw).strip().lower()
        return {"value": told in YES} if told in YES | NO else held("unmapped_code", str(raw)[:200])
    return readers(contract)[field](raw, context)


def _consent(raw: Any, change: Change) -> Doc | None:
    """To opt out is to revoke. That the box is empty is no consent: nobody was asked by it."""
    told = str(raw).strip().lower()
    if told in YES:
        return {"value": {"status": "revoked", "version": "", "at": change.seen_at.isoformat()}}
    return None if told in NO else held("unmapped_code", str(raw)[:200])
