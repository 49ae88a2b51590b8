"""The door to the EHR: any FHIR R4 server over HTTP.

Here: the connection (`wire`), what a write becomes on each kind of server (`ehr`), reading back for `reconcile`
(`readback`), and what people change there (`polling`; its parts are `changes`, `feed`, `entries`, `window`, `people`,
`echoes`, `events`, `sweep`), and being told of it sooner (`subscription`, `hints`). Not here: rows of the outbox, and
any decision of what an answer means (`domain.outbox`).
"""

from .ehr import Ehr
from .entries import Entry
from .readback import count_by_identifier, read_back
from .wire import EhrFailure, EhrMisconfigured, EhrSettings

__all__ = [
    "Ehr",
    "EhrFailure",
    "EhrMisconfigured",
    "EhrSettings",
    "Entry",
    "count_by_identifier",
    "read_back",
]
