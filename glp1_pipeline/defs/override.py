"""An override from the UI: the job `override_refill`, whose Launchpad says what each choice means.

Here: wiring. Not here: what may be overridden by whom (contracts/refills.yaml, access.yaml, override_reasons.csv), and
what an override does (`adapters.refills`, `domain.refill`).
"""

import enum
import re
import uuid
from collections.abc import Mapping
from datetime import timedelta

import dagster as dg
from pydantic import Field

from ..adapters import charts
from ..adapters import refills as requests
from ..adapters.matches import WordRefused
from ..domain.contract import Contract
from ..domain.refill import holding_flags
from ..domain.refill_model import ADDRESS_CHANGED
from . import launchpad
from .owners import CLINICAL
from .resources import Road


# A test holds these three against the contract: read from its files here, a typo in one would take all of the UI away.
class Rule(enum.Enum):
    """Those of contracts/refills.yaml that somebody may override."""

    RED_SYMPTOM = "red_symptom"
    RED_FLAG = "red_flag"
    ADMINISTRATIVE = "administrative"
    MISSED_DOSES = "missed_doses"
    SIDE_EFFECT = "side_effect"
    WEIGHT_CHANGE = "weight_change"
    INTERACTION = "interaction"
    TOO_EARLY = "too_early"


class Role(enum.Enum):
    """Those of contracts/access.yaml that may override anything."""

    NOT_SAID = ""
    PROVIDER = "provider"
    PHARMACIST = "pharmacist"
    OPS_LEAD = "ops_lead"
    DATA_STEWARD = "data_steward"


class Reason(enum.Enum):
    """Those of contracts/override_reasons.csv."""

    NOT_SAID = ""
    THERAPY_APPROPRIATE = "THERAPY_APPROPRIATE"
    ASSESSED_PATIENT = "ASSESSED_PATIENT"
    PATIENT_EXPLANATION = "PATIENT_EXPLANATION"
    OTHER_SOURCE = "OTHER_SOURCE"
    CONSULTED_PRESCRIBER = "CONSULTED_PRESCRIBER"
    THERAPY_ENDED = "THERAPY_ENDED"
    MONITORING_PROGRAM = "MONITORING_PROGRAM"
    EDUCATION = "EDUCATION"
    PRIOR_THERAPY_DOCUMENTED = "PRIOR_THERAPY_DOCUMENTED"
    APPROPRIATE_INDICATION = "APPROPRIATE_INDICATION"
    VACATION_SUPPLY = "VACATION_SUPPLY"
    LOST_DAMAGED_REPLACEMENT = "LOST_DAMAGED_REPLACEMENT"
    DOSE_CHANGE_EARLY = "DOSE_CHANGE_EARLY"
    EMERGENCY_AUTH = "EMERGENCY_AUTH"
    SYSTEM_ERROR = "SYSTEM_ERROR"
    OTHER = "OTHER"


class Ground(enum.Enum):
    """In which sentence it is told. Run config is kept in Dagster and shown in the UI: no words of one's own there."""

    NOT_SAID = ""
    SAW_THE_PATIENT = "a provider saw or spoke to the patient, and it may go on"
    READ_THE_RECORD = "the record was read, and it may go on"
    ASKED_ELSEWHERE = "somebody outside who treats the patient was asked, and it may go on"
    PLAN_IN_THE_CHART = "what is done about it stands in the chart"
    SUPPLY_IS_LOST = "the supply that was sent is lost or spoilt"
    PATIENT_TRAVELS = "the patient travels and needs the supply before"
    DATA_WAS_WRONG = "what it was held for came of wrong data"
    EMERGENCY = "an emergency; it is told in the chart"
    NOTED_ELSEWHERE = "another reason, which is noted elsewhere"


class OverrideConfig(launchpad.Choices):
    """What is let through, by whom, why and for how long. Safe as it stands: a dry run, which changes nothing."""

    refill_id: str = Field(default="", description="Our id of the request, as `glp1 refill list` prints it.")
    decision_id: str = Field(
        default="",
        description="The decision that you saw, as `glp1 refill show` prints it. If the request was decided again "
        "since, nothing is done. Where its rule holds for risk flags, those of this decision are let through, and no "
        "other.",
    )
    rules: list[Rule] = Field(
        default=[],
        description="Which rules are let through, by their names in contracts/refills.yaml. Those that are not in the "
        "list to choose from may be overridden by nobody.",
    )
    reason: Reason = Field(
        default=Reason.NOT_SAID,
        description="Why, as a code of contracts/override_reasons.csv, which says for each who may give it and for how "
        "many days at most.",
    )
    role: Role = Field(default=Role.NOT_SAID, description="In which role you decide (contracts/access.yaml).")
    days: int = Field(
        default=1, ge=1, le=365, description="For how many days from now, at most what the reason allows."
    )
    ground: Ground = Field(
        default=Ground.NOT_SAID,
        description="The reason in a sentence, kept with the event. In words of your own: `glp1 refill override`.",
    )
    actor: str = Field(default="", description="Who decides: an opaque name like a staff id, no spaces.")
    dry_run: bool = Field(
        default=True, description="Say whether it may be and what would come of it, and change nothing."
    )


@dg.op(description="Put an override of a held request into the ledger, and chart what follows from it.")
def let_through(context: dg.OpExecutionContext, config: OverrideConfig, road: Road) -> None:
    """Look, and unless it is a dry run override; the output says how the request stands."""
    try:
        refill_id, decision_id = str(uuid.UUID(config.refill_id)), str(uuid.UUID(config.decision_id))
    except ValueError:
        raise dg.Failure("`refill_id` and `decision_id` must be ids: copy them from `glp1 refill show`") from None
    with road.connect("glp1 override refill") as connection:
        try:
            word = _word(connection, config, _flags(connection, road, refill_id, decision_id))
            before, after = requests.foresee(connection, road.contract, road.cipher, refill_id, word)
            told = {"dry run": config.dry_run, "stood": before.outcome}
            if config.dry_run:
                context.add_output_metadata({**told, "would be": after.outcome})
                return
            event_id = requests.override(connection, road.contract, road.cipher, refill_id, word)
        except (WordRefused, requests.RecordFault) as error:
            raise dg.Failure(_without_names(road.contract, str(error)), allow_retries=False) from None
        done = charts.chart_events(connection, road.contract, road.cipher, charts.Scope(event_ids=(event_id,)))
        stands = connection.execute("select outcome from ops.refills where refill_id = %s", (refill_id,)).fetchone()
    context.add_output_metadata(
        {
            **told,
            "event": str(event_id),
            "is now": stands[0] if stands else "nothing",
            "new writes": done.all_writes,
            "dead": done.dead,
        }
    )


def _flags(connection, road: Road, refill_id: str, decision_id: str) -> tuple[str, ...]:
    """The flags that the decision rests on which the person saw."""
    last = requests.decision_of(connection, refill_id)
    if last is None:
        raise WordRefused("no request has this id: `glp1 refill list` shows those that are open")
    if last != decision_id:
        raise WordRefused("the request was decided again since you looked: `glp1 refill show` says how")
    record = requests.opened(connection, road.cipher, decision_id)
    assert record is not None  # it was found just now, and none is ever deleted
    made = record.doc["decision"]
    return tuple(holding_flags(made["rule"], made["reasons"]))


def _word(connection, config: OverrideConfig, flags: tuple[str, ...]) -> requests.Word:
    # By the clock that the days are judged by: the longest time that a reason allows must not be a moment too long.
    (now,) = connection.execute("select now()").fetchone()
    return requests.Word(
        tuple(rule.value for rule in config.rules),
        flags,
        config.reason.value,
        config.ground.value,
        now + timedelta(days=config.days),
        config.actor,
        config.role.value,
    )


def _without_names(contract: Contract, text: str) -> str:
    """What stands on a chart, and which rule holds for it, is not told to Dagster, which keeps every message."""
    instead = dict.fromkeys(contract.refills.by_name, "(`glp1 refill show` says which)")
    instead |= dict.fromkeys([*contract.flags, ADDRESS_CHANGED], "a flag")
    return in_place_of(instead, text)


def in_place_of(instead: Mapping[str, str], text: str) -> str:
    """A text with other words where one of these names stands."""
    names = "|".join(map(re.escape, sorted(instead, key=len, reverse=True)))
    return re.sub(rf"\b({names})\b", lambda found: instead[found[0]], text)


@dg.job(
    name="override_refill",
    description="A person who may lets a held request of a refill go on: for named rules, with a reason, for some "
    "days. `glp1 refill list` and `glp1 refill show` print the ids, `glp1 why PATIENT` who may. In the Launchpad: "
    "fill all fields, launch it as a dry run, then again with `dry_run: false`. It is an event, ends by itself, and "
    "never approves a refill: the request comes into the provider's queue, or is held by the next rule.",
    tags={"glp1/refill": "override"},
    owners=[CLINICAL],
)
def override_refill():
    let_through()
