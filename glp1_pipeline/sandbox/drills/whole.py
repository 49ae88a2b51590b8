"""The installation of drills that happen to Dagster itself: the whole stack of the sandbox, as `glp1 up` starts it.

Not here: the common kind, whose servers are the same without Dagster (`site`).
"""

from __future__ import annotations

import signal
from types import TracebackType

from glp1_pipeline.adapters import processes
from glp1_pipeline.adapters.state import free_port

from ..stack import Stack
from .site import Site


class StackSite(Site):
    """The same doors as a Site; the loops are Dagster's daemon and worker, and no proxy stands before the EHR."""

    is_whole = True

    def __init__(self) -> None:
        super().__init__({"GLP1_UI_PORT": str(free_port(set()))})

    def __enter__(self) -> StackSite:
        from ..demo import prepare

        self.stack = Stack(self.settings, prepare, say=lambda _: None)
        self.stack.__enter__()
        try:
            self.stack.start()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name in list(self.programs):
            self.stop(name)
        self.stack.__exit__(kind, error, at)
        self.postgres.remove()
        self._folder.cleanup()

    @property
    def ehr_url(self) -> str:
        return self.settings.ehr_base_url()

    def reset(self) -> None:
        """Nothing: what the drills before left is settled, and counts with it."""

    def stop_loops(self, number: signal.Signals = signal.SIGTERM) -> None:
        """There are none."""

    def kill_program(self, name: str) -> None:
        """SIGKILL to a program of the stack and its children; the stack starts it again by itself."""
        process = self.stack.supervisor.process_of(name)
        if process is not None:
            processes.signal_all(processes.family(process.pid), signal.SIGKILL)
