"""The peer: dlt loads an NDJSON file into Postgres. Run by the Python of the peer's own virtual environment.

Not here: anything of ours. Called as `peer_dlt.py FILE STYLE`; the database's address comes in PEER_URL; says what it
took as one line of JSON. Time is that of the pipeline's run alone: importing dlt is not counted.
"""

import json
import os
import resource
import sys
import tempfile
import time
from typing import Any

path, style = sys.argv[1:]
folder = tempfile.TemporaryDirectory(prefix="glp1_bench_dlt_")
os.environ |= {"DLT_DATA_DIR": folder.name, "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}
if style != "defaults":
    # Several processes normalise, one file for each; rows go to Postgres by COPY.
    os.environ |= {
        "EXTRACT__DATA_WRITER__BUFFER_MAX_ITEMS": "5000",
        "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "5000",
        "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": "5000",
        "NORMALIZE__WORKERS": str(len(os.sched_getaffinity(0))),
        "NORMALIZE__START_METHOD": "fork",
        "LOAD__WORKERS": str(2 * len(os.sched_getaffinity(0))),
    }

import dlt  # noqa: E402 # pyright: ignore[reportMissingImports] - reads the settings above
from dlt.common.json import json as fast_json  # noqa: E402 # pyright: ignore[reportMissingImports] - orjson

bad = 0


def rows():
    global bad
    batch = []
    with open(path, "rb") as file:
        for line in file:
            try:
                row = fast_json.loadb(line)
            except ValueError:
                bad += 1
                continue
            if not isinstance(row, dict):
                bad += 1
                continue
            batch.append(row)
            if len(batch) == 1000:
                yield batch
                batch = []
    if batch:
        yield batch


options: dict[str, Any] = {"name": "submissions", "write_disposition": "append"}
if style == "columns":  # one table: an answer a column, lists as JSON
    options["max_table_nesting"] = 0
elif style == "document":  # one table: the envelope in columns, all of `data` as one JSON column
    options |= {"max_table_nesting": 0, "columns": {"data": {"data_type": "json"}}}
pipeline = dlt.pipeline(
    "peer",
    pipelines_dir=folder.name,
    destination=dlt.destinations.postgres(os.environ["PEER_URL"]),
    dataset_name=f"peer_{style}",
)
began, cpu = time.monotonic(), time.process_time()
pipeline.run(dlt.resource(rows, **options), loader_file_format=None if style == "defaults" else "csv")
seconds = time.monotonic() - began
cpu = time.process_time() - cpu
own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
with pipeline.sql_client() as client:
    [[count]] = client.execute_sql("select count(*) from submissions")
print(
    json.dumps(
        {
            "seconds": seconds,
            "cpu_seconds": cpu + children.ru_utime + children.ru_stime,
            "peak_mb": max(own.ru_maxrss, children.ru_maxrss) / 1024,
            "rows_in_all": count,
            "passed_over": bad,
            "dlt": dlt.__version__,
        }
    )
)
folder.cleanup()
