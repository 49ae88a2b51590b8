"""From all answers of a submission to all its value documents.

Here: which question means which field, worked out once per contract and form version, and what needs more than one
answer: the same question twice, weight against height, questions that were hidden. Not here: reading one answer
(`shapes` and the modules beside).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from ..contract import Contract
from ..events import Submission
from . import codes
from .contradictions import find_contradictions
from .quantities import POUND
from .shapes import shape_of
from .text import Context, Doc, Shape, held, known, noted

BMI_PLAUSIBLE = (15, 80)
BMI_POSSIBLE = (10, 110)
SKEW, LATE = timedelta(minutes=5), timedelta(hours=1)


NO_FIELD = "(no such question)"
"""In place of a field, where a question is none of any version: its id is the producer's own text, and may hold
anything."""


class Problem(NamedTuple):
    """An answer that could not be taken. Names only."""

    field: str
    """The field, or `NO_FIELD`."""
    cause: str
    edge: str = ""


@dataclass(frozen=True, slots=True)
class Mapped:
    """What one submission says, field by field."""

    values: dict[str, Doc]
    contradictions: tuple[str, ...]
    problems: tuple[Problem, ...]


class Question(NamedTuple):
    field: str
    shape: Shape
    resumed: bool
    """Whether the id belongs to another version of the form."""


Mapper = Callable[[Submission], Mapped]
_compiled: dict[int, tuple[weakref.ref[Contract], dict[str, Mapper]]] = {}


def map_submission(contract: Contract, submission: Submission) -> Mapped:
    """Every answer as a value document, in the meaning of its own form version. Total: no answer makes it raise."""
    return compile_mapper(contract, submission.form_version)(submission)


def compile_mapper(contract: Contract, version: str) -> Mapper:
    """The mapper of a form version, made once per contract; KeyError for a version that the contract has not."""
    kept = _compiled.get(id(contract))
    if kept is None or kept[0]() is not contract:
        key = id(contract)
        kept = _compiled[key] = (weakref.ref(contract, lambda _: _compiled.pop(key, None)), {})
    mapper = kept[1].get(version)
    if mapper is None:
        if version not in contract.form_versions:
            raise KeyError(version)
        mapper = kept[1][version] = make_mapper(contract, version)
    return mapper


def make_mapper(contract: Contract, version: str) -> Mapper:
    questions = questions_of(contract, version)
    hidden = [(f.name, f.hidden_when) for f in contract.fields.values() if f.hidden_when]
    system = system_fields(contract, version)

    def map_answers(submission: Submission) -> Mapped:
        context = Context(submission.authored_at, submission.time_zone, submission.received_at)
        values: dict[str, Doc] = {}
        problems: list[Problem] = []
        for asked, raw in submission.answers.items():
            question = questions.get(asked)
            if question is None:
                problems.append(Problem(NO_FIELD, "unknown_question"))
                continue
            name, shape, resumed = question
            doc = shape(raw, context)
            if resumed:
                doc = noted(doc, ("resumed_across_versions",))
            values[name] = doc if name not in values else reconcile(name, values[name], doc, submission, questions)
        system(values, submission, context)
        for name, masters in hidden:
            if name in values and "null" not in values[name]:
                hide(name, masters, values)
        weigh(values)
        if "demo.state_at_visit" in values:
            compare_states(values)
        edges: list[str] = []
        for name, doc in values.items():
            if len(doc) > 1:  # more than the value or the null alone
                edges += doc.get("edges", ())
                if "held" in doc:
                    problems.append(Problem(name, doc["held"], doc.get("edges", ("",))[0]))
        return Mapped(values, find_contradictions(values, edges), tuple(problems))

    return map_answers


def questions_of(contract: Contract, version: str) -> dict[str, Question]:
    """Question id -> field and shape: this version's own ids first, then the field's name, then other versions' ids."""
    found: dict[str, Question] = {}
    for number, other in enumerate((version, *reversed([v for v in contract.form_versions if v != version]))):
        for field in contract.fields.values():
            if field.form != "intake":
                continue
            shape = shape_of(contract, field, other)
            if field.asked_in(other):
                found.setdefault(field.question(other), Question(field.name, shape, number > 0))
            if other == contract.form_versions[-1]:
                found.setdefault(field.name, Question(field.name, shape, True))
    return found


def reconcile(name: str, first: Doc, second: Doc, submission: Submission, questions: dict[str, Question]) -> Doc:
    """One question answered under two ids: a blank gives way, equals are one, anything else is held."""
    if first.get("null") == "absent" or second.get("null") == "absent":
        return second if first.get("null") == "absent" else first
    if codes.meaning(first) == codes.meaning(second):
        return noted(first, ["answered_twice"])
    asked = [q for q in submission.answers if q in questions and questions[q].field == name]
    return held("conflicting_answers", {q: submission.answers[q] for q in asked}, *first.get("edges", ()))


def hide(name: str, masters: dict[str, tuple[str | bool, ...]], values: dict[str, Doc]) -> None:
    """An answer left behind by the back button: the raw event keeps it, the chart does not."""
    for master, answers in masters.items():
        told = values.get(master)
        if told is not None and told.get("value") in answers and values[name].get("null") is None:
            values[name] = {"null": "not_applicable", "edges": ["hidden_answer"]}


def weigh(values: dict[str, Doc]) -> None:
    """Hold a weight that makes sense beside the height only under the other unit."""
    height, weight = values.get("anthro.height"), values.get("anthro.weight")
    if height is None or weight is None or "value" not in height or "value" not in weight:
        return
    square = (height["value"] / 100) ** 2
    bmi = weight["value"] / square
    if BMI_PLAUSIBLE[0] <= bmi <= BMI_PLAUSIBLE[1]:
        return
    other = bmi * POUND if bmi > BMI_PLAUSIBLE[1] else bmi / POUND
    raw = weight.get("raw", weight["value"])
    if BMI_PLAUSIBLE[0] <= other <= BMI_PLAUSIBLE[1]:
        values["anthro.weight"] = held("weight_unit_suspect", raw, "weight_unit_swap", *weight.get("edges", ()))
    elif not BMI_POSSIBLE[0] <= bmi <= BMI_POSSIBLE[1]:
        values["anthro.weight"] = held("implausible_weight", raw, *weight.get("edges", ()))


def compare_states(values: dict[str, Doc]) -> None:
    here = values["demo.state_at_visit"].get("value")
    home = values.get("demo.state_residence", {}).get("value")
    if here and home and here != home:
        values["demo.state_at_visit"] = noted(values["demo.state_at_visit"], ["state_mismatch"])


def system_fields(contract: Contract, version: str) -> Callable[[dict[str, Doc], Submission, Context], None]:
    """Fills in what the envelope says of the form itself, where the form version asks it and no answer said it."""
    asked = contract.asked[version]
    wanted = {name for name in contract.fields if name.startswith("sys.") and name in asked}
    zone = shape_of(contract, contract.fields["demo.timezone"], version) if "demo.timezone" in asked else None
    device = shape_of(contract, contract.fields["sys.device"], version) if "sys.device" in asked else None

    def fill(values: dict[str, Doc], submission: Submission, context: Context) -> None:
        told: dict[str, Doc] = {
            "sys.form_id": {"value": submission.form_id},
            "sys.form_version": {"value": submission.form_version},
            "sys.submitted_at": submitted(submission),
        }
        if submission.client_submission_id:
            told["sys.client_submission_id"] = {"value": submission.client_submission_id}
        if submission.ab_variant:
            told["sys.ab_variant"] = {"value": submission.ab_variant}
        if submission.duration_s is not None:
            told["sys.duration_s"] = {"value": submission.duration_s}
        for name, doc in told.items():
            if name in wanted:
                values.setdefault(name, doc)
        if device and submission.device is not None and "sys.device" not in values:
            values["sys.device"] = device(submission.device, context)
        if zone and submission.time_zone and "demo.timezone" not in values:
            values["demo.timezone"] = zone(submission.time_zone, context)

    return fill


def submitted(submission: Submission) -> Doc:
    authored, received = submission.authored_at, submission.received_at
    took = timedelta() if received is None else received - authored
    edges = ["clock_skew"] if took < -SKEW else ["offline_then_online"] if took > LATE else []
    return known(authored.isoformat(), edges)
