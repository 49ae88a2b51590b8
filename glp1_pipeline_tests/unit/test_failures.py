"""What is told of a failure of our own code, where it is told: never the value that it failed on."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeExecutionError, SensorExecutionError, user_code_error_boundary

from glp1_pipeline import defs
from glp1_pipeline.adapters.store import StoreGone
from glp1_pipeline.domain.failures import trace_of

VALUE = "Jane Canary"


def by_python() -> None:
    int(VALUE)


def by_a_chain() -> None:
    try:
        int(VALUE)
    except ValueError as error:
        raise KeyError(VALUE) from error


def by_another_on_the_way() -> None:
    try:
        int(VALUE)
    finally:
        {}[VALUE]


def by_a_note() -> None:
    error = ValueError(VALUE)
    error.add_note(VALUE)
    raise error


def by_us() -> None:
    try:
        int(VALUE)
    except ValueError:
        raise StoreGone("start it with `glp1 up`") from None


FAILURES = (by_python, by_a_chain, by_another_on_the_way, by_a_note, by_us)


def raised(fail: Callable[[], None]) -> BaseException:
    with pytest.raises(Exception) as found:  # noqa: PT011 - any of these
        fail()
    return found.value


@pytest.mark.parametrize("fail", FAILURES)
def test_the_way_of_a_failure_is_told_without_the_value_that_it_failed_on(fail: Callable[[], None]) -> None:
    told = trace_of(raised(fail))
    assert f"in {fail.__name__}" in told
    assert "Canary" not in told


def test_each_failure_of_a_chain_is_told_by_its_class_and_the_first_comes_first() -> None:
    told = trace_of(raised(by_a_chain))
    assert told.index("builtins.ValueError") < told.index("builtins.KeyError")
    assert "ValueError" not in trace_of(raised(by_us)), "who broke the chain did so on purpose"


def test_a_circle_of_failures_is_told_once() -> None:
    first, second = ValueError(VALUE), KeyError(VALUE)
    first.__cause__, second.__cause__ = second, first
    assert trace_of(first).count("ValueError") == 1


def test_what_our_own_classes_say_is_told_since_it_tells_what_to_do() -> None:
    assert trace_of(raised(by_us)).endswith("StoreGone: start it with `glp1 up`")


@pytest.fixture
def log_of_dagster(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a process of Dagster that masks errors in its storage writes into its log file."""
    monkeypatch.setenv("DAGSTER_REDACT_USER_CODE_ERRORS", "1")
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(logging.Formatter().format(record))
    log = logging.getLogger("dagster.redacted_errors")
    log.addHandler(handler)
    yield said
    log.removeHandler(handler)


@pytest.mark.parametrize("fail", FAILURES)
def test_the_log_of_a_run_tells_where_an_asset_failed_and_not_on_whom(fail, log_of_dagster: list[str]) -> None:
    assert defs  # it is the wiring that sees to this

    @dg.asset
    def fails():
        fail()

    done = dg.materialize([fails], raise_on_error=False)
    assert not done.success
    (told,) = log_of_dagster
    assert "error ID" in told
    assert f"in {fail.__name__}" in told
    assert "Canary" not in told
    assert "Canary" not in str(done.all_events)


def test_the_log_of_a_code_server_tells_where_a_sensor_failed_and_not_on_whom(log_of_dagster: list[str]) -> None:
    @dg.sensor(asset_selection="*")
    def fails(_):
        by_a_chain()

    boundary = user_code_error_boundary(SensorExecutionError, lambda: "a tick failed")
    with dg.build_sensor_context() as context, pytest.raises(DagsterUserCodeExecutionError), boundary:
        fails(context)
    (told,) = log_of_dagster
    assert "in by_a_chain" in told
    assert "Canary" not in told


def test_a_command_that_our_code_fails_in_says_where_and_not_on_whom() -> None:
    program = (
        "import sys; from glp1_pipeline import cli; from glp1_pipeline.adapters import settings\n"
        "name = sys.argv[1]\n"  # no part of the program: since 3.13 Python shows the lines of that, too
        "def fail(*_): raise ValueError(name)\n"
        "settings.Settings.from_env = fail\n"
        "sys.argv = ['glp1', 'status']; cli.main()\n"
    )
    argv = [sys.executable, "-c", program, "Jane Canary"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "in fail" in done.stderr
    assert "builtins.ValueError" in done.stderr
    assert "Canary" not in done.stderr + done.stdout
