"""What systems call a person: which identifiers an event tells, and whose they are to tell (P1.1)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline.domain import crosswalk
from glp1_pipeline.domain.events import Submission, parse_event
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline_tests.refills import requested
from glp1_pipeline_tests.sample_inputs import clean_submission, contract
from glp1_pipeline_tests.treatments import dispensed

SSN = {"type": {"coding": [{"code": "SS"}]}, "system": "http://hl7.org/fhir/sid/us-ssn", "value": "999-12-3456"}
LICENCE = {"type": {"coding": [{"code": "DL"}]}, "system": "urn:oid:2.16.840.1.113883.4.3.25", "value": "S999"}
MRN = {"type": {"coding": [{"code": "MR"}]}, "system": "http://hospital.example", "value": "00-77-1"}


def of_form(**answers: Any) -> set[tuple[str, str]]:
    event, content = parse_event(clean_submission(1, **answers), contract())
    assert isinstance(content, Submission)
    values = map_submission(contract(), content).values
    return set(crosswalk.told(contract(), event, content, values).identifiers)


def changed(resource: dict[str, Any], source: str = "/ehr/clinic", **data: Any) -> crosswalk.Told:
    kind = resource["resourceType"]
    event, content = parse_event(
        {
            "specversion": "1.0", "type": "chart.updated", "source": source, "id": f"{kind}/1/_history/1",
            "subject": "Patient/1", "time": "2026-11-21T10:00:00Z",
            "data": {"resource_type": kind, "resource_id": "1", "version": "1", "resource": resource} | data,
        },
        contract(),
    )  # fmt: skip
    return crosswalk.told(contract(), event, content, {})


def of_patient(*identifiers: Any, **data: Any) -> set[tuple[str, str]]:
    return set(changed({"resourceType": "Patient", "identifier": list(identifiers)}, **data).identifiers)


def named(*pairs: tuple[str, str], source: str = "/pharmacy/mail-order") -> crosswalk.Told:
    listed = [{"system": system, "value": value} for system, value in pairs]
    event, content = parse_event(dispensed(3, 0.25, identifiers=listed) | {"source": source}, contract())
    return crosswalk.told(contract(), event, content, {})


def test_a_member_id_and_a_group_of_the_form_are_told_in_the_spelling_that_claims_use():
    card = {"bin": "610014", "pcn": "MEDD", "group": "rx 4455"}
    told = of_form(**{"ins.has_coverage": True, "ins.member_id": "w-123 456 789", "ins.bin_pcn_group": card})
    assert told == {("payer-member", "W123456789"), ("payer-group", "RX4455")}


def test_whoever_has_no_card_is_called_nothing():
    assert of_form(**{"ins.has_coverage": False}) == set()
    assert of_form(**{"ins.has_coverage": True, "ins.member_id": "not sure", "ins.bin_pcn_group": "none"}) == set()


def test_a_record_number_of_the_ehr_is_told_by_the_system_that_gave_it_and_numbers_of_the_state_never():
    assert of_patient(MRN, SSN, LICENCE) == {("mrn:http://hospital.example", "00-77-1")}
    assert of_patient({"system": SSN["system"], "value": "999"}, {"value": "7"}) == set()
    assert of_patient({"system": "urn:oid:1.2.3", "value": "7"}) == {("mrn:urn:oid:1.2.3", "7")}


def test_what_we_wrote_into_a_patient_ourselves_is_told_by_nobody():
    ours = {"system": "urn:glp1-pipeline:patient", "value": "x"}, {"system": "intake-account:/intake/web", "value": "a"}
    assert of_patient(*ours) == set()


def test_a_coverage_tells_the_member_id_and_the_group():
    group = {"type": {"coding": [{"code": "group"}]}, "value": "CBI35"}
    plan = {"type": {"coding": [{"code": "plan"}]}, "value": "B37FC"}
    policy = {"system": "http://plan.example", "value": "policy-1"}
    coverage = {"resourceType": "Coverage", "subscriberId": "W-1", "class": [group, plan], "identifier": [policy]}
    assert set(changed(coverage).identifiers) == {("payer-member", "W1"), ("payer-group", "CBI35")}


@pytest.mark.parametrize(
    ("system", "is_theirs"),
    [
        ("pharmacy:/pharmacy/mail-order", True),
        ("pharmacy:/pharmacy/other", False),
        ("lab:/lab/quest", True),
        ("payer-member", True),
        ("payer-member:someone", False),
        ("mrn:http://hospital.example", False),
        ("ehr:/ehr/ehr", False),
        ("http://hospital.example", False),
    ],
)
def test_a_pharmacy_tells_its_own_names_of_a_person_and_those_that_the_contract_lets_it(system: str, is_theirs: bool):
    told = named((system, "P-7"))
    assert (len(told.identifiers), told.refused) == ((1, 0) if is_theirs else (0, 1))


def test_who_asks_for_a_refill_tells_what_they_may_of_the_person():
    listed = [{"system": "payer-member", "value": "W1"}, {"system": "mrn:http://hospital.example", "value": "1"}]
    for source in ("/pharmacy/mail-order", "/intake/web"):
        event, content = parse_event(requested(25, identifiers=listed) | {"source": source}, contract())
        told = crosswalk.told(contract(), event, content, {})
        assert (told.identifiers, told.refused) == ((("payer-member", "W1"),), 1), source


def test_the_ehr_tells_a_laboratorys_number_beside_a_change_or_in_the_patient_itself():
    lab = {"system": "lab:/lab/quest", "value": "Q-7"}
    assert of_patient(lab) == {("lab:/lab/quest", "Q-7")}
    assert changed({"resourceType": "Patient"}, identifiers=[lab]).identifiers == (("lab:/lab/quest", "Q-7"),)


def test_the_names_that_an_event_goes_by_are_not_told_again():
    told = named(("intake-account:/intake/web", "canary-0000001"))
    assert told == crosswalk.NOTHING


def test_what_is_deleted_tells_nothing():
    assert of_patient(MRN, deleted=True) == set()


RAW = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["system", "value", "type", "coding", "code", "class"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from(["Patient", "Coverage", "Observation"]), RAW, RAW, RAW)
def test_no_resource_of_any_shape_makes_it_raise(kind: str, identifier: Any, group: Any, member: Any):
    told = changed({"resourceType": kind, "identifier": identifier, "class": group, "subscriberId": member})
    assert all(system and value for system, value in told.identifiers)
