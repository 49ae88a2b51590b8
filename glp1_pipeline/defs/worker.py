"""The Celery app whose workers run Dagster's runs: imported once, so that a run pays no Python start.

Here: the app and what it imports before it forks. Not here: which broker (settings) and how it is started (`sandbox`).
"""

import logging

import dagster_postgres  # noqa: F401 - warm before the fork
from celery import Celery
from dagster._core.execution import api as _  # noqa: F401 - warm before the fork
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task, create_task

from .. import definitions  # noqa: F401 - warm before the fork
from ..adapters.settings import Settings
from ..domain.charting import make_ready
from ..domain.failures import where
from .resources import contract

try:
    make_ready(contract())  # before the fork, too: else the first drop of each process waits for it
except Exception as error:  # noqa: BLE001 - a run says whose fault it is; a worker that does not start says nothing
    logging.getLogger(__name__).warning("the contract is not made ready: %s", where(error))
_broker = Settings.from_env().broker()
app = Celery("dagster", broker=_broker.url, backend=_broker.backend)
app.conf.update(
    **_broker.celery,
    broker_connection_retry_on_startup=True,
    task_default_queue="dagster",
    task_track_started=True,  # else run monitoring takes a healthy run for lost
    worker_prefetch_multiplier=1,
    task_acks_late=True,
    worker_max_tasks_per_child=500,  # a slow leak anywhere never grows for longer than this
    result_expires=3600,
)
execute_plan, execute_job, resume_job = create_task(app), create_execute_job_task(app), create_resume_job_task(app)
