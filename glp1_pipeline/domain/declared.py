"""The base of everything that people declare in a contract file, and what is worked out of it once.

Not here: what they declare (`contract`, `identity_model`, `medication_model`, `refill_model`).
"""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

K = TypeVar("K")
V = TypeVar("V")


class Declared(BaseModel):
    """Frozen, a typo is an error, and no value is echoed in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def kept(build: Callable[[K], V]) -> Callable[[K], V]:
    """Builds once for each frozen declaration, known by identity: hashing a whole contract would cost more."""
    known: dict[int, tuple[K, V]] = {}

    def get(declared: K) -> V:
        found = known.get(id(declared))
        if found is None or found[0] is not declared:
            if len(known) >= 16:
                known.clear()
            found = known[id(declared)] = (declared, build(declared))
        return found[1]

    return get
