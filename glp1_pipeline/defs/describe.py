"""How our tables look in the Dagster UI: description, owner, group, kinds and columns, stated once.

Here: turning a declared table into an asset's face. Not here: what an asset does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from ..adapters import tables
from .owners import INTEGRATION

TABLES: dict[str, Table] = {table.name: table for table in tables.metadata.tables.values()}
POSTGRES = postgresql.dialect()


def spec(
    name: str,
    *,
    group: str,
    why: str,
    owner: str = INTEGRATION,
    deps: tuple = (),
    kinds: tuple[str, ...] = ("postgres",),
    fresh_for: timedelta | None = None,
    **more: Any,
) -> dg.AssetSpec:
    """The face of a table: its grain comes from the table itself, `why` says what a newcomer should know."""
    table = TABLES[name]
    columns = [
        dg.TableColumn(
            c.name,
            c.type.compile(dialect=POSTGRES).lower(),
            description=c.comment,
            constraints=dg.TableColumnConstraints(
                nullable=bool(c.nullable), unique=bool(c.primary_key) and len(table.primary_key) == 1
            ),
        )
        for c in table.columns
    ]
    policy = None
    if fresh_for is not None:
        policy = dg.FreshnessPolicy.time_window(fail_window=fresh_for, warn_window=fresh_for / 2)
    return dg.AssetSpec(
        name,
        deps=list(deps),
        description=f"{why}\n\n*{table.comment}* Table: `{table.schema}.{name}`.",
        group_name=group,
        owners=[owner],
        kinds={"python", *kinds},
        metadata={"dagster/column_schema": dg.TableSchema(columns), "dagster/table_name": f"{table.schema}.{name}"},
        freshness_policy=policy,
        **more,
    )
