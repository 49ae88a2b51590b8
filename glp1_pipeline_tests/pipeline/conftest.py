"""One whole stack for the tests of the road: real Postgres, EHR, CRM and Dagster processes, on loopback."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from glp1_pipeline.adapters.balance import balance, on_the_way
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.state import free_port
from glp1_pipeline.defs.resources import Road, connect
from glp1_pipeline.sandbox.demo import prepare
from glp1_pipeline.sandbox.samples import Sample, samples
from glp1_pipeline.sandbox.stack import Stack
from glp1_pipeline_tests.crash.proof import crm_faults

SETTLE_SECONDS = 240


@dataclass
class Running:
    """A running stack, and the questions that tests ask of it."""

    stack: Stack
    settings: Settings

    @property
    def road(self) -> Road:
        return Road()

    def connect(self) -> psycopg.Connection:
        return connect(self.settings, "test")

    def ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """A GraphQL question to the Dagster UI, as the browser asks it."""
        answer = requests.post(
            f"{self.stack.ui_url}/graphql", json={"query": query, "variables": variables or {}}, timeout=30
        ).json()
        if "OperationalError" in str(answer.get("errors")):
            raise ConnectionError("the UI held a connection to a Postgres that was killed since")
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def wait(self, what: Callable[[], Any], seconds: float = SETTLE_SECONDS, message: str = "it did not happen") -> Any:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            try:
                if found := what():
                    return found
            except (psycopg.OperationalError, ConnectionError, requests.RequestException, ValueError):
                pass  # what is asked is being killed by this very test: ask again
            time.sleep(0.25)
        raise AssertionError(message)

    def faults(self, connection: psycopg.Connection) -> list[str]:
        """What does not hold of our ledger, and of what the EHR and the CRM hold, both read back."""
        found = [*balance(connection).faults]
        there = compare(connection, self.road.ehr, self.road.cipher)
        if not there.holds or there.not_sent_yet:
            found.append(f"the EHR read back: {there.as_dict()}")
        return [*found, *crm_faults(connection, self.road.cipher, *self.settings.crm_access())]

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Until nothing is in the landing zone, waiting, due by a clock, or on its way to the EHR or the CRM."""

        def is_settled() -> bool:
            with self.connect() as connection:
                return not self.road.landing.ready(limit=1) and not on_the_way(connection)

        self.wait(is_settled, seconds, "not settled")


@pytest.fixture(scope="package")
def running(tmp_path_factory) -> Iterator[Running]:
    home = Path(os.environ.get("GLP1_TEST_HOME") or tmp_path_factory.mktemp("glp1"))
    before = {name: os.environ.get(name) for name in ("GLP1_HOME", "GLP1_UI_PORT")}
    os.environ |= {"GLP1_HOME": str(home), "GLP1_UI_PORT": str(free_port(set()))}
    settings = Settings.from_env()
    try:
        with Stack(settings, prepare) as stack:
            stack.start()
            yield Running(stack, settings)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture(scope="package")
def stories(running: Running) -> list[Sample]:
    """All samples but the bulk, dropped and settled."""
    found = [s for s in samples() if not s.name.startswith("bulk")]
    for story in found:
        story.drop(running.road.landing)
        time.sleep(0.02)
    running.settle()
    return found
