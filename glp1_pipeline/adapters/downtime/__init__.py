"""Working on paper: the worklist written to a folder, and what was done by hand brought back.

Here: what other rooms may use. Not here: what a row means (`domain.downtime`).
"""

from .bring_back import Answer, bring_back, read_rows
from .pack import write_pack
from .worklist import read_worklist

__all__ = ["Answer", "bring_back", "read_rows", "read_worklist", "write_pack"]
