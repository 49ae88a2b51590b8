"""The data dictionary: the contract as one page that a person can read and a reviewer can sign.

Here: the page, made from a Contract and from nothing else, the same text each time; and what it says before the first
table. Not here: facts (the files beside), and any text of a licensed dictionary: of a standard code only the code
itself is shown, beside our own words.
"""

from __future__ import annotations

from ...domain.contract import Contract
from .codes import write_codes
from .fields import write_fields, write_ownership
from .markdown import table
from .medication import write_medication
from .refills import write_refills
from .rules import write_rules

__all__ = ["REFRESH", "render"]

REFRESH = "glp1 dictionary > docs/data-dictionary.md"
"""The command that makes the page anew."""
INTRODUCTION = f"""# Data dictionary

Everything that the contract declares: what each field means, how each version of the intake form asks it, who owns it
when, where it goes in FHIR; flags, gates and tasks; when a check-in is due, and by which rules a refill is decided, let
go on and by whom. **Generated** from the files of `glp1_pipeline/contracts`: do not edit it, change the
contract and run

    {REFRESH}

**TO BE VERIFIED** marks what a clinician, a pharmacist or the owner of a code system still has to confirm.

## No value, and why

Of an answer without a value we keep why there is none. The four are never mixed, from the raw answer to FHIR:
"""
NO_VALUE = (
    ("State", "What was sent", "What it means", "Reason in FHIR", "QuestionnaireResponse"),
    (
        "`not_asked`", "no such question", "its form version does not ask it",
        "`not-asked`, in a resource that exists anyway", "no item",
    ),
    (
        "`absent`", "the question, left blank; an untouched box", "nobody answered; never a no",
        "`unknown`, in a resource that exists anyway", "an item without an answer",
    ),
    (
        "`unknown`", "`not sure`, `unsure`, …", "asked, and the person does not know",
        "`asked-unknown`", "that reason, with the words as typed",
    ),
    (
        "`declined`", "`prefer not to say`, …", "asked, and the person would not say",
        "`asked-declined`", "that reason, with the words as typed",
    ),
)  # fmt: skip
AFTERWORD = """
Two more states are no answers of a person: `not_applicable` (the question does not concern them, or an answer made the
form hide it), and `held` (an answer that could not be taken without a guess: kept as typed, with its cause, reason
`error`). Which spellings mean which is code set `null_answers`. A blank never wipes what an earlier submission said.
"""


def render(contract: Contract) -> str:
    """The whole page as Markdown."""
    lines: list[str] = [*INTRODUCTION.splitlines(), ""]
    table(lines, NO_VALUE[0], NO_VALUE[1:])
    lines += AFTERWORD.splitlines()
    write_fields(lines, contract)
    write_ownership(lines, contract)
    write_codes(lines, contract)
    write_rules(lines, contract)
    write_medication(lines, contract)
    write_refills(lines, contract)
    return "\n".join(lines) + "\n"
