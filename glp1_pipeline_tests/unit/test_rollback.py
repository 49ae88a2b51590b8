"""What becomes of a resource when writes of it are taken back: nobody's later word is lost, nothing unknown comes back."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline import contracts
from glp1_pipeline.domain.fhir import can_withdraw
from glp1_pipeline.domain.outbox import keys_of
from glp1_pipeline.domain.rollback import NOTHING_TO_DO, TAKEN_BACK, History, Said, Step, bundle, take_back
from glp1_pipeline_tests.fhir_rules import problems

OURS = "11111111-1111-1111-1111-111111111111"


def observation(word: str, kind: str = "Observation") -> dict[str, Any]:
    return {"resourceType": kind, "id": OURS, "status": "preliminary", "code": {"text": word}}


class Server:
    """One resource in an EHR, and what we wrote and believe of it."""

    def __init__(self) -> None:
        self.versions: list[tuple[str, dict[str, Any] | None]] = []
        self.said: list[Said] = []
        self.known: list[str] | None = None
        self.is_in_conflict = False

    def put(self, content: dict[str, Any] | None) -> None:
        self.versions.insert(0, (str(len(self.versions) + 1), content))

    def we_write(self, word: str, is_chosen: bool, *, insists: bool = False) -> None:
        """As delivery does: an edit that we did not know is left, unless a person decided."""
        now = self.versions[0] if self.versions else None
        is_as_left = self.known is None or (now is not None and now[0] == self.known[1])
        self.said.insert(0, Said(observation(word), is_chosen, is_rollback=False, rule="restore"))
        if (is_as_left and not self.is_in_conflict) or insists:
            self.put(observation(word))
            self.is_in_conflict = False
        else:
            self.is_in_conflict = True
        self.known = [OURS, self.versions[0][0]]

    def step(self, is_whole: bool = True, is_all: bool = True) -> Step:
        history = History(self.versions, is_whole)
        return take_back(self.said, history, self.known, {}, is_in_conflict=self.is_in_conflict, is_all=is_all)


WORDS = st.sampled_from("abc")
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("we"), WORDS, st.booleans(), st.booleans()),
        st.tuples(st.just("they"), WORDS),
        st.tuples(st.just("gone")),
    ),
    min_size=1,
    max_size=9,
)


@given(ACTIONS)
def test_whatever_happened_a_later_word_stays_and_only_what_stood_there_before_by_us_comes_back(actions):
    server = Server()
    theirs: set[str] = set()
    server.we_write("a", actions[0][0] == "we")
    for action in actions:
        if action[0] == "we":
            server.we_write(action[1], action[2], insists=action[3])
        elif action[0] == "they":
            server.put({**observation(action[1]), "note": [{"text": "theirs"}]})
            theirs.add(server.versions[0][0])
        else:
            server.put(None)
            theirs.add(server.versions[0][0])
    if not any(one.is_chosen for one in server.said):
        return
    step = server.step()
    now = server.versions[0]
    if now[0] in theirs:
        assert step.content is None
        assert step.outcome in ("edited_since", "deleted_since", "written_since")
    if not server.said[0].is_chosen:
        assert step.outcome == "written_since"
    if step.outcome == "restored":
        # Some version of ours said just that, before the chosen ones, and nobody else's word stands between.
        chosen = next(n for n, one in enumerate(server.said) if not one.is_chosen)
        assert step.content == server.said[chosen].content
        assert step.content in [content for version, content in server.versions if version not in theirs]
    if step.outcome == "entered_in_error":
        assert all(one.is_chosen for one in server.said)
        assert step.content == {**(now[1] or {}), "status": "entered-in-error"}
    assert (step.content is not None) == (step.outcome in TAKEN_BACK)


def test_a_b_a_goes_back_to_b_and_then_to_a():
    server = Server()
    for word in "aba":
        server.we_write(word, is_chosen=False)
    server.said[0] = Said(observation("a"), is_chosen=True, is_rollback=False, rule="restore")
    assert server.step() == Step("restored", observation("b"))
    server.said[1] = Said(observation("b"), is_chosen=True, is_rollback=False, rule="restore")
    assert server.step().outcome == "as_before"


def test_what_stood_there_by_somebody_else_is_not_replaced_by_our_older_word():
    server = Server()
    server.we_write("a", is_chosen=False)
    server.put({**observation("a"), "note": [{"text": "theirs"}]})
    server.we_write("b", is_chosen=True, insists=True)
    assert server.step() == Step("not_ours_before")


@pytest.mark.parametrize(
    ("is_whole", "is_all", "outcome"),
    [
        (True, True, "entered_in_error"),
        (False, True, "entered_in_error"),
        (True, False, "entered_in_error"),
        (False, False, "no_history"),
    ],
)
def test_what_is_new_is_an_error_only_where_it_is_known_to_be_new(is_whole: bool, is_all: bool, outcome: str):
    server = Server()
    server.we_write("a", is_chosen=True)
    assert server.step(is_whole, is_all).outcome == outcome


def test_what_was_said_before_comes_back_only_where_the_ehr_tells_that_it_stood_there():
    server = Server()
    server.we_write("a", is_chosen=False)
    server.we_write("b", is_chosen=True)
    assert server.step().outcome == "restored"
    server.versions = server.versions[:1]
    assert server.step(is_whole=False).outcome == "no_history"
    server.versions = []
    assert server.step().outcome == "no_history"


@pytest.mark.parametrize("kind", ["Patient", "Provenance", "AuditEvent", "Coverage"])
def test_what_fhir_cannot_call_an_error_is_left(kind: str):
    assert not can_withdraw(f"{kind}/x")
    said = [Said(observation("a", kind), is_chosen=True, is_rollback=False, rule="restore")]
    history = History([("1", observation("a", kind))], is_whole=True)
    step = take_back(said, history, [OURS, "1"], {}, is_in_conflict=False, is_all=True)
    assert step == Step("no_such_status")


@pytest.mark.parametrize("kind", ["CommunicationRequest", "MedicationRequest"])
def test_what_asks_somebody_to_act_is_marked_as_an_error_and_never_asked_for_a_second_time(kind: str):
    def outcome(*words: tuple[str, bool]) -> str:
        """Statuses in the order in which they were written, and whether each write is chosen."""
        told = [{**observation("a", kind), "status": status} for status, _ in words]
        said = [
            Said(one, is_chosen, is_rollback=False, rule="restore")
            for one, (_, is_chosen) in zip(told, words, strict=True)
        ]
        history = History([(str(n), one) for n, one in enumerate(told, 1)][::-1], is_whole=True)
        known = [OURS, str(len(told))]
        return take_back(said[::-1], history, known, {}, is_in_conflict=False, is_all=True).outcome

    assert outcome(("active", True)) == "entered_in_error"
    assert outcome(("active", True), ("completed", True)) == "entered_in_error"
    assert outcome(("active", False), ("completed", True)) == "over_already"
    assert outcome(("active", False), ("entered-in-error", True)) == "over_already"
    assert outcome(("completed", False), ("revoked", True)) == "restored"


def test_the_rule_of_the_contract_decides_and_what_others_speak_in_too_is_left():
    said = [Said(observation(word), is_chosen=word == "b", is_rollback=False, rule="entered_in_error") for word in "ba"]
    history = History([("2", observation("b")), ("1", observation("a"))], is_whole=True)

    def step(known: list[str], rule: Any = "entered_in_error", is_in_conflict: bool = False) -> str:
        given = [Said(one.content, one.is_chosen, one.is_rollback, rule) for one in said]
        return take_back(given, history, known, {}, is_in_conflict=is_in_conflict, is_all=True).outcome

    assert step([OURS, "2"]) == "entered_in_error"
    assert step([OURS, "2"], "restore") == "restored"
    assert step([OURS, "2"], "forbidden") == "forbidden"
    assert step([OURS, "2", "shared"]) == "shared"
    assert step([OURS, "2"], is_in_conflict=True) == "edited_since"
    assert set(NOTHING_TO_DO).isdisjoint(TAKEN_BACK)


def test_the_new_write_tells_what_it_takes_back_and_by_which_contract():
    key = f"Observation/{OURS}"
    made = orjson.loads(
        bundle(OURS, 3, {key: observation("a")}, datetime(2026, 11, 23, tzinfo=UTC), ["Provenance/x"], "v1")
    )
    told = keys_of(made)
    (proof,) = (content for name, content in told.items() if name.startswith("Provenance/"))
    assert told[key] == observation("a")
    assert problems(proof) == []
    assert proof["target"] == [{"reference": key}]
    assert proof["entity"] == [{"role": "revision", "what": {"reference": "Provenance/x"}}]
    assert proof["policy"] == ["urn:glp1-pipeline:contract:v1"]


def test_who_forbids_a_rollback_says_why_and_a_rule_is_one_that_we_know(tmp_path: Path):
    folder = tmp_path / "contracts"
    shutil.copytree(contracts.HERE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    file = folder / "writes.yaml"
    told = file.read_text("utf-8")
    start = told.rindex("  rollback_why: >-")
    file.write_text(told[:start] + told[told.index("  max_in_flight", start) :], "utf-8")
    with pytest.raises(contracts.ContractError, match="`crm_contact` forbids a rollback and does not say why"):
        contracts.load(folder)
    file.write_text(told.replace("rollback: restore", "rollback: perhaps"), "utf-8")
    with pytest.raises(contracts.ContractError, match="rollback"):
        contracts.load(folder)
