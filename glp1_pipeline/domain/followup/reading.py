"""What the answers of a check-in mean: raw answers in, one value document per field out.

Every answer is read by the same readers as those of the intake (`mapping`). Here: which question means which field.
Not here: which check-in an answer belongs to (`cycles`), and what follows for a refill (`refill`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..contract import Contract
from ..declared import kept
from ..events import Submission
from ..mapping import NO_FIELD, Problem
from ..mapping.shapes import shape_of
from ..mapping.text import Context, Doc, Shape

WEIGHED_ON = "anthro.weight_measured_at"


class Answers(NamedTuple):
    values: dict[str, Doc]
    problems: tuple[Problem, ...]
    contradictions: tuple[str, ...] = ()
    """None that we know of: each question is asked once."""


def read_checkin(contract: Contract, submission: Submission) -> Answers:
    """Every answer as a value document. Total: no answer makes it raise."""
    shapes, context = _shapes(contract), Context(submission.authored_at, submission.time_zone)
    values: dict[str, Doc] = {}
    problems: list[Problem] = []
    for question, raw in submission.answers.items():
        shape = shapes.get(question)
        if shape is None:
            problems.append(Problem(NO_FIELD, "unknown_question"))
        else:
            values[question] = shape(raw, context)
    problems += [Problem(n, d["held"], d.get("edges", ("",))[0]) for n, d in values.items() if "held" in d]
    return Answers(values, tuple(problems))


@kept
def _shapes(contract: Contract) -> Mapping[str, Shape]:
    """Question -> its reader; a question is called as its field."""
    newest = contract.form_versions[-1]  # units are told in a check-in, as in the newest intake
    return {name: shape_of(contract, contract.fields[name], newest) for name in contract.asked_in_checkin}


def value_of(values: Mapping[str, Any], name: str) -> Any:
    """The known value, or None."""
    doc = values.get(name)
    return None if doc is None else doc.get("value")
