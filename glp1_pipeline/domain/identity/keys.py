"""Keys under which a record is found again: two records that share none are never compared.

Here: which few keys, so that hardly one pair of one person shares none, and no key gathers a town. Not here: the index.
"""

from __future__ import annotations

from hashlib import blake2b

from .features import Features
from .names import sound

SURNAMES = 2
"""Parts of a last name that have a key each."""


def blocking_keys(person: Features) -> tuple[int, ...]:
    """At most eight signed 64-bit numbers, the same on every machine, sorted; none for a record that tells nothing."""
    first = person.formal[0] if person.formal else "".join(person.given[:1])
    sounds = [sound(name) if name else "" for name in (first, *person.surnames[-SURNAMES:])]
    told: set[str] = set()
    if person.phone:
        told.add(f"phone {person.phone}")
    if person.email:
        told.add(f"email {person.email}")
    if person.dob:
        # First and last name alike: people swap them.
        day = either_way(person.dob)
        told |= {f"dob {day} {heard}" for heard in sounds if heard}
    if first and person.last and (place := person.zip or person.state or person.city):
        told.add(f"names {' '.join(sorted((sounds[0], sounds[-1])))} {place}")
    if person.number and person.street:
        told.add(f"home {person.number} {person.street} {person.zip[:3] or person.state}")
    return tuple(sorted(int.from_bytes(blake2b(t.encode(), digest_size=8).digest(), "big", signed=True) for t in told))


def either_way(dob: str) -> str:
    """A date in which day and month may have been swapped: the smaller of the two comes first."""
    month, day = dob[4:6], dob[6:]
    return dob if month <= day else dob[:4] + day + month
