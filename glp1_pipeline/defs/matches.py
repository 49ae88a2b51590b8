"""One person, one chart: the review queue of likely matches, and the job by which a steward decides."""

import enum

import dagster as dg
from pydantic import Field

from ..adapters import charts, matches
from . import launchpad
from .describe import spec
from .intake import EVENTS
from .owners import STEWARD
from .resources import Road

OLDEST_HOURS = 24.0

MATCHES = spec(
    "patient_matches",
    group="identity",
    owner=STEWARD,
    deps=(EVENTS,),
    why="Pairs of records that look like one person, judged while their events are charted. The sure ones are joined by"
    " themselves, the likely ones wait for a person, and twins, namesakes and shared phones stay apart.",
)


@dg.asset(
    name="patient_match_reviews",
    group_name="identity",
    owners=[STEWARD],
    kinds={"python", "postgres"},
    deps=[MATCHES],
    description="Likely matches that wait for a steward (`open`), plotted with the age of the oldest, the records that"
    " are part of another's patient and the decisions that people took. `glp1 match list` shows"
    " what agrees and what held each pair back; decide with the job `decide_match` or `glp1 match accept | reject |"
    " undo`."
    "\n\n*One row per pair whose records are not one patient and of which nobody has decided yet.*"
    " View: `ops.patient_match_reviews`.",
    check_specs=[
        dg.AssetCheckSpec(
            "reviewed_in_time",
            asset="patient_match_reviews",
            description=f"Whether every likely match was decided within {OLDEST_HOURS:.0f} hours. Until then the two"
            " charts stand side by side, and each may lack what the other knows.",
        )
    ],
)
def count_reviews(road: Road):
    """Count what waits, and since when."""
    with road.connect("glp1 match reviews") as connection:
        found = matches.counts(connection)
    yield dg.MaterializeResult(
        metadata=found,
        check_results=[
            dg.AssetCheckResult(
                asset_key="patient_match_reviews",
                check_name="reviewed_in_time",
                passed=found["oldest hours"] <= OLDEST_HOURS,
                severity=dg.AssetCheckSeverity.WARN,
                metadata=found,
            )
        ],
    )


class Choice(enum.Enum):
    """What a steward says of two records."""

    MERGE = "merge"
    UNMERGE = "unmerge"
    NOT_A_MATCH = "not_a_match"


class Ground(enum.Enum):
    """Why a steward says so. Run config is kept in Dagster and shown in the UI: no words of one's own there."""

    NOT_SAID = ""
    ASKED_THE_PERSON = "asked the person"
    SEEN_TOGETHER = "seen together"
    SAME_DOCUMENT = "the same identity document or insurance card"
    DIFFERENT_DOCUMENTS = "different identity documents or insurance cards"
    FAMILY_OR_HOUSEHOLD = "relatives, or people of one household"
    WRONG_MERGE = "they were merged by mistake"
    OTHER = "another reason, noted elsewhere"


class DecisionConfig(launchpad.Choices):
    """What was decided of which two records, by whom and why. Safe as it stands: a dry run, which changes nothing."""

    action: Choice = Field(
        default=Choice.NOT_A_MATCH,
        description="MERGE: they are one person. UNMERGE: they were merged and are two. NOT_A_MATCH: they are two, and"
        " are not proposed again.",
    )
    first: str = Field(default="", description="Id of the record that survives (or stays), as `glp1 match list` shows.")
    second: str = Field(default="", description="Id of the other record.")
    actor: str = Field(default="", description="Who decides: an opaque name like a staff id, no spaces.")
    reason: Ground = Field(
        default=Ground.NOT_SAID,
        description="Why. Kept with the event. In words of your own: `glp1 match`.",
    )
    dry_run: bool = Field(default=True, description="Say what is known of the two, and change nothing.")


@dg.op(description="Put a steward's decision about two records into the ledger, and chart what follows from it.")
def decide(context: dg.OpExecutionContext, config: DecisionConfig, road: Road) -> None:
    """Look, and unless it is a dry run decide; the numbers say what changed."""
    records = (config.first.strip(), config.second.strip())
    with road.connect("glp1 decide match") as connection:
        known = connection.execute(
            "select count(distinct record_id) from phi.identifiers where record_id::text = any(%s)", (list(records),)
        ).fetchone() or (0,)
        if known[0] != 2:
            raise dg.Failure(
                "`first` and `second` must be two records of ours: copy them from `glp1 match list`",
                allow_retries=False,
            )
        if config.dry_run:
            context.add_output_metadata({"records found": 2, "dry run": True})
            return
        try:
            event_id = matches.decide(
                connection, road.contract, road.cipher, config.action.value, records, config.actor, config.reason.value
            )
        except matches.WordRefused as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        done = charts.chart_events(connection, road.contract, road.cipher, charts.Scope(event_ids=(event_id,)))
    context.add_output_metadata(
        {"event": str(event_id), "patients that changed": done.merged, "new writes": done.all_writes, "dead": done.dead}
    )


@dg.job(
    name="decide_match",
    description="A steward says that two records are one person, are two again, or never were one. `glp1 match list`"
    " shows the pairs with their ids. In the Launchpad: fill `action`, `first` (survives, or stays), `second`, `actor`"
    " and `reason`, launch it as a dry run, then again with `dry_run: false`. The decision is an event: nothing is"
    " overwritten, and an un-merge returns each value, task and write to whom its event belongs.",
    tags={"glp1/identity": "decision"},
    owners=[STEWARD],
)
def decide_match():
    decide()
