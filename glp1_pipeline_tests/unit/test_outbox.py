"""What delivery decides, without a server: classes of answers, times, the breaker, and whose content it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline.domain.contract import WriteKind
from glp1_pipeline.domain.fhir.elements import RESOURCE_SYSTEM
from glp1_pipeline.domain.outbox import (
    EDITED_SINCE,
    Breaker,
    Found,
    after_failure,
    after_success,
    backoff_seconds,
    conditional_transaction,
    decide,
    first_creates,
    is_over_at_last,
    is_same,
    judge,
    keys_of,
    rest_as_batch,
    retry_after_seconds,
    trouble_of,
    without,
    worst_of,
)
from glp1_pipeline.domain.outbox.exchange import identity_query
from glp1_pipeline.domain.outbox.retry import LONGEST_PAUSE_SECONDS, POLICIES

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KIND = WriteKind(
    kind="ehr_chart",
    target="ehr",
    description="",
    max_tries=4,
    first_retry_seconds=2,
    max_retry_seconds=60,
    give_up_after_hours=24,
    rollback="restore",
)
ME = {"resourceType": "Patient", "id": "p1", "identifier": [{"system": RESOURCE_SYSTEM, "value": "p1"}], "active": True}
WEIGHT = {
    "resourceType": "Observation",
    "id": "o1",
    "identifier": [{"system": RESOURCE_SYSTEM, "value": "o1"}],
    "status": "preliminary",
    "subject": {"reference": "Patient/p1"},
    "derivedFrom": [{"reference": "QuestionnaireResponse/q1"}],
}
ANSWERS = {
    "resourceType": "QuestionnaireResponse",
    "id": "q1",
    "status": "completed",
    "subject": {"reference": "Patient/p1"},
}
PROOF = {
    "resourceType": "Provenance",
    "id": "v1",
    "target": [{"reference": "Patient/p1"}, {"reference": "Observation/o1"}],
}
TYPES = {"Patient", "Observation"}


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    entries = [
        {
            "fullUrl": f"urn:uuid:{r['id']}",
            "resource": r,
            "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"},
        }
        for r in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def never() -> dict[str, list[dict[str, Any]]]:
    raise AssertionError("earlier writes were asked for without need")


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (200, None), (201, None), (204, None), (302, "redirected"), (400, "rejected"), (401, "unauthorized"),
        (403, "forbidden"), (404, "rejected"), (408, "unavailable"), (409, "moved"), (410, "rejected"),
        (412, "moved"), (422, "rejected"), (425, "unavailable"), (429, "throttled"), (500, "unavailable"),
        (503, "unavailable"), (599, "unavailable"), (0, "unavailable"),
    ],
)  # fmt: skip
def test_each_status_has_one_meaning(status: int, trouble: str | None) -> None:
    assert trouble_of(status) == trouble


@given(st.sets(st.sampled_from(sorted(POLICIES))))
def test_of_several_troubles_one_decides_and_it_is_one_of_them(troubles: set[Any]) -> None:
    assert worst_of(troubles) in (troubles or {None})


def test_of_several_troubles_the_one_that_no_retry_mends_decides() -> None:
    assert worst_of({"moved", "unavailable", "rejected", "throttled"}) == "rejected"
    assert worst_of({"moved", "unavailable", "throttled"}) == "throttled"


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_never_passes_its_ceiling(tries: int, random: float) -> None:
    assert 0 <= backoff_seconds(2, 60, tries, random) <= min(60, 2 * 2.0 ** max(min(tries - 1, 60), 0))


def test_backoff_doubles_by_try_and_spreads_over_all_of_it() -> None:
    assert [backoff_seconds(2, 60, tries, 1.0) for tries in (1, 2, 3, 9)] == [2, 4, 8, 60]
    assert backoff_seconds(2, 60, 9, 0.0) == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7), (" 7 ", 7), (format_datetime(datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC), usegmt=True), 30),
        (format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True), 0), ("999999999999", 86400), ("soon", None),
        ("-3", None), ("", None), (None, None), ("٣", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_its_spellings(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_header_breaks_us(header: str) -> None:
    seconds = retry_after_seconds(header, NOW)
    assert seconds is None or 0 <= seconds <= 86400


def test_what_never_left_us_is_ready_and_what_may_have_landed_is_in_doubt() -> None:
    def status(trouble: Any, **more: Any) -> str:
        return decide(KIND, trouble, tries=1, age_hours=0, random=0.5, **more).status

    assert status("unreachable") == "ready"
    assert status("throttled") == "ready"
    assert status("no_answer") == status("unavailable") == status("rubbish") == "in_doubt"
    assert status("throttled", is_partial=True) == "in_doubt"
    assert status("rejected") == "dead"


def test_a_rejected_write_blocks_its_lane_with_the_reason() -> None:
    decision = decide(KIND, "rejected", tries=1, age_hours=0, random=0.5)
    assert (decision.outcome, decision.blocked) == ("dead", "rejected")


def test_a_write_is_given_up_by_tries_and_by_age() -> None:
    assert decide(KIND, "unavailable", tries=3, age_hours=1, random=0.5).status == "in_doubt"
    assert decide(KIND, "unavailable", tries=4, age_hours=1, random=0.5).blocked == "gave_up_unavailable"
    assert decide(KIND, "unreachable", tries=400, age_hours=1, random=0.5).status == "ready"
    assert decide(KIND, "unreachable", tries=1, age_hours=24, random=0.5).status == "dead"


@pytest.mark.parametrize(
    "trouble", ["unauthorized", "forbidden", "throttled", "redirected", "unreadable", "store_away"]
)
def test_what_is_not_the_writes_fault_never_kills_it(trouble: Any) -> None:
    decision = decide(KIND, trouble, tries=400, age_hours=4000, random=0.5)
    assert decision.status == "ready"
    assert not decision.burns_try


def test_while_the_target_is_unwell_for_all_no_write_comes_nearer_to_its_death_but_by_its_own_fault() -> None:
    def told(trouble: Any) -> Any:
        return decide(KIND, trouble, tries=400, age_hours=1, random=0.5, is_target_unwell=True)

    for trouble in ("unavailable", "no_answer", "rubbish", "unreachable"):
        assert (told(trouble).status != "dead", told(trouble).burns_try) == (True, False), trouble
    assert told("rejected").blocked == "rejected"
    assert told("moved").blocked == "gave_up_moved"
    assert decide(KIND, "unavailable", tries=1, age_hours=240, random=0.5, is_target_unwell=True).status == "in_doubt"
    assert decide(KIND, "moved", tries=1, age_hours=24, random=0.5, is_target_unwell=True).status == "dead"


def test_a_retry_waits_at_least_as_long_as_it_was_told() -> None:
    assert decide(KIND, "unavailable", tries=1, age_hours=0, random=0.0, retry_after=9).delay_seconds == 9
    assert decide(KIND, "unavailable", tries=1, age_hours=0, random=1.0, retry_after=1).delay_seconds == 2


def test_a_key_waits_for_a_person_and_our_own_database_for_moments() -> None:
    delays = [
        decide(KIND, trouble, tries=1, age_hours=0, random=1.0).delay_seconds
        for trouble in ("unreadable", "store_away")
    ]
    assert delays == [KIND.max_retry_seconds, KIND.first_retry_seconds]


@pytest.mark.parametrize("random", [0.0, 0.3, 1.0])
def test_what_may_still_be_at_work_there_is_never_asked_about_at_once(random: float) -> None:
    assert 1 <= decide(KIND, "no_answer", tries=1, age_hours=0, random=random).delay_seconds <= 2
    assert 4 <= decide(KIND, "no_answer", tries=3, age_hours=0, random=random).delay_seconds <= 8


def test_the_breaker_opens_after_five_failures_in_a_row_and_no_sooner() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker, seconds = after_failure(breaker, "no_answer", KIND, 0.5)
        assert (breaker.state, seconds) == ("closed", None)
    assert after_success(breaker) == Breaker()
    breaker, seconds = after_failure(breaker, "no_answer", KIND, 0.0)
    assert breaker == Breaker("open", 5, "no_answer")
    assert seconds == 1.0


def test_a_patients_own_trouble_leaves_the_breaker_closed_and_proves_the_target_well() -> None:
    for trouble in ("rejected", "moved"):
        assert after_failure(Breaker("closed", 4, "no_answer"), trouble, KIND, 0.5) == (Breaker(), None)
    for trouble in ("unreadable", "store_away"):
        assert after_failure(Breaker("closed", 4), trouble, KIND, 0.5) == (Breaker("closed", 4), None)


def test_being_told_off_opens_it_at_once_for_as_long_as_told() -> None:
    assert after_failure(Breaker(), "throttled", KIND, 0.5, 11.0) == (Breaker("open", 1, "throttled"), 11.0)
    breaker, seconds = after_failure(Breaker(), "unauthorized", KIND, 0.5)
    assert breaker.state == "open"
    assert seconds is not None
    assert seconds > 0


def test_only_the_trial_call_closes_it_and_a_failed_trial_opens_it_for_longer() -> None:
    opened = Breaker("open", 5, "no_answer")
    assert after_success(opened) == opened
    assert after_failure(opened, "no_answer", KIND, 0.5) == (opened, None)
    assert after_success(Breaker("half_open", 5)) == Breaker()
    again, seconds = after_failure(Breaker("half_open", 5), "no_answer", KIND, 1.0)
    assert (again.state, again.failures, seconds) == ("open", 6, 4.0)


def test_a_target_that_stays_away_is_tried_each_minute() -> None:
    hours = KIND.model_copy(update={"max_retry_seconds": 900})
    for trouble in ("no_answer", "unauthorized"):
        assert after_failure(Breaker("half_open", 400), trouble, hours, 1.0)[1] == LONGEST_PAUSE_SECONDS == 60


def test_only_a_long_outage_that_is_over_wakes_what_waits() -> None:
    hours = KIND.model_copy(update={"max_retry_seconds": 900})
    assert is_over_at_last(Breaker("half_open", 10), Breaker(), hours)
    assert not is_over_at_last(Breaker("half_open", 9), Breaker(), hours)
    assert not is_over_at_last(Breaker("half_open", 10), Breaker("open", 11), hours)
    assert not is_over_at_last(Breaker("closed", 4), Breaker(), hours)


def test_the_unknown_is_only_created_and_the_known_only_updated_at_its_version() -> None:
    made = conditional_transaction(bundle(ME, WEIGHT), {"Patient/p1": ["p1", "a-b-c"]})
    assert [e["request"] for e in made["entry"]] == [
        {"method": "PUT", "url": "Patient/p1", "ifMatch": 'W/"a-b-c"'},
        {"method": "PUT", "url": "Observation/o1", "ifNoneMatch": "*"},
    ]


def test_adding_conditions_leaves_the_write_as_it_was() -> None:
    original = bundle(ME, WEIGHT)
    conditional_transaction(original, {})
    rest_as_batch(original, {"Patient/p1": ["77", "1"]}, keys_of(original), TYPES)
    assert original == bundle(ME, WEIGHT)


def test_a_server_that_makes_ids_gets_first_what_others_refer_to() -> None:
    whole = bundle(ME, WEIGHT, ANSWERS, PROOF)
    keys, first = first_creates(whole, {}, keys_of(whole), TYPES)
    assert keys == ["Patient/p1", "QuestionnaireResponse/q1"]
    patient, answers = first["entry"]
    assert patient["request"] == {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier={RESOURCE_SYSTEM}|p1"}
    assert answers["request"]["ifNoneExist"] == f"_tag={RESOURCE_SYSTEM}|q1"
    assert answers["resource"]["meta"]["tag"] == [{"system": RESOURCE_SYSTEM, "code": "q1"}]
    assert answers["resource"]["subject"] == {"reference": "urn:uuid:p1"}
    assert "id" not in patient["resource"]


def test_the_rest_refers_by_the_servers_ids_or_by_our_identifier() -> None:
    whole = bundle(ME, WEIGHT, ANSWERS, PROOF)
    remote = {"Patient/p1": ["77", "1"], "QuestionnaireResponse/q1": ["78", "1"]}
    keys, rest = rest_as_batch(whole, remote, ["Observation/o1", "Provenance/v1"], TYPES)
    assert keys == ["Observation/o1", "Provenance/v1"]
    weight, proof = (entry["resource"] for entry in rest["entry"])
    assert weight["subject"] == {"reference": "Patient/77"}
    assert weight["derivedFrom"] == [{"reference": "QuestionnaireResponse/78"}]
    assert proof["target"] == [
        {"reference": "Patient/77"},
        {"type": "Observation", "identifier": {"system": RESOURCE_SYSTEM, "value": "o1"}},
    ]


def test_what_a_server_may_add_is_no_change_and_what_a_person_says_is() -> None:
    back = {"Patient/77": "Patient/p1", "QuestionnaireResponse/78": "QuestionnaireResponse/q1"}
    theirs = {
        **WEIGHT,
        "id": "79",
        "meta": {"versionId": "4"},
        "text": {"status": "generated"},
        "subject": {"reference": "https://ehr.example/fhir/Patient/77"},
        "derivedFrom": [{"reference": "QuestionnaireResponse/78", "type": "QuestionnaireResponse"}],
    }
    assert is_same(WEIGHT, theirs, back)
    assert not is_same(WEIGHT, {**theirs, "status": "final"}, back)
    assert not is_same(WEIGHT, {**theirs, "note": [{"text": "seen"}]}, back)
    assert not is_same(WEIGHT, {**theirs, "subject": {"reference": "Patient/1"}}, back)
    assert not is_same(WEIGHT, None, back)


def test_a_reference_by_our_identifier_is_the_same_as_one_by_id() -> None:
    by_identifier = {"type": "Observation", "identifier": {"system": RESOURCE_SYSTEM, "value": "o1"}}
    assert is_same({**PROOF}, {**PROOF, "target": [{"reference": "Patient/p1"}, by_identifier]}, {})


def judged(
    found: Mapping[str, Found | None], remote: dict[str, list[str]], earlier: Any = never, atomic: bool = True
) -> Any:
    return judge({"Patient/p1": ME, "Observation/o1": WEIGHT}, remote, found, earlier, is_atomic=atomic)


def test_nothing_there_is_sent() -> None:
    verdict = judged({"Patient/p1": None, "Observation/o1": None}, {})
    assert verdict.send == {"Patient/p1": None, "Observation/o1": None}
    assert not verdict.landed
    assert not verdict.conflicts


def test_our_own_content_is_adopted() -> None:
    found = {"Patient/p1": Found("p1", "4", ME), "Observation/o1": Found("o1", "2", WEIGHT)}
    verdict = judged(found, {})
    assert verdict.landed
    assert verdict.done == {"Patient/p1": ["p1", "4"], "Observation/o1": ["o1", "2"]}


def test_a_version_that_stands_may_be_written_over() -> None:
    found = {"Patient/p1": Found("p1", "4", {**ME, "active": False}), "Observation/o1": None}
    verdict = judged(found, {"Patient/p1": ["p1", "4"]})
    assert verdict.send == {"Patient/p1": ["p1", "4"], "Observation/o1": None}


def test_a_version_that_moved_is_ours_only_if_it_says_what_we_said() -> None:
    was = {**ME, "active": False}
    found = {"Patient/p1": Found("p1", "5", was), "Observation/o1": None}
    assert judged(found, {"Patient/p1": ["p1", "4"]}, lambda: {"Patient/p1": [was]}).send["Patient/p1"] == ["p1", "5"]
    for remote in ({"Patient/p1": ["p1", "4"]}, {}):
        verdict = judged(found, remote, dict)
        assert verdict.conflicts == {"Patient/p1": "edited_in_ehr"}
        assert verdict.places == {"Patient/p1": ["p1", "5"]}
        assert verdict.send == {"Observation/o1": None}  # nothing of the rest waits for it


def test_deleted_and_doubled_are_for_a_person() -> None:
    known = {"Patient/p1": ["p1", "4"]}
    for there in (Found("p1", "", None), None):
        verdict = judged({"Patient/p1": there, "Observation/o1": None}, known)
        assert verdict.conflicts == {"Patient/p1": "deleted_in_ehr"}
        assert verdict.places == {"Patient/p1": ["p1", EDITED_SINCE]}
        assert verdict.send == {"Observation/o1": None}
    twice = {"Patient/p1": Found("p1", "1", ME, matches=2), "Observation/o1": None}
    assert judged(twice, {}).conflicts == {"Patient/p1": "duplicated_in_ehr"}


def test_what_is_in_conflict_is_held_at_any_version_until_a_person_decides_or_it_says_what_we_say() -> None:
    theirs = Found("p1", "5", {**ME, "active": False})
    sent, remote = {"Patient/p1": ME, "Observation/o1": WEIGHT}, {"Patient/p1": ["p1", "5"]}
    found = {"Patient/p1": theirs, "Observation/o1": None}
    held = judge(sent, remote, found, dict, is_atomic=True, held={"Patient/p1"})
    assert (held.conflicts, held.send) == ({"Patient/p1": "edited_in_ehr"}, {"Observation/o1": None})
    decided = judge(sent, remote, found, never, is_atomic=True)
    assert (decided.conflicts, decided.send["Patient/p1"]) == ({}, ["p1", "5"])
    ended = judge(sent, remote, {**found, "Patient/p1": Found("p1", "6", ME)}, never, is_atomic=True, held=sent)
    assert (ended.conflicts, ended.done) == ({}, {"Patient/p1": ["p1", "6"]})


def test_what_was_deleted_is_made_again_only_where_a_person_insists() -> None:
    gone = {"Patient/p1": Found("p1", "", None)}
    assert judge({"Patient/p1": ME}, {}, gone, never, is_atomic=True).conflicts
    verdict = judge({"Patient/p1": ME}, {}, gone, never, is_atomic=True, insisted={"Patient/p1"})
    assert (verdict.conflicts, verdict.send) == ({}, {"Patient/p1": None})


def test_a_write_of_which_nothing_is_left_sends_no_provenance_of_nothing() -> None:
    sent = {"Patient/p1": ME, "Provenance/v1": PROOF}
    found = {"Patient/p1": Found("p1", "5", {**ME, "active": False}), "Provenance/v1": None}
    verdict = judge(sent, {"Patient/p1": ["p1", "4"]}, found, dict, is_atomic=True)
    assert verdict.landed
    assert not verdict.send
    assert set(verdict.conflicts) == {"Patient/p1"}


def test_a_write_without_some_of_its_resources_keeps_the_others_as_they_are() -> None:
    whole = bundle(ME, WEIGHT, ANSWERS)
    assert without(whole, {"Patient/p1"}) == bundle(WEIGHT, ANSWERS)
    assert whole == bundle(ME, WEIGHT, ANSWERS)


def test_a_transaction_whose_provenance_is_there_landed_and_an_edit_since_is_remembered() -> None:
    sent = {"Patient/p1": ME, "Provenance/v1": PROOF}
    found = {"Patient/p1": Found("p1", "3", {**ME, "active": False}), "Provenance/v1": Found("v1", "1", PROOF)}
    verdict = judge(sent, {}, found, never, is_atomic=True)
    assert verdict.landed
    assert verdict.done == {"Provenance/v1": ["v1", "1"]}
    assert verdict.conflicts == {"Patient/p1": "edited_in_ehr"}
    assert verdict.places == {"Patient/p1": ["p1", "3"]}
    in_parts = judge({**sent, "Observation/o1": WEIGHT}, {}, {**found, "Observation/o1": None}, dict, is_atomic=False)
    assert in_parts.send == {"Observation/o1": None}


@pytest.mark.parametrize("kind", ["Provenance", "AuditEvent"])
def test_what_has_no_identifier_in_fhir_is_found_by_its_tag_whatever_a_server_offers(kind: str):
    assert identity_query(f"{kind}/x", None, {kind}) == f"_tag={RESOURCE_SYSTEM}|x"
    assert identity_query("DetectedIssue/x", None, {"DetectedIssue"}) == f"identifier={RESOURCE_SYSTEM}|x"
    assert identity_query("DetectedIssue/x", None, set()) == f"_tag={RESOURCE_SYSTEM}|x"
