"""The data dictionary in docs/ says what the contract says, and nothing that may not be printed."""

from __future__ import annotations

import re
from pathlib import Path

from glp1_pipeline.contracts import load
from glp1_pipeline.contracts.dictionary import REFRESH, render

PAGE = Path(__file__).parents[2] / "docs" / "data-dictionary.md"
CONTRACT = load()


def test_the_page_in_docs_is_what_the_contract_says_now():
    assert PAGE.read_text("utf-8") == render(CONTRACT), f"the contract changed since: run `{REFRESH}`"


def test_every_declared_name_is_on_the_page():
    page = PAGE.read_text("utf-8")
    told = [CONTRACT.fields, CONTRACT.codes, CONTRACT.flags, CONTRACT.gates, CONTRACT.tasks, CONTRACT.writes]
    names = [name for named in (*told, CONTRACT.event_types, CONTRACT.ownership) for name in named]
    assert [name for name in names if name not in page] == []
    asked = {
        field.question(v) for field in CONTRACT.fields.values() for v in CONTRACT.form_versions if field.asked_in(v)
    }
    assert [question for question in asked if f"`{question}`" not in page] == []


def test_what_people_still_have_to_verify_is_marked_on_the_page():
    page = " ".join(PAGE.read_text("utf-8").replace("\\|", "|").split())
    marks = [f.verify for f in CONTRACT.fields.values()] + [f.verify for f in CONTRACT.flags.values()]
    marks += [t.verify for t in CONTRACT.tasks.values()] + [CONTRACT.program.verify]
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
