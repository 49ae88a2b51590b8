"""The data dictionary in docs/ says what the contract says, and nothing that may not be printed."""

from __future__ import annotations

import re
from pathlib import Path

from glp1_pipeline.contracts.dictionary import REFRESH, render
from glp1_pipeline_tests.sample_inputs import contract

PAGE = Path(__file__).parents[2] / "docs" / "data-dictionary.md"
CONTRACT = contract()


def test_the_page_in_docs_is_what_the_contract_says_now():
    assert PAGE.read_text("utf-8") == render(CONTRACT), f"the contract changed since: run `{REFRESH}`"


def test_every_declared_name_is_on_the_page():
    page = PAGE.read_text("utf-8")
    told = [CONTRACT.fields, CONTRACT.codes, CONTRACT.flags, CONTRACT.gates, CONTRACT.tasks, CONTRACT.writes]
    names = [name for named in (*told, CONTRACT.event_types, CONTRACT.ownership) for name in named]
    names += [*CONTRACT.refills.by_name, *CONTRACT.refills.outcomes, *CONTRACT.override_reasons, *CONTRACT.roles]
    names += [f"`{reminder.name}`" for reminder in CONTRACT.followups.reminders] + [CONTRACT.checkin.form_id]
    assert [name for name in names if name not in page] == []
    asked = {
        field.question(v) for field in CONTRACT.fields.values() for v in CONTRACT.form_versions if field.asked_in(v)
    }
    assert [question for question in asked if f"`{question}`" not in page] == []


def test_who_may_override_what_is_on_the_page_as_the_contract_says_it():
    page = PAGE.read_text("utf-8")
    for rule in CONTRACT.refills.rules:
        (row,) = [line for line in page.splitlines() if f"| `{rule.rule}` | {rule.description}" in line]
        may = ", ".join(rule.overridden_by) or ("" if rule.adds or rule.rule == "complete" else "nobody")
        assert f"| {may} |" in row, rule.rule
    for reason in CONTRACT.override_reasons.values():
        roles = ", ".join(f"`{role}`" for role in reason.roles)
        assert f"| {reason.reason_class} | {roles} | {reason.max_days} | {reason.min_text} |" in page
    for name in CONTRACT.asked_in_checkin:
        assert f"of form `glp1-checkin` `{name}`" in page


def test_what_people_still_have_to_verify_is_marked_on_the_page():
    page = " ".join(PAGE.read_text("utf-8").replace("\\|", "|").split())
    marks = [f.verify for f in CONTRACT.fields.values()] + [f.verify for f in CONTRACT.flags.values()]
    marks += [t.verify for t in CONTRACT.tasks.values()] + [CONTRACT.program.verify]
    marks += [CONTRACT.followups.verify, CONTRACT.refills.verify, *(r.verify for r in CONTRACT.refills.rules)]
    marks += [reason.verify for reason in CONTRACT.override_reasons.values()]
    marks += [code.verify for entries in CONTRACT.codes.values() for code in entries.values()]
    assert [mark for mark in marks if mark and " ".join(mark.split()) not in page] == []


def test_no_text_of_a_licensed_dictionary_is_on_the_page():
    """Fully specified names of SNOMED CT end in their hierarchy; LOINC's long names have brackets and `by Method`."""
    page = PAGE.read_text("utf-8")
    hierarchy = (
        r"[A-Za-z] \((disorder|finding|procedure|observable entity|situation|substance|product|regime/therapy)\)"
    )
    loinc = r"\[(Mass|Moles|Mass Ratio|Volume|Enzymatic activity)/|\bin Serum or Plasma\b| panel with all children"
    assert re.findall(hierarchy, page) == []
    assert re.findall(loinc, page) == []
