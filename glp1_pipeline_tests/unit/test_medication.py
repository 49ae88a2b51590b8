"""One state of a treatment from all that was said of it, in any order; what may not be is refused by name and shown."""

from __future__ import annotations

from typing import Any

import pytest

from glp1_pipeline.domain.downtime import in_words
from glp1_pipeline.domain.events import Change, parse_event
from glp1_pipeline.domain.medication import Course, Fact, fold, told
from glp1_pipeline_tests.one_patient import Patient
from glp1_pipeline_tests.refills import checkin, day, intake
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.treatments import BEGAN, at, dispensed, let_through, message, ordered, resource, said, taken

CONTRACT = contract()
RULES = CONTRACT.medication
START = [ordered(0, 0.25), dispensed(3, 0.25)]
STEP = [*START, ordered(28, 0.5), dispensed(31, 0.5)]


def fact(document: dict[str, Any]) -> Fact | None:
    _, change = parse_event(document, CONTRACT)
    assert isinstance(change, Change)
    found = told(CONTRACT, change)
    return None if found is None else Fact.from_doc(found.to_doc(), document["id"], found.source)


def courses(*documents: dict[str, Any]) -> dict[str, Course]:
    facts = [found for document in documents if (found := fact(document)) is not None]
    return {course.family: course for course in fold(RULES, facts)}


def course(*documents: dict[str, Any], family: str = "wegovy_inj") -> Course:
    return courses(*documents)[family]


def shown(found: Course) -> list[str]:
    return [finding.name for finding in found.findings]


def made(found: Course) -> list[str]:
    return [f"{t.leaves} > {t.to}" for t in found.history if t.outcome == "made" and t.leaves != t.to]


# The states


def test_a_start_and_two_steps_up_are_new_start_then_titration():
    found = course(*STEP, ordered(58, 1.0))
    assert made(found) == ["none > new_start", "new_start > titration"]
    assert (found.state, found.mg, shown(found)) == ("titration", 1.0, [])


def test_a_start_that_goes_on_beyond_its_days_is_a_start_no_more_with_the_next_order_or_hand_over():
    assert course(*START, dispensed(30, 0.25, "second")).state == "new_start"
    found = course(*START, dispensed(31, 0.25, "second"))
    assert (found.state, found.history[-1].rule) == ("titration", "start_is_over")
    assert course(*START, ordered(31, 0.25, "again")).state == "titration"
    assert course(*START, said("paused", 5), said("resumed", 12), dispensed(32, 0.25, "second")).state == "new_start"


def test_a_dose_that_the_label_keeps_is_maintenance_after_its_four_weeks_and_not_before():
    steps = [ordered(29 * n, mg) for n, mg in enumerate((0.25, 0.5, 1.0, 1.7, 2.4))]
    assert course(*steps, dispensed(120, 2.4)).state == "titration"
    assert course(*steps, dispensed(120, 2.4), dispensed(148, 2.4)).state == "maintenance"


def test_a_provider_may_keep_a_lower_dose_but_not_the_one_for_the_start():
    assert course(*STEP, ordered(60, 0.5, keeps_dose=True)).state == "maintenance"
    found = course(*START, ordered(28, 0.25, keeps_dose=True))
    assert (found.state, shown(found)) == ("new_start", ["maintenance_at_starting_dose"])


def test_a_lower_dose_that_is_ordered_is_a_de_escalation_and_nothing_to_look_at():
    found = course(*STEP, ordered(60, 0.25, "down"), dispensed(62, 0.25, "lower"))
    assert (found.state, found.mg, shown(found)) == ("de_escalation", 0.25, [])


def test_a_short_pause_ends_where_it_began_and_a_long_one_in_a_restart_that_is_shown():
    short = course(*STEP, said("paused", 40), said("resumed", 50))
    assert (short.state, shown(short)) == ("titration", [])
    found = course(*STEP, said("paused", 40), said("resumed", 75))
    assert (found.state, shown(found)) == ("restart", ["restart_after_gap"])
    assert found.findings[0].proposal == "restart_at_start_dose"


def test_a_stop_ends_the_treatment_and_an_order_soon_after_begins_it_again():
    assert course(*STEP, said("stopped", 50)).state == "discontinued"
    again = course(*STEP, said("stopped", 50), ordered(80, 0.25, "again"))
    assert made(again)[-1] == "discontinued > restart"
    later = course(*STEP, said("stopped", 50), ordered(200, 0.25, "later"))
    assert made(later)[-1] == "discontinued > new_start"


def test_an_order_that_says_what_it_replaces_is_a_switch_and_no_strength_is_compared():
    both = courses(*START, taken(20, 0.25), ordered(28, 2.5, product="zepbound_pen", replaces="wegovy_inj"))
    assert {name: found.state for name, found in both.items()} == {"wegovy_inj": "discontinued", "zepbound": "switch"}
    assert all(shown(found) == [] for found in both.values())


def test_a_switch_where_nobody_told_the_last_dose_is_shown():
    both = courses(*START, ordered(28, 2.5, product="zepbound_pen", replaces="wegovy_inj"))
    assert shown(both["zepbound"]) == ["switch_without_last_dose"]


@pytest.mark.parametrize(
    ("family", "documents"),
    [
        ("zepbound", [*START, taken(20, 0.25), ordered(28, 15, product="zepbound_pen", replaces="wegovy_inj")]),
        ("wegovy_inj", [taken(-55, 0.25, "ozempic"), ordered(0, 2.4)]),
        ("wegovy_hd", [*START, taken(20, 0.25), ordered(28, 7.2, product="wegovy_hd", replaces="wegovy_inj")]),
        (
            "comp_sema",
            [
                *START, taken(20, 0.25),
                ordered(28, 2.4, product="comp_sema", replaces="wegovy_inj", dose={"mg": 2.4, "mg_per_ml": 2.4, "ml": 1}),
            ],
        ),
    ],
)  # fmt: skip
def test_another_product_above_the_first_step_of_its_ladder_is_a_switch_that_a_provider_confirms(family, documents):
    found = course(*documents, family=family)
    assert (found.state, shown(found)) == ("switch", ["switch_above_first_step"])
    confirmed = {**documents[-1], "id": "confirmed", "time": at(29)}
    confirmed["data"] = {**confirmed["data"], "medication_request_ref": "confirmed", "authored_at": at(29)}
    assert shown(course(*documents, confirmed, family=family)) == []


# What is refused


@pytest.mark.parametrize(
    ("documents", "rule"),
    [
        ([*START, ordered(28, 1.0)], "skip_a_step_up"),
        ([*START, ordered(10, 0.5)], "step_up_before_min_days"),
        ([ordered(0, 1.0)], "start_above_first_step"),
        ([*START, ordered(28, 0.6)], "dose_not_on_ladder"),
    ],
)
def test_an_order_against_a_rule_is_refused_by_its_name_and_the_state_stays(documents, rule):
    found, before = course(*documents), course(*documents[:-1]) if len(documents) > 1 else Course("wegovy_inj")
    assert (found.state, found.mg) == (before.state, before.mg)
    assert (found.history[-1].outcome, found.history[-1].rule) == ("rejected", rule)
    assert rule in shown(found)


def test_a_refused_order_is_shown_no_more_once_a_right_one_took_its_place():
    assert shown(course(*START, ordered(28, 1.0), ordered(29, 0.5))) == []


def test_a_step_up_counts_from_the_hand_over_and_may_be_ordered_a_week_ahead():
    late = [ordered(0, 0.25), dispensed(12, 0.25)]
    assert "step_up_before_min_days" in shown(course(*late, ordered(28, 0.5)))
    assert shown(course(*late, ordered(34, 0.5))) == []


@pytest.mark.parametrize(
    "documents",
    [
        [*START, ordered(101, 0.5)],  # ten weeks after the supply ran out
        [*STEP, ordered(160, 1.0)],
        [*START, dispensed(31, 0.25, "more"), taken(45, 0.25, doses_missed=3), ordered(46, 0.5)],  # the gap was told
        [*START, dispensed(101, 0.25, "late"), ordered(103, 0.5)],  # and nobody answered it
        [*START, ordered(100, 0.25, "anew"), dispensed(102, 0.25, "again"), ordered(103, 0.5)],  # restarted days ago
        [*START, said("paused", 5), said("resumed", 17), ordered(26, 0.5)],  # two weeks of it were none at the dose
        [*START, said("paused", 5), ordered(80, 0.5)],
        [*START, said("paused", 5), said("resumed", 80), ordered(90, 0.5)],
        [*START, said("stopped", 4), ordered(6, 0.5)],
        [*START, said("stopped", 33), ordered(58, 0.5)],
    ],
)
def test_no_gap_pause_or_stop_makes_a_step_up_come_before_its_days(documents):
    found, before = course(*documents), course(*documents[:-1])
    assert shown(found) == sorted({*shown(before), "step_up_before_min_days"})
    assert (found.state, found.mg, found.dose_since, found.gap) == (
        before.state, before.mg, before.dose_since, before.gap,
    )  # fmt: skip


@pytest.mark.parametrize(
    "documents",
    [
        [*START, ordered(100, 0.25, "anew"), dispensed(102, 0.25, "again"), ordered(124, 0.5)],
        [*START, said("paused", 5), said("resumed", 17), dispensed(31, 0.25, "more"), ordered(37, 0.5)],
        [*START, said("paused", 5), said("resumed", 80), dispensed(81, 0.25, "more"), ordered(103, 0.5)],
        [*START, said("stopped", 29), ordered(32, 0.5)],
    ],
)
def test_after_a_restart_or_a_pause_a_step_up_is_open_once_the_days_at_the_dose_are_full(documents):
    found = course(*documents)
    assert (found.mg, shown(found)) == (0.5, [])


def test_who_comes_with_a_treatment_goes_on_with_it_and_no_further_than_a_step():
    before = taken(-5, 0.5)
    assert course(before, ordered(0, 1.0)).state == "titration"
    assert shown(course(before, ordered(0, 1.7))) == ["skip_a_step_up"]


def test_a_second_product_beside_the_first_is_refused_and_its_hand_over_is_shown():
    other = [ordered(20, 2.5, product="zepbound_pen"), dispensed(22, 2.5, product="zepbound_pen")]
    both = courses(*START, *other)
    assert (both["wegovy_inj"].state, both["zepbound"].state) == ("new_start", "none")
    assert shown(both["zepbound"]) == ["overlap_two_glp1", "two_glp1_at_once"]
    ended = courses(*START, *other, said("stopped", 25), ordered(26, 2.5, "anew", product="zepbound_pen"))
    assert ended["zepbound"].state == "switch"
    assert all(shown(found) == [] for found in ended.values())


# What cannot be used


@pytest.mark.parametrize(
    ("told_as", "why"),
    [
        ({"dose": {"mg": 0.25, "mg_per_ml": 2.5, "ml": 0.1}}, ""),
        ({"dose": {"mg": 0.25, "mg_per_ml": 2.5, "units": 10}}, ""),
        ({"dose": {"mg": 0.25, "mg_per_ml": 2.5, "ml": 1.0}}, "compounded_dose_tenfold"),
        ({"dose": {"mg": 2.5, "mg_per_ml": 2.5, "units": 10}}, "compounded_dose_tenfold"),
        ({"dose": {"mg": 0.25, "mg_per_ml": 2.5, "ml": 0.1, "units": 100}}, "compounded_dose_tenfold"),
        ({"dose": {"mg": 0.25, "mg_per_ml": 2.5, "ml": 0.13}}, "compounded_dose_disagrees"),
        ({"dose": {"mg": 0.25}}, "compounded_dose_incomplete"),
        ({"dose": {"mg_per_ml": 2.5, "ml": 0.1}}, "compounded_dose_incomplete"),
        ({"dose": {"mg": 25, "mg_per_ml": 2.5, "ml": 10}}, "compounded_dose_out_of_range"),
    ],
)
def test_a_compounded_dose_counts_only_where_mass_concentration_and_volume_agree(told_as, why):
    found = course(ordered(0, 0.25, product="comp_sema", **told_as), family="comp_sema")
    assert shown(found) == ([why] if why else [])
    assert found.state == ("none" if why else "new_start")
    assert found.mg == (None if why else 0.25)


COMPOUNDED = ordered(0, 0.25, product="comp_sema", dose={"mg": 0.25, "mg_per_ml": 2.5, "ml": 0.1})


@pytest.mark.parametrize(
    ("document", "names"),
    [
        (taken(8, 0.25, "comp_sema", dose={"units": 10}), []),
        (taken(8, 0.25, "comp_sema", dose={"units": 100}), ["reported_dose_disagrees"]),
        (taken(8, 0.25, "comp_sema", dose={"ml": 1.0}), ["reported_dose_disagrees"]),
        (
            dispensed(3, 0.25, product="comp_sema", dose={"mg": 0.25, "mg_per_ml": 25, "ml": 0.01}),
            ["dispensed_dose_disagrees"],
        ),
        (dispensed(3, 0.25, product="comp_sema", dose={"mg": 0.25}), ["compounded_dose_incomplete"]),
    ],
)
def test_a_tenfold_stronger_vial_or_a_tenfold_volume_drawn_is_seen_beside_the_order(document, names):
    assert shown(course(COMPOUNDED, document, family="comp_sema")) == names


def test_a_dose_taken_tomorrow_cannot_be_used_and_a_pen_handed_over_without_a_dose_is_supply():
    assert shown(course(*START, taken(5, 0.25, taken_at=at(9)))) == ["time_unreadable"]
    pen = dispensed(3, 0.25, product_key="", product="ozempic", dose={}, codes={"ndc": "0169-4181-13"}, quantity={})
    found = course(ordered(0, 0.25, product="ozempic"), pen, family="ozempic")
    assert (found.state, shown(found)) == ("new_start", [])
    assert found.runs_out_at is not None


@pytest.mark.parametrize(
    ("product", "mg", "why"),
    [
        ("comp_sema", 0.25, ""), ("comp_sema", 0.26, "start_above_first_step"),
        ("comp_sema", 2.0, "start_above_first_step"),  # tenfold in mass and in volume
        ("comp_tirz", 2.5, ""), ("comp_tirz", 15, "start_above_first_step"),
    ],
)  # fmt: skip
def test_a_first_compounded_order_that_is_tenfold_and_agrees_with_itself_begins_nothing(product, mg, why):
    dose = {"mg": mg, "mg_per_ml": 2.5, "ml": mg / 2.5}
    first = ordered(0, mg, product=product, dose=dose)
    found = course(first, family=product)
    assert (found.state, shown(found)) == (("none", [why]) if why else ("new_start", []))
    let = let_through(0.1, "order-0-" + f"{mg:g}", "start_above_first_step")
    assert course(first, let, family=product).is_under_way  # where a provider knows it to be right


def test_who_comes_with_a_treatment_of_which_nobody_tells_the_dose_begins_with_a_first_one_or_by_a_providers_word():
    pen = dispensed(-5, 0.25, product="ozempic", dose={}, codes={"ndc": "0169-4181-13"}, quantity={})
    high = ordered(0, 1.0, product="ozempic")
    assert "start_above_first_step" in shown(course(pen, high, family="ozempic"))
    assert course(pen, high, let_through(0.1, "order-0-1", "start_above_first_step"), family="ozempic").mg == 1.0
    assert course(pen, ordered(0, 0.25, product="ozempic"), family="ozempic").state == "titration"


def test_a_tenfold_error_in_all_three_at_once_is_a_jump_that_no_label_has():
    first = ordered(0, 0.2, product="comp_sema", dose={"mg": 0.2, "mg_per_ml": 2, "ml": 0.1})
    second = ordered(28, 2.0, product="comp_sema", dose={"mg": 2.0, "mg_per_ml": 20, "ml": 0.1})
    assert shown(course(first, second, family="comp_sema")) == ["compounded_jump"]


@pytest.mark.parametrize(
    ("told_as", "why"),
    [
        ({"product_key": "", "codes": {"rxcui": "2601743"}, "dose": {"mg": 5}}, "product_ambiguous"),
        ({"product_key": "wegovy_inj", "codes": {"rxcui": "2669706"}}, "product_contradicts_code"),
        ({"product_key": "wegovy_inj", "codes": {"rxcui": "2553603"}}, "code_contradicts_dose"),
        ({"product_key": "wegovy_xl", "codes": {}}, "product_unknown"),
        ({"product_key": "", "codes": {}, "text": "Semaglutide pen"}, "product_unknown"),
        ({"product_key": "", "codes": {"ndc": "00000000000"}}, "product_unknown"),
        ({"product_key": "ozempic", "codes": {}, "dose": {}}, "dose_missing"),
        ({"product_key": "victoza", "codes": {}, "dose": {"mg": 0.6}}, "no_ladder"),
        ({"authored_at": "yesterday"}, "time_unreadable"),
    ],
)
def test_what_no_code_or_dose_names_for_sure_is_held_by_a_reason_and_begins_nothing(told_as, why):
    ((found),) = courses(ordered(0, 0.25, **told_as)).values()
    assert (found.state, shown(found), found.history[0].outcome) == ("none", [why], "held")


def test_a_shared_code_confirms_a_product_key_and_a_brand_or_package_code_names_the_product():
    shared = ordered(0, 2.5, product="zepbound_pen", codes={"rxcui": "2601761"})
    brand = ordered(0, 2.5, product_key="", codes={"rxcui": "2669706"}, dose={})
    package = ordered(0, 2.5, product_key="", codes={"ndc": "0002-2506-80"}, dose={})
    for document in (shared, brand, package):
        found = course(document, family="zepbound")
        assert (found.state, found.product, found.mg) == ("new_start", "zepbound_pen", 2.5)


# Drift


@pytest.mark.parametrize(
    ("documents", "names"),
    [
        ([*STEP, dispensed(58, 0.25)], ["dispensed_dose_disagrees", "reversed_rung"]),
        ([*STEP, dispensed(58, 1.7)], ["dispensed_dose_disagrees", "skipped_rung"]),
        ([*STEP, taken(50, 1.0)], ["reported_dose_disagrees"]),
        ([*STEP, dispensed(58, 0.5, days_supply=84)], ["supply_does_not_fit_dose"]),
        ([dispensed(3, 0.25)], ["dispensed_without_order"]),
        ([ordered(-1, 0.5, intent="plan"), *START], ["planned_dose_disagrees"]),
        ([*STEP, dispensed(110, 0.5)], ["restart_after_gap"]),
        ([*STEP, taken(45, 0.5, doses_missed=3)], ["restart_after_gap"]),
    ],
)
def test_sources_that_disagree_are_a_finding_by_name(documents, names):
    found = course(*documents)
    assert shown(found) == names
    assert all(finding.sources and finding.at for finding in found.findings)


@pytest.mark.parametrize(
    "documents",
    [
        [*STEP, taken(32, 0.25)],  # what was left of the lower dose
        [*STEP, taken(59, 0.5), taken(66, 0.5)],  # one who reports seldom has missed nothing
        [*STEP, dispensed(62, 0.5)],
        [*START, dispensed(58, 0.25), ordered(59, 0.25, "same")],
        [*STEP, dispensed(110, 0.5), ordered(111, 0.25, "restarted")],  # a provider answered the gap
    ],
)
def test_what_is_usual_is_no_finding(documents):
    assert shown(course(*documents)) == []


def test_a_parcel_that_was_lost_is_no_supply():
    lost = message("shipment_exception", 33, "lost", dispense_ref="dispense-31-0.5", reason="lost")
    kept, gone = course(*STEP), course(*STEP, lost)
    assert kept.runs_out_at is not None
    assert gone.runs_out_at is not None
    assert gone.runs_out_at < kept.runs_out_at


def test_the_medication_list_of_the_ehr_is_compared_with_the_order():
    listed = {
        "resourceType": "MedicationStatement",
        "id": "listed",
        "status": "active",
        "dateAsserted": at(40),
        "medicationCodeableConcept": {
            "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "2553903"}]
        },
    }
    assert shown(course(*STEP, resource(listed, 40))) == ["listed_dose_disagrees"]


def on_the_list(rxcui: str, on: float, status: str = "active", version: str = "1") -> dict[str, Any]:
    coding = {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": rxcui}
    content = {"resourceType": "MedicationStatement", "id": f"listed-{rxcui}", "status": status,
               "dateAsserted": at(on), "medicationCodeableConcept": {"coding": [coding]}}  # fmt: skip
    return resource(content, on, version)


def test_another_medicine_on_the_list_while_ours_is_under_way_is_two_at_once_until_it_is_off_the_list():
    zepbound, nothing = "2669706", Course("zepbound")

    def found(*documents: dict[str, Any]) -> list[str]:
        return shown(courses(*STEP, *documents).get("zepbound", nothing))

    active = on_the_list(zepbound, 40)
    assert found(active) == ["two_glp1_at_once"]
    assert found(active, on_the_list(zepbound, 42, "entered-in-error", "2")) == []
    assert found(active, on_the_list(zepbound, 42, "completed", "2")) == []
    assert found(active, said("stopped", 41)) == []
    assert found(on_the_list(zepbound, -20)) == []  # it was before


def test_a_plan_for_another_product_than_was_ordered_is_shown_until_that_one_is_ordered_or_the_next_order_comes():
    plan = ordered(-1, 2.5, product="zepbound_pen", intent="plan")
    assert shown(course(plan, *START)) == ["planned_product_disagrees"]
    assert shown(course(plan, *START, ordered(28, 0.25, "renewed"))) == []
    other = ordered(29, 2.5, product="zepbound_pen", replaces="wegovy_inj")
    assert "planned_product_disagrees" not in shown(course(plan, *START, other))
    assert shown(course(*START, ordered(20, 2.5, product="zepbound_pen", intent="plan"))) == []  # for what comes next


# What a check-in says of doses


def checked(*documents: dict[str, Any]) -> Course:
    patient = Patient()
    patient.hear(intake(), *documents)
    assert patient.outcome is not None
    (found,) = patient.outcome.courses
    return found


MORE = [*START, dispensed(31, 0.25, "second"), dispensed(55, 0.25, "third")]


def test_a_gap_told_after_an_order_is_not_answered_by_it_and_an_order_after_it_answers():
    told_on = checkin(60, doses_missed=6, doses_taken=1, last_dose_on=day(10))
    story = [*MORE, ordered(28, 0.25, "renewed"), told_on]
    assert shown(checked(*story)) == ["restart_after_gap"]
    assert shown(checked(*reversed(story))) == ["restart_after_gap"]
    assert shown(checked(*story, ordered(61, 0.25, "restarted"))) == []
    assert "step_up_before_min_days" in shown(checked(*story, ordered(61, 0.5, "up")))


def test_of_the_doses_told_and_those_since_the_last_one_the_larger_number_counts():
    found = checked(*MORE, checkin(73, doses_missed=0, last_dose_on=day(30)))
    assert (shown(found), found.gap and found.gap[1]) == (["restart_after_gap"], 6)
    assert shown(checked(*MORE, checkin(73, doses_missed=3, last_dose_on=day(70)))) == ["restart_after_gap"]
    assert shown(checked(*MORE, checkin(73, doses_missed=1, last_dose_on=day(64)))) == []


@pytest.mark.parametrize(
    ("zone", "hour", "missed"),
    [
        ("America/Chicago", 20, 2), ("America/Chicago", 26.5, 2), ("America/Chicago", 30, 3),
        ("Pacific/Guam", 10, 2), ("Pacific/Guam", 15, 3),
    ],
)  # fmt: skip
def test_doses_are_missed_by_the_days_of_where_the_patient_lives(zone: str, hour: float, missed: int):
    """Twenty days after the last dose two of a week are missed, and on the next day three: then one begins again."""
    midnight = 80 - BEGAN.hour / 24
    told_of = checkin(midnight + hour / 24, doses_missed=0, last_dose_on=day(60))
    told_of["data"]["time_zone"] = zone
    found = checked(*MORE, told_of)
    assert found.gap == (None if missed == 2 else (found.gap and found.gap[0], 3))
    assert shown(found) == ([] if missed == 2 else ["restart_after_gap"])


def test_who_never_took_a_dose_of_ours_is_shown_by_a_last_dose_before_the_first_order_or_by_none():
    assert shown(checked(*START, checkin(24, doses_missed=3, doses_taken=0, last_dose_on=day(-20)))) == [
        "restart_after_gap"
    ]
    assert shown(checked(*START, checkin(24, doses_missed=0, doses_taken=0, last_dose_on=day(-20)))) == [
        "restart_after_gap"
    ]
    assert shown(checked(*START, checkin(24, doses_missed=3, doses_taken=0, last_dose_on=None))) == [
        "restart_after_gap"
    ]


@pytest.mark.parametrize(("last", "names"), [(24, []), (23, []), (22, ["restart_after_gap"])])
def test_a_daily_product_has_no_gap_on_the_day_after_a_dose_however_many_were_missed_in_all(last, names):
    tablets = {"product": "wegovy_tab", "codes": None}
    start = [ordered(0, 1.5, **tablets), dispensed(3, 1.5, quantity=None, days_supply=30, **tablets)]
    assert shown(checked(*start, checkin(24, doses_missed=7, last_dose_on=day(last)))) == names


# Red flags


def against(*documents: dict[str, Any]) -> set[str]:
    patient = Patient()
    patient.hear(intake(), *documents)
    return {
        cause for _, _, cause in (task.partition("/") for task in patient.tasks) if ":" in cause and "." not in cause
    }


PREGNANT = "discontinue:PREGNANT:wegovy_inj"


def test_a_contraindication_while_a_treatment_is_under_way_asks_a_provider_whether_to_end_it_until_it_ends():
    told_of = checkin(24, pregnant="yes")
    assert against(*START, told_of) == {PREGNANT}
    assert against(told_of, *reversed(START)) == {PREGNANT}
    assert against(*START, told_of, ordered(26, 0.25, "although")) == {PREGNANT}
    assert against(*START, told_of, said("stopped", 26)) == set()
    assert checked(*START, told_of).state == "new_start"  # nothing is stopped here
    assert in_words(CONTRACT, PREGNANT) == "proposed to end (Currently pregnant or positive test, wegovy_inj)"


def test_a_step_up_that_was_ordered_while_any_red_flag_stood_asks_a_provider_and_one_before_it_does_not():
    told_of = checkin(33, severe_abdominal_pain="yes")
    assert against(*START, told_of) == set()
    assert against(*START, ordered(29, 0.5), told_of) == set()
    assert against(*START, told_of, ordered(34, 0.5)) == {"step_up:ABD_PAIN_SEVERE:wegovy_inj"}
