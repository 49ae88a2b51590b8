"""What people change in a real EHR over HTTP becomes events: each once, none lost, our own writes never."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from glp1_pipeline_tests.deliveries import World
from glp1_pipeline_tests.ehr_changes import Provider, begin_now, chart, events, identify, poll, told
from glp1_pipeline_tests.fault_proxy import FaultProxy

from .conftest import EhrProcess

KINDS = pytest.mark.parametrize("server_ids", [False, True], ids=["takes our ids", "makes its own ids"])


@pytest.fixture
def world(database_url: str, ehr: EhrProcess) -> Iterator[World]:
    world = World(database_url, ehr.url)
    begin_now(world)
    yield world
    world.close()


@KINDS
def test_what_we_deliver_is_no_change_and_what_a_provider_edits_is_one_event(world: World, server_ids: bool) -> None:
    patient, provider = world.patients(1)[0], Provider(world)
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        client = world.ehr(proxy.url)
        world.plan(patient, chart(patient, extra=5))
        world.deliver(client)
        first = poll(world, client)
        assert (first.changes, first.trouble, first.is_complete) == (0, "", True)
        assert first.echoes >= 9
        me = provider.place(patient, "Patient", "me")
        edited = provider.edit(me, telecom=[{"system": "phone", "value": "+12025550147"}])
        world.plan(patient, identify(patient, patient.chart(2, "Canary-Two")))
        world.deliver(client)  # the edited Patient is left alone, the weight goes
        assert poll(world, client).changes == 1
        assert poll(world, client).changes == 0
    (event,) = events(world)
    assert event["type"] == "chart.updated"
    assert (event["source"], event["subject"]) == (f"/ehr/{world.target}", me)
    assert event["id"] == f"{me}/_history/{edited['meta']['versionId']}"
    assert event["data"]["record_id"] == str(patient.patient_id)
    assert event["data"]["resource"]["telecom"] == edited["telecom"]
    assert told(world) == [(me, edited["meta"]["versionId"], False)]
