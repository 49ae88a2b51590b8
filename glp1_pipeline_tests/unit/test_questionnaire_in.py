"""FHIR in: a QuestionnaireResponse of any version of the intake, and of the check-in, says the same as our own JSON."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain import fhir
from glp1_pipeline.domain.contract import Field
from glp1_pipeline.domain.events import Submission, parse_event, questionnaire_response_to_submission
from glp1_pipeline.domain.followup import read_checkin
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline_tests.fhir_rules import as_sent
from glp1_pipeline_tests.questionnaires import CONTRACT, FORM, REASONS, Encoder
from glp1_pipeline_tests.refills import checkin

from .submissions import full_answers, submission

CHECKIN = CONTRACT.checkin.form_id


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
