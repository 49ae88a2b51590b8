"""The outbox at work: claims patients' lanes, delivers their next writes, settles what came of it.

Killed at any instant it loses and doubles nothing: the intent (`in_doubt`) is committed before the call, so whoever
finds it reads back before sending again. Here: `lanes` (claim, settle), `carrier` (one write, on any target),
`courier` (to the EHR), `contacts` (to the CRM), `deliver` (the crew), `attend` (what people and sensors ask). Not
here: planning a write (`charts`), HTTP (`ehr`, `crm`), decisions (`domain.outbox`, `domain.crm`).
"""

from .attend import conflicts, pending, retry_dead, settle_conflict, wait_for_due
from .contacts import Contacts
from .courier import Heard
from .deliver import DeliveryReport, deliver_pending

__all__ = [
    "Contacts",
    "DeliveryReport",
    "Heard",
    "conflicts",
    "deliver_pending",
    "pending",
    "retry_dead",
    "settle_conflict",
    "wait_for_due",
]
