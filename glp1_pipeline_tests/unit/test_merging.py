"""Two say something of one resource: what either changed stands, and where both changed the same a person decides."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline.domain.outbox import digest, is_noted, is_same, merged, says_all, started_from, still_ours

PHONE, OTHER_PHONE, THIRD_PHONE = ({"system": "phone", "value": v} for v in ("1", "2", "3"))
EMAIL, OTHER_EMAIL = ({"system": "email", "value": v} for v in ("a", "b"))
WORK = {"system": "phone", "value": "9", "use": "work"}

scalars = st.one_of(st.none(), st.sampled_from(["a", "b", "c"]))
lists = st.one_of(st.none(), st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=4, unique=True))


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    drawn = {"birthDate": draw(scalars), "gender": draw(scalars), "telecom": draw(lists), "name": draw(lists)}
    return {"resourceType": "Patient", "id": "p", **{k: v for k, v in drawn.items() if v is not None}}


def patient(*telecom: dict[str, str], **others: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "p", "telecom": list(telecom), **others}


@given(resources(), resources(), resources())
def test_what_one_changed_alone_stands(base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    result = merged(ours, theirs, base, {})
    for name in ("birthDate", "gender"):
        if ours.get(name) == base.get(name) and result is not None:
            assert result.get(name) == theirs.get(name)
        elif theirs.get(name) == base.get(name) and result is not None:
            assert result.get(name) == ours.get(name)
        elif ours.get(name) != theirs.get(name):
            assert result is None
    if result is not None:
        for name in ("telecom", "name"):
            b, o, t, r = ({*one.get(name, ())} for one in (base, ours, theirs, result))
            assert (o - b) | (t - b) <= r, "what either added is there"
            assert not r & ((b - o) | (b - t)), "what either took away is not"


@given(resources(), resources())
def test_who_changed_nothing_hinders_nobody(base: dict[str, Any], changed: dict[str, Any]) -> None:
    assert is_same(merged(changed, base, base, {}) or {}, changed, {})
    assert is_same(merged(base, changed, base, {}) or {}, changed, {})
    assert is_same(merged(changed, changed, base, {}) or {}, changed, {})


@given(resources(), resources(), resources())
def test_merged_once_more_it_is_the_same(base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    once = merged(ours, theirs, base, {})
    if once is not None:
        assert is_same(merged(ours, once, ours, {}) or {}, once, {})


@given(resources(), resources(), resources(), resources())
def test_what_they_say_after_we_heard_them_stands_or_is_left_to_a_person(
    base: dict[str, Any], heard: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """Also where it is what we said before: they put it back."""
    result = merged(ours, theirs, base, {}, heard=heard)
    if result is None:
        return
    for name in ("birthDate", "gender"):
        if theirs.get(name) != heard.get(name):
            assert result.get(name) == theirs.get(name)
    for name in ("telecom", "name"):
        assert {*theirs.get(name, ())} - {*heard.get(name, ())} <= {*result.get(name, ())}


@given(resources(), resources(), resources())
def test_where_we_only_say_after_them_what_we_heard_theirs_stands(
    base: dict[str, Any], heard: dict[str, Any], theirs: dict[str, Any]
) -> None:
    assert is_same(merged(heard, theirs, base, {}, heard=heard) or {}, theirs, {})


@given(resources(), resources(), resources())
def test_who_heard_of_nothing_new_decides_as_before(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    assert merged(ours, theirs, base, {}, heard=base) == merged(ours, theirs, base, {})


def test_a_phone_of_ours_after_they_added_another_takes_the_place_of_ours_alone() -> None:
    heard = patient(PHONE, EMAIL, WORK)
    result = merged(patient(OTHER_PHONE, EMAIL), heard | {"gender": "f"}, patient(PHONE, EMAIL), {}, heard=heard)
    assert result is not None
    assert sorted(t["value"] for t in result["telecom"]) == ["2", "9", "a"]
    assert result["gender"] == "f"


def test_of_what_we_sent_only_what_nobody_touched_is_still_ours() -> None:
    sent = patient(PHONE, EMAIL, birthDate="1", gender="f")
    assert still_ours(sent, patient(OTHER_PHONE, EMAIL, birthDate="2", gender="f"), {}) == patient(EMAIL, gender="f")


def test_all_that_we_say_may_stand_there_among_more() -> None:
    assert says_all(patient(PHONE, gender="f"), patient(WORK, PHONE, gender="f", birthDate="1"), {})
    assert not says_all(patient(PHONE, gender="f"), patient(WORK, PHONE, gender="m"), {})
    assert not says_all(patient(PHONE, EMAIL), patient(PHONE), {})
    assert not says_all(patient(PHONE, gender="f"), patient(PHONE), {})


def test_a_new_phone_of_ours_and_a_new_address_of_theirs_both_stand() -> None:
    result = merged(patient(OTHER_PHONE, EMAIL), patient(PHONE, OTHER_EMAIL, WORK), patient(PHONE, EMAIL), {})
    assert result is not None
    assert sorted(t["value"] for t in result["telecom"]) == ["2", "9", "b"]


def test_two_phones_in_the_place_of_one_are_left_to_a_person() -> None:
    assert merged(patient(OTHER_PHONE), patient(THIRD_PHONE), patient(PHONE), {}) is None


def test_what_they_put_there_and_we_say_as_well_is_no_dispute() -> None:
    result = merged(patient(OTHER_PHONE), patient(OTHER_PHONE, WORK), patient(PHONE), {})
    assert result is not None
    assert result["telecom"] == [OTHER_PHONE, WORK]


def test_they_may_have_started_from_any_of_what_we_said() -> None:
    never_landed, landed = patient(OTHER_PHONE, birthDate="2"), patient(PHONE, birthDate="1")
    theirs = patient(PHONE, birthDate="1", photo=["p"])
    assert started_from(theirs, [never_landed, landed], {}) == landed
    assert started_from(patient(THIRD_PHONE), [landed, never_landed], {}) == landed, "of equals the first"
    assert started_from(theirs, [], {}) is None
    assert merged(never_landed, theirs, landed, {}) == patient(OTHER_PHONE, birthDate="2", photo=["p"])


def test_what_a_server_adds_by_itself_and_how_it_refers_changes_nothing() -> None:
    base = patient(PHONE, generalPractitioner=[{"reference": "Practitioner/7"}])
    theirs = base | {"id": "123", "meta": {"versionId": "4"}, "text": {"div": "x"}}
    result = merged(patient(OTHER_PHONE, generalPractitioner=[{"reference": "Practitioner/7"}]), theirs, base, {})
    assert result == patient(OTHER_PHONE, generalPractitioner=[{"reference": "Practitioner/7"}])


def test_what_they_made_an_order_of_is_theirs_whatever_we_say_of_the_proposal() -> None:
    base = {"resourceType": "MedicationRequest", "id": "m", "intent": "proposal", "status": "active"}
    ours, theirs = {**base, "status": "completed"}, {**base, "intent": "order", "note": [{"text": "as proposed"}]}
    assert merged(ours, theirs, base, {}, yields=True) == theirs
    noted = {**base, "note": [{"text": "seen"}]}
    assert merged(ours, noted, base, {}, yields=True) == {**ours, "note": [{"text": "seen"}]}


def test_what_is_the_same_has_one_digest_however_a_server_spells_numbers_and_orders_identifiers() -> None:
    ours = {
        "resourceType": "MedicationRequest",
        "identifier": [{"system": "urn:b", "value": "1"}, {"system": "urn:a", "value": "2"}],
        "dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 2.0, "unit": "mg"}}]}],
    }
    theirs = orjson.loads(orjson.dumps(ours).replace(b"2.0", b"2")) | {"identifier": ours["identifier"][::-1]}
    assert is_same(ours, theirs, {})
    assert digest(ours, {}) == digest(theirs, {})
    theirs["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["value"] = 2.5
    assert not is_same(ours, theirs, {})
    assert digest(ours, {}) != digest(theirs, {})


def test_a_digest_that_an_earlier_version_noted_still_tells_what_it_was_of() -> None:
    """Of the content as it came: an upgrade makes nobody's old edit a new one."""
    theirs = {"identifier": [{"system": "urn:b", "value": "1"}, {"system": "urn:a", "value": "2"}], "weight": 2.0}
    noted = [hashlib.blake2b(orjson.dumps(theirs, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()]
    assert noted != [digest(theirs, {})]
    assert is_noted(noted, theirs, {})
    assert is_noted([digest(theirs, {})], theirs, {})
    assert not is_noted(noted, {**theirs, "weight": 2.5}, {})
