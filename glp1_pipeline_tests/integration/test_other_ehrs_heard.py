"""Somebody else's EHR is listened to: whatever it does its own way, no change there is passed over or heard twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from glp1_pipeline.adapters.ehr import EhrFailure, EhrMisconfigured
from glp1_pipeline.adapters.ehr.polling import has_news
from glp1_pipeline_tests.deliveries import World
from glp1_pipeline_tests.ehr_changes import age_cursor, chart, events, told
from glp1_pipeline_tests.other_ehr import Make, Resource, Told, outcome
from glp1_pipeline_tests.other_ehr_site import INTERNAL, at, warned


@pytest.fixture
def world(url: str) -> Iterator[World]:
    world = World(url, "http://127.0.0.1/none")
    yield world
    world.close()


PAGES = {
    "that leads to itself by its own name": (INTERNAL, INTERNAL),
    "by another path of its own": ("https://inside.example.org/x/y", "https://inside.example.org/x/y"),
    "to a host that nobody names": (INTERNAL, None),
}


@pytest.mark.parametrize("link", PAGES)
def test_no_change_is_passed_over_where_pages_are_short_and_the_link_to_the_next_names_another_host(
    world: World, link: str
) -> None:
    """From the last instant of a page it goes on by itself; a page with a link to more is never taken for the last."""
    base, says = PAGES[link]
    make = Make(most=20, total=False, calls_itself=base, statement=lambda s: {**s, "implementation": {"url": says}})
    with at(world, make) as site:
        site.deliver(chart(site.patient))
        assert site.poll().changes == 0
        for n in range(60):
            site.ehr.add("Condition", subject={"reference": site.me}, code={"text": str(n)})
        assert site.poll().changes == 60
    assert {event["data"]["resource"]["code"]["text"] for event in events(world)} == {str(n) for n in range(60)}


@pytest.mark.parametrize("links", ["good", "loop"])
def test_what_comes_after_a_page_of_which_all_is_withheld_is_heard(world: World, links: str) -> None:
    make = Make(most=20, links=links, withholds=lambda one: one.get("code") == {"text": "not for us"})
    with at(world, make) as site:
        for _ in range(50):
            site.ehr.add("Condition", code={"text": "not for us"})
        site.deliver(chart(site.patient))
        assert site.poll().changes == 0
        site.ehr.add("Condition", subject={"reference": site.me}, code={"text": "asthma"})
        age_cursor(world)
        site.poll()
    assert [event["data"]["resource"]["code"]["text"] for event in events(world)] == ["asthma"]


def test_an_instant_of_more_than_a_page_is_read_by_links_to_itself_or_it_is_said_and_nothing_skipped(
    world: World,
) -> None:
    make = Make(most=20, total=False, calls_itself=INTERNAL, precision=timedelta(hours=1))
    says = [None, INTERNAL]
    make.statement = lambda s: {**s, "implementation": {"url": says[0]}}
    with at(world, make) as site:
        site.deliver(chart(site.patient))
        for n in range(60):
            site.ehr.add("Condition", subject={"reference": site.me}, code={"text": str(n)})
        with pytest.raises(EhrMisconfigured, match=r"next.*implementation\.url"):
            site.poll()
        assert len(events(world)) < 60
        del says[0]
        site.client = world.ehr(site.ehr.url)
        site.poll()
        assert len(events(world)) == 60


def test_links_that_lead_in_a_circle_cost_a_few_calls(world: World) -> None:
    with at(world, Make(links="loop")) as site:
        site.deliver(chart(site.patient))
        site.poll()
        before = len(site.ehr.asked)
        age_cursor(world)
        site.poll()
        assert len(site.ehr.asked) - before < 100


def test_what_refers_to_our_patient_by_the_address_that_the_server_has_for_itself_is_heard(world: World) -> None:
    with at(world, Make(calls_itself=INTERNAL)) as site:
        site.deliver(chart(site.patient))
        assert site.poll().changes == 0
        for host in (INTERNAL, "http://elsewhere:8080/fhir"):
            site.ehr.add("Condition", subject={"reference": f"{host}/{site.me}"}, code={"text": host})
        polled = site.poll()
        assert (polled.changes, polled.strangers) == (1, 1)
    (event,) = events(world)
    assert event["subject"] == site.me
    assert event["data"]["record_id"] == str(site.patient.patient_id)


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/Mr Canary"},
        {"reference": "http://[Canary/Patient/1"},
        {"type": "Patient", "identifier": {"system": "urn:mrn", "value": "12 34&_id=1"}},
    ],
    ids=["no id", "no address", "an identifier of words"],
)
def test_a_stranger_whose_patient_is_named_in_no_way_that_can_be_asked_holds_up_nothing(
    world: World, subject: Resource
) -> None:
    with at(world, Make()) as site:
        site.deliver(chart(site.patient))
        assert site.poll().changes == 0
        site.ehr.add("Condition", subject=subject, code={"text": "of a stranger"})
        site.ehr.add("Condition", subject={"reference": site.me}, code={"text": "asthma"})
        polled = site.poll()
        assert (polled.trouble, polled.changes, polled.strangers) == ("", 1, 1)


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_a_type_whose_changes_are_refused_is_told_and_holds_up_no_other(world: World, status: int) -> None:
    def no_tasks(method: str, path: str, body: Any) -> Told | None:
        return (status, outcome(), {}) if method == "GET" and path == "Task" else None

    with at(world, Make(refuses=no_tasks)) as site:
        site.deliver(chart(site.patient))
        for said in ("asthma", "gout"):
            added = site.ehr.add("Condition", subject={"reference": site.me}, code={"text": said})
            with pytest.raises(EhrMisconfigured, match=rf"changes of Task.*{status}.*_lastUpdated"):
                site.poll()
            assert [place for place, _, _ in told(world)][-1] == added
        assert len(events(world)) == 2


def test_no_word_to_a_question_is_not_taken_for_nothing_there(world: World) -> None:
    with at(world, Make()) as site:
        site.ehr.make.spoken = lambda text: b"" if b'"total"' in text or b'"searchset"' in text else text
        for question in ("/Patient?_summary=count", "/Patient?_count=1"):
            with pytest.raises(EhrFailure) as told:
                site.client.wire.call("GET", question)
            assert told.value.trouble == "rubbish"


def test_warnings_beside_what_was_found_are_no_news(world: World) -> None:
    with at(world, Make(answers=warned)) as site:
        site.deliver(chart(site.patient))
        site.poll()
        site.poll()
        assert not has_news(world.connection, site.client, world.target)
        site.ehr.add("Condition", subject={"reference": site.me}, code={"text": "asthma"})
        assert has_news(world.connection, site.client, world.target)
