"""What people type of medicines and allergens: each one in sight, and none that they deny or have stopped."""

from __future__ import annotations

from typing import Any

import pytest

from glp1_pipeline.domain.followup import read_checkin
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline_tests.sample_inputs import contract

from .submissions import submission

CONTRACT = contract()


def read(field: str, raw: Any, version: str = "3.0.0") -> dict[str, Any]:
    question = CONTRACT.fields[field].question(version)
    return map_submission(CONTRACT, submission({question: raw}, version)).values[field]


@pytest.mark.parametrize("text", ["Vitamin D 1,000 IU", "ozempic 0,5 mg", "levothyroxine 1,000 mcg"])
def test_a_comma_within_a_number_parts_no_medicine(text: str) -> None:
    assert [row["name"] for row in read("med.current_list", f"{text}, metformin 500,lisinopril 10 mg")["value"]] == [
        text,
        "metformin 500",
        "lisinopril 10 mg",
    ]


@pytest.mark.parametrize(
    ("field", "row"),
    [
        ("med.current_list", {"brand": "Lantus", "dose": "20 units"}),
        ("allergy.list", {"agent": "Wegovy", "severity": "severe"}),
        ("checkin.side_effects", {"code": "vomiting", "severity": "mild"}),
    ],
)
def test_an_entry_whose_name_came_under_another_part_is_held_and_not_taken_without_it(field: str, row: Any) -> None:
    if field.startswith("checkin"):
        told = submission({field: [row]}, CONTRACT.checkin.versions[-1], form_id=CONTRACT.checkin.form_id)
        doc = read_checkin(CONTRACT, told).values[field]
    else:
        doc = read(field, [row])
    assert doc["held"] == "unexpected_shape"


def test_a_medicine_joined_to_another_by_a_word_does_not_hide_behind_it() -> None:
    doc = read("med.current_list", "Metformin 500 mg and Lantus 20 units")
    assert [row["class"] for row in doc["value"]] == ["metformin", "insulin"]
    assert [row["code"] for row in read("allergy.list", "Penicillin & sulfa")["value"]] == ["penicillin", "sulfa"]
    night = read("med.current_list", "Metformin 500 mg morning and night")
    assert night["value"] == [{"name": "Metformin 500 mg morning and night", "class": "metformin"}]


@pytest.mark.parametrize(
    ("told", "unknown"),
    [
        ("metformin and flurbizole", "flurbizole"),
        ("flurbizole & metformin", "flurbizole"),
        ("Metformina y flurbizol", "flurbizol"),
        ("metformin/flurbizole", "flurbizole"),
        ("tylenol with codeine", "codeine"),
        ("metformin and a water pill", "a water pill"),
        (["lisinopril", "metformin, flurbizole"], "flurbizole"),
        ({"name": "metformin, flurbizole"}, "flurbizole"),
        ({"name": "metformin plus flurbizole", "dose": "500 mg"}, "flurbizole"),
        ("zonkamil and metformin and flurbizole", "flurbizole"),
    ],
    ids=str,
)
def test_a_name_that_nobody_knows_does_not_hide_behind_one_that_is_known(told: Any, unknown: str) -> None:
    doc = read("med.current_list", told)
    assert {"name": unknown} in doc["value"]
    assert unknown in doc["unmapped"]["medicines"]
    assert any(row.get("class") for row in doc["value"])


@pytest.mark.parametrize(
    "told",
    [
        "sertraline for depression and anxiety", "metformin 1 tablet in the morning and 1 tablet at night",
        "metformin with dinner", "metformin and nothing else", "metformin 500mg/day", "humalog 75/25", "lantus w/ food",
        "levonorgestrel and ethinyl estradiol 0.1 mg", "metformina con la cena", "3 ML liraglutide 6 MG/ML Pen Injector",
        ["metformin, 500 mg, twice daily"], {"name": "insulin, regular, human", "rxnorm": "5856"},
    ],
    ids=str,
)  # fmt: skip
def test_words_around_a_known_name_are_no_medicine_of_their_own(told: Any) -> None:
    (row,) = read("med.current_list", told)["value"]
    assert row["class"]


def test_a_dose_keeps_the_unit_that_it_was_told_with() -> None:
    doc = read("med.current_list", [{"name": "Lantus", "dose": {"value": 20, "unit": "units"}}])
    assert doc["value"][0]["dose"] == "20 units"


@pytest.mark.parametrize(
    ("dose", "value"),
    [("0.5", {"dose": 0.5}), (".5 mg", {"dose": 0.5, "dose_unit": "mg"}), ("1 mg", {"dose": 1.0, "dose_unit": "mg"})],
)
def test_a_typed_dose_is_its_number_and_its_unit(dose: str, value: dict[str, Any]) -> None:
    assert read("med.glp1_product", {"product": "ozempic", "dose": dose})["value"] == {"product": "ozempic"} | value


@pytest.mark.parametrize("dose", [-1, "-0.5", "-2 mg"])
def test_a_dose_below_nothing_is_held(dose: Any) -> None:
    assert "held" in read("med.glp1_product", {"product": "ozempic", "dose": dose, "dose_unit": "mg"})


@pytest.mark.parametrize("denial", ["no insulin", "Not on insulin", "metformin, no insulin", "nothing worth telling"])
def test_a_medicine_that_is_denied_is_not_listed_as_taken(denial: str) -> None:
    doc = read("med.current_list", denial)
    assert doc["held"] == "unmapped_code"
    assert set(doc["unmapped"]) == {"no_entries"}


NOT_TAKEN = [
    "stopped metformin", "I quit ozempic", "used to take ozempic", "metformin (stopped in May)", "was on insulin",
    "insulin, stopped", "lisinopril, ran out of metformin", "I tried ozempic", "previously wegovy", "took ozempic before", "came off insulin",
    "I don't take insulin", "insulin - not taking", "ozempic until june", "I want ozempic", "will start metformin soon",
    "dejé de tomar metformina", "Deje la insulina", "ya no tomo insulina", "antes tomaba metformina",
    "me quitaron la insulina", "yo no tomo insulina", ["lisinopril", "stopped metformin"],
    [{"name": "lisinopril"}, {"name": "metformin", "frequency": "no longer"}], {"name": "insulin", "status": "stopped"},
    {"name": "insulin", "current": False}, {"Medication": "stopped insulin"}, {"name": "insulin", "end_date": "2026-05-01"}, {"name": "insulin", "stopped": True},
]  # fmt: skip


@pytest.mark.parametrize("told", NOT_TAKEN, ids=str)
def test_a_medicine_that_is_not_taken_now_is_not_listed_as_taken(told: Any) -> None:
    doc = read("med.current_list", told)
    assert doc["held"] == "not_taken_now"
    assert "metformin" not in doc.get("unmapped", {}).get("no_entries", ())  # a name alone is no denial to be learned


def test_a_check_in_that_tells_of_a_medicine_that_was_stopped_lists_no_new_one() -> None:
    version = CONTRACT.checkin.versions[-1]
    told = submission({"checkin.new_medicines": "stopped metformin"}, version, form_id=CONTRACT.checkin.form_id)
    assert read_checkin(CONTRACT, told).values["checkin.new_medicines"]["held"] == "not_taken_now"


@pytest.mark.parametrize(
    "told",
    [
        "metformin (used to treat diabetes)", "albuterol used as needed", "been on metformin since 2019", "metformin",
        "I have taken metformin for 10 years", "bupropion since I stopped smoking", "bupropion to quit smoking",
        "off-brand metformin", "ozempic off label", "levothyroxine (don't take with food)", "took metformin this morning",
        "insulina antes de dormir", "metformina desde que dejé de fumar", {"name": "insulin", "status": "active"},
        {"name": "insulin", "end_date": "2027-05-01"}, {"name": "insulin", "stopped": "no"},
        {"name": "albuterol", "dose": "2 puffs. Do not use more than 4 times a day"},
        {"name": "ibuprofen", "frequency": "for no longer than 10 days, do not take if pregnant"},
        {"name": "omeprazole", "frequency": "daily until finished, then as you want"},
    ],
    ids=str,
)  # fmt: skip
def test_words_of_the_past_that_are_not_of_the_medicine_hold_nobody(told: Any) -> None:
    (row,) = read("med.current_list", told)["value"]
    assert row["class"]


@pytest.mark.parametrize(("field", "part"), [("med.current_list", "Medication"), ("allergy.list", "allergen")])
def test_a_denial_is_one_under_whatever_name_its_part_came(field: str, part: str) -> None:
    assert read(field, [{part: "none"}])["value"] == []
    assert read(field, [{part: "not that I was told"}])["held"] == "unmapped_code"


@pytest.mark.parametrize("words", ["nope, all fine", "not that I was told", "No problems with medicines"])
def test_words_that_deny_an_allergy_are_no_allergen(words: str) -> None:
    assert read("allergy.list", words)["held"] == "unmapped_code"


@pytest.mark.parametrize("words", ["None except Wegovy", "no, only Wegovy", "not allergic, but Wegovy gave me hives"])
def test_an_allergen_named_behind_a_no_stays_in_sight(words: str) -> None:
    assert "Wegovy" in str(read("allergy.list", words)["value"])


@pytest.mark.parametrize("words", ["NKDA", "nkda.", "None known", "No known drug allergies.", "none"])
def test_the_usual_words_for_no_allergies_are_none_in_the_list_and_a_no_to_the_question(words: str) -> None:
    assert read("allergy.list", words)["value"] == []
    assert read("allergy.any", words)["value"] == "no"


def test_words_about_allergies_say_nothing_of_another_illness() -> None:
    assert read("hx.men2", "NKDA")["held"] == "unmapped_code"


@pytest.mark.parametrize(
    "text", ["metformin insulin", "metformin \u2022 insulin", "1) metformin 2) insulin", "metformin (and insulin)"]
)
def test_a_known_medicine_does_not_hide_behind_another_whatever_stands_between(text: str) -> None:
    doc = read("med.current_list", text)
    assert [row["class"] for row in doc["value"]] == ["metformin", "insulin"]
    assert doc["edges"] == ["list_from_text"]


def test_a_combined_tablet_is_of_the_class_of_each_of_its_medicines() -> None:
    rows = read("med.current_list", [{"name": "glipizide-metformin", "dose": "5/500"}])["value"]
    assert [row["class"] for row in rows] == ["sulfonylurea", "metformin"]
    assert rows[0]["dose"] == "5/500"


def test_a_name_of_one_class_is_one_medicine_however_long() -> None:
    assert len(read("med.current_list", ["insulin glargine (Lantus) insulin"])["value"]) == 1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("metformin, 500 mg, twice daily", ["metformin, 500 mg, twice daily"]),
        ("metformin|500 mg|daily", ["metformin, 500 mg, daily"]),
        ("flurbizole; 5 mg; metformin", ["flurbizole, 5 mg", "metformin"]),
        ("none, metformin", ["metformin"]),
    ],
)
def test_a_dose_behind_a_comma_is_no_medicine(text: str, names: list[str]) -> None:
    assert [row["name"] for row in read("med.current_list", text)["value"]] == names


def test_a_dose_without_its_medicine_and_a_town_without_its_street_are_held() -> None:
    assert read("med.glp1_product", {"preparation": "Ozempic", "dose": 1})["held"] == "unexpected_shape"
    assert read("demo.address", {"avenue": "9 Larch", "city": "Austin", "state": "TX"})["held"] == "unexpected_shape"
    assert read("vitals.bp", {"systolic": 120, "diastolic": 80, "position": "sitting"})["value"]["systolic"] == 120


@pytest.mark.parametrize(
    ("row", "hidden"),
    [
        ({"name": "metformin", "notes": "also take Lantus"}, "lantus"),
        ({"name": "metformin", "dose": "500 mg with glipizide", "frequency": "daily"}, "glipizide"),
        ({"name": "metformin", "brand": "Glucovance"}, "glucovance"),
        ({"name": "Other", "other_text": "warfarin"}, "warfarin"),
        ({"name": "", "generic": "warfarin"}, "warfarin"),
        ({"name": "none", "notes": "only Lantus"}, "lantus"),
    ],
)
def test_a_medicine_that_a_risk_rule_looks_for_does_not_hide_in_another_part_of_a_row(row: Any, hidden: str) -> None:
    beside = {"name": "lisinopril", "dose": "10 mg", "frequency": "once a day"}
    rows = read("med.current_list", [beside, row])["value"]
    assert hidden in {told.get("name") for told in rows}
    assert rows[0] == {**beside, "class": "ace_arb"}


@pytest.mark.parametrize("notes", ["used to take Ozempic", "no insulin", "stopped glipizide"])
def test_a_remark_that_denies_a_medicine_beside_another_is_left_to_a_person(notes: str) -> None:
    assert read("med.current_list", [{"name": "metformin", "notes": notes}])["held"]


@pytest.mark.parametrize(
    "told",
    [
        "metformin for insulin resistance", "Metformin (insulin-resistant)", "metformina, resistencia a la insulina",
        {"name": "metformin", "notes": "insulin resistance"}, {"name": "metformin", "reason": "with insulin"},
    ],
    ids=str,
)  # fmt: skip
def test_an_illness_that_is_called_after_a_medicine_is_none(told: Any) -> None:
    rows = read("med.current_list", [told])["value"]
    assert "insulin" not in {row.get("class") for row in rows}
    assert read("med.current_list", ["Lantus for insulin resistance"])["value"][0]["class"] == "insulin"


@pytest.mark.parametrize("part", [{"reaction": "rash; Ozempic closed my throat"}, {"notes": "and Ozempic: hives"}])
def test_an_allergy_to_a_glp1_does_not_hide_in_the_row_of_another(part: dict[str, str]) -> None:
    first, second = read("allergy.list", [{"substance": "penicillin", **part}])["value"]
    assert (first["code"], second["code"]) == ("penicillin", "glp1")
    assert len(read("allergy.list", [{"substance": "penicillin", "notes": "not Ozempic"}])["value"]) == 1


@pytest.mark.parametrize("part", [{"reaction": ["nausea", "hives"]}, {"reaction": "nausea", "notes": "hives"}])
def test_all_that_an_allergen_did_is_one_reaction(part: dict[str, Any]) -> None:
    (row,) = read("allergy.list", [{"substance": "Wegovy", "severity": "mild", **part}])["value"]
    assert row["reaction"] == "nausea; hives"
