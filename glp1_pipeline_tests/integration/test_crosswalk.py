"""Every identifier that any system gave a person, with when and by which event; who is found by one (P1.1)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from glp1_pipeline import cli
from glp1_pipeline.adapters import crosswalk, matches, status
from glp1_pipeline.cli import telling
from glp1_pipeline_tests.small_road import (
    SmallRoad,
    amendment,
    connect,
    empty_tables,
    submission,
)
from glp1_pipeline_tests.treatments import dispensed

CARD = {"ins.has_coverage": True, "ins.member_id": "W-55 01", "ins.bin_pcn_group": {"group": "RX9"}}
ACCOUNT = [{"system": "intake-account:/intake/web", "value": "canary-0000001"}]


def in_ehr(*identifiers: dict[str, Any], account: str = "canary-0000001", version: int = 1) -> dict[str, Any]:
    known = [{"system": "intake-account:/intake/web", "value": account}]
    return {
        "specversion": "1.0", "type": "chart.updated", "source": "/ehr/clinic", "id": f"Patient/{account}/{version}",
        "subject": f"Patient/{account}", "time": "2026-11-21T10:00:00Z",
        "data": {"resource_type": "Patient", "resource_id": account, "version": str(version), "identifiers": known,
                 "resource": {"resourceType": "Patient", "identifier": list(identifiers)}},
    }  # fmt: skip


def rows(road: SmallRoad) -> set[tuple[str, str, bool]]:
    return set(road.rows("select system, value, says_who from phi.crosswalk"))


def patient(road: SmallRoad, name: str) -> str | None:
    return crosswalk.find_patient(road.connection, name)


def test_each_system_that_spoke_of_a_person_is_in_the_crosswalk_with_the_event_that_taught_us(road: SmallRoad):
    lab, mrn = {"system": "lab:/lab/quest", "value": "Q-9"}, {"system": "http://hospital.example", "value": "00-7"}
    road.send(submission(1, **CARD), dispensed(3, 0.25, identifiers=ACCOUNT), in_ehr(lab, mrn))
    (pharmacy,) = {value for system, value, _ in rows(road) if system.startswith("pharmacy:")}
    assert rows(road) == {
        ("intake-account:/intake/web", "canary-0000001", True),
        ("pharmacy:/pharmacy/mail-order", pharmacy, True),
        ("ehr:/ehr/clinic", "Patient/canary-0000001", True),
        ("payer-member", "W5501", False),
        ("payer-group", "RX9", False),
        ("lab:/lab/quest", "Q-9", False),
        ("mrn:http://hospital.example", "00-7", False),
    }
    (mine,) = [str(r) for (r,) in road.rows("select patient_id from phi.charts")]
    names = ("canary-0000001", pharmacy, "w-55-01", "RX9", "Q-9", "00-7", "Patient/canary-0000001")
    assert {patient(road, name) for name in names} == {mine}
    taught = dict(road.rows("select system, e.type from phi.crosswalk c join phi.events e on e.event_id = learned_by"))
    assert (taught["payer-member"], taught["lab:/lab/quest"]) == ("intake.submitted", "chart.updated")
    told = status.why(road.connection, mine)["records"]
    assert {(one["system"], one["says_who"]) for one in told} == {(s, w) for s, _, w in rows(road)}
    assert all(one["since"] and one["event_id"] for one in told)


def test_a_member_id_that_a_family_shares_joins_nobody_and_is_answered_with_both(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
):
    road.send(submission(1, **CARD), submission(2, **CARD))
    assert road.one("select count(*) from phi.charts") == 2
    assert matches.reviews(road.connection) == []
    both = sorted(str(r) for (r,) in road.rows("select patient_id from phi.charts"))
    with pytest.raises(crosswalk.SeveralPatients) as several:
        patient(road, "W5501")
    assert several.value.patients == both
    monkeypatch.setattr(telling, "open_road", lambda: SimpleNamespace(connect=lambda name: connect(road.url, name)))
    asked = CliRunner().invoke(cli.main, ["why", "W5501"])
    assert asked.exit_code == 1
    assert all(one in asked.output for one in both)
    assert "W5501" not in asked.output
    assert crosswalk.beside(road.connection, (both[0], both[1]))["payer-member"] == [["W5501"], ["W5501"]]


def test_a_number_goes_home_with_its_event_at_an_un_merge(road: SmallRoad):
    road.send(submission(1), submission(2, **CARD))
    one, two = (str(r) for (r,) in road.rows("select record_id from phi.identifiers order by value"))
    steps: tuple[tuple[matches.Action, str], ...] = (("merge", one), ("unmerge", two))
    for action, whose in steps:
        matches.decide(road.connection, road.contract, road.cipher, action, (one, two), "steward-7", "on the phone")
        road.chart()
        assert patient(road, "W5501") == whose


def test_a_corrected_answer_keeps_both_numbers_and_a_replay_changes_nothing(road: SmallRoad):
    first = submission(1, **CARD)
    road.send(first)
    road.send(amendment(first, 1, {"ins.member_id": "W-5502"}))
    assert patient(road, "W5501") == patient(road, "W5502")
    before = road.fingerprint()
    done = road.replay()
    assert (done.writes, road.fingerprint()) == (0, before)


def test_a_number_that_a_corrected_contract_does_not_keep_is_gone_after_a_replay(road: SmallRoad):
    road.send(submission(1), in_ehr({"system": "http://hospital.example", "value": "00-7"}))
    assert patient(road, "00-7")
    numbers = road.contract.identifiers["mrn"].model_copy(update={"never": ("http://hospital.",)})
    changed = road.contract.model_copy(update={"identifiers": {**road.contract.identifiers, "mrn": numbers}})
    road.under(changed).replay()
    assert patient(road, "00-7") is None


def test_the_same_events_in_another_order_leave_the_same_crosswalk(road: SmallRoad):
    events = [
        submission(1, **CARD), submission(2, **CARD), in_ehr({"system": "lab:/lab/quest", "value": "Q-9"}),
        in_ehr({"system": "lab:/lab/quest", "value": "Q-9"}, account="canary-0000002"),
    ]  # fmt: skip
    road.send(*events)
    before = road.fingerprint()["told_identifiers"]
    empty_tables(road.connection)
    for event in reversed(events):
        road.send(event)
    assert road.fingerprint()["told_identifiers"] == before


def test_what_is_not_a_systems_to_tell_is_passed_over_and_counted(road: SmallRoad):
    done = road.send(
        submission(1),
        dispensed(3, 0.25, identifiers=[*ACCOUNT, {"system": "mrn:http://hospital.example", "value": "7"}]),
    )
    assert patient(road, "7") is None
    assert done.problems["identifiers:not_theirs_to_tell"] == 1
    assert road.events() == {"charted": 2}
