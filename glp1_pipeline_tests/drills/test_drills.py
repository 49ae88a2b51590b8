"""A drill tells the truth: what it shows is measured, and what is lost, doubled or noticed by nobody fails it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import pytest
import requests
from click.testing import CliRunner

from glp1_pipeline.cli import main
from glp1_pipeline.contracts.alerts import load_alerts
from glp1_pipeline.domain.fhir.writes import WRITE_SYSTEM
from glp1_pipeline.sandbox.drills import all_drills
from glp1_pipeline.sandbox.drills.drill import Drill
from glp1_pipeline.sandbox.drills.ending import NotRun
from glp1_pipeline.sandbox.drills.run import Evidence, NotSafe, newest, run_one, safe_settings, write
from glp1_pipeline.sandbox.drills.scene import Scene
from glp1_pipeline.sandbox.drills.scorecard import as_markdown, as_text, is_good, ordered
from glp1_pipeline.sandbox.drills.site import Site

DRILLS = {drill.name: drill for drill in all_drills()}
FHIR = {"Content-Type": "application/fhir+json"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as made:
        yield made


@pytest.fixture
def run(site) -> Callable[[Drill], Evidence]:
    return lambda drill: run_one(drill, site, say=lambda _: None)


def drill(play: Callable[[Scene], None], alert: str | None = None) -> Drill:
    return Drill("of-a-test", "events", "A drill of a test.", alert, play, "nothing is broken")


def settled(scene: Scene) -> None:
    """Nothing is broken, and all arrives."""
    scene.break_("nothing")
    scene.feed(2)
    scene.nothing_to_notice("nothing is broken")
    scene.until_settled()


@pytest.mark.parametrize("name", ["ehr-commits-then-resets", "events-poison"])
def test_a_fault_that_heals_by_itself_is_noticed_and_loses_nothing(run, name, tmp_path):
    found = run(DRILLS[name])
    assert (found.faults, found.outcome) == ([], "passed")
    assert (found.lost, found.doubled) == (0, 0)
    assert found.detection_seconds is not None
    assert found.recovery_seconds is not None
    assert found.counts["events charted"] > 0
    told = write(found, tmp_path).read_text()
    assert "Canary" not in told
    assert "example.org" not in told


def test_a_fault_that_lasts_raises_its_alert_which_ends_by_itself(run):
    found = run(DRILLS["ehr-429"])
    assert (found.faults, found.outcome) == ([], "passed")
    assert (found.is_raised, found.is_resolved) == (True, True)
    assert found.detected_by == "alert breaker_open (ehr)"


def test_drops_that_nobody_reads_are_noticed(run):
    found = run(DRILLS["pipeline-killed"])
    assert (found.faults, found.outcome) == ([], "passed")


def test_a_lost_event_fails_the_drill(run):
    def play(scene: Scene) -> None:
        settled(scene)
        with scene.connect() as connection:
            connection.execute("delete from phi.events where event_id = (select event_id from phi.events limit 1)")

    found = run(drill(play))
    assert found.outcome == "failed"
    assert found.lost is not None
    assert found.lost > 0
    assert any(fault.startswith("lost: 1 events not in a chart") for fault in found.faults)


def test_a_resource_lost_in_the_ehr_fails_the_drill(run):
    def play(scene: Scene) -> None:
        settled(scene)
        ((remote,),) = scene.rows("select remote from ops.copies where target = 'ehr' limit 1")
        place = next(f"{key.split('/')[0]}/{ids[0]}" for key, ids in remote.items() if key.startswith("Observation/"))
        requests.delete(f"{scene.site.ehr_url}/{place}", timeout=10).raise_for_status()

    assert "lost: 1 resources missing in the EHR" in run(drill(play)).faults


def test_a_change_told_twice_in_the_ehr_fails_the_drill(run):
    def play(scene: Scene) -> None:
        settled(scene)
        patient, n = scene.rows("select patient_id, n from ops.writes where target = 'ehr' limit 1")[0]
        asked = f"{scene.site.ehr_url}/Provenance?_tag={WRITE_SYSTEM}|{patient}.{n}"
        there = requests.get(asked, timeout=10).json()["entry"][0]["resource"]
        again = {key: value for key, value in there.items() if key != "id"}
        requests.post(f"{scene.site.ehr_url}/Provenance", json=again, headers=FHIR, timeout=10).raise_for_status()

    found = run(drill(play))
    assert found.doubled == 1
    assert "doubled: 1 changes told twice in the EHR" in found.faults


def test_an_alert_that_is_not_raised_fails_the_drill(run):
    def play(scene: Scene) -> None:
        scene.break_("nothing, so that nobody is called")
        scene.feed(1)
        scene.until_detected(seconds=2)

    found = run(drill(play, "breaker_open"))
    assert found.outcome == "failed"
    assert found.faults == ["nothing noticed it within 2 s"]


def test_what_this_machine_cannot_show_is_said_and_is_no_failure(run):
    def play(scene: Scene) -> None:
        raise NotRun("root reads everything")

    found = run(drill(play))
    assert (found.outcome, found.faults) == ("not run", ["root reads everything"])


def test_a_drill_that_fails_by_itself_tells_no_value(run):
    def play(scene: Scene) -> None:
        raise ValueError(scene.person()["data"]["answers"]["demo.legal_last"])

    found = run(drill(play))
    assert found.outcome == "failed"
    assert "Canary" not in json.dumps(asdict(found))
    assert "ValueError" in found.faults[0]


def test_a_target_that_nobody_marked_safe_is_refused(tmp_path):
    elsewhere = {"GLP1_EHR_URL": "https://ehr.example.org/fhir", "GLP1_HOME": str(tmp_path)}
    with pytest.raises(NotSafe, match="GLP1_DRILL_SAFE=1"):
        safe_settings(elsewhere)
    assert safe_settings({**elsewhere, "GLP1_DRILL_SAFE": "1"}) == {"GLP1_EHR_URL": "https://ehr.example.org/fhir"}
    answer = CliRunner().invoke(main, ["drill", "run", "ehr-503"], env=elsewhere)
    assert answer.exit_code == 1
    assert "GLP1_DRILL_SAFE=1" in answer.output
    assert list(tmp_path.iterdir()) == []


def test_the_scorecard_shows_the_newest_evidence_and_can_fail(tmp_path):
    first = Evidence("ehr-503", "ehr", "Down.", "failed", "2026-11-01T10:00:00+00:00", 1.0, [], lost=2, doubled=0,
                     alert="breaker_open", faults=["lost: 2 events not in a chart"])  # fmt: skip
    later = replace(first, began_at="2026-11-02T10:00:00+00:00", outcome="passed", lost=0, faults=[])
    write(first, tmp_path)
    chosen = [DRILLS["ehr-503"]]
    rows = ordered(newest(tmp_path), chosen)
    assert not is_good(rows)
    assert "FAULT  ehr-503: lost: 2 events not in a chart" in as_text(rows)
    assert "## Faults" in as_markdown(rows)
    write(later, tmp_path)
    rows = ordered(newest(tmp_path), chosen)
    assert is_good(rows)
    assert "Run on 2026-11-02" in as_markdown(rows)
    assert not is_good(ordered({}, chosen)), "what never ran proves nothing"


def test_every_drill_says_what_happens_and_names_an_alert_that_there_is():
    assert len(DRILLS) == len(all_drills()), "two drills have one name"
    known = load_alerts().alerts
    for one in DRILLS.values():
        assert one.what.endswith(".")
        assert one.alert in known if one.alert else one.why_no_alert
