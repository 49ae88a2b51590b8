"""Dagster's instance of the sandbox: the file dagster.yaml, and the variables that its processes need.

What does not belong here: definitions (defs/), and the starting of processes (stack.py).
"""

from pathlib import Path
from typing import Any

import yaml

from glp1_pipeline.adapters.settings import Settings

WORKSPACE = Path(__file__).resolve().parents[2] / "workspace.yaml"


def write_dagster_yaml(settings: Settings) -> Path:
    folder = settings.home / "dagster"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(yaml.safe_dump(_instance(settings), sort_keys=False), "utf-8")
    return folder


def dagster_env(settings: Settings) -> dict[str, str]:
    """For every process that opens the instance, our own command line among them. Holds passwords."""
    broker = settings.broker()
    return {
        "DAGSTER_HOME": str(settings.home / "dagster"),
        "GLP1_HOME": str(settings.home),
        "GLP1_LANDING_URL": settings.landing_url,
        "GLP1_DAGSTER_URL": settings.dagster_url(),
        "GLP1_DROP_SOURCES": " ".join(settings.drop_sources or _stood_for(settings)),
        "GLP1_BROKER": broker.url,
        "GLP1_BROKER_RESULTS": broker.backend,
        "DAGSTER_REDACT_USER_CODE_ERRORS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _stood_for(settings: Settings) -> list[str]:
    """Whose word the sandbox takes from drops, as its samples tell it: of each system that is not a real one here."""
    ehr = settings.ehr_url
    real = {"/ehr/": ehr, "/crm/": settings.crm_url, "/pharmacy/": ehr, "/pa/": ehr}
    return [source for source, url in real.items() if url is None]


def _instance(settings: Settings) -> dict[str, Any]:
    ticks = settings.keep.ticks or -1  # Dagster's word for: never
    return {
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        "storage": {
            "custom": {
                "module": "glp1_pipeline.defs.storage",
                "class": "Storage",
                "config": {"postgres_url": {"env": "GLP1_DAGSTER_URL"}},
            }
        },
        # The queue of Dagster's other coordinator would add a second to each run. One run takes all that is pending,
        # so there is nothing to queue.
        "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
        # A worker that has everything imported already takes the run.
        "run_launcher": {
            "module": "glp1_pipeline.defs.launcher",
            "class": "Launcher",
            "config": {
                "broker": {"env": "GLP1_BROKER"},
                "backend": {"env": "GLP1_BROKER_RESULTS"},
                "default_queue": "dagster",
                "config_source": settings.broker().celery,
            },
        },
        # A killed worker leaves its run "started": ended here after an hour. What is pending lies in our own tables and
        # does not wait for that. The worker must set task_track_started, or a healthy run would be taken for lost.
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": 120,
            "max_runtime_seconds": 3600,
            "poll_interval_seconds": 20,  # by itself 120, and a run that lost its worker before it began is waited for
        },
        "sensors": {"use_threads": True, "num_workers": 12},
        # The default one keeps what a step prints, and the errors that are redacted elsewhere in clear.
        "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
        # Dagster prunes its ticks by itself; its runs and their events are pruned by our job `maintenance`.
        "retention": {
            "sensor": {"purge_after_days": {"skipped": 1, "started": 1, "success": ticks, "failure": ticks}},
            "schedule": {"purge_after_days": ticks},
        },
    }
