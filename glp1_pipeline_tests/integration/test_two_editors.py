"""A Patient is written by us and by people in the EHR: whoever says something keeps it, and nobody is made to wait."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count
from typing import Any

import pytest

from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.adapters.outbox import conflicts
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.small_road import amendment, submission

PEOPLE = count(1)
MOBILE, OTHER_MOBILE = "+12065550177", "+12065550188"
SPOKEN = {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "vi"}]}, "preferred": True}
DESK = {"system": "phone", "value": "+12065550199", "use": "work"}
WEDDED = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}]}


def begin(circle: Circle) -> dict[str, Any]:
    first = submission(next(PEOPLE))
    circle.road.send(first)
    circle.deliver()
    assert circle.poll().changes == 0
    return first


def say(circle: Circle, first: dict[str, Any], n: int, mobile: str) -> None:
    circle.road.send(amendment(first, n, {"demo.mobile": mobile}, minutes=60 * n))


def patient(circle: Circle) -> dict[str, Any]:
    return circle.provider.read(circle.place("Patient"))


def phones(circle: Circle) -> set[str]:
    return {one["value"] for one in patient(circle)["telecom"] if one["system"] == "phone"}


def assert_at_rest(circle: Circle) -> None:
    """Nobody's decision is asked for, nothing echoes, and what the EHR holds is accounted for."""
    assert conflicts(circle.road.connection, "ehr") == []
    assert (circle.round(), circle.round()) == (0, 0)
    read_back = compare(circle.road.connection, circle.client, circle.road.cipher)
    assert read_back.holds
    assert read_back.not_sent_yet == 0
    assert circle.road.balance().faults == []
    before = circle.road.fingerprint()
    circle.road.replay()
    circle.deliver()
    assert circle.road.fingerprint() == before


def test_changed_on_both_sides_between_two_looks_both_changes_stand(circle: Circle) -> None:
    first = begin(circle)
    circle.provider.edit(circle.place("Patient"), communication=[SPOKEN])
    say(circle, first, 1, MOBILE)
    circle.deliver()  # before anybody looked for changes
    assert circle.events() == 1
    circle.round()
    assert (circle.value("demo.language"), circle.value("demo.mobile")) == ("vi", MOBILE)
    assert patient(circle)["communication"] == [SPOKEN]
    assert phones(circle) == {MOBILE}
    assert circle.events() == 1
    assert_at_rest(circle)


def test_what_we_have_no_field_for_stays_in_the_ehr_through_all_our_later_writes(circle: Circle) -> None:
    first = begin(circle)
    there = patient(circle)
    circle.provider.edit(circle.place("Patient"), maritalStatus=WEDDED, telecom=[*there["telecom"], DESK])
    assert circle.round() == 1
    for n, mobile in enumerate((MOBILE, OTHER_MOBILE, MOBILE), start=1):
        say(circle, first, n, mobile)
        circle.deliver()
        assert phones(circle) == {mobile, DESK["value"]}
        assert patient(circle)["maritalStatus"] == WEDDED
        assert circle.poll().changes == 0
    assert_at_rest(circle)


def test_a_patient_edited_there_again_and_again_is_never_frozen(circle: Circle) -> None:
    first = begin(circle)
    for n, language in enumerate(("vi", "es", "ko"), start=1):
        spoken = {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": language}]}, "preferred": True}
        circle.provider.edit(circle.place("Patient"), communication=[spoken], maritalStatus=WEDDED)
        say(circle, first, n, MOBILE if n % 2 else OTHER_MOBILE)
        circle.deliver()
        circle.round()
        assert circle.value("demo.language") == language
        assert phones(circle) == {MOBILE if n % 2 else OTHER_MOBILE}
    assert circle.events() == 3
    assert_at_rest(circle)


def speaks(circle: Circle, language: str) -> None:
    spoken = {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": language}]}, "preferred": True}
    circle.provider.edit(circle.place("Patient"), communication=[spoken])


def hear(circle: Circle) -> None:
    """Noticed and charted, and not told to the EHR yet."""
    circle.poll()
    circle.road.chart()


def test_a_second_edit_is_no_conflict_with_what_we_say_after_the_first(circle: Circle) -> None:
    begin(circle)
    speaks(circle, "vi")
    hear(circle)
    speaks(circle, "es")
    circle.deliver()
    circle.round()
    assert circle.value("demo.language") == "es"
    assert_at_rest(circle)


def test_who_says_something_else_and_then_the_first_again_is_heard_before_we_tell_the_first(circle: Circle) -> None:
    begin(circle)
    speaks(circle, "vi")
    hear(circle)
    speaks(circle, "es")
    circle.deliver()
    speaks(circle, "vi")
    circle.round()
    circle.round()
    assert (circle.value("demo.language"), patient(circle)["communication"]) == ("vi", [SPOKEN])
    assert_at_rest(circle)


@pytest.mark.parametrize("looks", [False, True], ids=["delivered first", "heard first"])
def test_who_says_something_else_and_then_the_first_again_is_heard_before_we_tell_the_second(
    circle: Circle, looks: bool
) -> None:
    begin(circle)
    speaks(circle, "vi")
    circle.round()
    speaks(circle, "es")
    hear(circle)
    speaks(circle, "vi")
    if looks:
        hear(circle)
    circle.deliver()
    circle.round()
    circle.round()
    assert (circle.value("demo.language"), patient(circle)["communication"]) == ("vi", [SPOKEN])
    assert_at_rest(circle)


@pytest.mark.parametrize("more", [{}, {"maritalStatus": WEDDED}], ids=["nothing else", "and more"])
def test_a_conflict_ends_when_they_come_to_say_what_we_say(circle: Circle, more: dict[str, Any]) -> None:
    first = begin(circle)
    there = patient(circle)

    def calls(mobile: str) -> None:
        moved = [{**t, "value": mobile} if t["system"] == "phone" else t for t in there["telecom"]]
        circle.provider.edit(circle.place("Patient"), telecom=moved, **more)

    calls(OTHER_MOBILE)
    say(circle, first, 1, MOBILE)
    circle.deliver()
    assert [one.reason for one in conflicts(circle.road.connection, "ehr")] == ["edited_in_ehr"]
    circle.road.chart()
    calls(MOBILE)
    circle.round()
    assert conflicts(circle.road.connection, "ehr") == []
    circle.round()
    assert (circle.value("demo.mobile"), phones(circle)) == (MOBILE, {MOBILE})
    assert_at_rest(circle)


def deliver_dying(circle: Circle, monkeypatch: pytest.MonkeyPatch, deaths: Collection[int]) -> None:
    """Deliver; the process ends where the n-th answer is awaited, and the next one goes on."""
    wire = type(circle.client.wire)
    real, calls = wire.call, count(1)

    def dying(self: Any, *arguments: Any, **options: Any) -> Any:
        answer = real(self, *arguments, **options)
        if next(calls) in deaths:
            raise KeyboardInterrupt  # passes every handler of ours, as the end of a process would
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(wire, "call", dying)
        for _ in range(len(deaths) + 1):
            try:
                circle.deliver()
            except KeyboardInterrupt:
                circle.road.connection.execute("update ops.lanes set leased_until = now()")
    circle.deliver()


SOME = [{2}, {4}, {1, 3, 6}]


@pytest.mark.parametrize("deaths", SOME)
def test_two_phones_for_one_are_told_and_left_to_their_rule_or_a_person(
    circle: Circle, monkeypatch: pytest.MonkeyPatch, deaths: set[int]
) -> None:
    first = begin(circle)
    there = patient(circle)
    moved = [{**t, "value": OTHER_MOBILE} if t["system"] == "phone" else t for t in there["telecom"]]
    circle.provider.edit(circle.place("Patient"), telecom=moved)
    say(circle, first, 1, MOBILE)
    deliver_dying(circle, monkeypatch, deaths)
    assert phones(circle) == {OTHER_MOBILE}, "nothing is written over that both changed"
    (left,) = conflicts(circle.road.connection, "ehr")
    assert left.reason == "edited_in_ehr"
    circle.round()
    assert circle.events() == 1, "and it is heard"


@pytest.mark.parametrize("deaths", SOME)
def test_the_deliverer_killed_at_any_call_tells_and_keeps_both(
    circle: Circle, monkeypatch: pytest.MonkeyPatch, deaths: set[int]
) -> None:
    """Before hearing, between hearing and sending, after sending."""
    first = begin(circle)
    circle.provider.edit(circle.place("Patient"), communication=[SPOKEN], maritalStatus=WEDDED)
    say(circle, first, 1, MOBILE)
    deliver_dying(circle, monkeypatch, deaths)
    circle.round()
    assert (circle.value("demo.language"), phones(circle)) == ("vi", {MOBILE})
    assert patient(circle)["maritalStatus"] == WEDDED
    assert circle.events() == 1
    assert_at_rest(circle)
