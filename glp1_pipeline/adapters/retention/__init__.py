"""Keeping everything small for ever: what nothing needs any more goes after so many days, a little at a time.

Here: what may go, and deleting it (`rows`: our tables, `bodies`: of writes, `dagster_rows`: Dagster's own, `files`),
and how large all is (`sizes`). Not here: how many days (`keep`). Events, values, people's decisions, writes, receipts
of plans and counts of drops never go: replay, rollback and audit read them.

All of it is many short transactions that can be killed anywhere and begun again: each deletes only what may go.
"""

from .prune import Pruned, prune
from .sizes import FolderSize, TableSize, dagster_sizes, folder_sizes, table_sizes

__all__ = ["FolderSize", "Pruned", "TableSize", "dagster_sizes", "folder_sizes", "prune", "table_sizes"]
