"""Treatments in the data dictionary: orders that are refused, missed and late doses, groups of medicines.

Here: that part of the page. Not here: refills (`refills`), and how missed doses are counted (`domain.medication`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...domain.contract import Contract
from ...domain.medication_model import MissedDoses
from .markdown import MARK, cell, code, named, table


def write_medication(lines: list[str], contract: Contract) -> None:
    rules = contract.medication
    _refused(lines, contract)
    lines += ["", "## Missed and late doses", ""]
    lines += [
        "Doses missed one after another, from so many on. Each is a proposal to a provider, never an action.",
        "",
        f"**{MARK}** {cell(rules.verify)}",
        "",
    ]
    head = ("List", "Products of", "Doses from", "Proposal", "Dose to begin again", "Restart", "Must decide", "Basis")
    table(lines, (*head, MARK), _missed(contract))
    lines += ["", "What is said of one dose that is late; nothing decides by it.", ""]
    rows = ((code(late.missed_doses), late.rule, late.basis, late.verify) for late in rules.late_doses.values())
    table(lines, ("List", "Rule", "Basis", MARK), rows)
    _groups(lines, contract)


def _groups(lines: list[str], contract: Contract) -> None:
    lines += ["", "## Medicine groups", ""]
    lines += [
        "Medicines that flags, tasks and refills look for: one word of a name, a phrase, a code or a class is enough."
    ]
    lines += [""]
    rows = (
        (
            code(row.group),
            row.ingredient,
            ", ".join((*row.words, *row.phrases)),
            ", ".join(row.unless),
            ", ".join(map(code, row.rxcui)),
            code(row.medicine_class) if row.medicine_class else "",
            row.verify,
        )
        for row in contract.medication.medicine_groups
    )
    table(lines, ("Group", "Ingredient", "Words", "Not beside", "RxNorm", "Class in `medicines`", MARK), rows)


def _refused(lines: list[str], contract: Contract) -> None:
    rules = contract.medication
    roles = ", ".join(code(role) for role in rules.overrides.roles)
    lines += ["", "## Refused orders", ""]
    lines += [
        f"Rules that refuse an order of a GLP-1 medicine. {roles} may let it through, by an event that names the order"
        " and the rule, for a reason of the class that is named here (see *Override reasons*), with text; it counts"
        " until the next order. Never a step up over so many missed doses that going on is a restart.",
        "",
        f"**{MARK}** {cell(rules.overrides.verify)}",
        "",
    ]
    rows = (
        (code(one.finding), one.description, ", ".join(one.overridden_by) or "nobody", one.verify)
        for one in rules.findings.values()
        if one.kind == "move"
    )
    table(lines, ("Rule", "Refuses", "Overridden by reasons of class", MARK), rows)


def _missed(contract: Contract) -> Iterable[Sequence[str]]:
    families = contract.medication.families.values()
    for name in contract.medication.late_doses:
        own = [family for family in families if family.counted_as == name]
        for step in own[0].missed_doses if own else ():
            yield (code(name), ", ".join(code(family.family) for family in own), *_step(step))


def _step(step: MissedDoses) -> Sequence[str]:
    dose = f"{named(step.mg)} mg" if step.mg is not None else ""
    return (
        str(step.doses), code(step.propose), f"{dose}; {step.may}" if step.may else dose,
        "yes" if step.is_restart else "", step.decided_by, step.basis, step.verify,
    )  # fmt: skip
