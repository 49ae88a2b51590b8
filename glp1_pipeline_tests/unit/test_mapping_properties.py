"""What holds of every answer that anyone could send."""

from __future__ import annotations

import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain.contract import Contract
from glp1_pipeline.domain.mapping import EDGE_CASES, NOTES, Mapped, map_submission
from glp1_pipeline_tests.sample_inputs import contract

from .submissions import full_answers, submission

CONTRACT: Contract = contract()
FIELDS = sorted(CONTRACT.asked["3.0.0"])
VERSIONS = st.sampled_from(CONTRACT.form_versions)
CAUSE = {"value", "null", "held"}
HOSTILE = st.sampled_from(
    ["\x00", "\ud800", "\udfff\ud800", "\u202egnp.exe", "'; DROP TABLE patients;--", "<script>alert(1)</script>",
     "=HYPERLINK(1)", "../../etc/passwd", "%s%n", "{{7*7}}", "\ufeff", "\u0660\u0661", "1e999", "-0", "NaN", "1" * 5000,
     "'" * 5000, "5'" * 40, "1,1,1,1.1.1", "9" * 400 + " kg", "\u00b2\u2075 kg", "2026-13-45", "0000-00-00",
     "9999-12-31T23:59:59.999999-23:59", "0001-01-01T00:00:00+14:00", "\U0001f922" * 50, "\u0130\u0131\u00df",
     "+999999999999999", "a@b.c" * 60, "1/1/1", "12st 7st 3", "\u2460 st", "\u0be7 kg"]
)  # fmt: skip
TEXT = st.text(st.characters(), max_size=30) | HOSTILE
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
NAMED = ("value", "unit", "code", "ft", "in", "st", "lb", "status", "at", "name", "null", "text", "answer", "display",
         "note", "comparator")  # fmt: skip
KEYS = TEXT | st.sampled_from(NAMED)
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


def check_documents(mapped: Mapped) -> None:
    for name, doc in mapped.values.items():
        assert name in CONTRACT.fields
        assert len(CAUSE & doc.keys()) == 1
        assert doc.keys() <= {*CAUSE, "raw", "edges", "unmapped"}
        for codes, spellings in doc.get("unmapped", {}).items():
            assert spellings
            assert not set(spellings) & CONTRACT.codes[codes].keys()
        assert set(doc.get("edges", ())) <= {*EDGE_CASES, *NOTES}
    kept = orjson.dumps(mapped.values)  # raises on half characters and on numbers beyond 64 bits
    assert b"\\u0000" not in kept.replace(b"\\\\", b"")  # a backslash that somebody typed is one
    assert {p.field for p in mapped.problems if p.cause != "unknown_question"} == {
        name for name, doc in mapped.values.items() if "held" in doc
    }


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS) | TEXT, JSON, max_size=6), VERSIONS)
def test_no_json_makes_the_mapping_raise(answers: dict[str, Any], version: str) -> None:
    check_documents(map_submission(CONTRACT, submission(answers, version)))


@pytest.mark.parametrize("field", FIELDS)
@settings(max_examples=25, deadline=None)
@given(raw=JSON)
def test_no_answer_to_any_field_makes_it_raise(field: str, raw: Any) -> None:
    check_documents(map_submission(CONTRACT, submission({field: raw})))


@settings(max_examples=60, deadline=None)
@given(HOSTILE)
def test_a_hostile_string_in_every_field_at_once_is_survived(text: str) -> None:
    parts = {name: dict.fromkeys(field.parts, text) for name, field in CONTRACT.fields.items() if field.parts}
    check_documents(map_submission(CONTRACT, submission(dict.fromkeys(FIELDS, text))))
    check_documents(map_submission(CONTRACT, submission(parts)))
    check_documents(map_submission(CONTRACT, submission({text: text}, time_zone=text)))


def test_an_answer_nested_a_thousand_deep_is_kept_shallow() -> None:
    deep: Any = "x"
    for _ in range(400):
        deep = [{"value": deep}]
    for field in FIELDS:
        check_documents(map_submission(CONTRACT, submission({field: deep})))


@given(st.floats(25, 400), st.sampled_from(["lb", "[lb_av]", "kg", "g", "stone", "LB"]))
def test_a_weight_means_the_same_in_every_unit(kilograms: float, unit: str) -> None:
    factor = {"lb": 0.45359237, "[lb_av]": 0.45359237, "LB": 0.45359237, "kg": 1, "g": 0.001, "stone": 6.35029318}[unit]
    for raw in ({"value": kilograms / factor, "unit": unit}, f"{kilograms / factor:.8f} {unit}"):
        doc = map_submission(CONTRACT, submission({"anthro.weight": raw})).values["anthro.weight"]
        if "held" in doc:  # at the very edge of what a body can weigh, rounding decides
            assert min(abs(kilograms - 25), abs(kilograms - 400)) < 0.01 or doc["held"] == "ambiguous_number"
        else:
            assert math.isclose(doc["value"], kilograms, abs_tol=0.0051)


@given(st.integers(5, 60), st.floats(0, 13.9))
def test_stones_and_pounds_add_up(stones: int, pounds: float) -> None:
    pounds = round(pounds, 1)
    docs = [
        map_submission(CONTRACT, submission({"anthro.weight": raw})).values["anthro.weight"]
        for raw in ({"st": stones, "lb": pounds}, f"{stones}st {pounds}", f"{stones} stone {pounds} pounds")
    ]
    assert {doc["value"] for doc in docs} == {round((stones * 14 + pounds) * 0.45359237, 2)}
    assert all("stone" in doc["edges"] for doc in docs)


@given(st.integers(4, 7), st.integers(0, 11))
def test_feet_and_inches_mean_the_same_however_they_are_typed(feet: int, inches: int) -> None:
    spellings = [{"ft": feet, "in": inches}, f"{feet}'{inches}\"", f"{feet} ft {inches} in", f"{feet}ft{inches}",
                 f"{feet}\u2032 {inches}\u2033", {"value": feet * 12 + inches, "unit": "in"}]  # fmt: skip
    values = {
        map_submission(CONTRACT, submission({"anthro.height": raw})).values["anthro.height"].get("value")
        for raw in spellings
    }
    assert values == {round((feet * 12 + inches) * 2.54, 2)}


@given(st.dates(), st.booleans())
def test_a_date_is_never_read_with_day_and_month_exchanged(day: Any, us: bool) -> None:
    raw = f"{day.month}/{day.day}/{day.year:04d}" if us else f"{day.day}/{day.month}/{day.year:04d}"
    doc = map_submission(CONTRACT, submission({"hx.surgery_planned": raw})).values["hx.surgery_planned"]
    assert doc.get("value") in (None, day.isoformat())


@given(st.permutations(sorted(full_answers())))
def test_the_order_of_answers_does_not_matter(order: list[str]) -> None:
    answers = full_answers()
    mapped = map_submission(CONTRACT, submission({name: answers[name] for name in order}))
    assert mapped.values == map_submission(CONTRACT, submission(answers)).values


@given(st.sampled_from(sorted(CONTRACT.codes)), st.data())
def test_every_spelling_maps_to_its_code_whatever_its_case_and_spaces(name: str, data: st.DataObject) -> None:
    for field in (CONTRACT.fields[name] for name in FIELDS):
        if field.codes != name or field.type != "code":
            continue
        code = data.draw(st.sampled_from(list(CONTRACT.codes[name].values())))
        change = data.draw(st.sampled_from([str.upper, str.lower, str.title, lambda text: f"  {text}\u200b "]))
        doc = map_submission(CONTRACT, submission({field.name: change(code.spelling)})).values[field.name]
        assert doc.get("value") == code.code


@pytest.mark.parametrize("field", ["med.current_list", "allergy.list", "hx.comorbidities", "med.prior_weight_loss"])
@pytest.mark.parametrize("more", ["at night, ", "for pain; ", "none, ", "metformin, at night, ", "x|", "and ", ", "])
def test_a_list_of_endless_remarks_is_read_in_the_time_of_a_glance(field: str, more: str) -> None:
    """One event may have a megabyte, and others wait behind it."""
    endless = submission({field: f"metformin 500 mg, {more * (300_000 // len(more))}"})
    began = time.process_time()
    check_documents(map_submission(CONTRACT, endless))
    assert time.process_time() - began < 10  # where each remark was held against all before it: two minutes
