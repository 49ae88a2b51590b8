"""Keeps a handful of programs running: started, found ready, started again when they die, and all ended at the end.

What does not belong here: which programs (stack.py).
"""

import fcntl
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from glp1_pipeline.adapters import processes
from glp1_pipeline.sandbox import leftovers

_LOG_LIMIT = 20_000_000
_LONGEST_PAUSE = 30.0
_CALM = 60.0  # a program that ran this long is forgiven its earlier deaths


class StackError(RuntimeError):
    """The sandbox cannot start or go on; the message says why and what to do."""


@dataclass(frozen=True)
class Program:
    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    is_ready: Callable[[], bool]
    wave: int = 0  # the highest is stopped first
    account: tuple[int, int] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0
    start_limit: float = 120.0
    before_restart: Callable[[], None] = lambda: None


@dataclass
class _Running:
    program: Program
    popen: "subprocess.Popen[bytes]"
    process: processes.Process | None
    since: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    deaths: int = 0
    again_at: float | None = None


class Supervisor:
    def __init__(self, home: Path, say: Callable[[str], None] = print) -> None:
        self._home, self._tell = home, say
        self._run, self._logs = home / "run", home / "logs"
        self._running: dict[str, _Running] = {}
        self._guard = threading.RLock()
        self._stopping, self._closed, self._hurry = threading.Event(), threading.Event(), threading.Event()
        self._asked: int | None = None
        self._is_spawning = False
        self._thread: threading.Thread | None = None
        self._lock: IO[str] | None = None

    def say(self, sentence: str) -> None:
        try:
            self._tell(sentence)
        except (OSError, ValueError):  # the terminal is gone; what is running must be ended all the same
            self._tell = lambda _: None

    # ---- starting

    def open(self) -> None:
        """Takes the lock of this folder and ends what a killed supervisor left behind."""
        for folder in (self._run, self._logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(self._run / "supervisor.lock", "a+", encoding="ascii")  # noqa: SIM115 - held until close()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            number = lock.read().strip() or "unknown"
            lock.close()
            raise StackError(
                f"{self._home} is in use: process {number} is running it. Stop that one with Ctrl-C "
                f"(or kill {number}), or set GLP1_HOME to another folder for a second one."
            ) from None
        lock.truncate(0)
        lock.write(str(processes.own().pid))
        lock.flush()
        self._lock = lock
        if number_of_ended := leftovers.end(self._run):
            self.say(f"Ended {number_of_ended} processes that an earlier start left behind.")
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()

    def launch(self, program: Program) -> None:
        with self._guard:
            if self._stopping.is_set():
                raise StackError("The sandbox is stopping.")
            self._rotate(program.name, limit=_LOG_LIMIT // 4)
            self._is_spawning = True
            try:
                self._running[program.name] = self._spawn(program)
            finally:
                self._is_spawning = False
        if self._asked is not None:
            raise KeyboardInterrupt

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name.replace(' ', '-')}.log"

    def process_of(self, name: str) -> processes.Process | None:
        with self._guard:
            return self._running[name].process if name in self._running else None

    def has_ended(self, name: str) -> bool:
        with self._guard:
            return self._running[name].popen.poll() is not None

    def wait_ready(self, *names: str) -> None:
        for name in names:
            running = self._running[name]
            deadline = running.since + running.program.start_limit
            while not running.program.is_ready():
                if (code := running.popen.poll()) is not None:
                    raise StackError(f"The {name} ended while starting ({_how(code)}).{self._last_words(name)}")
                if time.monotonic() > deadline:
                    raise StackError(
                        f"The {name} was not ready after {running.program.start_limit:.0f} s.{self._last_words(name)}"
                    )
                time.sleep(0.05)
            running.is_ready = True

    def _spawn(self, program: Program) -> _Running:
        log = self.log_of(program.name)
        log.touch(mode=0o600)
        with open(log, "ab") as output:
            popen = processes.start(
                program.argv,
                env=program.env,
                cwd="/" if program.account else self._run,
                output=output,
                account=program.account,
                signal_when_orphaned=program.stop_signal,
            )
        running = _Running(program, popen, processes.find(popen.pid))
        everyone = [r for r in self._running.values() if r.program.name != program.name] + [running]
        leftovers.record(self._run, [(r.process, r.program.stop_signal) for r in everyone if r.process])
        return running

    # ---- watching

    def _watch(self) -> None:
        """Lives until all is ended: Linux takes the death of the thread that started a program for its parent's."""
        rounds = 0
        while not self._closed.wait(0.2):
            rounds += 1
            with self._guard:
                if self._stopping.is_set():
                    continue
                for running in list(self._running.values()):
                    if running.is_ready:
                        self._look_after(running)
                    if rounds % 300 == 0:
                        self._rotate(running.program.name, limit=_LOG_LIMIT)

    def _look_after(self, running: _Running) -> None:
        code, name = running.popen.poll(), running.program.name
        if code is None:
            return
        now = time.monotonic()
        if running.again_at is None:
            if now - running.since > _CALM:
                running.deaths = 0
            pause = min(_LONGEST_PAUSE, 0.5 * 2**running.deaths)
            running.again_at = now + pause
            self.say(f"The {name} ended ({_how(code)}); starting it again in {pause:g} s. Log: {self.log_of(name)}")
        elif now >= running.again_at:
            if running.process:
                processes.end([running.process], signal.SIGKILL, grace=0)  # children that outlived it
            running.program.before_restart()
            again = self._spawn(running.program)
            again.deaths, again.is_ready = running.deaths + 1, True
            self._running[name] = again

    # ---- ending

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Inside, Ctrl-C, SIGTERM and a closed terminal raise KeyboardInterrupt once; a second one hurries the end."""
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in wanted}

        def caught(number: int, _frame: object) -> None:
            if self._asked is not None or self._stopping.is_set():
                self._hurry.set()
                return
            self._asked = number
            if not self._is_spawning:  # else a program would run that nobody knows of: launch() raises it afterwards
                raise KeyboardInterrupt

        try:
            for number in wanted:
                signal.signal(number, caught)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        self._stopping.set()
        with self._guard:
            for wave in sorted({running.program.wave for running in self._running.values()}, reverse=True):
                group = [r for r in self._running.values() if r.program.wave == wave]
                self._end_wave(group)
        self._closed.set()
        if self._thread is not None:
            self._thread.join(5)
        if self._lock is not None:
            leftovers.forget(self._run)
            self._lock.close()
            self._lock = None

    def _end_wave(self, group: Sequence[_Running]) -> None:
        for running in group:
            if running.process:
                processes.signal_all([running.process], running.program.stop_signal)
        for running in group:
            if running.process:
                has_ended = running.popen.poll() is not None
                grace = 0 if has_ended else running.program.grace
                processes.end([running.process], None, grace, self._hurry.is_set)
            running.popen.wait(10)
            self._running.pop(running.program.name)

    # ---- logs

    def _rotate(self, name: str, limit: int) -> None:
        """Copies and empties: the program goes on writing to the same file, always at its end."""
        log = self.log_of(name)
        if log.exists() and log.stat().st_size > limit:
            older = log.with_suffix(".log.1")
            shutil.copyfile(log, older)
            older.chmod(0o600)
            with open(log, "r+b") as file:
                file.truncate(0)

    def _last_words(self, name: str) -> str:
        log = self.log_of(name)
        lines = log.read_text("utf-8", "replace").splitlines()[-8:] if log.exists() else []
        return f" Its log is {log}; the end of it:\n" + "\n".join("    " + line[:200] for line in lines)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
