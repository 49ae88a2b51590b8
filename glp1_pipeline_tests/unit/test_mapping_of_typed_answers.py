"""What people type on phones: a value that is right, or one that is held; never one that is wrong."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline.domain.fhir import questionnaire_response
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline_tests.fhir_rules import as_sent
from glp1_pipeline_tests.sample_inputs import contract

from .submissions import submission

CONTRACT = contract()


def read(field: str, raw: Any, version: str = "3.0.0") -> dict[str, Any]:
    question = CONTRACT.fields[field].question(version)
    return map_submission(CONTRACT, submission({question: raw}, version)).values[field]


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("hx.men2", {"no": True}, "no"),
        ("hx.men2", {"yes": False, "no": True}, "no"),
        ("hx.men2", {"yes": True, "no": False}, "yes"),
        ("hx.suicide", {"none": False, "past": True}, "past"),
        ("sys.attestation", {"no": True}, False),
        ("ins.has_coverage", {"yes": False, "no": True}, False),
    ],
)
def test_a_ticked_box_means_the_answer_that_it_stands_beside(field: str, raw: Any, value: Any) -> None:
    assert read(field, raw)["value"] == value


def test_two_ticked_boxes_of_one_question_are_held_and_none_is_a_blank() -> None:
    assert read("hx.men2", {"yes": True, "no": True})["held"] == "conflicting_answers"
    assert read("hx.men2", {"yes": False, "no": False})["null"] == "absent"


@pytest.mark.parametrize("number", ["555-0147", "5550147", "1234567890", "0000000000", "112-555-0147"])
def test_a_number_that_no_phone_in_the_country_has_is_held(number: str) -> None:
    assert read("demo.mobile", number)["held"] == "unreadable_phone"


@pytest.mark.parametrize("number", ["512-555-0147 (ext 9)", "512 5550147,9", "(512) 555-0147 (x9)", "512.555.0147 x9"])
def test_an_extension_is_kept_however_it_is_written(number: str) -> None:
    assert read("demo.mobile", number)["value"] == "+15125550147;ext=9"


@pytest.mark.parametrize(
    "address", ["pip@example.org.", "pip@example.org. ", "pip@example.org,", "\u202apip@example.org\u202c"]
)
def test_what_a_keyboard_adds_to_an_address_of_mail_is_taken_off(address: str) -> None:
    assert read("demo.email", address)["value"] == "pip@example.org"


@pytest.mark.parametrize(
    "address", ["pip@example.org:", "mailto:pip@example.org", "'pip@example.org'", "pip@example.org?a=b"]
)
def test_an_address_that_nobody_could_be_reached_at_is_held(address: str) -> None:
    assert read("demo.email", address)["held"] == "unreadable_email"


def test_a_zone_that_no_clock_knows_is_held() -> None:
    assert read("demo.timezone", "America/Nowhere")["held"] == "unknown_time_zone"


def test_a_postal_code_of_a_state_has_digits_alone() -> None:
    assert read("demo.address", {"line1": "7 Teapot Lane", "state": "TX", "zip": "787o1"})["held"] == "unreadable_zip"
    wide = {"line1": "7 Teapot Lane", "state": "TX", "zip": "\uff17\uff18\uff17\uff10\uff11"}
    assert read("demo.address", wide)["value"]["postal_code"] == "78701"
    abroad = {"line1": "7 Teapot Lane", "zip": "K1A 0B1", "country": "CA"}
    assert read("demo.address", abroad)["value"]["postal_code"] == "K1A 0B1"


def test_a_consent_beside_an_unticked_box_of_the_same_name_is_held() -> None:
    torn = {"agreed": False, "status": "given", "version": "2026-09"}
    assert read("consent.telehealth", torn)["held"] == "conflicting_answers"


@pytest.mark.parametrize(
    "part",
    [{"revoked": True}, {"revoked_at": "2026-11-21T09:00:00Z"}, {"withdrawnOn": "2026-11-21"}, {"refused": "yes"}],
)
def test_a_consent_that_says_of_itself_that_it_was_taken_back_is_not_given(part: dict[str, Any]) -> None:
    given = {"status": "given", "version": "2026-09"}
    assert read("consent.treatment", given | part)["held"] == "conflicting_answers"
    assert read("consent.treatment", given | dict.fromkeys(part))["value"]["status"] == "given"
    back = {"status": "revoked", "version": "2026-09", "given_at": "2026-11-20T09:00:00Z"}
    assert read("consent.treatment", back | part)["value"]["status"] == "revoked"


def test_a_part_is_found_however_its_name_is_parted() -> None:
    told = {"Line 1": "7 Teapot Lane", "city": "Austin", "state": "TX", "ZIP Code": "78701"}
    assert read("demo.address", told)["value"] == {
        "line1": "7 Teapot Lane",
        "city": "Austin",
        "state": "TX",
        "postal_code": "78701",
    }


@pytest.mark.parametrize("text", ["1985-03-04T00:00:00-05:00", "1985-03-04T00:00:00+09:00"])
def test_midnight_of_whatever_zone_is_the_day_that_is_written(text: str) -> None:
    assert read("demo.dob", text)["value"] == "1985-03-04"


@pytest.mark.parametrize(
    "raw",
    [
        "3 / 13 / 1985",
        "13 . 03 . 1985",
        "1985\u201303\u201313",
        "\u200e3\u200e/\u200e13\u200e/\u200e1985",
        {"year": "1985", "month": "03", "day": "13"},
        {"value": "1985-03-13"},
    ],
)
def test_a_day_is_read_through_spaces_dashes_and_parts(raw: Any) -> None:
    assert read("demo.dob", raw)["value"] == "1985-03-13"


@pytest.mark.parametrize("text", ["March 4 85", "4-Mar-85", "feb 13 '85", "March 4th, '85", "3/13/85"])
def test_a_year_of_two_digits_is_named_as_what_it_is(text: str) -> None:
    doc = read("demo.dob", text)
    assert (doc["held"], doc["edges"]) == ("ambiguous_date", ["two_digit_year"])


def test_a_box_that_nobody_touched_is_a_blank_in_the_chart_and_in_the_answers_alike() -> None:
    told = submission({"hx.men2": "off."})
    assert map_submission(CONTRACT, told).values["hx.men2"]["null"] == "absent"
    assert "answer" not in as_sent(questionnaire_response(CONTRACT, told, "canary-1"))["item"][0]


def consent(status: str, at: str) -> dict[str, Any]:
    return read("consent.telehealth", {"status": status, "version": "2026-09", "at": at})


def test_a_consent_may_be_ahead_by_a_wrong_clock_or_zone_and_not_by_more() -> None:
    assert "value" in consent("given", "2026-11-22T10:04:00-06:00")
    assert "value" in consent("given", "2026-11-23T10:00:00-06:00")
    assert consent("given", "2026-11-24T10:00:00-06:00")["held"] == "consent_dated_ahead"


def test_a_form_that_was_begun_days_before_it_came_may_be_signed_at_its_end() -> None:
    signed = {"status": "given", "version": "2026-09", "at": "2026-11-25T09:58:00-06:00"}
    came = datetime.fromisoformat("2026-11-25T10:00:00-06:00")
    told = submission({"consent.telehealth": signed}, received_at=came)
    assert "value" in map_submission(CONTRACT, told).values["consent.telehealth"]


@pytest.mark.parametrize("status", ["refused", "revoked"])
def test_whoever_refuses_or_takes_back_is_heard_whatever_day_is_named(status: str) -> None:
    assert consent(status, "2027-11-24T10:00:00-06:00")["value"]["status"] == status


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("demo.legal_last", "O&#39;Brien", "O'Brien"),
        ("demo.legal_first", "Jos&eacute;", "Jos\u00e9"),
        ("care.pcp", {"name": "Smith &amp; Sons"}, {"name": "Smith & Sons"}),
        ("care.pcp", {"name": "AT&T &co; R&D"}, {"name": "AT&T &co; R&D"}),
        ("hx.bariatric", "&lt;12mo", "<12mo"),
        ("anthro.height", "5&#39;11&quot;", 180.34),
        ("hx.comorbidities", "asthma; osa&nbsp;", ["asthma", "osa"]),
        ("med.current_list", "St. John&#39;s wort", [{"name": "St. John's wort", "class": "cyp3a4_strong"}]),
    ],
)
def test_what_a_page_escaped_is_read_as_it_was_typed(field: str, raw: Any, value: Any) -> None:
    assert read(field, raw)["value"] == value
    assert read("hx.men2", "&nbsp;")["null"] == "absent"


def test_a_name_that_does_not_apply_is_held_and_people_called_na_keep_theirs() -> None:
    for text in ("N/A", "n/a.", "\uff2e\uff0f\uff21"):
        assert read("demo.legal_first", text)["held"] == "unreadable_name"
    for name in ("Na", "NA", "None", "Null"):
        assert read("demo.legal_first", name)["value"] == name


@pytest.mark.parametrize("text", ["I don\u2019t know", "I don't know.", "\u200eUnsure", "unknown!"])
def test_not_knowing_is_understood_as_phones_write_it(text: str) -> None:
    assert read("hx.men2", text)["null"] == "unknown"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("5'11 1/2\"", 181.61),
        ("5'11\u00bd\"", 181.61),
        ("173\u00bd cm", 173.5),
        ("5'11 \u200b", 180.34),
        ("\u200f180 cm\u200f", 180.0),
        ({"value": "180cm", "unit": "cm"}, 180.0),
        ({"value": "5'11\"", "unit": "ft"}, 180.34),
        ("5'11 (180 cm)", 180.34),
        ("5'11 / 180 cm", 180.34),
        ({"value": 71, "unit": {"code": "[in_i]", "display": "in"}}, 180.34),
    ],
)
def test_a_height_is_read_with_its_halves_and_the_unit_typed_twice(raw: Any, value: float) -> None:
    assert read("anthro.height", raw)["value"] == value


@given(
    number=st.integers(90, 300),
    typed=st.sampled_from(["lb", "lbs.", "kg", "Kilos"]),
    chosen=st.sampled_from(["lb", "kg"]),
)
def test_a_unit_typed_beside_another_that_was_chosen_is_never_overruled(number: int, typed: str, chosen: str) -> None:
    doc = read("anthro.weight", {"value": f"{number} {typed}", "unit": chosen})
    alike = typed.lower().startswith("l") == (chosen == "lb")
    assert "value" in doc if alike else doc["held"] == "conflicting_units"


@given(
    data=st.data(),
    closing=st.sampled_from(["", ".", "!", " .", ","]),
    mark=st.sampled_from(["", "\u200e", "\u202a", "\u2069"]),
)
def test_what_keyboards_put_around_a_spelling_changes_nothing_of_it(
    data: st.DataObject, closing: str, mark: str
) -> None:
    name = data.draw(st.sampled_from(["yes_no", "sexes_at_birth", "states", "pregnancy"]))
    field = {"yes_no": "hx.men2", "sexes_at_birth": "demo.sex_at_birth", "states": "demo.state_residence"}
    asked = field.get(name, "preg.status")
    boxes = CONTRACT.codes["unticked_boxes"]
    words = [s for s in CONTRACT.codes[name] if s not in boxes]
    word = data.draw(st.sampled_from(words))
    assert read(asked, f"{mark}{word}{closing}{mark}").get("value") == CONTRACT.codes[name][word].code


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ({"htn": "yes", "osa": "no"}, ["htn"]),
        ({"htn": "Yes", "osa": {"code": "Y", "display": "Yes"}, "pcos": False}, ["htn", "osa"]),
    ],
)
def test_conditions_that_are_answered_one_by_one_are_those_with_a_yes(told: Any, value: list[str]) -> None:
    assert read("hx.comorbidities", told)["value"] == value


def test_a_no_to_one_of_several_is_no_answer_to_them_all() -> None:
    assert read("hx.comorbidities", {"htn": "no"})["null"] == "absent"
    assert read("hx.cancer", {"active": "no"})["null"] == "absent"
    assert read("hx.cancer", {"none": "no", "active": "yes"})["value"] == "active"
    assert "held" in read("hx.cancer", {"answer": "none", "active": True})
    assert "held" in read("hx.cancer", {"none": "unsure", "active": "no"})


@pytest.mark.parametrize("text", ["2025550147; 2025550148", "2025550147,2025550148", "+1 202 555 0147; 2025550148"])
def test_a_second_number_is_no_extension_of_the_first(text: str) -> None:
    assert read("demo.mobile", text)["held"] == "unreadable_phone"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("anthro.weight", "180 lb (81.6 kg)", 81.65),
        ("anthro.weight", "81.6kg/180lb", 81.6),
        ("anthro.weight", "12 st 12 lb = 180 lb", 81.65),
        ("anthro.height", "5'7\" (170 cm)", 170.18),
        ("anthro.height", "170 cm or 5 ft 7 in", 170.0),
    ],
)
def test_one_measure_told_in_two_units_is_read_where_they_agree(field: str, text: str, value: float) -> None:
    doc = read(field, text)
    assert (doc["value"], "answered_twice" in doc["edges"]) == (value, True)


@pytest.mark.parametrize(
    "text", ["180 lb (90 kg)", "5'7\" or 5'9\"", "5'' 7'", "80 kg 81 kg", "180 lb / 81.6", "/ 180 lb"]
)
def test_measures_that_differ_or_are_joined_by_nothing_are_held(text: str) -> None:
    assert "held" in read("anthro.height" if "'" in text else "anthro.weight", text)


def test_an_address_is_read_under_the_names_that_forms_give_its_parts() -> None:
    told = {
        "address_line_1": "9 Larch",
        "addressLine2": "B",
        "locality": "Austin",
        "Province": "TX",
        "zip_code": "78701",
    }
    assert read("demo.address", told)["value"] == {
        "line1": "9 Larch", "line2": "B", "city": "Austin", "state": "TX", "postal_code": "78701",
    }  # fmt: skip


def test_a_card_whose_file_has_a_size_and_a_title_is_taken() -> None:
    row = {"side": "front", "content_type": "image/jpeg", "sha256": "ab" * 32, "size": 5, "title": "card"}
    assert read("ins.card_images", [row])["value"][0]["side"] == "front"


def test_the_hash_of_a_card_is_one_of_the_kind_that_we_keep() -> None:
    card = {"side": "front", "contentType": "image/jpeg", "hash": base64.b64encode(bytes.fromhex("ab" * 32)).decode()}
    assert read("ins.card_images", [card])["value"][0]["sha256"] == "ab" * 32
    short = card | {"hash": base64.b64encode(b"c" * 20).decode()}  # FHIR's own, a SHA-1
    assert read("ins.card_images", [short])["held"] == "attachment_without_hash"


@pytest.mark.parametrize("text", ["none", "None.", "no", "N/A", "ninguno"])
def test_saying_that_there_is_no_card_and_no_doctor_names_neither(text: str) -> None:
    assert read("ins.member_id", text) == {"null": "not_applicable"}
    assert read("care.pcp", text) == {"null": "not_applicable"}
    assert read("care.pcp", {"name": text}) == {"null": "not_applicable"}
    assert read("ins.bin_pcn_group", {"bin": "004336", "pcn": text})["value"] == {"bin": "004336"}
    assert read("ins.bin_pcn_group", {"bin": "004336", "pcn": "not  known."})["value"] == {"bin": "004336"}


def test_people_and_towns_may_be_called_as_a_no_is_spelled() -> None:
    assert read("demo.legal_last", "Nada")["value"] == "Nada"
    assert read("demo.address", {"line1": "9 Larch", "city": "Nada", "state": "TX"})["value"]["city"] == "Nada"


@pytest.mark.parametrize("name", ["date", "signed_at", "dateTime"])
def test_a_consent_keeps_the_time_it_was_given_under_whatever_name(name: str) -> None:
    told = {"status": "given", "version": "1", name: "2026-11-19T08:00:00-06:00"}
    assert read("consent.telehealth", told)["value"]["at"] == "2026-11-19T08:00:00-06:00"
    ahead = told | {name: "2027-11-19T08:00:00-06:00"}
    assert read("consent.telehealth", ahead)["held"] == "consent_dated_ahead"


def test_a_consent_that_was_picked_from_a_code_system_means_both_its_words() -> None:
    assert read("consent.sms", {"status": {"code": "373066001", "display": "Yes"}})["value"]["status"] == "given"
    assert read("consent.sms", {"code": "yes", "display": "I do not agree"})["held"] == "conflicting_answers"
    assert read("consent.sms", {"status": {"null": "declined"}}) == {"null": "declined"}
