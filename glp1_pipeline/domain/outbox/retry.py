"""Troubles of delivery by class, when the next try is due, and how the breaker of a target moves.

Not here: a clock or a random generator (both come in as numbers), and anything about a resource.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from ..contract import WriteKind

Trouble = Literal[
    "unreachable",  # nothing was sent: no connection, no name, no TLS
    "no_answer",  # sent, and then time ran out or the line was cut
    "unavailable",  # 408, 425, 5xx
    "rubbish",  # a success that is not the answer to what was asked
    "throttled",  # 429
    "unauthorized",  # 401 with a fresh token
    "forbidden",  # 403
    "redirected",  # 3xx: the address is wrong, and a body must not follow it
    "misaddressed",  # 404, 405 that says nothing of what was asked: the address is wrong, or nobody is behind it now
    "moved",  # 409, 412: something is not as we last saw it
    "rejected",  # any other 4xx
    "unreadable",  # something of ours cannot be read now: a body, its key
    "store_away",  # our own database did not answer
    "failed_here",  # our own code failed on it
]

BREAKER_OPENS_AFTER = 5
LONGEST_PAUSE_SECONDS = 60.0
"""Of a breaker, unless the target asks for more: one call a minute burdens nobody, and once the target is back patients
wait no longer than that."""
LONGEST_WAIT_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Policy:
    is_final: bool = False
    """The same request will never be taken."""
    is_in_doubt: bool = False
    """It may have been executed: read back before sending again."""
    burns_try: bool = True
    """It says something of this write; else only of the target, and must not bring the write nearer to its death."""
    gives_up: bool = True
    breaker: Literal["none", "counts", "opens"] = "none"


POLICIES: dict[Trouble, Policy] = {
    "unreachable": Policy(burns_try=False, breaker="counts"),
    "no_answer": Policy(is_in_doubt=True, breaker="counts"),
    "unavailable": Policy(is_in_doubt=True, breaker="counts"),
    "rubbish": Policy(is_in_doubt=True, breaker="counts"),
    "throttled": Policy(burns_try=False, gives_up=False, breaker="opens"),
    "unauthorized": Policy(burns_try=False, gives_up=False, breaker="opens"),
    "forbidden": Policy(burns_try=False, gives_up=False, breaker="opens"),
    "redirected": Policy(burns_try=False, gives_up=False, breaker="opens"),
    "misaddressed": Policy(burns_try=False, gives_up=False, breaker="opens"),
    "moved": Policy(is_in_doubt=True),
    "rejected": Policy(is_final=True),
    "unreadable": Policy(burns_try=False, gives_up=False),
    "store_away": Policy(burns_try=False, gives_up=False),
    "failed_here": Policy(is_in_doubt=True),
}
OF_TARGET: tuple[Trouble, ...] = tuple(trouble for trouble, policy in POLICIES.items() if policy.breaker != "none")
"""Those that may say something of the target and nothing of the write."""
_WORST_FIRST: tuple[Trouble, ...] = (
    "rejected", "unauthorized", "forbidden", "redirected", "misaddressed", "throttled", "rubbish",
    "unavailable", "no_answer", "unreachable", "moved", "unreadable", "store_away", "failed_here",
)  # fmt: skip


def trouble_of(status: int) -> Trouble | None:
    """What an HTTP status means; None for success."""
    if 200 <= status < 300:
        return None
    if status == 429:
        return "throttled"
    if status in (408, 425) or status >= 500 or status < 200:
        return "unavailable"
    if status < 400:
        return "redirected"
    return {401: "unauthorized", 403: "forbidden", 409: "moved", 412: "moved"}.get(status, "rejected")  # type: ignore[return-value]


def opens_breaker(trouble: Trouble) -> bool:
    """Whether a single one of it is enough to leave the target alone."""
    return POLICIES[trouble].breaker == "opens"


def worst_of(troubles: set[Trouble]) -> Trouble | None:
    """Of several entries' troubles, the one that decides what becomes of the write."""
    return next((trouble for trouble in _WORST_FIRST if trouble in troubles), None)


def backoff_seconds(first: float, longest: float, tries: int, random: float) -> float:
    """Full jitter: anywhere between now and the doubled-per-try ceiling, so that a crowd does not come back as one."""
    return random * min(longest, first * 2.0 ** min(max(tries - 1, 0), 60))


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After asks for, in either of its spellings; None when absent or not understood."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT_SECONDS)
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):  # the last of a zone with twenty digits
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), LONGEST_WAIT_SECONDS)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a write after a try that did not deliver it."""

    status: Literal["ready", "in_doubt", "dead"]
    outcome: Literal["retry", "in_doubt", "paused", "dead"]
    delay_seconds: float = 0.0
    blocked: str | None = None
    burns_try: bool = True


def decide(
    kind: WriteKind,
    trouble: Trouble,
    *,
    tries: int,
    age_hours: float,
    random: float,
    retry_after: float | None = None,
    is_partial: bool = False,
    is_target_unwell: bool = False,
) -> Decision:
    """`tries` counts this one; `is_partial` says that some of the write's entries are known to be in the target;
    `is_target_unwell`, that its breaker was not closed: what others failed by as well says nothing of this write."""
    policy = POLICIES[trouble]
    if policy.is_final:
        return Decision("dead", "dead", blocked=trouble)
    is_of_target = is_target_unwell and trouble in OF_TARGET
    burns_try = policy.burns_try and not is_of_target
    tried_enough = burns_try and tries >= kind.max_tries
    if policy.gives_up and not is_of_target and (tried_enough or age_hours >= kind.give_up_after_hours):
        return Decision("dead", "dead", blocked=f"gave_up_{trouble}")
    in_doubt = policy.is_in_doubt or is_partial
    if in_doubt:  # the request may still be at work there; looked for at once, it would land after the look
        random = 0.5 + random / 2
    delay = backoff_seconds(kind.first_retry_seconds, kind.max_retry_seconds, tries, random)
    if trouble == "unreadable":  # no try is counted and no breaker slows it: a person must act first
        delay = kind.max_retry_seconds * (0.5 + random / 2)
    return Decision(
        status="in_doubt" if in_doubt else "ready",
        outcome="paused" if policy.breaker == "opens" else "in_doubt" if in_doubt else "retry",
        delay_seconds=max(delay, retry_after or 0.0),
        burns_try=burns_try,
    )


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether a target may be called. `half_open`: one write is let through to see."""

    state: Literal["closed", "open", "half_open"] = "closed"
    failures: int = 0
    reason: str | None = None


def after_success(breaker: Breaker) -> Breaker:
    """Only the call let through closes an open breaker; a late answer to an older call does not."""
    return breaker if breaker.state == "open" else Breaker()


def after_failure(
    breaker: Breaker, trouble: Trouble, kind: WriteKind, random: float, retry_after: float | None = None
) -> tuple[Breaker, float | None]:
    """The breaker after a trouble, and for how many seconds it is open (None: it is not)."""
    policy = POLICIES[trouble]
    if trouble in ("unreadable", "store_away", "failed_here") or (
        breaker.state == "open" and policy.breaker != "opens"
    ):
        return breaker, None  # ours alone, or a late answer to a call made before it opened
    if policy.breaker == "none":
        return after_success(breaker), None  # the target answered, and sensibly
    failures = breaker.failures + (breaker.state != "open")
    is_open = policy.breaker == "opens" or breaker.state != "closed" or failures >= BREAKER_OPENS_AFTER
    if not is_open:
        return Breaker("closed", failures, trouble), None
    beyond = failures if policy.breaker == "opens" else failures - BREAKER_OPENS_AFTER + 1
    # Half of the wait is certain: a breaker that opens for no time at all protects nobody, though it were asked for.
    wait = backoff_seconds(kind.first_retry_seconds, _longest_pause(kind), beyond, 0.5 + random / 2)
    return Breaker("open", failures, trouble), retry_after or wait


def is_over_at_last(before: Breaker, after: Breaker, kind: WriteKind) -> bool:
    """Whether a target is well again that was not for so long that its breaker's pauses had grown to the longest: what
    failed meanwhile waits by itself far longer than that. Not so of one that answers now and then."""
    if before.state == "closed" or after.state != "closed":
        return False
    return kind.first_retry_seconds * 2.0 ** min(before.failures - BREAKER_OPENS_AFTER, 60) >= _longest_pause(kind)


def _longest_pause(kind: WriteKind) -> float:
    return min(kind.max_retry_seconds, LONGEST_PAUSE_SECONDS)
