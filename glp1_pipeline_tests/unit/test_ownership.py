"""Each conflict rule by itself: whose word holds, and how it was settled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from glp1_pipeline.domain.contract import STAGES, ConflictRule, Ownership
from glp1_pipeline.domain.ownership import EXPLAINED, RULES, Case, Ruling, Value, Word, adds, join, rank, same, settle
from glp1_pipeline_tests.sample_inputs import contract

CONTRACT = contract()
OLD, NEW = {"value": "old"}, {"value": "new"}


def record(rule: str, order: str = "") -> Ownership:
    stages = dict.fromkeys(STAGES, "ehr")
    return Ownership.model_validate(
        {"record": "r", "phi": "yes", **stages, "conflict": rule, "worst_first": order, "note": ""}
    )


def ruled(
    rule: str,
    source: str,
    offered: Value = NEW,
    now: Value | None = OLD,
    held_by: str = "intake",
    *,
    order: str = "",
    owner_said: Value | None = None,
    is_verified: bool = False,
    was_verified: bool = False,
    is_copy: bool = False,
) -> Ruling:
    """What the rule makes of an offered word where `ehr` is the owner."""
    held = None if now is None else Word(now, held_by, is_verified=was_verified)
    word = Word(offered, source, is_verified=is_verified, is_copy=is_copy)
    return settle(Case(record(rule, order), "ehr", held, word, owner_said))


def test_every_rule_that_a_contract_may_name_is_written_and_explained_in_one_sentence() -> None:
    assert set(RULES) == set(get_args(ConflictRule))
    assert len(RULES) == 18
    for sentence in EXPLAINED.values():
        assert re.fullmatch(r"[A-Z][^.]+\.", sentence)


def test_the_page_in_docs_explains_every_rule_in_the_same_words() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ownership.md").read_text("utf-8")
    assert [name for name, sentence in EXPLAINED.items() if f"| `{name}` | {sentence} |" not in page] == []


@pytest.mark.parametrize("rule", ["owner_wins", "immutable", "recomputed", "state_machine"])
def test_only_the_owner_writes_and_everybody_else_is_refused(rule: str) -> None:
    assert ruled(rule, "ehr") == ("applied", NEW)
    assert ruled(rule, "crm") == ("refused", OLD)
    assert ruled(rule, "crm", now=None).outcome == "refused"


@pytest.mark.parametrize("rule", ["hold_for_steward", "hold_and_block"])
def test_what_a_stranger_says_of_an_identity_waits_for_a_steward(rule: str) -> None:
    assert ruled(rule, "ehr") == ("applied", NEW)
    assert ruled(rule, "intake") == ("task", OLD)
    assert ruled(rule, "steward") == ("applied", NEW)
    assert ruled(rule, "intake", owner_said=NEW) == ("applied", NEW)


def test_the_latest_word_holds_and_is_told_where_it_changes_the_owners() -> None:
    assert ruled("latest_stated", "crm") == ("applied", NEW)
    assert ruled("latest_stated", "crm", held_by="ehr") == ("merged", NEW)
    assert ruled("latest_stated", "ehr", held_by="crm") == ("applied", NEW)


def test_a_verified_phone_is_never_replaced_by_an_unverified_one() -> None:
    assert ruled("latest_verified", "ehr", was_verified=True) == ("merged", OLD)
    assert ruled("latest_verified", "crm", was_verified=True, is_verified=True) == ("applied", NEW)
    assert ruled("latest_verified", "crm") == ("applied", NEW)


CONSENT = "revoked refused ? given"
GIVEN, REVOKED = {"value": {"status": "given", "at": "a"}}, {"value": {"status": "revoked", "at": "b"}}


def test_a_consent_is_tightened_by_anybody_and_eased_by_its_owner_alone() -> None:
    assert ruled("most_restrictive", "crm", REVOKED, GIVEN, order=CONSENT) == ("applied", REVOKED)
    assert ruled("most_restrictive", "crm", {"null": "declined"}, GIVEN, order=CONSENT).outcome == "applied"
    assert ruled("most_restrictive", "crm", GIVEN, REVOKED, order=CONSENT) == ("merged", REVOKED)
    assert ruled("most_restrictive", "ehr", GIVEN, REVOKED, order=CONSENT) == ("applied", GIVEN)


PREGNANT = "yes possible within_2mo ? 2-12mo no"


@pytest.mark.parametrize(
    ("now", "offered", "after"),
    [("no", "yes", "yes"), ("yes", "no", "yes"), ("no", "possible", "possible"), ("possible", "no", "possible")],
)
def test_the_more_cautious_of_two_answers_holds_until_a_provider_says_otherwise(now: str, offered: str, after: str):
    ruling = ruled("most_cautious", "followup", {"value": offered}, {"value": now}, order=PREGNANT)
    assert ruling.value == {"value": after}
    assert ruling.outcome == ("applied" if offered == after else "merged")
    assert ruled("most_cautious", "ehr", {"value": "no"}, {"value": "yes"}, order=PREGNANT).outcome == "applied"


def test_an_answer_that_the_order_does_not_know_is_a_persons_to_compare() -> None:
    assert ruled("most_cautious", "intake", {"value": "iud"}, {"value": "oral"}, order=PREGNANT).outcome == "task"


def test_not_knowing_is_more_cautious_than_no_and_not_applicable_is_a_no() -> None:
    cautious = record("most_cautious", PREGNANT)
    assert [rank(cautious, v) for v in ({"value": "yes"}, {"null": "unknown"}, {"value": "no"})] == [0, 3, 5]
    assert rank(cautious, {"null": "not_applicable"}) == 5


def test_the_worst_status_holds_until_the_owner_reports_a_better_one() -> None:
    order = "failed pending ? manual verified"
    failed, verified = {"value": "failed"}, {"value": "verified"}
    assert ruled("worst_status", "intake", verified, failed, order=order) == ("merged", failed)
    assert ruled("worst_status", "intake", failed, verified, order=order) == ("applied", failed)
    assert ruled("worst_status", "ehr", verified, failed, order=order) == ("applied", verified)


def test_a_wish_not_to_be_called_wins_over_everybody_but_its_owner() -> None:
    order, yes, no = "true ? false", {"value": True}, {"value": False}
    assert ruled("true_wins", "crm", yes, no, order=order) == ("applied", yes)
    assert ruled("true_wins", "crm", no, yes, order=order) == ("merged", yes)
    assert ruled("true_wins", "ehr", no, yes, order=order) == ("applied", no)


def test_a_red_flag_is_cleared_by_a_provider_and_by_nobody_else() -> None:
    order, red, info = "red amber info", {"value": "red"}, {"value": "info"}
    case = Case(record("red_sticks", order), "pipeline", Word(red, "pipeline"), Word(info, "pipeline"))
    assert settle(case) == ("merged", red)
    assert settle(case._replace(offered=Word(info, "ehr", is_verified=True))) == ("applied", info)
    assert settle(case._replace(offered=Word(info, "ehr"))) == ("merged", red)  # a patient's own pen in the EHR
    assert settle(case._replace(now=Word(info, "pipeline"), offered=Word(red, "intake"))) == ("applied", red)


@pytest.mark.parametrize("rule", ["append", "per_encounter"])
def test_an_added_statement_is_the_present_one(rule: str) -> None:
    assert ruled(rule, "crm", held_by="ehr") == ("applied", NEW)


def test_a_weight_measured_earlier_does_not_outrank_a_newer_one_that_was_told_before() -> None:
    now, older = Word(OLD, "intake", measured_on="2026-03-08"), Word(NEW, "followup", measured_on="2026-03-01")
    assert settle(Case(record("append"), "followup", now, older)) == ("applied", OLD)


def rows(*names: str) -> dict[str, Any]:
    return {"value": [{"substance": name} for name in names]}


def test_allergies_are_joined_and_none_is_ever_taken_off_the_list() -> None:
    assert ruled("union", "ehr", rows("latex"), rows("peanut"), is_copy=True) == ("applied", rows("latex", "peanut"))
    assert ruled("union", "intake", rows(), rows("peanut")) == ("merged", rows("peanut"))
    assert ruled("union", "ehr", {"value": "no"}, {"value": "yes"}, order="yes ? no") == ("merged", {"value": "yes"})
    assert ruled("union", "intake", {"value": "yes"}, {"value": "no"}, order="yes ? no").value == {"value": "yes"}


def test_one_thing_is_one_row_whoever_spells_it_and_keeps_what_is_known_of_it() -> None:
    told = [{"substance": "Latex", "severity": "severe"}, {"substance": "peanut"}]
    assert join(told, [{"substance": "latex ", "severity": "", "reaction": "hives"}]) == [
        {"substance": "latex ", "severity": "severe", "reaction": "hives"},
        {"substance": "peanut"},
    ]
    assert join(["htn"], ["t2dm", "htn"]) == ["htn", "t2dm"]


def test_what_was_said_first_of_how_somebody_came_to_us_holds_for_ever() -> None:
    assert ruled("first_write", "ehr") == ("refused", OLD)
    assert ruled("first_write", "crm", now=None) == ("applied", NEW)
    assert ruled("first_write", "crm", now={"null": "absent"}) == ("applied", NEW)


def test_an_eligibility_reply_outranks_the_owner_and_the_owner_everybody_else() -> None:
    assert ruled("eligibility_wins", "payer", held_by="ehr") == ("applied", NEW)
    assert ruled("eligibility_wins", "ehr", held_by="payer") == ("refused", OLD)
    assert ruled("eligibility_wins", "intake", held_by="ehr", owner_said=OLD) == ("refused", OLD)
    assert ruled("eligibility_wins", "intake", held_by="intake") == ("applied", NEW)


def test_two_consents_say_the_same_where_the_decision_is_the_same() -> None:
    assert same(GIVEN, {"value": {"status": "given", "at": "later"}})
    assert not same(GIVEN, REVOKED)
    assert same({"value": "x", "edges": ["trimmed"]}, {"value": "x"})


def test_a_patient_adds_to_what_was_found_only_where_the_thing_is_not_on_the_list() -> None:
    assert adds(rows("latex"), rows("LATEX", "peanut"))
    assert not adds(rows("latex", "peanut"), rows("latex"))
    assert not adds({"value": "no"}, {"null": "absent"})


@pytest.mark.parametrize("name", CONTRACT.fields)
def test_every_field_has_one_owner_in_each_stage_and_a_rule_that_is_written(name: str) -> None:
    field = CONTRACT.fields[name]
    assert set(field.owner) == set(STAGES)
    assert all(re.fullmatch("[a-z_]+", owner) for owner in field.owner.values())
    assert field.conflict in RULES
