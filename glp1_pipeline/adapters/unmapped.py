"""Spellings that no code set knows, counted over everything that was charted; and the view that counts them.

Here: the view's own text (the migration makes it), and reading it for a person or for an asset. Not here: how an
answer comes to be unmapped (`domain.mapping`): its value document names the set and the spelling.

A line in codes.csv and a replay mend every answer; what is mended is no longer in the view.
"""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString, NamedTuple

import psycopg

INDEX: LiteralString = (
    "create index patient_values_unmapped on phi.patient_values (received_at)"
    " where strpos(doc::text, '\"unmapped\":') > 0"
)
"""Holds only the rows that have one: the view's cost is theirs, however large the table is. The text is looked at, not
the document: in what a person typed a quote never stands alone; and not by LIKE, which takes each letter in turn."""
VIEW: LiteralString = (
    "create view phi.unmapped_codes as select s.key as code_set, w.spelling, count(*) as answers,"
    " array_agg(distinct f.key order by f.key) as fields, min(v.received_at) as first_seen_at,"
    " max(v.received_at) as last_seen_at from phi.patient_values v cross join lateral jsonb_each(v.doc::jsonb) f"
    " cross join lateral jsonb_each(f.value -> 'unmapped') s"
    " cross join lateral jsonb_array_elements_text(s.value) w (spelling)"
    " where strpos(v.doc::text, '\"unmapped\":') > 0 group by s.key, w.spelling"
)
COMMENT: LiteralString = (
    "comment on view phi.unmapped_codes is 'One row per code set and spelling that it does not know: how many answers"
    " have it, in which fields, since when. A line in codes.csv and a replay mend them.'"
)
DROP: tuple[LiteralString, ...] = ("drop view phi.unmapped_codes", "drop index phi.patient_values_unmapped")


class Spelling(NamedTuple):
    """A spelling as a person typed it, folded: PHI, for the terminal of one who may see it and nowhere else."""

    code_set: str
    spelling: str
    answers: int
    fields: list[str]
    first_seen_at: datetime
    last_seen_at: datetime


class Unmapped(NamedTuple):
    """What one code set lacks: counts alone."""

    spellings: int
    answers: int
    first_seen_at: datetime
    last_seen_at: datetime


def unmapped_spellings(connection: psycopg.Connection, limit: int) -> list[Spelling]:
    """The most frequent first."""
    rows = _ask(
        connection,
        "select code_set, spelling, answers, fields, first_seen_at, last_seen_at from phi.unmapped_codes"
        " order by answers desc, code_set, spelling limit %s",
        limit,
    )
    return [Spelling(*row) for row in rows]


def count_unmapped(connection: psycopg.Connection) -> dict[str, Unmapped]:
    """Code set -> what it lacks, without a spelling."""
    rows = _ask(
        connection,
        "select code_set, count(*), sum(answers)::bigint, min(first_seen_at), max(last_seen_at)"
        " from phi.unmapped_codes group by code_set order by code_set",
    )
    return {code_set: Unmapped(*counts) for code_set, *counts in rows}


def _ask(connection: psycopg.Connection, question: LiteralString, *values: int) -> list[tuple]:
    """By the index. Left to itself the planner reads every row: it does not know that a document lies outside of its
    row and is unpacked to be looked at."""
    with connection.transaction():
        connection.execute("set local enable_seqscan = off")
        return connection.execute(question, values).fetchall()
