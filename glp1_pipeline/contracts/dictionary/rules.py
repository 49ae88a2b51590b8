"""The rules of the data dictionary: flags, the past in the EHR, gates, tasks, messages, outside effects, thresholds.

Here: that part of the page. Not here: fields and codes (the modules beside).
"""

from __future__ import annotations

from collections.abc import Sequence

from ...domain.contract import Contract, FlagRule, HistoryAnswer, Requirement
from .markdown import MARK, cell, code, named, table


def write_rules(lines: list[str], contract: Contract) -> None:
    _flags(lines, contract)
    _history(lines, contract)
    _gates(lines, contract)
    _tasks(lines, contract)
    _effects(lines, contract)


def _flags(lines: list[str], contract: Contract) -> None:
    lines += ["", "## Risk flags", "", f"{len(contract.flags)} flags; when one fires is `domain.flags`."]
    lines += ["Only a SNOMED CT code that is equivalent goes to the EHR; all are understood when they come from there."]
    lines += [""]
    head = ("Flag", "Label", "Severity", "Input", "Applies to", "Fires on", "Basis", "Override", "Task")
    table(lines, (*head, "Standard codes", MARK), (_flag(flag) for flag in contract.flags.values()))


def _flag(flag: FlagRule) -> Sequence[str]:
    told = (flag.label, flag.severity, flag.input, flag.applies_to, flag.trigger, flag.basis, flag.override)
    return (code(flag.flag_id), *told, code(flag.task) if flag.task else "", _standard(flag), flag.verify)


def _standard(flag: FlagRule) -> str:
    exact = f" ({flag.snomed_equivalence})" if flag.snomed else ""
    told = {"SNOMED CT": flag.snomed + exact, "ICD-10-CM": flag.icd10cm, "ActCode": flag.actcode}
    return "; ".join(f"{system} {codes}" for system, codes in told.items() if codes)


def _history(lines: list[str], contract: Contract) -> None:
    rows = [said for answers in contract.history.values() for said in answers.values()]
    lines += ["", "## The past in the EHR", ""]
    lines += [
        "What the EHR gets of each answer, and the flags whose standard codes say the same when they come from there."
    ]
    lines += [""]
    head = ("Field", "Answer", "Resource", "Once over", "In our words", "Standard code", "Same as flags", MARK)
    table(lines, head, (_history_row(said) for said in rows))


def _history_row(said: HistoryAnswer) -> Sequence[str]:
    standard = f"SNOMED CT {said.snomed}" if said.snomed else f"of comorbidity {code(said.comorbidity)}"
    return (
        code(said.field),
        code(said.answer),
        f"{said.resource} {said.clinical_status}".strip() or "none, only heard",
        code(said.once_over) if said.once_over else "",
        said.text or "those of the code set",
        standard if said.snomed or said.comorbidity else "heard, never told" if said.equivalence else "",
        ", ".join(map(code, said.flags)),
        said.verify,
    )


def _gates(lines: list[str], contract: Contract) -> None:
    lines += ["", "## Gates"]
    for gate in contract.gates.values():
        lines += ["", f"### {gate.gate_id} {gate.version}", "", f"Blocks {gate.blocks}.", ""]
        table(
            lines,
            ("Requirement", "Fields", "Satisfied by", "When", "Fresh for", "Since", "High risk"),
            (_requirement(need) for need in gate.requirements),
        )


def _requirement(need: Requirement) -> Sequence[str]:
    join = " or " if need.need == "any" else ", "
    accepted = [code(value) for value in need.values] or [code(state) for state in need.accept]
    return (
        code(need.name),
        join.join(code(name) for name in need.fields),
        " or ".join(accepted),
        code(need.when) if need.when else "",
        f"{need.max_age_days} days" if need.max_age_days else "",
        need.since,
        "yes" if need.high_risk else "",
    )


def _tasks(lines: list[str], contract: Contract) -> None:
    lines += ["", "## Tasks", ""]
    table(
        lines,
        ("Task", "Purpose", "Queue", "Owner", "Due in minutes", MARK),
        ((code(t.code), t.purpose, t.queue, t.owner, str(t.due_minutes), t.verify) for t in contract.tasks.values()),
    )


def _effects(lines: list[str], contract: Contract) -> None:
    lines += ["", "## Event types", "", "Messages that are accepted.", ""]
    table(
        lines,
        ("Type", "Emitter", "Description", "Data it must have"),
        (
            (code(e.type), e.emitter, e.description, ", ".join(code(name) for name in e.data))
            for e in contract.event_types.values()
        ),
    )
    lines += ["", "## Identifiers", "", "What systems may call a person, beside the name that their events go by.", ""]
    table(
        lines,
        ("Kind", "What it is", "May be told by, besides the system itself", "Types in FHIR (HL7 0203)"),
        (
            (code(one.kind), one.label, ", ".join(one.given_by), ", ".join(one.types))
            for one in contract.identifiers.values()
        ),
    )
    lines += ["", "## Write kinds", "", "Outside effects.", ""]
    table(
        lines,
        ("Kind", "Target", "Description", "Tries at most", "Given up after", "Rollback"),
        (
            (
                code(w.kind),
                w.target,
                w.description,
                str(w.max_tries),
                f"{named(w.give_up_after_hours)} h",
                f"{code(w.rollback)}: {w.rollback_why}",
            )
            for w in contract.writes.values()
        ),
    )
    lines += ["", "## Programme", "", "Thresholds that a clinical lead signs."]
    if contract.program.verify:
        lines += ["", f"**TO BE VERIFIED** {cell(contract.program.verify)}"]
    lines.append("")
    thresholds = contract.program.model_dump(exclude={"verify"})
    table(lines, ("Threshold", "Value"), ((code(name), _threshold(value)) for name, value in thresholds.items()))
    lines += ["", f"States served: {', '.join(sorted(contract.states_served))}."]


def _threshold(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else named(value)
