"""Refills in numbers: what waits, how it was decided and by which rule, what was let through by whom.

Here: wiring. Not here: counting (`adapters.refills`), decisions (`domain.refill`), and overrides from the UI
(`override`).
"""

from datetime import timedelta
from typing import Any

import dagster as dg

from ..adapters import refills
from ..adapters.refills.counts import LATELY_DAYS
from ..domain.contract import Contract
from ..domain.refill_model import RefillRules
from .describe import spec
from .followup import FOLLOW_UPS
from .owners import CLINICAL
from .resources import Road

PROVEN_EACH = 50
STATUSES = ("open", "approved", "denied", "dispensed", "replaced", "closed")
FEWEST = 5
"""Overrides below which more or less of them says nothing."""

REFILLS = spec(
    "refills",
    group="refill",
    owner=CLINICAL,
    deps=(FOLLOW_UPS,),
    fresh_for=timedelta(hours=2),
    why="Each request of a refill: how it was decided last, by which rule of contracts/refills.yaml, since when, and "
    "how it ended. Nothing here approves one: the best that can come of a request is a place in the provider's queue. "
    "A request is decided again at every word of its patient and when time alone changes it. What one waits for, and "
    "whose that is: `glp1 why PATIENT`.",
)
REFILL_DECISIONS = spec(
    "refill_decisions",
    group="refill",
    owner=CLINICAL,
    deps=(REFILLS,),
    fresh_for=timedelta(hours=2),
    why="Every decision that was ever made on a refill, sealed, with all that it rested on: it is never changed and "
    "never pruned, and can be decided again years later from its record and the rules of that day. `glp1 refill "
    "explain ID` shows one to who may see it; `glp1 refill what-if` tries other rules on all.",
)
REFILL_OVERRIDES = spec(
    "refill_overrides",
    group="refill",
    owner=CLINICAL,
    deps=(REFILL_DECISIONS,),
    fresh_for=timedelta(hours=2),
    why="What people let through although a rule held it: which rules and flags, by which role, for which reason, "
    "until when. Each is an event, by the job `override_refill` or `glp1 refill override`, and ends by itself. Who "
    "may is in contracts/access.yaml and override_reasons.csv. The rate is per hundred requests that were asked for.",
)


@dg.multi_asset(
    specs=[REFILLS, REFILL_DECISIONS, REFILL_OVERRIDES],
    name="count_refills",
    check_specs=[
        dg.AssetCheckSpec(
            "no_refill_without_its_fields",
            asset="refills",
            description="Fails when a refill was approved or handed over although its check-in was missing, "
            "incomplete or older than the last hand-over, and when one is in the provider's queue whose check-in "
            "lacks something (F2). `glp1 refill list --status approved --status dispensed --outcome not_eligible` "
            "names them.",
        ),
        dg.AssetCheckSpec(
            "none_went_on_against_a_hold",
            asset="refills",
            description=f"Warns when a refill of the last {LATELY_DAYS} days was approved or handed over elsewhere "
            "although its decision held it. A clinical lead should know why: `glp1 refill show REFILL` tells when "
            "and by which rule it was held.",
        ),
        dg.AssetCheckSpec(
            "records_decide_again_the_same",
            asset="refill_decisions",
            description=f"Opens the {PROVEN_EACH} newest records and {PROVEN_EACH} of any age, proves each by its "
            "hash, and decides it again by the rules it was decided by. Fails when one is not what was kept (keep "
            "the database as it is, and call the on-call owner) or when our code decides otherwise than it did.",
        ),
        dg.AssetCheckSpec(
            "overrides_do_not_grow",
            asset="refill_overrides",
            description=f"Warns when more of a hundred requests were let through in the last {LATELY_DAYS} days than "
            "in those before: a rule may hold too much, or a reason is given too lightly. The numbers tell by reason "
            "and by role which grew.",
        ),
    ],
)
def count_refills(road: Road):
    """Count what waits, what was decided, and what was let through; prove a sample of the records."""
    with road.connect("glp1 refills") as connection:
        requests, fields = refills.count_requests(connection), refills.faults_of_fields(connection)
        decisions, overrides = refills.count_decisions(connection), refills.count_overrides(connection)
        proven = refills.proven(connection, road.cipher, PROVEN_EACH)
    without = {"went on without them": fields["went_on"], "in the queue without them": fields["in_queue"]}
    held = {"went on against a hold": requests["against_hold_lately"], **_named("rule", requests["against_hold"])}
    yield dg.MaterializeResult(
        "refills",
        metadata=of_requests(requests, road.contract.refills),
        check_results=[
            _check("refills", "no_refill_without_its_fields", not any(fields.values()), without, is_grave=True),
            _check("refills", "none_went_on_against_a_hold", not requests["against_hold_lately"], held),
        ],
    )
    is_proven = not proven["differs"] and not proven["broken"]
    yield dg.MaterializeResult(
        "refill_decisions",
        metadata=of_decisions(decisions, road.contract.refills),
        check_results=[
            _check("refill_decisions", "records_decide_again_the_same", is_proven, dict(proven), is_grave=True)
        ],
    )
    rates = {"rate": overrides["lately"]["rate"], "rate before": overrides["before"]["rate"]}
    grows = rates["rate"] > rates["rate before"] and overrides["lately"]["overrides"] >= FEWEST
    yield dg.MaterializeResult(
        "refill_overrides",
        metadata=of_overrides(overrides, road.contract),
        check_results=[_check("refill_overrides", "overrides_do_not_grow", not grows, rates)],
    )


def _check(asset: str, name: str, passed: bool, numbers: dict[str, Any], is_grave: bool = False):
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if is_grave else dg.AssetCheckSeverity.WARN,
        metadata=numbers,
    )


def _named(what: str, counts: dict[str, Any]) -> dict[str, Any]:
    return {f"{what} {name}": n for name, n in counts.items()}


def of_requests(found: dict[str, Any], rules: RefillRules) -> dict[str, Any]:
    """Each a line of its own in the plots, also where there is none of it."""
    none = {"requests": 0, "oldest_hours": 0}
    hours = found["queue_hours"]
    return {
        **_named("status", dict.fromkeys(STATUSES, 0) | found["by_status"]),
        **{f"open {outcome}": found["open"].get(outcome, none)["requests"] for outcome in rules.outcomes},
        **{f"oldest {outcome} (hours)": found["open"].get(outcome, none)["oldest_hours"] for outcome in rules.outcomes},
        **_named("reason", found["by_reason"]),
        **({"hours to the queue (median)": hours["median"], "hours to the queue (p95)": hours["p95"]}
           if hours["requests"] else {}),
        "went on against a hold": sum(found["against_hold"].values()),
        f"went on against a hold in {LATELY_DAYS} days": found["against_hold_lately"],
    }  # fmt: skip


def of_decisions(found: dict[str, Any], rules: RefillRules) -> dict[str, Any]:
    outcomes = dict.fromkeys(rules.outcomes, 0)
    return {
        "decisions": found["all"],
        **_named("outcome", outcomes | found["by_outcome"]),
        **{f"{outcome} in 7 days": n for outcome, n in (outcomes | found["in_7_days"]).items()},
        **_named("rule", {rule.rule: 0 for rule in rules.rules if rule.outcome} | found["by_rule"]),
        "versions of the rules": found["rules_versions"],
    }


def of_overrides(found: dict[str, Any], contract: Contract) -> dict[str, Any]:
    """Each reason and each role that may give one is a line of its own, also while nobody gives it."""
    lately = found["lately"]
    told: dict[str, Any] = {
        "overrides": found["all"],
        "in force": found["in_force"],
        f"in {LATELY_DAYS} days": lately["overrides"],
        "rate": lately["rate"],
    }
    roles = [name for name, role in contract.roles.items() if role.overrides]
    for what, known in (("reason", [*contract.override_reasons]), ("role", roles)):
        none = {name: {"overrides": 0, "rate": 0.0} for name in known}
        for name, one in (none | lately[f"by_{what}"]).items():
            told |= {f"{what} {name}": one["overrides"], f"rate {what} {name}": one["rate"]}
    return told


refills_schedule = dg.ScheduleDefinition(
    name="refills_every_15_minutes",
    owners=[CLINICAL],
    cron_schedule="*/15 * * * *",
    target=dg.AssetSelection.assets("follow_ups", "refills", "refill_decisions", "refill_overrides"),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Counts check-ins, requests, decisions and overrides, and proves a sample of the records of decisions.",
)
