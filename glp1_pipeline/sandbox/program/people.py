"""Invented people: name, birth, address, zone, and a complete intake of theirs.

Not here: what becomes of them (`stories`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

TEMPLATE = Path(__file__).parents[3] / "data_samples" / "clear_case_pen" / "input" / "01-clear-case-pen.json"
"""A complete intake past the gate without a flag: everybody here answers as she does, but for who they are."""
FIRST = {
    "female": (
        "Amara", "Beatriz", "Celeste", "Delphine", "Esperanza", "Greta", "Ingrid", "Keiko", "Mireille", "Odalys",
        "Rosalind", "Thandiwe", "Valentina", "Ximena", "Zora", "Leocadia", "Marisol", "Philippa",
    ),
    "male": (
        "Anselm", "Bashir", "Caspian", "Dmitri", "Emeka", "Farid", "Hiroshi", "Jamal", "Lorenzo", "Nikhil", "Pavel",
        "Santiago", "Ulrich", "Wendell", "Yusuf", "Bartholomew", "Evander", "Ignatius",
    ),
}  # fmt: skip
ONSETS = (
    "Bel",
    "Cor",
    "Dar",
    "Fen",
    "Gal",
    "Hol",
    "Jor",
    "Kel",
    "Lan",
    "Mor",
    "Nor",
    "Pel",
    "Ros",
    "Sel",
    "Tor",
    "Vel",
)
ENDS = ("amund", "berin", "costa", "dovic", "elgren", "forsa", "gatti", "hanska", "imoto", "jarvi", "kovar", "lindo")
PLACES = (
    ("TX", "Austin", "78701", "America/Chicago"),
    ("CA", "Sacramento", "95814", "America/Los_Angeles"),
    ("MA", "Cambridge", "02139", "America/New_York"),
    ("AZ", "Phoenix", "85004", "America/Phoenix"),
    ("CO", "Denver", "80202", "America/Denver"),
    ("HI", "Honolulu", "96813", "Pacific/Honolulu"),
    ("AK", "Anchorage", "99501", "America/Anchorage"),
    ("IN", "Indianapolis", "46204", "America/Indiana/Indianapolis"),
)
AREAS = (512, 916, 617, 602, 303, 808, 907, 317, 713, 415, 508, 520, 719, 214, 619, 413, 480, 970, 206, 503, 702, 801)
STREETS = ("Finch", "Wren", "Heron", "Plover", "Siskin", "Martin", "Linnet", "Bunting", "Dipper", "Godwit", "Knot")


@dataclass(frozen=True)
class Person:
    number: int
    account: str
    sex: str
    zone: ZoneInfo
    weight_kg: float
    """At the intake."""
    answers: dict[str, Any]
    """Of the intake, but for what depends on its day."""


def person(number: int, chance: Random, sex: str | None = None) -> Person:
    """Nobody has a name, a birth date and a telephone of somebody else here."""
    sex = sex or chance.choice(("female", "male"))
    state, city, postal_code, zone = PLACES[number % len(PLACES)]
    first, last = chance.choice(FIRST[sex]), f"{chance.choice(ONSETS)}{chance.choice(ENDS)}Canary"
    height = chance.randint(156, 175) if sex == "female" else chance.randint(167, 190)
    weight = round(chance.uniform(33, 41) * (height / 100) ** 2, 1)
    account = f"program-{number:04d}"
    answers = {
        **_template()["data"]["answers"],
        "demo.legal_first": first, "demo.legal_last": last, "demo.preferred_name": first,
        "demo.dob": (date(1958, 1, 1) + timedelta(days=(41 * number + chance.randrange(41)) % 15_000)).isoformat(),
        "demo.sex_at_birth": sex, "demo.gender": sex, "demo.gender_identity": sex,
        "demo.email": f"{account}@example.org",
        "demo.mobile": f"+1{AREAS[number // 100 % len(AREAS)]}55501{number % 100:02d}",
        "demo.address": {"line1": f"{chance.randint(10, 9000)} {chance.choice(STREETS)} St", "city": city,
                         "state": state, "postal_code": postal_code},
        "demo.state_residence": state, "demo.state_at_visit": state, "demo.timezone": zone,
        "id.photo_id": {"content_type": "image/jpeg", "sha256": f"{chance.getrandbits(256):064x}"},
        "anthro.height": {"value": height, "unit": "cm"},
        "anthro.weight": {"value": weight, "unit": "kg"},
        "anthro.highest_weight": {"value": weight + 3, "unit": "kg"},
    }  # fmt: skip
    answers.pop("life.diet_program")
    if sex == "male":
        answers |= {f"preg.{name}": "n/a" for name in ("status", "planning", "breastfeeding", "contraception")}
        answers.pop("preg.lmp")
    return Person(number, account, sex, ZoneInfo(zone), weight, answers)


def intake(who: Person, at: datetime) -> dict[str, Any]:
    """The event of their intake at that moment."""
    event = json.loads(json.dumps(_template()))
    written = at - timedelta(seconds=40)
    answers = dict(who.answers)
    for name, answer in answers.items():
        if name.startswith("consent."):
            answers[name] = {**answer, "at": written.isoformat()}
    today = at.astimezone(who.zone).date()
    answers["anthro.weight_measured_at"] = (today - timedelta(days=2)).isoformat()
    if who.sex == "female":
        answers["preg.lmp"] = (today - timedelta(days=17)).isoformat()
    event |= {"id": f"{who.account}/intake", "subject": who.account, "time": at.isoformat()}
    event["data"] |= {
        "submission_id": f"{who.account}-intake", "client_submission_id": f"{who.account}-intake-client",
        "authored_at": written.isoformat(), "received_at": at.isoformat(), "time_zone": str(who.zone),
        "answers": answers,
    }  # fmt: skip
    return event


@cache
def _template() -> dict[str, Any]:
    return json.loads(TEMPLATE.read_text("utf-8"))
