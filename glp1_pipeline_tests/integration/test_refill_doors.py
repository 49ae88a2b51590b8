"""The doors of check-ins and refills: what the command line says of requests, decisions, patients and events."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from glp1_pipeline import contracts
from glp1_pipeline.adapters.refills.records import rules_of
from glp1_pipeline.cli import main
from glp1_pipeline.cli.refill import OUTCOMES, STATUSES
from glp1_pipeline.domain.refill_model import Outcome, RefillRules, version_of
from glp1_pipeline_tests import treatments
from glp1_pipeline_tests.refill_road import (
    NEW_FLAG,
    SIDE_EFFECT,
    WINDOW_ON,
    ask,
    begin,
    held,
    patient_of,
    reachable_road,
    request_of,
    ring,
    say,
    stands,
)
from glp1_pipeline_tests.refills import by_provider, checkin, requested
from glp1_pipeline_tests.small_road import SmallRoad, submission
from glp1_pipeline_tests.test_house import ROOT
from glp1_pipeline_tests.treatments import dispensed, ordered


@pytest.fixture
def road(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallRoad]:
    with reachable_road(url, tmp_path, monkeypatch) as made:
        yield made


# Requests


def test_the_words_to_choose_from_are_those_of_the_domain():
    assert set(OUTCOMES) == set(Outcome.__args__)
    assert {"open", "closed", "approved", "denied", "dispensed", "replaced"} == set(STATUSES)


def test_requests_are_listed_by_outcome_and_status_without_a_value(road: SmallRoad):
    escalated = held(road, **SIDE_EFFECT)
    queued = held(road, "canary-0000002")
    road.send(by_provider("refill.denied", 26, account="canary-0000002", refill_id="request-25", reason_code="seen"))
    (found,) = ask("refill", "list")
    assert (found["refill_id"], found["outcome"], found["rule"]) == (escalated, "escalate", "side_effect")
    assert [one["refill_id"] for one in ask("refill", "list", "--status", "denied")] == [queued]
    assert {one["refill_id"] for one in ask("refill", "list", "--status", "all")} == {escalated, queued}
    assert ask("refill", "list", "--outcome", "hold_urgent") == []
    told = say("refill", "list", "--status", "all")
    assert f"{escalated}  patient {patient_of(road)}  open: escalate by side_effect" in told
    assert not {"104", "Canary", "nausea"} & set(told.replace(",", " ").split())


def test_a_request_shows_every_decision_and_who_let_it_through(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    road.send(checkin(26))
    for name in (refill_id, patient_of(road), "canary-0000001"):
        (found,) = ask("refill", "show", name)
        assert [made["rule"] for made in found["made"]] == ["side_effect", "complete"]
        assert found["decision_id"] == found["made"][-1]["decision_id"]
    told = say("refill", "show", refill_id)
    assert "escalate by side_effect" in told
    assert "* 2026-05-31 15:00 UTC  provider_queue by complete" in told
    assert "no patient and no request" in ask("refill", "show", "nobody", code=1)


# Records


def test_a_decision_is_explained_with_every_input_and_decides_again_the_same(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    found = ask("refill", "explain", refill_id)
    assert (found["again"], found["differs"], found["sha256_is_right"]) == ("same", [], True)
    inputs = {one["name"]: one for one in found["inputs"]}
    weight = inputs["anthro.weight"]
    assert (weight["value"], weight["source"], weight["voice"]) == (104.0, "followup", "reported")
    assert weight["at"] == "2026-05-27"
    assert 3 < weight["age_days"] < 4
    assert inputs["dose_mg"]["voice"] == "verified"
    assert found["rules_version"] == contracts.load().refills.version
    assert found["rules_asked"][-1] == {"rule": "side_effect", "said": "decides"}
    told = say("refill", "explain", found["decision_id"])
    assert "escalate by rule side_effect: A side effect is severe, or moderate and has lasted." in told
    assert "because of nausea:severe" in told
    assert "proposed to the provider, and never done: hold_step_or_step_down" in told
    assert "decided again from this record by the same rules: same" in told
    assert "has this id" in ask("refill", "explain", str(uuid.uuid4()), code=1)


def test_an_old_decision_is_explained_by_the_rules_of_its_day(road: SmallRoad):
    refill_id = held(road, weight={"value": 93.0, "unit": "kg"})
    assert stands(road, refill_id) == ("hold", "weight_change")
    was = ask("refill", "explain", refill_id)["rules_version"]
    looser = RefillRules(**{**road.contract.refills.model_dump(), "weight_change_percent": 20.0})
    road.under(road.contract.model_copy(update={"refills": looser, "version": "another"})).replay()
    assert stands(road, refill_id) == ("provider_queue", "complete")
    (shown,) = ask("refill", "show", refill_id)
    for made in shown["made"]:
        found = ask("refill", "explain", made["decision_id"])
        assert found["again"] == "same"
        assert found["rules_version"] == made["rules_version"]
    assert {made["rules_version"] for made in shown["made"]} == {was, looser.version}


def test_a_record_that_is_not_what_was_kept_is_told(road: SmallRoad):
    first, second = held(road, **SIDE_EFFECT), held(road, "canary-0000002")
    (mine,) = road.rows("select decision_id::text, body, kid from phi.refill_decisions where refill_id = %s", first)
    (theirs,) = road.rows("select body, kid from phi.refill_decisions where refill_id = %s", second)
    road.connection.execute(
        "update phi.refill_decisions set body = %s, kid = %s where decision_id = %s", (*theirs, mine[0])
    )
    told = ask("refill", "explain", first, code=1)
    assert "is not the one that was made" in told
    forged = orjson.dumps({"refill_id": first, "decision": {"outcome": "provider_queue"}})
    kid, body = road.cipher.seal(forged, f"refill_decisions|{mine[0]}")
    road.connection.execute(
        "update phi.refill_decisions set body = %s, kid = %s where decision_id = %s", (body, kid, mine[0])
    )
    assert "its hash differs" in ask("refill", "explain", first, code=1)
    road.connection.execute(
        "update phi.refill_decisions set body = %s, kid = %s where decision_id = %s", (mine[1], mine[2], mine[0])
    )
    road.connection.execute("update ops.refill_rules set document = replace(document, '10', '11')")
    assert "their hash is" in ask("refill", "explain", first, code=1)
    road.connection.execute("delete from ops.refill_rules")
    assert "are not kept" in ask("refill", "explain", first, code=1)


def test_rules_that_were_kept_before_they_could_say_all_that_they_say_now_are_read_as_they_were(road: SmallRoad):
    held(road, **SIDE_EFFECT)
    said = orjson.loads(road.one("select document from ops.refill_rules"))
    assert said.pop("labs")
    document = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    road.connection.execute(
        "insert into ops.refill_rules (rules_version, document, made_at) values (%s, %s, now())",
        (version_of(document), document.decode()),
    )
    assert rules_of(road.connection, version_of(document)).labs == ()


def test_a_decision_that_our_code_would_make_otherwise_now_says_in_what(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    (row,) = road.rows("select decision_id::text, kid, body from phi.refill_decisions where refill_id = %s", refill_id)
    doc = orjson.loads(road.cipher.open(row[1], bytes(row[2]), f"refill_decisions|{row[0]}"))
    doc["decision"] |= {"rule": "missed_doses", "reasons": ["restart_after_gap"]}
    other = str(uuid.uuid4())
    content = orjson.dumps(doc)
    kid, body = road.cipher.seal(content, f"refill_decisions|{other}")
    road.connection.execute(
        "insert into phi.refill_decisions select %s, refill_id, as_of, outcome, 'missed_doses', rules_version,"
        " sha256(%s::bytea), %s, %s, made_at from phi.refill_decisions where decision_id = %s",
        (other, content, kid, body, row[0]),
    )
    done = CliRunner().invoke(main, ["refill", "explain", other])
    assert done.exit_code == 1
    assert "DIFFERS in reasons, rule" in done.output


# Other rules


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the contract, to be changed."""
    copy = tmp_path / "changed"
    shutil.copytree(Path(contracts.__file__).parent, copy, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return copy


def change(folder: Path, old: str, new: str) -> None:
    file = folder / "refills.yaml"
    text = file.read_text("utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), "utf-8")


def test_other_rules_are_tried_on_past_decisions_and_change_nothing(road: SmallRoad, folder: Path):
    heavy = held(road, weight={"value": 93.0, "unit": "kg"})
    held(road, "canary-0000002", **SIDE_EFFECT)
    before = road.fingerprint()
    assert ask("refill", "what-if", "--contracts", str(folder))["different"] == 0
    assert "these are the rules of now" in say("refill", "what-if", "--contracts", str(folder))
    change(folder, "weight_change_percent: 10 ", "weight_change_percent: 20 ")
    found = ask("refill", "what-if", "--contracts", str(folder))
    assert (found["decisions"], found["requests"], found["different"]) == (2, 2, 1)
    assert found["moves"] == [{"from": "hold (weight_change)", "to": "provider_queue (complete)", "decisions": 1}]
    assert [one["refill_id"] for one in found["differ"]] == [heavy]
    told = say("refill", "what-if", "--contracts", str(folder))
    assert "1 of 2 decisions would be others, of 1 of 2 requests" in told
    assert f"request {heavy}" in told
    assert ask("refill", "what-if", "--contracts", str(folder), "--since", "2026-06-01")["decisions"] == 0
    assert ask("refill", "what-if", "--contracts", str(folder), "--since", "2026-05-30")["different"] == 1
    assert road.fingerprint() == before


def test_rules_that_cannot_be_read_are_told_with_their_lines(road: SmallRoad, folder: Path):
    change(folder, "    task: verify-weight\n", "    task: weigh-again\n")
    told = ask("refill", "what-if", "--contracts", str(folder), code=1)
    assert "refills.yaml:" in told
    assert "weigh-again" in told


# Check-ins


def test_check_ins_are_listed_by_what_is_left_and_shown_with_every_moment(road: SmallRoad):
    begin(road)
    begin(road, "canary-0000002")
    ring(road, 24)
    road.send(checkin(24.2, account="canary-0000002"))
    (found,) = ask("followup", "list")
    assert (found["patient_id"], found["status"]) == (patient_of(road), "missed")
    assert ask("followup", "list", "--status", "completed")[0]["patient_id"] == patient_of(road, "canary-0000002")
    (mine,) = ask("followup", "show", "canary-0000001")
    moments = [mine[key] for key in ("opens_at", "due_at", "missed_at", "window_at", "runs_out_at")]
    assert moments == sorted(set(moments))
    assert "missed 2026-05-28 16:00, refill window 2026-05-29 16:00" in say("followup", "show", "canary-0000001")
    late = say("followup", "show", "canary-0000002")
    assert ": completed late" in late
    assert "no patient" in ask("followup", "show", "nobody", code=1)
    road.send(checkin(24.3, wants=None))
    assert "its answer lacks checkin.wants:absent" in say("followup", "show", "canary-0000001")


# Why


def test_why_says_of_a_missed_check_in_since_when_and_until_when_it_may_still_be_done(road: SmallRoad):
    begin(road)
    ring(road, 24)
    found = ask("why", "canary-0000001")
    (one,) = found["check_ins"]
    assert one["status"] == "missed"
    assert [task["task"] for task in one["tasks"]] == ["checkin-overdue"]
    told = say("why", "canary-0000001")
    assert "check-in of wegovy_inj was missed for" in told
    assert "until the next supply is handed over; in time before 2026-05-29 16:00 UTC" in told
    assert "whose: care-coordinator, queue care-coordination" in told
    assert "nothing is unmet" not in told


def test_why_says_of_an_answered_check_in_whose_weight_grew_too_old_that_it_must_be_done_again(road: SmallRoad):
    begin(road)
    road.send(checkin(20))
    ring(road, 60)
    told = say("why", "canary-0000001")
    assert "check-in of wegovy_inj must be done again, it was answered " in told
    assert "lacks anthro.weight_measured_at:stale" in told
    assert "queue care-coordination, for " in told
    assert "(task checkin-overdue)" in told
    assert "its answer lacks anthro.weight_measured_at:stale" in say("followup", "show", "canary-0000001")


def test_why_says_of_a_held_request_by_which_rule_whose_until_when_and_who_may_let_it_go_on(road: SmallRoad):
    held(road, **SIDE_EFFECT)
    (one,) = ask("why", "canary-0000001")["refills"]
    assert (one["outcome"], one["rule"], one["reasons"]) == ("escalate", "side_effect", ["nausea:severe"])
    assert set(one["may_override"]) == {"provider", "pharmacist"}
    assert "ASSESSED_PATIENT" in one["may_override"]["provider"]
    told = say("why", "canary-0000001")
    assert "rule side_effect: A side effect is severe, or moderate and has lasted. (nausea:severe)" in told
    assert "may be let through by provider (THERAPY_APPROPRIATE, " in told
    assert "changes by itself at 2026-06-11 16:00 UTC" in told
    assert "what it rests on is too old then" in told
    assert "whose: provider, queue provider" in told
    assert f"glp1 refill explain {one['decision_id']}" in told


def test_why_says_where_nobody_may_let_it_go_on_and_where_time_alone_is_needed(road: SmallRoad):
    held(road, allergic_reaction="yes")
    assert "may be let through by nobody" in say("why", "canary-0000001")
    begin(road, "canary-0000002")
    ring(road, 20)
    road.send(checkin(20.5, account="canary-0000002"), requested(21, account="canary-0000002"))
    assert stands(road, request_of(road, "canary-0000002")) == ("wait_until", "too_early")
    told = say("why", "canary-0000002")
    assert "changes by itself at 2026-05-29 13:00 UTC" in told
    assert "the refill window opens" in told
    assert "whose: nobody's: time alone is needed" in told
    ring(road, WINDOW_ON)
    assert stands(road, request_of(road, "canary-0000002")) == ("provider_queue", "complete")


def test_a_request_that_lacks_its_check_in_is_the_patients_or_of_whoever_calls_them(road: SmallRoad):
    begin(road)
    road.send(requested(10))
    assert "rule followup_missing" in say("why", "canary-0000001")
    ring(road, 24)
    (one,) = ask("why", "canary-0000001")["refills"]
    assert [task["cause"] for task in one["tasks"]] == ["followup.missed:wegovy_inj"]


# One event


def test_the_journey_of_an_event_tells_of_the_decisions_that_were_made_because_of_it(road: SmallRoad):
    refill_id = held(road, **SIDE_EFFECT)
    road.send(checkin(26, name="better"))
    events = dict(road.rows("select source_id, event_id::text from phi.events"))
    asked = ask("trace", events["canary-0000001/request-25"])
    assert [(one["refill_id"], one["rule"]) for one in asked["decisions"]] == [(refill_id, "side_effect")]
    better = ask("trace", events["canary-0000001/better"])
    assert [one["rule"] for one in better["decisions"]] == ["complete"]
    assert "decided because of it" in say("trace", events["canary-0000001/better"])
    assert ask("trace", events["canary-0000001/dispense-3-0.25"])["decisions"] == []


def test_every_command_explains_itself(road: SmallRoad):
    for command in ("list", "show", "explain", "what-if", "override", "resolve"):
        told = say("refill", command, "--help")
        assert "--json" in told
        assert len(told.split()) > 60, command
    assert "VALUE" in say("refill", "explain", "--help")
    for command in ("list", "show"):
        assert "--json" in say("followup", command, "--help")
    assert "missed" in say("followup", "--help")


def test_a_flag_that_holds_is_named_and_no_answer_is(road: SmallRoad):
    held(road, **NEW_FLAG)
    told = say("why", "canary-0000001")
    assert "hold_urgent" in told
    assert "NECK_MASS" in told
    assert "queue on-call" in told
    assert "104" not in told.split()


def test_the_check_in_that_the_page_shows_is_a_whole_one(road: SmallRoad, monkeypatch: pytest.MonkeyPatch):
    """What a newcomer copies must work."""
    monkeypatch.setattr(treatments, "BEGAN", datetime(2026, 11, 1, 15, tzinfo=UTC))
    account = "account-7f3a"
    page = (ROOT / "docs" / "refills.md").read_text("utf-8")
    event = json.loads(page.split("```json\n")[1].split("```")[0])
    assert event["subject"] == account
    who = {"identifiers": [{"system": "intake-account:/intake/web", "value": account}]}
    of_them = {"subject": account, "time": "2026-10-28T15:00:00Z", "authored_at": "2026-10-28T09:00:00-06:00"}
    supply = [ordered(0, 0.25), dispensed(3, 0.25)]
    road.send(submission(1, **of_them), *({**one, "data": {**one["data"], **who}} for one in supply), event)
    assert road.events() == {"charted": 4}
    assert road.rows("select status, missing from ops.follow_ups") == [("completed", [])]
