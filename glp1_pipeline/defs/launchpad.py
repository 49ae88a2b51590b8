"""What a person typed or copied into the Launchpad, read; what cannot be read is a sentence that names its field.

Run config is kept by Dagster and shown to all who see its UI: so patients are chosen by our own ids there, and not by
those of other systems, as on the command line. Not here: what a job does with it (`replay`, `rollback`).
"""

import uuid
from collections.abc import Callable, Iterable
from typing import TypeVar

import dagster as dg

T = TypeVar("T")


def ids(field: str, told: Iterable[str]) -> tuple[uuid.UUID, ...]:
    says = "no UUID"
    if field == "patients":
        says += ": it takes our ids alone, since what stands here is kept; the first line of `glp1 why` has it"
    return tuple(read(field, one, uuid.UUID, says) for one in told)


def read(field: str, told: str, reader: Callable[[str], T], says: str) -> T:
    """`says`: what it is where it cannot be read; what was typed is not repeated."""
    try:
        return reader(told)
    except ValueError:
        raise dg.Failure(f"`{field}`: {says}", allow_retries=False) from None
