"""How a chart looks in FHIR R4.

Here: resources of a chart, of its submissions, and what goes around them when they are written; the public functions
are named below. Not here: I/O, clocks, server ids, and the rules that raise a flag or open a task.

A reported value is preliminary or unconfirmed with the patient as its voice; verification makes a new resource. What
the patient no longer says is written again as entered in error. All instants come from the submissions, so the same
set of submissions gives the same bytes in whatever order they arrived.
"""

from .answers import questionnaire_response
from .elements import Resource, resource_id
from .resources import chart_resources
from .taken_back import (
    can_withdraw,
    patient_key,
    replaced_by,
    response_key,
    retired_patient,
    unshown_patient,
    withdrawn,
)
from .work import flag_key
from .writes import content_hash, dump, provenance, transaction

__all__ = [
    "Resource",
    "can_withdraw",
    "chart_resources",
    "content_hash",
    "dump",
    "flag_key",
    "patient_key",
    "provenance",
    "questionnaire_response",
    "replaced_by",
    "resource_id",
    "response_key",
    "retired_patient",
    "transaction",
    "unshown_patient",
    "withdrawn",
]
