"""Which tests one process runs, that properties try the same examples each time, and what Python does beside. Not here: what tests are given (each tier's own `conftest`)."""

import gc
import shutil
from getpass import getuser

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from glp1_pipeline.adapters.postgres_place import left_behind

# The same code gets the same verdict. New examples are tried by `make test ARGS=--hypothesis-profile=explore`.
settings.register_profile("steady", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("steady")

# What these expect is told as a test's own expectation is: with both sides of what is not the same.
pytest.register_assert_rewrite("glp1_pipeline_tests.deliveries", "glp1_pipeline_tests.ledgers")

STACK = "glp1_pipeline_tests/pipeline/"


class ByServers(LoadFileScheduling):
    """A file's tests stay together, since they share servers; those of a whole running stack, since they share that."""

    def _split_scope(self, nodeid: str) -> str:
        return STACK if nodeid.startswith(STACK) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByServers:
    return ByServers(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Root's data of homes that a killed run left: pytest gives their paths again, and no server starts on data whose
    secrets are gone."""
    if not hasattr(session.config, "workerinput"):
        for data in left_behind():
            if f"/pytest-of-{getuser()}/" in (data / "home").read_text():
                shutil.rmtree(data)


def pytest_collection_finish() -> None:
    """What was imported is no garbage: looking through it again and again takes a sixth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)
