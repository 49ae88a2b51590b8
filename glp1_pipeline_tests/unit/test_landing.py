"""The landing zone promises: half-written files are never read, nothing outside it is ever touched, limits hold."""

import fcntl
import io
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline.adapters.archive import keep, open_archived
from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline.adapters.landing import (
    MAX_LINE_BYTES,
    Bucket,
    Folder,
    Unreadable,
    digest,
    landing_zone,
    lines,
    packed_as,
)
from glp1_pipeline.adapters.settings import Settings

DROP = uuid.UUID(int=7)


@pytest.fixture
def cipher(tmp_path):
    return Cipher(KeyRing.create(tmp_path / "keys.json"))


@pytest.fixture
def folder(tmp_path, cipher):
    (tmp_path / "landing").mkdir()
    return Folder(tmp_path / "landing", tmp_path / "archive", cipher)


def test_a_file_still_open_for_writing_is_not_ready_and_is_ready_when_closed(folder):
    with (folder.path / "slow.json").open("wb") as writer:
        writer.write(b'{"half":')
        writer.flush()
        assert folder.ready() == []
    assert folder.ready() == ["slow.json"]


def test_a_producer_that_opens_a_file_just_as_we_look_at_it_does_not_end_us(folder, monkeypatch):
    (folder.path / "slow.json").write_bytes(b"{}")
    heard: list[int] = []
    before = signal.signal(signal.SIGIO, lambda number, _: heard.append(number))
    inner = fcntl.fcntl

    def call(descriptor: int, command: int, argument: int) -> int:
        done = inner(descriptor, command, argument)
        if command == fcntl.F_SETLEASE and argument == fcntl.F_RDLCK:
            with pytest.raises(BlockingIOError):  # refused until the lease is given back, and we are told of it
                os.open(folder.path / "slow.json", os.O_WRONLY | os.O_NONBLOCK)
        return done

    monkeypatch.setattr(fcntl, "fcntl", call)
    try:
        assert folder.ready() == ["slow.json"]
    finally:
        signal.signal(signal.SIGIO, before)
    assert heard == []


@pytest.mark.parametrize("name", [".hidden.json", "a.tmp", "b.part", "c.partial"])
def test_a_name_that_says_unfinished_is_passed_over(folder, name):
    (folder.path / name).write_bytes(b"{}")
    assert folder.ready() == []


def test_drops_are_ready_oldest_first(folder):
    for age, name in ((5, "zebra.json"), (9, "yak.json"), (1, "ant.json")):
        (folder.path / name).write_bytes(b"{}")
        os.utime(folder.path / name, (1e9 - age, 1e9 - age))
    assert folder.ready() == ["yak.json", "zebra.json", "ant.json"]
    assert folder.ready(limit=1) == ["yak.json"]


def test_a_symlink_is_refused_and_what_it_points_to_stays_untouched(folder, tmp_path):
    secret = tmp_path / "outside.json"
    secret.write_bytes(b"not yours")
    (folder.path / "link.json").symlink_to(secret)
    with pytest.raises(Unreadable) as refusal:
        folder.open("link.json")
    assert refusal.value.reason == "symlink"
    folder.put_away("link.json", DROP, None)
    assert secret.read_bytes() == b"not yours"
    assert folder.ready() == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(folder, make):
    make(folder.path / "odd")
    with pytest.raises(Unreadable) as refusal:
        folder.open("odd")
    assert refusal.value.reason == "not_a_file"
    folder.put_away("odd", DROP, None)
    assert folder.ready() == []
    assert (folder.path / f".refused-{DROP}").exists()


def test_a_settled_drop_is_archived_sealed_and_opens_to_the_same_bytes(folder, cipher, tmp_path):
    content = os.urandom(3_000_000) + b"Quentin Canary"
    folder.put("big.bin", io.BytesIO(content))
    with folder.open("big.bin") as stream:
        folder.put_away("big.bin", DROP, stream, folder.state(stream))
    assert folder.ready() == []
    sealed = tmp_path / "archive" / f"{DROP}.sealed"
    assert b"Canary" not in sealed.read_bytes()
    assert open_archived(cipher, sealed).read() == content


def test_a_new_file_that_took_the_name_of_a_settled_one_is_not_removed_with_it(folder):
    folder.put("day.json", io.BytesIO(b"first"))
    with folder.open("day.json") as stream:
        folder.put("day.json", io.BytesIO(b"second"))
        folder.put_away("day.json", DROP, stream, folder.state(stream))
    (name,) = folder.ready()
    with folder.open(name) as stream:
        assert stream.read() == b"second"


def test_a_line_written_after_the_drop_was_read_is_not_removed_with_it(folder):
    (folder.path / "slow.ndjson").write_bytes(b"first\n")
    with folder.open("slow.ndjson") as stream:
        state = folder.state(stream)
        digest(stream)
        with (folder.path / "slow.ndjson").open("ab") as writer:
            writer.write(b"second\n")
        folder.put_away("slow.ndjson", DROP, stream, state)
    (name,) = folder.ready()
    with folder.open(name) as stream:
        assert stream.read() == b"first\nsecond\n"


def test_who_opened_the_drop_while_it_was_read_and_writes_once_it_is_put_away_is_read_too(folder):
    (folder.path / "slow.ndjson").write_bytes(b"first\n")
    with folder.open("slow.ndjson") as stream:
        state = folder.state(stream)
        digest(stream)
        with (folder.path / "slow.ndjson").open("ab") as writer:
            folder.put_away("slow.ndjson", DROP, stream, state)
            assert folder.ready() == []
            writer.write(b"second\n")
    (name,) = folder.ready()
    with folder.open(name) as stream:
        assert stream.read() == b"first\nsecond\n"


def test_a_file_that_a_killed_run_took_aside_is_not_written_over_by_the_next(folder, monkeypatch):
    """It had taken the name of what that run had read, whose content then comes once more."""
    (folder.path / "day.json").write_bytes(b"first")
    with folder.open("day.json") as stream:
        state = folder.state(stream)
        folder.put("day.json", io.BytesIO(b"second"))
        with monkeypatch.context() as patched:
            patched.setattr(Path, "lstat", _dies)
            with pytest.raises(KeyboardInterrupt):
                folder.put_away("day.json", DROP, stream, state)
    folder.put("first-again.json", io.BytesIO(b"first"))
    with folder.open("first-again.json") as stream:
        folder.put_away("first-again.json", DROP, stream, folder.state(stream))
    (name,) = folder.ready()
    with folder.open(name) as stream:
        assert stream.read() == b"second"


def test_what_was_written_over_since_it_was_read_is_not_archived_as_what_was_read(folder, cipher, tmp_path):
    (folder.path / "day.json").write_bytes(b"first")
    with folder.open("day.json") as stream:
        state = folder.state(stream)
        digest(stream)
        with (folder.path / "day.json").open("r+b") as writer:
            writer.write(b"SECOND")
        folder.put_away("day.json", DROP, stream, state)
    assert list((tmp_path / "archive").iterdir()) == []
    folder.put("first-again.json", io.BytesIO(b"first"))
    with folder.open("first-again.json") as stream:
        folder.put_away("first-again.json", DROP, stream, folder.state(stream))
    assert open_archived(cipher, tmp_path / "archive" / f"{DROP}.sealed").read() == b"first"


def test_two_that_put_the_same_drop_away_at_once_end_well_and_the_archive_opens(folder, cipher, tmp_path):
    class Slow(io.BytesIO):
        """Somebody else comes and goes while it is read."""

        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == 0:
                keep(tmp_path / "archive", cipher, io.BytesIO(self.getvalue()), DROP)
            return super().read(size)

    keep(tmp_path / "archive", cipher, Slow(b"what was said"), DROP)
    (there,) = (tmp_path / "archive").iterdir()
    assert open_archived(cipher, there).read() == b"what was said"


def _dies(_: Path) -> None:
    raise KeyboardInterrupt


def test_what_a_patient_said_is_for_our_account_alone_whatever_the_umask(folder, cipher, tmp_path):
    before = os.umask(0)
    try:
        Settings(tmp_path, landing_url=str(tmp_path / "new")).make_home()
        landing = landing_zone(str(tmp_path / "new"), tmp_path / "sealed", cipher)
        landing.put("a.json", io.BytesIO(b"{}"))
        modes = [path.stat().st_mode & 0o777 for path in (landing.path, landing.path / "a.json")]
        with landing.open("a.json") as stream:
            landing.put_away("a.json", DROP, stream, landing.state(stream))
    finally:
        os.umask(before)
    modes += [path.stat().st_mode & 0o777 for path in (tmp_path / "sealed", tmp_path / "sealed" / f"{DROP}.sealed")]
    assert modes == [0o700, 0o600, 0o700, 0o600]


class Killed(Exception):
    pass


def test_a_drop_whose_producer_was_killed_is_removed_a_day_later_and_nothing_else(folder, monkeypatch):
    def dies(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dies)
        with pytest.raises(Killed):
            folder.put("a.json", io.BytesIO(b"half a patient"))
    (left,) = folder.path.iterdir()
    assert left.stat().st_mode & 0o777 == 0o600
    assert (folder.ready(), folder.clear()) == ([], 0)
    others = [".hidden.json", "slow.tmp", f".refused-{DROP}", f".{DROP}.tmp.json", f"{DROP}.tmp"]
    for name in others:
        (folder.path / name).write_bytes(b"{}")
    (folder.path / f".{uuid.uuid4()}.tmp").mkdir()
    for path in folder.path.iterdir():
        os.utime(path, (time.time() - 90_000, time.time() - 90_000))
    with left.open("ab"):
        assert folder.clear() == 0  # somebody still has it
    assert folder.clear() == 1
    assert not left.exists()
    assert len([*folder.path.iterdir()]) == len(others) + 1


def test_a_disk_that_takes_no_more_is_told_in_a_sentence_and_no_half_of_a_drop_stays(tmp_path):
    settings = Settings.from_env({"GLP1_HOME": str(tmp_path / "home")})
    settings.make_home()
    KeyRing.create(settings.home / "secrets" / "keys.json")
    small, large = tmp_path / "small.json", tmp_path / "large.json"
    small.write_bytes(b"{}")
    large.write_bytes(b"x" * 9_000)

    def drop(*files, room: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "glp1_pipeline.cli", "drop", *map(str, files)],
            env={**os.environ, "GLP1_HOME": str(tmp_path / "home")}, capture_output=True, text=True, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        )  # fmt: skip

    assert drop(small, room=10_000).returncode == 0
    full = drop(small, large, room=1_000)
    assert full.returncode == 1
    assert "did not take file 2 of 2 (File too large): make room there" in full.stderr
    assert "Traceback" not in full.stderr
    landing = tmp_path / "home" / "landing"
    assert [path.read_bytes() for path in landing.iterdir()] == [b"{}", b"{}"]


def test_a_landing_zone_that_is_away_is_made_anew_by_no_process_that_opens_it_and_by_no_drop(tmp_path, cipher):
    away = tmp_path / "not-mounted"
    with pytest.raises(FileNotFoundError):
        landing_zone(str(away), None, cipher).put("a.json", io.BytesIO(b"{}"))
    assert not away.exists()


def test_a_drop_left_behind_between_the_two_last_steps_is_found_again(folder):
    (folder.path / f".settled-{DROP}").write_bytes(b"{}")
    assert folder.ready() == [f".settled-{DROP}"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "ftp://jane:canary@127.0.0.1:1/drops",
            "does not answer as it should (ConnectionRefusedError): check its address",
        ),
        ("ftp://jane:canary/ary@127.0.0.1/drops", "does not answer as it should (ValueError): check its address"),
        ("canary-store://x", "needs a driver that is not installed: Protocol not known: canary-store"),
    ],
    ids=["away", "a slash in a password", "no such store"],
)
def test_a_bucket_that_cannot_be_reached_is_told_in_a_sentence(tmp_path, url, words):
    settings = Settings.from_env({"GLP1_HOME": str(tmp_path)})
    settings.make_home()
    KeyRing.create(settings.home / "secrets" / "keys.json")
    (tmp_path / "one.json").write_bytes(b"{}")
    said = subprocess.run(
        [sys.executable, "-m", "glp1_pipeline.cli", "drop", str(tmp_path / "one.json")],
        env={**os.environ, "GLP1_HOME": str(tmp_path), "GLP1_LANDING_URL": url},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 1
    assert words in said.stderr
    assert "Traceback" not in said.stderr
    assert "canary" not in (said.stderr + said.stdout).replace("canary-store", "")


def test_a_bucket_lands_drops_like_a_folder(tmp_path, cipher):
    bucket = Bucket("memory://landing-test", tmp_path / "archive", cipher)
    bucket.put("one.json", io.BytesIO(b"{}"))
    assert bucket.ready() == ["one.json"]
    with bucket.open("one.json") as stream:
        assert digest(stream)[1] == 2
        bucket.put_away("one.json", DROP, stream, bucket.state(stream))
    assert bucket.ready() == []


@pytest.fixture
def bucket(tmp_path, cipher):
    return Bucket(f"memory://{uuid.uuid4()}", tmp_path / "archive", cipher)


@pytest.mark.parametrize("second", [b"another", b"2nd!!", b"first"], ids=["longer", "as long", "the same"])
def test_an_object_put_again_while_the_first_was_read_is_read_too(bucket, second):
    bucket.put("day.json", io.BytesIO(b"first"))
    with bucket.open("day.json") as stream:
        state = bucket.state(stream)
        assert digest(stream)[1] == 5
        assert bucket.still_has("day.json", state)
        bucket.put("day.json", io.BytesIO(second))
        assert not bucket.still_has("day.json", state)
        bucket.put_away("day.json", DROP, stream, state)
    assert bucket.ready() == ["day.json"]
    with bucket.open("day.json") as stream:
        assert stream.read() == second
        bucket.put_away("day.json", DROP, stream, bucket.state(stream))
    assert bucket.ready() == []


def test_an_object_put_again_while_it_was_opened_is_read_too(bucket, monkeypatch):
    bucket.put("day.json", io.BytesIO(b"first"))
    inner = bucket.filesystem.open

    def call(path: str, mode: str) -> Any:
        stream = inner(path, mode)
        with inner(path, "wb") as file:
            file.write(b"2nd!!")
        return stream

    with monkeypatch.context() as patch:
        patch.setattr(bucket.filesystem, "open", call, raising=False)
        stream = bucket.open("day.json")
    with stream:
        bucket.put_away("day.json", DROP, stream, bucket.state(stream))
    assert bucket.ready() == ["day.json"]


def test_an_object_that_is_gone_is_nobodys_fault(bucket):
    bucket.put("day.json", io.BytesIO(b"first"))
    with bucket.open("day.json") as stream:
        bucket.filesystem.rm(f"{bucket.root}/day.json")
        assert not bucket.still_has("day.json", bucket.state(stream))
        bucket.put_away("day.json", DROP, stream, bucket.state(stream))
    assert bucket.ready() == []


@pytest.mark.parametrize(("start", "name"), [(b"\x1f\x8b\x08", "gzip"), (b"PK\x03\x04", "zip"), (b"{}", None)])
def test_a_packed_file_is_known_by_its_first_bytes(start, name):
    assert packed_as(io.BytesIO(start + b"....")) == name


def test_a_line_too_long_is_cut_marked_and_the_next_one_is_whole():
    found = list(lines(io.BytesIO(b"a" * (3 * MAX_LINE_BYTES) + b"\nshort\n"), 0, 0))
    assert [(len(line.content), line.is_too_long, line.number) for line in found] == [
        (MAX_LINE_BYTES, True, 1),
        (5, False, 2),
    ]


def test_a_line_of_exactly_the_limit_is_not_too_long():
    (line,) = lines(io.BytesIO(b"a" * MAX_LINE_BYTES + b"\r\n"), 0, 0)
    assert not line.is_too_long
    assert len(line.content) == MAX_LINE_BYTES


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=12))
def test_reading_on_from_any_line_gives_the_lines_that_were_left(parts):
    content = b"\n".join(parts)
    everything = list(lines(io.BytesIO(content), 0, 0))
    for index, line in enumerate(everything):
        rest = list(lines(io.BytesIO(content), line.end, line.number))
        assert [r.content for r in rest] == [e.content for e in everything[index + 1 :]]
        assert [r.number for r in rest] == [e.number for e in everything[index + 1 :]]
