"""The supervisor: what dies is started again, and whatever happens to it, no process is left. Real processes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from glp1_pipeline.adapters import processes
from glp1_pipeline.adapters.postgres import EmbeddedPostgres
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.sandbox.stack import Stack
from glp1_pipeline.sandbox.supervisor import Program, StackError, Supervisor

PROJECT = Path(__file__).resolve().parents[2]

# A program with a child of its own that ignores the polite signal.
STUBBORN = """
import signal, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('child', flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child])
print("ready", flush=True)
time.sleep(600)
"""

# A supervisor of two such programs, as its own process.
DUMMY_STACK = f"""
import sys, time
from pathlib import Path
from glp1_pipeline.sandbox.supervisor import Program, Supervisor
home = Path(sys.argv[1])
s = Supervisor(home, lambda sentence: print(sentence, flush=True))
s.open()
with s.signals():
    try:
        for name in ("one", "two"):
            s.launch(Program(name, [sys.executable, "-c", {STUBBORN!r}], {{}}, lambda: True, grace=0.5))
        s.wait_ready("one", "two")
        print("up", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        s.stop()
"""


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def at_home(home: Path) -> list[processes.Process]:
    """Every process that stands in the sandbox's folder."""
    return processes.standing_in(home / "run")


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{PROJECT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: "subprocess.Popen[str]", word: str) -> list[str]:
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if line.startswith(word):
            return lines
    raise AssertionError(f"it ended without saying {word}: {lines}")


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[tuple[Supervisor, list[str]]]:
    said: list[str] = []
    made = Supervisor(tmp_path, said.append)
    made.open()
    yield made, said
    made.stop()
    assert at_home(tmp_path) == []


def test_a_program_that_dies_is_started_again_and_one_line_says_so(
    supervisor: tuple[Supervisor, list[str]], tmp_path: Path
) -> None:
    made, said = supervisor
    made.launch(Program("clerk", [sys.executable, "-c", STUBBORN], {}, lambda: True))
    made.wait_ready("clerk")
    first = made.process_of("clerk")
    assert first
    until(lambda: len(at_home(tmp_path)) == 2)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: (now := made.process_of("clerk")) and now != first and processes.is_alive(now))
    until(lambda: len(at_home(tmp_path)) == 2)  # the first one's child is gone, the second has its own
    assert len(said) == 1
    assert re.match(r"The clerk ended \(killed by SIGKILL\); starting it again in 0.5 s", said[0])


def test_a_program_that_keeps_dying_is_started_ever_more_slowly(supervisor: tuple[Supervisor, list[str]]) -> None:
    made, said = supervisor
    made.launch(Program("moth", [sys.executable, "-c", "import time; time.sleep(0.1)"], {}, lambda: True))
    made.wait_ready("moth")
    until(lambda: len(said) == 3)
    assert [re.findall(r"in ([\d.]+) s", sentence) for sentence in said] == [["0.5"], ["1"], ["2"]]


def test_a_program_that_ends_while_starting_is_an_error_with_its_last_words(
    supervisor: tuple[Supervisor, list[str]],
) -> None:
    made, _ = supervisor
    made.launch(Program("clerk", [sys.executable, "-c", "raise SystemExit('no ink')"], {}, lambda: False))
    with pytest.raises(StackError, match=r"(?s)clerk ended while starting \(exit code 1\).*clerk\.log.*no ink"):
        made.wait_ready("clerk")


def test_waves_are_stopped_in_order(supervisor: tuple[Supervisor, list[str]], tmp_path: Path) -> None:
    made, _ = supervisor
    code = (
        "import pathlib, signal, sys, time\n"
        "def bye(*_):\n    print(sys.argv[1], file=open(sys.argv[2], 'a')); sys.exit()\n"
        "signal.signal(signal.SIGTERM, bye); pathlib.Path(sys.argv[2] + sys.argv[1]).touch(); time.sleep(600)"
    )
    order = tmp_path / "order"
    for name, wave in (("base", 0), ("middle", 1), ("top", 2)):
        argv = [sys.executable, "-c", code, name, str(order)]
        made.launch(Program(name, argv, {}, Path(f"{order}{name}").exists, wave=wave))
    made.wait_ready("base", "middle", "top")
    made.stop()
    assert order.read_text().split() == ["top", "middle", "base"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_supervisor_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    stack = start(DUMMY_STACK, tmp_path)
    read_until(stack, "up")
    until(lambda: len(at_home(tmp_path)) == 4)
    stack.send_signal(number)
    assert stack.communicate(timeout=60)[0].strip() == "interrupted"
    assert at_home(tmp_path) == []


def test_an_interrupt_in_the_middle_of_starting_leaves_no_process(tmp_path: Path) -> None:
    for delay in (0.1, 0.2, 0.3):
        stack = start(DUMMY_STACK, tmp_path)
        until(lambda: (tmp_path / "run" / "supervisor.lock").exists())
        time.sleep(delay)
        stack.send_signal(signal.SIGINT)
        stack.communicate(timeout=60)
        until(lambda: at_home(tmp_path) == [], 3)


def test_after_the_killing_of_a_supervisor_the_next_start_leaves_no_process_of_the_first(tmp_path: Path) -> None:
    first = start(DUMMY_STACK, tmp_path)
    read_until(first, "up")
    until(lambda: len(at_home(tmp_path)) == 4)
    old = at_home(tmp_path)
    first.kill()
    first.communicate()
    until(lambda: len([p for p in old if processes.is_alive(p)]) == 2)  # Linux told the two, not their children
    second = start(DUMMY_STACK, tmp_path)
    lines = read_until(second, "up")
    assert not [p for p in old if processes.is_alive(p)]
    assert any("earlier start left behind" in line for line in lines)
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=60)
    assert at_home(tmp_path) == []


def test_a_stranger_with_the_number_of_a_dead_program_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd="/") as stranger:
        (tmp_path / "run").mkdir()
        row = {"pid": stranger.pid, "started": 1, "boot": processes.boot(), "signal": 15}
        (tmp_path / "run" / "processes.json").write_text(json.dumps([row]))
        made = Supervisor(tmp_path, lambda _: None)
        made.open()
        made.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_a_second_supervisor_of_the_same_folder_is_told_who_is_there(supervisor: tuple[Supervisor, list[str]]) -> None:
    made, _ = supervisor
    with pytest.raises(StackError, match=rf"process {os.getpid()} is running it.*GLP1_HOME"):
        Supervisor(made.log_of("x").parents[1]).open()


def test_a_log_that_grew_is_kept_aside_and_begun_anew(supervisor: tuple[Supervisor, list[str]]) -> None:
    made, _ = supervisor
    made.log_of("clerk").write_bytes(b"x" * 6_000_000)
    made.launch(Program("clerk", [sys.executable, "-c", STUBBORN], {}, lambda: True))
    assert made.log_of("clerk").stat().st_size < 1000
    assert made.log_of("clerk").with_suffix(".log.1").stat().st_size == 6_000_000


def test_a_port_asked_for_and_taken_is_a_sentence_with_the_way_on(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings.from_env({"GLP1_HOME": str(tmp_path / "home"), "GLP1_UI_PORT": str(port)})
        with (
            Stack(settings, lambda _: None) as stack,
            pytest.raises(StackError, match=f"Port {port} .*GLP1_UI_PORT={port + 1}"),
        ):
            stack.start()


# ---- everything, with definitions that do next to nothing

DEFINITIONS = """
import dagster as dg

@dg.asset
def one():
    return dg.MaterializeResult(metadata={"n": 1})

@dg.sensor(job=dg.define_asset_job("j", [one]), minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def once(context):
    if context.cursor:
        return dg.SkipReason("done")
    context.update_cursor("1")
    return dg.RunRequest()

defs = dg.Definitions(assets=[one], sensors=[once], executor=dg.in_process_executor)
"""
WORKER = """
from celery import Celery
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task, create_task
import small_definitions
from glp1_pipeline.adapters.settings import Settings

broker = Settings.from_env().broker()
app = Celery("dagster", broker=broker.url, backend=broker.backend)
app.conf.update(task_default_queue="dagster", task_track_started=True, **broker.celery)
execute_plan, execute_job, resume_job = create_task(app), create_execute_job_task(app), create_resume_job_task(app)
"""
WHOLE_STACK = """
import sys
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.sandbox.stack import Modules, Stack

settings = Settings.from_env()
try:
    with Stack(settings, lambda s: print("migrate", flush=True), say=lambda line: print(line, flush=True),
               modules=Modules("small_definitions", "small_worker"), extra_env={"PYTHONPATH": sys.argv[1]}) as stack:
        stack.start()
        print("up", stack.ui_url, flush=True)
        stack.wait()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.timeout(240)
def test_the_whole_sandbox_runs_a_job_survives_kills_and_leaves_no_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (tmp_path / "small_definitions.py").write_text(DEFINITIONS)
    (tmp_path / "small_worker.py").write_text(WORKER)
    env = {**os.environ, "GLP1_HOME": str(home), "GLP1_EHR_HINTS": "1", "PYTHONPATH": str(PROJECT)}

    def begin() -> "subprocess.Popen[str]":
        argv = [sys.executable, "-c", WHOLE_STACK, f"{PROJECT}:{tmp_path}"]
        stack = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(stack)
        return stack

    started: list[subprocess.Popen[str]] = []
    settings = Settings.from_env({"GLP1_HOME": str(home), "GLP1_EHR_HINTS": "1"})
    place = EmbeddedPostgres(settings)
    try:
        first = begin()
        lines = read_until(first, "up")
        assert "migrate" in lines
        until(lambda: runs(settings) == [("SUCCESS",)], 40)
        shared = {"GLP1_DATABASE_URL": settings.store_url(), "GLP1_DAGSTER_DATABASE_URL": settings.dagster_url()}
        with (
            Stack(Settings.from_env({"GLP1_HOME": str(tmp_path / "other"), **shared}), print) as other,
            pytest.raises(StackError, match="Dagster knows one daemon alone"),
        ):
            other.claim_dagster()
        assert asks_it_from_another_site(f"http://127.0.0.1:{settings.state.get('ui_port')}/graphql") == [403, 403, 200]
        postmaster = next(p for p in postgres_of(settings) if p.parent == first.pid)
        os.kill(postmaster.pid, signal.SIGKILL)
        until(lambda: any(p.parent == first.pid for p in postgres_of(settings) if p != postmaster), 30)
        until(lambda: runs(settings) == [("SUCCESS",)], 30)
        until(lambda: has_one_set_of_subscriptions(settings), 30)
        first.kill()
        first.communicate()

        second = begin()
        read_until(second, "up")
        assert runs(settings) == [("SUCCESS",)]
        until(lambda: has_one_set_of_subscriptions(settings), 30)
        second.send_signal(signal.SIGINT)
        assert "interrupted" in second.communicate(timeout=60)[0]
        assert at_home(home) == []
        assert postgres_of(settings) == []
    finally:
        for stack in started:
            if stack.poll() is None:
                stack.terminate()
                stack.communicate()
        place.remove()


def asks_it_from_another_site(url: str) -> list[int]:
    """How the UI answers an image's address, a form of another site, and its own page."""
    query = {"query": "{ version }"}
    return [
        requests.get(url, params=query, headers={"Accept": "image/*"}, timeout=10).status_code,
        requests.post(url, json=query, headers={"Origin": "https://elsewhere.example"}, timeout=10).status_code,
        requests.post(url, json=query, headers={"Origin": url.removesuffix("/graphql")}, timeout=10).status_code,
    ]


def has_one_set_of_subscriptions(settings: Settings) -> bool:
    """Whether the EHR tells this start's receiver of each type once, and knows of no other subscription."""
    answer = requests.get(f"{settings.ehr_base_url()}/Subscription?_count=100", timeout=10).json()
    found = [entry["resource"] for entry in answer.get("entry", ())]
    criteria = {one["criteria"] for one in found if one["status"] == "active"}
    endpoints = {one["channel"]["endpoint"] for one in found}
    return len(found) == len(criteria) > 0 and endpoints == {settings.ehr_hook_url_wanted()}


def postgres_of(settings: Settings) -> list[processes.Process]:
    kept = settings.state.get("postgres_place")
    return processes.standing_in((Path(kept) if kept else settings.home / "postgres") / "data")


def runs(settings: Settings) -> list[tuple[str]]:
    import psycopg

    try:
        with psycopg.connect(settings.dagster_url().replace("+psycopg2", ""), connect_timeout=5) as connection:
            return connection.execute("SELECT status FROM runs").fetchall()
    except psycopg.OperationalError:
        return []
