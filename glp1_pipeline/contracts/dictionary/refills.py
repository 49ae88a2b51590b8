"""Check-ins and refills in the data dictionary: moments and reminders, the decision table, who may override for what.

Here: that part of the page. Not here: fields of the check-in form (`fields`), its gate and its tasks (`rules`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...domain.contract import Contract
from ...domain.refill_model import ADDRESS_CHANGED, OverrideReason, RefillRule
from .markdown import MARK, cell, code, named, table


def write_refills(lines: list[str], contract: Contract) -> None:
    _checkins(lines, contract)
    _decisions(lines, contract)
    _overrides(lines, contract)


def _checkins(lines: list[str], contract: Contract) -> None:
    rules, form, recent = contract.followups, contract.checkin, contract.refills.weight_max_age_days
    lines += ["", "## Check-ins", ""]
    lines += [
        f"Form {code(form.form_id)} {', '.join(form.versions)}: its own fields above, and anew "
        f"{', '.join(code(name) for name in form.asks)}. What it must have told before a refill: gate "
        f"{code(rules.gate)}.",
        "",
        f"**{MARK}** {cell(rules.verify)}",
        "",
        "Days are counted back from the day that the supply runs out, on the patient's own calendar, at"
        f" {rules.at_hour}:00 of their zone. A supply shorter than {rules.scale_days} days shortens them in proportion,"
        f" rounded up; supplies of fewer than {rules.short_supply_days} days have one check-in each"
        f" {rules.short_cycle_days} days together, and the window of a refill is that of the supply in hand where it"
        " opens before that of the month. Where no hand-over was ever told of, days begin with the date of the order.",
        "",
        f"An answer counts if it is given no more than {recent} days before the window opens, or after the check-in has"
        " opened, and always after the hand-over; for short supplies from the hand-over on. A weight measured before"
        " the day of the hand-over does not count (`before_hand_over`). When the weight is older than"
        f" {recent} days and no refill followed, the check-in is asked for again as one that was missed.",
        "",
    ]
    table(
        lines,
        ("Moment", "Days before the supply runs out", "What happens"),
        (
            ("opens", str(rules.opens_days), "the patient may answer"),
            ("due", str(rules.due_days), "it should have been answered"),
            ("missed", str(rules.missed_days), f"an exception, and the task {code(rules.missed_task)}"),
            (
                "refill window opens", str(rules.window_days),
                f"a refill may go on, if {named(rules.window_share * 100)} % of the supply are used by then: never"
                " before the exception",
            ),
            ("runs out", "0", "what was handed over is used up"),
        ),
    )  # fmt: skip
    lines += ["", f"A reminder that would be later than {rules.remind_within_hours} hours is not sent any more.", ""]
    table(
        lines,
        ("Reminder", "Moment", "Days after it"),
        ((code(one.name), one.moment, str(one.days_after)) for one in rules.reminders),
    )
    by_zone: dict[str, list[str]] = {}
    for state, zone in sorted(rules.zones.items()):
        by_zone.setdefault(zone, []).append(state)
    lines += ["", "Zone of who named none:", ""]
    table(lines, ("Zone", "States"), ((zone, ", ".join(states)) for zone, states in sorted(by_zone.items())))


def _decisions(lines: list[str], contract: Contract) -> None:
    rules = contract.refills
    lines += ["", "## Decision table", ""]
    lines += [
        "Whether a refill may go on to the provider. Of the rules the first that holds decides; one that only adds "
        "gives its reason, and the next are asked. Nothing approves a refill. When a rule holds is "
        "`domain.refill.conditions`.",
        "",
        f"**{MARK}** {cell(rules.verify)}",
        "",
    ]
    head = (
        "#",
        "Rule",
        "Holds when",
        "Outcome",
        "Task",
        "Within",
        "Overridden by reasons of class",
        "Proposal",
        "ActCode",
    )
    table(lines, (*head, MARK), (_rule(contract, n, rule) for n, rule in enumerate(rules.rules, 1)))
    lines += ["", "### Outcomes", ""]
    table(lines, ("Outcome", "What it means"), ((code(name), words) for name, words in rules.outcomes.items()))
    lines += ["", "### Limits and names of the rules", ""]
    table(lines, ("What", "Which"), _limits(contract))


def _rule(contract: Contract, n: int, rule: RefillRule) -> Sequence[str]:
    outcome = code(rule.outcome) if rule.outcome else f"adds; waits for {rule.waits_for}" if rule.waits_for else "adds"
    minutes = rule.minutes or (contract.tasks[rule.task].due_minutes if rule.task in contract.tasks else None)
    return (
        str(n), code(rule.rule), rule.description, outcome, code(rule.task) if rule.task else "",
        "the window's opening" if rule.task == contract.followups.missed_task else f"{minutes} min" if minutes else "",
        ", ".join(rule.overridden_by) or ("" if rule.adds or rule.rule == "complete" else "nobody"),
        code(rule.proposal) if rule.proposal else "", rule.actcode, rule.verify,
    )  # fmt: skip


def _limits(contract: Contract) -> Iterable[Sequence[str]]:
    rules = contract.refills
    many = lambda names: ", ".join(code(name) for name in names)  # noqa: E731
    yield "weight that cannot be believed", f"more than {named(rules.weight_change_percent)} % from the one before"
    yield "weight that is too old", f"older than {rules.weight_max_age_days} days when it is decided"
    yield f"pregnant ({code('preg.status')})", many(rules.pregnant)
    yield "red symptoms", many(rules.symptom_flags)
    yield "administrative", many([*rules.administrative_flags, ADDRESS_CHANGED])
    yield "medicines that interact", many(rules.interacting)
    for lab in rules.labs:
        when = f"not measured within {lab.max_age_days} days, while one stands of {many(lab.flags)}"
        yield f"laboratory value {code(lab.lab)} (LOINC {', '.join(lab.loinc)})", when
    yield "never overridden", f"{many(rules.never_overridden)}, and each flag whose own row says `none`"


def _overrides(lines: list[str], contract: Contract) -> None:
    lines += ["", "## Override reasons", ""]
    lines += [
        "By which a person may let a held refill go on, for so many days at most, or a refused order, until the next "
        "one; with so many characters of text at least. A rule names the classes that it may be overridden by.",
        "",
    ]
    head = ("Reason", "Meaning", "Class", "Roles", "Days at most", "Text at least", "Mitigation", MARK)
    table(lines, head, (_reason(reason) for reason in contract.override_reasons.values()))
    lines += ["", "## Roles", ""]
    table(
        lines,
        ("Role", "Who", "May give reasons of class"),
        (
            (code(role.role), role.description, ", ".join(role.overrides) or "none")
            for role in contract.roles.values()
        ),
    )  # fmt: skip


def _reason(reason: OverrideReason) -> Sequence[str]:
    return (
        code(reason.reason_code), reason.meaning, reason.reason_class, ", ".join(code(role) for role in reason.roles),
        str(reason.max_days), str(reason.min_text), reason.mitigation_code, reason.verify,
    )  # fmt: skip
