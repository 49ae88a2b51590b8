"""Whether a chart holds what a step needs: one verdict for each patient.

Here: the state of every requirement of a gate, and a pandera schema built from gates.yaml that says which states do.
Not here: what a gate asks (gates.yaml), the conditions (`flags.facts`), the work a held patient makes (`tasks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaError, SchemaErrors

from .chart import Chart, Passes, Value
from .contract import Contract, Gate, Requirement, version_key
from .declared import kept
from .flags import RaisedFlag
from .flags.facts import BMI_PLAUSIBLE, CONDITIONS, Condition, Facts, day

EXEMPT = "exempt"
"""The requirement does not apply to this patient, or no form that they saw asks it."""
BY_TASK = "satisfied_by_task"
"""An honest "I don't know" to a red question, let through because a provider gets a task for it."""
STATES = (
    "value", "unknown", "declined", "not_applicable", "absent", "held", "not_asked", "stale", "not_accepted",
    BY_TASK, EXEMPT,
)  # fmt: skip
RED_WEIGHT = 3
NEVER_EMPTY = ("allergy.list",)
"""Lists that are asked for only where there is something to name; elsewhere "none" is a value."""
COMPUTED = "bmi"
"""The one name in gates.yaml that is no field: worked out, and then asked to be plausible."""


class GateFault(Exception):
    """The gate itself, or a frame given to it, is malformed. Names columns and requirements, never a value."""


@dataclass(frozen=True, slots=True)
class GateResult:
    patient_id: str
    gate_id: str
    version: str
    outcome: str
    """passed or held."""
    missing: tuple[tuple[str, str], ...]
    """(field, or requirement where any one of its fields would do; its state)."""
    score: float
    """Satisfied share of what applies; a red question weighs three times."""
    by_task: tuple[str, ...] = ()
    """Fields let through on the condition that `tasks` opens a provider's task for each."""


@dataclass(frozen=True, slots=True)
class _Line:
    requirement: Requirement
    applies: Condition | None
    since: tuple[int, ...]
    weight: int
    good: frozenset[str]
    """States that satisfy it, as the schema judged them."""
    enough: str | None
    """The field that satisfies it by its value alone: of most lines their only one. None where more matters."""
    values: tuple[str, ...]
    """Of that field; any value where there are none."""

    def concerns(self, newest: tuple[int, ...], facts: Facts) -> bool:
        """Whether it is asked of this patient, the newest of whose forms is of that version."""
        return newest >= self.since and (self.applies is None or self.applies(facts))


@kept
def schema(gate: Gate) -> pa.DataFrameSchema:
    """One column per requirement, of state names; a column's check is the states that gates.yaml accepts."""
    columns = {r.name: pa.Column(object, pa.Check.isin(sorted(_accepted(r)))) for r in gate.requirements}
    return pa.DataFrameSchema(columns, strict=True, name=f"{gate.gate_id} {gate.version}")


def _accepted(requirement: Requirement) -> frozenset[str]:
    accepted = {*requirement.accept, EXEMPT}
    if requirement.high_risk and accepted & {"unknown", "declined"}:
        accepted = accepted - {"unknown", "declined"} | {BY_TASK}
    return frozenset(accepted)


def failures(gate: Gate, frame: pd.DataFrame) -> set[tuple[int, str]]:
    """(row label, requirement) of every state that the gate does not accept; states alone come back, by position.

    Raises GateFault where the frame does not have the gate's columns. Pandera's own errors quote the data they saw,
    so none leaves this function, not even as a cause.
    """
    fault = ""
    try:
        schema(gate).validate(frame, lazy=True)
        return set()
    except SchemaErrors as error:
        cases = error.failure_cases
        wrong = [e for e in error.schema_errors if not isinstance(e.check, pa.Check)]
        if not wrong:
            return {(int(row), str(name)) for row, name in zip(cases["index"], cases["column"], strict=True)}
        fault = ", ".join(sorted({getattr(e.reason_code, "name", None) or "UNKNOWN" for e in wrong}))
    except SchemaError as error:
        fault = getattr(error.reason_code, "name", None) or "UNKNOWN"
    lacking = sorted({r.name for r in gate.requirements} - {str(c) for c in frame.columns})
    raise GateFault(
        f"gate {gate.gate_id}: the frame does not fit its schema ({fault.lower()}); lacking columns: {lacking}"
    )


@kept
def _lines(gate: Gate) -> tuple[_Line, ...]:
    """The gate made ready. The schema judges each state of each requirement once; a verdict holds for every patient.

    Checks are by single cell, so a look-up in these verdicts equals validating the patients' frame, at a hundredth of
    its cost when patients arrive one by one. A test holds the two together.
    """
    names = [r.name for r in gate.requirements]
    if len(set(names)) != len(names):
        raise GateFault(f"gate {gate.gate_id}: two requirements of one name")
    if lost := sorted({r.when for r in gate.requirements if r.when} - CONDITIONS.keys()):
        raise GateFault(f"gate {gate.gate_id}: no condition named {lost} in domain.flags.facts")
    failed = failures(gate, pd.DataFrame({name: pd.Series(STATES, dtype=object) for name in names}))
    return tuple(
        _Line(
            r,
            CONDITIONS[r.when] if r.when else None,
            version_key(r.since),
            RED_WEIGHT if r.high_risk else 1,
            frozenset(state for i, state in enumerate(STATES) if (i, r.name) not in failed),
            _enough(r),
            r.values,
        )
        for r in gate.requirements
    )


def _enough(requirement: Requirement) -> str | None:
    looks_closer = requirement.max_age_days is not None or "value" not in _accepted(requirement)
    is_one = len(requirement.fields) == 1 or (requirement.need == "any" and BY_TASK not in _accepted(requirement))
    first = requirement.fields[0]
    return first if is_one and not looks_closer and first not in (COMPUTED, *NEVER_EMPTY) else None


def evaluate(
    contract: Contract,
    gate: Gate,
    charts: Sequence[Chart],
    flags: Sequence[Mapping[str, RaisedFlag]] | None = None,
) -> list[GateResult]:
    """One verdict per chart, in order. With the charts' flags, an eased answer passes only where a flag shows it."""
    lines = _lines(gate)
    raised = flags if flags is not None else [None] * len(charts)
    return [_judge(contract, gate, lines, chart, shown) for chart, shown in zip(charts, raised, strict=True)]


def passes(contract: Contract, gate: Gate) -> Passes:
    """Whether a chart passes this gate: what begins the review of it (see `chart.stages`)."""
    return lambda chart: evaluate(contract, gate, [chart])[0].outcome == "passed"


def frame(contract: Contract, gate: Gate, charts: Sequence[Chart]) -> pd.DataFrame:
    """The states that `evaluate` judges, as the schema wants them: a row per chart, a column per requirement."""
    facts = [(Facts(contract, chart), _newest_form(chart)) for chart in charts]
    columns = {
        line.requirement.name: [_states(line, of)[0] if line.concerns(newest, of) else EXEMPT for of, newest in facts]
        for line in _lines(gate)
    }
    return pd.DataFrame({name: pd.Series(states, dtype=object) for name, states in columns.items()})


def _judge(
    contract: Contract,
    gate: Gate,
    lines: tuple[_Line, ...],
    chart: Chart,
    flags: Mapping[str, RaisedFlag] | None,
) -> GateResult:
    if not chart.counted:
        return GateResult(chart.patient_id, gate.gate_id, gate.version, "held", (("submission", "absent"),), 0.0)
    facts, newest, known = Facts(contract, chart), _newest_form(chart), chart.known
    missing: list[tuple[str, str]] = []
    by_task: list[str] = []
    answered: list[_Line] = []
    satisfied = applicable = 0
    for line in lines:
        told = known[name] if (name := line.enough) is not None and name in known else _NOT_TOLD
        if "value" in told and (not line.values or _matches(told["value"], line.values)):
            answered.append(line)  # satisfied, or not even asked: as nearly always
            continue
        if not line.concerns(newest, facts):
            continue
        state, fields = _states(line, facts)
        applicable += line.weight
        if state in line.good:
            satisfied += line.weight
            by_task += [name for name, why in fields if why == BY_TASK]
        elif line.requirement.need == "any":
            missing.append((line.requirement.name, state))
        else:
            missing += [(name, why) for name, why in fields if why not in line.good]
    if flags is not None:
        missing += [(name, "unflagged") for name in by_task if not any(name in f.fields for f in flags.values())]
    if not chart.is_complete:
        missing = [("submission", "in_progress")]
    score = 1.0
    if satisfied < applicable:
        more = sum(line.weight for line in answered if line.concerns(newest, facts))
        score = round((satisfied + more) / (applicable + more), 4)
    outcome = "held" if missing else "passed"
    return GateResult(chart.patient_id, gate.gate_id, gate.version, outcome, tuple(missing), score, tuple(by_task))


_NOT_TOLD: Value = {}


def _newest_form(chart: Chart) -> tuple[int, ...]:
    return max(version_key(report.form_version) for report in chart.counted)


def _states(line: _Line, facts: Facts) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The state of the requirement, and that of each of its fields."""
    fields = tuple([(name, _state(line.requirement, facts, name)) for name in line.requirement.fields])
    if len(fields) == 1:
        return fields[0][1], fields
    good = [why for _, why in fields if why in line.good]
    if line.requirement.need == "any":
        return good[0] if good else fields[0][1], fields
    if len(good) == len(fields):
        return BY_TASK if BY_TASK in good else good[0], fields
    return next(why for _, why in fields if why not in line.good), fields


def _state(requirement: Requirement, facts: Facts, name: str) -> str:
    if name == COMPUTED:
        if facts.bmi is None:
            return "absent"
        return "value" if BMI_PLAUSIBLE[0] <= facts.bmi <= BMI_PLAUSIBLE[1] else "not_accepted"
    chart = facts.chart
    state = chart.state(name)
    if state != "value":
        eased = requirement.high_risk and state in ("unknown", "declined") and state in requirement.accept
        return BY_TASK if eased else state
    value = chart.get(name)
    if value == [] and name in NEVER_EMPTY:
        return "not_accepted"
    if requirement.values and not _matches(value, requirement.values):
        return "not_accepted"
    if requirement.max_age_days is not None and (dated := day(value)) is not None:
        age = (facts.on - dated).days
        if age > requirement.max_age_days:
            return "stale"
        if age < -1:
            return "not_accepted"
    return "value"


def _matches(value: Any, accepted: tuple[str, ...]) -> bool:
    """A code, the status of a consent, or at least one of a list of codes."""
    if isinstance(value, dict):
        value = value.get("status")
    if isinstance(value, list):
        return any(item in accepted for item in value)
    return value in accepted
