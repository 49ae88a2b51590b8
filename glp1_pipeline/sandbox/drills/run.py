"""Running drills: refuse what is not safe, make an installation, run one after another, prove, write the evidence.

Not here: what is broken (the drills), and the table of it all (`scorecard`).
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from .drill import Drill
from .ending import DrillFailed, NotRun
from .programs import SiteError
from .proof import lines_of_files
from .scene import Scene
from .site import Site

ELSEWHERE = ("GLP1_EHR_URL", "GLP1_CRM_URL", "GLP1_DATABASE_URL", "GLP1_BROKER_URL")
TAKEN_ALONG = (
    "GLP1_EHR_URL", "GLP1_EHR_CLIENT_ID", "GLP1_EHR_CLIENT_SECRET", "GLP1_EHR_CLIENT_KEY", "GLP1_EHR_SCOPE",
)  # fmt: skip
SAFE = "GLP1_DRILL_SAFE"


class NotSafe(ConnectionError):
    """These settings lead to a system that nobody marked as one to be broken."""


@dataclass
class Evidence:
    """What one drill showed. Counts, names and times; nothing of a patient."""

    drill: str
    area: str
    what: str
    outcome: Literal["passed", "failed", "not run"]
    began_at: str
    seconds: float
    steps: list[str]
    detection_seconds: float | None = None
    detected_by: str = ""
    recovery_seconds: float | None = None
    healed_by: Literal["itself", "us"] = "us"
    lost: int | None = None
    doubled: int | None = None
    alert: str | None = None
    why_no_alert: str = ""
    is_raised: bool = False
    is_resolved: bool = False
    faults: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    target: str = "sandbox"


def safe_settings(env: Mapping[str, str]) -> dict[str, str]:
    """The settings that drills take over from the environment: none, unless it is marked safe. NotSafe where it leads
    to another system and nobody said that it may be broken."""
    named = [name for name in ELSEWHERE if env.get(name, "").strip()]
    if not named:
        return {}
    if env.get(SAFE, "").strip() != "1":
        raise NotSafe(
            f"Drills break what they are pointed at, and {', '.join(named)} points elsewhere. Unset it to use the"
            f" sandbox, or set {SAFE}=1 if that EHR is a test system whose content may be written and thrown away."
        )
    return {name: env[name] for name in TAKEN_ALONG if env.get(name, "").strip()}


def run_drills(drills: Sequence[Drill], folder: Path, say: Callable[[str], None]) -> Iterator[Evidence]:
    """One after another, each file of evidence written into `folder` before the next begins.

    Drills of the common kind share the servers of one installation, each with a database, a CRM and people of its own;
    those that say so get an installation of their own.
    """
    taken = safe_settings(os.environ)
    with ExitStack() as shared:
        site: Site | None = None
        for drill in [d for d in drills if not _is_apart(d)]:
            site = site or shared.enter_context(_begin(taken, say))
            evidence = run_one(drill, site, say)
            write(evidence, folder)
            yield evidence
    for drill in [d for d in drills if _is_apart(d) and not d.needs_dagster]:
        with _begin(taken | dict(drill.settings), say) as own:
            evidence = run_one(drill, own, say)
        write(evidence, folder)
        yield evidence
    if whole := [d for d in drills if d.needs_dagster]:
        from .whole import StackSite

        say("starting the whole stack, Dagster with it …")
        with StackSite() as stack:
            for drill in whole:
                evidence = run_one(drill, stack, say)
                write(evidence, folder)
                yield evidence


def _is_apart(drill: Drill) -> bool:
    return drill.is_alone or bool(drill.settings) or drill.needs_dagster


def _begin(env: Mapping[str, str], say: Callable[[str], None]) -> Site:
    say("starting Postgres, the EHR, the CRM and the pipeline …")
    return Site(env)


def run_one(drill: Drill, site: Site, say: Callable[[str], None]) -> Evidence:
    """Run one drill on a site that is up; never raises for what the drill shows."""
    say(f"\n{drill.name}: {drill.what}")
    began = time.monotonic()
    evidence = Evidence(
        drill.name, drill.area, drill.what, "failed", _now(), 0.0, [], alert=drill.alert,
        why_no_alert=drill.why_no_alert, target="another EHR" if site.foreign_ehr else "sandbox",
    )  # fmt: skip
    site.reset()
    scene = Scene(drill.alert, site, say)
    with site.connect() as connection:
        scene.n_lines = lines_of_files(connection)
    try:
        drill.run(scene)
        evidence.faults += _faults(scene)
        evidence.outcome = "failed" if evidence.faults else "passed"
    except NotRun as reason:
        evidence.outcome, evidence.faults = "not run", [str(reason)]
    except (DrillFailed, SiteError) as fault:
        evidence.faults.append(str(fault))
    except Exception as error:  # noqa: BLE001 - its text may quote what was fed; the next drill must run all the same
        evidence.faults.append(f"the drill itself failed: {type(error).__name__} at {_place(error)}")
    if evidence.outcome != "passed":  # whatever hangs must not spoil the next one
        site.stop_loops(signal.SIGKILL)
    evidence.steps, evidence.seconds = scene.steps, round(time.monotonic() - began, 1)
    evidence.detection_seconds, evidence.detected_by = scene.detection_seconds, scene.detected_by
    evidence.recovery_seconds = scene.recovery_seconds
    evidence.healed_by = "us" if scene.healed_at else "itself"
    evidence.is_raised, evidence.is_resolved = scene.is_raised, scene.is_resolved
    if "proof" in scene.__dict__:
        evidence.lost, evidence.doubled, evidence.counts = scene.lost(), scene.doubled(), scene.proof.counts
    for line in told(evidence):
        say(line)
    return evidence


def _faults(scene: Scene) -> list[str]:
    """Everything that must hold of any drill."""
    found = []
    if not scene.detected_by:
        found.append("the drill did not show that anything noticed it")
    if scene.recovery_seconds is None:
        found.append("the drill did not wait until all was settled")
    if scene.alert and not scene.is_raised:
        found.append(f"alert {scene.alert} was not raised")
    if scene.alert and not scene.is_resolved:
        found.append(f"alert {scene.alert} did not end by itself")
    found += [f"lost: {n} {what}" for what, n in scene.proof.lost.items() if n]
    return found + [f"doubled: {n} {what}" for what, n in scene.proof.doubled.items() if n]


def _place(error: BaseException) -> str:
    trace, place = error.__traceback__, "?"
    while trace is not None:
        code = trace.tb_frame.f_code
        if "drills" in code.co_filename:
            place = f"{Path(code.co_filename).stem}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def told(evidence: Evidence) -> list[str]:
    """What a person reads when it is over."""
    if evidence.outcome == "not run":
        return [f"  NOT RUN: {evidence.faults[0]}"]
    alert = "raised and ended by itself" if evidence.is_resolved else "raised" if evidence.is_raised else "NOT RAISED"
    lines = [
        f"  detection {seconds(evidence.detection_seconds)}, recovery {seconds(evidence.recovery_seconds)}"
        f" (healed by {evidence.healed_by}), lost {number(evidence.lost)}, doubled {number(evidence.doubled)};"
        f" alert {f'{evidence.alert}: {alert}' if evidence.alert else f'not needed: {evidence.why_no_alert}'}"
    ]
    lines += [f"  FAULT: {fault}" for fault in evidence.faults]
    return [*lines, f"  {evidence.outcome.upper()} in {evidence.seconds:.1f} s"]


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def number(value: int | None) -> str:
    return "?" if value is None else str(value)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# ---- evidence on disk


def write(evidence: Evidence, folder: Path) -> Path:
    """One file of JSON for each run of a drill."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"drill-{evidence.drill}-{evidence.began_at.replace(':', '')[:17]}.json"
    path.write_text(json.dumps(asdict(evidence), indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def newest(folder: Path) -> dict[str, dict[str, Any]]:
    """The last evidence of each drill, by its name."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("drill-*.json")):
        one = json.loads(path.read_text("utf-8"))
        if one["drill"] not in found or one["began_at"] >= found[one["drill"]]["began_at"]:
            found[one["drill"]] = one
    return found
