"""What a submission's answers mean: raw answers in, one value document per field out.

Here: the public functions of the mapping, and the table of odd cases that it knows (`EDGE_CASES`). Not here: how a
patient's submissions become a chart (`chart`), and what a value means for care (`flags`, `gates`).

An answer that cannot be mapped without a guess is held: the document says why and keeps it as typed, the problem says
why and does not.
"""

from .edges import EDGE_CASES, NOTES
from .plan import NO_FIELD, Mapped, Problem, compile_mapper, map_submission

__all__ = [
    "EDGE_CASES",
    "NOTES",
    "NO_FIELD",
    "Mapped",
    "Problem",
    "compile_mapper",
    "map_submission",
]
