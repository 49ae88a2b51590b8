"""Whether two records are one person: what is compared, what it weighs, what forbids it, and who is grouped with whom.

Here: pure functions of what records say and of the signed model (`contracts/identity.yaml`). Not here: finding
candidates in the store, and keeping what was decided (`adapters`).
"""

from ..identity_model import IdentityModel
from .features import Features, features
from .group import Decided, Edge, components, group
from .keys import blocking_keys
from .match import Match, compare, contradictions, is_another_person

__all__ = [
    "Decided", "Edge", "Features", "IdentityModel", "Match", "blocking_keys", "compare", "components",
    "contradictions", "features", "group", "is_another_person",
]  # fmt: skip
