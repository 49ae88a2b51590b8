"""What is worked out once per contract, before the first patient waits for it.

Here: charting a form without answers, for nobody. Not here: what is worked out (each module keeps its own), and when
it is time for it (`defs.worker`).
"""

from __future__ import annotations

from datetime import UTC, datetime

from ..contract import Contract
from ..events import Event, Submission
from .deciding import decide
from .reading import read
from .shapes import Claimed, Decided, Known

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_NOBODY = "00000000-0000-0000-0000-000000000000"


def make_ready(contract: Contract) -> Decided:
    """Tables, shapes and the gate's schema are kept after this: half a second. What it decided is of no use."""
    empty = [
        Claimed(
            f"{_NOBODY[:-1]}{n}",
            _LONG_AGO,
            Event("", "", "intake.submitted", "", _LONG_AGO, version),
            Submission("", contract.form_id, version, "completed", _LONG_AGO, None, "", "", "", "", None, None, {}),
            _NOBODY,
        )
        for n, version in enumerate(contract.form_versions)
    ]
    return decide(contract, empty, read(contract, empty), Known({_NOBODY: _NOBODY}))
