"""Several systems that speak of one patient: what each said last, what holds, and which of their words do not.

Here: applying one report to a chart by the rule of each field. Not here: the rules (`ownership`), the order of the
reports and a patient's own corrections before anybody reviews them (`chart`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from .contract import STEWARD, Contract, Ownership
from .ownership import (
    ADDED_UP,
    BLANK,
    COPYING,
    DATED_BY,
    EARLY,
    HELD_FOR_A_PERSON,
    RANKED,
    Case,
    Ruling,
    Said,
    Word,
    fragment_differs,
    holds,
    record_of,
    same,
    settle,
    verified_record,
)
from .told import INTAKE, Chart, Conflict, Outcome, Reported, Value


class Voices:
    """Begun from a chart that the patient alone has spoken in; it grows with the chart."""

    __slots__ = ("chart", "contract", "kept", "offers", "refused_at", "said", "told")

    def __init__(self, contract: Contract, chart: Chart, refused_at: dict[str, datetime]) -> None:
        self.contract, self.chart, self.refused_at = contract, chart, refused_at
        self.told: dict[str, Reported] = {report.event_id: report for report in chart.submissions}
        self.said = Said()
        for name, value in chart.values.items():
            self.said.last[self.told[chart.sources[name]].source, name] = value
        self.kept: dict[tuple[str, str], Conflict] = {}
        self.offers: dict[tuple[str, str], Value] = {}
        """What was said in the conflict of the same key."""

    def hear(self, report: Reported) -> None:
        """Apply a report. What its field's rule does not let hold becomes a conflict, or stays one."""
        chart, is_copy = self.chart, report.source in COPYING
        self.told[report.event_id] = report
        for name, value in [*report.values.items(), *self.said.left_out(report)]:
            if "withdrawn" in value:
                self._take_back(name, value, report)
                continue
            if value.get("null") == "absent" and name in chart.values:
                continue
            chart.overruled.pop((name, report.source), None)
            own = verified_record(self.contract, name) if report.voice == "verified" else None
            differs = fragment_differs(chart.values.get(name), value) if is_copy else None
            if differs is not None:  # part of what is known, without the rest: a person must say what it means
                self.said.last[report.source, name] = value
                if differs:
                    self._open(name, record_of(self.contract, name), report, value, "task")
                else:
                    self._close(name, report.source)
                continue
            if is_copy:
                value = self.said.whole(report, name, value)
                if self.said.may_be_old(report.source, name, value, chart.former.get(name, ())):
                    if own is None:
                        self._carry(name, value, report)
                    continue
            if own is not None:
                self._verify(own, name, value, report)
            else:
                self._settle(record_of(self.contract, name), name, value, report, is_copy)
            self.said.last[report.source, name] = value
        if is_copy:
            for name in self.said.end_version(report):
                self._close(name, report.source)
        self._publish()

    def enter(self) -> None:
        """The patient's stage changed: what a new owner had found before it owned the field counts from now on."""
        for name in self.chart.verified:
            record = verified_record(self.contract, name)
            report = self.told[self.chart.verified_by[name]]
            if record is not None and record.owner[self.chart.stage] == report.source:
                self.chart.decisive[name] = self.chart.verified[name]
                self._close(name, report.source)
        self._publish()

    def _carry(self, name: str, value: Value, report: Reported) -> None:
        """An old value comes along with a record, or somebody went back to it: which, is not ours to guess."""
        record = record_of(self.contract, name)
        now, owner = self._now(record, name), record.owner[self.chart.stage]
        if now is None or same(now.value, value):
            return
        offered = self._word(record, report.values, value, report)
        ruling = settle(Case(record, owner, now, offered, self.said.by(owner, name)))
        if not same(ruling.value, now.value) and record.conflict not in ADDED_UP:
            held = record.conflict in HELD_FOR_A_PERSON
            self._open(name, record, report, value, "task" if held else "refused")

    def _take_back(self, name: str, value: Value, report: Reported) -> None:
        """A system deletes or refutes what it had said: a finding is gone, what else holds stays and is a conflict."""
        chart, record, taken = self.chart, record_of(self.contract, name), value["withdrawn"]
        self.said.last[report.source, name] = BLANK
        rest = self.said.whole(report, name, {"value": []}) if isinstance(taken, list) else None
        if name in chart.verified and self.told[chart.verified_by[name]].source == report.source:
            is_decisive = chart.decisive.pop(name, None) is not None
            del chart.verified[name], chart.verified_by[name]
            if rest is not None and rest["value"]:
                chart.verified[name], chart.verified_by[name] = rest, report.event_id
                chart.decisive |= {name: rest} if is_decisive else {}
        elif record.conflict in RANKED and holds(chart.values.get(name), taken):
            self._settle(record, name, {"null": "unknown"}, report, is_copy=False)
        elif holds(chart.values.get(name), taken):
            kept: Outcome = "merged" if record.conflict in ADDED_UP else "refused"
            self._open(name, record, report, value, "task" if record.conflict in HELD_FOR_A_PERSON else kept)

    def _verify(self, record: Ownership, name: str, value: Value, report: Reported) -> None:
        """What a provider found stands beside what the patient said, and decides where the rule lets it."""
        chart = self.chart
        owner = record.owner[chart.stage]
        if report.source in (owner, STEWARD):
            chart.verified[name], chart.verified_by[name] = value, report.event_id
            if "value" in value:
                chart.decisive[name] = value
            else:
                chart.decisive.pop(name, None)
            for source in [source for field, source in self.kept if field == name]:
                self._close(name, source)
        else:
            if name not in chart.decisive:
                chart.verified[name], chart.verified_by[name] = value, report.event_id
            self._open(name, record, report, value, "refused")

    def _settle(self, record: Ownership, name: str, value: Value, report: Reported, is_copy: bool) -> None:
        now, owner = self._now(record, name), record.owner[self.chart.stage]
        late = name in self.contract.consents and self._comes_too_late(name, value, report)
        if now is not None and not late and same(now.value, value):
            self._agree(name, value, report, owner, is_copy)
            return
        own = now is not None and self.chart.stage in EARLY and now.source == report.source == INTAKE
        if late and now is not None:
            ruling = Ruling("applied" if own else "merged", now.value)
        elif own:
            ruling = Ruling("applied", value)
        else:
            offered = self._word(record, report.values, value, report)
            ruling = settle(Case(record, owner, now, offered, self.said.by(owner, name)))
        changes = ruling.outcome in ("applied", "merged") and (now is None or not same(now.value, ruling.value))
        if now is not None and ruling.outcome in ("applied", "merged"):
            self._remember(name, now.value if changes else value)
        if changes:
            self.chart.values[name], self.chart.sources[name] = ruling.value, report.event_id
            self._superseded(name, report)
        outcome = ruling.outcome
        if changes and now is not None and self._asks_for_a_look(record):
            outcome = "task"
        if report.source in (owner, STEWARD):
            self._owner_spoke(name, report, is_copy)
        if outcome == "applied":
            self._close(name, report.source)
        else:
            self._open(name, record, report, value, outcome)

    def _asks_for_a_look(self, record: Ownership) -> bool:
        """Whether a change that holds is still somebody's work, once a patient is under review."""
        return bool(record.task) and record.conflict not in HELD_FOR_A_PERSON and self.chart.stage not in EARLY

    def _owner_spoke(self, name: str, report: Reported, is_copy: bool) -> None:
        """What others had said against the owner is settled. What is held for a person is so only where the owner said
        it by itself, and did not merely send its record again for another reason."""
        for field, source in list(self.kept):
            if field == name and source != report.source:
                held = self.kept[field, source].rule in HELD_FOR_A_PERSON
                agrees = same(self.offers[field, source], self.chart.values.get(name))
                if not (held and is_copy) or agrees:
                    if source in COPYING and not agrees:
                        # It is told so: who says the same again does not merely carry it along.
                        self.chart.overruled[field, source] = report.event_id
                        self.said.last[source, field] = BLANK
                    self._close(field, source)

    def _remember(self, name: str, value: Value) -> None:
        former = self.chart.former.setdefault(name, [])
        if value.get("null") != "absent" and value not in former[-1:]:
            former.append(value)
        if not former:
            del self.chart.former[name]

    def _agree(self, name: str, value: Value, report: Reported, owner: str, is_copy: bool) -> None:
        """Somebody says what holds: their own conflict is gone, and where the owner says it, all that it can settle."""
        self._close(name, report.source)
        if not is_copy:
            self.chart.values[name], self.chart.sources[name] = value, report.event_id
        if report.source in (owner, STEWARD):
            self._owner_spoke(name, report, is_copy)

    def _superseded(self, name: str, report: Reported) -> None:
        """A new value holds: those who had said it before agree now, and a finding may be older than it."""
        for field, source in list(self.kept):
            if field == name and source != report.source and same(self.offers[field, source], self.chart.values[name]):
                self._close(name, source)
        own = verified_record(self.contract, name)
        if own is not None and own.conflict == "append":
            self.chart.decisive.pop(name, None)

    def _comes_too_late(self, name: str, value: Value, report: Reported) -> bool:
        """Whether a consent was received before a refusal: it does not lift it, whoever gave it."""
        refusal = self.refused_at.get(name)
        if not is_given(value):
            self.refused_at[name] = max(report.received_at, refusal or report.received_at)
            return False
        return refusal is not None and report.received_at <= refusal

    def _now(self, record: Ownership, name: str) -> Word | None:
        if name not in self.chart.values:
            return None
        report = self.told[self.chart.sources[name]]
        return self._word(record, report.values, self.chart.values[name], report)

    def _word(self, record: Ownership, values: Mapping[str, Value], value: Value, report: Reported) -> Word:
        measured = str(values.get(DATED_BY.get(record.record, ""), {}).get("value", ""))
        return Word(
            value, report.source, report.event_id, report.voice == "verified", measured, report.source in COPYING
        )

    def _open(self, name: str, record: Ownership, report: Reported, value: Value, outcome: Outcome) -> None:
        stage = self.chart.stage
        new = Conflict(
            name, record.conflict, record.owner[stage], report.source, report.event_id, report.said_at, outcome, stage
        )
        old = self.kept.get((name, report.source))
        if old is not None:  # the same dispute goes on
            new = replace(new, event_id=old.event_id, since=old.since)
        self.kept[name, report.source], self.offers[name, report.source] = new, value

    def _close(self, name: str, source: str) -> None:
        self.kept.pop((name, source), None)
        self.offers.pop((name, source), None)

    def _publish(self) -> None:
        self.chart.conflicts = tuple(self.kept[key] for key in sorted(self.kept))


def is_given(value: Value) -> bool:
    """Whether a consent document gives consent: neither refused, revoked nor left open."""
    decision = value.get("value")
    return isinstance(decision, dict) and decision.get("status") == "given"
