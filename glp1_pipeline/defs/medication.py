"""Treatments in numbers: how many stand where, which moves were refused, and where sources disagree.

Here: wiring. Not here: what a course is (`domain.medication`), and how it is kept (`adapters.charts.medication`).
"""

from collections import Counter
from datetime import timedelta

import dagster as dg

from ..adapters import orders
from ..adapters.charts import medication
from ..domain.medication_model import MedicationRules
from .chart import CHARTS
from .describe import spec
from .owners import CLINICAL
from .resources import Road

OPEN, REFUSED = "open findings", "refused and shown"

MEDICATION_COURSES = spec(
    "medication_courses",
    group="medication",
    owner=CLINICAL,
    deps=(CHARTS,),
    fresh_for=timedelta(hours=2),
    why="Each treatment of a patient with products of one family: new start, titration, maintenance, de-escalation, "
    "switch, restart, paused or discontinued, folded from what EHR, pharmacy and patient said, the same in any order. "
    "It is written together with the chart; here it is counted by state and family, and so is where sources disagree "
    "(plan, medication list, order, hand-over, dose taken). Declared in contracts/medication.yaml. For one patient ask "
    "`glp1 medication show PATIENT`.",
)
MEDICATION_TRANSITIONS = spec(
    "medication_transitions",
    group="medication",
    owner=CLINICAL,
    deps=(MEDICATION_COURSES,),
    fresh_for=timedelta(hours=2),
    why="Every move of a treatment: made, by what; rejected, with the name of the rule that it breaks; or held, with "
    "why it could not be used; or overridden, where a provider let an order through (job `override_order`, or `glp1 "
    "medication override`). A refused order is never lost: it stands here, in the findings, and as a task.",
)


@dg.multi_asset(
    specs=[MEDICATION_COURSES, MEDICATION_TRANSITIONS],
    name="count_treatments",
    check_specs=[
        dg.AssetCheckSpec(
            "drift_does_not_grow",
            asset="medication_courses",
            description="Warns when more findings are open than at the last count: plan, list, order, hand-over and "
            "dose taken drift apart faster than people settle. The metadata says which, `glp1 medication drift` too.",
        ),
        dg.AssetCheckSpec(
            "no_illegal_moves",
            asset="medication_transitions",
            description="Warns while an order that was refused is the last one of a treatment: a provider must write a "
            "right one, or let it through. The metadata names the rules; each has its task, and `glp1 medication show "
            "PATIENT` the event.",
        ),
    ],
)
def count_treatments(context: dg.AssetExecutionContext, road: Road):
    """Count what stands, what moved, and what people should look at."""
    with road.connect("glp1 treatments") as connection:
        states, products = medication.count_states(connection), medication.count_products(connection)
        findings = medication.count_findings(connection)
        moves = medication.count_transitions(connection)
        let_through = orders.count_overrides(connection)
    before = open_before(context.instance)
    now = sum(row["open"] for row in findings)
    yield dg.MaterializeResult(
        "medication_courses",
        metadata={
            "treatments": sum(states.values()),
            OPEN: now,
            **by_state(road.contract.medication, states, products),
            **by_finding(road.contract.medication, findings),
        },
        check_results=[
            dg.AssetCheckResult(
                asset_key="medication_courses",
                check_name="drift_does_not_grow",
                passed=before is None or now <= before,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={OPEN: now, **({} if before is None else {"at the last count": before})},
            )
        ],
    )
    rules = {name for name, kind in road.contract.medication.findings.items() if kind.kind == "move"}
    standing = Counter({row["finding"]: 0 for row in findings if row["finding"] in rules})
    for row in findings:
        if row["finding"] in rules:
            standing[row["finding"]] += row["open"]
    yield dg.MaterializeResult(
        "medication_transitions",
        metadata={**by_move(moves), **by_override(let_through)},
        check_results=[
            dg.AssetCheckResult(
                asset_key="medication_transitions",
                check_name="no_illegal_moves",
                passed=not standing,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={REFUSED: standing.total(), **{f"rule {name}": n for name, n in sorted(standing.items())}},
            )
        ],
    )


def open_before(instance: dg.DagsterInstance) -> int | None:
    """How many findings were open at the last count; None where nobody counted yet."""
    event = instance.get_latest_materialization_event(dg.AssetKey("medication_courses"))
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    value = metadata[OPEN].value if OPEN in metadata else None
    return value if isinstance(value, int) else None


def by_state(
    rules: MedicationRules, states: dict[tuple[str, str], int], products: dict[tuple[str, str], int]
) -> dict[str, int]:
    """Treatments by state, by family and state, and where products share a family by product and state. Each is a line
    of its own in the plots, also while nobody is there: else it would stay at the last number that it had."""
    counts: Counter[str] = Counter({f"state {state}": 0 for state in rules.states})
    shared = {name: f"product {name}" for name, one in rules.products.items() if one.family != name}
    named = {(shared[product], state): n for (product, state), n in products.items() if product in shared}
    for (name, state), count in {**states, **named}.items():
        counts.update({f"{name} {state}": 0 for state in rules.states})
        counts[f"{name} {state}"] += count
    for (_, state), count in states.items():
        counts[f"state {state}"] += count
    return dict(counts)


def by_finding(rules: MedicationRules, findings: list[dict]) -> dict[str, int]:
    """Open findings by name, none of them left out, and how many days the oldest is old."""
    counts: Counter[str] = Counter({f"finding {name}": 0 for name in rules.findings})
    for row in findings:
        counts[f"finding {row['finding']}"] += row["open"]
    return dict(counts) | {"oldest in days": max((row["oldest_days"] for row in findings), default=0)}


def by_move(moves: list[dict]) -> dict[str, int]:
    """Moves of all time by outcome and by what made or refused them, and those of the last seven days by outcome."""
    counts: Counter[str] = Counter({"moves": 0})
    for row in moves:
        counts["moves"] += row["times"]
        counts[row["outcome"]] += row["times"]
        counts[f"{row['outcome']} in 7 days"] += row["in_7_days"]
        counts[f"{row['outcome']}: {row['reason']}"] += row["times"]
    return dict(counts)


def by_override(overrides: list[dict]) -> dict[str, int]:
    """Orders that stand by an override: of all time and lately, by rule, reason and role."""
    lately = f"let through in {orders.LATELY_DAYS} days"
    counts: Counter[str] = Counter({"let through": 0, lately: 0})
    for row in overrides:
        counts["let through"] += row["orders"]
        counts[lately] += row["lately"]
        for name in ("rule", "reason", "role"):
            counts[f"let through, {name} {row[name]}"] += row["orders"]
    return dict(counts)


treatments_schedule = dg.ScheduleDefinition(
    name="treatments_every_15_minutes",
    owners=[CLINICAL],
    cron_schedule="*/15 * * * *",
    target=dg.AssetSelection.assets("medication_courses", "medication_transitions"),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Counts treatments by state and family, refused moves and findings, so that drift is seen the day that "
    "it begins.",
)
