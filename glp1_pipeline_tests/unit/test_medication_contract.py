"""What is declared of treatments is whole, and a fault in it is told with its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from glp1_pipeline.contracts import HERE, ContractError, load
from glp1_pipeline.contracts.dictionary import render
from glp1_pipeline.domain.medication import may_let_through
from glp1_pipeline.domain.medication_model import NEVER_OVERRIDDEN, PREVIOUS
from glp1_pipeline_tests.sample_inputs import contract

CONTRACT = contract()
RULES = CONTRACT.medication


def faults(tmp_path: Path, file: str, before: str, after: str) -> str:
    folder = tmp_path / "contracts"
    shutil.copytree(HERE, folder)
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after, 1))
    with pytest.raises(ContractError) as caught:
        load(folder)
    return str(caught.value)


def test_every_state_of_the_facts_is_there_and_can_be_reached():
    assert RULES.states.keys() == {
        "none", "new_start", "titration", "maintenance", "de_escalation", "switch", "restart", "paused", "discontinued",
    }  # fmt: skip
    reached = {"none"}
    for _ in RULES.states:
        for move in RULES.moves.values():
            if move.leaves & reached and move.to != PREVIOUS:
                reached.add(move.to)
    assert reached == RULES.states.keys()


def test_the_illegal_moves_of_the_facts_have_rules_of_their_names():
    illegal = {"skip_a_step_up", "overlap_two_glp1", "step_up_before_min_days", "maintenance_at_starting_dose"}
    assert illegal <= {name for name, finding in RULES.findings.items() if finding.kind == "move"}


def test_every_finding_opens_a_task_of_the_contract_and_every_rung_is_of_a_product():
    assert {finding.task for finding in RULES.findings.values()} <= CONTRACT.tasks.keys()
    assert CONTRACT.dose_ladders.keys() <= RULES.products.keys() == CONTRACT.products.keys()


def test_no_formulation_is_compared_with_another():
    """Products that share a family have one ingredient, route and frequency, and a ladder that agrees in every step."""
    for name in RULES.families:
        rows = [row for row in CONTRACT.products.values() if row["family"] == name]
        assert len({(row["ingredient"], row["route"], row["frequency"]) for row in rows}) == 1, name
        ladders = [
            CONTRACT.dose_ladders[row["product_key"]] for row in rows if row["product_key"] in CONTRACT.dose_ladders
        ]
        assert (
            len({tuple((s["dose"], s["dose_unit"], s["min_days_before_next"]) for s in steps) for steps in ladders})
            <= 1
        )
    apart = [
        ("rybelsus", "rybelsus_r2"),
        ("wegovy_inj", "wegovy_tab"),
        ("wegovy_inj", "ozempic"),
        ("zepbound_pen", "mounjaro"),
    ]
    for one, other in apart:
        assert RULES.products[one].family != RULES.products[other].family


def test_a_brand_code_names_one_product_and_a_shared_code_never_does():
    for code in RULES.codes.values():
        assert code.kind != "SBD" or len(code.products) == 1
    shared = RULES.codes["2601743"]
    assert shared.kind == "SCD"
    assert shared.products == {"mounjaro", "zepbound_pen"}
    assert RULES.by_ndc["00169452514"].products == {"wegovy_inj"}


def test_what_a_clinician_must_still_sign_says_so():
    assert "clinician" in RULES.verify
    unsure = [rung for rung in RULES.families["foundayo"].rungs if rung.is_kept is None]
    assert len(unsure) == 4
    assert all(family.verify for family in RULES.families.values() if family.is_compounded)


def test_who_may_let_which_refused_order_through_is_as_the_facts_say_and_on_the_page():
    """The facts: role provider, a reason with at least ten characters of text, until the next order."""
    assert (RULES.overrides.roles, RULES.overrides.expires) == (("provider",), "next_order")
    page, refusing = render(CONTRACT), {name for name, rule in RULES.findings.items() if rule.kind == "move"}
    open_rules = {name for name in refusing if RULES.findings[name].overridden_by}
    assert refusing - open_rules == NEVER_OVERRIDDEN
    for name in refusing:
        rule = RULES.findings[name]
        may = may_let_through(CONTRACT, name)
        assert bool(may) == (name in open_rules)
        assert all(CONTRACT.override_reasons[code].min_text >= 10 for codes in may.values() for code in codes)
        assert f"| `{name}` | {rule.description} | {', '.join(rule.overridden_by) or 'nobody'} |" in page
        assert name not in open_rules or "to be verified" in rule.verify


def test_proposals_of_missed_doses_say_dose_who_decides_and_what_is_to_be_verified_and_the_dictionary_shows_it():
    low = RULES.families["zepbound"].missed_doses[-1]
    assert (low.mg, low.may, low.decided_by) == (5, "the program may choose 2.5 mg", "provider")
    assert RULES.families["comp_sema"].proposal(1) == RULES.families["comp_sema"].missed_doses[0]
    assert all(
        step.propose == "provider_decision" and step.decided_by == "provider"
        for family in RULES.families.values()
        if family.is_compounded
        for step in family.missed_doses
    )
    page = render(CONTRACT)
    steps = [step for family in RULES.families.values() for step in family.missed_doses]
    told = [one for step in steps for one in (step.basis, step.verify, step.may)]
    told += [one for late in RULES.late_doses.values() for one in (late.rule, late.basis, late.verify)]
    assert [one for one in told if one not in page] == []


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("medication.yaml", "task: provider-review-refill, description: The order leaves", "task: nobodys, description: The order leaves", "opens task `nobodys`"),
        ("medication.yaml", "to: new_start, basis", "to: new_begin, basis", "`order_of_the_starting_dose`"),
        ("medication.yaml", "  dose_down_order:", "  dose_lowered:", "`dose_down_order` of `moves` is missing"),
        ("medication.yaml", "mg_to: 2.4, mg_start: 0.25,", "mg_to: 2.4,", "`comp_sema` must have limits and no ladder"),
        ("medication.yaml", "  no_ladder:", "  no_steps:", "`no_steps` of `findings` is used by nothing"),
        ("medication.yaml", "wegovy_hd: {missed_doses: semaglutide_weekly}", "wegovy_hd: {missed_doses: sema}", "names no list"),
        ("medication.yaml", "  compounded_weekly: {rule", "  compounded: {rule", "`compounded` is in one of"),
        ("medication.yaml", "no step of the product's ladder.}", "no step of the product's ladder., overridden_by: [clinical]}", "nobody may override it"),
        ("medication.yaml", "dose ladder for the product.}", "dose ladder for the product., overridden_by: [clinical]}", "nobody may override it"),
        ("medication.yaml", 'ladder., overridden_by: [clinical], verify: "may be overridden: to be verified"}', "ladder., overridden_by: [clinical]}", "nothing says that this is to be verified"),
        ("medication.yaml", "{roles: [provider], expires", "{roles: [surgeon], expires", "`surgeon`, which is no role"),
        ("medication.yaml", "out a step of the ladder., overridden_by: [clinical]", "out a step of the ladder., overridden_by: [administrative]", "no role of `overrides` may give a reason"),
        ("medication.yaml", "expires: next_order,", "expires: never,", "overrides"),
        ("products.csv", "wegovy_hd,no", "wegovy_inj,no", "is the family of no product"),
        ("products.csv", "weekly,7,mounjaro", "weekly,7,nowhere", "`mounjaro` is the family of no product"),
        ("medication_codes.csv", "2553506,SBD,semaglutide,wegovy_inj", "2553506,SBD,semaglutide,ozempic", "is not its code"),
        ("medication_codes.csv", "00169452501 ", "00169450501 ", "is no NDC of this code alone"),
        ("days_supply.csv", "wegovy_hd,pen", "wegovy_xl,pen", "`wegovy_xl`"),
        ("dose_ladders.csv", "zepbound_vial,2,titration_or_maintenance,5,", "zepbound_vial,2,titration_or_maintenance,6,", "different ladders"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place(tmp_path: Path, file: str, before: str, after: str, told: str):
    assert told in faults(tmp_path, file, before, after)
