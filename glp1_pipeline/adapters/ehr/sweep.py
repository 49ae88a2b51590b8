"""Reading again what we know to be in the EHR, a slice at a time, so that a whole sweep ends within a day.

It finds what no list of changes announces: deletions where the server keeps no history, resources that lost our
identifier, whatever else slipped by. Its place is a row of ops.poll_cursors. Not here: judging (`changes`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta

from .changes import Poller
from .entries import Entry

KIND = "sweep"
WHOLE = timedelta(hours=20)
"""What a sweep aims at, so that it ends within a day also when rounds fail."""
FEWEST = 2
"""Patients read in a round, however few there are."""
AT_ONCE = 20
"""Patients read between two commits."""
UNSWEPT = ("Provenance", "QuestionnaireResponse")
"""Nobody works with them, and they hold no value of the chart."""
FIRST = "00000000-0000-0000-0000-000000000000"

Known = tuple[str, dict[str, list[str]]]
"""A patient, and by `Type/<our id>` the id and version that the EHR gave."""


def sweep(poller: Poller, is_over: Callable[[], bool]) -> None:
    """Go on with the sweep by as many patients as it takes to end in time."""
    began, seen = poller.load(KIND)
    now = poller.now()
    began = began or now
    place, read = seen.get("place", FIRST), int(seen.get("read", 0))
    row = poller.connection.execute("select count(*) from ops.copies where target = %s", (poller.target,)).fetchone()
    owed = math.ceil((row[0] if row else 0) * ((now - began) / WHOLE)) - read
    left = max(FEWEST, owed)
    while left > 0 and not is_over():
        asked = min(left, AT_ONCE)
        patients: list[Known] = poller.connection.execute(
            "select patient_id::text, remote from ops.copies where target = %s and patient_id > %s"
            " order by patient_id limit %s",
            (poller.target, place, asked),
        ).fetchall()
        entries, known = _gone_or_moved(poller, patients, now)
        told, _ = poller.sift(entries, known)  # what settles just now is looked at again by the list of changes
        left -= asked
        read += len(patients)
        is_through = len(patients) < asked
        state = {} if is_through else {"place": patients[-1][0], "read": read}
        with poller.connection.transaction():
            new = poller.keep(told)
            poller.save(KIND, now if is_through else began, state, new, now if is_through else None)
        if is_through:
            return
        place = patients[-1][0]


def _gone_or_moved(poller: Poller, patients: list[Known], now: datetime) -> tuple[list[Entry], dict[str, str]]:
    """What is not there as we left it, and the patient by `Type/<id there>`."""
    places: dict[str, tuple[str, str, str]] = {}
    for patient_id, remote in patients:
        for key, (remote_id, version, *_) in remote.items():
            kind = key.partition("/")[0]
            if kind not in UNSWEPT:
                places[f"{kind}/{remote_id}"] = (patient_id, key, version)
    poller.polled.swept += len(places)
    found: list[Entry] = []
    for place, there in poller.feed.current(list(places)).items():
        patient_id, key, version = places[place]
        if there is None:
            found.append(_deletion(poller, place, key, patient_id, version, now))
        elif there.version != version:
            found.append(there)
    return found, {entry.place: places[entry.place][0] for entry in found}


def _deletion(poller: Poller, place: str, key: str, patient_id: str, known_version: str, now: datetime) -> Entry:
    """As the server's history tells it; where it has none, with a version made of the last that we knew, and the
    content that we last sent."""
    kind, _, remote_id = place.partition("/")
    version, stamp, content = poller.feed.last_words(kind, remote_id)
    content = content or next((sent for _, sent in poller.echoes.sent(key, patient_id)), {})
    return Entry(kind, remote_id, version or f"{known_version}.deleted", stamp or now, content, is_deleted=True)
