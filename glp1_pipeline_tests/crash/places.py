"""The places of our code that change the world, found by reading it: a new one must be walked by a sweep, or be named here.

Each function of the adapters that opens a transaction, commits, renames, removes or flushes. What writes a row by itself,
outside of a transaction, is found by watching alone (`tracer`).
"""

from __future__ import annotations

import ast
from pathlib import Path

import glp1_pipeline

ROOM = Path(glp1_pipeline.__file__).parent / "adapters"
ON_ROWS = frozenset({"transaction", "commit"})
ON_FILES = {"rename": 1, "replace": 1, "unlink": 0, "link": None, "remove": None, "fsync": None}
"""Functions of `os`; and with so many arguments those of a path."""

READS = frozenset({
    "balance.balance", "balance.fingerprint", "crm.cursor.wait_for_due",
    "downtime.bring_back.bring_back", "downtime.worklist.read_worklist", "ehr.echoes.copies", "ehr.hints.wait_for_hint",
    "hops.measure", "outbox.attend.conflicts", "outbox.attend.pending", "outbox.attend.wait_for_due",
    "outbox.lanes.earlier_bodies", "outbox.lanes.heard_bodies", "plans.is_free", "unmapped._ask",
})  # fmt: skip
"""A transaction in which nothing is changed, or all is taken back: a dry run."""
KILLED_BY = {
    "alerts.away.is_over": "test_store_away.py",
    "alerts.look._look": "test_alerts.py",
    "backup.make": "test_backup.py",
    "backup_file._leave": "test_backup.py",
    "backup_file.close": "test_backup.py",
}
"""By the test that kills it there."""
BY_ITSELF = {
    "alerts.away._write": "replaced when it is whole; who is killed before tells once more, under the same id if it told",
    "backup_file._sweep": "removes what a killed backup left half-made; the next one goes on",
    "broker._put": "a message to a worker, whole or not there: a run without one has begun nothing, and is ended",
    "charts.run._chart_next": "events that failed wait until they are marked, and fail again",
    "cipher.create": "the first start: whole or not there, and whoever comes second reads what is there",
    "dbt.build": "removes what the last build told; dbt replaces each table in a transaction of its own",
    "audit.note": "who wants something and why, written before it is done: a line too many is no harm",
    "downtime.pack._write": "paper for people: linked into its place when it is whole, and made anew",
    "ehr.changes._end_conflicts": "one statement under the lane's lock; read again, it says the same",
    "health_page.write_page": "replaced when the new page is whole, and written anew in two minutes",
    "keys._keep": "the escrow of a key: the same again is fine, and the key stays in the ring until it is there",
    "landing.clear": "when a drill begins",
    "landing.put": "the producer's: a file has its name when it is whole, and what was dropped twice counts once",
    "postgres.end_leftovers": "the start of the embedded server, which looks what is there each time",
    "postgres_cluster._initdb": "the start of the embedded server, which looks what is there each time",
    "postgres_cluster._write": "the start of the embedded server, which writes its files each time",
    "postgres_place._copy_binaries": "the start of the embedded server, which looks what is there each time",
    "resealing._reseal_archive": "removes what a killed resealing left half-made",
    "retention.dagster_rows._delete": "only what may go; the next round goes on",
    "secrets.adopt": "whole or not there; the restore that was killed is done again",
    "secrets.get_or_create": "whole or not there; whoever comes second reads what is there",
    "state.keep": "ports and the like, which the next start chooses anew",
}
"""Why nothing is lost or doubled where it dies."""


def places() -> set[str]:
    """Such functions by their module and name, as the tracer calls them without `adapters.`"""
    return {
        f"{'.'.join(file.relative_to(ROOM).with_suffix('').parts)}.{function.name}"
        for file in ROOM.rglob("*.py")
        if "migrations" not in file.parts
        for function in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(function, ast.FunctionDef) and any(map(_changes, ast.walk(function)))
    }


def _changes(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    name, of = node.func.attr, ast.unparse(node.func.value)
    return name in ON_ROWS or (
        name in ON_FILES and (of == "os" or (_positional(node) == ON_FILES[name] and of != "self"))
    )


def _positional(call: ast.Call) -> int:
    return len(call.args) if not any(word.arg in ("tzinfo", "count") for word in call.keywords) else -1
