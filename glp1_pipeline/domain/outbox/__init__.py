"""What delivery decides: what an answer means, when to try again, what may be written over (law 5).

Here: pure functions, a package of two rooms: `retry` (troubles, times, the breaker) and `exchange` (a write's bundle
against what the EHR holds). Not here: HTTP (`adapters.ehr`) and rows (`adapters.outbox`).
"""

from .exchange import (
    EDITED_SINCE,
    Conflict,
    Found,
    Remote,
    Verdict,
    conditional_transaction,
    first_creates,
    is_same,
    judge,
    keys_of,
    rest_as_batch,
    without,
)
from .retry import (
    Breaker,
    Decision,
    Trouble,
    after_failure,
    after_success,
    backoff_seconds,
    decide,
    opens_breaker,
    retry_after_seconds,
    trouble_of,
    worst_of,
)

__all__ = [
    "EDITED_SINCE",
    "Breaker",
    "Conflict",
    "Decision",
    "Found",
    "Remote",
    "Trouble",
    "Verdict",
    "after_failure",
    "after_success",
    "backoff_seconds",
    "conditional_transaction",
    "decide",
    "first_creates",
    "is_same",
    "judge",
    "keys_of",
    "opens_breaker",
    "rest_as_batch",
    "retry_after_seconds",
    "trouble_of",
    "without",
    "worst_of",
]
