"""The EHR tells us that something changed, and we look at once; without it, or with a liar at the door, we look all the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import requests
import uvicorn

from glp1_pipeline.adapters import hooks
from glp1_pipeline.adapters.ehr import Ehr, EhrFailure, EhrSettings
from glp1_pipeline.adapters.ehr import hints as hints_door
from glp1_pipeline.adapters.ehr.hints import hints, wait_for_hint
from glp1_pipeline.adapters.ehr.subscription import TAG_SYSTEM, Subscriptions, tag_of
from glp1_pipeline.adapters.hooks import LONGEST_BODY, Keeper, make_app
from glp1_pipeline.adapters.state import free_port
from glp1_pipeline.defs import ehr_changes
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline.sandbox.drills.proxy import FaultProxy
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.small_road import small_road, submission

from .conftest import EhrProcess, run_ehr
from .test_ehr_changes_road import PEOPLE, given_road

SECRET = "what-the-ehr-says-to-be-known"


@pytest.fixture
def own_ehr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EhrProcess]:
    with run_ehr(tmp_path_factory.mktemp("ehr")) as process:
        yield process


@pytest.fixture
def circle(url: str, tmp_path: Path, own_ehr: EhrProcess) -> Iterator[Circle]:
    with small_road(url, tmp_path) as road, FaultProxy(own_ehr.url) as proxy:
        made = Circle(road, own_ehr.url, proxy)
        yield made
        made.world.close()


class Receiver:
    """Our receiver in a thread, with the subscriptions that it keeps in an EHR."""

    def __init__(self, database_url: str, ehr_url: str, secret: str = SECRET) -> None:
        self.port = free_port(set())
        self.url = f"http://127.0.0.1:{self.port}/ehr"
        keeper = Keeper(lambda: Subscriptions(Ehr(EhrSettings(ehr_url)), SECRET), self.url)
        app = make_app(lambda: database_url, None, secret, keeper)
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="warning", access_log=False))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Receiver:
        self.thread.start()
        until(lambda: self.server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()

    def tell(self, body: bytes = b"", secret: str = SECRET, path: str = "") -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        return requests.request(
            "PUT" if path else "POST", self.url + path, data=body, headers=headers, timeout=10
        ).status_code


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def subscriptions(ehr_url: str) -> list[dict[str, Any]]:
    found = requests.get(f"{ehr_url}/Subscription?_count=200", timeout=10).json()
    return [entry["resource"] for entry in found.get("entry", ())]


def active(ehr_url: str, endpoint: str | None = None) -> Counter[str]:
    return Counter(
        one["criteria"]
        for one in subscriptions(ehr_url)
        if one["status"] == "active" and endpoint in (None, one["channel"]["endpoint"])
    )


def is_one_set(ehr_url: str, endpoint: str) -> bool:
    """Each type once, and nothing else of ours in any state."""
    now = active(ehr_url, endpoint)
    return len(now) >= 8 and set(now.values()) == {1} and len(subscriptions(ehr_url)) == len(now)


class Sensor:
    """One tick in a thread: how many runs it asks for, and after how many seconds."""

    def __init__(self, circle: Circle) -> None:
        job = dg.define_asset_job("ehr_changes_job", selection=dg.AssetSelection.assets("ehr_changes"))
        self._sensor, self._road = ehr_changes.ehr_changes_sensor(job), given_road(circle)
        self.runs, self.seconds, self.cursor = -1, 0.0, None

    def tick(self) -> int:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance, cursor=self.cursor, resources={"road": self._road})
            began = time.monotonic()
            answer = self._sensor.evaluate_tick(context)
            self.seconds = time.monotonic() - began
        self.cursor = answer.cursor or self.cursor
        self.runs = len(answer.run_requests or ())
        return self.runs


@pytest.fixture
def listening(circle: Circle, monkeypatch: pytest.MonkeyPatch) -> Sensor:
    """A sensor that found nothing new: all that there was is read."""
    circle.road.send(submission(next(PEOPLE)))
    circle.deliver()
    sensor = Sensor(circle)
    assert sensor.tick() == 1
    circle.poll()
    monkeypatch.setattr(ehr_changes, "WAIT_SECONDS", 0.3)
    assert sensor.tick() == 0
    return sensor


def test_an_edit_in_the_ehr_is_an_event_within_seconds(
    circle: Circle, own_ehr: EhrProcess, listening: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ehr_changes, "WAIT_SECONDS", 25.0)
    with Receiver(circle.road.url, own_ehr.url) as receiver:
        until(lambda: is_one_set(own_ehr.url, receiver.url))
        time.sleep(hints_door.ECHO_SECONDS)  # what we delivered above is long past
        tick = threading.Thread(target=listening.tick)
        began = time.monotonic()
        tick.start()
        time.sleep(2)
        circle.provider.edit(circle.place("Patient"), multipleBirthInteger=2)
        tick.join(30)
        assert listening.runs == 1
        assert time.monotonic() - began < 8
        assert circle.poll().changes == 1
    assert circle.events() == 1


def test_what_another_made_is_told_too_and_what_we_deliver_is_no_hint(circle: Circle, own_ehr: EhrProcess) -> None:
    connection = circle.road.connection
    with Receiver(circle.road.url, own_ehr.url) as receiver:
        until(lambda: is_one_set(own_ehr.url, receiver.url))
        circle.road.send(submission(next(PEOPLE)))
        circle.deliver()
        until(lambda: hints(connection))  # the Patient at least
        time.sleep(0.5)
        assert not wait_for_hint(connection, EHR, 0, 0.0)
        assert hints(connection) < 20  # not each of the chart's resources
        time.sleep(hints_door.ECHO_SECONDS + 1)
        seen = hints(connection)
        me = {"reference": circle.place("Patient")}
        circle.provider.create("AllergyIntolerance", patient=me, code={"text": "Penicillin"})
        assert wait_for_hint(connection, EHR, seen, 10.0)


def test_with_the_receiver_dead_the_edit_is_found_by_asking(
    circle: Circle, own_ehr: EhrProcess, listening: Sensor
) -> None:
    nobody = f"http://127.0.0.1:{free_port(set())}/ehr"
    Subscriptions(Ehr(EhrSettings(own_ehr.url)), SECRET).keep(nobody)
    circle.provider.edit(circle.place("Patient"), multipleBirthInteger=2)
    assert listening.tick() == 1
    assert circle.poll().changes == 1


def test_with_a_wrong_secret_nothing_is_noted_and_the_edit_is_found_by_asking(
    circle: Circle, own_ehr: EhrProcess, listening: Sensor
) -> None:
    with Receiver(circle.road.url, own_ehr.url, secret="another") as receiver:
        until(lambda: is_one_set(own_ehr.url, receiver.url))
        circle.provider.edit(circle.place("Patient"), multipleBirthInteger=2)
        time.sleep(1)
        assert hints(circle.road.connection) == 0
        assert listening.tick() == 1
    assert circle.poll().changes == 1


def test_only_who_has_the_secret_is_heard_and_no_word_of_a_body_is_kept(circle: Circle, own_ehr: EhrProcess) -> None:
    connection = circle.road.connection
    with Receiver(circle.road.url, own_ehr.url) as receiver:
        assert receiver.tell(secret="another") == 401
        assert receiver.tell(b"x" * (LONGEST_BODY + 1)) == 413
        assert hints(connection) == 0
        resource = json.dumps({"resourceType": "Patient", "name": [{"family": "Canary"}]}).encode()
        assert receiver.tell(resource, path="/Patient/1") == 204
        assert hints(connection) == 1
        assert requests.post(f"http://127.0.0.1:{receiver.port}/crm", b"[]", timeout=10).status_code == 404
    rows = circle.road.rows(
        "select system, kind, since, seen from ops.poll_cursors where system = %s", hints_door.SYSTEM
    )
    assert rows == [(hints_door.SYSTEM, "hint", None, {})]


def test_when_we_stop_the_subscriptions_are_off_and_when_we_start_the_same_ones_are_on(
    url: str, own_ehr: EhrProcess
) -> None:
    with Receiver(url, own_ehr.url) as first:
        until(lambda: is_one_set(own_ehr.url, first.url))
        before = {one["id"] for one in subscriptions(own_ehr.url)}
    assert {one["status"] for one in subscriptions(own_ehr.url)} == {"off"}
    with Receiver(url, own_ehr.url) as second:
        until(lambda: is_one_set(own_ehr.url, second.url))
        assert {one["id"] for one in subscriptions(own_ehr.url)} == before


def test_what_is_doubled_is_deleted_what_has_failed_is_asked_for_again_and_others_are_left_alone(
    own_ehr: EhrProcess,
) -> None:
    endpoint = f"http://127.0.0.1:{free_port(set())}/ehr"
    keeper = Subscriptions(Ehr(EhrSettings(own_ehr.url)), SECRET)
    assert keeper.keep(endpoint) > 0
    until(lambda: is_one_set(own_ehr.url, endpoint))
    assert keeper.keep(endpoint) == 0
    patient = next(one for one in subscriptions(own_ehr.url) if one["criteria"] == "Patient?")
    for change in ({"id": None}, {"status": "error"}, {"end": "2026-01-01T00:00:00Z"}):
        sent = {name: value for name, value in {**patient, **change}.items() if value is not None}
        place = f"{own_ehr.url}/Subscription" + (f"/{sent['id']}" if "id" in sent else "")
        assert requests.request("PUT" if "id" in sent else "POST", place, json=sent, timeout=10).ok
        assert keeper.keep(endpoint) == 1
        until(lambda: is_one_set(own_ehr.url, endpoint))
    other = Subscriptions(Ehr(EhrSettings(own_ehr.url)), "another installation")
    other.keep(f"{endpoint}/other")
    assert keeper.turn_off() > 0
    assert len(active(own_ehr.url)) == len(active(own_ehr.url, f"{endpoint}/other")) > 0
    assert [one for one in subscriptions(own_ehr.url) if TAG_SYSTEM in str(one) and SECRET in str(one["meta"])] == []


class WithoutSubscriptions(FaultProxy):
    """A server that does not offer them, as its CapabilityStatement says."""

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        code, raw, kept = super().answer(method, path, body, headers)
        if path.endswith("/metadata"):
            statement = json.loads(raw)
            rest = statement["rest"][0]
            rest["resource"] = [one for one in rest["resource"] if one["type"] != "Subscription"]
            raw = json.dumps(statement).encode()
        return code, raw, kept


def test_a_server_without_subscriptions_is_left_alone(url: str, own_ehr: EhrProcess) -> None:
    with WithoutSubscriptions(own_ehr.url) as strict:
        with Receiver(url, strict.url):
            time.sleep(1.5)
        assert strict.writes == []
    assert subscriptions(own_ehr.url) == []


class Masking(FaultProxy):
    """A server that shows nobody the headers of a subscription."""

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        code, raw, kept = super().answer(method, path, body, headers)
        if method == "GET" and "/Subscription?" in path:
            found = json.loads(raw)
            for entry in found.get("entry", ()):
                del entry["resource"]["channel"]["header"]
            raw = json.dumps(found).encode()
        return code, raw, kept


def test_a_server_that_masks_the_secret_is_not_written_to_without_end(url: str, own_ehr: EhrProcess) -> None:
    with Masking(own_ehr.url) as masking:
        with Receiver(url, masking.url) as receiver:
            until(lambda: is_one_set(own_ehr.url, receiver.url))
            time.sleep(8)
            assert len(masking.writes) == 2
            assert is_one_set(own_ehr.url, receiver.url)
        assert not active(own_ehr.url)


def test_killed_and_started_anew_there_is_one_set_and_with_hints_off_there_is_none(
    url: str, tmp_path: Path, own_ehr: EhrProcess
) -> None:
    processes: list[subprocess.Popen[bytes]] = []

    def start(**more: str) -> str:
        port = free_port(set())
        endpoint = f"http://127.0.0.1:{port}/ehr"
        given = {
            "GLP1_HOME": str(tmp_path),
            "GLP1_DATABASE_URL": url,
            "GLP1_DAGSTER_DATABASE_URL": url,
            "GLP1_EHR_URL": own_ehr.url,
            "GLP1_EHR_HOOK_URL": endpoint,
            "GLP1_EHR_HINTS": "1",
            **more,
        }
        argv = [sys.executable, "-m", "uvicorn", "glp1_pipeline.adapters.hooks:app", "--factory", "--port", str(port)]
        processes.append(subprocess.Popen(argv, env={**os.environ, **given}))
        return endpoint

    try:
        first = start()
        until(lambda: is_one_set(own_ehr.url, first), 40)
        processes[-1].kill()
        second = start()
        until(lambda: is_one_set(own_ehr.url, second), 40)
        secret = (tmp_path / "secrets" / "ehr_hook_secret").read_text()
        tags = {tag["code"] for one in subscriptions(own_ehr.url) for tag in one["meta"]["tag"]}
        assert tags == {tag_of(secret)}
        processes[-1].kill()
        start(GLP1_EHR_HINTS="0")
        until(lambda: {one["status"] for one in subscriptions(own_ehr.url)} == {"off"}, 40)
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


def test_whoever_looks_after_the_subscriptions_outlives_a_fault_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made = threading.Event()

    def make() -> Any:
        if not made.is_set():
            made.set()
            raise KeyError("a Subscription without an id")
        again.set()
        raise EhrFailure("unreachable", None)

    again = threading.Event()
    monkeypatch.setattr(hooks, "LOOK_AGAIN_SECONDS", (0.01, 0.01, 0.01))
    keeper = Keeper(make, "http://127.0.0.1:1/ehr")
    keeper.start()
    assert again.wait(5)
    keeper.stop()
