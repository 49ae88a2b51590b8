"""A reminder of a check-in as a CommunicationRequest: what to send, over which channel, and until when.

Who sends it is not us: a messenger acts on those that are active, records that it did in a Communication, and may say
here that it is completed. Here: how one looks, and that each is asked for once. Not here: whether the patient may be
reached (`refill.reminders`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from ..chart import Chart, Reported
from ..fhir import content_hash, dump, withdrawn
from ..fhir.elements import ASSEMBLER, CODE_SYSTEM, HL7, concept, instant_utc
from ..refill import Said
from ..refill.reminders import Reminder, is_settled, over_at, reached, reminder_of
from .desk import REMINDER, Desk

REMINDER_SYSTEM = "urn:glp1-pipeline:reminder"
_CATEGORY = [concept(HL7 + "communication-category", "reminder")]
_MEDIUM = {
    "sms": [concept(HL7 + "v3-ParticipationMode", "SMSWRIT", "Text message")],
    "email": [concept(HL7 + "v3-ParticipationMode", "EMAILWRIT", "E-mail")],
}


def write_reminders(
    desk: Desk, words: Iterable[Said], reports: Sequence[Reported], chart_at: Callable[[datetime], Chart]
) -> None:
    declared = {one.name for one in desk.contract.followups.reminders}
    for word, one in reached(desk.known, words):
        role = f"reminder/{word.doc['of']}/{word.doc['name']}"
        if one is None:  # its supply was taken back, or belongs to somebody else now
            desk.question([(REMINDER, role)])
            continue
        was_asked = desk.is_planned(REMINDER, role)
        is_done = is_settled(desk.known, over_at(one)) or (desk.is_elsewhere(REMINDER, role) and not was_asked)
        if is_done or word.doc["name"] not in declared:
            desk.leave(REMINDER, role)
            continue
        desk.question([(REMINDER, role)])
        made = reminder_of(desk.contract, desk.known, word, one, reports, chart_at, was_asked)
        if made is not None:
            _write(desk, role, made)


def _write(desk: Desk, role: str, reminder: Reminder) -> None:
    made = desk.add(REMINDER, role)
    # By this name who sends knows it again, should the patient's records be joined or parted meanwhile.
    made["identifier"].append({"system": REMINDER_SYSTEM, "value": f"{reminder.followup_id}/{reminder.name}"})
    made["status"] = reminder.status
    made["category"] = _CATEGORY
    made["medium"] = _MEDIUM[reminder.channel]
    made["subject"] = desk.patient
    made["payload"] = [{"contentString": reminder.text}]
    made["occurrencePeriod"] = {"start": instant_utc(reminder.at), "end": instant_utc(reminder.until)}
    made["authoredOn"] = instant_utc(reminder.at)
    made["requester"] = ASSEMBLER
    made["recipient"] = [desk.patient]
    made["reasonCode"] = [concept(CODE_SYSTEM + ":reminder", reminder.name)]
    key = desk.key(REMINDER, role)
    if reminder.status == "active" and desk.planned.get(key) == content_hash(dump(withdrawn(made))):
        del desk.out[key]  # taken back once, it is not asked for a second time
        desk.leave(REMINDER, role)
