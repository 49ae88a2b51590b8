"""Operating system processes: started in a session of their own, ended with all they started.

What does not belong here: which programs there are (sandbox/stack.py) and what Postgres needs (postgres.py).
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ProcessesUnknown(RuntimeError):
    """This system does not tell of its processes the way Linux does."""


@dataclass(frozen=True)
class Process:
    """A process as /proc tells it. The start (ticks since boot) tells a process from a later one of the same number."""

    pid: int
    parent: int
    session: int
    started: int


def find(pid: int) -> Process | None:
    """None when there is no such process or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]))


def own() -> Process:
    process = find(os.getpid())
    if process is None:
        raise ProcessesUnknown(
            "The sandbox needs Linux (on Windows: WSL 2): it looks after its processes by means of /proc."
        )
    return process


def boot() -> str:
    """Names this run of the machine: process numbers mean nothing after the next one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def find_all() -> list[Process]:
    found = (find(int(entry)) for entry in (os.listdir("/proc") if _libc else ()) if entry.isdecimal())
    return [process for process in found if process]


def family(pid: int) -> list[Process]:
    """The process, its descendants, and whoever is left of its session."""
    everyone = find_all()
    members = {pid}
    while True:
        grown = members | {p.pid for p in everyone if p.parent in members or p.session == pid}
        if grown == members:
            return [p for p in everyone if p.pid in members]
        members = grown


def standing_in(folder: Path) -> list[Process]:
    """Processes whose current folder is this one. Each part of a Postgres stands in its data folder."""
    target = os.path.realpath(folder)
    return [process for process in find_all() if current_folder(process.pid) == target]


def current_folder(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def is_alive(process: Process) -> bool:
    now = find(process.pid)
    return now is not None and now.started == process.started


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | str,
    output: IO[bytes] | int,
    account: tuple[int, int] | None = None,
    signal_when_orphaned: signal.Signals = signal.SIGTERM,
) -> "subprocess.Popen[bytes]":
    """Starts a program in a session of its own. Should this process be killed, Linux sends the program the signal."""
    parent = os.getpid()

    def leave_no_orphan() -> None:  # runs between fork and exec, after the change of account (which would undo it)
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(signal_when_orphaned), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    uid, gid = account or (None, None)
    return subprocess.Popen(
        argv,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=leave_no_orphan,
        user=uid,
        group=gid,
        extra_groups=None if uid is None else [],
    )


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | str,
    output: IO[bytes] | int,
    account: tuple[int, int] | None = None,
) -> int:
    """Runs a program to its end; if we are interrupted, so is the program."""
    child = start(argv, env=env, cwd=cwd, output=output, account=account)
    try:
        return child.wait()
    finally:
        if child.poll() is None:
            leader = find(child.pid)
            end([leader] if leader else [], signal.SIGTERM, grace=5)
            child.wait(5)


def signal_all(processes: Sequence[Process], number: signal.Signals) -> None:
    for process in processes:
        if is_alive(process):
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                continue  # it ended between the look and the signal


def wait_gone(processes: Sequence[Process], seconds: float, hurry: Callable[[], bool] = lambda: False) -> list[Process]:
    """Waits until all are gone; gives back those that are not."""
    deadline = time.monotonic() + seconds
    while left := [process for process in processes if is_alive(process)]:
        if time.monotonic() > deadline or hurry():
            return left
        time.sleep(0.02)
    return []


def end(
    leaders: Sequence[Process],
    first: signal.Signals | None,
    grace: float,
    hurry: Callable[[], bool] = lambda: False,
) -> None:
    """Asks the leaders, waits for them, and then kills whoever is left of them and of all they started.

    `first` None: they were asked already. To many programs a second time means to drop their work.
    """
    everyone = {process.pid: process for leader in leaders for process in [leader, *family(leader.pid)]}
    if first is not None:
        signal_all(leaders, first)
    wait_gone(leaders, grace, hurry)
    for leader in leaders:  # born meanwhile; a number that now is someone else's has another session and parent
        everyone |= {p.pid: p for p in family(leader.pid) if p.pid != leader.pid}
    left = wait_gone(list(everyone.values()), 1.0, hurry)
    signal_all(left, signal.SIGKILL)
    wait_gone(left, 5.0)
