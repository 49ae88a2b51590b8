"""Which tests one process runs. Not here: what tests are given (each tier's own `conftest`)."""

from pathlib import Path

import pytest

STACK = Path(__file__).parent / "pipeline"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests stay together, since they share servers; those of a whole running stack, since they share that."""
    for item in items:
        group = STACK if item.path.is_relative_to(STACK) else item.path
        item.add_marker(pytest.mark.xdist_group(str(group.relative_to(STACK.parent))))
