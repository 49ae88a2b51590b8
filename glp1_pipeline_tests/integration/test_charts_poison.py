"""What our code, the database or the contract cannot take: named, alone in its trouble, and charted once it can be."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest

from glp1_pipeline import contracts
from glp1_pipeline.adapters import charts, ledger
from glp1_pipeline.adapters.charts import run, save
from glp1_pipeline.adapters.cipher import Cipher, KeyMissing, KeyRing
from glp1_pipeline.domain import flags, gates, tasks
from glp1_pipeline.domain.charting import reading
from glp1_pipeline_tests.ledgers import assert_in_balance
from glp1_pipeline_tests.small_road import (
    SmallRoad,
    amendment,
    event_id,
    submission,
    weight,
)

# Poison


def poison(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, is_poison: Any) -> None:
    """A function of ours fails on some input, with a value in the error's text."""
    inner = getattr(module, name)

    def call(*args: Any, **named: Any) -> Any:
        if is_poison(*args):
            raise ZeroDivisionError("Canary-Okafor")
        return inner(*args, **named)

    monkeypatch.setattr(module, name, call)


def mapping_fails_on(monkeypatch: pytest.MonkeyPatch, event: dict[str, Any]) -> None:
    wanted = event["data"]["submission_id"]
    poison(monkeypatch, reading, "map_submission", lambda _, told: told.submission_id == wanted)


def assert_dead(road: SmallRoad, count: int) -> None:
    rows = road.rows("select reason, hint from phi.events where status = 'dead'")
    assert len(rows) == count
    for reason, hint in rows:
        assert reason.startswith("ZeroDivisionError in call, line ")
        assert "replay" in hint
        assert "Canary" not in reason + hint


def test_an_event_our_code_fails_on_is_dead_by_name_and_a_replay_after_the_mend_charts_it(road, monkeypatch):
    events = [submission(n) for n in range(5)]
    with monkeypatch.context() as broken:
        mapping_fails_on(broken, events[2])
        done = road.send(*events)
        assert (done.events, done.dead) == (4, 1)
        assert_dead(road, 1)
        assert_in_balance(road)
        assert road.replay().dead == 1
    done = road.replay()
    assert (done.events, done.dead, done.writes) == (5, 0, 1)
    assert road.events() == {"charted": 5}
    assert road.send(events[2]).events == 0
    assert road.balance().duplicates == 1
    assert_in_balance(road)


@pytest.mark.parametrize(("module", "name"), [(flags, "evaluate_history"), (tasks, "derive"), (gates, "_judge")])
def test_a_patient_whose_decision_fails_holds_no_other_patient(road: SmallRoad, monkeypatch, module, name):
    events = [submission(n) for n in range(4)]
    marked = submission(9, **{"demo.legal_first": "Marked"})

    def is_marked(*args: Any) -> bool:
        for one in args:
            found = one if isinstance(one, list) else [one]
            for part in found:
                values = getattr(part, "values", None)
                if isinstance(values, dict) and values.get("demo.legal_first", {}).get("value") == "Marked":
                    return True
        return False

    with monkeypatch.context() as broken:
        poison(broken, module, name, is_marked)
        done = road.send(*events, marked)
        assert (done.events, done.dead) == (4, 1)
        assert_dead(road, 1)
        assert_in_balance(road)
    assert road.replay().dead == 0
    assert road.events() == {"charted": 5}
    assert_in_balance(road)


@pytest.mark.parametrize(("is_known", "reason"), [(False, "UniqueViolation"), (True, "CardinalityViolation")])
def test_a_patient_of_whom_one_row_is_made_twice_holds_no_other_patient(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch, is_known: bool, reason: str
):
    inner = tasks.derive
    marked = submission(9, **{"demo.legal_first": "Marked"})
    if is_known:
        road.send(marked)
        marked = amendment(marked, 1, {"anthro.weight": {"value": 90, "unit": "kg"}})

    def derive(contract: Any, chart: Any, *told: Any) -> Any:
        return inner(contract, chart, *told) * (2 if chart.get("demo.legal_first") == "Marked" else 1)

    with monkeypatch.context() as broken:
        broken.setattr(tasks, "derive", derive)
        done = road.send(*(submission(n) for n in range(4)), marked)
        assert (done.events, done.dead) == (4, 1)
        assert road.one("select reason from phi.events where status = 'dead'").startswith(reason)
        assert_in_balance(road)
    assert road.replay().dead == 0


@pytest.mark.parametrize("place", [0, 6, 12])
def test_an_event_that_the_database_refuses_is_dead_alone_and_is_named_without_its_value(road, monkeypatch, place):
    events = [submission(n) for n in range(13)]
    inner, wanted = reading.map_submission, events[place]["data"]["submission_id"]

    def mapped(contract: Any, told: Any) -> Any:
        result = inner(contract, told)
        if told.submission_id == wanted:
            result.values["demo.legal_first"] = {
                "value": "Canary-\0-Okafor"
            }  # no JSON document of Postgres may have it
        return result

    with monkeypatch.context() as broken:
        broken.setattr(reading, "map_submission", mapped)
        done = road.send(*events)
        assert (done.events, done.dead, done.patients, done.writes) == (12, 1, 12, 12)
        ((dead, reason),) = road.rows("select event_id, reason from phi.events where status = 'dead'")
        assert dead == event_id(events[place])
        assert "Canary" not in reason
        assert reason.startswith("UntranslatableCharacter")
        assert_in_balance(road)
        assert road.replay().dead == 1
    assert road.replay().writes == 1
    assert road.events() == {"charted": 13}
    assert_in_balance(road)


def test_a_charted_event_that_fails_at_a_replay_keeps_what_it_said(road: SmallRoad, monkeypatch):
    first, other = submission(1), submission(2)
    amended = amendment(first, 1, weight(90))
    road.send(first, other)
    road.send(amended)
    before = road.fingerprint()
    with monkeypatch.context() as broken:
        mapping_fails_on(broken, amended)
        done = road.replay()
        assert (done.dead, done.writes) == (1, 0)
        assert_in_balance(road)
        now = road.fingerprint()
        assert {name for name in before if before[name] != now[name]} <= {"events", "state"}
        assert road.replay().dead == 1
    assert road.replay().dead == 0
    assert road.fingerprint() == before


def test_a_line_that_was_dead_in_the_ledger_is_charted_under_the_id_of_its_event(road: SmallRoad, monkeypatch):
    good, bad = submission(1), submission(2)
    with monkeypatch.context() as broken:
        poison(broken, ledger, "parse_event", lambda document, _: document["id"] == bad["id"])
        road.send(good, bad)
        assert_dead(road, 1)
        poison(broken, run, "parse_event", lambda document, _: document["id"] == bad["id"])
        assert road.replay().dead == 1  # the code is not mended yet: the rest of the day is replayed all the same
        assert_dead(road, 1)
    assert road.replay().events == 2
    assert {row[0] for row in road.rows("select event_id from phi.events")} == {event_id(good), event_id(bad)}
    done = road.send(bad)
    assert done.events == 0
    assert road.events() == {"charted": 2}
    assert_in_balance(road)


def test_a_body_that_does_not_open_is_dead_and_holds_no_other(road: SmallRoad):
    events = [submission(n) for n in range(3)]
    road.drop("a.ndjson", *events)
    road.take()
    road.connection.execute("update phi.events set body = set_byte(body, 80, get_byte(body, 80) # 1)"
                            " where event_id = %s", (event_id(events[1]),))  # fmt: skip
    done = road.chart()
    assert (done.events, done.dead) == (2, 1)
    ((reason,),) = road.rows("select reason from phi.events where status = 'dead'")
    assert reason.startswith("Tampered")
    assert_in_balance(road)


def test_a_value_that_no_text_of_the_database_can_hold_is_dead_before_it_is_written(road: SmallRoad, monkeypatch):
    typed = {"canary-0000001": "a\\u0000b", "canary-0000002": "a\\\0b"}  # letters that look like one; and one
    made = run.read

    def read(contract: Any, claimed: Any) -> Any:
        said = made(contract, claimed)
        for c in claimed:
            report = said.reports[c.event_id]
            report.values["demo.preferred_name"] = {"value": typed[c.event.subject]}
        return said

    road.drop("a.ndjson", submission(1), submission(2))
    road.take()
    monkeypatch.setattr(run, "read", read)
    done = road.chart()
    assert (done.events, done.dead) == (1, 1)
    assert road.rows("select event_id from phi.events where status = 'dead'") == [(event_id(submission(2)),)]
    assert road.one("select reason from phi.events where status = 'dead'").startswith("UntranslatableCharacter")
    assert road.rows("select value ->> 'value' from phi.chart_values where field = 'demo.preferred_name'") == [
        ("a\\u0000b",)
    ]
    assert_in_balance(road)


def test_a_failure_on_every_event_stops_the_run_marks_nothing_and_tells_no_value(road: SmallRoad, monkeypatch):
    road.drop("a.ndjson", *[submission(n) for n in range(5)])
    road.take()
    with monkeypatch.context() as broken:
        poison(broken, run, "decide", lambda *_: True)
        with pytest.raises(charts.ChartFault, match="ZeroDivisionError in call") as fault:
            road.chart()
    assert "Canary" not in str(fault.value)
    assert fault.value.__cause__ is fault.value.__context__ is None
    with monkeypatch.context() as broken:
        broken.setattr(save, "VALUE_COLUMNS", ("no_such_column", *save.VALUE_COLUMNS[1:]))
        with pytest.raises(psycopg.errors.UndefinedColumn):
            road.chart()
    assert road.events() == {"waiting": 5}
    assert road.chart().events == 5


def test_a_key_ring_of_another_database_marks_nothing(road: SmallRoad):
    road.drop("a.ndjson", *[submission(n) for n in range(5)])
    road.take()
    other = Cipher(KeyRing("k1", {"k1": b"2" * 32}, b"r" * 32))
    with pytest.raises(charts.ChartFault, match="Tampered"):
        charts.chart_events(road.connection, road.contract, other, charts.Scope())
    assert road.events() == {"waiting": 5}


def test_a_missing_key_stops_the_run_and_marks_nothing(road: SmallRoad):
    road.drop("a.ndjson", submission(1))
    road.take()
    other = Cipher(KeyRing("k2", {"k2": b"2" * 32}, b"r" * 32))
    with pytest.raises(KeyMissing):
        charts.chart_events(road.connection, road.contract, other, charts.Scope())
    assert road.events() == {"waiting": 1}
    assert road.chart().events == 1


# The contract learns


def contract_of_next_year(tmp_path: Path) -> Any:
    """The contract with a form version that it does not have yet."""
    folder = tmp_path / "contracts"
    shutil.copytree(contracts.HERE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    form = folder / "form.yaml"
    content = form.read_text()
    changed = content.replace('"3.0.0"]', '"3.0.0", "9.0.0"]')
    assert changed != content
    form.write_text(changed)
    return contracts.load(folder)


def test_an_event_of_an_unknown_form_version_is_charted_after_the_contract_learned_it(road: SmallRoad, tmp_path):
    future = submission(1, form_version="9.0.0")
    road.send(future, submission(2))
    assert road.events() == {"rejected:unknown_version": 1, "charted": 1}
    before = road.fingerprint()
    assert road.replay().rejected == 1
    assert road.fingerprint() == before
    learned = road.under(contract_of_next_year(tmp_path))
    done = learned.replay()
    assert (done.events, done.rejected, done.dead) == (2, 0, 0)
    assert road.events() == {"charted": 2}
    assert road.rows("select source_id, version, subject from phi.events where event_id = %s", event_id(future)) == [
        (future["id"], "9.0.0", future["subject"])
    ]
    learned.drop("again.json", future)
    got = learned.take()
    assert (got.events, got.duplicates) == (0, 1)
    assert learned.replay().writes == 0
    assert_in_balance(road)


def test_what_came_again_and_was_accepted_before_the_replay_is_charted_once(road: SmallRoad, tmp_path):
    future = submission(1, form_version="9.0.0")
    road.send(future)
    learned = road.under(contract_of_next_year(tmp_path))
    learned.drop("again.ndjson", future, b"other")
    learned.take()
    assert road.events() == {"rejected:unknown_version": 1, "waiting": 1, "rejected:malformed_json": 1}
    learned.replay()
    assert road.events() == {"rejected:came_again": 1, "charted": 1, "rejected:malformed_json": 1}
    before = road.fingerprint()
    learned.replay()
    assert road.fingerprint() == before
    assert_in_balance(road)


def test_what_was_accepted_and_refused_before_it_was_charted_is_charted_when_the_contract_takes_it_again(
    road: SmallRoad, tmp_path
):
    learned = road.under(contract_of_next_year(tmp_path))
    learned.drop("a.json", submission(1, form_version="9.0.0"))
    learned.take()
    assert road.chart().rejected == 1
    assert road.events() == {"rejected:unknown_version": 1}
    assert_in_balance(road)
    assert learned.replay().events == 1
    assert road.events() == {"charted": 1}
    assert_in_balance(road)


def test_a_version_that_the_contract_forgets_again_leaves_the_charted_event_as_it_was(road: SmallRoad, tmp_path):
    learned = road.under(contract_of_next_year(tmp_path))
    learned.send(submission(1, form_version="9.0.0"))
    assert road.events() == {"charted": 1}
    done = road.replay()
    assert done.events == 0
    assert_in_balance(road)
    learned.replay()
    assert road.events() == {"charted": 1}
    assert_in_balance(road)
