"""The quick ways through the mapping give what the whole reading gives: the same document, with its edges."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain.contract import Contract, Field, fold
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline.domain.mapping.people import e164
from glp1_pipeline.domain.mapping.records import Parts
from glp1_pipeline.domain.mapping.text import bare
from glp1_pipeline_tests.sample_inputs import contract

from .submissions import full_answers, submission
from .test_mapping_properties import FIELDS, HOSTILE, JSON, TEXT

CONTRACT: Contract = contract()
SPELLINGS = sorted({spelling for known in CONTRACT.codes.values() for spelling in known})
NULLS = sorted(CONTRACT.codes["null_answers"])
CHANGES = st.sampled_from([str, str.upper, str.capitalize, lambda text: f" {text}", lambda text: f"{text}\u200b"])
CLOSED = st.builds(lambda text, change: change(text), st.sampled_from(SPELLINGS) | st.sampled_from(NULLS), CHANGES)
CLOSED |= st.sampled_from(sorted(set(SPELLINGS) - set(NULLS))).map("{}.".format)  # of a null, text keeps the full stop
DAYS = st.one_of(
    st.dates().map(str),
    st.dates(date(2026, 11, 20), date(2026, 11, 26)).map(str),
    st.sampled_from(
        ["2000-02-29", "1900-02-29", "2026-1-02", "20260102", "2026-W01-1", "n/a", "1906-11-22", "1905-12-31"]
    ),
)
OFFSETS = ["", "Z", "z", "+00:00", "-05:00", "+14:00", "+14:01", "-23:59", "+05:30:15"]
INSTANTS = st.builds(
    "{}{}".format,
    st.datetimes().map(datetime.isoformat)
    | st.sampled_from(["2026-11-22T09:58:00", "2026-11-23T10:01", "2026-12-01T10:00:00", "1850-01-01T10:00:00"]),
    st.sampled_from(OFFSETS),
)
MAIL = st.builds(
    "{}@{}".format,
    st.sampled_from(["amy", "a.b+c", "A_B", "o'neil", "a\x01", "é", "_", "n/a"]),
    st.sampled_from(
        ["example.org", "Example.ORG", *sorted(CONTRACT.codes["email_domain_typos"])[:3], "x.co.", "x_y.z", "a.b,"]
    ),
)
PHONES = st.from_regex(r"\+?1?[ (-]?[2-9]\d{2}[) .-]{0,2}[2-9]\d{6}( x\d{2})?", fullmatch=True)
ZONES = st.sampled_from(["America/New_York", "UTC", " UTC", "utc", "n/a", "../etc", "Etc/GMT+5"])
NUMBERS = st.integers(-5, 500) | st.integers() | st.floats() | st.sampled_from([82.5, 1.750, 250.125, 1e6, 2**60])
UNITS = st.sampled_from(["kg", "lb", "LB", "[lb_av]", "cm", "in", "ft", "st", "g", "m", "/min", "", "zz"])
MEASURES = NUMBERS | st.fixed_dictionaries({"value": NUMBERS, "unit": UNITS})
CONSENTS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["given", "given", "refused", "revoked", "yes", "", "Given"]),
        "version": st.sampled_from(["2026-09", "2026-09", "", " 1", "1 ", "é"]),
        "at": INSTANTS,
    }
)
NAMES = st.sampled_from(sorted({*CONTRACT.codes["medicines"], *CONTRACT.codes["allergens"]})) | st.sampled_from(
    ["Lantus SoloStar 20 units", "metformin and lisinopril", "Metformin", " metformin", "Canary pill", "none",
     "stopped metformin", "no metformin", "met\u212aformin", "metformin."]
)  # fmt: skip
SAID = st.sampled_from(["10 mg", "10 mg", "stopped", "no longer", "n/a", "past", "", "once daily", "1,000 IU", "é"])
TOLD = SAID | DAYS | st.booleans()
ROWS = st.lists(
    st.builds(
        lambda named, beside: named | beside,
        st.dictionaries(st.sampled_from(["name", "name", "substance"]), NAMES, min_size=1, max_size=1),
        st.dictionaries(st.sampled_from(["dose", "frequency", "rxnorm", "class", "reaction", "end"]), TOLD, max_size=2),
    ),
    max_size=3,
)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "consent": CONSENTS, "date": DAYS, "instant": INSTANTS, "quantity": MEASURES, "integer": NUMBERS, "list": ROWS,
    "codes": st.lists(CLOSED, max_size=3),
}  # fmt: skip
BY_FORMAT = {"email": MAIL, "phone": PHONES, "timezone": ZONES}
FULL = full_answers()


def usual(field: Field) -> st.SearchStrategy[Any]:
    """Answers to a field as most people give them, and some of which each is a slip away."""
    if field.parts and field.type not in BY_TYPE:
        part = CLOSED | DAYS | st.integers(0, 400) | TEXT | SAID | st.lists(SAID, max_size=2)
        return st.dictionaries(st.sampled_from(field.parts), part, max_size=4) | st.sampled_from([FULL.get(field.name)])
    return BY_FORMAT.get(field.format, BY_TYPE.get(field.type, CLOSED))


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
@settings(max_examples=80, deadline=None)
@given(data=st.data(), version=st.sampled_from(CONTRACT.form_versions))
def test_the_quick_way_reads_what_the_whole_reading_reads(field: str, data: st.DataObject, version: str) -> None:
    raw = data.draw(usual(CONTRACT.fields[field]))
    assert read(field, raw, version) == read(field, slowed(raw), version)


@pytest.mark.parametrize("field", FIELDS)
@settings(max_examples=20, deadline=None)
@given(raw=JSON | HOSTILE)
def test_so_it_does_of_what_nobody_would_answer(field: str, raw: Any) -> None:
    assert read(field, raw, "3.0.0") == read(field, slowed(raw), "3.0.0")


@pytest.mark.parametrize("dose", ["10 mg", "stopped", "no longer", "past", "n/a", "", " 10 mg", "é", 10, True, None])
def test_every_medicine_that_we_know_is_one_row_both_ways(dose: Any) -> None:
    for known in CONTRACT.codes["medicines"]:
        for name in (known, known.upper(), f"{known}.", f"no {known}"):
            raw = [{"name": name, "dose": dose}]
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
