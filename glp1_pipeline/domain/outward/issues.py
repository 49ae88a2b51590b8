"""Why a request of a refill is held, as a DetectedIssue: one for each rule that held it.

It is preliminary while the rule holds the open request, or is overridden in it, and final from then on. Reasons are
names, never a value. Here: how one looks. Not here: when a rule holds (`refill`), the words of who overrode it, which
stay with us.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from ..contract import Contract
from ..fhir import Resource, flag_key
from ..fhir.elements import ASSEMBLER, HL7, code_token, concept, instant_utc
from ..fhir.work import FLAG_SYSTEM
from ..refill import Made, Override, Refill
from .desk import ISSUE, RULE_SYSTEM, Desk, Role, practitioner
from .proposals import QUEUE, proposal_role, stays

REASON_SYSTEM = "urn:glp1-pipeline:refill-reason"
OVERRIDE_SYSTEM = "urn:glp1-pipeline:override-reason"
ACT_CODE = HL7 + "v3-ActCode"


@dataclass(slots=True)
class Issue:
    """One rule that held a request."""

    rule: str
    first_at: datetime
    made: Made
    """The last decision in which it held."""
    reasons: tuple[str, ...] = ()
    is_now: bool = False
    """Whether it holds the request now, or would but for an override."""
    overrides: dict[str, Override] = field(default_factory=dict)
    """Those that let it through, by event."""


def issues(one: Refill) -> list[Issue]:
    """In the order in which the rules held first."""
    found: dict[str, Issue] = {}
    given = {override.event_id: override for override in one.overrides}
    for made in one.made:
        decision = made.decision
        for rule, event_id in decision.overridden:
            issue = found.setdefault(rule, Issue(rule, made.as_of, made))
            issue.made = made
            issue.overrides.setdefault(event_id, given[event_id])
        if decision.outcome != QUEUE:
            issue = found.setdefault(decision.rule, Issue(decision.rule, made.as_of, made))
            issue.made, issue.reasons = made, decision.reasons
    if one.is_open:
        last = one.made[-1].decision
        for rule in (last.rule, *(rule for rule, _ in last.overridden)):
            if rule in found:
                found[rule].is_now = True
    return list(found.values())


def issue_role(refill_id: str, n: int) -> Role:
    return ISSUE, f"refill/{refill_id}/{n}"


def write_issues(desk: Desk, one: Refill) -> None:
    found = issues(one)
    for role, issue in zip(desk.roles(issue_role, one.refill_id, len(found)), found, strict=False):
        _write(desk, desk.add(*role), one, issue)


def _write(desk: Desk, made: Resource, one: Refill, issue: Issue) -> None:
    rule = desk.contract.refills.by_name[issue.rule]
    made["status"] = "preliminary" if issue.is_now else "final"
    coding = [{"system": ACT_CODE, "code": rule.actcode}] if rule.actcode else []
    made["code"] = {"coding": [*coding, {"system": RULE_SYSTEM, "code": rule.rule}], "text": rule.description}
    if rule.severity:
        made["severity"] = rule.severity
    made["patient"] = desk.patient
    made["identifiedDateTime"] = instant_utc(issue.first_at)
    made["author"] = ASSEMBLER
    times = range(1, len(stays(one)) + 1)
    if proposals := [{"reference": desk.key(*proposal_role(one.refill_id, n))} for n in times]:
        made["implicated"] = proposals
    if evidence := [*_reasons(desk, issue), *_answers(desk, issue)]:
        made["evidence"] = evidence
    if issue.overrides:
        in_order = sorted(issue.overrides.values(), key=lambda override: (override.since, override.event_id))
        made["mitigation"] = [_mitigation(desk.contract, override) for override in in_order]


def _reasons(desk: Desk, issue: Issue) -> Iterator[Resource]:
    for reason in issue.reasons or _flags_let_through(issue.overrides.values()):
        rule = desk.contract.flags.get(reason)
        if rule is None:
            yield {"code": [concept(REASON_SYSTEM, code_token(reason))]}
            continue
        told: Resource = {"code": [concept(FLAG_SYSTEM, reason, rule.label)]}
        key = flag_key(desk.known.chart.patient_id, reason)
        if key in desk.shown:
            told["detail"] = [{"reference": key}]
        yield told


def _flags_let_through(overrides: Iterable[Override]) -> list[str]:
    """What it held for, where it was let through from the first."""
    return sorted({flag for override in overrides for flag in override.flags})


def _answers(desk: Desk, issue: Issue) -> Iterator[Resource]:
    """The check-in that was known then."""
    if answers := desk.answers(issue.made.inputs):
        yield {"detail": answers}


def _mitigation(contract: Contract, override: Override) -> Resource:
    coding, meaning = [{"system": OVERRIDE_SYSTEM, "code": override.reason_code}], override.reason_code
    if (reason := contract.override_reasons.get(override.reason_code)) is not None:  # else nobody may give it any more
        coding.insert(0, {"system": ACT_CODE, "code": reason.mitigation_code})
        meaning = reason.meaning
    return {
        "action": {"coding": coding, "text": f"{meaning}; until {instant_utc(override.expires_at)}"},
        "date": instant_utc(override.since),
        "author": practitioner(override.actor),
    }
