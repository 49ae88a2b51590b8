"""Invented people who send submissions while something is broken: complete, past the gate, unlike one another.

Here: one submission, and a correction of it. Not here: how they are dropped (`drill`).
"""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

from glp1_pipeline.adapters.settings import PROJECT

FIRST = ("Amara", "Celeste", "Esperanza", "Greta", "Ingrid", "Keiko", "Mireille", "Odalys", "Rosalind", "Zora")
SYLLABLES = (
    "ba",
    "che",
    "dor",
    "fin",
    "gar",
    "hol",
    "jor",
    "lin",
    "mor",
    "nel",
    "pen",
    "quo",
    "rik",
    "sal",
    "tav",
    "wes",
)
AREAS = (206, 212, 303, 312, 404, 415, 512, 602, 617, 702, 713, 808, 818, 919, 972)


def submission(name: str, n: int, at: datetime | None = None, answers: dict[str, Any] | None = None) -> dict[str, Any]:
    """The event of person `n` of the round `name`, who signed at `at` (now, unless told); `answers` by question."""
    event = copy.deepcopy(_sample())
    chance = int.from_bytes(hashlib.blake2b(f"{name} {n}".encode(), digest_size=12).digest())
    parts = (SYLLABLES[chance // 16**i % 16] for i in (2, 3, 4))
    first, last = FIRST[chance % len(FIRST)], "".join(parts).capitalize() + "Canary"
    event |= {"id": str(uuid.uuid4()), "subject": f"drill-{name}-{n}"}
    data = event["data"]
    data |= {"submission_id": str(uuid.uuid4()), "client_submission_id": str(uuid.uuid4())}
    data["answers"] |= {
        "demo.legal_first": first,
        "demo.legal_last": last,
        "demo.preferred_name": first,
        "demo.dob": (date(1961, 1, 1) + timedelta(days=chance // 7 % 15_300)).isoformat(),
        "demo.email": f"{first.lower()}.{name}.{n}@example.org",
        "demo.mobile": f"+1{AREAS[chance // 11 % len(AREAS)]}55501{chance // 13 % 100:02d}",
        "hx.men2": "no",
        "id.photo_id": {"content_type": "image/jpeg", "sha256": hashlib.sha256(f"{name} {n}".encode()).hexdigest()},
    }  # fmt: skip
    data["answers"]["demo.address"]["line1"] = f"{100 + chance // 17 % 9_000} Siskin St"
    at = at or datetime.now(UTC) - timedelta(seconds=60)
    data["answers"]["anthro.weight_measured_at"] = (at - timedelta(days=2)).date().isoformat()
    data["answers"] |= answers or {}
    return signed(event, at)


def signed(event: dict[str, Any], at: datetime) -> dict[str, Any]:
    """The same event, signed at this instant and received by the form's server a moment later."""
    received = (at + timedelta(seconds=2)).isoformat(timespec="milliseconds")
    data = event["data"] | {"authored_at": at.isoformat(timespec="milliseconds"), "received_at": received}
    return event | {"time": received, "data": data}


def amendment(first: dict[str, Any], n: int, answers: dict[str, Any]) -> dict[str, Any]:
    """The n-th correction of a submission: `answers` alone, by question, signed n minutes after it."""
    name = f"{first['data']['submission_id']}.{n}"
    data = first["data"] | {
        "submission_id": name, "supersedes": first["data"]["submission_id"], "answers": answers
    }  # fmt: skip
    at = datetime.fromisoformat(first["data"]["authored_at"]) + timedelta(seconds=10 * n)
    return signed(first | {"id": name, "type": "intake.amended", "data": data}, at)


@cache
def _sample() -> dict[str, Any]:
    return json.loads((PROJECT / "data_samples" / "for_you_to_drop" / "new_patient.json").read_text("utf-8"))
