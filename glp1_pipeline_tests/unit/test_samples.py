"""Every story of data_samples/, told through reading, mapping and deciding alone: no database, no Dagster, no EHR.

Here: the ledger and the store as two small dicts. Not here: the real ones, which the demo and the pipeline tests hold
to the same expectations.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from glp1_pipeline.adapters import documents, ledger
from glp1_pipeline.domain.charting import Claimed, Copy, Known, PatientOutcome, decide, read
from glp1_pipeline.domain.crosswalk import ACCOUNT
from glp1_pipeline.domain.events import Change, Refused, Submission, parse_event
from glp1_pipeline.domain.outbox import keys_of
from glp1_pipeline.domain.refill import Refill, Tick
from glp1_pipeline.sandbox.samples import MOMENTS, REFILL, Sample, instant, samples, treatment_differs
from glp1_pipeline_tests import sample_inputs
from glp1_pipeline_tests.one_patient import reached
from glp1_pipeline_tests.sample_inputs import contract

CONTRACT = contract()
STORIES = samples()
NOW = datetime(2027, 1, 1, tzinfo=UTC)
"""When our ledger received all of it: later than any sample says of itself, so that what it says decides."""
OUTCOME_KEYS = {"story", "patients", "events", "duplicates", "rejected", "one_person"}
PATIENT_KEYS = {
    "gate", "queued", "missing", "flags", "tasks", "changes", "values", "absent", "medication", "follow_ups", "refills",
}  # fmt: skip
CANARY = re.compile("Canary")


@dataclass
class Road:
    """What the samples leave behind in memory, by the rules of the ledger and the store."""

    seen: dict[uuid.UUID, bytes] = field(default_factory=dict)
    events: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    dead: dict[str, str] = field(default_factory=dict)
    known: Known = field(default_factory=Known)
    patients: dict[str, PatientOutcome] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    refills: dict[str, dict[str, Refill]] = field(default_factory=lambda: defaultdict(dict))
    """Patient -> requests, also those that ended before the last batch."""

    def __post_init__(self) -> None:
        self.known.sent = lambda patient_id: self.sent[patient_id]

    def receive(self, sample: Sample) -> Iterator[Claimed]:
        for file in sample.files:
            with file.open("rb") as stream:
                for line in documents.lines_of(stream, file.stat().st_size, 0):
                    sha256 = hashlib.sha256(line.content).digest()
                    claimed = None
                    try:
                        document = documents.read_document(line.content, line.is_too_long)
                        event, submission = parse_event(document, CONTRACT)
                        event_id = ledger.event_id_of(event)
                        account = event.subject
                        if isinstance(submission, Change):
                            ((_, account),) = submission.identifiers
                        # Who is the same person is found by matching: here the story itself says it.
                        account = sample.expected.get("one_person", {}).get(account, account)
                        patient_id = str(uuid.uuid5(uuid.NAMESPACE_URL, account))
                        self.accounts[patient_id] = account
                        claimed = Claimed(str(event_id), NOW, event, submission, patient_id)
                        reason = ""
                    except Refused as refusal:
                        event_id, reason = uuid.uuid5(uuid.NAMESPACE_OID, sha256.hex()), refusal.reason
                    if event_id not in self.seen:
                        self.seen[event_id] = sha256
                        if claimed is None:
                            self.rejected[reason] += 1
                        else:
                            self.events += 1
                            yield claimed
                    elif self.seen[event_id] == sha256:
                        self.duplicates += 1
                    else:
                        self.rejected["conflict"] += 1

    def chart(self, batch: list[Claimed]) -> None:
        for claimed in batch:
            account = (f"{ACCOUNT}:{claimed.event.source}", claimed.event.subject)
            self.known.accounts[claimed.record_id] = [account]
            self.known.patient_of[claimed.record_id] = claimed.record_id
            ended = self.refills[claimed.record_id].values()
            self.known.ended_refills[claimed.record_id] = {
                one.refill_id: (one.status, one.ended_at) for one in ended if one.ended_at is not None
            }
        decided = decide(CONTRACT, batch, read(CONTRACT, batch), self.known)
        self.dead |= decided.dead
        for outcome in decided.patients:
            patient_id = outcome.chart.patient_id
            self.patients[self.accounts.get(patient_id, patient_id)] = outcome
            self.known.reports.setdefault(patient_id, []).extend(outcome.reports)
            self.refills[patient_id] |= {one.refill_id: one for one in outcome.refills}
            tasks = self.known.tasks.setdefault(patient_id, [])
            tasks += [(t.code, t.cause) for t in outcome.tasks if (t.code, t.cause) not in tasks]
            if outcome.write is not None:
                copy = self.known.copies.setdefault(patient_id, Copy(0, {}))
                copy.n = outcome.write.n
                copy.planned |= outcome.write.hashes
                self.sent.setdefault(patient_id, {}).update(keys_of(json.loads(outcome.write.body)))

    def ring(self) -> list[Tick]:
        """Let every patient's clock reach all that will ever come, each moment an event of its own."""
        rung: list[Tick] = []
        for account in list(self.patients):
            while (tick := self.patients[account].tick) is not None:
                assert tick not in rung, account
                rung.append(tick)
                patient_id = self.patients[account].chart.patient_id
                event, change = parse_event(reached(tick), CONTRACT)
                self.chart([Claimed(str(ledger.event_id_of(event)), NOW, event, change, patient_id)])
        return rung

    def found(self, account: str) -> dict[str, Any]:
        outcome = self.patients[account]
        return {
            "gate": outcome.gate.outcome,
            "queued": outcome.waits_for_review,
            "missing": sorted(f"{name}:{state}" for name, state in outcome.gate.missing),
            "flags": sorted(outcome.flags),
            "tasks": sorted(f"{task.code}/{task.cause}" for task in outcome.tasks),
            "medication": {
                c.family: {"state": c.state, "findings": sorted(f.name for f in c.findings)} for c in outcome.courses
            },
            "changes": self.known.copies.get(outcome.chart.patient_id, Copy(0, {})).n,
        }

    def treatment(self, account: str) -> dict[str, Any]:
        """Check-ins and refills, as the store keeps them."""
        outcome = self.patients[account]
        follow_ups: dict[str, list[dict[str, Any]]] = {}
        for one in sorted(outcome.follow_ups, key=lambda one: (one.family, one.began_at)):
            told = {"status": one.status, "was_missed": one.was_missed, "missing": [":".join(m) for m in one.missing]}
            told |= {name: instant(getattr(one.moments, name)) for name in MOMENTS}
            follow_ups.setdefault(one.family, []).append(told)
        requests = sorted(self.refills[outcome.chart.patient_id].values(), key=lambda one: one.requested_at)
        refills = [
            dict(
                zip(
                    REFILL,
                    (
                        one.status, one.decision.outcome, one.decision.rule, [*one.decision.reasons], len(one.made),
                        bool(one.decision.overridden), one.is_against_hold,
                    ),
                    strict=True,
                )
            )
            for one in requests
        ]  # fmt: skip
        return {"follow_ups": follow_ups, "refills": refills}


def differences(road: Road, expected: dict[str, Any]) -> dict[str, Any]:
    """What is not as the sample says: name -> (what is there, what it says)."""
    there = {"events": road.events, "duplicates": road.duplicates, "rejected": dict(road.rejected)}
    wrong: dict[str, Any] = {"dead": road.dead} if road.dead else {}
    expected = {"rejected": {}, **expected}
    wrong |= {name: (has, expected[name]) for name, has in there.items() if name in expected and has != expected[name]}
    for account, wanted in expected["patients"].items():
        account = expected.get("one_person", {}).get(account, account)
        if wanted.get("absent") or account not in road.patients:
            if bool(wanted.get("absent")) != (account not in road.patients):
                wrong[account] = "is there" if wanted.get("absent") else "is not there"
            continue
        for name, has in road.found(account).items():
            says = wanted.get(name, has)
            if has != (sorted(says) if isinstance(says, list) else says):
                wrong[f"{account} {name}"] = (has, says)
        wrong |= {f"{account} {k}": part for k, part in treatment_differs(road.treatment(account), wanted).items()}
        chart = road.patients[account].chart
        for name, says in wanted.get("values", {}).items():
            has = chart.values.get(name, {})
            if {part: has.get(part) for part in says} != says:
                wrong[f"{account} {name}"] = (dict(has), says)
    return wrong


def named(sample: Sample) -> str:
    return sample.name


@pytest.mark.parametrize("sample", STORIES, ids=named)
def test_a_story_that_comes_at_once_ends_as_it_says_waits_for_no_clock_and_changes_nothing_again(
    sample: Sample,
) -> None:
    road = Road()
    road.chart(list(road.receive(sample)))
    # Else it would end in another state the later it is told.
    assert [tick.moment for tick in road.ring() if tick.at >= sample_inputs.RECEIVED] == []
    assert differences(road, sample.expected) == {}
    before, changes = road.events, {p: c.n for p, c in road.known.copies.items()}
    assert list(road.receive(sample)) == []
    assert (road.events, {p: c.n for p, c in road.known.copies.items()}) == (before, changes)


@pytest.mark.parametrize("sample", STORIES, ids=named)
def test_a_story_ends_as_it_says_when_its_events_are_charted_one_by_one(sample: Sample) -> None:
    road = Road()
    for claimed in road.receive(sample):
        road.chart([claimed])
    road.ring()
    assert differences(road, sample.expected) == {}


@pytest.mark.parametrize("sample", STORIES, ids=named)
def test_a_story_is_one_sentence_and_says_only_what_can_be_checked(sample: Sample) -> None:
    story = sample.expected["story"]
    assert story[:1].isupper() or story[:1] in '"0123456789'
    assert story.endswith(".")
    assert ". " not in story
    assert sample.expected.keys() <= OUTCOME_KEYS
    for wanted in sample.expected["patients"].values():
        assert wanted.keys() <= PATIENT_KEYS
        assert "absent" not in wanted or wanted == {"absent": True}
    assert sample.files
    assert re.fullmatch("[a-z0-9_]+", sample.name)


@pytest.mark.parametrize("sample", STORIES, ids=named)
def test_every_person_of_a_story_is_invented(sample: Sample) -> None:
    for claimed in Road().receive(sample):
        if not isinstance(claimed.content, Submission):
            continue
        answers = claimed.content.answers
        last = answers.get("demo.legal_last", answers.get("last_name"))
        is_named = claimed.content.form_id == CONTRACT.form_id and not claimed.content.supersedes
        assert CANARY.search(str(last)) if is_named else last is None or CANARY.search(str(last))
        email = str(answers.get("demo.email", answers.get("email", "@example.org")))
        assert email.casefold().endswith("@example.org")
        digits = re.sub(r"\D", "", str(answers.get("demo.mobile", answers.get("phone", "555"))))
        assert re.search(r"55501\d\d|^555$", digits)


def test_accounts_and_events_of_one_story_are_not_those_of_another() -> None:
    accounts: dict[str, set[str]] = defaultdict(set)
    for sample in STORIES:
        for claimed in Road().receive(sample):
            accounts[claimed.event.subject].add(sample.name)
            accounts[claimed.event_id].add(sample.name)
            if isinstance(claimed.content, Submission):
                accounts[claimed.content.submission_id].add(sample.name)
    assert {key: names for key, names in accounts.items() if len(names) > 1} == {}


def test_every_red_flag_that_an_intake_can_raise_has_a_story() -> None:
    told = {flag for sample in STORIES for p in sample.expected["patients"].values() for flag in p.get("flags", ())}
    reds = {f.flag_id for f in CONTRACT.flags.values() if f.input == "intake" and f.severity == "red"}
    assert reds - told == set()


def test_a_clear_case_has_nothing_to_look_at() -> None:
    for name in ("clear_case_pen", "clear_case_tablet"):
        (sample,) = [s for s in STORIES if s.name == name]
        (event,) = [json.loads(file.read_text("utf-8")) for file in sample.files]
        assert len(event["data"]["answers"]) >= 67
        (wanted,) = sample.expected["patients"].values()
        assert wanted["flags"] == []


@pytest.mark.parametrize("version", CONTRACT.form_versions)
def test_clean_submissions_pass_the_gate_in_every_form_version(version: str) -> None:
    road = Road()
    for n in range(120):
        event, submission = parse_event(sample_inputs.clean_submission(n, version), CONTRACT)
        road.chart([Claimed(event.source_id, NOW, event, submission, event.subject)])
    assert not road.dead
    assert len(road.patients) == 120
    for account in road.patients:
        found = road.found(account)
        assert found["missing"] == []
        if version == "3.0.0":
            assert found["flags"] == []
            assert not any("edges" in value for value in road.patients[account].chart.values.values())
            assert found["tasks"] == ["provider-review-initial/clinical-minimum"]
        assert not any(flag.severity == "red" for flag in road.patients[account].flags.values())


def test_a_clean_submission_is_the_same_at_every_call_and_takes_overrides() -> None:
    one, two = sample_inputs.clean_submission(5), sample_inputs.clean_submission(5)
    assert one == two
    assert len(one["data"]["answers"]) >= 67
    other = sample_inputs.clean_submission(
        5, "1.0.0", subject="x", status="in-progress", **{"hx.mtc_family": "unsure", "hx.men2": sample_inputs.ABSENT}
    )
    assert other["subject"] == "x"
    assert other["data"]["status"] == "in-progress"
    assert other["data"]["answers"]["family_thyroid_cancer_mtc"] == "unsure"
    assert "hx.men2" not in other["data"]["answers"]


def test_the_bulk_sample_is_what_the_generator_writes(tmp_path: Path) -> None:
    (sample,) = [s for s in STORIES if s.name == "bulk_thousand_lines"]
    sample_inputs.ndjson(tmp_path / "bulk.ndjson", 1000, seed=1)
    assert [file.read_bytes() for file in sample.files] == [(tmp_path / "bulk.ndjson").read_bytes()]
    road = Road()
    road.chart(list(road.receive(sample)))
    assert Counter(o.gate.outcome for o in road.patients.values()) == {"passed": 950, "held": 20}
