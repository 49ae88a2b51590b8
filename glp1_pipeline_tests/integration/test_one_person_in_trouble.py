"""One person, one chart, when things go wrong: code that fails halfway, events that come late, decisions that come early."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glp1_pipeline.adapters import ledger, matches
from glp1_pipeline.domain import flags
from glp1_pipeline_tests.small_road import SmallRoad, amendment, migrated_database, small_road, submission


@pytest.fixture(scope="module")
def url() -> str:
    return migrated_database()


@pytest.fixture
def road(url: str, tmp_path: Path) -> Iterator[SmallRoad]:
    with small_road(url, tmp_path) as made:
        yield made


def record(road: SmallRoad, subject: str) -> str:
    return str(road.one("select record_id from phi.identifiers where value = %s", subject))


def decide(road: SmallRoad, action: Any, first: str, second: str) -> None:
    matches.decide(
        road.connection, road.contract, road.cipher, action, (first, second), "steward-7", "seen on the phone"
    )
    road.chart()


def returning(n: int, account: str, **changes: Any) -> dict[str, Any]:
    """Person n once more, under another account of theirs."""
    return submission(n, subject=account, **changes)


def fail_on_several_reports(patch: pytest.MonkeyPatch) -> None:
    real = flags.evaluate_history

    def evaluate(contract, patient_id, reports, **told):
        if len(reports) > 1:
            raise KeyError("Canary")
        return real(contract, patient_id, reports, **told)

    patch.setattr(flags, "evaluate_history", evaluate)


def test_a_merge_on_which_our_code_fails_changes_nothing_and_is_made_by_a_replay(road: SmallRoad):
    road.send(submission(1), submission(2))
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    with pytest.MonkeyPatch.context() as patch:
        fail_on_several_reports(patch)
        decide(road, "merge", keeps, goes)
    assert road.one("select count(*) from phi.events where status = 'dead'") == 1
    assert road.one("select reason from phi.events where status = 'dead'").startswith("KeyError in ")
    assert road.one("select count(*) from phi.charts") == 2
    assert road.one("select count(*) from ops.provider_queue where left_at is null") == 2
    assert road.balance().faults == []
    road.replay()
    assert road.rows("select patient_id::text from phi.charts") == [(keeps,)]
    assert road.balance().faults == []


def test_an_event_that_fails_joins_nobody_and_holds_nobody_beside_it(road: SmallRoad):
    road.send(submission(1))
    with pytest.MonkeyPatch.context() as patch:
        fail_on_several_reports(patch)
        road.send(returning(1, "canary-second"), submission(5))
    assert road.events().pop("charted") == 2
    assert road.rows("select * from ops.patient_links") == []
    road.replay()
    assert road.events() == {"charted": 3}
    assert road.one("select count(*) from phi.charts") == 2
    assert road.balance().faults == []


def test_the_question_who_somebody_is_waits_with_the_other_once_an_older_event_turns_the_order(road: SmallRoad):
    one, twin = (
        submission(1),
        returning(1, "canary-twin", **{"demo.legal_first": "Zacharias", "demo.preferred_name": "Zach"}),
    )
    road.send(one)
    road.send(twin)
    asked = "select patient_id::text from ops.tasks where cause like 'match:%%' and status = 'open'"
    (pair,) = matches.reviews(road.connection)
    assert road.rows(asked) == [(pair["later"],)]
    later = one if record(road, "canary-0000001") == pair["later"] else twin
    road.send(amendment(later, 1, {"demo.email": "canary@example.org"}, minutes=-600))
    (turned,) = matches.reviews(road.connection)
    assert turned["later"] == pair["earlier"]
    assert road.rows(asked) == [(turned["later"],)]


def test_a_ledger_that_is_charted_from_nothing_knows_the_records_that_its_own_events_tell_of(road: SmallRoad, url: str):
    road.send(submission(1), submission(2))
    decide(road, "merge", record(road, "canary-0000001"), record(road, "canary-0000002"))
    told = [
        road.cipher.open(kid, bytes(body), f"events|{event_id}")
        for event_id, kid, body in road.rows("select event_id, kid, body from phi.events order by seq")
    ]
    before = road.fingerprint()
    with small_road(url, road.folder) as again:
        ledger.append(again.connection, again.contract, again.cipher, told)
        again.chart()
        assert again.events() == {"charted": 3}
        assert again.fingerprint()["charts"] == before["charts"]
