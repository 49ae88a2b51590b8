"""The work that a chart makes for humans: one need per cause, the same set whenever it is worked out again.

What somebody did by hand stays done, until something newer is said about its cause. Here: which needs there are. Not
here: opening and closing them (the store keeps the difference between the last set and this one), queues and due times
(the contract's tasks), and work that treatments, check-ins or refills make.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime

from .chart import Chart, Reported, Value
from .contract import EHR, Contract
from .declared import kept
from .flags import Facts, RaisedFlag
from .flags.facts import unanswered
from .flags.medicines import GLP1, MedicineNames, medicine_names
from .gates import GateResult
from .mapping.contradictions import find_contradictions
from .overruling import ELEMENTS
from .ownership import adds, record_of, verified_record

URGENT = ("crisis-protocol", "urgent-safety-review")
"""Opened from a draft too: they cannot wait for the patient to press submit."""
BY_HAND = "task/"
"""How a report begins that tells what became of a task: task/kind/cause/event it rested on/outcome. Of a task that was
done in the EHR no event is known."""
EDITED = "resolve-edit-conflict"
MEDICINES = "med.current_list"
ALLERGENS = "allergy.list"


@dataclass(frozen=True, slots=True, order=True)
class TaskNeed:
    """A task by what it is for: (patient, code, cause) is its identity."""

    code: str
    cause: str
    """A field, flag or cause name; never an answer."""
    queue: str
    owner: str
    due_minutes: int
    rests_on: str = field(default="", compare=False)
    """What it is about, where that is no answer and no flag: a check-in, a request. Work by hand is for that one."""
    since: datetime | None = field(default=None, compare=False)
    """When its cause came, where no answer and no flag says it."""
    due_at: datetime | None = field(default=None, compare=False)
    """Where it is due at a moment of its own, and not so many minutes after it was opened."""


def derive(
    contract: Contract,
    chart: Chart,
    flags: Mapping[str, RaisedFlag],
    gate_result: GateResult,
) -> list[TaskNeed]:
    """All that is needed now, each cause once, in a fixed order. What the mapping held is in the chart itself."""
    return still_needed(contract, chart, flags, _needs(contract, chart, flags, gate_result))


def still_needed(
    contract: Contract, chart: Chart, flags: Mapping[str, RaisedFlag], needs: list[TaskNeed]
) -> list[TaskNeed]:
    """Those that nobody did by hand since what they rest on was said."""
    done = done_by_hand(contract, chart, flags, needs)
    return [need for need in needs if need not in done] if done else needs


def done_by_hand(
    contract: Contract, chart: Chart, flags: Mapping[str, RaisedFlag], needs: Iterable[TaskNeed]
) -> dict[TaskNeed, datetime]:
    """Those that somebody did by hand since what they rest on was said, and when."""
    words = [report for report in chart.submissions if report.submission_id.startswith(BY_HAND)]
    if not words:
        return {}
    done: dict[tuple[str, str, str], datetime] = {}
    """By kind, cause, and the event that it rested on."""
    done_at: dict[tuple[str, str], datetime | None] = {}
    for report in words:
        _, code, cause, event_id, outcome = report.submission_id.split("/")
        if not event_id:  # told of the task as it stands in the EHR: it knows when, and not what it rested on
            done_at[code, cause] = report.said_at if outcome == "done" else None
        elif outcome == "done":
            done[code, cause, event_id] = report.said_at
    said_at = {report.event_id: report.received_at for report in chart.submissions} if done_at else {}
    found: dict[TaskNeed, datetime] = {}
    for need in needs:
        basis = basis_of(contract, chart, flags, need)
        since, at = said_at.get(basis, need.since), done_at.get((need.code, need.cause))
        by_hand = done.get((need.code, need.cause, basis))
        if by_hand is not None:
            found[need] = by_hand
        elif at is not None and since is not None and since <= at:
            found[need] = at
    return found


def basis_of(contract: Contract, chart: Chart, flags: Mapping[str, RaisedFlag], need: TaskNeed) -> str:
    """Id of what a need rests on: another one is a new need."""
    return need.rests_on or rests_on(contract, chart, flags, need.cause)


def rests_on(contract: Contract, chart: Chart, flags: Mapping[str, RaisedFlag], cause: str) -> str:
    """Id of the newest event that says something of a task's cause: another one is a new need.

    Of a flag the event that raised it; of a field the newest that answers it or is in dispute about it, and where
    nobody answered, the newest full submission; of a treatment the newest word of any; of all else (a gate, a
    contradiction) the patient's newest word.
    """
    name = cause.partition(":")[0]
    if name in flags:
        return flags[name].event_id
    if name in contract.medication.findings:
        of_treatments = [report.event_id for report in chart.submissions if report.medication is not None]
        return (of_treatments or [chart.latest.event_id])[-1]
    if name not in contract.fields:
        return chart.latest.event_id
    events = {chart.sources.get(name) if chart.state(name) != "absent" else None, chart.verified_by.get(name)}
    events |= {conflict.event_id for conflict in chart.conflicts if conflict.field == name}
    told = [report.event_id for report in chart.submissions if report.event_id in events]
    full = [report.event_id for report in chart.counted if report.status == "completed"]
    return (told or full or [chart.latest.event_id])[-1]


def _needs(
    contract: Contract, chart: Chart, flags: Mapping[str, RaisedFlag], gate_result: GateResult
) -> list[TaskNeed]:
    needs: dict[tuple[str, str], TaskNeed] = {}

    def need(code: str, cause: str, like: str | None = None) -> None:
        kind, whose = contract.tasks[code], contract.tasks[like or code]
        needs.setdefault((code, cause), TaskNeed(code, cause, whose.queue, whose.owner, kind.due_minutes))

    for one in of_flags(contract, chart, flags):
        need(one.code, one.cause)
    if not chart.is_complete:
        return sorted(needs.values())

    for code, cause in _conflicts(contract, chart):
        need(code, cause)
    red = unanswered(Facts(contract, chart))
    for name, (requirement, state) in red.items():
        eased = state in ("unknown", "declined") and state in requirement.accept
        need("missing-high-risk-input", name, like="provider-review-initial" if eased else None)
    for contradiction in _contradictions(chart):
        need("clarify-contradiction", contradiction)
    names = medicine_names(contract.medication)
    for name, cause in {*_held(chart), *_unmapped(chart), *_unmapped_allergens(chart, names)}:
        if name not in red:
            need(_held_code(name), f"{name}:{cause}")
    for name, why in gate_result.missing:
        if (why == "stale" and name.startswith("anthro.")) or (name, why) == ("bmi", "not_accepted"):
            need("verify-weight", f"{name}:{why}")
        elif not _has_work(field := _first_field(contract, gate_result, name), why, needs, flags):
            need(_missing_code(field), f"{field}:{why}")
    if "WEIGHT_IMPLAUSIBLE" in flags and not any(code == "verify-weight" for code, _ in needs):
        need("verify-weight", "WEIGHT_IMPLAUSIBLE")
    if chart.state("vitals.bp") == "unknown":  # passes the gate, but somebody has to take it
        need("clarify-answer", "vitals.bp:unknown")
    if gate_result.outcome == "passed" and not chart.treated:  # who ordered has reviewed
        need("provider-review-initial", gate_result.gate_id)
    return sorted(needs.values())


@kept
def _by_flag(contract: Contract) -> dict[str, str]:
    return {flag.flag_id: flag.task for flag in contract.flags.values() if flag.task}


def of_flags(contract: Contract, chart: Chart, flags: Iterable[str]) -> list[TaskNeed]:
    """The work that flags are by themselves, whether or not anybody did it."""
    found = [(contract.tasks[code], flag_id) for flag_id, code in _by_flag(contract).items() if flag_id in flags]
    return [
        TaskNeed(kind.code, flag_id, kind.queue, kind.owner, kind.due_minutes)
        for kind, flag_id in found
        if chart.is_complete or kind.code in URGENT
    ]


def flag_work(contract: Contract, chart: Chart, flags: Mapping[str, RaisedFlag]) -> dict[TaskNeed, datetime | None]:
    """The work that flags are by themselves, with when somebody did it by hand; None while nobody has."""
    needs = of_flags(contract, chart, flags)
    done = done_by_hand(contract, chart, flags, needs)
    return {need: done.get(need) for need in needs}


def who_is_who(contract: Contract, others: Set[str]) -> list[TaskNeed]:
    """A person must say whether this patient and another's record are one; gone as soon as it is said. Several records
    of the patient may be like the same one: that is one question."""
    kind = contract.tasks["resolve-identity"]
    return [TaskNeed(kind.code, f"match:{other}", kind.queue, kind.owner, kind.due_minutes) for other in sorted(others)]


def edited_elsewhere(contract: Contract, disputes: Iterable[tuple[str, str]]) -> list[TaskNeed]:
    """A person must say whose word stays of a resource (`Type/id`, reason) that somebody changed in another system
    against us. Done by that decision alone: work by hand settles nothing there."""
    kind = contract.tasks[EDITED]
    causes = sorted({edit_cause(key, reason) for key, reason in disputes})
    return [TaskNeed(kind.code, cause, kind.queue, kind.owner, kind.due_minutes) for cause in causes]


def edit_cause(key: str, reason: str) -> str:
    return f"{reason}:{key.replace('/', ':')}"


def _conflicts(contract: Contract, chart: Chart) -> Iterable[tuple[str, str]]:
    """What only a person can settle between two who speak; gone as soon as they agree, or the owner says it again."""
    for conflict in chart.conflicts:
        if conflict.outcome == "task":
            yield record_of(contract, conflict.field).task or "resolve-field-conflict", conflict.field
        elif conflict.outcome == "refused" and conflict.source == EHR and conflict.field in ELEMENTS:
            yield "resolve-field-conflict", conflict.field  # the Patient there still says what does not hold
    place = {report.event_id: n for n, report in enumerate(chart.submissions)} if chart.decisive else {}
    for name, found in chart.decisive.items():
        record, told = verified_record(contract, name), chart.values.get(name)
        if record is None or not record.task or told is None or not adds(found, told):
            continue
        if place[chart.sources[name]] > place[chart.verified_by[name]]:  # said since a provider looked at it
            yield record.task, name


def _held(chart: Chart) -> Iterable[tuple[str, str]]:
    return [(name, str(value["held"])) for name, value in chart.values.items() if "held" in value]


def _unmapped(chart: Chart) -> Iterable[tuple[str, str]]:
    """A medicine that the mapping kept as typed, without a class: any interaction rule may have missed it."""
    rows = chart.get(MEDICINES)
    if isinstance(rows, list) and any(isinstance(row, dict) and not row.get("class") for row in rows):
        yield MEDICINES, "unmapped_medicine"


def _unmapped_allergens(chart: Chart, names: MedicineNames) -> Iterable[tuple[str, str]]:
    """An allergen that nobody coded and that no table of ours knows: whether it is in the product is not known."""
    rows = chart.get(ALLERGENS)
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict) or not (row.get("code") or GLP1 in names.groups_in([row])):
            yield ALLERGENS, "unmapped_allergen"
            return


def _contradictions(chart: Chart) -> Iterable[str]:
    """Those of the newest full submission and of what amended it, taken together: an amendment may end one, and make
    one. A full one answers everything anew."""
    own: list[Reported] = []
    for report in reversed(chart.counted):
        own.append(report)
        if report.status == "completed":
            break
    if len(own) == 1:  # as nearly always
        return own[0].contradictions
    told: dict[str, Value] = {}
    for report in reversed(own):
        told |= {n: value for n, value in report.values.items() if value.get("null") != "absent" or n not in told}
    return find_contradictions(told, (edge for value in told.values() for edge in value.get("edges", ())))


def _has_work(name: str, why: str, needs: Iterable[tuple[str, str]], flags: Mapping[str, RaisedFlag]) -> bool:
    """Whether what the gate misses is already somebody's: as a red question, a held answer, a flag, or as its parts."""
    causes = {cause for _, cause in needs}
    if name == "bmi":
        return any(cause.startswith(("anthro.height:", "anthro.weight:")) for cause in causes)
    if name == "id.verification_status" and "IDENTITY_UNVERIFIED" in flags:
        return True
    return name in causes or (why == "held" and any(cause.startswith(f"{name}:") for cause in causes))


def _missing_code(name: str) -> str:
    return "verify-weight" if name.startswith(("anthro.", "bmi")) else "clarify-answer"


def _first_field(contract: Contract, gate_result: GateResult, name: str) -> str:
    """A field to ask for, where any one of several would do and the gate names their requirement."""
    requirements = contract.gates[gate_result.gate_id].requirements if gate_result.gate_id in contract.gates else ()
    return next((r.fields[0] for r in requirements if r.name == name and r.need == "any"), name)


def _held_code(name: str) -> str:
    """Who can settle an answer that could not be mapped: who knows bodies, people, drugs; else who asks the patient."""
    if name.startswith("anthro."):
        return "verify-weight"
    if name.startswith(("demo.dob", "demo.legal", "demo.sex", "id.")):
        return "resolve-identity"
    if name.startswith(("med.", "allergy.", "rx.")):
        return "reconcile-medications"
    return "clarify-answer"
