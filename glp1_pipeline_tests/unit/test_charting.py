"""What a batch decides: that the EHR hears of flags that are over, and that one patient's trouble is theirs alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from glp1_pipeline.domain import fhir, gates
from glp1_pipeline.domain.charting import Claimed, Copy, Decided, Known, decide, make_ready, read
from glp1_pipeline.domain.events import Event
from glp1_pipeline_tests.sample_inputs import contract

from .submissions import full_answers, submission

CONTRACT = contract()
USUAL = submission(full_answers())


def claimed(n: int, answers: dict[str, Any], patient_id: str = "p1", **changes: Any) -> Claimed:
    at = USUAL.authored_at + timedelta(minutes=n)
    told = submission(
        answers, **{"submission_id": f"s{n}-{patient_id}", "authored_at": at, "received_at": at, **changes}
    )
    event = Event.__new__(Event)  # nothing of the envelope is read here
    return Claimed(f"e{n}-{patient_id}", at, event, told, patient_id)


def run(known: Known, *batch: Claimed) -> Decided:
    """Decides, and remembers as the store does."""
    known.patient_of |= {c.record_id: c.record_id for c in batch}
    decided = decide(CONTRACT, batch, read(CONTRACT, batch), known)
    for outcome in decided.patients:
        patient_id = outcome.chart.patient_id
        known.reports.setdefault(patient_id, []).extend(outcome.reports)
        if outcome.write is not None:
            copy = known.copies.setdefault(patient_id, Copy(0, {}))
            copy.n = outcome.write.n
            copy.planned |= outcome.write.hashes
    return decided


def flags_of(decided: Decided) -> dict[str, str]:
    write = decided.patients[0].write
    if write is None:
        return {}
    found = [e["resource"] for e in orjson.loads(write.body)["entry"] if e["resource"]["resourceType"] == "Flag"]
    return {flag["id"]: flag["status"] for flag in found}


def flag(flag_id: str) -> str:
    return fhir.flag_key("p1", flag_id).partition("/")[2]


CKD = claimed(1, full_answers() | {"hx.kidney": "ckd"})
WELL = claimed(2, {"hx.kidney": "none"}, status="amended", supersedes="s1-p1")


def test_the_ehr_hears_that_a_flag_is_over_whichever_way_the_events_came():
    known = Known()
    assert flags_of(run(known, CKD))[flag("RENAL_CKD4_5")] == "active"
    assert flags_of(run(known, WELL)) == {flag("RENAL_CKD4_5"): "inactive"}
    at_once = flags_of(run(Known(), WELL, CKD))
    assert at_once[flag("RENAL_CKD4_5")] == "inactive"


def test_a_flag_shown_only_because_an_older_submission_was_late_is_ended_too():
    known = Known()
    assert flags_of(run(known, WELL))[flag("CONSENT_MISSING")] == "active"
    assert flags_of(run(known, CKD))[flag("CONSENT_MISSING")] == "inactive"
    assert run(known, claimed(3, {"rx.pharmacy": "0123456"}, status="in-progress")).patients[0].write is None


def test_a_gate_that_fails_on_one_chart_holds_no_other_patient(monkeypatch):
    inner = gates._judge

    def poisoned(contract, gate, lines, chart, flags):
        if chart.patient_id == "p2":
            raise ValueError("canary")
        return inner(contract, gate, lines, chart, flags)

    monkeypatch.setattr(gates, "_judge", poisoned)
    decided = run(Known(), claimed(1, full_answers(), "p2"), CKD)
    assert [o.chart.patient_id for o in decided.patients] == ["p1"]
    assert decided.dead.keys() == {"e1-p2"}


def test_a_contract_is_made_ready_without_a_patient_and_without_a_trouble():
    assert make_ready(CONTRACT).dead == {}


def test_a_malformed_gate_stops_the_batch_and_kills_no_event(monkeypatch):
    def broken(gate):
        raise gates.GateFault("two requirements of one name")

    monkeypatch.setattr(gates, "_lines", broken)
    with pytest.raises(gates.GateFault):
        run(Known(), CKD)
