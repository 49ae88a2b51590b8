"""The QuestionnaireResponse: every answer as it was received, in the spelling that FHIR can carry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline.domain import fhir
from glp1_pipeline.domain.events import Submission
from glp1_pipeline.domain.mapping.told import spelled
from glp1_pipeline_tests.fhir_rules import as_sent, problems
from glp1_pipeline_tests.sample_inputs import contract

CONTRACT = contract()


def response(answers: dict[str, Any], **changed: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "submission_id": "sub-0",
        "form_id": "glp1-intake",
        "form_version": "3.0.0",
        "status": "completed",
        "authored_at": datetime(2026, 3, 2, 23, 58, tzinfo=timezone(-timedelta(hours=6))),
        "received_at": datetime(2026, 3, 3, 5, 59, tzinfo=UTC),
        "time_zone": "America/Chicago",
        "channel": "ios",
        "locale": "en-US",
        "ab_variant": "B",
        "duration_s": 412,
        "supersedes": None,
        "answers": answers,
    }
    made = as_sent(fhir.questionnaire_response(CONTRACT, Submission(**told | changed), "canary-1"))
    assert problems(made) == []
    return made


def items(answers: dict[str, Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in item.items() if k != "text"} for item in response(answers)["item"]]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("82,5 kg", [{"valueString": "82,5 kg"}]),
        (True, [{"valueBoolean": True}]),
        (60, [{"valueInteger": 60}]),
        (2**31, [{"valueDecimal": 2**31}]),
        (10**30, [{"valueString": "1" + "0" * 30}]),
        (82.5, [{"valueDecimal": 82.5}]),
        (float("inf"), [{"valueString": "inf"}]),
        ({"value": 180, "unit": "lb"}, [{"valueQuantity": {"value": 180, "unit": "lb"}}]),
        (["htn", "osa"], [{"valueString": "htn"}, {"valueString": "osa"}]),
    ],
)
def test_an_answer_keeps_its_type(answer, told):
    assert items({"canary": answer}) == [{"linkId": "canary", "answer": told}]


NULLS = {spelling: code.code for spelling, code in CONTRACT.codes["null_answers"].items()}
around = st.text(st.sampled_from(" .!,\u0301\u200b\u200e\u00a0\x01a1"), max_size=2)
near_spellings = st.builds(
    lambda before, spelling, is_loud, after: before + (spelling.upper() if is_loud else spelling) + after,
    around, st.sampled_from(sorted(NULLS)), st.booleans(), around,
)  # fmt: skip


@given(st.text(max_size=39) | st.text(st.characters(max_codepoint=127), max_size=39) | near_spellings)
def test_a_reason_is_known_however_it_is_written_and_no_answer_is_taken_for_one(text):
    (item,) = items({"demo.dob": text})
    means = spelled(NULLS, text)
    shown = item.get("answer", [{"valueString": ""}])[0]
    if means is None or means == "absent":
        assert shown.keys() == {"valueString"}
        assert (means is None) or "answer" not in item
    else:
        assert shown["valueCoding"]["code"] == {
            "unknown": "asked-unknown", "declined": "asked-declined", "not_applicable": "not-applicable"
        }[means]  # fmt: skip


def test_a_part_is_called_after_its_question_whether_the_contract_names_it_or_not():
    told = {"city": "Austin", "planet": "Earth", "zip": None}
    (item,) = items({"demo.address": told})
    assert [part["linkId"] for part in item["item"]] == [f"demo.address.{name}" for name in told]
    assert item == items({"demo.address": [told]})[0]
    (unknown,) = items({"canary": told})
    assert [part.get("answer") for part in unknown["item"]] == [part.get("answer") for part in item["item"]]


def test_a_group_becomes_nested_items():
    inner = [{"linkId": "h.ft", "answer": [{"valueInteger": 5}]}, {"linkId": "h.in", "answer": [{"valueInteger": 11}]}]
    assert items({"h": {"ft": 5, "in": 11}}) == [{"linkId": "h", "item": inner}]


def test_a_list_of_groups_repeats_its_item():
    assert [item["linkId"] for item in items({"meds": [{"name": "zinc"}, {"name": "iron"}]})] == ["meds", "meds"]


@pytest.mark.parametrize("blank", [None, "", "  ", [], {}, [None, ""], "\u2028"])
def test_a_blank_question_is_listed_without_an_answer(blank):
    assert items({"canary": blank}) == [{"linkId": "canary"}]


def test_a_question_that_no_contract_knows_is_kept():
    assert items({"favourite bird?": "canary"}) == [
        {"linkId": "favourite bird?", "answer": [{"valueString": "canary"}]}
    ]


def test_characters_that_fhir_forbids_are_replaced_and_no_others():
    told = items({"canary": "a\x00b\ud83dc\td\u00a0e🤢<script>"})[0]["answer"][0]["valueString"]
    assert told == "a\ufffdb\ufffdc\td\u00a0e🤢<script>"
    orjson.dumps(told)


def test_a_huge_answer_is_cut_and_tells_where_the_rest_is():
    told = items({"canary": "ä" * 1024 * 1024})[0]["answer"][0]["valueString"]
    assert len(told.encode()) <= 1024 * 1024
    assert told.endswith("kept with submission sub-0]")


def test_what_is_nested_past_all_sense_is_shown_as_text():
    deep: Any = "canary"
    for _ in range(2000):
        deep = {"x": deep}
    assert "nested too deep" in str(response({"deep": deep}))


def test_the_instant_keeps_the_offset_it_was_told_in():
    assert response({})["authored"] == "2026-03-02T23:58:00-06:00"


def test_the_submission_tells_its_form_version_and_zone():
    made = response({})
    details = {detail["url"]: detail for detail in made["extension"][0]["extension"]}
    assert made["questionnaire"] == "urn:glp1-pipeline:questionnaire:glp1-intake|3.0.0"
    assert details["timeZone"]["valueString"] == "America/Chicago"
    assert made["identifier"]["value"] == "sub-0"


@pytest.mark.parametrize(
    ("status", "supersedes", "shown"),
    [("completed", None, "completed"), ("completed", "sub-9", "amended"), ("in-progress", None, "in-progress")],
)
def test_an_amendment_is_told_from_a_first_answer_and_a_draft(status, supersedes, shown):
    assert response({}, status=status, supersedes=supersedes)["status"] == shown


def test_a_submission_sent_again_in_another_event_is_the_same_answers():
    """No id of an event is in it: a resend would otherwise be a change, and whichever came last would stand."""
    assert "event" not in str(response({"canary": "yes"}))
