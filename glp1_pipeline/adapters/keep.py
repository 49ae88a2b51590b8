"""How many days what piles up is kept: one number each, GLP1_KEEP_..._DAYS, 0 for ever.

Here: the numbers and what each is about. Not here: what goes then, and what stays all the same (`retention`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

LONGEST = 36_500


class KeepError(RuntimeError):
    """A number of days makes no sense; the message says how to mend it."""


@dataclass(frozen=True)
class Keep:
    """Days, 0 for ever. Events, values, decisions of people, writes and receipts of plans have no number: they stay."""

    bodies: int = 90
    """Bodies of writes that newer ones made old. Of each resource the last three that were delivered stay for ever."""
    attempts: int = 90
    """Attempts at delivery that were followed by another; the attempt that settled a write stays."""
    alerts: int = 730
    """Incidents that ended, and the messages about them."""
    plans: int = 365
    """Which events were in a replay plan that is done; its receipt stays."""
    drops: int = 365
    """Sealed files in the archive whose events the ledger has, every byte of them."""
    runs: int = 30
    """Runs of Dagster with their event log, but for those that an asset's or a check's latest state is read from."""
    ticks: int = 30
    """Ticks of Dagster's sensors and schedules that did something; those that found nothing go after a day."""
    logs: int = 30
    """Logs of programs that nobody writes to any more."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Keep:
        """Raises KeepError."""
        chosen: dict[str, int] = {}
        for field in fields(cls):
            name = setting(field.name)
            if told := env.get(name, "").strip():
                if not told.isdecimal() or int(told) > LONGEST:
                    raise KeepError(f"{name} must be a whole number of days from 0 (for ever) to {LONGEST}.")
                chosen[field.name] = int(told)
        return cls(**chosen)


def setting(name: str) -> str:
    """The variable of the environment that sets it."""
    return f"GLP1_KEEP_{name.upper()}_DAYS"
