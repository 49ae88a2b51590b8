"""What the EHR tells of orders and hand-overs, in versions and twice, and whatever else is told, in any order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain.events import Change, Refused, parse_event
from glp1_pipeline.domain.medication import Course, Fact, fold, told
from glp1_pipeline.domain.medication.supply import days_from_pack
from glp1_pipeline.domain.medication_model import PREVIOUS
from glp1_pipeline_tests.treatments import (
    BEGAN,
    at,
    dispensed,
    let_through,
    message,
    ordered,
    request,
    resource,
    said,
    taken,
)
from glp1_pipeline_tests.unit.test_medication import CONTRACT, RULES, START, course, courses, fact, made, shown

# FHIR of the EHR


def test_an_order_of_the_ehr_is_held_let_go_on_and_stopped_by_its_versions_in_any_order():
    versions = [
        resource(request(0.25, status), day, str(n))
        for n, (status, day) in enumerate([("active", 0), ("on-hold", 10), ("active", 14), ("stopped", 60)], 1)
    ]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        found = course(*[versions[n] for n in order])
        assert made(found) == [
            "none > new_start", "new_start > paused", "paused > new_start", "new_start > discontinued",
        ]  # fmt: skip


def handed_over(status: str, version: str = "1") -> dict[str, Any]:
    content = {
        **request(0.25, status),
        "resourceType": "MedicationDispense",
        "whenHandedOver": at(3),
        "daysSupply": {"value": 28, "code": "d"},
    }
    return resource(content, 3, version)


def ingredient(name: str, mg_per_ml: float) -> dict[str, Any]:
    strength = {"numerator": {"value": mg_per_ml, "code": "mg"}, "denominator": {"value": 1, "code": "mL"}}
    return {"itemCodeableConcept": {"text": name} if name else {}, "strength": strength}


def compounded(mg: float, ml: float, *ingredients: dict[str, Any]) -> list[str]:
    """What a person is shown of a first order of a compounded product in the EHR."""
    dose = [{"doseQuantity": {"value": value, "unit": unit}} for value, unit in ((mg, "mg"), (ml, "mL"))]
    product = {"coding": [{"system": "urn:glp1-pipeline:code:product", "code": "comp_sema"}]}
    inside = {"resourceType": "Medication", "id": "vial", "code": product, "ingredient": [*ingredients]}
    own = {"contained": [inside], "medicationReference": {"reference": "#vial"}}
    order = request(mg, dosageInstruction=[{"doseAndRate": dose}], **own)
    order.pop("medicationCodeableConcept")
    return shown(course(resource(order, 0), family="comp_sema"))


SEMAGLUTIDE, ADDITIVE = ingredient("Semaglutide", 2.5), ingredient("cyanocobalamin", 0.5)


@pytest.mark.parametrize("ingredients", [(SEMAGLUTIDE, ADDITIVE), (ADDITIVE, SEMAGLUTIDE), (ingredient("", 2.5),)])
def test_a_compounded_dose_agrees_by_the_strength_of_its_glp1_wherever_an_additive_stands(ingredients: tuple[Any, ...]):
    assert compounded(0.25, 0.1, *ingredients) == []
    assert compounded(0.25, 0.5, *ingredients) == ["compounded_dose_disagrees"]  # it holds 1.25 mg
    assert compounded(0.25, 1, *ingredients) == ["compounded_dose_tenfold"]


@pytest.mark.parametrize(
    "ingredients", [(ingredient("", 2.5), ADDITIVE), (SEMAGLUTIDE, ingredient("tirzepatide", 10)), ()]
)
def test_a_compounded_dose_whose_strength_nobody_can_tell_among_several_is_incomplete(ingredients: tuple[Any, ...]):
    assert compounded(0.25, 0.1, *ingredients) == ["compounded_dose_incomplete"]


def dosage(value: float, unit: str, **more: Any) -> dict[str, Any]:
    quantity = {"value": value, "system": "http://unitsofmeasure.org", "code": unit}
    return {"doseAndRate": [{"doseQuantity": quantity}], **more}


@pytest.mark.parametrize(("value", "unit"), [(0.25, "mg"), (250, "ug"), (250, "mcg")])
def test_a_dose_in_micrograms_is_the_same_dose(value: float, unit: str):
    assert course(resource(request(0.25, dosageInstruction=[dosage(value, unit)]), 0)).mg == 0.25


def test_of_an_order_with_several_steps_the_first_is_the_dose_wherever_it_stands():
    steps = [dosage(0.5, "mg", sequence=2), dosage(0.25, "mg", sequence=1)]
    assert made(course(resource(request(0.25, dosageInstruction=steps), 0))) == ["none > new_start"]
    assert made(course(resource(request(0.25, dosageInstruction=steps[::-1]), 0))) == ["none > new_start"]


def test_what_was_handed_over_for_an_order_before_it_was_signed_is_no_earlier_treatment():
    for order in ([0, 1], [1, 0]):
        told = [dispensed(0, 0.25, order_ref="first"), ordered(1, 0.25, "first")]
        assert made(course(*(told[n] for n in order))) == ["none > new_start"]
    assert made(course(dispensed(0, 0.25, order_ref="another"), ordered(1, 0.25, "first"))) == ["none > titration"]


def test_what_a_pharmacy_still_prepares_or_calls_off_is_no_supply():
    order = ordered(0, 0.25)
    assert course(order, handed_over("completed")).runs_out_at is not None
    assert course(order, handed_over("in-progress")).runs_out_at is None
    assert course(order, handed_over("in-progress"), handed_over("completed", "2")).runs_out_at is not None
    assert course(order, handed_over("cancelled")).runs_out_at is None


def days_until_out(found: Course) -> float:
    assert found.runs_out_at is not None
    return (found.runs_out_at - BEGAN) / timedelta(days=1)


def test_a_hand_over_that_pharmacy_and_ehr_both_tell_is_one_supply_in_any_order():
    ehr = handed_over("completed")
    both = [ordered(0, 0.25), dispensed(3.2, 0.25), ehr]
    for heard in (both, both[::-1]):
        found = course(*heard)
        assert (len(found.supplies), round(days_until_out(found), 1)) == (1, 31.2)
        assert [supply.fact.source for supply in found.supplies] == ["pharmacy"]
    lost = message("shipment_exception", 5, "lost", dispense_ref="dispense-3.2-0.25", reason="lost")
    assert course(*both, lost).runs_out_at is None
    assert len(course(*both, dispensed(3.3, 0.25, "second-carton")).supplies) == 2
    assert len(course(ordered(0, 0.25), ehr, dispensed(3, 0.25, days_supply=56)).supplies) == 2
    assert len(course(ordered(0, 0.25), ehr, dispensed(5, 0.25)).supplies) == 2


@pytest.mark.parametrize(("sent_on", "supplies"), [(-1, 1), (0, 1), (2, 1), (3, 1), (-5, 2), (5, 2)])
def test_a_parcel_is_one_supply_with_the_day_that_the_ehr_tells_it_was_handed_over(sent_on: int, supplies: int):
    parcel = dispensed(sent_on, 0.25, shipped_at=at(sent_on))
    del parcel["data"]["when_handed_over"]
    heard = [ordered(-6, 0.25), parcel, handed_over("completed")]
    for order in (heard, heard[::-1]):
        found = course(*order)
        assert len(found.supplies) == supplies
        assert supplies == 2 or [days_until_out(found), found.supplies[0].fact.source] == [3 + 28, "pharmacy"]


def test_packs_of_one_day_add_up_and_of_a_supply_before_two_weeks_at_most():
    assert round(days_until_out(course(*START, dispensed(3.01, 0.25, "second")))) == 3 + 56
    assert round(days_until_out(course(*START, dispensed(10, 0.25, "early")))) == 10 + 14 + 28


def test_an_order_after_a_long_supply_that_was_stopped_goes_on_from_its_dose_and_not_once_it_is_long_over():
    long = dispensed(29, 0.5, days_supply=84, quantity={"value": 12, "unit": "pen"})
    story = [*START, ordered(28, 0.5), long, said("stopped", 100)]
    again = course(*story, ordered(105, 0.5, "again"))
    assert (again.state, again.mg, shown(again)) == ("restart", 0.5, [])
    assert shown(course(*story, ordered(170, 0.5, "late"))) == ["start_above_first_step"]
    early = [*story[:-1], said("stopped", 40)]
    assert shown(course(*early, ordered(105, 0.5, "late"))) == ["start_above_first_step"]


def test_days_of_a_supply_are_those_of_the_hand_over_then_of_the_order_then_of_the_pack():
    pens = {"days_supply": None, "quantity": {"value": 8, "unit": "pen"}}
    by_order = [ordered(0, 0.25, days_supply=28), dispensed(3, 0.25, **pens)]
    assert [supply.days for supply in course(*by_order).supplies] == [28]
    assert [supply.days for supply in course(ordered(0, 0.25), dispensed(3, 0.25, **pens)).supplies] == [56]
    assert [supply.days for supply in course(by_order[0], dispensed(3, 0.25, days_supply=42)).supplies] == [42]


def test_a_plan_that_becomes_an_order_is_an_order_and_one_that_is_called_off_is_none():
    plan = resource(request(0.25, intent="plan"), 0)
    assert course(plan).state == "none"
    assert course(plan, resource(request(0.25), 1, "2")).state == "new_start"
    assert courses(plan, resource(request(0.25, "cancelled", intent="plan"), 1, "2")) == {}


def test_an_order_entered_in_error_never_was():
    versions = [resource(request(0.25), 0), resource(request(0.25, "entered-in-error"), 1, "2")]
    assert courses(*versions) == {}


def test_an_order_that_is_stopped_because_the_next_one_took_its_place_stops_no_treatment():
    stopped = resource(request(0.25, "stopped"), 28.5, "2")
    assert course(resource(request(0.25), 0), dispensed(1, 0.25), ordered(28, 0.5), stopped).state == "titration"


def test_a_refused_order_that_is_held_or_called_off_leaves_the_treatment_as_it_was_while_the_order_before_it_stands():
    skips = request(1.0, id="rx2", authoredOn=at(20))
    wrong, held, again, off = (
        resource({**skips, "status": status}, day, str(n))
        for n, (status, day) in enumerate([("active", 20), ("on-hold", 21), ("active", 22), ("cancelled", 25)], 1)
    )
    first, over = resource(request(0.25), 0), resource(request(0.25, "stopped"), 40, "2")
    treated = [first, dispensed(1, 0.25), wrong, held, again, off]
    for documents in (treated, treated[::-1]):
        found = course(*documents)
        assert (found.state, made(found), shown(found)) == ("new_start", ["none > new_start"], [])
    for documents in ([*treated, over], [over, *treated]):
        assert course(*documents).state == "discontinued", "the order before it ended too"
    late = resource({**skips, "status": "cancelled"}, 50, "5")
    assert course(first, dispensed(1, 0.25), wrong, over).state == "new_start", "in the EHR another took its place"
    found = course(first, dispensed(1, 0.25), wrong, over, late)
    assert (found.state, shown(found)) == ("discontinued", [])
    alone = course(wrong, resource({**skips, "status": "cancelled"}, 25, "2"))
    assert (alone.state, made(alone), shown(alone)) == ("none", [], [])
    assert course(*treated, said("stopped", 26, medication_request_ref="MedicationRequest/rx2")).state == "discontinued"


OURS: dict[str, Any] = {"identifier": [{"system": "urn:glp1-pipeline:resource", "value": "x"}]}


def test_other_medicines_and_our_own_statements_and_proposals_are_no_treatment():
    lisinopril = request(0.25, medicationCodeableConcept={"text": "lisinopril 10 mg"})
    assert fact(resource(lisinopril, 0)) is None
    assert fact(resource(request(0.25, **OURS, resourceType="MedicationStatement"), 0)) is None
    proposal = resource(request(0.25, **OURS, intent="proposal"), 0)
    assert fact(proposal) is None
    assert courses(proposal) == {}


def test_a_proposal_of_ours_that_is_deleted_takes_no_order_back():
    gone = resource(request(0.25, **OURS, intent="proposal"), 5, "2")
    gone["data"] |= {"deleted": True}
    assert fact(gone) is None
    assert course(ordered(0, 0.25), gone).state == "new_start"


def test_an_order_that_somebody_made_of_our_proposal_is_an_order():
    assert course(resource(request(0.25, **OURS), 0)).state == "new_start"


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("ordered", {"medication_request_ref": None}),
        ("ordered", {"medication_request_ref": "Ann Canary"}),
        ("dispensed", {"dispense_ref": "d", "resource": {"resourceType": "Patient"}}),
        ("dose_reported", {"product_key": "wegovy_inj", "taken_at": 5}),
        ("stopped", {"product_key": "wegovy_inj", "reason_code": "because she said so"}),
    ],
)
def test_a_message_without_its_parts_or_with_words_where_a_token_belongs_does_not_enter(kind, wrong):
    with pytest.raises(Refused) as refused:
        parse_event(message(kind, 0, "any", **wrong), CONTRACT)
    assert "Canary" not in str(refused.value)
    assert "because" not in str(refused.value)


# Whatever comes


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["dose", "codes", "quantity", "days_supply", "when_handed_over", "refills", "resource", "product_key", "status",
     "taken_at", "doses_missed", "keeps_dose", "replaces"]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, ANY_JSON, max_size=6), st.sampled_from(["ordered", "dispensed", "dose_reported"]))
def test_no_content_of_a_message_makes_reading_fail(content, kind):
    _, change = parse_event(
        message(kind, 0, "any", medication_request_ref="r", dispense_ref="d", product_key="wegovy_inj", taken_at=at(0)),
        CONTRACT,
    )
    assert isinstance(change, Change)
    change.content.update(content)
    found = told(CONTRACT, change)
    if found is not None:
        fold(RULES, [Fact.from_doc(found.to_doc(), "any", found.source)])


FHIR_KEYS = st.sampled_from(
    ["status", "intent", "medicationCodeableConcept", "medicationReference", "contained", "dosageInstruction", "quantity",
     "daysSupply", "dispenseRequest", "authoredOn", "whenHandedOver", "identifier", "courseOfTherapyType", "id"]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(FHIR_KEYS, ANY_JSON, max_size=8), st.sampled_from(["MedicationRequest", "MedicationDispense"]))
def test_no_resource_of_the_ehr_makes_reading_fail(content, kind):
    usual = {**request(0.25), "quantity": {"value": 4, "unit": "pen"}}
    _, change = parse_event(resource({**usual, "resourceType": kind}, 0), CONTRACT)
    assert isinstance(change, Change)
    change.content.update(content)
    found = told(CONTRACT, change)
    if found is not None:
        fold(RULES, [Fact.from_doc(found.to_doc(), "any", found.source)])


@pytest.mark.parametrize(
    ("product", "mg", "quantity", "unit", "days"),
    [
        ("wegovy_inj", 0.5, 4, "pen", (28, 28)),
        ("zepbound_vial", 2.5, 1, "vial", (7, 7)),
        ("zepbound_kwikpen", 2.5, 1, "pen", (28, 28)),
        ("ozempic", 0.25, 1, "pen", (28, 56)),
        ("ozempic", 2, 1, "pen", (28, 28)),
        ("saxenda", 3, 5, "pen", (30, 30)),
        ("saxenda", 0.6, 5, "pen", None),
        ("wegovy_tab", 1.5, 30, "tablet", (30, 30)),
        ("comp_sema", 0.25, 1, "ml", (70, 70)),
        ("wegovy_inj", 0.5, 4, "box", None),
    ],
)
def test_a_pack_lasts_as_long_as_its_doses(product, mg, quantity, unit, days):
    now = datetime(2026, 5, 5, tzinfo=UTC)
    handed_over = Fact("dispensed", now, now, product=product, mg=mg, mg_per_ml=2.5, quantity=quantity, unit=unit)
    assert days_from_pack(RULES, handed_over) == days


OPEN = [name for name, rule in RULES.findings.items() if rule.overridden_by]


@st.composite
def stories(draw) -> list[dict[str, Any]]:
    found = []
    for n in range(draw(st.integers(1, 12))):
        day = draw(st.integers(0, 200))
        mg, product = draw(
            st.sampled_from([(0.25, "wegovy_inj"), (0.5, "wegovy_inj"), (1.0, "wegovy_inj"), (2.5, "zepbound_pen")])
        )
        kinds = ["ordered", "ordered", "dispensed", "taken", "paused", "resumed", "stopped", "let_through", "version"]
        kind = draw(st.sampled_from(kinds))
        if kind == "ordered":
            replaces = draw(st.sampled_from(["", "wegovy_inj", "zepbound_pen"]))
            found.append(ordered(day, mg, f"o{n}", product, replaces=replaces, keeps_dose=draw(st.booleans())))
            if draw(st.booleans()):  # whatever refuses it, a provider lets it through at once, or later
                found.append(let_through(day + draw(st.sampled_from([0, 1, 20])), f"o{n}", *OPEN))
        elif kind == "dispensed":
            found.append(dispensed(day, mg, f"d{n}", product))
            if draw(st.booleans()):  # the EHR tells it too, or another of that day
                found.append(handed_over_there(day, mg, f"h{n}", product))
        elif kind == "version":  # of an order: held, let go on, called off
            told = {"status": draw(st.sampled_from(["on-hold", "active", "cancelled", "cancelled"]))}
            ref = f"o{draw(st.integers(0, 11))}"
            found.append(ordered(day, mg, f"v{n}", product, medication_request_ref=ref, **told))
        elif kind == "let_through":
            rules = draw(st.lists(st.sampled_from(OPEN), min_size=1, max_size=2, unique=True))
            found.append(let_through(day, f"o{draw(st.integers(0, 11))}", *rules))
        elif kind == "taken":
            late = draw(st.sampled_from([0, 0, 30]))  # said long after the dose
            told_of = taken(day, mg, product, doses_missed=draw(st.sampled_from([None, 0, 1, 4])))
            found.append({**told_of, "time": at(day + late)})
        else:
            found.append(said(kind, day, product))
    return found


def handed_over_there(day: float, mg: float, name: str, product: str) -> dict[str, Any]:
    coding = [{"system": "urn:glp1-pipeline:code:product", "code": product}]
    content = {**handed_over("completed")["data"]["resource"], "id": name, "whenHandedOver": at(day + 0.5)}
    dose = [{"doseAndRate": [{"doseQuantity": {"value": mg, "code": "mg"}}]}]
    content |= {"medicationCodeableConcept": {"coding": coding}, "dosageInstruction": dose}
    return resource(content, day + 0.5)


@settings(max_examples=120, deadline=None)
@given(stories(), st.randoms(use_true_random=False))
def test_any_order_with_any_copies_folds_to_the_same_courses(documents, chance: random.Random):
    facts = [found for document in documents if (found := fact(document)) is not None]
    shuffled = facts + chance.choices(facts, k=3)
    chance.shuffle(shuffled)
    assert fold(RULES, shuffled) == fold(RULES, facts)


@settings(max_examples=120, deadline=None)
@given(stories())
def test_every_move_made_is_one_that_is_allowed_and_no_two_products_are_under_way(documents):
    found = courses(*documents)
    assert sum(one.is_under_way for one in found.values()) <= 1
    for one in found.values():
        state = "none"
        for move in one.history:
            assert move.leaves == state
            if move.outcome == "made":
                rule = RULES.moves[move.rule]
                assert state in rule.leaves
                assert rule.to in (PREVIOUS, move.to)
                state = move.to
            elif move.outcome == "overridden":
                assert move.rule.partition(":")[0] in OPEN
            else:
                assert move.rule in RULES.findings
        assert one.state == state
        assert {finding.name for finding in one.findings} <= RULES.findings.keys()
