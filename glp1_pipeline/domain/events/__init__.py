"""What an event is once its bytes were understood, and why one may be refused.

Here: the envelope (CloudEvents 1.0), intake events, FHIR QuestionnaireResponse as intake, changes in other systems,
decisions of stewards, the reasons of refusal. Not here: bytes, files and limits (`adapters.landing`), and what the
answers mean (`mapping`).
"""

from __future__ import annotations

from typing import Any

from ..contract import Contract
from .envelope import parse_cloud_event
from .questionnaire import parse_questionnaire_response, questionnaire_response_to_submission
from .shapes import REASONS, Change, Content, Decision, Event, Refused, Submission, as_record

__all__ = [
    "REASONS",
    "Change",
    "Content",
    "Decision",
    "Event",
    "Refused",
    "Submission",
    "as_record",
    "parse_event",
    "questionnaire_response_to_submission",
]


def parse_event(document: Any, contract: Contract) -> tuple[Event, Content]:
    """An event and what it says, from a CloudEvents document or a bare FHIR QuestionnaireResponse; raises Refused."""
    if not isinstance(document, dict):
        raise Refused("not_an_object", "send one JSON object: a CloudEvent, or a FHIR QuestionnaireResponse")
    if "resourceType" in document:
        if document["resourceType"] != "QuestionnaireResponse":
            raise Refused(
                "unknown_type", "`resourceType` must be QuestionnaireResponse; other resources have no door here"
            )
        return parse_questionnaire_response(document, contract)
    return parse_cloud_event(document, contract)
