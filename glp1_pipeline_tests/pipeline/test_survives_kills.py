"""Killed in the middle of a hundred drops, everything ends in balance, once, by itself."""

import signal
import threading
import time

import pytest
import requests

from glp1_pipeline.adapters import processes
from glp1_pipeline.sandbox import stack as parts
from glp1_pipeline.sandbox.crm.server import page_key
from glp1_pipeline_tests.pipeline.test_road import drop
from glp1_pipeline_tests.sample_inputs import clean_submission

pytestmark = pytest.mark.timeout(600)
DROPS = 100
SCENES = (
    (parts.WORKER,), (parts.DAEMON, parts.RECEIVER), (parts.POSTGRES,), (parts.EHR, parts.CRM), (parts.CODE,),
)  # fmt: skip
"""What dies at once. What is edited in another system meanwhile must be known in the end all the same."""
LANGUAGES = ("vi", "es", "ko", "fr", "ar")


def kill(running, name: str) -> None:
    """SIGKILL to a program of the stack and all its children, as the machine's worst moment would."""
    process = running.stack.supervisor.process_of(name)
    assert process is not None
    processes.signal_all(processes.family(process.pid), signal.SIGKILL)


class Somebody:
    """A patient whom a provider edits in the EHR and somebody in sales in the CRM, while programs die."""

    def __init__(self, running, patient_id: str, place: str, contact_id: str) -> None:
        self.running, self.patient_id, self.place, self.contact_id = running, patient_id, place, contact_id
        self.said: dict[str, str] = {}

    def edits(self, scene: int) -> None:
        language, mobile = LANGUAGES[scene], f"+1206555017{scene}"
        self.running.wait(lambda: self._edit_in_ehr(language), 60, "the EHR did not come back")
        self.running.wait(lambda: self._edit_in_crm(mobile), 60, "the CRM did not come back")
        self.said = {"demo.language": language, "demo.mobile": mobile}

    def _edit_in_ehr(self, language: str) -> bool:
        url = f"{self.running.settings.ehr_base_url()}/{self.place}"
        there = requests.get(url, timeout=10).json()
        coding = {"system": "urn:ietf:bcp:47", "code": language}
        there["communication"] = [{"language": {"coding": [coding]}, "preferred": True}]
        return requests.put(url, json=there, timeout=10).ok

    def _edit_in_crm(self, mobile: str) -> bool:
        """On the page, as a person does."""
        url, token = self.running.settings.crm_access()
        with requests.Session() as browser:
            browser.get(f"{url}/?key={page_key(token)}", timeout=10).raise_for_status()
            answer = browser.post(f"{url}/contacts/{self.contact_id}", data={"mobilephone": mobile}, timeout=10)
        assert "Not saved" not in answer.text
        return answer.ok


@pytest.fixture(scope="module")
def somebody(running) -> Somebody:
    event = clean_submission(905_000)
    drop(running, event)

    def is_known():
        with running.connect() as connection:
            rows = connection.execute(
                "select c.patient_id::text, c.target, c.remote from ops.copies c join phi.identifiers i"
                " on i.record_id = c.patient_id where i.value = %s and c.remote <> '{}'",
                (event["subject"],),
            ).fetchall()
        return rows if len(rows) == 2 else None

    rows = running.wait(is_known, 60, "the EHR and the CRM do not know the first patient")
    remote = {target: known for _, target, known in rows}
    (place,) = [f"Patient/{ids[0]}" for key, ids in remote["ehr"].items() if key.startswith("Patient/")]
    return Somebody(running, rows[0][0], place, remote["crm"]["contact"][0])


@pytest.mark.parametrize("names", SCENES, ids=" and ".join)
def test_a_program_killed_amid_a_hundred_drops_loses_and_doubles_nothing(running, somebody, names):
    scene = SCENES.index(names)
    events = [clean_submission(910_000 + 1_000 * scene + n) for n in range(DROPS)]
    moments = [threading.Timer(3.0, kill, (running, name)) for name in names]
    for moment in moments:
        moment.start()
    for n, event in enumerate(events):
        drop(running, event)
        if n == DROPS // 2:
            somebody.edits(scene)
        time.sleep(0.05)
    for moment in moments:
        moment.join()
    running.settle()
    with running.connect() as connection:
        subjects = [event["subject"] for event in events]
        rows = connection.execute(
            "select count(*), count(distinct subject), count(*) filter (where status = 'charted') from phi.events"
            " where subject = any(%s)",
            (subjects,),
        ).fetchone()
        queued = connection.execute(
            "select count(*) from ops.provider_queue q join phi.identifiers i on i.record_id = q.patient_id"
            " where i.value = any(%s) and q.left_at is null",
            (subjects,),
        ).fetchone()
        in_crm = connection.execute(
            "select count(*) from ops.copies c join phi.identifiers i on i.record_id = c.patient_id"
            " where i.value = any(%s) and c.target = 'crm' and c.remote ? 'contact'",
            (subjects,),
        ).fetchone()
        assert rows == (DROPS, DROPS, DROPS)
        assert queued == in_crm == (DROPS,)
        assert running.faults(connection) == []


def test_what_people_changed_elsewhere_meanwhile_is_known_here(running, somebody):
    """The last word of each system, however many programs died while it was said."""

    def is_known():
        with running.connect() as connection:
            return dict(connection.execute(
                "select field, value ->> 'value' from phi.chart_values where patient_id = %s and not is_finding"
                " and field = any(%s)",
                (somebody.patient_id, list(somebody.said)),
            ).fetchall()) == somebody.said  # fmt: skip

    running.wait(is_known, 120, "what was changed elsewhere is not in the chart")
    running.settle()
    with running.connect() as connection:
        told = connection.execute(
            "select type, count(*), count(distinct source_id) from phi.events where status = 'charted'"
            " and type in ('chart.updated', 'contact.updated') and record_id = %s group by 1",
            (somebody.patient_id,),
        ).fetchall()
        assert {kind for kind, *_ in told} == {"chart.updated", "contact.updated"}
        assert all(count == different <= 2 * len(SCENES) for _, count, different in told)
        assert running.faults(connection) == []


def test_the_run_of_a_killed_worker_is_ended_and_says_why(running):
    """A run whose worker is gone must not look alive for ever, nor hold the next one back."""
    running.settle()
    for n in range(20):
        drop(running, clean_submission(920_000 + n))

    def is_running():
        found = running.ask("{ runsOrError(filter: {statuses: [STARTED]}) { ... on Runs { results { runId } } } }")
        return found["runsOrError"]["results"]

    running.wait(is_running, 30, "no run started")
    kill(running, parts.WORKER)
    running.wait(lambda: not is_running(), 120, "the dead run still looks alive")
    running.settle()
