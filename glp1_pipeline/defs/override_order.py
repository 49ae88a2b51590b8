"""An override of a refused order from the UI: the job `override_order`, whose Launchpad says what each choice means.

Here: wiring. Not here: what may be overridden by whom (contracts/medication.yaml, access.yaml, override_reasons.csv),
and what an override does (`adapters.orders`, `domain.medication`).
"""

import enum
import uuid

import dagster as dg
from pydantic import Field

from ..adapters import charts, orders
from ..adapters.matches import WordRefused
from ..domain.contract import Contract
from . import launchpad
from .override import Reason, Role, in_place_of
from .owners import CLINICAL
from .resources import Road


# A test holds it against the contract: read from its files here, a typo in one would take all of the UI away.
class OrderRule(enum.Enum):
    """Those of contracts/medication.yaml that somebody may override."""

    SKIP_A_STEP_UP = "skip_a_step_up"
    STEP_UP_BEFORE_MIN_DAYS = "step_up_before_min_days"
    MAINTENANCE_AT_STARTING_DOSE = "maintenance_at_starting_dose"
    START_ABOVE_FIRST_STEP = "start_above_first_step"


class OrderGround(enum.Enum):
    """In which sentence it is told. Run config is kept in Dagster and shown in the UI: no words of one's own there."""

    NOT_SAID = ""
    SAW_THE_PATIENT = "a provider saw or spoke to the patient, and the dose is right"
    READ_THE_RECORD = "the record of an earlier treatment was read, and it explains the dose"
    ASKED_ELSEWHERE = "somebody outside who treats the patient was asked, and the dose is right"
    PLAN_IN_THE_CHART = "why it is ordered, and how it is watched, stands in the chart"
    NOTED_ELSEWHERE = "another reason, which is noted elsewhere"


class OrderOverrideConfig(launchpad.Choices):
    """What is let through, by whom and why. Safe as it stands: a dry run, which changes nothing."""

    order_event_id: str = Field(
        default="", description="The event of the refused order, as `glp1 why PATIENT` prints it behind the order."
    )
    rules: list[OrderRule] = Field(
        default=[],
        description="Which rules are let through, by their names in contracts/medication.yaml. Those that are not in "
        "the list to choose from may be overridden by nobody.",
    )
    reason: Reason = Field(
        default=Reason.NOT_SAID,
        description="Why, as a code of contracts/override_reasons.csv; for an order one that a provider may give, of "
        "the class that the rule names.",
    )
    role: Role = Field(default=Role.NOT_SAID, description="In which role you decide (contracts/access.yaml).")
    ground: OrderGround = Field(
        default=OrderGround.NOT_SAID,
        description="The reason in a sentence, kept with the event. In words of your own: `glp1 medication override`.",
    )
    actor: str = Field(default="", description="Who decides: an opaque name like a staff id, no spaces.")
    dry_run: bool = Field(
        default=True, description="Say whether it may be and what would come of it, and change nothing."
    )


@dg.op(description="Put an override of a refused order into the ledger, and chart what follows from it.")
def let_order_through(context: dg.OpExecutionContext, config: OrderOverrideConfig, road: Road) -> None:
    """Look, and unless it is a dry run override; the output says how the order stands."""
    try:
        order = uuid.UUID(config.order_event_id)
    except ValueError:
        raise dg.Failure("`order_event_id` must be an id: copy it from `glp1 why PATIENT`") from None
    rules = tuple(rule.value for rule in config.rules)
    word = orders.Word(rules, config.reason.value, config.ground.value, config.actor, config.role.value)
    with road.connect("glp1 override order") as connection:
        try:
            before, after = orders.foresee(connection, road.contract, order, word)
            told = {"dry run": config.dry_run, "stood": before.outcome}
            if config.dry_run:
                context.add_output_metadata({**told, "would be": after.outcome})
                return
            event_id = orders.override(connection, road.contract, road.cipher, order, word)
        except WordRefused as error:
            raise dg.Failure(_without_names(road.contract, str(error)), allow_retries=False) from None
        done = charts.chart_events(connection, road.contract, road.cipher, charts.Scope(event_ids=(event_id,)))
        now = orders.stands(connection, road.contract, order)
    context.add_output_metadata(
        {**told, "event": str(event_id), "is now": now.outcome, "new writes": done.all_writes, "dead": done.dead}
    )


def _without_names(contract: Contract, text: str) -> str:
    """Which rule refuses a patient's order is not told to Dagster, which keeps every message."""
    return in_place_of(dict.fromkeys(contract.medication.findings, "(`glp1 why` says which)"), text)


@dg.job(
    name="override_order",
    description="A provider lets a refused order of a treatment go: against named rules, with a reason, until the next "
    "order. `glp1 why PATIENT` prints the order's event, the rule, and who may. In the Launchpad: fill all fields, "
    "launch it as a dry run, then again with `dry_run: false`. It is an event; two products at once, a dose that is no "
    "step and a jump of a compounded dose are let through by nobody.",
    tags={"glp1/order": "override"},
    owners=[CLINICAL],
)
def override_order():
    let_order_through()
