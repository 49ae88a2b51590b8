"""Who did what and why is on the disk before it is done, or it is not done."""

import json
import resource
import signal
from pathlib import Path

import pytest

from glp1_pipeline.adapters.audit import FILE, note


def test_a_line_that_the_disk_takes_half_of_is_no_line_and_the_next_one_is_whole(tmp_path: Path) -> None:
    note(tmp_path, "staff-1", "a test", "first")
    before = (tmp_path / FILE).stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before + 10, limits[1]))
        with pytest.raises(OSError, match="large"):
            note(tmp_path, "staff-1", "a test", "second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, was)
    note(tmp_path, "staff-1", "a test", "third")
    first, half, third = (tmp_path / FILE).read_bytes().splitlines()
    assert len(half) == 10
    assert [json.loads(line)["what"] for line in (first, third)] == ["first", "third"]
