"""Invented people who filled in the intake form: one event for each number, the same at every call.

Here: a clean submission in any form version, and a file of many with the usual share of trouble. Not here: the stories
of `data_samples` (files, written by hand) and what becomes of an event (the tests). Every legal last name holds the
word Canary, so that one who turns up where no patient belongs is noticed.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import phonenumbers

from glp1_pipeline.contracts import load
from glp1_pipeline.domain.contract import Contract

PEOPLE = uuid.UUID("5c6f2a1e-90b7-5d1a-8f3c-2b7d6e4a9c10")
RECEIVED = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
ABSENT: Any = object()
"""As an override: the answer, or the name, is left out."""
ENVELOPE = ("specversion", "type", "source", "id", "subject", "time", "datacontenttype")

FIRST = (
    "Amara", "Bashir", "Celeste", "Dmitri", "Esperanza", "Farid", "Greta", "Hiroshi", "Ingrid", "Jamal", "Keiko",
    "Lorenzo", "Mireille", "Nikhil", "Odalys", "Pavel", "Rosalind", "Santiago", "Thandiwe", "Ulrich", "Valentina",
    "Wendell", "Ximena", "Yusuf", "Zora", "Anselm", "Beatriz", "Caspian", "Delphine", "Emeka", "Fatima", "Gideon",
    "Henrietta", "Ignacio", "Josefina", "Kwame", "Lucinda", "Marek", "Noemi", "Octavio", "Paloma", "Quentin", "Rania",
    "Stellan", "Tamsin", "Uriel", "Verena", "Wolfgang", "Yolanda", "Zoltan", "Aisling", "Bogdan", "Clementine",
    "Desmond", "Eulalia", "Florian", "Guadalupe", "Hamish", "Ilse", "Jasper", "Karima", "Leopold", "Marisol",
    "Nehemiah", "Ottilie", "Prakash", "Rowena", "Sergei", "Theodora", "Umberto", "Violeta", "Winston", "Xiomara",
    "Yannick", "Zainab", "Ambrose", "Bronwen", "Cyrus", "Dagny", "Ezequiel", "Francesca", "Gustav", "Hyacinth", "Ivan",
    "Jocasta", "Kofi", "Ludmila", "Magnus", "Nadezhda", "Osvaldo", "Philippa", "Rashid", "Saoirse", "Tobias", "Ursula",
    "Viktor", "Wilhelmina", "Yorick", "Zuleika", "Alaric", "Bettina", "Constantin", "Damaris", "Ephraim", "Fenella",
    "Godfrey", "Hortensia", "Isidro", "Jacinta", "Kenji", "Leocadia", "Mordecai", "Nkechi", "Orlando", "Petronella",
    "Raoul", "Sunniva", "Thaddeus", "Ulyana", "Vladimir",
)  # fmt: skip
"""Women's and men's names by turns. Two people are namesakes twice as often as in life."""
SYLLABLES = (
    "ba", "che", "dor", "el", "fin", "gar", "hol", "is", "jor", "ka", "lin", "mor", "nel", "os", "pen", "quo", "rik",
    "sal", "tav", "ul", "ven", "wes", "xan", "yar", "zel", "bru", "cor", "dim", "fal", "gul", "hem", "jas", "kor", "lum",
    "mis", "nov", "pra", "rud", "sto", "tri",
)  # fmt: skip
"""Of family names: sixty thousand, so that two people agree in a name about as seldom as they do in life; and of streets and
towns."""
PLACES = (
    ("TX", "787", "America/Chicago"),
    ("CA", "958", "America/Los_Angeles"),
    ("MA", "021", "America/New_York"),
    ("AZ", "850", "America/Phoenix"),
    ("NC", "276", "America/New_York"),
    ("CO", "802", "America/Denver"),
    ("HI", "968", "Pacific/Honolulu"),
)
"""State, how ZIP codes there begin, zone."""
MEDICINES = (
    [{"name": "lisinopril", "dose": "10 mg"}],
    "none",
    [{"name": "atorvastatin", "dose": "20 mg"}, {"name": "amlodipine", "dose": "5 mg"}],
    [{"name": "sertraline", "dose": "50 mg"}],
    [{"name": "omeprazole", "dose": "20 mg"}],
)
CONDITIONS = (["htn"], ["none"], ["dyslipidemia", "osa"], ["prediabetes"], ["oa", "htn"])
GOALS = ("health_risk", "mobility", "longevity", "appearance")
TARGETS = ("21-50lb", ">50lb", "1-20lb", "undecided")


@cache
def contract() -> Contract:
    return load()


def clean_submission(n: int, version: str = "3.0.0", **overrides: Any) -> dict[str, Any]:
    """The event of person `n`: complete, past the gate, without a flag of any colour on form 3.0.0.

    An override named as a field is its raw answer (`**{"hx.men2": "unsure"}`); one named as a part of the envelope or
    of the data replaces it there. ABSENT leaves it out.
    """
    _, _, zone = PLACES[n % len(PLACES)]
    received = RECEIVED + timedelta(seconds=n % 3600)
    authored = (received - timedelta(seconds=40 + n % 90)).astimezone(ZoneInfo(zone))
    account = str(overrides.get("subject", f"canary-{n:07d}"))
    written = overrides.get("authored_at", ABSENT)
    signed_at = written if isinstance(written, str) else authored.isoformat(timespec="seconds")
    answers = _questions(_answers(n, authored, signed_at), version)
    fields = contract().fields
    data: dict[str, Any] = {
        "submission_id": made("submission", account, n),
        "client_submission_id": made("client", account, n),
        "form_id": contract().form_id,
        "form_version": version,
        "status": "completed",
        "authored_at": authored.isoformat(timespec="seconds"),
        "received_at": received.isoformat(timespec="seconds"),
        "time_zone": zone,
        "channel": ("ios", "android", "web")[n % 3],
        "locale": "en-US",
        "ab_variant": "AB"[n % 2],
        "duration_s": 300 + n % 600,
        "answers": answers,
    }
    event: dict[str, Any] = {
        "specversion": "1.0",
        "type": "intake.submitted",
        "source": "/intake/web",
        "id": made("event", account, n),
        "subject": account,
        "time": data["received_at"],
        "datacontenttype": "application/json",
        "data": data,
    }
    for name, value in overrides.items():
        if name in fields:
            answers[fields[name].question(version)] = value
        elif name in ENVELOPE:
            event[name] = value
        else:
            data[name] = value
    for tree in (event, data, answers):
        for name in [name for name, value in tree.items() if value is ABSENT]:
            del tree[name]
    return event


def _questions(answers: dict[str, Any], version: str) -> dict[str, Any]:
    """The answers that this version asks for, under its own question ids and in its own units."""
    if version == "1.0.0":
        feet, inches = divmod(round(answers["anthro.height"]["value"] / 2.54), 12)
        pounds = round(answers["anthro.weight"]["value"] / 0.45359237)
        answers = answers | {"anthro.height": {"ft": feet, "in": inches}, "anthro.weight": pounds}
    asked = _asked(version)
    return {asked[name]: raw for name, raw in answers.items() if name in asked}


@cache
def _asked(version: str) -> dict[str, str]:
    """Field -> its question id, of the fields that this version asks."""
    return {name: field.question(version) for name, field in contract().fields.items() if field.asked_in(version)}


def _answers(n: int, authored: datetime, signed_at: str) -> dict[str, Any]:
    """By field name, as form 3.0.0 would send them."""
    is_female, is_insured = n % 2 == 0, n % 5 == 1
    drawn = _drawn(n)
    first, last = FIRST[n % len(FIRST)], f"{_made_up(drawn, 3)}Canary"
    state, begins, zone = PLACES[n % len(PLACES)]
    height = 158 + n % 25 if is_female else 168 + n % 22
    weight = round((31 + n % 12 + (n % 10) / 10) * (height / 100) ** 2, 1)
    signed = {"status": "given", "version": "2026-09", "at": signed_at}
    refused = signed | {"status": "refused"}
    # In a year of 365 days: who was born on the 29th of February is an edge case, and nobody here is one.
    born = (date(2001, 1, 1) + timedelta(days=drawn(365))).replace(year=1961 + drawn(41)).isoformat()
    answers: dict[str, Any] = {
        "lead.source": ("organic", "referral", "paid", "employer")[n % 4],
        "demo.legal_first": first,
        "demo.legal_last": last,
        "demo.preferred_name": first,
        "demo.dob": born,
        "demo.sex_at_birth": "female" if is_female else "male",
        "demo.gender": "female" if is_female else "male",
        "demo.gender_identity": "female" if is_female else "male",
        "demo.email": f"{first.lower()}.{n}@example.org",
        "demo.mobile": f"+1{areas()[drawn(len(areas()))]}55501{drawn(100):02d}",
        "demo.address": {
            "line1": f"{100 + drawn(9_000)} {_made_up(drawn, 2)} St",
            "city": _made_up(drawn, 2),
            "state": state,
            "postal_code": f"{begins}{drawn(100):02d}",
        },
        "demo.state_residence": state,
        "demo.state_at_visit": state,
        "demo.timezone": zone,
        "demo.language": "en",
        "id.photo_id": {"content_type": "image/jpeg", "sha256": hashlib.sha256(f"id {n}".encode()).hexdigest()},
        "id.verification_status": "verified",
        "consent.telehealth": signed,
        "consent.treatment": signed,
        "consent.privacy_npp": signed,
        "consent.marketing": refused,
        "consent.sms": signed,
        "consent.release_pcp": refused,
        "goal.primary": GOALS[n % len(GOALS)],
        "goal.target": TARGETS[n % len(TARGETS)],
        "anthro.height": {"value": height, "unit": "cm"},
        "anthro.weight": {"value": weight, "unit": "kg"},
        "anthro.weight_measured_at": (authored.date() - timedelta(days=1 + n % 6)).isoformat(),
        "anthro.weight_method": ("clinic", "device")[n % 2],
        "anthro.highest_weight": {"value": round(weight + 4, 1), "unit": "kg"},
        "vitals.bp": {"systolic": 108 + n % 28, "diastolic": 66 + n % 18},
        "vitals.hr": 58 + n % 30,
        "hx.mtc_personal": "no",
        "hx.mtc_family": "no",
        "hx.men2": "no",
        "hx.pancreatitis": "never",
        "hx.gallbladder": "none",
        "hx.gastroparesis": "no",
        "hx.t1dm": "no",
        "hx.retinopathy": "no",
        "hx.kidney": "none",
        "hx.liver": "none",
        "hx.suicide": "none",
        "hx.eating_disorder": "none",
        "hx.cancer": "none",
        "hx.thyroid_other": "no",
        "hx.bariatric": "none",
        "hx.transplant": "no",
        "hx.substance": "none",
        "hx.surgery_planned": "n/a",
        "hx.t2dm": "no",
        "hx.comorbidities": CONDITIONS[n % len(CONDITIONS)],
        "preg.status": "no" if is_female else "n/a",
        "preg.planning": "no" if is_female else "n/a",
        "preg.breastfeeding": "no" if is_female else "n/a",
        "preg.lmp": "2026-11-04" if is_female else "n/a",
        "preg.contraception": ("iud", "barrier", "implant")[n % 3] if is_female else "n/a",
        "med.glp1_history": "never",
        "med.current_list": MEDICINES[n % len(MEDICINES)],
        "med.prior_weight_loss": ["none"],
        "allergy.any": "no",
        "life.diet_program": {"kind": "app", "started_on": "2026-04-01", "ended_on": "2026-09-30"},
        "life.activity": 30 * (n % 9),
        "care.pcp": "n/a",
        "rx.pharmacy": f"{1000000 + n * 7 % 8999999}",
        "rx.preference": ("zepbound_pen", "wegovy_inj", "no_preference", "foundayo")[n % 4],
        "ins.has_coverage": is_insured,
        "ins.payer_type": "commercial" if is_insured else "none",
        "sys.attestation": True,
    }
    if is_insured:
        answers["ins.member_id"] = f"CNY{n % 10**9:09d}"
        answers["ins.bin_pcn_group"] = {"bin": f"{4000 + n % 900:06d}", "pcn": "CANARY", "group": "RX01"}
    return answers


@cache
def areas() -> tuple[int, ...]:
    """Area codes of the United States: of each a hundred numbers are kept for invented people. So a phone is shared more
    often than in life."""
    numbers = {area: phonenumbers.parse(f"+1{area}5550123") for area in range(201, 990)}
    return tuple(area for area, number in numbers.items() if phonenumbers.is_valid_number_for_region(number, "US"))


def _drawn(n: int) -> Callable[[int], int]:
    """Numbers below what is asked for, by chance, the same for person `n` at every call; none tells anything of another.
    Where the ZIP code followed from the birth date, or all lived in seven towns, each eleventh of a million people looked
    like somebody else."""
    left = int.from_bytes(hashlib.blake2b(str(n).encode(), digest_size=16).digest())

    def draw(below: int) -> int:
        nonlocal left
        left, number = divmod(left, below)
        return number

    return draw


def _made_up(drawn: Callable[[int], int], syllables: int) -> str:
    return "".join(SYLLABLES[drawn(len(SYLLABLES))] for _ in range(syllables)).capitalize()


def made(kind: str, account: str, n: int) -> str:
    """A name-based id: the same person and number give the same one."""
    return str(uuid.uuid5(PEOPLE, f"{kind} {account} {n}"))


HELD, CUT, LIST, UNKNOWN_FORM, TWICE = (17, 61, 98, 133), 44, 121, 188, (9, 83, 150)
"""Places in each 200 lines where a submission lacks a red answer, a line is bad, or the line before comes again."""


def lines(count: int, seed: int) -> Iterator[bytes]:
    """A bulk export: of each 200 lines 190 pass the gate, 4 are held, 3 are no event, 3 came just before."""
    before = b""
    for index in range(count):
        place, n = index % 200, seed * 10_000_000 + index
        event = clean_submission(n, subject=f"bulk-{seed}-{index:06d}")
        if place in HELD:
            event["data"]["answers"]["hx.mtc_personal"] = "unsure"
        elif place == UNKNOWN_FORM:
            event["data"]["form_version"] = "9.0.0"
        line = orjson.dumps(event)
        if place == CUT:
            line = line[: len(line) // 2]
        elif place == LIST:
            line = orjson.dumps([event["id"]])
        elif place in TWICE:
            line = before
        before = line
        yield line


def ndjson(path: Path, count: int, seed: int) -> None:
    """Write `count` lines to a file, one at a time."""
    with path.open("wb") as file:
        for line in lines(count, seed):
            file.write(line + b"\n")
