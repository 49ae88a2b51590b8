"""Runs go to Celery's workers, and one that a person ends is known as ended by a person.

Dagster's own launcher for Celery stops the worker without a word in the run's history: the run then reads as one that
failed for a reason that nobody knows. Not here: what a worker is (`worker`).
"""

from dagster_celery.launcher import CeleryRunLauncher


class Launcher(CeleryRunLauncher):
    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return super().terminate(run_id)
