"""FHIR in: a QuestionnaireResponse of any version of the intake, and of the check-in, says the same as our own JSON.

The encoder here is independent of the pipeline's own (`domain.fhir.answers`): it spells answers as other producers of
FHIR would, each in the value[x] that fits it, groups as items of items, rows as items that repeat.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain import fhir
from glp1_pipeline.domain.contract import Field
from glp1_pipeline.domain.events import Refused, Submission, parse_event, questionnaire_response_to_submission
from glp1_pipeline.domain.flags import medicines as flags
from glp1_pipeline.domain.followup import read_checkin
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline_tests.fhir_rules import as_sent
from glp1_pipeline_tests.refills import checkin
from glp1_pipeline_tests.sample_inputs import contract

from .submissions import full_answers, submission

CONTRACT = contract()
NAMES = flags.medicine_names(CONTRACT.medication)
FORM, CHECKIN = CONTRACT.form_id, CONTRACT.checkin.form_id
REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
REASONS = {"unknown": "asked-unknown", "declined": "asked-declined", "not_applicable": "not-applicable"}
UCUM = "http://unitsofmeasure.org"
AUTHORED = "2026-11-22T10:00:00-06:00"


# The encoder


class Encoder:
    """Our raw answers as items; `choose` picks among the ways that FHIR leaves open."""

    def __init__(self, choose: st.DataObject | None = None) -> None:
        self.choose = choose

    def one_of(self, *ways: Any) -> Any:
        return ways[0] if self.choose is None else self.choose.draw(st.sampled_from(ways))

    def response(
        self, answers: dict[str, Any], version: str, status: str = "completed", form: str = FORM
    ) -> dict[str, Any]:
        items = [item for question, raw in answers.items() for item in self.items(question, raw, kind_of(question))]
        if items and self.one_of(False, True):  # as pages of the form
            cut = len(items) // 2
            name = self.one_of("page-", "1.", "hx.page.")
            pages = [
                {"linkId": f"{name}{n}", "item": page} for n, page in enumerate((items[:cut], items[cut:])) if page
            ]
            items = [{"linkId": self.one_of("form", "1", "hx"), "item": pages}] if self.one_of(False, True) else pages
        details = [
            {"url": "timeZone", "valueString": "America/Chicago"},
            {"url": "receivedAt", "valueDateTime": "2026-11-22T16:00:01Z"},
            {"url": "durationSeconds", "valueInteger": 412},
            {"url": "abVariant", "valueString": "A"},
        ]
        return {
            "resourceType": "QuestionnaireResponse",
            "identifier": {"value": "6a4f2f0e-0000-4000-8000-000000000001"},
            "extension": [{"url": "urn:glp1-pipeline:submission-details", "extension": details}],
            "questionnaire": f"urn:glp1-pipeline:questionnaire:{form}|{version}",
            "status": status,
            "subject": {"identifier": {"value": "canary-account"}},
            "authored": AUTHORED,
            "item": items,
        }

    def items(self, link: str, raw: Any, kind: str) -> list[dict[str, Any]]:
        rows = raw if isinstance(raw, list) else [raw]
        if any(isinstance(row, dict) and not self.is_scalar(row, kind) for row in rows):
            made = []
            for row in rows:
                if isinstance(row, dict) and self.stands_above(link, row) and self.one_of(False, True):
                    main = MAIN[link]
                    below = [
                        part
                        for key, told in row.items()
                        if key != main
                        for part in self.items(f"{link}.{key}", told, "")
                    ]
                    made.append(
                        {"linkId": link, "answer": [self.answer(row[main], "") | ({"item": below} if below else {})]}
                    )
                elif isinstance(row, dict) and not self.is_scalar(row, kind):
                    parts = [part for key, told in row.items() for part in self.items(f"{link}.{key}", told, "")]
                    made.append({"linkId": link, "item": parts} if parts else {"linkId": link})
                else:
                    made.append({"linkId": link, "answer": [self.answer(row, kind)]})
            return made
        answers = [self.answer(row, kind) for row in rows if row is not None]
        return [{"linkId": link, "answer": answers} if answers else {"linkId": link}]

    def stands_above(self, link: str, row: dict[str, Any]) -> bool:
        """Whether one part can be the answer, with the others below it."""
        return isinstance(row.get(MAIN.get(link, "")), str)

    def is_scalar(self, row: dict[str, Any], kind: str) -> bool:
        """What one value[x] can hold."""
        return row.keys() == {"null"} or row.keys() == {"value", "unit"} or kind == "attachment"

    def answer(self, raw: Any, kind: str) -> dict[str, Any]:
        if isinstance(raw, dict):
            return self.structured(raw)
        if isinstance(raw, bool):
            return {"valueBoolean": raw}
        if isinstance(raw, int):
            return {self.one_of("valueInteger", "valueDecimal"): raw}
        if isinstance(raw, float):
            return {"valueDecimal": raw}
        if kind == "date" and is_iso_date(raw):
            return {"valueDate": raw}
        if kind == "instant":
            return {self.one_of("valueDateTime", "valueString"): raw}
        if kind in ("code", "codes", "tri", "consent") and self.one_of(True, False):
            coding = {"system": "urn:canary:answers", "code": raw}
            labels = ({"display": raw}, coding | {"display": raw}, coding | {"display": raw.upper()})
            return {"valueCoding": self.one_of(coding, *labels)}
        return {"valueString": raw}

    def structured(self, raw: dict[str, Any]) -> dict[str, Any]:
        if "null" in raw:
            why = [{"url": REASON, "valueCode": REASONS[raw["null"]]}]
            coding = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": why[0]["valueCode"]}
            ways = ({"extension": why}, {"_valueString": {"extension": why}}, {"valueCoding": coding})
            return self.one_of(*ways, {"valueCoding": coding | {"display": "as they put it"}})
        if "unit" in raw:
            quantity = {"value": raw["value"], "unit": raw["unit"]}
            coded = {"value": raw["value"], "system": UCUM, "code": raw["unit"]}
            return {"valueQuantity": self.one_of(quantity, quantity | coded, coded)}
        named = {"content_type": "contentType", "url": "url"}
        file = {named[key]: part for key, part in raw.items() if key in named}
        file["hash"] = base64.b64encode(bytes.fromhex(raw["sha256"])).decode()
        return {"valueAttachment": file}


MAIN = {
    link: field.lone_part or "status"
    for field in CONTRACT.fields.values()
    for link in (field.name, *field.questions.values())
    if field.lone_part or field.type == "consent"
}
"""Question -> the part that an answer to it is, where the others stand below it."""


def is_iso_date(raw: str) -> bool:
    try:
        return date.fromisoformat(raw).isoformat() == raw
    except ValueError:
        return False


def kind_of(question: str) -> str:
    return next((f.type for v in CONTRACT.form_versions for f in CONTRACT.fields.values()
                 if question in (f.name, f.question(v))), "")  # fmt: skip


# What people may answer, by type of field

words = st.sampled_from(
    ["Kestrel", "de la Cruz", "王", "O\u2019Brien", "7", "12025550147", "pip@example.org", "02139", "-", " "]
)
nulls = st.sampled_from(sorted(CONTRACT.codes["null_answers"]))
unanswered = st.none() | nulls | st.sampled_from(sorted(REASONS)).map(lambda kind: {"null": kind})
numbers = st.integers(0, 400) | st.floats(0, 400).map(lambda n: round(n, 1))
days = st.dates(date(1900, 1, 1), date(2026, 11, 22)).map(date.isoformat)
instants = st.datetimes(datetime(2020, 1, 1), datetime(2026, 11, 22), timezones=st.just(UTC)).map(
    lambda at: at.isoformat(timespec="seconds")
)


def spellings(name: str | None) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted(CONTRACT.codes[name or "yes_no"])) | st.sampled_from(["vapours", "perhaps"])


def part_of(field: Field, part: str) -> st.SearchStrategy[Any]:
    if part in field.part_codes:
        return spellings(field.part_codes[part])
    match field.part_formats.get(part):
        case "date":
            return days
        case "integer" | "number":
            return numbers
        case "phone":
            return st.just("(202) 555-0147 x9") | words
        case _:
            return words


def raw_of(field: Field) -> st.SearchStrategy[Any]:
    row = st.fixed_dictionaries({}, optional={part: part_of(field, part) for part in field.parts}).filter(bool)
    match field.type:
        case "code":
            return spellings(field.codes)
        case "tri" | "boolean":
            return spellings("yes_no") | st.booleans()
        case "codes":
            return st.lists(spellings(field.codes), min_size=1, max_size=4) | spellings(field.codes)
        case "quantity":
            units = st.sampled_from(sorted(CONTRACT.codes[field.codes or ""])) | st.just("ells")
            measured = st.fixed_dictionaries({"value": numbers, "unit": units})
            feet = st.fixed_dictionaries({"ft": st.integers(0, 9), "in": st.integers(0, 14)})
            return measured | feet | numbers | st.sampled_from(["5'11\"", "12st 7", "180 lb", "82,5 kg", "511"])
        case "date":
            return days | st.sampled_from(["1984", "03/04/1985", "June 30, 1984", "1995-02-29", "never"])
        case "instant":
            return instants
        case "integer":
            return numbers | st.sampled_from(["90", "1.750", "many"])
        case "group":
            return row
        case "list":
            return st.lists(row, min_size=1, max_size=3) | st.sampled_from(["none", "metformin, lisinopril", "latex"])
        case "consent":
            at = instants | st.just("2026-03-08T02:30:00")
            status = spellings("consent_status")
            told = st.fixed_dictionaries({"status": status}, optional={"version": words, "at": at})
            return told | status
        case "attachment":
            return st.just({"content_type": "image/jpeg", "sha256": "ab" * 32, "url": "https://files.invalid/1"})
        case _:
            return words


raw_answers = {
    name: raw_of(field) | unanswered
    for name, field in CONTRACT.fields.items()
    if field.form == "intake" and not name.startswith("sys.")
}
checkin_answers = {name: raw_of(CONTRACT.fields[name]) | unanswered for name in CONTRACT.asked_in_checkin}
CHECKIN_VERSION = CONTRACT.checkin.versions[-1]
checkins = st.lists(st.sampled_from(sorted(checkin_answers)), unique=True, min_size=1, max_size=12).flatmap(
    lambda names: st.fixed_dictionaries({name: checkin_answers[name] for name in names})
)


@st.composite
def forms(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A version and answers under its own question ids; now and then under an id of another version, or of none."""
    version = draw(st.sampled_from(CONTRACT.form_versions))
    names = draw(st.lists(st.sampled_from(sorted(raw_answers)), unique=True, min_size=1, max_size=12))
    answers: dict[str, Any] = {}
    for name in names:
        field = CONTRACT.fields[name]
        own = field.question(version) if field.asked_in(version) else name
        other = st.sampled_from([field.question(v) for v in CONTRACT.form_versions if field.asked_in(v)])
        answers[draw(st.just(own) | other)] = draw(raw_answers[name])
    if draw(st.booleans()):
        answers["canary-question"] = draw(words.filter(str.strip) | numbers | st.booleans() | st.just(["a", "b"]))
    return version, answers


def said(values: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What each document says; how it was typed may differ."""
    return {name: (doc.get("value"), doc.get("null"), doc.get("held")) for name, doc in values.items()}


def as_json(answers: dict[str, Any], version: str, status: str = "completed", form: str = FORM) -> Submission:
    data = submission(answers, version, status=status, form_id=form)
    return replace(data, channel="fhir", locale="")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(forms(), st.sampled_from(["completed", "in-progress"]), st.data())
def test_a_questionnaire_response_means_what_our_json_means(form, status, data):
    version, answers = form
    resource = Encoder(data).response(answers, version, status)
    ours = map_submission(CONTRACT, as_json(answers, version, status))
    theirs = map_submission(CONTRACT, questionnaire_response_to_submission(resource, CONTRACT))
    assert said(theirs.values) == said(ours.values)
    assert theirs.contradictions == ours.contradictions
    assert [p[:2] for p in theirs.problems] == [p[:2] for p in ours.problems]


@pytest.mark.parametrize("version", CONTRACT.form_versions)
def test_a_whole_form_of_each_version_comes_in_as_fhir_with_nothing_held(version):
    names = {name: CONTRACT.fields[name] for name in full_answers()}
    answers = {names[n].question(version): raw for n, raw in full_answers().items() if names[n].asked_in(version)}
    event, parsed = parse_event(Encoder().response(answers, version), CONTRACT)
    assert isinstance(parsed, Submission)
    mapped = map_submission(CONTRACT, parsed)
    assert (event.type, event.subject, mapped.problems) == ("intake.submitted", "canary-account", ())
    assert said(mapped.values) == said(map_submission(CONTRACT, as_json(answers, version)).values)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(forms())
def test_what_we_write_as_a_questionnaire_response_reads_back_as_what_was_sent(form):
    version, answers = form
    told = as_json(answers, version)
    back = questionnaire_response_to_submission(
        as_sent(fhir.questionnaire_response(CONTRACT, told, "canary-1")), CONTRACT
    )
    assert said(map_submission(CONTRACT, back).values) == said(map_submission(CONTRACT, told).values)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(checkins, st.data())
def test_a_check_in_as_a_questionnaire_response_means_what_our_json_means(answers, data):
    resource = Encoder(data).response(answers, CHECKIN_VERSION, form=CHECKIN)
    ours = read_checkin(CONTRACT, as_json(answers, CHECKIN_VERSION, form=CHECKIN))
    theirs = read_checkin(CONTRACT, questionnaire_response_to_submission(resource, CONTRACT))
    assert said(theirs.values) == said(ours.values)
    assert [p[:2] for p in theirs.problems] == [p[:2] for p in ours.problems]


def test_a_whole_check_in_comes_in_as_fhir_with_nothing_held():
    answers = checkin(18)["data"]["answers"]
    resource = Encoder().response(answers, CHECKIN_VERSION, form=CHECKIN)
    event, parsed = parse_event(resource, CONTRACT)
    assert isinstance(parsed, Submission)
    read = read_checkin(CONTRACT, parsed)
    assert (event.type, event.subject, read.problems) == ("followup.completed", "canary-account", ())
    assert read.values.keys() == answers.keys()
    assert said(read.values) == said(read_checkin(CONTRACT, as_json(answers, CHECKIN_VERSION, form=CHECKIN)).values)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(checkins)
def test_what_we_write_of_a_check_in_reads_back_as_what_was_sent(answers):
    told = as_json(answers, CHECKIN_VERSION, form=CHECKIN)
    back = questionnaire_response_to_submission(
        as_sent(fhir.questionnaire_response(CONTRACT, told, "canary-1")), CONTRACT
    )
    assert said(read_checkin(CONTRACT, back).values) == said(read_checkin(CONTRACT, told).values)


# What other form fillers send: sections of any name, details below answers, codings with labels, quantities

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
