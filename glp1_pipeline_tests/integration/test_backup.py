"""A backup promises: one instant, sealed, whole or refused; restored it is what it was; and nobody is told a thing twice."""

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from glp1_pipeline.adapters import backup, backup_file, processes
from glp1_pipeline.adapters import balance as counting
from glp1_pipeline.adapters.backup import (
    TRIAL,
    Programs,
    check,
    make,
    restore,
    scratch_database,
    take_again,
    unknown_drops,
)
from glp1_pipeline.adapters.backup_file import POINT, BackupFault, Writer
from glp1_pipeline.adapters.balance import balance, fingerprint
from glp1_pipeline.adapters.cipher import Cipher, KeyMissing, KeyRing
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings
from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.adapters.ehr_unknown import extra_there, unknown_there
from glp1_pipeline.adapters.landing import Folder
from glp1_pipeline.adapters.outbox import deliver_pending
from glp1_pipeline.adapters.postgres import EmbeddedPostgres
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.cli import backup as commands
from glp1_pipeline.sandbox.demo import prepare
from glp1_pipeline_tests.small_road import (
    RING,
    SmallRoad,
    address_of_server,
    amendment,
    connect,
    empty_database,
    migrated_database,
    small_road,
    submission,
)

PROGRAMS = Programs.of(Settings.from_env({}))


@pytest.fixture(scope="module")
def database() -> str:
    return migrated_database()


@pytest.fixture
def road(database, tmp_path):
    with small_road(database, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def made(database, tmp_path_factory):
    """A backup in many pieces of a road with ten people, and what the road was then."""
    with small_road(database, tmp_path_factory.mktemp("made")) as road, pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup, "CHUNK", 20_000)
        road.send(*[submission(n) for n in range(1, 11)])
        road.drop("bad.ndjson", b"not an event")
        road.take()
        file = road.folder / "one.backup"
        point = make(road.url, road.cipher, file, PROGRAMS)
        yield file, point, road.fingerprint(), road.balance().as_dict()


def test_a_backup_asks_of_pg_dump_only_what_the_oldest_that_serves_understands(road, tmp_path):
    """That of Postgres 15 takes a level of compression in numbers alone."""
    strict = tmp_path / "pg_dump"
    strict.write_text(f'#!/bin/sh\ncase "$*" in *--compress=[!0-9]*) exit 1;; esac\nexec {PROGRAMS.dump} "$@"\n')
    strict.chmod(0o700)
    road.send(submission(1))
    point = make(road.url, road.cipher, tmp_path / "backup", Programs(str(strict), PROGRAMS.restore))
    assert point["balance"]["received"] == 1


def test_what_comes_back_is_what_was_there(made, tmp_path):
    file, point, was, held = made
    assert (point["fingerprint"], point["balance"]) == (was, held)
    target = empty_database()
    assert restore(target, Cipher(RING), file, PROGRAMS)["fingerprint"] == was
    with connect(target) as connection:
        assert (fingerprint(connection), balance(connection).received) == (was, held["received"])
        assert balance(connection).holds
        again = SmallRoad(target, tmp_path, connection)
        assert again.replay().writes == 0  # every body opens, and says what it said
        assert again.fingerprint() == was
        assert again.send(submission(11)).events == 1


def test_a_release_that_counts_more_or_less_as_a_fault_restores_what_an_earlier_one_made(road, monkeypatch):
    road.send(submission(1))
    fault = {"of another release": "select from ops.writes"}
    for name, made_by, restored_by in (("less", fault, {}), ("more", {}, fault)):
        file, target = road.folder / name, empty_database()
        with monkeypatch.context() as patch:
            patch.setattr(counting, "FAULTS", counting.FAULTS | made_by)
            assert make(road.url, road.cipher, file, PROGRAMS)["balance"]["holds"] is (not made_by)
        with monkeypatch.context() as patch:
            patch.setattr(counting, "FAULTS", counting.FAULTS | restored_by)
            assert restore(target, road.cipher, file, PROGRAMS)["fingerprint"] == road.fingerprint()
            with connect(target) as connection:
                assert balance(connection).holds is (not restored_by)


def test_the_file_is_sealed_closed_and_holds_no_key(made):
    file, *_ = made
    content = file.read_bytes()
    assert not any(word in content for word in (b"Canary", b"example.org", b"patient_values", *RING.keys.values()))
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(KeyMissing, match="sealed under k1"):
        check(file, Cipher(KeyRing("k9", {"k9": b"9" * 32}, b"p" * 32)), PROGRAMS)


def test_a_backup_is_of_one_instant_whatever_comes_in_meanwhile(road):
    road.send(submission(1))
    with connect(road.url) as own:
        other, told = SmallRoad(road.url, road.folder, own), []

        def meanwhile(_: int) -> None:
            if not told:
                told.append(other.send(submission(2)).events)

        file = road.folder / "a.backup"
        point = make(road.url, road.cipher, file, PROGRAMS, meanwhile)
    assert (told, point["balance"]["received"], road.balance().received) == ([1], 1, 2)
    target = empty_database()
    restore(target, road.cipher, file, PROGRAMS)
    with connect(target) as connection:
        assert balance(connection).received == 1


def test_a_disk_that_takes_no_more_of_a_backup_is_a_sentence_and_leaves_no_file(road, tmp_path, monkeypatch):
    """Wherever it is full, and where it knows no hard links, as a stick or a share of another system."""
    file = tmp_path / "a-backup"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for call in ("link", "fsync"):
        with monkeypatch.context() as once:
            once.setattr(backup_file.os, call, full)
            with pytest.raises(BackupFault, match="did not take the backup"):
                make(road.url, Cipher(RING), file, PROGRAMS)
        assert list(tmp_path.iterdir()) == []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for room in (10, 5_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
            with pytest.raises(BackupFault, match="did not take the backup"):
                make(road.url, Cipher(RING), file, PROGRAMS)
            assert list(tmp_path.iterdir()) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, was)


@pytest.mark.parametrize(
    "harm",
    [
        lambda b: b[:-200],  # cut short
        lambda b: b[: len(b) // 2],
        lambda b: b[: len(b) // 2] + bytes([b[len(b) // 2] ^ 1]) + b[len(b) // 2 + 1 :],
        lambda b: b + b[-50:],
        lambda b: b.replace(b[14:22], b"00000000", 1),  # another backup's name
        lambda b: b"",
        lambda b: b"PGDMP" + b,
    ],
)
def test_a_file_that_is_not_whole_is_refused_before_anything_is_touched(made, tmp_path, harm):
    file, *_ = made
    harmed, target = tmp_path / "harmed", empty_database()
    harmed.write_bytes(harm(file.read_bytes()))
    with pytest.raises(BackupFault):
        restore(target, Cipher(RING), harmed, PROGRAMS)
    with connect(target) as connection:
        assert connection.execute("select to_regnamespace('phi')").fetchone() == (None,)


def until_nobody_uses(url: str) -> None:
    """Whoever left a database, or died: its session ends a moment later."""
    others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    with connect(url) as watching:
        while watching.execute(others).fetchone() != (0,):
            time.sleep(0.05)


def test_it_goes_into_an_empty_database_that_nobody_uses_and_never_over_anything(made, road):
    file, *_ = made
    road.send(submission(50))
    was = road.fingerprint()
    with pytest.raises(BackupFault, match="other sessions"):
        restore(road.url, Cipher(RING), file, PROGRAMS)
    target = migrated_database()
    with connect(target) as connection:
        SmallRoad(target, road.folder, connection).send(submission(51))
    until_nobody_uses(target)
    with pytest.raises(BackupFault, match="not empty"):
        restore(target, Cipher(RING), file, PROGRAMS)
    assert road.fingerprint() == was
    with pytest.raises(BackupFault, match="there already"):
        make(road.url, road.cipher, file, PROGRAMS)


DIE = """
import os, signal, sys
from pathlib import Path
from glp1_pipeline.adapters import backup
from glp1_pipeline.adapters.cipher import Cipher
from glp1_pipeline.adapters.postgres import EmbeddedPostgres
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline_tests.small_road import RING
url, file, what, where = sys.argv[1:]
programs = backup.Programs.of(Settings.from_env({}))
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if where == "in the dump":
    backup.CHUNK = 20_000
    tell = die
else:
    tell = lambda _: None
    backup._holds = die
getattr(backup, what)(url, Cipher(RING), Path(file), programs, tell)
"""


def killed(url: str, file: Path, what: str, where: str) -> None:
    argv = [sys.executable, "-c", DIE, url, file, what, where]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, start_new_session=True) as dying:
        _, said = dying.communicate()
    assert dying.returncode == -signal.SIGKILL, said.decode()
    while processes.family(dying.pid):  # its pg_dump or pg_restore notices that we are gone
        time.sleep(0.05)


def test_killed_while_it_is_made_there_is_no_file_of_that_name(road):
    road.send(*[submission(n) for n in range(60, 64)])
    killed(road.url, road.folder / "half.backup", "make", "in the dump")
    assert not (road.folder / "half.backup").exists()
    make(road.url, road.cipher, road.folder / "half.backup", PROGRAMS)


def test_what_a_killed_backup_left_goes_with_the_next_one_and_another_that_is_being_made_stays(road):
    road.send(*[submission(n) for n in range(64, 66)])
    folder = road.folder / "nightly"
    folder.mkdir()
    (folder / ".notes.unfinished").write_text("somebody's own")
    killed(road.url, folder / "monday.backup", "make", "in the dump")
    assert len(list(folder.iterdir())) == 2
    with Writer(folder / "another.backup", road.cipher) as another:
        make(road.url, road.cipher, folder / "tuesday.backup", PROGRAMS)
        another.add(POINT, b"{}")
        another.close()
    assert {path.name for path in folder.iterdir()} == {".notes.unfinished", "another.backup", "tuesday.backup"}


def test_the_database_of_a_trial_that_was_killed_goes_with_the_next_trial_and_one_at_work_stays():
    making = address_of_server()
    owner = str(conninfo_to_dict(making)["user"])

    def trials() -> set[str]:
        with psycopg.connect(making) as connection:
            rows = connection.execute("select datname from pg_database where starts_with(datname, %s)", (TRIAL,))
            return {name for (name,) in rows}

    with scratch_database(making, str, owner) as at_work:
        child = os.fork()
        if child == 0:
            with scratch_database(making, str, owner):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert len(trials()) == 2
        ends, gone = time.monotonic() + 10, False
        while not gone and time.monotonic() < ends:  # the server notices the death in its own time
            with scratch_database(making, str, owner) as next_one:
                gone = trials() == {at_work, next_one}
        assert gone
    assert trials() == set()


@pytest.mark.parametrize("where", ["in the dump", "before it is proven"])
def test_killed_while_it_is_put_back_the_same_again_ends_it(made, where):
    file, _, was, _ = made
    target = migrated_database()  # as a new installation has it: tables and no row
    killed(target, file, "restore", where)
    until_nobody_uses(target)
    restore(target, Cipher(RING), file, PROGRAMS)
    with connect(target) as connection:
        assert fingerprint(connection) == was


def test_after_a_restore_the_ehr_that_knows_more_is_told_nothing_twice_and_nothing_is_lost(road, ehr):
    peer = Ehr(EhrSettings(ehr.url))

    def deliver(at: SmallRoad) -> None:
        kind = at.contract.writes["ehr_chart"]
        deliver_pending(lambda: connect(at.url), peer, kind, at.cipher.open, workers=2, deadline=20.0)

    first, second, later = submission(71), submission(72), submission(73)
    road.send(first)
    deliver(road)
    road.send(second)  # decided at the backup's instant, delivered after it
    file = road.folder / "before.backup"
    point = make(road.url, road.cipher, file, PROGRAMS)
    deliver(road)
    road.send(later, amendment(first, 1, {"anthro.weight": {"value": 98.5, "unit": "kg"}}))
    deliver(road)
    was, provenances = road.fingerprint(), count(ehr, "Provenance")
    resources = {kind: count(ehr, kind) for kind in ("Patient", "Observation", "Condition")}

    target = empty_database()
    assert restore(target, road.cipher, file, PROGRAMS)["doubted"] == 1
    with connect(target) as connection:
        again = SmallRoad(target, road.folder, connection)
        found = unknown_there(connection, peer, None)
        assert found.resources["Patient"] >= 2  # of the second and the later person
        assert found.versions
        assert extra_there(connection, peer)["Patient"] == 1  # of the later person: the second one was planned
        missing = unknown_drops(connection, road.folder / "archive")
        assert len(missing) == 1
        assert take_again(road.cipher, again.landing, missing) == 1
        again.take()
        again.chart()
        deliver(again)
        assert again.fingerprint() == was
        assert again.rows("select status, count(*) from ops.writes group by 1") == [("delivered", 4)]
        assert again.one("select count(*) from ops.copies where conflicts <> '{}'") == 0
        there = compare(connection, peer, again.cipher)
        assert (there.holds, there.not_sent_yet) == (True, 0)
        assert unknown_there(connection, peer, None).is_nothing
        assert not extra_there(connection, peer)
        assert {kind: count(ehr, kind) for kind in resources} == resources
        assert count(ehr, "Provenance") == provenances
        assert not unknown_drops(connection, road.folder / "archive")
    assert point["at"]


def count(ehr, kind: str) -> int:
    return Ehr(EhrSettings(ehr.url)).batch_get([f"{kind}?_summary=count"])[0]["resource"]["total"]


def test_by_the_command_line_a_lost_server_is_put_back_with_what_came_after_the_backup(tmp_path, monkeypatch):
    """The embedded server is started for each command, since `glp1 up` does not run."""
    monkeypatch.setenv("GLP1_HOME", str(tmp_path / "home"))
    for name in ("GLP1_DATABASE_URL", "GLP1_DAGSTER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings.from_env()
    archive, who = settings.home / "archive", ["--actor", "operations-lead", "--reason", "the disk died"]

    def say(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(commands.backup, list(words))
        assert done.exit_code == code, (done.output, done.exception)
        return done.stdout

    server = EmbeddedPostgres(settings, say=lambda _: None)
    server.start()
    prepare(settings)
    with connect(settings.store_url()) as connection:
        road = SmallRoad(settings.store_url(), settings.home, connection)
        road.cipher = Cipher(KeyRing.load(settings.home / "secrets" / "keys.json"))
        road.send(submission(80))
        point = json.loads(say("make", str(tmp_path / "b"), "--json"))
        assert json.loads(say("check", str(tmp_path / "b"), "--restore", "--json"))["restored"] is True
        road.send(submission(81))
        assert "not empty" not in say("restore", str(tmp_path / "b"), *who, code=1)  # another session uses it
        away = CliRunner(env={"GLP1_EHR_URL": "http://127.0.0.1:1"}).invoke(commands.backup, ["unknown"])
        assert away.exit_code == 1
        assert "the EHR does not tell what stands there (unreachable): try again when it is up" in away.stderr
    server.remove()
    assert json.loads(say("restore", str(tmp_path / "b"), *who, "--json"))["archived_drops_unknown"] == 1
    assert json.loads(say("take-again", "--json")) == {"dropped": 1}
    assert len(list((settings.home / "landing").iterdir())) == 1
    assert len(list(archive.iterdir())) == 2
    assert point["balance"]["received"] == 1
    server.remove()


@pytest.mark.parametrize("asked", [("make", "b"), ("unknown",), ("take-again",)])
def test_in_a_home_without_a_database_no_new_one_is_made_to_be_backed_up_or_asked(asked, tmp_path, monkeypatch):
    monkeypatch.setenv("GLP1_HOME", str(tmp_path / "misspelled"))
    for name in ("GLP1_DATABASE_URL", "GLP1_DAGSTER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(commands.backup, list(asked))
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.search("^Error: There is no database yet in .*misspelled", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_landing_and_archive_need_no_database_to_be_put_back(road, tmp_path):
    road.send(submission(90))
    landing = tmp_path / "other"
    landing.mkdir()
    with connect(migrated_database()) as empty:
        there = unknown_drops(empty, road.folder / "archive")
    assert take_again(road.cipher, Folder(landing, None, road.cipher), there) == 1
    assert next(landing.iterdir()).read_bytes().startswith(b"{")
