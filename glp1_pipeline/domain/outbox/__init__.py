"""What delivery decides: what an answer means, when to try again, what may be written over.

Here: pure functions, a package of four rooms: `retry` (troubles, times, the breaker), `judging` (what may be written
over), `merging` (one content of ours and theirs) and `exchange` (a write's bundle as a server takes it). Not here: HTTP
(`adapters.ehr`) and rows (`adapters.outbox`).
"""

from .exchange import conditional_transaction, first_creates, keys_of, rest_as_batch, with_contents, without
from .judging import EDITED_SINCE, Found, Remote, is_theirs_too, judge
from .merging import digest, is_noted, is_same, merged, says_all, started_from, still_ours
from .retry import (
    OF_TARGET,
    Breaker,
    Trouble,
    after_failure,
    after_success,
    backoff_seconds,
    decide,
    is_over_at_last,
    opens_breaker,
    retry_after_seconds,
    trouble_of,
    worst_of,
)

__all__ = [
    "EDITED_SINCE",
    "OF_TARGET",
    "Breaker",
    "Found",
    "Remote",
    "Trouble",
    "after_failure",
    "after_success",
    "backoff_seconds",
    "conditional_transaction",
    "decide",
    "digest",
    "first_creates",
    "is_noted",
    "is_over_at_last",
    "is_same",
    "is_theirs_too",
    "judge",
    "keys_of",
    "merged",
    "opens_breaker",
    "rest_as_batch",
    "retry_after_seconds",
    "says_all",
    "started_from",
    "still_ours",
    "trouble_of",
    "with_contents",
    "without",
    "worst_of",
]
