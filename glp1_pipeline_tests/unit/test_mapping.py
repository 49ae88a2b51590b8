"""What an answer becomes: each odd case of a phone, a browser or a person, by its name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import permutations
from typing import Any

import pytest

from glp1_pipeline.contracts import load
from glp1_pipeline.domain.contract import Contract
from glp1_pipeline.domain.mapping import EDGE_CASES, NO_FIELD, Problem, compile_mapper, map_submission

from .submissions import full_answers, submission

Answer = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load()


@pytest.fixture(scope="module")
def answer(contract: Contract) -> Answer:
    def map_one(field: str, raw: Any, version: str = "3.0.0") -> dict[str, Any]:
        question = contract.fields[field].question(version)
        return map_submission(contract, submission({question: raw}, version)).values[field]

    return map_one


def test_every_odd_case_of_the_facts_has_a_name_a_place_and_a_sentence() -> None:
    assert len(EDGE_CASES) == 51
    assert all(case.where and case.done.endswith(".") for case in EDGE_CASES.values())


def test_a_whole_submission_maps_without_a_problem(contract: Contract) -> None:
    mapped = map_submission(contract, submission(full_answers()))
    assert mapped.problems == ()
    assert mapped.contradictions == ()
    assert mapped.values["anthro.height"] == {"value": 167.64, "raw": {"ft": 5, "in": 6}, "edges": ["unit_converted"]}
    assert mapped.values["sys.form_version"] == {"value": "3.0.0"}
    assert mapped.values["hx.surgery_planned"] == {"null": "not_applicable"}


@pytest.mark.parametrize(
    ("field", "raw", "value", "edges"),
    [
        ("anthro.height", "5'11\"", 180.34, {"unit_converted"}),
        ("anthro.height", "5\u201911\u201d", 180.34, {"unit_converted"}),
        ("anthro.height", "5 pies y 11 pulgadas", 180.34, {"unit_converted"}),
        ("anthro.height", "5ft11", 180.34, {"unit_converted"}),
        ("anthro.height", {"ft": "5", "in": ""}, 152.4, {"unit_converted"}),
        ("anthro.height", {"value": 6, "unit": "ft"}, 182.88, {"unit_converted"}),
        ("anthro.height", "1,75 m", 175.0, {"unit_converted", "comma_decimal"}),
        ("anthro.height", "1.750 m", 175.0, {"unit_converted"}),
        ("anthro.height", "\u0665'\u0661\u0661\"", 180.34, {"unit_converted", "non_ascii_digits"}),
        ("anthro.height", "\uff11\uff18\uff10 cm", 180.0, set()),
        ("anthro.weight", {"value": 180, "unit": "lb"}, 81.65, {"unit_converted"}),
        ("anthro.weight", {"value": 180, "unit": "odd", "code": "[lb_av]"}, 81.65, {"unit_converted"}),
        ("anthro.weight", "12st 7", 79.38, {"stone", "unit_converted"}),
        ("anthro.weight", {"st": 12, "lb": 7}, 79.38, {"stone", "unit_converted"}),
        ("anthro.weight", "82,5 kg", 82.5, {"comma_decimal"}),
        ("anthro.weight", "82 500 g", 82.5, {"thousands_separator", "unit_converted"}),
        ("anthro.weight", "\u0668\u0662\u066b\u0665 kg", 82.5, {"non_ascii_digits"}),
        ("vitals.hr", 72, 72.0, set()),
        ("demo.dob", "1984-06-30", "1984-06-30", set()),
        ("demo.dob", "1996-02-29", "1996-02-29", {"leap_birthday"}),
        ("demo.dob", "12/25/1985", "1985-12-25", {"date_free_text"}),
        ("demo.dob", "4 de marzo de 1985", "1985-03-04", {"date_free_text"}),
        ("demo.dob", "1985-03-04T00:00:00.000Z", "1985-03-04", {"date_with_time"}),
        ("demo.dob", "1985-03-05T06:00:00Z", "1985-03-05", {"date_near_midnight"}),
        ("demo.dob", "1985-03-05T12:00:00Z", "1985-03-05", {"date_near_midnight"}),
        ("med.glp1_last_dose", "2026-03-05T05:00:00Z", "2026-03-04", {"date_near_midnight"}),
        ("demo.mobile", "(555) 123-4567 x9", "+15551234567;ext=9", {"phone_format"}),
        ("demo.mobile", "555.123.4567", "+15551234567", {"phone_format"}),
        ("demo.mobile", "+44 20 7946 0958", "+442079460958", {"phone_format"}),
        ("demo.email", "Jo+Tag@Gmail.com", "Jo+Tag@gmail.com", {"email_case"}),
        ("demo.email", "jo@gmial.com", "jo@gmial.com", {"email_typo"}),
        ("demo.legal_last", "D\u2019Angelo", "D\u2019Angelo", set()),
        ("demo.legal_last", "Nu\u0301n\u0303ez", "N\u00fa\u00f1ez", {"decomposed_letters"}),
        ("demo.legal_last", "\u738b", "\u738b", set()),
        ("demo.legal_last", "de la Cruz Smith-Jones Jr.", "de la Cruz Smith-Jones Jr.", set()),
        ("demo.legal_last", "\u00a0 SMITH\u200b ", "SMITH", {"invisible_characters"}),
        ("demo.legal_last", "None", "None", set()),
        ("demo.legal_last", "Na", "Na", set()),
        ("demo.legal_last", "x\x00y", "x\ufffdy", {"nul_replaced"}),
        ("demo.legal_last", "\ud83dx", "\ufffdx", {"surrogate_replaced"}),
        ("demo.legal_last", "Be\x07ll", "Bell", {"control_removed"}),
        ("demo.legal_last", "de la \nCruz\n", "de la Cruz", {"control_removed"}),
        ("demo.legal_first", "Ana\t\u2028Mar\xeda", "Ana Mar\xeda", {"control_removed"}),
        ("ins.member_id", "=HYPERLINK(1)<script>", "=HYPERLINK(1)<script>", set()),
        ("ins.member_id", "W7 \U0001f922", "W7 \U0001f922", {"emoji"}),
        ("ins.member_id", 7001, "7001", {"number_as_text"}),
        ("rx.pharmacy", 123456, "0123456", {"ncpdp_leading_zero"}),
        ("hx.men2", "true", "yes", {"boolean_string"}),
        ("hx.men2", "Y", "yes", {"boolean_string"}),
        ("hx.men2", " s\u00ed", "yes", {"boolean_string"}),
        ("hx.men2", ["no", "no"], "no", {"answered_twice"}),
        ("ins.has_coverage", "1", True, {"boolean_string"}),
        ("hx.pancreatitis", {"answer": "past", "text": "gallstones, 2019"}, "past", {"text_kept"}),
        ("demo.state_residence", "washington, dc", "DC", set()),
        ("demo.language", "espa\u00f1ol", "es", set()),
        ("hx.comorbidities", ["Sleep apnea", "htn"], ["htn", "osa"], set()),
        ("hx.comorbidities", {"htn": True, "osa": False}, ["htn"], set()),
        ("hx.comorbidities", ["none", "htn"], ["htn"], {"exclusive_none"}),
        ("med.current_list", "none", [], set()),
        (
            "med.current_list",
            "metformin, Lantus 20 units",
            [{"name": "metformin", "class": "metformin"}, {"name": "Lantus 20 units", "class": "insulin"}],
            {"list_from_text"},
        ),
        ("med.current_list", [{"name": "Olympic"}], [{"name": "Olympic"}], {"autocorrected_medicine"}),
        ("vitals.bp", "120/80", {"systolic": 120, "diastolic": 80}, set()),
        ("vitals.bp", "Elevated", {"category": "elevated"}, set()),
        ("med.glp1_product", {"product": "Ozempic", "dose": "0.5 mg"},
         {"product": "ozempic", "dose": 0.5, "dose_unit": "mg"}, set()),
        ("demo.address", {"street": "PO Box 7", "zip": 2139, "state": "Massachusetts"},
         {"line1": "PO Box 7", "postal_code": "02139", "state": "MA"}, {"po_box", "zip_leading_zero"}),
        ("demo.address", {"zip": 2139, "country": "U.S.A."}, {"postal_code": "02139", "country": "U.S.A."},
         {"zip_leading_zero"}),
        ("ins.bin_pcn_group", {"bin": 4336, "pcn": "ADV"}, {"bin": "004336", "pcn": "ADV"}, {"bin_leading_zero"}),
    ],
)  # fmt: skip
def test_an_odd_answer_is_understood(answer: Answer, field: str, raw: Any, value: Any, edges: set[str]) -> None:
    doc = answer(field, raw)
    assert doc.get("value") == value, doc
    assert set(doc.get("edges", ())) == edges


@pytest.mark.parametrize(
    ("field", "raw", "cause", "edge"),
    [
        ("anthro.height", "511", "ambiguous_height", "height_typed_as_511"),
        ("anthro.height", {"value": 511, "unit": "cm"}, "implausible_height", "height_typed_as_511"),
        ("anthro.height", "5.11", "ambiguous_height", "height_decimal_feet"),
        ("anthro.height", "5,11", "ambiguous_height", "height_decimal_feet"),
        ("anthro.height", {"value": 5.11, "unit": "ft"}, "ambiguous_height", "height_decimal_feet"),
        ("anthro.height", "5'14\"", "implausible_height", "inches_over_11"),
        ("anthro.height", 178, "missing_unit", ""),
        ("anthro.height", "3 ells", "unknown_unit", ""),
        ("anthro.weight", "180", "missing_unit", ""),
        ("anthro.weight", "12st 15", "implausible_weight", "pounds_over_13"),
        ("anthro.weight", "0 kg", "implausible_weight", ""),
        ("anthro.weight", "-80 kg", "unreadable_quantity", ""),
        ("demo.dob", "03/04/1985", "ambiguous_date", "ambiguous_date"),
        ("demo.dob", "01/01/85", "ambiguous_date", "two_digit_year"),
        ("demo.dob", "1985-03-05T05:00:00Z", "ambiguous_date", "date_near_midnight"),
        ("demo.dob", "1990-05-04T23:30:00-06:00", "ambiguous_date", "date_near_midnight"),
        ("demo.dob", {"value": "1990-05-05T04:30:00.000Z"}, "ambiguous_date", "date_near_midnight"),
        ("demo.dob", 1700000000, "epoch_number", "epoch_number"),
        ("demo.dob", "1700000000000", "epoch_number", "epoch_number"),
        ("demo.dob", "1995-02-29", "impossible_date", ""),
        ("demo.dob", "2026-12-24", "implausible_date", ""),
        ("demo.dob", "1850-01-01", "implausible_date", ""),
        ("anthro.weight_measured_at", "2027-01-01", "implausible_date", ""),
        ("sys.submitted_at", "2026-03-08T02:30:00", "nonexistent_time", "dst_gap"),
        ("sys.submitted_at", "2026-11-01T01:30:00", "ambiguous_time", "dst_gap"),
        ("demo.mobile", "call me", "unreadable_phone", ""),
        ("demo.email", "pip at example", "unreadable_email", ""),
        ("demo.legal_first", "12345", "unreadable_name", ""),
        (
            "demo.address",
            {"line1": "7 Teapot Lane", "zip": "2139", "state": "TX"},
            "unreadable_zip",
            "zip_leading_zero",
        ),
        (
            "demo.address",
            {"line1": "7 Kettle Lane", "city": "Z\xfcrich", "zip": "8001", "country": "CH"},
            "unreadable_zip",
            "zip_leading_zero",
        ),
        ("hx.men2", "perhaps", "unmapped_code", ""),
        ("hx.men2", {"code": "no", "display": "Yes"}, "conflicting_answers", ""),
        ("hx.men2", {"answer": "no", "text": "not sure"}, "conflicting_answers", ""),
        ("hx.men2", {"answer": "perhaps", "text": "no"}, "unmapped_code", ""),
        ("hx.men2", {"answer": False, "text": "my aunt had it"}, "unmapped_code", ""),
        ("hx.suicide", {"code": "none", "display": "Past attempt, 2010"}, "conflicting_answers", ""),
        ("hx.comorbidities", [{"code": "htn", "display": "Sleep apnea"}], "conflicting_answers", ""),
        ("anthro.weight", {"value": 180, "unit": "lb", "code": "kg"}, "conflicting_units", ""),
        ("anthro.weight", {"value": 180, "unit": "lb", "kg": 82}, "conflicting_units", ""),
        ("anthro.weight", {"value": 180, "unit": "lb", "comparator": "<"}, "comparator", ""),
        ("med.current_list", [{"name": "Lantus", "drug": "metformin"}], "conflicting_answers", ""),
        ("med.current_list", True, "unexpected_shape", ""),
        ("sys.submitted_at", "2026-11-22T10:00:00+23:59", "implausible_instant", ""),
        ("consent.sms", {"a": 1}, "unmapped_code", ""),
        ("consent.sms", {"code": "perhaps"}, "unmapped_code", ""),
        ("consent.sms", {"status": "given", "code": "refused"}, "conflicting_answers", ""),
        ("consent.telehealth", {"status": "given", "version": "1", "at": "2026-11-22T10:00:00+23:59"},
         "implausible_instant", ""),
        ("hx.men2", ["yes", "no"], "conflicting_answers", ""),
        ("hx.men2", ["no", "not sure"], "conflicting_answers", ""),
        ("hx.comorbidities", ["none", "not sure"], "conflicting_answers", ""),
        ("hx.comorbidities", ["not sure", "prefer not to say"], "conflicting_answers", ""),
        ("med.current_list", ["none", "not sure"], "conflicting_answers", ""),
        ("allergy.list", ["prefer not to say", "not sure"], "conflicting_answers", ""),
        ("demo.address", {"line": ["7 Teapot Lane", "Apt 2"], "line2": "Apt 3"}, "conflicting_answers", ""),
        ("anthro.height", {"cm": 180, "ft": 5, "in": 2}, "conflicting_units", ""),
        ("anthro.weight", {"lb": 180, "kg": 90}, "conflicting_units", ""),
        ("hx.comorbidities", ["htn", "vapours"], "unmapped_code", ""),
        ("vitals.bp", {"systolic": 80, "diastolic": 120}, "implausible_blood_pressure", ""),
        ("vitals.bp", {"systolic": 120}, "half_blood_pressure", ""),
        ("consent.telehealth", "yes", "consent_without_version", ""),
        ("consent.telehealth", {"status": "given", "version": "1", "at": "2027-11-22T10:00:00-06:00"},
         "consent_dated_ahead", ""),
        ("consent.telehealth", {"code": "agreed", "version": "1", "ts": "2026-11-23T10:00:02-06:00"},
         "consent_dated_ahead", ""),
        ("id.photo_id", {"content_type": "image/heic"}, "attachment_without_hash", ""),
        ("med.glp1_product", "wegovy", "unmapped_code", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_held_and_never_guessed(
    contract: Contract, field: str, raw: Any, cause: str, edge: str
) -> None:
    mapped = map_submission(contract, submission({field: raw}))
    doc = mapped.values[field]
    assert doc["held"] == cause
    assert doc["raw"] is not None
    assert mapped.problems == (Problem(field, cause, edge),)
    assert (edge in doc.get("edges", ())) == bool(edge)


@pytest.mark.parametrize("blank", [None, "", "  ", "-", "\u200b", [], {}])
def test_a_blank_is_absent_in_every_type_and_never_a_no(contract: Contract, blank: Any) -> None:
    for name, field in ((name, contract.fields[name]) for name in contract.asked["3.0.0"]):
        if blank == "-" and field.format == "name":
            continue
        assert map_submission(contract, submission({name: blank})).values[name] == {"null": "absent"}, name


@pytest.mark.parametrize(
    "box", [False, 0, 0.0, "false", "False", "0", " OFF ", "unchecked", {"answer": False}, [False]]
)
def test_an_untouched_box_is_a_blank_and_never_a_no(contract: Contract, box: Any) -> None:
    blank = {"null": "absent", "edges": ["blank_is_not_no"]}
    for name, field in ((name, contract.fields[name]) for name in contract.asked["3.0.0"]):
        several = name in ("hx.comorbidities", "med.prior_weight_loss") and not isinstance(box, dict)
        if field.type in ("tri", "code") or several:
            assert map_submission(contract, submission({name: box})).values[name] == blank, name
    for name in ("med.current_list", "allergy.list"):
        if not (isinstance(box, list | dict)):
            assert map_submission(contract, submission({name: box})).values[name] == blank, name
    assert map_submission(contract, submission({"ins.has_coverage": box})).values["ins.has_coverage"]["value"] is False


@pytest.mark.parametrize("no", ["no", "No", " NO ", "N", "nope", {"answer": "no", "text": ""},
                                {"code": "no", "display": "No, never"}, {"code": "LA32-8", "display": "No"},
                                {"answer": "no", "question": "Do you have MEN 2?"}])  # fmt: skip
def test_a_no_that_was_said_is_a_no(answer: Answer, no: Any) -> None:
    doc = answer("hx.men2", no)
    assert doc["value"] == "no"
    assert "words_beside_no" not in doc.get("edges", ())


@pytest.mark.parametrize("raw", ["yes", "true", True, "1"])
@pytest.mark.parametrize("status", ["completed", "in-progress", "amended"])
def test_a_bare_yes_where_more_was_asked_is_held_in_drafts_too(contract: Contract, raw: Any, status: str) -> None:
    names = ("suicide", "cancer", "kidney", "liver", "eating_disorder", "pancreatitis", "gallbladder")
    values = map_submission(contract, submission({f"hx.{name}": raw for name in names}, status=status)).values
    for field in (f"hx.{name}" for name in names):
        strange = {contract.fields[field].codes: ["yes" if raw is True else raw]}
        assert values[field] == {"held": "unmapped_code", "raw": raw, "unmapped": strange}


def test_an_allergen_that_no_table_knows_keeps_its_row_without_a_code(answer: Answer) -> None:
    doc = answer("allergy.list", [{"substance": "Penicillin", "severity": "mild"}, {"substance": "Pencilin VX"}])
    assert doc["value"] == [
        {"substance": "Penicillin", "severity": "mild", "code": "penicillin"}, {"substance": "Pencilin VX"},
    ]  # fmt: skip
    assert doc["edges"] == ["unmapped_allergen"]
    assert answer("allergy.list", "allergic to sulfa drugs") == {
        "value": [{"substance": "allergic to sulfa drugs", "code": "sulfa"}]
    }
    assert "code" not in answer("allergy.list", ["latex or perhaps heparin"])["value"][0]


@pytest.mark.parametrize(
    ("name", "parts", "cause"),
    [
        ("vitals.bp", {"systolic": 0.0, "diastolic": 1.5, "category": "vapours"}, "implausible_number"),
        ("med.glp1_product", {"product": "vapours", "dose": "some", "dose_unit": "mg"}, "unmapped_code"),
    ],
)
def test_in_which_order_a_form_sends_parts_does_not_change_why_they_are_held(
    answer: Answer, name: str, parts: dict[str, Any], cause: str
) -> None:
    for order in permutations(parts):
        told = answer(name, {part: parts[part] for part in order})
        assert (told["held"], told.get("edges")) == (cause, answer(name, parts).get("edges")), order


def test_not_knowing_and_not_saying_are_two_things(answer: Answer) -> None:
    assert answer("hx.men2", "not sure") == {"null": "unknown"}
    assert answer("hx.men2", "prefer not to say") == {"null": "declined"}
    assert answer("hx.suicide", "declined") == {"null": "declined"}
    assert answer("preg.status", "n/a") == {"null": "not_applicable"}
    assert answer("demo.sex_at_birth", "asked-declined") == {"null": "declined"}
    assert answer("vitals.bp", "unknown") == {"null": "unknown"}


def test_the_first_form_fixed_pounds(answer: Answer) -> None:
    assert answer("anthro.weight", 180, "1.0.0")["value"] == 81.65
    assert answer("anthro.weight", 180, "2.0.0")["held"] == "missing_unit"


def test_a_draft_resumed_on_a_newer_form_keeps_its_answers(contract: Contract) -> None:
    mapped = map_submission(contract, submission({"weight_lbs": 180, "hx.men2": "no"}, "3.0.0"))
    assert mapped.values["anthro.weight"]["value"] == 81.65
    assert "resumed_across_versions" in mapped.values["anthro.weight"]["edges"]
    assert mapped.problems == ()


def test_an_old_and_a_new_answer_to_one_question_are_held_unless_they_agree(contract: Contract) -> None:
    agree = {"weight_lbs": 180, "anthro.weight": {"value": 180, "unit": "lb"}}
    assert map_submission(contract, submission(agree)).values["anthro.weight"]["value"] == 81.65
    differ = agree | {"weight_lbs": 220}
    doc = map_submission(contract, submission(differ)).values["anthro.weight"]
    assert (doc["held"], doc["raw"]) == ("conflicting_answers", differ)
    blank = agree | {"weight_lbs": ""}
    assert map_submission(contract, submission(blank)).values["anthro.weight"]["value"] == 81.65


def test_an_unknown_question_is_never_named_for_its_id_is_the_producers_text(contract: Contract) -> None:
    mapped = map_submission(contract, submission({"hx.vapours": "yes", "PhilippaF": 1, "hx.men2": "no"}))
    assert mapped.problems == (Problem(NO_FIELD, "unknown_question"),) * 2
    assert mapped.values["hx.men2"] == {"value": "no"}


@pytest.mark.parametrize(
    ("height", "weight", "cause"),
    [
        ({"value": 175, "unit": "cm"}, {"value": 79, "unit": "lb"}, "weight_unit_suspect"),
        ({"value": 165, "unit": "cm"}, {"value": 230, "unit": "kg"}, "weight_unit_suspect"),
        ({"value": 250, "unit": "cm"}, {"value": 25, "unit": "kg"}, "implausible_weight"),
        ({"value": 165, "unit": "cm"}, {"value": 92, "unit": "kg"}, None),
    ],
)
def test_a_weight_that_only_the_other_unit_explains_is_held(
    contract: Contract, height: Any, weight: Any, cause: str | None
) -> None:
    doc = map_submission(contract, submission({"anthro.weight": weight, "anthro.height": height})).values[
        "anthro.weight"
    ]
    assert doc.get("held") == cause


@pytest.mark.parametrize(
    ("answers", "name"),
    [
        ({"hx.comorbidities": ["none", "htn"]}, "exclusive_none"),
        ({"med.current_list": ["none", "metformin"]}, "exclusive_none"),
        ({"hx.t2dm": "no", "med.current_list": ["Lantus"]}, "diabetes_denied_insulin_listed"),
        ({"hx.t2dm": "no", "hx.comorbidities": ["t2dm"]}, "diabetes_denied_and_listed"),
        ({"demo.sex_at_birth": "male", "preg.status": "yes"}, "male_and_pregnant"),
        ({"med.glp1_history": "never", "med.current_list": ["ozempic 1 mg"]}, "glp1_denied_and_listed"),
        ({"allergy.any": "no", "allergy.list": [{"substance": "penicillin"}]}, "allergy_denied_and_listed"),
        ({"hx.mtc_family": {"answer": "no", "text": "my aunt had it"}}, "words_beside_no"),
        ({"hx.pancreatitis": {"answer": "never", "details": ["once, in 2010"]}}, "words_beside_no"),
        ({"hx.comorbidities": ["htn", "not sure"]}, "unsure_beside_answers"),
        ({"hx.comorbidities": "htn, prefer not to say"}, "unsure_beside_answers"),
        ({"hx.comorbidities": [{"code": "htn"}, {"code": "asked-unknown"}]}, "unsure_beside_answers"),
        ({"med.current_list": [{"name": "metformin"}, "not sure"]}, "unsure_beside_answers"),
        ({"demo.sex_at_birth": "male", "preg.breastfeeding": "yes"}, "male_and_breastfeeding"),
        ({"hx.t1dm": "yes", "hx.t2dm": "yes"}, "both_types_of_diabetes"),
        ({"hx.retinopathy": "yes", "hx.t1dm": "no", "hx.t2dm": "no"}, "retinopathy_without_diabetes"),
        ({"hx.liver": "none", "hx.comorbidities": ["masld"]}, "liver_disease_denied_and_listed"),
        ({"allergy.any": "yes", "allergy.list": "none"}, "allergy_told_and_none_listed"),
        ({"ins.has_coverage": False, "ins.payer_type": "commercial"}, "coverage_and_payer_differ"),
        ({"ins.has_coverage": True, "ins.payer_type": "none"}, "coverage_and_payer_differ"),
        ({"demo.state_residence": "TX", "demo.address": {"state": "OK"}}, "residence_and_address_differ"),
        ({"hx.suicide": {"code": "none", "explanation": "not this year"}}, "words_beside_no"),
        ({"allergy.any": {"answer": "no", "note": "only penicillin"}}, "words_beside_no"),
    ],
)
def test_answers_that_cannot_all_be_meant_are_named_and_all_stand(
    contract: Contract, answers: dict[str, Any], name: str
) -> None:
    mapped = map_submission(contract, submission(answers))
    assert mapped.contradictions == (name,)
    assert all("value" in mapped.values[field] for field in answers)


def test_insulin_beside_type_1_diabetes_is_no_contradiction(contract: Contract) -> None:
    answers = {"hx.t2dm": "no", "hx.t1dm": "yes", "med.current_list": ["Lantus"]}
    assert map_submission(contract, submission(answers)).contradictions == ()


def test_an_answer_to_a_question_that_is_no_longer_shown_does_not_count(contract: Contract) -> None:
    answers = {"med.glp1_product": {"product": "ozempic"}, "med.glp1_history": "never", "ins.has_coverage": False,
               "ins.member_id": "W7"}  # fmt: skip
    values = map_submission(contract, submission(answers)).values
    assert values["med.glp1_product"] == {"null": "not_applicable", "edges": ["hidden_answer"]}
    assert values["ins.member_id"] == {"null": "not_applicable", "edges": ["hidden_answer"]}


def test_being_away_from_home_is_noted_on_the_state_of_the_visit(contract: Contract) -> None:
    values = map_submission(contract, submission({"demo.state_residence": "TX", "demo.state_at_visit": "OK"})).values
    assert values["demo.state_at_visit"] == {"value": "OK", "edges": ["state_mismatch"]}


@pytest.mark.parametrize(
    ("received", "edges"),
    [
        ("2026-11-22T09:54:00-06:00", ["clock_skew"]),
        ("2026-11-24T10:00:00-06:00", ["offline_then_online"]),
        ("2026-11-22T10:00:02-06:00", []),
    ],
)
def test_clocks_that_disagree_are_noted(contract: Contract, received: str, edges: list[str]) -> None:
    mapped = map_submission(contract, submission({}, received_at=datetime.fromisoformat(received)))
    assert mapped.values["sys.submitted_at"].get("edges", []) == edges


def test_very_long_text_is_kept_whole(answer: Answer) -> None:
    doc = answer("ins.member_id", "n" * 10_000)
    assert (len(doc["value"]), doc["edges"]) == (10_000, ["very_long_text"])


def test_a_consent_without_a_time_takes_that_of_the_submission(answer: Answer) -> None:
    doc = answer("consent.sms", "refused")
    assert doc["value"] == {"status": "refused", "version": "", "at": "2026-11-22T10:00:00-06:00"}


def test_a_question_that_the_form_never_asked_has_no_value(contract: Contract) -> None:
    values = map_submission(contract, submission({"hx.men2": "no"}, "1.0.0")).values
    assert "hx.eating_disorder" not in values
    assert "sys.ab_variant" not in values


def test_a_mapper_is_made_once_per_contract_and_version(contract: Contract) -> None:
    assert compile_mapper(contract, "3.0.0") is compile_mapper(contract, "3.0.0")
    assert compile_mapper(load(), "3.0.0") is not compile_mapper(contract, "3.0.0")
    with pytest.raises(KeyError):
        compile_mapper(contract, "9.0.0")


@pytest.mark.parametrize(
    ("field", "raw", "unmapped"),
    [
        ("hx.kidney", "  One Kidney\u200b ", {"kidney": ["one kidney"]}),
        ("hx.kidney", {"code": "N18", "display": "Reduced function"}, {"kidney": ["n18", "reduced function"]}),
        ("hx.comorbidities", ["htn", "Vapours", "vapours", "ague"], {"comorbidities": ["ague", "vapours"]}),
        ("hx.comorbidities", "htn; vapours", {"comorbidities": ["vapours"]}),
        ("demo.address", {"line1": "7 Teapot Lane", "state": "Tejas"}, {"states": ["tejas"]}),
        ("med.glp1_product", {"product": "wegovy", "dose": 1}, {"glp1_products": ["wegovy"]}),
        ("consent.sms", "perhaps", {"consent_status": ["perhaps"]}),
        ("anthro.weight", "13 slugs", {"weight_units": ["slugs"]}),
        ("anthro.height", {"value": 3, "unit": "Ells"}, {"height_units": ["ells"]}),
        ("med.current_list", [{"name": "metformin"}, {"name": "Olympic"}], {"medicines": ["olympic"]}),
        ("allergy.list", [{"substance": "Latex"}, {"substance": "Pencilin VX"}], {"allergens": ["pencilin vx"]}),
        ("hx.men2", "x" * 500, {"yes_no": ["x" * 100 + "…"]}),
    ],
)
def test_a_spelling_that_no_code_set_knows_is_kept_as_a_line_of_that_set_would_have_it(
    answer: Answer, field: str, raw: Any, unmapped: dict[str, list[str]]
) -> None:
    assert answer(field, raw)["unmapped"] == unmapped


def test_what_no_line_of_a_code_set_could_mend_is_no_unmapped_spelling(answer: Answer) -> None:
    for raw in ({"a": 1}, ["yes", "no"], {"code": "no", "display": "Yes"}):
        assert "unmapped" not in answer("hx.men2", raw)


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("anthro.weight", {"lb": 180, "kg": 81.6}, 81.65),
        ("anthro.height", {"cm": 180, "ft": 5, "in": 11}, 180),
        ("anthro.height", {"cm": "180", "ft": "5", "in": "11"}, 180),
        ("anthro.weight", {"st": 12, "lb": 7, "kg": 79.4}, 79.38),
    ],
)
def test_one_measure_in_two_units_is_one_answer_if_both_agree(
    answer: Answer, field: str, raw: Any, value: float
) -> None:
    doc = answer(field, raw)
    assert doc["value"] == pytest.approx(value, abs=0.5)
    assert "answered_twice" in doc["edges"]


@pytest.mark.parametrize(
    ("raw", "null"),
    [
        (["not sure", ""], "unknown"),
        (["declined", "-"], "declined"),
        (["n/a", "n/a"], "not_applicable"),
        (["", "-"], "absent"),
    ],
)
@pytest.mark.parametrize("field", ["hx.comorbidities", "med.current_list", "allergy.list"])
def test_a_list_of_nulls_is_the_one_that_says_most(answer: Answer, field: str, raw: Any, null: str) -> None:
    assert answer(field, raw)["null"] == null
