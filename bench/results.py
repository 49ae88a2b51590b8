"""Figures as a table to read and as a file to keep. Not here: how they are measured."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What the figures were taken on, in plain words, and how busy it was."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory),
        "system": f"{platform.system()} on {platform.machine()}",
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    cells = [list(columns), *[[show(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    print(f"\n{title}\n")
    for row in cells:
        first, *rest = row
        print("  " + "  ".join([first.ljust(widths[0]), *[c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)]]))
    print(flush=True)


def show(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def keep(bench: str, figures: dict[str, Any], before: dict[str, Any]) -> Path:
    """`before` is the machine when the bench began: its load then, and now, tell what it was shared with."""
    FOLDER.mkdir(exist_ok=True)
    at = datetime.now(UTC)
    path = FOLDER / f"{bench}-{at:%Y%m%dT%H%M%SZ}.json"
    said = {"bench": bench, "at": at.isoformat(timespec="seconds"), "machine": before, "load_after": os.getloadavg()}
    path.write_text(json.dumps(said | {"figures": figures}, indent=1) + "\n", "utf-8")
    print(f"Load average {before['load_average'][0]} at the start, {os.getloadavg()[0]:.2f} at the end, "
          f"{before['cores']} cores. Kept in {path}", flush=True)  # fmt: skip
    return path


def percentile(numbers: Sequence[float], share: float) -> float:
    """Between the two nearest, as usual."""
    ordered = sorted(numbers)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
