"""Real servers for the tests: a Postgres with our schema, and an EHR process on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml

from glp1_pipeline.adapters.state import free_port
from glp1_pipeline.sandbox.drills.proxy import FaultProxy
from glp1_pipeline_tests.alert_world import Receiver, receiver
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.crm_process import CrmProcess
from glp1_pipeline_tests.small_road import SmallRoad, migrated_database, small_road

KINDS = pytest.mark.parametrize("server_ids", [False, True], ids=["takes our ids", "makes its own ids"])
"""A test of delivery against both kinds of EHR."""


@pytest.fixture(scope="module")
def url() -> str:
    """An empty database of the file's own with our tables."""
    return migrated_database()


@pytest.fixture
def road(url: str, tmp_path: Path) -> Iterator[SmallRoad]:
    """The road without Dagster, and no row on it."""
    with small_road(url, tmp_path) as made:
        yield made


@pytest.fixture
def channel() -> Iterator[Receiver]:
    """Somebody who is told of alerts over HTTP."""
    with receiver() as made:
        yield made


@dataclass(frozen=True)
class EhrProcess:
    url: str


@pytest.fixture(scope="module")
def ehr() -> Iterator[EhrProcess]:
    """The sandbox's EHR, a process of its own, for the file: which files share a session is chance. Tests of a file use
    patients of their own."""
    with tempfile.TemporaryDirectory(prefix="glp1_ehr_") as folder, run_ehr(Path(folder)) as process:
        yield process


@pytest.fixture(params=[False, True], ids=["takes our ids", "makes its own ids"])
def circle(request: pytest.FixtureRequest, road: SmallRoad, ehr: EhrProcess) -> Iterator[Circle]:
    """The road with an EHR of either kind at its end."""
    with FaultProxy(ehr.url, request.param) as proxy:
        made = Circle(road, ehr.url, proxy)
        yield made
        made.world.close()


@pytest.fixture
def crm(tmp_path: Path) -> Iterator[CrmProcess]:
    """The sandbox's CRM, empty."""
    with CrmProcess(tmp_path) as process:
        yield process


class run_ehr:  # noqa: N801 - used as a context manager
    """Start an EHR in `folder`; `auth` is its `server_auth` settings."""

    def __init__(self, folder: Path, auth: dict | None = None) -> None:
        self.port = free_port(set())
        settings = {
            "base_url": f"http://127.0.0.1:{self.port}/fhir",
            "host": "127.0.0.1",
            "port": self.port,
            "data_dir": str(folder),
            "log_inbound": False,
            "validation": {"inbound": "strict"},
            "simulator": {"enabled": False, "auto": []},
        }
        if auth:
            settings["server_auth"] = auth
        self.config = folder / "settings.yaml"
        self.config.write_text(yaml.safe_dump(settings))
        self.folder = folder

    def __enter__(self) -> EhrProcess:
        command = [sys.executable, "-m", "uvicorn", "sekmet.main:app_factory", "--factory", "--no-access-log"]
        command += ["--log-level", "warning", "--host", "127.0.0.1", "--port", str(self.port)]
        self.log = open(self.folder / "ehr.log", "wb")
        env = {**os.environ, "SEKMET_CONFIG": str(self.config)}
        self.process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=self.log, stderr=self.log)
        base = f"http://127.0.0.1:{self.port}/fhir"
        ends = time.monotonic() + 60
        while True:
            try:
                if requests.get(f"{base}/metadata", timeout=5).ok:
                    return EhrProcess(base)
            except requests.ConnectionError:
                if time.monotonic() > ends or self.process.poll() is not None:
                    self.__exit__()
                    raise RuntimeError("the EHR did not start") from None
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
