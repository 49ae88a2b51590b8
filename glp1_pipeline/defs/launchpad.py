"""What a person typed or copied into the Launchpad, read; what cannot be read is a sentence that names its field.

Run config is kept by Dagster and shown to all who see its UI: so patients are chosen by our own ids there, and not by
those of other systems, as on the command line. Not here: what a job does with it (`replay`, `rollback`).
"""

import uuid
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

import dagster as dg
from pydantic import ValidationError

T = TypeVar("T")


class Choices(dg.Config):
    """What a job asks in the Launchpad. Dagster checks names and types before a run; bounds are met here alone, and
    would be an error that the UI masks."""

    def __init__(self, **told: Any) -> None:
        try:
            super().__init__(**told)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False, include_context=False)
            says = "; ".join(f"`{'.'.join(map(str, one['loc']))}`: {one['msg'].lower()}" for one in faults)
            raise dg.Failure(says, allow_retries=False) from None


def ids(field: str, told: Iterable[str]) -> tuple[uuid.UUID, ...]:
    says = "no UUID"
    if field == "patients":
        says += ": it takes our ids alone, since what stands here is kept; the first line of `glp1 why` has it"
    return tuple(read(field, one, uuid.UUID, says) for one in told)


def names(field: str, told: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """Of a list that we know: a typo would choose nothing, and look as if there were nothing to do."""
    chosen = tuple(told)
    if not set(chosen) <= set(known):
        raise dg.Failure(f"`{field}`: each must be one of {', '.join(sorted(known))}", allow_retries=False)
    return chosen


def read(field: str, told: str, reader: Callable[[str], T], says: str) -> T:
    """`says`: what it is where it cannot be read; what was typed is not repeated."""
    try:
        return reader(told)
    except ValueError:
        raise dg.Failure(f"`{field}`: {says}", allow_retries=False) from None
