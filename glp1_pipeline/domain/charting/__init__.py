"""The decision of the road's middle: what a batch of events changes in values, charts, flags, gates, tasks, writes.

Here: two pure steps, from events to what they say (`read`), and from all that was said of a patient to what is to be
written (`decide`); and what may be worked out before both (`make_ready`). Not here: reading and writing it
(`adapters.charts`), who is the same person (`identity`), and each decision by itself (`mapping`, `chart`, `flags`,
`gates`, `tasks`, `fhir`).
"""

from .deciding import GATE, decide
from .reading import read
from .ready import make_ready
from .shapes import Claimed, Copy, Decided, Known, PatientOutcome, Read, Write

__all__ = [
    "GATE",
    "Claimed",
    "Copy",
    "Decided",
    "Known",
    "PatientOutcome",
    "Read",
    "Write",
    "decide",
    "make_ready",
    "read",
]
