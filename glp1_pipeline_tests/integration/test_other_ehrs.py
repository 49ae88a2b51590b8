"""Somebody else's EHR is delivered to: whatever a FHIR server does its own way, each change is there once, in order, and is explained."""

from __future__ import annotations

import time
import uuid
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from datetime import timedelta, timezone
from typing import Any

import pytest

from glp1_pipeline.adapters.ehr import EhrMisconfigured
from glp1_pipeline.adapters.ehr.wire import OAUTH_URIS
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline_tests.deliveries import World, write_kind
from glp1_pipeline_tests.ehr_changes import chart, identify, told
from glp1_pipeline_tests.other_ehr import Make, Resource, Told, outcome
from glp1_pipeline_tests.other_ehr_site import INTERNAL, at, warned

from .conftest import KINDS


def no_etag(version: str) -> None:
    return None


def with_text(resource: Resource) -> Resource:
    narrative = {"status": "generated", "div": "<div xmlns='http://www.w3.org/1999/xhtml'>made here</div>"}
    return {**resource, "text": narrative, "meta": {**(resource.get("meta") or {}), "profile": ["urn:of:the:server"]}}


def whole_numbers(value: Any) -> Any:
    """As JavaScript writes them."""
    if isinstance(value, dict):
        return {k: whole_numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [whole_numbers(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def turned(resource: Resource) -> Resource:
    given = resource.get("identifier")
    return {**resource, "identifier": given[::-1]} if isinstance(given, list) else resource


def all_of_it(resource: Resource) -> Resource:
    return turned(whole_numbers(with_text(resource)))


def short_status(answer: Resource) -> Resource:
    for entry in answer["entry"]:
        entry["response"]["status"] = entry["response"]["status"][:3]
    return warned(answer)


def no_response(answer: Resource) -> Resource:
    """To a transaction, entries that say nothing of what became of them."""
    if answer["type"] == "transaction-response":
        answer["entry"] = [{"resource": entry["resource"]} for entry in answer["entry"]]
    return answer


def no_word(answer: Resource) -> Any:
    """To what writes, which it was asked to answer in few words."""
    is_write = any("resource" not in e and e["response"]["status"].startswith("2") for e in answer["entry"])
    return "" if is_write else answer


def client_too(statement: Resource) -> Resource:
    """It is a client as well, of a server that is the other way."""
    (server,) = statement["rest"]
    other_way = not server["resource"][0]["updateCreate"]
    client = {"mode": "client", "resource": [{"type": "Patient", "updateCreate": other_way, "searchParam": []}]}
    return {**statement, "rest": [server, client]}


def terse(statement: Resource) -> Resource:
    for rest in statement["rest"]:
        del rest["interaction"]
        for resource in rest["resource"]:
            for name in ("interaction", "searchParam", "conditionalCreate"):
                del resource[name]
    return statement


def few_words(token: Resource) -> Resource:
    return {"access_token": token["access_token"], "scope": "system/*.*", "id_token": "x"}


MAKES: dict[str, Make] = {
    "behind a proxy that takes its host away": Make(calls_itself=INTERNAL, most=20, prefix="/a/b/ehr/r4"),
    "all relative, versions in etags alone": Make(relative=True, names_version_in_place=False, most=20),
    "neither etags nor versions in places": Make(names_version_in_place=False, etag=no_etag),
    "neither places nor etags": Make(names_place=False, etag=no_etag),
    "no places but resources, strong etags": Make(
        names_place=False, echoes_resource=True, etag=lambda version: f'"{version}"'
    ),
    "etags that are no version": Make(etag=lambda v: f'W/"{uuid.uuid5(uuid.NAMESPACE_DNS, v).hex}=="'),
    "versions that are uuids, 200 for what is new": Make(version=lambda n: str(uuid.uuid4()), created="200 OK"),
    "a bare status, and warnings": Make(answers=short_status),
    "entries without a response": Make(answers=no_response, echoes_resource=True),
    "short pages without total, in circles": Make(most=20, total=False, links="loop"),
    "instants of a second in another zone": Make(
        precision=timedelta(seconds=1), zone=timezone(-timedelta(hours=5, minutes=30)), most=20
    ),
    "slow to find": Make(stale_for=0.3),
    "a short statement, no history": Make(statement=terse, history=False),
    "a client as well": Make(statement=client_too),
    "plain and packed json": Make(gzips=True, content_type="application/json;charset=UTF-8"),
    "content of its own": Make(keeps=all_of_it),
    "a mark of its byte order before each text": Make(spoken=lambda text: BOM_UTF8 + text),
    "not a word of what it wrote": Make(answers=no_word),
    "batches alone": Make(transactions="none"),
    "heeds no ifNoneExist": Make(heeds_if_none_exist=False),
    "tokens of a moment": Make(token_seconds=0.3),
    "tokens of unknown length": Make(token_seconds=0.5, token_says=few_words),
    "tokens whose seconds are a text": Make(token_seconds=1, token_says=lambda t: {**t, "expires_in": "1"}),
}


@pytest.fixture
def world(url: str) -> Iterator[World]:
    world = World(url, "http://127.0.0.1/none")
    yield world
    world.close()


def made(make: Make, **more: Any) -> Make:
    return Make(**{**vars(make), **more})


@KINDS
@pytest.mark.parametrize("make", MAKES)
def test_a_chart_and_its_change_are_there_once_and_an_edit_is_heard_once(
    world: World, make: str, server_ids: bool
) -> None:
    with at(world, made(MAKES[make], takes_our_ids=not server_ids)) as site:
        patient, ehr = site.patient, site.ehr
        site.deliver(chart(patient, extra=25))
        site.deliver(identify(patient, patient.chart(2, "Canary-Two")))
        assert world.statuses() == {"delivered": 2}
        assert world.conflicts(patient) == {}
        if MAKES[make].answers is not no_response:  # what is not told is asked for, and no trouble
            assert world.outcomes() == ["delivered", "delivered"]
        assert [len(ehr.all_of(kind)) for kind in ("Patient", "Observation", "Provenance")] == [1, 26, 2]
        names = [v.content["name"][0]["family"] for v in ehr.kept[site.me] if v.content]
        assert names == ["Canary", "Canary-Two"]
        first = site.poll()
        assert (first.changes, first.trouble, first.is_complete) == (0, "", True)
        assert compare(world.connection, site.client, world.cipher, world.target).holds
        ehr.edit(site.me, telecom=[{"system": "phone", "value": "+12025550147"}])
        added = ehr.add("Condition", subject={"reference": site.me}, code={"text": "asthma"})
        assert [site.poll().changes, site.poll().changes] == [2, 0]
        assert {place for place, _, _ in told(world)} == {site.me, added}


def once(answer: Told | Callable[[Any], Told | None]) -> Callable[[str, str, Any], Told | None]:
    """The first bundle that writes gets this answer."""
    left = [answer]

    def refuses(method: str, path: str, body: Any) -> Told | None:
        if method == "POST" and body["entry"][0]["request"]["method"] != "GET" and left:
            given = left.pop()
            return given(body) if callable(given) else given
        return None

    return refuses


@KINDS
@pytest.mark.parametrize("status", [409, 412])
def test_a_bundle_refused_because_something_moved_is_sent_again_after_a_look(
    world: World, status: int, server_ids: bool
) -> None:
    make = Make(takes_our_ids=not server_ids, refuses=once((status, outcome(), {})))
    with at(world, make) as site:
        site.deliver(chart(site.patient))
        assert world.statuses() == {"delivered": 1}
        assert len(site.ehr.all_of("Patient")) == 1


@KINDS
def test_a_write_of_unknown_outcome_is_ours_whatever_the_server_made_of_it(world: World, server_ids: bool) -> None:
    """Its narrative, its order of identifiers and its spelling of numbers are no edit of anybody."""
    lost = [True]

    def loses_first(answer: Resource) -> Resource:
        is_write = answer["type"] == "transaction-response"
        return outcome("warning") if is_write and lost and lost.pop() else answer

    with at(world, Make(takes_our_ids=not server_ids, keeps=all_of_it, answers=loses_first)) as site:
        site.deliver(chart(site.patient))
        assert world.outcomes() == ["delivered", "in_doubt"]
        assert world.conflicts(site.patient) == {}
        assert len(site.ehr.all_of("Patient")) == 1


@KINDS
@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("transactions", ["whole", "in part"])
def test_an_update_of_what_was_deleted_there_holds_nothing_else_whatever_it_is_refused_with(
    world: World, status: int, transactions: str, server_ids: bool
) -> None:
    with at(world, Make(takes_our_ids=not server_ids, transactions=transactions)) as site:
        patient = site.patient
        site.deliver(chart(patient))
        flag = "Flag/" + world.remote(patient)[f"Flag/{patient.rid('red')}"][0]
        site.ehr.delete(flag)
        site.ehr.make.refuses_entry = lambda entry: status if entry["request"]["url"] == flag else None
        site.deliver(patient.change(2, patient.flag("inactive"), patient.condition("asthma")))
        assert world.statuses() == {"delivered": 2}
        assert world.conflicts(patient) == {f"Flag/{patient.rid('red')}": ("deleted_in_ehr", None)}
        assert site.ehr.now("Condition/" + world.remote(patient)[f"Condition/{patient.rid('asthma')}"][0])


def fails_first(kind: str, status: int) -> Callable[[Resource], int | None]:
    left = [status]
    return lambda entry: left.pop() if left and entry["resource"]["resourceType"] == kind else None


@KINDS
@pytest.mark.parametrize("status", [409, 429, 500])
def test_what_failed_within_a_transaction_that_was_not_whole_is_sent_again_and_nobody_deleted_it(
    world: World, status: int, server_ids: bool
) -> None:
    make = Make(takes_our_ids=not server_ids, transactions="in part", refuses_entry=fails_first("Condition", status))
    with at(world, make) as site:
        site.deliver(chart(site.patient))
        assert world.conflicts(site.patient) == {}
        assert [len(site.ehr.all_of(kind)) for kind in ("Patient", "Condition", "Provenance")] == [1, 1, 1]
        assert site.poll().changes == 0


@KINDS
def test_what_is_refused_within_a_transaction_that_was_not_whole_is_told_as_refused(
    world: World, server_ids: bool
) -> None:
    make = Make(takes_our_ids=not server_ids, transactions="in part", refuses_entry=fails_first("Condition", 422))
    with at(world, make) as site:
        world.plan(site.patient, chart(site.patient))
        world.deliver(site.client)
        assert [(status, why) for _, status, _, why in world.writes()] == [("dead", "rejected")]
        assert world.conflicts(site.patient) == {}


@KINDS
def test_a_patient_who_is_there_twice_is_found_also_where_the_server_counts_nothing(
    world: World, server_ids: bool
) -> None:
    with at(world, Make(takes_our_ids=not server_ids, total=False)) as site:
        site.deliver(chart(site.patient))
        me = site.ehr.now(site.me)
        assert me is not None
        site.ehr.add("Patient", identifier=me["identifier"])
        assert compare(world.connection, site.client, world.cipher, world.target).doubled == 1


@pytest.mark.parametrize("token", ["", "two\nlines", "\u0142"], ids=["empty", "lines", "letters of no header"])
def test_a_token_that_cannot_be_sent_is_a_bad_answer_of_the_server_and_no_fault_of_ours(
    world: World, token: str
) -> None:
    with at(world, Make(token_seconds=60, token_says=lambda told: {**told, "access_token": token})) as site:
        world.plan(site.patient, chart(site.patient))
        world.deliver(site.client)
        assert [why for _, _, _, why in world.writes()] == ["rubbish"]
        site.ehr.make.token_says = lambda told: told
        world.drain(site.client)
        assert world.statuses() == {"delivered": 1}


@pytest.mark.parametrize("told", ["0", "Mon, 01 Jan 2024 00:00:00 GMT"])
def test_an_ehr_that_wants_a_rest_of_no_time_is_not_stormed(world: World, told: str) -> None:
    make = Make(refuses=lambda method, path, body: (429, outcome(), {"Retry-After": told}) if not path else None)
    with at(world, make) as site:
        for one in world.patients(8):
            world.plan(one, chart(one))
        kind = write_kind(world.target, first_retry_seconds=2.0, max_retry_seconds=60.0)
        world.deliver(site.client, kind=kind)
        before = len(site.ehr.asked)
        until = time.monotonic() + 0.9
        while time.monotonic() < until:
            world.deliver(site.client, kind=kind)
        assert (world.breaker()[0], len(site.ehr.asked) - before) == ("open", 0)


def test_a_read_that_is_refused_for_one_write_is_no_end_of_the_others(world: World) -> None:
    def has_no_flags(answer: Resource) -> Resource:
        for entry in answer["entry"]:
            if (entry.get("resource") or {}).get("resourceType") == "Flag":
                entry.update(resource=outcome(), response={"status": "400"})
        return answer

    make = Make()
    with at(world, make) as site:
        patients = world.patients(3)
        for one in patients:
            bundle = chart(one)
            bundle["entry"] = [e for e in bundle["entry"] if e["resource"]["resourceType"] != "Flag"]
            world.plan(one, bundle)
        world.drain(site.client)
        make.answers = has_no_flags
        site.ehr.put(f"Flag/{patients[0].rid('red')}", {})  # so that it is answered for
        world.plan(patients[0], patients[0].change(2, patients[0].flag("active")))
        for one in patients[1:]:
            world.plan(one, one.change(2, one.condition("asthma")))
        world.drain(site.client)
        assert [status for _, status, *_ in world.writes()][3:] == ["dead", "delivered", "delivered"]
        assert world.lane(patients[0])[1] == "rejected"


def nobody(method: str, path: str, body: Any) -> Told | None:
    return (404, "<html>default backend</html>", {}) if method == "POST" else None


def no_bundles(method: str, path: str, body: Any) -> Told | None:
    return (405, outcome(), {}) if method == "POST" else None


def no_statement(method: str, path: str, body: Any) -> Told | None:
    return (404, outcome(), {}) if path == "metadata" else None


AWAY = {
    "a wrong path": (Make(), "/wrong"),
    "a wrong path of a FHIR server": (Make(refuses=no_statement), ""),
    "whoever stands before it leads to nobody": (Make(refuses=nobody), ""),
    "no bundles are taken there": (Make(refuses=no_bundles), ""),
    "tokens, and a wrong path": (Make(token_seconds=60), "/wrong"),
}


@KINDS
@pytest.mark.parametrize("why", AWAY)
def test_no_write_dies_of_a_wrong_address_and_all_are_delivered_once_it_is_right(
    world: World, why: str, server_ids: bool
) -> None:
    make, path = AWAY[why]
    with at(world, made(make, takes_our_ids=not server_ids), path) as site:
        world.plan(site.patient, chart(site.patient))
        assert world.deliver(site.client).stopped == "misaddressed"
        assert [(status, tries) for _, status, tries, _ in world.writes()] == [("ready", 0)]
        assert world.breaker()[2] == "misaddressed"
        make = made(make, refuses=lambda *_: None, takes_our_ids=not server_ids)
        site.ehr.make = make
        known = {"client_id": "us", "client_secret": "hush"} if make.token_seconds is not None else {}
        world.drain(world.ehr(site.ehr.url, **known))
        assert world.outcomes() == ["delivered", "paused"]


def named_in_statement(statement: Resource, address: Callable[[], str]) -> Resource:
    token = {"url": OAUTH_URIS, "extension": [{"url": "token", "valueUri": address()}]}
    statement["rest"][0]["security"] = {"extension": [token]}
    return statement


def test_the_token_address_of_an_older_server_is_read_in_its_capability_statement(world: World) -> None:
    make = Make(token_seconds=60, smart_configuration=False)
    with at(world, make) as site:
        make.statement = lambda s: named_in_statement(s, lambda: site.ehr.root + "/token")
        site.deliver(chart(site.patient))
        assert world.outcomes() == ["delivered"]


def insecure(method: str, path: str, body: Any) -> Told | None:
    told = {"token_endpoint": "http://ehr.example.org/token"}
    return (200, told, {}) if path == ".well-known/smart-configuration" else None


UNFIT = {
    "gives tokens over plain http": (Make(token_seconds=60, refuses=insecure), r"address for tokens.*must be https"),
    "gives no token address": (Make(token_seconds=60, smart_configuration=False), r"where it gives tokens"),
    "speaks another FHIR": (Make(statement=lambda s: {**s, "fhirVersion": "5.0.0"}), r"another version.*GLP1_EHR_URL"),
}


@pytest.mark.parametrize("why", UNFIT)
def test_a_server_that_does_not_fit_is_told_in_a_sentence_and_no_write_is_tried(world: World, why: str) -> None:
    make, sentence = UNFIT[why]
    with at(world, make) as site:
        for one in world.patients(3):
            world.plan(one, chart(one))
        for _ in range(2):
            with pytest.raises(EhrMisconfigured, match=sentence):
                world.deliver(site.client)
        assert world.outcomes() == []
        assert {status for _, status, _, _ in world.writes()} == {"ready"}
        assert site.ehr.kept == {}


def test_what_search_knew_too_late_and_was_made_twice_is_told_as_doubled(world: World) -> None:
    """Where the server makes the ids, a write of unknown outcome is looked for by a search."""
    lost = [True]

    def loses_first(answer: Resource) -> Resource:
        is_write = answer["type"] == "transaction-response"
        return outcome("warning") if is_write and lost and lost.pop() else answer

    with at(world, Make(takes_our_ids=False, stale_for=1.5, answers=loses_first)) as site:
        site.deliver(chart(site.patient))
        assert len(site.ehr.all_of("Patient")) == 2
        time.sleep(1.6)
        compared = compare(world.connection, site.client, world.cipher, world.target)
        assert compared.doubled == 2  # the Patient, and the answers
