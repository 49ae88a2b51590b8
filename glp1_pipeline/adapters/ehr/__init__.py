"""The door to the EHR: any FHIR R4 server over HTTP.

Here: the connection (`wire`), what a write becomes on each kind of server (`ehr`), and reading back for `reconcile`
(`readback`). Not here: rows of the outbox, and any decision of what an answer means (`domain.outbox`).
"""

from .ehr import Ehr, Sent
from .readback import ReadBack, count_by_identifier, read_back
from .wire import EhrFailure, EhrMisconfigured, EhrSettings

__all__ = [
    "Ehr",
    "EhrFailure",
    "EhrMisconfigured",
    "EhrSettings",
    "ReadBack",
    "Sent",
    "count_by_identifier",
    "read_back",
]
