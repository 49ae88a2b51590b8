"""The scorecard: of each drill the newest evidence, as a table for a terminal and as a page for the docs.

Not here: running drills (`run`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .drill import Drill
from .run import number

HEADS = ("drill", "outcome", "detected (s)", "recovered (s)", "lost", "doubled", "alert")
Row = Mapping[str, Any]
INTRODUCTION = """\
# Scorecard of the drills

Run on {when}. Made by `glp1 drill run all` and then `glp1 drill score --write docs/scorecard.md`: the newest evidence
of each drill, of which `glp1 drill list` tells more. Do not edit it.

**{sum}.**

*Detected* counts from the fault to the open incident, by the real alert rules with less patience (a minute of
`contracts/alerts.yaml` is a fifth of a second), or, where nobody has to be called, to the first sign in our records.
*Recovered* counts from the repair (or from the fault, where it heals by itself) until nothing is on its way any more;
waits between tries are the real ones. *Lost* and *doubled* come from the ledger's balance, from every resource of the
EHR read back, and from every contact of the CRM. All in seconds, on two cores that other
work shared.
"""


def ordered(found: Mapping[str, Row], drills: Iterable[Drill]) -> list[dict[str, Any]]:
    """The newest evidence, area by area in the order of the drills; a drill that never ran is told as such."""
    rows = []
    drills = list(drills)
    areas = list(dict.fromkeys(drill.area for drill in drills))
    for drill in sorted(drills, key=lambda drill: areas.index(drill.area)):
        nothing = {"drill": drill.name, "area": drill.area, "what": drill.what, "outcome": "never ran"}
        rows.append({**nothing, **found.get(drill.name, {})})
    return rows


def totals(rows: Iterable[Row]) -> dict[str, int]:
    """How many drills by outcome, and what they lost and doubled in all."""
    rows = list(rows)
    return {
        "drills": len(rows),
        **{name: sum(r["outcome"] == name for r in rows) for name in ("passed", "failed", "not run", "never ran")},
        "lost": sum(r.get("lost") or 0 for r in rows),
        "doubled": sum(r.get("doubled") or 0 for r in rows),
    }


def is_good(rows: Iterable[Row]) -> bool:
    """Nothing failed, lost or doubled, and everything was tried."""
    all_ = totals(rows)
    return not (all_["failed"] or all_["never ran"] or all_["lost"] or all_["doubled"])


def cells(row: Row) -> tuple[str, ...]:
    if row["outcome"] in ("not run", "never ran"):
        return row["drill"], row["outcome"], "-", "-", "-", "-", "; ".join(row.get("faults", ()))
    return (
        row["drill"], row["outcome"], *(f"{v:.1f}" if (v := row.get(name)) is not None else "-"
        for name in ("detection_seconds", "recovery_seconds")),
        number(row.get("lost")), number(row.get("doubled")), _alert(row),
    )  # fmt: skip


def _alert(row: Row) -> str:
    if not row.get("alert"):
        return f"not needed ({row.get('detected_by', '')})"
    return f"{row['alert']}: " + (
        "raised, ended by itself" if row.get("is_resolved") else "raised" if row.get("is_raised") else "NOT RAISED"
    )


def as_text(rows: list[dict[str, Any]]) -> list[str]:
    table = [HEADS, *map(cells, rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEADS) - 1)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(line, widths, strict=False)), line[-1]]) for line in table]
    return [*lines, *(f"FAULT  {name}: {fault}" for name, fault in faults(rows)), sum_up(rows)]


def faults(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["drill"], fault) for row in rows if row["outcome"] == "failed" for fault in row["faults"]]


def sum_up(rows: list[dict[str, Any]]) -> str:
    all_ = totals(rows)
    return (
        f"{all_['passed']} of {all_['drills']} passed, {all_['failed']} failed, {all_['not run']} cannot be shown on"
        f" this machine, {all_['never ran']} never ran; lost {all_['lost']}, doubled {all_['doubled']}"
    )


def by_area(rows: list[dict[str, Any]]) -> list[str]:
    """The whole in a few lines, which the README shows too."""
    lines = [
        "| what breaks | drills | passed | detected within (s) | recovered within (s) | lost | doubled | alerts |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for area in dict.fromkeys(row["area"] for row in rows):
        of = [row for row in rows if row["area"] == area]
        all_ = totals(of)
        slowest = (
            max((row[name] for row in of if row.get(name) is not None), default=None)
            for name in ("detection_seconds", "recovery_seconds")
        )
        needed = [row for row in of if row.get("alert")]
        told = (
            area_title(area), all_["drills"], all_["passed"], *("-" if v is None else f"{v:.1f}" for v in slowest),
            all_["lost"], all_["doubled"], f"{sum(bool(row.get('is_raised')) for row in needed)} of {len(needed)}",
        )  # fmt: skip
        lines.append("| " + " | ".join(map(str, told)) + " |")
    return lines


def area_title(area: str) -> str:
    return "EHR" if area == "ehr" else area.capitalize()


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The page docs/scorecard.md."""
    days = sorted({row["began_at"][:10] for row in rows if "began_at" in row})
    when = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "never"
    page = INTRODUCTION.format(when=when, sum=sum_up(rows)).splitlines()
    page += ["", *by_area(rows)]
    area = None
    for row in rows:
        if row["area"] != area:
            area = row["area"]
            page += [
                "",
                f"## {area_title(area)}",
                "",
                "| What happens | " + " | ".join(HEADS[1:]) + " |",
            ]
            page += ["|---|---|--:|--:|--:|--:|---|"]
        _, *rest = cells(row)
        page.append(f"| {row['what']} (`{row['drill']}`) | " + " | ".join(rest) + " |")
    told = [f"- `{name}`: {fault}" for name, fault in faults(rows)]
    return "\n".join([*page, *(["", "## Faults", "", *told] if told else []), ""])
