"""Which documents enter as events, why the others do not, and that FHIR says the same as the form."""

from __future__ import annotations

import base64
import copy
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain.contract import Contract
from glp1_pipeline.domain.events import (
    REASONS,
    Event,
    Refused,
    Submission,
    parse_event,
    questionnaire_response_to_submission,
)
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline_tests.sample_inputs import contract

from .submissions import full_answers

CONTRACT: Contract = contract()
REMOVED = object()


def submitted(document: Any) -> tuple[Event, Submission]:
    """The event of a document that is a submission."""
    event, content = parse_event(document, CONTRACT)
    assert isinstance(content, Submission)
    return event, content


def cloud_event(**data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": "intake.submitted",
        "source": "/intake/web",
        "id": "evt-teapot-1",
        "subject": "acct-teapot",
        "time": "2026-11-22T16:00:01Z",
        "datacontenttype": "application/json",
        "data": {
            "submission_id": "6a4f2f0e-0000-4000-8000-000000000001",
            "client_submission_id": "c1",
            "form_id": "glp1-intake",
            "form_version": "3.0.0",
            "status": "completed",
            "authored_at": "2026-11-22T10:00:00-06:00",
            "received_at": "2026-11-22T16:00:00Z",
            "time_zone": "America/Chicago",
            "channel": "ios",
            "locale": "en-US",
            "ab_variant": "A",
            "duration_s": 412,
            "answers": {"hx.men2": "no"},
            **data,
        },
    }


def response(items: list[Any], **changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": "https://intake.invalid/Questionnaire/glp1-intake|3.0.0",
        "identifier": {"system": "urn:intake", "value": "sub-teapot"},
        "status": "completed",
        "subject": {"identifier": {"value": "acct-teapot"}},
        "authored": "2026-11-22T10:00:00-06:00",
        "item": items,
        **changes,
    }


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    *parents, last = path.split(".")
    at = document
    for parent in parents:
        at = at[parent]
    if value is REMOVED:
        del at[last]
    else:
        at[last] = value
    return document


def test_a_cloud_event_becomes_an_envelope_and_a_submission() -> None:
    event, submission = submitted(cloud_event())
    assert (event.source, event.source_id, event.type) == ("/intake/web", "evt-teapot-1", "intake.submitted")
    assert (event.subject, event.version) == ("acct-teapot", "3.0.0")
    assert event.occurred_at == datetime.fromisoformat("2026-11-22T16:00:01+00:00")
    assert submission.authored_at.isoformat() == "2026-11-22T10:00:00-06:00"
    assert (submission.status, submission.duration_s, submission.client_submission_id) == ("completed", 412, "c1")
    assert submission.answers == {"hx.men2": "no"}


@pytest.mark.parametrize("time", [REMOVED, None])
def test_an_event_without_a_time_of_its_own_happened_when_its_form_was_filled_in(time: Any) -> None:
    document = cloud_event()
    del document["time"]
    if time is not REMOVED:
        document["time"] = time  # what is null is not there, says CloudEvents
    event, content = submitted(document)
    assert event.occurred_at == content.authored_at


def test_a_time_may_have_any_number_of_digits_behind_its_seconds() -> None:
    event, _ = submitted(cloud_event() | {"time": "2026-11-22t16:00:01.123456789012z"})
    assert event.occurred_at.isoformat() == "2026-11-22T16:00:01.123456+00:00"


def test_an_amendment_says_what_it_amends() -> None:
    document = changed(cloud_event(supersedes="sub-0", reason="typo"), "type", "intake.amended")
    event, submission = submitted(document)
    assert (event.type, submission.status, submission.supersedes) == ("intake.amended", "amended", "sub-0")


@pytest.mark.parametrize(
    ("path", "value", "reason", "key"),
    [
        ("specversion", "0.3", "wrong_shape", "specversion"),
        ("type", "intake.exploded", "unknown_type", "type"),
        ("type", ["intake.submitted"], "unknown_type", "type"),
        ("source", "in take", "wrong_shape", "source"),
        ("id", "a\x00b", "wrong_shape", "id"),
        ("id", 7, "wrong_shape", "id"),
        ("id", "x" * 256, "wrong_shape", "id"),
        ("subject", REMOVED, "missing_subject", "subject"),
        ("subject", "pip@example.org", "missing_subject", "subject"),
        ("time", "yesterday", "bad_time", "time"),
        ("time", "2026-11-22T16:00:01", "bad_time", "time"),
        ("time", 1763827201, "bad_time", "time"),
        ("data", [], "wrong_shape", "data"),
        ("data.submission_id", REMOVED, "missing_submission_id", "data.submission_id"),
        ("data.submission_id", {}, "missing_submission_id", "data.submission_id"),
        ("data.form_id", "other-form", "unknown_form", "data.form_id"),
        ("data.form_version", "4.0.0", "unknown_version", "data.form_version"),
        ("data.form_version", 3, "unknown_version", "data.form_version"),
        ("data.status", "finished", "unknown_status", "data.status"),
        ("data.authored_at", "2026-11-22", "bad_time", "data.authored_at"),
        ("data.authored_at", "2126-11-22T10:00:00Z", "bad_time", "data.authored_at"),
        ("data.authored_at", "1970-01-01T00:00:00Z", "bad_time", "data.authored_at"),
        ("data.authored_at", "2026-11-22T10:00:00+14:01", "bad_time", "data.authored_at"),
        ("data.authored_at", "2026-11-22T10:00:00-23:59", "bad_time", "data.authored_at"),
        ("time", "2026-11-22T10:00:00-16:00", "bad_time", "time"),
        ("time", "\u0662\u0660\u0662\u0666-11-22T10:00:00Z", "bad_time", "time"),
        ("subject", "acct\ud800", "missing_subject", "subject"),
        ("source", "x\x00", "wrong_shape", "source"),
        ("data.time_zone", "America/\x00", "wrong_shape", "data.time_zone"),
        ("data.time_zone", "x" * 501, "wrong_shape", "data.time_zone"),
        ("data.received_at", "soon", "bad_time", "data.received_at"),
        ("data.time_zone", {"zone": 1}, "wrong_shape", "data.time_zone"),
        ("data.channel", "i\x00os", "wrong_shape", "data.channel"),
        ("data.answers", [], "wrong_shape", "data.answers"),
        ("data.answers", REMOVED, "wrong_shape", "data.answers"),
    ],
)
def test_a_refusal_names_the_reason_and_the_key_and_never_the_value(
    path: str, value: Any, reason: str, key: str
) -> None:
    with pytest.raises(Refused) as caught:
        parse_event(changed(cloud_event(), path, value), CONTRACT)
    assert (caught.value.reason, reason in REASONS) == (reason, True)
    assert f"`{key}`" in caught.value.hint
    assert "pip@example.org" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_amendment_without_what_it_amends_is_refused() -> None:
    with pytest.raises(Refused, match="missing_supersedes"):
        parse_event(changed(cloud_event(), "type", "intake.amended"), CONTRACT)


@pytest.mark.parametrize("document", [None, 7, "x", [], [{}]])
def test_what_is_no_object_is_refused(document: Any) -> None:
    with pytest.raises(Refused, match="not_an_object"):
        parse_event(document, CONTRACT)


def test_an_odd_duration_is_left_to_the_mapping_which_holds_it() -> None:
    _, submission = submitted(cloud_event(duration_s="a while"))
    assert submission.duration_s is None
    assert map_submission(CONTRACT, submission).values["sys.duration_s"]["held"] == "unreadable_number"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("resourceType", "Patient", "unknown_type"),
        ("questionnaire", "https://intake.invalid/Questionnaire/other|3.0.0", "unknown_form"),
        ("questionnaire", "https://intake.invalid/Questionnaire/glp1-intake", "unknown_version"),
        ("questionnaire", REMOVED, "unknown_form"),
        ("identifier", REMOVED, "missing_submission_id"),
        ("subject", {"display": "Pip Canary"}, "missing_subject"),
        ("status", "stopped", "unknown_status"),
        ("authored", "2026-11-22", "bad_time"),
        ("item", {}, "wrong_shape"),
        ("item", [{"answer": []}], "wrong_shape"),
        ("item", [{"linkId": "hx.men2", "answer": "no"}], "wrong_shape"),
    ],
)
def test_a_questionnaire_response_is_refused_for_the_same_reasons(path: str, value: Any, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        parse_event(changed(response([]), path, value), CONTRACT)


def test_two_amendments_of_one_response_are_two_events() -> None:
    first, second = (
        response([{"linkId": "hx.men2", "answer": [{"valueString": told}]}], status="amended") for told in ("yes", "no")
    )
    events = [submitted(document) for document in (first, second, copy.deepcopy(first))]
    ids = [event.source_id for event, _ in events]
    assert ids[0] == ids[2] != ids[1]
    assert all(event.type == "intake.amended" for event, _ in events)
    assert all(submission.supersedes == "sub-teapot" for _, submission in events)


def test_a_reason_for_absence_is_a_null_and_a_bare_item_is_a_blank() -> None:
    why = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "asked-declined"}
    items = [
        {"linkId": "hx.men2", "extension": [why]},
        {"linkId": "hx.t1dm", "answer": [{"_valueString": {"extension": [why]}}]},
        {"linkId": "hx.t2dm"},
    ]
    values = map_submission(CONTRACT, questionnaire_response_to_submission(response(items), CONTRACT)).values
    assert values["hx.men2"] == values["hx.t1dm"] == {"null": "declined"}
    assert values["hx.t2dm"] == {"null": "absent"}


def test_one_question_answered_twice_and_differently_is_held() -> None:
    items = [{"linkId": "hx.men2", "answer": [{"valueString": told}]} for told in ("yes", "no")]
    submission = questionnaire_response_to_submission(response(items), CONTRACT)
    assert map_submission(CONTRACT, submission).values["hx.men2"]["held"] == "conflicting_answers"


def test_sections_of_the_form_are_looked_into_and_unknown_questions_are_kept() -> None:
    inner = [{"linkId": "hx.men2", "answer": [{"valueBoolean": False}]}]
    unknown = {"linkId": "hx.new", "item": [{"linkId": "hx.new.part", "answer": [{"valueString": "x"}]}]}
    items = [{"linkId": "history", "item": [{"linkId": "page2", "item": inner}, unknown]}]
    submission = questionnaire_response_to_submission(response(items), CONTRACT)
    assert submission.answers == {"hx.men2": False, "hx.new": {"part": "x"}}


def as_fhir(link: str, raw: Any) -> list[dict[str, Any]]:
    """The items that a FHIR form would send for an answer of ours."""
    if isinstance(raw, list):
        if raw and all(isinstance(row, dict) for row in raw):
            return [item for row in raw for item in as_fhir(link, row)]
        return [{"linkId": link, "answer": [value_of(one) for one in raw]}]
    if isinstance(raw, dict) and "sha256" in raw:
        digest = base64.b64encode(bytes.fromhex(raw["sha256"])).decode()
        attachment = {"contentType": raw["content_type"], "hash": digest, "url": raw["url"]}
        return [{"linkId": link, "answer": [{"valueAttachment": attachment}]}]
    if isinstance(raw, dict) and "value" not in raw:
        return [{"linkId": link, "item": [i for key, part in raw.items() for i in as_fhir(f"{link}.{key}", part)]}]
    return [{"linkId": link, "answer": [value_of(raw)]}]


def value_of(raw: Any) -> dict[str, Any]:
    if isinstance(raw, dict):
        return {"valueQuantity": raw}
    if isinstance(raw, bool):
        return {"valueBoolean": raw}
    if isinstance(raw, int):
        return {"valueInteger": raw}
    if isinstance(raw, float):
        return {"valueDecimal": raw}
    codes = any(field.codes and raw in CONTRACT.codes[field.codes] for field in CONTRACT.fields.values())
    return {"valueCoding": {"code": raw}} if codes else {"valueString": raw}


def chosen(name: str) -> st.SearchStrategy[Any]:
    """Clean, odd and impossible answers to a field."""
    field, usual = CONTRACT.fields[name], [full_answers()[name]]
    text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
    if field.codes and field.type == "code":
        return st.sampled_from([code.spelling for code in CONTRACT.codes[field.codes].values()]) | text
    if field.type == "codes" and field.codes:
        return st.lists(
            st.sampled_from([c.code for c in CONTRACT.codes[field.codes].values()]), min_size=1, unique=True
        )
    if field.type in ("tri", "boolean"):
        return st.sampled_from(["yes", "no", "true", "unsure", "maybe", True, False])
    if field.type == "quantity":
        units = st.sampled_from(["cm", "kg", "lb", "m", "in", "[lb_av]", "parsec"])
        return st.fixed_dictionaries({"value": st.integers(1, 500), "unit": units}) | st.sampled_from(usual)
    return st.sampled_from(usual) | text if field.type in ("string", "date") else st.sampled_from(usual)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional={name: chosen(name) for name in full_answers()}))
def test_fhir_and_json_of_one_submission_have_equal_values(answers: dict[str, Any]) -> None:
    _, ours = submitted(cloud_event(answers=answers, time_zone="", ab_variant=None, duration_s=None))
    items = [item for name, raw in answers.items() for item in as_fhir(name, raw)]
    _, theirs = submitted(response(items))
    mapped, other = map_submission(CONTRACT, ours), map_submission(CONTRACT, theirs)
    for own in ("sys.client_submission_id", "demo.timezone"):
        mapped.values.pop(own, None)
        other.values.pop(own, None)
    assert other.values == mapped.values
    assert (other.contradictions, set(other.problems)) == (mapped.contradictions, set(mapped.problems))


def test_fhir_parts_that_disagree_and_limits_are_held() -> None:
    items = [
        {"linkId": "hx.men2", "answer": [{"valueCoding": {"code": "no", "display": "Yes"}}]},
        {"linkId": "anthro.weight", "answer": [{"valueQuantity": {"value": 180, "unit": "lb", "comparator": "<"}}]},
        {"linkId": "anthro.height", "answer": [{"valueQuantity": {"value": 70, "unit": "in", "code": "cm"}}]},
    ]
    values = map_submission(CONTRACT, questionnaire_response_to_submission(response(items), CONTRACT)).values
    causes = [values[name]["held"] for name in ("hx.men2", "anthro.weight", "anthro.height")]
    assert causes == ["conflicting_answers", "comparator", "conflicting_units"]


def test_the_widest_offsets_on_earth_are_taken_and_kept() -> None:
    for offset in ("+14:00", "-12:00"):
        _, submission = submitted(cloud_event(authored_at=f"2026-11-22T10:00:00{offset}"))
        assert submission.authored_at.isoformat() == f"2026-11-22T10:00:00{offset}"


def entered(document: dict[str, Any]) -> str:
    try:
        event, submission = submitted(document)
    except Refused as refused:
        return refused.reason
    for text in (event.source, event.source_id, event.type, event.version, event.subject, submission.submission_id,
                 submission.status, submission.time_zone, submission.supersedes or ""):  # fmt: skip
        assert len(text) <= 500
        assert text.isascii()
        assert text.isprintable()
    map_submission(CONTRACT, submission)
    return "entered"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted({*cloud_event(), *cloud_event()["data"]})), JSON)
def test_any_value_of_any_key_is_taken_or_refused_and_nothing_else(key: str, value: Any) -> None:
    document = cloud_event()
    (document if key in document else document["data"])[key] = value
    assert entered(document) in {"entered", *REASONS}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(response([]))), JSON, JSON)
def test_any_value_of_any_element_is_taken_or_refused_and_nothing_else(key: str, value: Any, answer: Any) -> None:
    items = [{"linkId": "hx.men2", "answer": [{"valueString": answer}], "item": answer}]
    document = response(items) | {key: value}
    assert entered(document) in {"entered", *REASONS}
