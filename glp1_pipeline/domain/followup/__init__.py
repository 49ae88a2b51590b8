"""Check-ins of patients under treatment: when each opens, is due and is missed, and what was answered.

Pure functions of the events and the contract. Not here: what an answer means for a refill (`refill`), and supplies
(`medication`).
"""

from .cycles import follow_ups
from .moments import at_hour, day_of, days_later, moments
from .reading import Answers, read_checkin, value_of
from .renewals import OF_REQUESTS, request_id
from .shapes import FollowUp
from .standing import Missing, missing
from .work import MISSED, crm_status, needs

__all__ = [
    "MISSED",
    "OF_REQUESTS",
    "Answers",
    "FollowUp",
    "Missing",
    "at_hour",
    "crm_status",
    "day_of",
    "days_later",
    "follow_ups",
    "missing",
    "moments",
    "needs",
    "read_checkin",
    "request_id",
    "value_of",
]
