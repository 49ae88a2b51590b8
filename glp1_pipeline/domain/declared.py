"""The base of everything that people declare in a contract file.

Not here: what they declare (`contract`, `identity_model`).
"""

from pydantic import BaseModel, ConfigDict


class Declared(BaseModel):
    """Frozen, a typo is an error, and no value is echoed in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
