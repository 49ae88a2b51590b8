"""What every word by which a person overrides a rule must say: a reason, in which role, and why in words.

Here: whether they may, by contracts/access.yaml and override_reasons.csv. Not here: which rule may be overridden for
which class of reasons (`refill`, `medication`), and what follows.
"""

from __future__ import annotations

from typing import Any

from ..contract import Contract
from ..refill_model import OverrideReason
from .shapes import Refused

LONGEST_TEXT = 2000


def read_reason(contract: Contract, data: dict[str, Any]) -> OverrideReason:
    """Raises Refused for a reason that nobody, or nobody of this role, may give, and for one without words."""
    reason, role = contract.override_reasons.get(data["reason_code"]), contract.roles.get(data["role"])
    if reason is None or role is None:
        raise Refused("wrong_shape", "`reason_code` must be one of override_reasons.csv, `role` one of access.yaml")
    if role.role not in reason.roles or reason.reason_class not in role.overrides:
        raise Refused("not_allowed", f"reason {reason.reason_code} is for {', '.join(reason.roles)}, by access.yaml")
    text = data["text"]
    if not isinstance(text, str) or not reason.min_text <= len(text.strip()) <= LONGEST_TEXT:
        raise Refused("wrong_shape", f"`data.text` must say why in {reason.min_text} to {LONGEST_TEXT} characters")
    return reason


def are_names(raw: Any) -> bool:
    return isinstance(raw, list) and all(isinstance(one, str) and one.isprintable() and len(one) < 64 for one in raw)
