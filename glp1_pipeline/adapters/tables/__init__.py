"""The tables, each with its grain in one sentence: the one declaration that the migrations follow.

Three schemas carry least privilege. `phi`: events, values, charts, identifiers, bodies. `ops`: opaque keys, states
and times. `analytics`: what dbt makes, from `ops` alone. Not here: statements that read or write them (`ledger`,
`charts`, `outbox`).
"""

from ..columns import COLUMNS
from . import charts, ledger, medication, outbox, people, recovery, refills, rollback
from .declaring import SCHEMAS, metadata

__all__ = [
    "SCHEMAS",
    "charts",
    "ledger",
    "medication",
    "metadata",
    "outbox",
    "people",
    "recovery",
    "refills",
    "rollback",
]

for _table in metadata.tables.values():
    for _column in _table.columns:
        _column.comment = COLUMNS[_column.name]
