"""What EHR and CRM say of what they hold, where a careless one puts a person: none of it is kept or told but as theirs."""

from __future__ import annotations

import traceback
from typing import Any, cast

import pytest

from glp1_pipeline.adapters.calls import CallFailure
from glp1_pipeline.adapters.crm import Crm, CrmSettings
from glp1_pipeline.adapters.ehr import Ehr, EhrFailure, EhrSettings
from glp1_pipeline.adapters.ehr.echoes import our_id
from glp1_pipeline.adapters.ehr.ehr import Capability
from glp1_pipeline.adapters.ehr.entries import entry_of
from glp1_pipeline.adapters.ehr.feed import Feed
from glp1_pipeline.adapters.ehr.readback import count_by_identifier
from glp1_pipeline.adapters.ehr.wire import Reply, Wire
from glp1_pipeline.adapters.rollback.look import _history

NAME = "Jane Canary"
KEY = "Patient/1b6f4f0e-6f0c-5a36-9f0e-0d6b3f6f7a11"
OURS = {"resourceType": "Patient", "id": KEY.partition("/")[2]}
WRITE = {"entry": [{"fullUrl": "urn:uuid:1", "resource": OURS, "request": {"method": "PUT", "url": KEY}}]}
STAMP = "2026-11-20T15:00:00Z"
META = {"meta": {"lastUpdated": STAMP, "versionId": "1"}}


class Says:
    """Answers every call alike."""

    base = "http://127.0.0.1/fhir"

    def __init__(self, *entries: dict[str, Any], kind: str = "batch-response") -> None:
        self.content = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}

    def call(self, *_: Any, **__: Any) -> Reply:
        return Reply(200, self.content)


def ehr(says: Says, takes_our_ids: bool = True) -> Ehr:
    made = Ehr(EhrSettings("http://127.0.0.1/fhir"))
    made.wire = cast(Wire, says)
    made._capability = Capability(takes_our_ids, frozenset(("Patient",)))
    return made


def failed(work: Any) -> CallFailure:
    with pytest.raises(CallFailure) as found:
        work()
    assert "Canary" not in "".join(traceback.format_exception(found.value))
    return found.value


@pytest.mark.parametrize(
    "response",
    [
        {"status": "200", "location": f"{KEY}/_history/1", "etag": f'W/"{NAME}"'},
        {"status": "200", "location": f"{KEY}/_history/{NAME}"},
        {"status": "201", "location": f"Patient/{NAME}/_history/1"},
        {"status": "201", "location": f"Patient/{NAME}/_history/1", "etag": NAME},
    ],
)
@pytest.mark.parametrize("takes_our_ids", [True, False])
def test_an_id_or_a_version_that_could_be_a_name_is_kept_of_no_write(response: dict[str, str], takes_our_ids) -> None:
    there = {**OURS, "id": NAME, "meta": {"versionId": NAME}}
    sent = ehr(Says({"response": response, "resource": there}), takes_our_ids).send(WRITE, {}, [KEY])
    assert "Canary" not in str(sent)
    assert sent.trouble == "rubbish" or all(version in ("", "1") for _, version in sent.remote.values())


def test_what_stands_there_is_found_without_a_version_that_could_be_a_name() -> None:
    there = {**OURS, "meta": {"versionId": NAME}}
    found = ehr(Says({"response": {"status": "200", "etag": NAME}, "resource": there})).look({KEY: OURS}, {})[KEY]
    assert found is not None
    assert found.version == ""


def test_what_is_found_by_our_identifier_under_a_name_is_an_answer_that_nobody_understands() -> None:
    identified = {**OURS, "id": NAME, "identifier": [{"system": "urn:glp1-pipeline:resource", "value": OURS["id"]}]}
    result = {"resourceType": "Bundle", "entry": [{"resource": identified}]}
    asked = ehr(Says({"response": {"status": "200"}, "resource": result}), takes_our_ids=False)
    assert failed(lambda: asked.look({KEY: OURS}, {})).trouble == "rubbish"


def test_a_change_is_heard_by_its_instant_where_its_version_could_be_a_name() -> None:
    heard = entry_of({**OURS, "meta": {"versionId": NAME, "lastUpdated": STAMP}})
    assert heard.version == "2026-11-20T15:00:00.000Z"
    assert failed(lambda: entry_of({**OURS, "id": NAME, "meta": {"lastUpdated": STAMP}})).trouble == "rubbish"


def test_a_deletion_of_what_could_be_a_name_is_left_to_the_sweep() -> None:
    gone = [
        {"request": {"method": "DELETE", "url": url}, "response": {"etag": etag, "lastModified": STAMP}}
        for url, etag in ((f"Patient/{NAME}", "1"), (KEY, NAME))
    ]
    found = list(Feed(ehr(Says(*gone, kind="history"))).deletions("Patient", entry_of({**OURS, **META}).stamp))
    assert [(remote_id, version) for remote_id, version, _ in found] == [(OURS["id"], "2026-11-20T15:00:00.000Z")]


def test_a_count_that_is_none_is_an_answer_that_nobody_understands_and_quotes_nothing() -> None:
    counted = {"response": {"status": "200"}, "resource": {"resourceType": "Bundle", "total": NAME}}
    assert failed(lambda: list(count_by_identifier(ehr(Says(counted)), [KEY]))).trouble == "rubbish"
    history = {"resourceType": "Bundle", "type": "history", "total": NAME, "entry": [{"resource": {**OURS, **META}}]}
    failure = failed(lambda: _history({"response": {"status": "200"}, "resource": history}))
    assert isinstance(failure, EhrFailure)


def contact(**said: Any) -> Any:
    crm = Crm(CrmSettings("http://127.0.0.1", "token"))
    return crm._contact({"id": "17", "updatedAt": STAMP, "properties": {"email": "x"}, **said}, {})


def test_a_contact_whose_id_could_be_a_name_is_none_and_such_a_version_is_not_used() -> None:
    assert failed(lambda: contact(id=NAME)).trouble == "rubbish"
    assert (contact(version="4").version, contact(version=NAME).version, contact().version) == ("4", None, None)
    assert "Canary" not in contact(version=NAME).stamp


@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+14:00", "soon", None])
def test_an_instant_that_utc_has_no_year_for_is_an_answer_that_nobody_understands(stamp: str | None) -> None:
    resource = {**OURS, "meta": {"lastUpdated": stamp, "versionId": "1"}}
    assert failed(lambda: entry_of(resource)).trouble == "rubbish"
    contact = {"id": "71001", "updatedAt": stamp, "properties": {}}
    crm = Crm(CrmSettings("http://127.0.0.1", "token"))
    assert failed(lambda: crm._contact(contact, {})).trouble == "rubbish"


@pytest.mark.parametrize("meta", [1, "x", [META], True])
def test_a_resource_without_a_meta_that_tells_its_instant_is_an_answer_that_nobody_understands(meta: Any) -> None:
    assert failed(lambda: entry_of({**OURS, "meta": meta})).trouble == "rubbish"


@pytest.mark.parametrize("tag", [1, 1.5, True, "x", {"system": "x"}, [1], None])
def test_a_resource_whose_tags_are_none_is_not_ours_and_stops_nobody(tag: Any) -> None:
    assert our_id(entry_of({**OURS, "meta": {**META["meta"], "tag": tag}}).content) is None
