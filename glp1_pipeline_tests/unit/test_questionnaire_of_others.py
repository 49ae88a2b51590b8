"""FHIR in, as other form fillers send it: sections of any name, details below answers, codings with labels, quantities."""

from __future__ import annotations

from typing import Any

import pytest

from glp1_pipeline.domain.events import Refused, parse_event, questionnaire_response_to_submission
from glp1_pipeline.domain.flags import medicines as flags
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline_tests.questionnaires import AUTHORED, CONTRACT, REASON, UCUM, Encoder

NAMES = flags.medicine_names(CONTRACT.medication)
ANSWERED = "2026-11-20T08:59:20-06:00"


def answered(link: str, *answers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"linkId": link, "answer": list(answers)} | more


def section(link: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"linkId": link, "item": list(items)}


def coding(code: str | None, display: str | None = None, system: str | None = None) -> dict[str, Any]:
    told = {"system": system, "code": code, "display": display}
    return {"valueCoding": {key: word for key, word in told.items() if word}}


def quantity(value: float, unit: str, code: str) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": code}}


def response(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return Encoder().response({}, "3.0.0") | {"item": list(items)} | more


def mapped(*items: dict[str, Any]) -> Any:
    return map_submission(CONTRACT, questionnaire_response_to_submission(response(*items), CONTRACT))


def value_of(field: str, *items: dict[str, Any]) -> Any:
    told = mapped(*items)
    assert told.problems == ()
    return told.values[field].get("value")


BORN = answered("demo.dob", {"valueDate": "1985-03-14"})
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"


@pytest.mark.parametrize(
    "items",
    [
        [section("1", section("1.1", section("1.1.1", BORN)))],
        [section("demo", section("demo.about_you", BORN))],
        [section("intro", {"linkId": "intro.welcome", "text": "Welcome"}), BORN],
        [answered("allergy.any", coding("no", "No"), item=[section("2", section("2.1", BORN))])],
        [answered("allergy.any", coding("no", "No") | {"item": [section("2", section("2.1", BORN))]})],
        [section("demo.address", answered("demo.address.city", {"valueString": "Austin"}), BORN)],
    ],
)
def test_a_question_is_found_in_a_section_of_any_name_and_depth(items):
    assert value_of("demo.dob", *items) == "1985-03-14"


@pytest.mark.parametrize("link", ["2", "extra", "hx.extra"])
def test_an_unknown_question_of_parts_is_one_unknown_question(link):
    told = mapped(section(link, answered(f"{link}.a", {"valueString": "Canary"}), {"linkId": f"{link}.b"}))
    assert [problem.cause for problem in told.problems] == ["unknown_question"]


def test_details_below_an_answer_stay_with_it():
    rows = answered(
        "med.current_list",
        {"valueString": "metformin", "item": [answered("med.current_list.dose", {"valueString": "500 mg"})]},
        {"valueString": "Lantus", "item": [answered("med.current_list.dose", quantity(20, "units", "[iU]"))]},
    )
    assert value_of("med.current_list", rows) == [
        {"name": "metformin", "dose": "500 mg", "class": "metformin"},
        {"name": "Lantus", "dose": "20 units", "class": "insulin"},
    ]
    version = answered("consent.treatment.version", {"valueString": "2026-09"})
    at = answered("consent.treatment.at", {"valueDateTime": ANSWERED})
    consent = {"status": "given", "version": "2026-09", "at": ANSWERED}
    assert (
        value_of("consent.treatment", answered("consent.treatment", {"valueBoolean": True, "item": [version, at]}))
        == consent
    )
    below = answered("consent.treatment.status", coding("given", "I agree") | {"item": [version, at]})
    assert value_of("consent.treatment", section("consent.treatment", below)) == consent
    when = answered("hx.pancreatitis.when", {"valueString": "2010"})
    told = mapped(answered("hx.pancreatitis", coding("past", "Had it") | {"item": [when]})).values["hx.pancreatitis"]
    assert (told["value"], told["edges"], told["raw"]["when"]) == ("past", ["text_kept"], "2010")


def test_what_is_told_below_a_medicine_can_stop_it_from_counting_as_taken():
    stopped = answered("med.current_list.stopped", {"valueBoolean": True})
    name = answered("med.current_list.name", {"valueString": "metformin", "item": [stopped]})
    assert mapped(section("med.current_list", name)).values["med.current_list"]["held"] == "not_taken_now"


def test_parts_that_stand_outside_of_their_question_are_its_parts():
    street = answered("demo.address.line1", {"valueString": "9 Larch"}, {"valueString": "Apt 2"})
    page = section("where-you-live", street, answered("demo.address.state", coding("TX", "Texas")))
    assert value_of("demo.address", page) == {"line1": "9 Larch", "line2": "Apt 2", "state": "TX"}
    version = answered("consent.sms.version", {"valueString": "7"})
    assert value_of("consent.sms", answered("consent.sms", {"valueBoolean": True}), version)["version"] == "7"
    feet, inches = (answered(f"anthro.height.{unit}", {"valueInteger": n}) for unit, n in (("ft", 5), ("in", 11)))
    assert value_of("anthro.height", feet, section("page-2", inches)) == 180.34
    unit = answered("anthro.weight.unit", coding("[lb_av]", "lb", UCUM))
    assert value_of("anthro.weight", answered("anthro.weight", {"valueDecimal": 200.0}), unit) == 90.72


@pytest.mark.parametrize(
    ("field", "answer", "value"),
    [
        ("med.current_list", coding("860975", "metformin 500 MG", RXNORM),
         [{"name": "metformin 500 MG", "rxnorm": "860975", "class": "metformin"}]),
        ("med.current_list", coding("none", "None"), []),
        ("allergy.list", coding("7980", "Penicillin", RXNORM), [{"substance": "Penicillin", "code": "penicillin"}]),
        ("med.glp1_product", coding("ozempic", "Ozempic"), {"product": "ozempic"}),
        ("med.glp1_product", coding("2553506", "Wegovy 0.25 MG", RXNORM), {"product": "wegovy_inj"}),
        ("vitals.bp", coding("normal", "Normal"), {"category": "normal"}),
        ("demo.legal_first", coding("x1", "Ana"), "Ana"),
        ("consent.marketing", coding("373067005", "No"), {"status": "refused", "version": "", "at": AUTHORED}),
    ],
)  # fmt: skip
def test_a_coding_with_a_label_answers_questions_of_every_type(field, answer, value):
    assert value_of(field, answered(field, answer)) == value


def test_a_medicine_and_an_allergen_are_what_their_number_says_also_without_a_label():
    for shown in (None, "1991302"):
        semaglutide = coding("1991302", shown, RXNORM)
        rows = [
            [answered("med.current_list", semaglutide)],
            [section("med.current_list", answered("med.current_list.name", semaglutide))],
        ]
        for row in rows:
            told = value_of("med.current_list", *row)
            assert told == [{"name": "1991302", "rxnorm": "1991302", "class": "glp1"}]
            assert flags.GLP1 in NAMES.groups_in(told)
        assert flags.GLP1 in NAMES.groups_in(value_of("allergy.list", answered("allergy.list", semaglutide)))
    listed = answered("med.current_list", coding("11289", None, RXNORM), coding("6809", "Metformin", RXNORM))
    assert value_of("med.current_list", listed) == [
        {"name": "11289", "rxnorm": "11289"},
        {"name": "Metformin", "rxnorm": "6809", "class": "metformin"},
    ]
    assert value_of("med.current_list", answered("med.current_list", coding("none", None, RXNORM))) == []


@pytest.mark.parametrize(
    ("field", "answer"),
    [
        ("med.current_list", coding("none", "I take no medicines")),
        ("med.current_list", coding("787481004", "No known medications", SNOMED)),
        ("allergy.list", coding("716186003", "No known allergy", SNOMED)),
        ("allergy.list", coding("409137002", None, SNOMED)),
        ("allergy.list", coding("160244002", "No known allergies (situation)", SNOMED)),
    ],
)
def test_a_code_that_says_that_there_is_none_is_no_entry(field, answer):
    assert value_of(field, answered(field, answer)) == []
    assert value_of(field, section(field, answered(f"{field}.{CONTRACT.fields[field].lone_part}", answer))) == []


def test_a_label_that_names_an_entry_outweighs_the_code_for_none():
    (row,) = value_of("allergy.list", answered("allergy.list", coding("none", "None except Wegovy")))
    assert row["substance"] == "None except Wegovy"
    assert value_of("med.current_list", answered("med.current_list", coding("no", "Normodyne"))) == [
        {"name": "Normodyne"}
    ]


def test_several_reactions_that_were_picked_are_one_text():
    picked = [
        answered("allergy.list.substance", coding("Wegovy")),
        answered("allergy.list.reaction", coding("39579001", "Anaphylaxis", SNOMED), coding("247472004", "Hives")),
    ]
    (row,) = value_of("allergy.list", section("allergy.list", *picked))
    assert row["reaction"] == "Anaphylaxis; Hives"


def test_every_rxnorm_number_of_a_glp1_product_makes_a_medicine_one_whatever_it_is_called():
    for number in CONTRACT.medication.codes:
        for label in ("inyecci\u00f3n semanal", "metformin", None):
            told = value_of("med.current_list", answered("med.current_list", coding(number, label, RXNORM)))
            assert [row["class"] for row in told] == ["glp1"], (number, label)
            assert flags.GLP1 in NAMES.groups_in(told)


CODED_QUESTIONS = [
    (name, field.codes, field.type)
    for name, field in CONTRACT.fields.items()
    if field.type in ("code", "codes") and field.codes
]


def test_what_a_code_is_called_in_fhir_answers_a_question_without_our_words_beside_it():
    for name, codes, kind in CODED_QUESTIONS:
        for code in filter(lambda code: code.fhir_code, CONTRACT.codes[codes].values()):
            told = answered(name, coding(code.fhir_code, "Anything that no table of ours knows", code.fhir_system))
            bare = answered(name, coding(code.fhir_code, None, code.fhir_system))
            means = [code.code] if kind == "codes" else code.code
            assert (value_of(name, told), value_of(name, bare)) == (means, means), (name, code.fhir_code)


@pytest.mark.parametrize(
    ("system", "code", "label", "value"),
    [
        (SNOMED, "373066001", "So it is", "yes"),
        (SNOMED, "373067005", "Not so", "no"),
        (LOINC, "LA33-6", "Ja", "yes"),
        (LOINC, "LA32-8", "Nein", "no"),
    ],
)
def test_yes_and_no_by_the_codes_of_snomed_and_loinc_need_no_english_label(system, code, label, value):
    for shown in (label, None):
        assert value_of("hx.men2", answered("hx.men2", coding(code, shown, system))) == value
        assert value_of("preg.status", answered("preg.status", coding(code, shown, system))) == value
        consent = value_of("consent.sms", answered("consent.sms", coding(code, shown, system)))
        assert consent["status"] == ("given" if value == "yes" else "refused")
    against = "No" if value == "yes" else "Yes"
    assert mapped(answered("hx.men2", coding(code, against, system))).values["hx.men2"]["held"] == "conflicting_answers"


@pytest.mark.parametrize(
    ("system", "code", "label", "null"),
    [
        (LOINC, "LA12688-0", "Ich wei\u00df es nicht", "unknown"),
        (LOINC, "LA4489-6", None, "unknown"),
        (LOINC, "LA4389-8", "Refused", "declined"),
        (SNOMED, "261665006", "Nobody knows", "unknown"),
        (SNOMED, "373068000", "Not found out", "unknown"),
        (SNOMED, "385432009", "Does not concern me", "not_applicable"),
    ],
)
def test_codes_of_snomed_and_loinc_for_no_answer_are_that_null(system, code, label, null):
    assert mapped(answered("hx.men2", coding(code, label, system))).values["hx.men2"] == {"null": null}


def test_parts_may_be_codings_and_quantities():
    pressure = [("systolic", 128), ("diastolic", 82)]
    items = [answered(f"vitals.bp.{part}", quantity(number, "mmHg", "mm[Hg]")) for part, number in pressure]
    assert value_of("vitals.bp", section("vitals.bp", *items)) == dict(pressure)
    product = answered("med.glp1_product.product", coding("ozempic", "Ozempic"))
    dose = answered("med.glp1_product.dose", quantity(0.5, "milligram", "mg"))
    taken = {"product": "ozempic", "dose": 0.5, "dose_unit": "mg"}
    assert value_of("med.glp1_product", section("med.glp1_product", product, dose)) == taken
    rows = [
        ("substance", coding("7980", "Penicillin", RXNORM)),
        ("severity", coding("24484000", "Severe", "http://snomed.info/sct")),
    ]
    items = [answered(f"allergy.list.{part}", told) for part, told in rows]
    assert value_of("allergy.list", section("allergy.list", *items)) == [
        {"substance": "Penicillin", "severity": "severe", "code": "penicillin"}
    ]


def test_feet_and_inches_may_each_be_a_quantity_of_the_unit_they_stand_under():
    feet = answered("anthro.height.ft", quantity(5, "ft", "[ft_i]"))
    inches = answered("anthro.height.in", quantity(11, "inches", "[in_i]"))
    assert value_of("anthro.height", section("anthro.height", feet, inches)) == 180.34
    assert (
        value_of("anthro.height", section("anthro.height", answered("anthro.height.ft", coding("5")), inches)) == 180.34
    )
    for other in (quantity(11, "in", "cm"), quantity(11, "cm", "cm")):
        told = mapped(section("anthro.height", feet, answered("anthro.height.in", other)))
        assert told.values["anthro.height"]["held"] == "unreadable_quantity"


def test_a_pressure_is_read_where_its_unit_is_written_out():
    parts = (("systolic", 190), ("diastolic", 125))
    items = [answered(f"vitals.bp.{part}", quantity(n, "millimeters of mercury", "mm[Hg]")) for part, n in parts]
    assert value_of("vitals.bp", section("vitals.bp", *items)) == {"systolic": 190, "diastolic": 125}


def test_a_pressure_in_another_unit_is_no_pressure_in_ours():
    items = [
        answered(f"vitals.bp.{part}", quantity(n, "kPa", "kPa")) for part, n in (("systolic", 160), ("diastolic", 100))
    ]
    assert "held" in mapped(section("vitals.bp", *items)).values["vitals.bp"]


WHY = {"extension": [{"url": REASON, "valueCode": "asked-declined"}]}
FLAVOR = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"


@pytest.mark.parametrize(
    ("answer", "null"),
    [
        ({"valueCoding": WHY}, "declined"),
        ({"valueCoding": {"_code": WHY}}, "declined"),
        ({"valueQuantity": {"_value": WHY, "unit": "kg"}}, "declined"),
        ({"valueQuantity": WHY | {"unit": "kg"}}, "declined"),
        ({"valueQuantity": {"unit": "kg"}}, "absent"),
        (coding("not-asked", "Not Asked", "http://terminology.hl7.org/CodeSystem/data-absent-reason"), "absent"),
        (coding("ASKU", "asked but unknown", FLAVOR), "unknown"),
        (coding("UNK", None, "http://terminology.hl7.org/CodeSystem/v2-0532"), "unknown"),
        (coding("NA", "not applicable", FLAVOR), "not_applicable"),
        (coding("NASK", "not asked", FLAVOR), "absent"),
    ],
)
def test_a_reason_for_no_answer_counts_wherever_fhir_lets_it_stand(answer, null):
    assert mapped(answered("anthro.weight", answer)).values["anthro.weight"] == {"null": null}


def test_two_values_of_one_answer_are_held():
    told = mapped(answered("hx.t1dm", {"valueString": "no", "valueCoding": {"code": "yes"}}))
    assert told.values["hx.t1dm"]["held"] == "conflicting_answers"


def named(**more: Any) -> tuple[str, str, str]:
    event, _ = parse_event({k: v for k, v in response(BORN, **more).items() if v is not None}, CONTRACT)
    return event.source, event.source_id, event.subject


def test_a_response_may_name_itself_and_its_patient_in_the_ways_that_fhir_has():
    account = {"identifier": {"value": "canary-account"}}
    assert named(identifier=None, id="r1", meta={"source": "/intake/forms"}) == (
        "/intake/forms", "r1:completed", "canary-account",
    )  # fmt: skip
    own = {"system": "/intake/forms", "value": "r1"}
    assert named(identifier=own, subject={"reference": "Patient/123"})[2] == "Patient/123"
    assert named(subject={"reference": "https://forms.invalid/Patient/123"})[2] == "https://forms.invalid/Patient/123"
    inside = {"resourceType": "Patient", "id": "p", "identifier": [account["identifier"]]}
    assert named(subject={"reference": "#p"}, contained=[inside])[2] == "canary-account"


@pytest.mark.parametrize("identifier", [{"value": "r1"}, {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:r1"}])
def test_one_account_of_two_systems_is_two_where_the_response_names_no_producer(identifier):
    """Else two people would be one chart."""
    system = "http://clinic-a.invalid"
    told = named(identifier=identifier, subject={"identifier": {"system": system, "value": "100"}})
    assert (told[0], told[2]) == (system, "100")
    own = {"system": "/intake/forms", "value": "r1"}
    assert named(identifier=own, subject={"identifier": {"system": system, "value": "100"}})[0] == "/intake/forms"


@pytest.mark.parametrize(
    "more",
    [
        {"subject": {"reference": "Patient/123"}},
        {"subject": {"reference": "Patient/123"}, "identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:1"}},
        {"subject": {"reference": "#p"}},
        {"subject": {"reference": "#p"}, "contained": [{"id": "p", "identifier": [{"value": "jo@canary.invalid"}]}]},
        {"subject": {"display": "Jo Canary"}},
        {"subject": None},
    ],
)
def test_a_response_that_does_not_say_whose_it_is_is_refused(more):
    """Many servers have a Patient/123: it is somebody only where the server is named."""
    with pytest.raises(Refused) as refusal:
        named(**more)
    assert refusal.value.reason == "missing_subject"
    assert "Canary" not in refusal.value.hint
    assert "canary" not in refusal.value.hint
