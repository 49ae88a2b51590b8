"""What is declared of check-ins and refills, read and checked as one: the check-in form, days, rules, roles, reasons.

Here: which part of the files becomes what, and what they must agree on. Not here: what follows for a patient
(`domain.followup`, `domain.refill`).
"""

from __future__ import annotations

from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ..domain.contract import Contract, Gate
from ..domain.refill_model import (
    CONDITIONS,
    CheckinForm,
    FollowUpRules,
    Lab,
    OverrideReason,
    RefillRule,
    RefillRules,
    Role,
)
from .reading import Folder, Lined

FORM, FOLLOWUPS, REFILLS, ACCESS, REASONS, PROPOSALS = (
    "form.yaml", "followups.yaml", "refills.yaml", "access.yaml", "override_reasons.csv", "proposals.csv",
)  # fmt: skip
Named = TypeVar("Named", RefillRule, Lab)
WEIGHED = "anthro.weight_measured_at"
REASON_COLUMNS = ("reason_code", "meaning", "class", "mitigation_code", "roles", "max_days", "min_text", "verify")


def read_checkin(folder: Folder, form: Lined) -> CheckinForm | None:
    return folder.build(CheckinForm, folder.branch(form, "checkin", FORM), "form", "checkin", (FORM, 1))


def read_followups(folder: Folder) -> FollowUpRules | None:
    return folder.build(FollowUpRules, folder.tree(FOLLOWUPS), "followups", "rules", (FOLLOWUPS, 1))


def read_refills(folder: Folder, gate: Gate | None) -> RefillRules | None:
    """`gate`: the check-in's, which says how old a weight may be."""
    tree = folder.tree(REFILLS)
    if not tree:
        return None
    ages = (need.max_age_days for need in (gate.requirements if gate else ()) if need.fields == (WEIGHED,))
    values: dict[str, Any] = {
        **tree,
        "rules": _named(folder, tree, "rules", RefillRule, "rule"),
        "labs": _named(folder, tree, "labs", Lab, "lab"),
        "weight_max_age_days": min(filter(None, ages), default=0),
    }
    return folder.build(RefillRules, values, "refills", "rules", (REFILLS, 1))


def _named(folder: Folder, tree: Lined, key: str, model: type[Named], kind: str) -> tuple[Named, ...]:
    """The entries of a branch of refills.yaml, each under its name."""
    entries, found = folder.branch(tree, key, REFILLS), list[Named]()
    for name, line in entries.lines.items():
        entry = {kind: name, **folder.branch(entries, name, REFILLS)}
        if made := folder.build(model, entry, kind, name, (REFILLS, line)):
            found.append(made)
    return tuple(found)


def read_roles(folder: Folder) -> dict[str, Role]:
    tree, found = folder.tree(ACCESS), {}
    for name in tree:
        entry = folder.branch(tree, name, ACCESS)
        if made := folder.build(Role, {"role": name, **entry}, "role", name, (ACCESS, tree.lines[name])):
            found[name] = made
    return found


def read_reasons(folder: Folder) -> dict[str, OverrideReason]:
    found: dict[str, OverrideReason] = {}
    for line, row in folder.rows(REASONS, REASON_COLUMNS):
        values = {**row, "reason_class": row["class"], "roles": tuple(row["roles"].split())}
        values.pop("class")
        if made := folder.build(OverrideReason, values, "reason", row["reason_code"], (REASONS, line)):
            found[row["reason_code"]] = made
    return found


def read_proposals(folder: Folder) -> dict[str, str]:
    return {row["proposal"]: row["words"] for _, row in folder.rows(PROPOSALS, ("proposal", "words", "verify"))}


def check_refills(contract: Contract, folder: Folder) -> None:
    """Every name resolves, every line of the table can decide, and the days keep their order."""
    _check_followups(contract, folder)
    rules = contract.refills
    declared = {rule.rule for rule in rules.rules}
    for name in sorted(set(CONDITIONS) - declared):
        folder.fault(REFILLS, 1, f"rule `{name}` is missing", "restore it")
    for rule in rules.rules:

        def wrong(what: str, mend: str, name: str = rule.rule) -> None:
            folder.fault_at("rule", name, f"rule `{name}` {what}", mend)

        if (rule.rule in CONDITIONS) == bool(rule.waits_for):
            wrong("is decided by nothing, or by something after all", "see domain/refill_model.py, and `waits_for`")
        if (rule.outcome is None) != rule.adds:
            wrong("must either have an outcome or only add", "give `outcome`, or `adds: true`")
        if rule.task and rule.task not in contract.tasks:
            wrong(f"opens task `{rule.task}`, which is not in tasks.csv", "name one that is")
        if bool(rule.severity) != (rule.outcome not in (None, "provider_queue")):
            wrong("has a severity if it holds a request, and else none", "give `severity`: high, moderate or low")
        if rule.minutes is not None and not rule.task:
            wrong("has minutes and no task", "name the task")
    if rules.rules and rules.rules[-1].rule != "complete":
        folder.fault(REFILLS, 1, "the last rule must be `complete`", "move it to the end")
    missed = (one for family in contract.medication.families.values() for one in family.missed_doses)
    proposed = {*(rule.proposal for rule in rules.rules), *(one.propose for one in missed)} - {""}
    for name in sorted(proposed - contract.proposals.keys()):
        folder.fault(PROPOSALS, 1, f"nothing says what `{name}` proposes", "add a row with its words")
    flags = {*rules.symptom_flags, *rules.administrative_flags, *rules.never_overridden}
    for lab in rules.labs:
        known = [contract.flags[flag] for flag in lab.flags if flag in contract.flags]
        unheard = [flag.flag_id for flag in known if flag.input == "programme"]
        if unheard or not lab.loinc or not lab.flags or lab.max_age_days < 1:
            what = f"lab `{lab.lab}` needs codes, days, and flags that something raises"
            folder.fault_at("lab", lab.lab, what, f"see {', '.join(unheard) or 'its lists'}")
    for flag in (contract.flags[name] for name in rules.symptom_flags if name in contract.flags):
        if not flag.task:
            what = f"symptom `{flag.flag_id}` is nobody's work"
            folder.fault_at("flag_id", flag.flag_id, what, "name its `task` in flags.csv")
    for flag in sorted(flags - contract.flags.keys()):
        folder.fault(REFILLS, 1, f"`{flag}` is no flag of flags.csv", "name one that is")
    for reason in contract.override_reasons.values():
        for role in reason.roles:
            known = contract.roles.get(role)
            if known is None or reason.reason_class not in known.overrides:
                what = f"reason `{reason.reason_code}` is given to `{role}`, who may give none of its class"
                folder.fault_at("reason", reason.reason_code, what, f"see {ACCESS}")


def _is_zone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name).key)
    except (KeyError, ValueError, OSError):
        return False


def _check_followups(contract: Contract, folder: Folder) -> None:
    rules, form = contract.followups, contract.checkin
    if not rules.opens_days > rules.due_days > rules.missed_days > rules.window_days > 0:
        folder.fault(FOLLOWUPS, 1, "a check-in opens, is due, is missed, and then the window opens", "mend the days")
    if not 0 < rules.window_share < 1 or not 0 <= rules.at_hour < 24:
        folder.fault(FOLLOWUPS, 1, "`window_share` is a share, and `at_hour` an hour of the day", "mend them")
    if not rules.scale_days / 2 <= rules.short_supply_days <= rules.short_cycle_days:
        folder.fault(FOLLOWUPS, 1, "days of shorter supplies would run into each other", "raise `short_supply_days`")
    if rules.gate not in contract.gates:
        folder.fault(FOLLOWUPS, 1, f"gate `{rules.gate}` is not in gates.yaml", "name one that is")
    if rules.missed_task not in contract.tasks:
        folder.fault(FOLLOWUPS, 1, f"task `{rules.missed_task}` is not in tasks.csv", "name one that is")
    states = {code.code for code in contract.codes.get("states", {}).values()}
    for state in sorted(contract.states_served - rules.zones.keys()):
        folder.fault(FOLLOWUPS, 1, f"state `{state}` is served and has no zone", "add it to `zones`")
    for state, zone in rules.zones.items():
        if state not in states or not _is_zone(zone):
            folder.fault(FOLLOWUPS, 1, f"`{state}` or its zone is not known", "use two letters and a zone's name")
    asked, own = set(form.asks), {name for name, field in contract.fields.items() if field.form == "checkin"}
    for name in sorted(asked - contract.fields.keys()):
        folder.fault(FORM, 1, f"the check-in asks `{name}`, which is no field", "name one that is")
    needs = contract.gates[rules.gate].requirements if rules.gate in contract.gates else ()
    if lacking := sorted({name for need in needs for name in need.fields} - own - asked):
        folder.fault("gates.yaml", 1, f"gate `{rules.gate}` needs `{lacking[0]}`, which no check-in asks", "ask it")
