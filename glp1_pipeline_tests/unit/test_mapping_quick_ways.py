"""The quick ways through the mapping give what the whole reading gives: the same document, with its edges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.contracts import load
from glp1_pipeline.domain.contract import Contract, Field, fold
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline.domain.mapping.people import e164
from glp1_pipeline.domain.mapping.records import Parts
from glp1_pipeline.domain.mapping.text import bare

from .submissions import full_answers, submission
from .test_mapping_properties import FIELDS, HOSTILE, JSON, TEXT

CONTRACT: Contract = load()
SPELLINGS = sorted({spelling for known in CONTRACT.codes.values() for spelling in known})
NULLS = sorted(CONTRACT.codes["null_answers"])
CHANGES = st.sampled_from([str, str.upper, str.capitalize, lambda text: f" {text}", lambda text: f"{text}\u200b"])
CLOSED = st.builds(lambda text, change: change(text), st.sampled_from(SPELLINGS) | st.sampled_from(NULLS), CHANGES)
CLOSED |= st.sampled_from(sorted(set(SPELLINGS) - set(NULLS))).map("{}.".format)  # of a null, text keeps the full stop
DAYS = st.dates().map(str) | st.sampled_from(["2000-02-29", "1900-02-29", "2026-1-02", "20260102", "2026-W01-1", "n/a"])
INSTANTS = st.builds(
    lambda at, offset: at.isoformat() + offset,
    st.datetimes(),
    st.sampled_from(["", "Z", "z", "+00:00", "-05:00", "+14:00", "+14:01", "-23:59", "+05:30:15"]),
)
MAIL = st.builds(
    "{}@{}".format,
    st.sampled_from(["amy", "a.b+c", "A_B", "o'neil", "a\x01", "é", "_", "n/a"]),
    st.sampled_from(["example.org", "Example.ORG", "gmial.com", "x.co.", "x_y.z", "x", "éa.fr", "a.b,", "a..b"]),
)
PHONES = st.from_regex(r"\+?1?[ (-]?[2-9]\d{2}[) .-]{0,2}[2-9]\d{6}( x\d{2})?", fullmatch=True)
ZONES = st.sampled_from(["America/New_York", "UTC", " UTC", "utc", "n/a", "../etc", "Etc/GMT+5"])
NUMBERS = st.integers(-5, 500) | st.integers() | st.floats() | st.sampled_from([82.5, 1.750, 250.125, 1e6, 2**60])
UNITS = st.sampled_from(["kg", "lb", "LB", "[lb_av]", "cm", "in", "ft", "st", "g", "m", "/min", "", "zz"])
STATUS = st.sampled_from(["given", "refused", "revoked", "yes", "", "Given"])
CONSENTS = st.fixed_dictionaries(
    {"status": STATUS, "version": st.sampled_from(["2026-09", "", " 1", "1 "]) | TEXT, "at": INSTANTS | TEXT}
)
MEDICINES = st.sampled_from(sorted(CONTRACT.codes["medicines"])) | st.sampled_from(
    ["Lantus SoloStar 20 units", "metformin and lisinopril", "Metformin", " metformin", "Canary pill", "none",
     "stopped metformin", "no metformin", "me\u212atformin", "metformin."]
)  # fmt: skip
SAID = st.sampled_from(["10 mg", "stopped", "no longer", "n/a", "past", "active", "", "once daily", "1,000 IU", "é"])
ROWS = st.dictionaries(
    st.sampled_from(["name", "dose", "frequency", "rxnorm", "class", "substance", "reaction", "drug", "end", "active"]),
    MEDICINES | SAID | DAYS,
    min_size=1,
)
PARTS = sorted({part for field in CONTRACT.fields.values() for part in field.parts})
USUAL = st.one_of(
    CLOSED, DAYS, INSTANTS, MAIL, PHONES, ZONES, NUMBERS, CONSENTS, MEDICINES, SAID, HOSTILE,
    st.fixed_dictionaries({"value": NUMBERS, "unit": UNITS}),
    st.lists(ROWS, max_size=3), st.lists(CLOSED, max_size=3),
    st.dictionaries(st.sampled_from(PARTS), CLOSED | DAYS | NUMBERS | TEXT | st.lists(SAID, max_size=2), max_size=4),
    st.sampled_from([*full_answers().values()]),
)  # fmt: skip


class Text(str):
    """Like the types below: no quick way takes it, for it is not exactly a `str`."""


class Whole(int): ...


class Broken(float): ...


class Rows(list): ...


class Named(dict): ...


def slowed(raw: Any) -> Any:
    """An answer that no quick way takes."""
    match raw:
        case bool() | None:
            return raw
        case str():
            return Text(raw)
        case int():
            return Whole(raw)
        case float():
            return Broken(raw)
        case list():
            return Rows(map(slowed, raw))
        case dict():
            return Named({key: slowed(part) for key, part in raw.items()})
    raise AssertionError(type(raw))


def read(field: str, raw: Any, version: str) -> Any:
    mapped = map_submission(CONTRACT, submission({field: raw}, version))
    return repr(mapped.values[field]), mapped.contradictions, mapped.problems


@pytest.mark.parametrize("field", FIELDS)
@settings(max_examples=60, deadline=None)
@given(raw=USUAL | JSON, version=st.sampled_from(CONTRACT.form_versions))
def test_the_quick_way_reads_what_the_whole_reading_reads(field: str, raw: Any, version: str) -> None:
    assert read(field, raw, version) == read(field, slowed(raw), version)


@pytest.mark.parametrize("rows", [[{"name": name, "dose": "10 mg"}] for name in sorted(CONTRACT.codes["medicines"])])
def test_every_medicine_that_we_know_is_one_row_both_ways(rows: list[dict[str, str]]) -> None:
    for name in (rows[0]["name"], rows[0]["name"].upper(), f"{rows[0]['name']}."):
        raw = [{**rows[0], "name": name}]
        assert read("med.current_list", raw, "3.0.0") == read("med.current_list", slowed(raw), "3.0.0")


@pytest.mark.parametrize("field", [field for field in CONTRACT.fields.values() if field.parts], ids=lambda f: f.name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_parts_under_our_own_names_are_those_under_others(field: Field, data: st.DataObject) -> None:
    parts = Parts(field, dict.fromkeys(field.parts, None))  # type: ignore[arg-type]
    told = CLOSED | NUMBERS | TEXT | st.lists(SAID, max_size=2)
    raw = data.draw(st.dictionaries(st.sampled_from(field.parts), told, max_size=4))
    assert parts.named(raw) == parts.named({f"{field.name}.{name}": part for name, part in raw.items()})


@given(st.from_regex(r"\+1[2-9]\d{2}[2-9]\d{6}", fullmatch=True))
def test_a_phone_written_as_ours_is_read_as_any_other(number: str) -> None:
    assert e164(number) == e164(f"{number[:2]} {number[2:]}") == e164(f"({number[2:5]}) {number[5:]}")


def test_every_spelling_is_as_folding_leaves_it() -> None:
    """So one that is written so needs no folding."""
    assert [spelling for spelling in SPELLINGS if fold(bare(spelling)[0]) != spelling] == []
