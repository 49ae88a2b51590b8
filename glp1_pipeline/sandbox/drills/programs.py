"""The programs of a drill's site: started, ended or killed with all their children, their logs.

Not here: which programs there are (`site`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import requests

from glp1_pipeline.adapters import processes

from ..supervisor import StackError

START_SECONDS = 60.0


class SiteError(StackError):
    """A server of a drill does not start or stop; the message says which."""


class Programs:
    """By name those that were started."""

    home: Path
    env: dict[str, str]

    def __init__(self) -> None:
        self.programs: dict[str, subprocess.Popen[bytes]] = {}

    def launch(self, name: str, argv: list[str], env: Mapping[str, str]) -> None:
        """Start a program of this site; its log is in the folder logs."""
        with open(self.log_of(name), "ab") as log:
            self.programs[name] = processes.start(
                argv, env=_inherited() | self.env | dict(env), cwd=self.home / "run", output=log
            )

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a program and all its children; SIGKILL is a death without a word."""
        program = self.programs.pop(name, None)
        if program is not None and program.poll() is None:
            leader = processes.find(program.pid)
            if leader and number == signal.SIGKILL:
                processes.signal_all(processes.family(program.pid), number)
            processes.end([leader] if leader else [], number, grace=5)
            program.wait(10)

    def is_up(self, name: str) -> bool:
        return name in self.programs and self.programs[name].poll() is None

    def log_of(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def size_of_log(self, name: str) -> int:
        return self.log_of(name).stat().st_size if self.log_of(name).exists() else 0

    def wait_for(self, url: str, name: str) -> None:
        """Until it answers; SiteError when it does not."""

        def answers() -> bool:
            if name in self.programs and not self.is_up(name):
                raise SiteError(f"the {name} of the drill ended while starting: {self.log_of(name)}")
            return requests.get(url, timeout=5).status_code in (200, 401)

        wait_until(answers, START_SECONDS, f"the {name} of the drill does not answer")


def wait_until(is_so: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Ask until it is so; a server that is not there yet says no. SiteError(`otherwise`) when time is over."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            if is_so():
                return
        except (psycopg.OperationalError, ConnectionError, requests.RequestException):
            pass  # not there yet: asked again until the time is over
        time.sleep(0.05)
    raise SiteError(otherwise)


def _inherited() -> dict[str, str]:
    """Ours, without what would lead a program to another installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GLP1_", "PG"))}
