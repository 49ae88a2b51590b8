"""What people change in a real EHR over HTTP becomes events: each once, none lost, our own writes never."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import requests

from glp1_pipeline.adapters.ehr import Ehr, EhrMisconfigured
from glp1_pipeline.adapters.ehr.changes import Poller
from glp1_pipeline.adapters.ehr.feed import Feed
from glp1_pipeline.adapters.ehr.polling import has_news, lag_seconds
from glp1_pipeline.domain.events import Decision, parse_event
from glp1_pipeline.sandbox.drills.proxy import FaultProxy, slow, status
from glp1_pipeline_tests.deliveries import Patient, World
from glp1_pipeline_tests.ehr_changes import (
    CONTRACT,
    PlainServer,
    Provider,
    age_cursor,
    age_sweep,
    begin_at,
    begin_now,
    chart,
    events,
    identify,
    poll,
    told,
)

from .conftest import KINDS, EhrProcess


@pytest.fixture
def world(url: str, ehr: EhrProcess) -> Iterator[World]:
    world = World(url, ehr.url)
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


def delivered(world: World, count: int = 1, client: Ehr | None = None) -> list[Patient]:
    """Patients whose charts are in the EHR, with all of it noticed as ours."""
    patients = world.patients(count)
    for patient in patients:
        world.plan(patient, chart(patient))
    world.drain(client)
    assert poll(world, client).changes == 0
    return patients


@KINDS
def test_what_a_provider_adds_to_our_patient_is_one_event_and_of_a_stranger_none(
    world: World, server_ids: bool
) -> None:
    provider = Provider(world)
    with FaultProxy(world.ehr_url, server_ids) as proxy:
        client = world.ehr(proxy.url)
        (patient,) = delivered(world, 1, client)
        stranger = provider.create("Patient", name=[{"family": "Canary-Stranger"}])
        me = provider.place(patient, "Patient", "me")
        for subject in (f"Patient/{stranger['id']}", me):
            added = provider.create(
                "AllergyIntolerance", patient={"reference": subject}, code={"text": "penicillin"},
                clinicalStatus={"coding": [{"code": "active"}]},
            )  # fmt: skip
        polled = poll(world, client)
        assert (polled.changes, polled.strangers) == (1, 2)
        assert poll(world, client).changes == 0
    (event,) = events(world)
    assert event["id"] == f"AllergyIntolerance/{added['id']}/_history/1"
    assert (event["subject"], event["data"]["record_id"]) == (me, str(patient.patient_id))


def test_an_edit_that_says_what_we_last_said_is_no_change_and_one_that_goes_back_further_is(world: World) -> None:
    (patient,), provider = delivered(world), Provider(world)
    me = provider.place(patient, "Patient", "me")
    world.plan(patient, identify(patient, patient.chart(2, "Canary-Married")))
    world.deliver()
    assert poll(world).changes == 0
    provider.edit(me)  # a new version of the same content
    assert poll(world).changes == 0
    world.connection.execute(
        "update ops.writes set settled_at = settled_at - interval '1 hour' where target = %s", (world.target,)
    )
    back = provider.edit(me, name=[{"family": "Canary", "given": ["Invented"]}])
    assert poll(world).changes == 1
    assert told(world) == [(me, back["meta"]["versionId"], False)]


def test_a_write_under_way_is_not_misread_as_an_edit(world: World) -> None:
    (patient,), provider = delivered(world), Provider(world)
    weight = provider.place(patient, "Observation", "weight")
    write_id = world.plan(patient, identify(patient, patient.chart(2, "Canary")))
    # It landed, and nobody has told us yet; a server that adds something of its own to it makes it look different.
    world.connection.execute("update ops.writes set status = 'in_doubt' where write_id = %s", (write_id,))
    provider.edit(weight, valueQuantity={"value": 82.0, "unit": "kg"}, note=[{"text": "added by the server"}])
    first = poll(world)
    assert (first.changes, first.later) == (0, 1)
    assert poll(world).later == 1  # still under way: still not forgotten
    world.drain()
    world.connection.execute(
        "update ops.writes set settled_at = settled_at - interval '1 hour' where target = %s", (world.target,)
    )
    assert poll(world).changes == 1  # it was an edit after all: ours stood back for it
    assert [place for place, _, _ in told(world)] == [weight]
    assert poll(world).later == 0


@pytest.mark.parametrize("history", [True, False], ids=["keeps a history", "keeps none"])
@pytest.mark.parametrize("code", [410, 404])
def test_a_delete_is_noticed_on_every_kind_of_server(world: World, history: bool, code: int) -> None:
    provider = Provider(world)
    with PlainServer(world.ehr_url, history=history, gone=code) as proxy:
        client = world.ehr(proxy.url)
        patient, other = delivered(world, 2, client)
        weight = provider.place(patient, "Observation", "weight")
        age_cursor(world)
        poll(world, client)
        provider.delete(weight)
        while not events(world):
            age_sweep(world)
            assert poll(world, client).trouble == ""
        age_sweep(world)
        assert poll(world, client).changes == 0
    (event,) = events(world)
    assert (event["data"]["deleted"], event["data"]["resource"]["valueQuantity"]["value"]) == (True, 81.0)
    assert event["data"]["record_id"] == str(patient.patient_id)
    assert told(world) == [(weight, "2" if history else "1.deleted", True)]
    assert provider.place(other, "Observation", "weight")


def test_what_a_provider_added_and_deleted_again_is_noticed_too(world: World) -> None:
    (patient,), provider = delivered(world), Provider(world)
    added = provider.create(
        "Condition", subject={"reference": provider.place(patient, "Patient", "me")}, code={"text": "gout"}
    )
    place = f"Condition/{added['id']}"
    assert poll(world).changes == 1
    provider.delete(place)
    assert (poll(world).deletes, poll(world).deletes) == (1, 0)
    assert told(world) == [(place, "1", False), (place, "2", True)]
    assert events(world)[1]["data"]["resource"]["code"] == {"text": "gout"}


@pytest.mark.parametrize("links", [True, False], ids=["with next links", "without next links"])
def test_two_hundred_edits_in_one_instant_are_all_noticed(world: World, links: bool) -> None:
    provider = Provider(world)
    begin_at(world, datetime.now(UTC) - timedelta(seconds=30))
    with PlainServer(world.ehr_url, links=links, one_instant=True) as proxy:
        client = world.ehr(proxy.url)
        (patient,) = delivered(world, 1, client)
        me = {"reference": provider.place(patient, "Patient", "me")}
        provider.batch("Condition", [{"subject": me, "code": {"text": f"finding {n}"}} for n in range(200)])
        age_cursor(world)
        assert poll(world, client, page_size=20).changes == 200
        assert poll(world, client, page_size=20).changes == 0
        provider.batch("Condition", [{"subject": me, "code": {"text": "after it"}}])
        assert poll(world, client, page_size=20).changes == 1
    said = {event["data"]["resource"]["code"]["text"] for event in events(world)}
    assert said == {f"finding {n}" for n in range(200)} | {"after it"}


class Nests(FaultProxy):
    """An EHR that takes a resource which is nested without end, as some do."""

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        code, raw, kept = super().answer(method, path, body, headers)
        return code, raw.replace(b'"without end"', b'{"extension":[' * 300 + b"{}" + b"]}" * 300), kept


@pytest.mark.parametrize("ends", [False, True])
def test_a_resource_that_is_nested_without_end_keeps_nobody_from_what_changed_after_it(
    world: World, ends: bool
) -> None:
    provider = Provider(world)
    with Nests(world.ehr_url) as proxy:
        client = world.ehr(proxy.url)
        (patient,) = delivered(world, 1, client)
        me = {"reference": provider.place(patient, "Patient", "me")}
        deep = provider.create("Condition", subject=me, code={"text": "planted"}, note=[{"text": "without end"}])
        provider.create("Condition", subject=me, code={"text": "after it"})
        assert poll(world, client).changes == 2
        if ends:
            provider.delete(f"Condition/{deep['id']}")
            assert poll(world, client).deletes == 1
    said = [event["data"]["resource"]["code"]["text"] for event in events(world)]
    assert sorted(said) == sorted(["planted", "after it", *(["planted"] if ends else [])])


def test_a_page_that_another_edit_moves_loses_nothing(world: World) -> None:
    """What is edited while we read moves to the end, and everything behind it one row forward."""
    (patient,), provider = delivered(world), Provider(world)
    me = {"reference": provider.place(patient, "Patient", "me")}
    provider.batch("Condition", [{"subject": me, "code": {"text": f"finding {n}"}} for n in range(30)])
    with PlainServer(world.ehr_url) as proxy:
        moved = iter(range(5))

        def edit_first(path: str) -> None:
            if "/Condition?" in path and next(moved, None) is not None:
                newest = requests.get(f"{world.ehr_url}/Condition?_sort=-_lastUpdated&_count=40", timeout=10).json()
                oldest = [e["resource"] for e in newest["entry"] if "finding" in e["resource"]["code"]["text"]][-1]
                provider.edit(f"Condition/{oldest['id']}", note=[{"text": "moved"}])

        proxy.before_read = edit_first
        poll(world, world.ehr(proxy.url), page_size=10)
        poll(world, world.ehr(proxy.url), page_size=10)
    said = {event["data"]["resource"]["code"]["text"] for event in events(world)}
    assert said == {f"finding {n}" for n in range(30)}


def test_a_change_that_the_server_shows_late_is_noticed(world: World) -> None:
    """A transaction that commits after others which were stamped later."""
    (patient,), provider = delivered(world), Provider(world)
    me = {"reference": provider.place(patient, "Patient", "me")}
    with PlainServer(world.ehr_url) as proxy:
        client = world.ehr(proxy.url)
        hidden = provider.create("Condition", subject=me, code={"text": "slow transaction"})
        proxy.hidden.add(hidden["id"])
        provider.create("Condition", subject=me, code={"text": "quick one"})
        assert poll(world, client).changes == 1
        assert poll(world, client).changes == 0
        proxy.hidden.clear()
        assert poll(world, client).changes == 1
        assert poll(world, client).changes == 0


def test_a_server_whose_clock_is_set_back_loses_nothing(world: World) -> None:
    (patient,), provider = delivered(world), Provider(world)
    me = {"reference": provider.place(patient, "Patient", "me")}
    with PlainServer(world.ehr_url) as proxy:
        client = world.ehr(proxy.url)
        proxy.ahead = timedelta(hours=1)
        provider.create("Condition", subject=me, code={"text": "by a clock ahead"})
        assert poll(world, client).changes == 1
        age_cursor(world)
        for _ in range(3):
            poll(world, client)
        proxy.ahead = timedelta(0)
        provider.create("Condition", subject=me, code={"text": "by the right clock"})
        assert poll(world, client).changes == 1


def test_a_poller_that_is_killed_between_its_events_and_its_place_repeats_and_doubles_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (patient,), provider = delivered(world), Provider(world)
    edited = provider.edit(provider.place(patient, "Patient", "me"), birthDate="1984-06-30")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Poller, "save", die)
        with pytest.raises(KeyboardInterrupt):
            poll(world)
    assert events(world) == []  # one transaction: neither the event nor the place
    assert (poll(world).changes, poll(world).changes) == (1, 0)
    # As after a restore of the cursors alone: what is read again is known by its id.
    world.connection.execute("delete from ops.poll_cursors where system = %s", (world.target,))
    begin_at(world, datetime.fromisoformat(edited["meta"]["lastUpdated"]))
    assert poll(world).changes == 0
    assert len(events(world)) == 1


def test_a_server_that_answers_late_delays_a_change_and_loses_none(world: World) -> None:
    (patient,), provider = delivered(world), Provider(world)
    provider.edit(provider.place(patient, "Patient", "me"), birthDate="1984-06-30")
    with FaultProxy(world.ehr_url) as proxy:
        proxy.read_rule = lambda _: slow(1.2)
        late = poll(world, world.ehr(proxy.url, read_timeout=0.5))
        assert (late.changes, late.trouble, late.is_complete) == (0, "no_answer", False)
        proxy.read_rule = lambda _: status(503)
        assert poll(world, world.ehr(proxy.url)).trouble == "unavailable"
        proxy.read_rule = None
        assert poll(world, world.ehr(proxy.url)).changes == 1


def test_time_that_is_over_is_taken_up_again_where_it_ended(world: World) -> None:
    (patient,), provider = delivered(world), Provider(world)
    me = {"reference": provider.place(patient, "Patient", "me")}
    for n in range(3):
        provider.batch("Condition", [{"subject": me, "code": {"text": f"finding {n}.{m}"}} for m in range(10)])
    rounds = [poll(world, page_size=10, seconds=0.0 if n == 0 else 20.0) for n in range(3)]
    assert (rounds[0].is_complete, rounds[1].is_complete) == (False, True)
    assert sum(one.changes for one in rounds) == 30


def test_one_poller_at_a_time(world: World) -> None:
    (patient,), provider = delivered(world), Provider(world)
    provider.edit(provider.place(patient, "Patient", "me"), birthDate="1984-06-30")
    with psycopg.connect(world.database_url, autocommit=True) as other:
        other.execute("select pg_advisory_lock(hashtextextended(%s, 11))", (f"changes of {world.target}",))
        assert poll(world).is_elsewhere
        assert events(world) == []
    assert poll(world).changes == 1


def test_a_link_to_another_server_is_never_followed(world: World) -> None:
    (patient,) = world.patients(1)
    world.plan(patient, chart(patient))
    world.deliver(world.ehr())
    with PlainServer(world.ehr_url, next_host="http://127.0.0.2:9") as proxy:
        feed = Feed(world.ehr(proxy.url), page_size=1)
        page = feed._page("Patient", "/Patient?_sort=_lastUpdated&_count=1", None)
        assert (len(page.entries), page.next_path) == (1, None)


def test_a_server_that_ignores_the_order_is_refused_rather_than_read_with_holes(world: World) -> None:
    delivered(world, 2)
    with PlainServer(world.ehr_url, ignores_since=True) as proxy, pytest.raises(EhrMisconfigured, match="_lastUpdated"):
        poll(world, world.ehr(proxy.url))


def test_a_merge_done_in_the_ehr_is_told_as_a_merge_once(world: World) -> None:
    (kept, gone), provider = delivered(world, 2), Provider(world)
    survivor, retired = provider.place(kept, "Patient", "me"), provider.place(gone, "Patient", "me")
    link = [{"type": "replaced-by", "other": {"reference": survivor}}]
    provider.edit(retired, active=False, link=link)
    polled = poll(world)
    assert (polled.changes, polled.merges) == (2, 1)
    provider.edit(retired, active=False, link=link, birthDate="1984-06-30")
    assert poll(world).merges == 0
    (merge,) = [event for event in events(world) if event["type"] == "patient.merged"]
    assert merge["data"] == {
        "survivor_id": str(kept.patient_id), "retired_id": str(gone.patient_id), "reason": "merged in the EHR",
        "actor": "ehr",
    }  # fmt: skip
    _, decision = parse_event(merge, CONTRACT)
    assert isinstance(decision, Decision)
    assert decision.records == (str(kept.patient_id), str(gone.patient_id))


def test_a_provenance_of_the_same_moment_says_who_it_was(world: World) -> None:
    (patient,), provider = delivered(world), Provider(world)
    weight = provider.place(patient, "Observation", "weight")
    provider.edit(weight, status="final")
    doctor = provider.create("Practitioner", name=[{"family": "Canary-Doctor"}])
    provider.create(
        "Provenance", target=[{"reference": weight}], recorded="2026-01-01T00:00:00Z",
        agent=[{"who": {"reference": f"Practitioner/{doctor['id']}"}}],
    )  # fmt: skip
    assert poll(world).changes == 1
    (event,) = events(world)
    assert event["data"]["actor"] == f"Practitioner/{doctor['id']}"
    assert "Canary-Doctor" not in str(event)


def test_after_a_412_ours_stands_back_and_their_edit_is_an_event(world: World) -> None:
    (patient,), provider = delivered(world), Provider(world)
    me = provider.place(patient, "Patient", "me")
    edited = provider.edit(me, birthDate="1984-06-30")
    world.plan(patient, identify(patient, patient.chart(2, "Canary-Married")))
    world.deliver()
    assert world.conflicts(patient) == {f"Patient/{patient.rid('me')}": ("edited_in_ehr", None)}
    assert poll(world).changes == 1
    assert told(world) == [(me, edited["meta"]["versionId"], False)]


@pytest.mark.parametrize("links", [True, False], ids=["with next links", "without next links"])
def test_an_instant_of_more_changes_than_the_server_gives_at_once(world: World, links: bool) -> None:
    """By its links all of them are read; where it has none, it is said and nothing is skipped in silence."""
    provider = Provider(world)
    begin_at(world, datetime.now(UTC) - timedelta(seconds=30))
    with PlainServer(world.ehr_url, links=links, one_instant=True, most=25) as proxy:
        client = world.ehr(proxy.url)
        (patient,) = delivered(world, 1, client)
        me = {"reference": provider.place(patient, "Patient", "me")}
        provider.batch(
            "Procedure", [{"status": "completed", "subject": me, "code": {"text": str(n)}} for n in range(90)]
        )
        age_cursor(world)
        if not links:
            with pytest.raises(EhrMisconfigured, match="next"):
                poll(world, client, page_size=20)
            return
        assert poll(world, client, page_size=20).changes == 90
    assert {event["data"]["resource"]["code"]["text"] for event in events(world)} == {str(n) for n in range(90)}


def test_a_look_costs_one_call_and_sees_that_something_changed(world: World) -> None:
    (patient,), provider = delivered(world), Provider(world)
    client = world.ehr()
    world.connection.execute("delete from ops.poll_cursors where system = %s", (world.target,))
    whole = poll(world)  # from the first resource ever
    assert (whole.is_complete, whole.changes) == (True, 0)
    assert not has_news(world.connection, client, world.target)
    provider.edit(provider.place(patient, "Patient", "me"), birthDate="1984-06-30")
    assert has_news(world.connection, client, world.target)
    assert poll(world).changes == 1
    assert not has_news(world.connection, client, world.target)
    lag = lag_seconds(world.connection, world.target)
    assert lag is not None
    assert lag < 60
