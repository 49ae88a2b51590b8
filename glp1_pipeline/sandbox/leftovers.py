"""What a killed supervisor leaves running: written down while it runs, ended by the next start.

What does not belong here: the ordinary ending of programs (supervisor.py).
"""

import json
import signal
from collections.abc import Sequence
from pathlib import Path

from glp1_pipeline.adapters import processes
from glp1_pipeline.adapters.processes import Process

_FILE = "processes.json"


def record(folder: Path, programs: Sequence[tuple[Process, signal.Signals]]) -> None:
    boot = processes.boot()
    rows = [{"pid": p.pid, "started": p.started, "boot": boot, "signal": int(number)} for p, number in programs]
    draft = folder / f"{_FILE}.new"
    draft.write_text(json.dumps(rows), "ascii")
    draft.replace(folder / _FILE)


def forget(folder: Path) -> None:
    (folder / _FILE).unlink(missing_ok=True)


def end(folder: Path) -> int:
    """Ends what is still there, and says how many. A number may be someone else's by now: a program is known by its
    start too, its children by the folder they stand in."""
    try:
        rows = json.loads((folder / _FILE).read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return 0
    here, left = str(folder.resolve()), list[Process]()
    for row in rows:
        if row["boot"] != processes.boot():
            continue
        for process in processes.family(row["pid"]):
            is_leader = process.pid == row["pid"]
            if is_leader and process.started == row["started"]:
                processes.signal_all([process], signal.Signals(row["signal"]))
                left.append(process)
            elif not is_leader and processes.current_folder(process.pid) == here:
                processes.signal_all([process], signal.SIGTERM)
                left.append(process)
    processes.signal_all(processes.wait_gone(left, 5), signal.SIGKILL)
    processes.wait_gone(left, 5)
    forget(folder)
    return len(left)
