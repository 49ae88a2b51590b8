"""The door to dbt: builds the metrics of `analytics` from `ops`, in a process of its own, and reads what came of it.

In its own process, since dbt takes seconds to import: whoever asks pays nothing for it. Not here: what is counted
(`dbt_project`), and how it looks in the UI (`defs.metrics`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
SCHEMA = "analytics"
REF = re.compile(r"ref\('(\w+)'\)")
SOURCE = re.compile(r"source\('ops', '(\w+)'\)")
SECONDS = 900.0


class DbtFailure(RuntimeError):
    """dbt ended without having built all; says which models and tests, never what the database said of a row."""


@dataclass(frozen=True)
class Metric:
    """One file of models/marts, with what people said of it."""

    name: str
    kpi: str
    description: str
    headline: tuple[str, ...]
    """Columns that plot."""
    needs_enough: tuple[str, ...]
    """Those of them that say nothing where too few are counted."""
    by: str | None
    """A column that splits each window."""
    tables: tuple[str, ...]
    """Tables of `ops` that it is counted from."""


@dataclass(frozen=True)
class Built:
    """What came of one build: per model and test of it how it ended, and seconds in all."""

    models: Mapping[str, str]
    failed_tests: Mapping[str, Sequence[str]]
    """Model -> names of its tests that did not hold."""
    seconds: float


def metrics(project: Path = PROJECT) -> tuple[Metric, ...]:
    """All metrics, by name; read from the project's own files, without dbt."""
    files = {path.stem: path.read_text("utf-8") for path in sorted((project / "models").rglob("*.sql"))}
    declared = {
        one["name"]: one for one in yaml.safe_load((project / "models/marts/marts.yml").read_text("utf-8"))["models"]
    }
    found = []
    for name in sorted(path.stem for path in (project / "models/marts").glob("*.sql")):
        meta = declared[name]["meta"]
        read, waiting = set[str](), [name]
        while waiting:
            content = files[waiting.pop()]
            read |= set(SOURCE.findall(content))
            waiting += REF.findall(content)
        found.append(
            Metric(
                name, meta["kpi"], declared[name]["description"].strip(), tuple(meta["headline"]),
                tuple(meta["needs_enough"]), meta.get("by"), tuple(sorted(read)),
            )
        )  # fmt: skip
    return tuple(found)


def build(url: str, folder: Path, variables: Mapping[str, Any] | None = None, project: Path = PROJECT) -> Built:
    """Make every table of `analytics` anew and test it, as the role that `url` names. `folder`: for dbt's own files.

    Each table is replaced in one transaction: whoever dies in between leaves the last ones. DbtFailure where one was
    not made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    results = folder / "run_results.json"
    results.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "dbt.cli.main", "--quiet", "--no-use-colors", "build"]
    argv += ["--log-level-file", "info", "--log-file-max-bytes", "1000000"]
    argv += ["--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(folder)]
    argv += ["--log-path", str(folder), "--vars", orjson.dumps(dict(variables or {})).decode()]
    try:
        done = subprocess.run(
            argv, env=_environment(url), cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DbtFailure(f"dbt did not end within {SECONDS:.0f} s") from None
    if not results.exists():
        raise DbtFailure(f"dbt ended with {done.returncode} before it built anything: see {folder / 'dbt.log'}")
    built = _read(orjson.loads(results.read_bytes()), orjson.loads((folder / "manifest.json").read_bytes()))
    if missing := sorted(name for name, status in built.models.items() if status != "success"):
        raise DbtFailure(f"not made: {', '.join(missing)}; see {folder / 'dbt.log'}")
    return built


def _read(results: dict[str, Any], manifest: dict[str, Any]) -> Built:
    models, failed = {}, {}
    for one in results["results"]:
        kind, _, name = one["unique_id"].split(".")[:3]
        if kind == "model":
            models[name] = one["status"]
        elif kind == "test" and one["status"] != "pass":
            node = manifest["nodes"][one["unique_id"]]
            for on in node["depends_on"]["nodes"]:
                failed.setdefault(on.split(".")[2], []).append(node["name"])
    return Built(models, failed, float(results["elapsed_time"]))


def _environment(url: str) -> dict[str, str]:
    told = conninfo_to_dict(url)
    # Nothing of ours beside: dbt needs no key and no other address.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    given = {
        "GLP1_DBT_HOST": told.get("host"), "GLP1_DBT_PORT": told.get("port", "5432"), "GLP1_DBT_USER": told.get("user"),
        "GLP1_DBT_DATABASE": told.get("dbname"), "GLP1_DBT_SSLMODE": told.get("sslmode", "prefer"),
        "GLP1_DBT_SSLROOTCERT": told.get("sslrootcert", ""), "DBT_ENV_SECRET_GLP1_PASSWORD": _password(told),
        "DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }  # fmt: skip
    return {**kept, **{name: str(value or "") for name, value in given.items()}}


def _password(told: Mapping[str, Any]) -> str:
    """The password itself, or as the file that the address names has it."""
    if told.get("password") or not told.get("passfile"):
        return str(told.get("password") or "")
    wanted = [told.get("host"), told.get("port", "5432"), told.get("dbname"), told.get("user")]
    for line in Path(str(told["passfile"])).read_text("utf-8").splitlines():
        *place, password = re.split(r"(?<!\\):", line)
        if len(place) == 4 and all(p in ("*", str(w)) for p, w in zip(place, wanted, strict=True)):
            return re.sub(r"\\(.)", r"\1", password)
    return ""


def last_30_days(connection: Connection[Any], metric: Metric) -> list[dict[str, Any]]:
    """The newest window of a metric: one row, or one for each value of the column that splits it."""
    statement = sql.SQL("select * from {} where window_kind = 'last_30_days'").format(
        sql.Identifier(SCHEMA, metric.name)
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement).fetchall()
