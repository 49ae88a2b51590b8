"""Keys promise: a new one is taken up without a restart, old bodies open until none is left, and no crash loses one."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner

from glp1_pipeline.adapters import keys, resealing
from glp1_pipeline.adapters.archive import open_archived
from glp1_pipeline.adapters.cipher import Cipher, KeyMissing, KeyRing, Tampered
from glp1_pipeline.adapters.resealing import SEALED, KeyFault, archived, count_sealed, keys_of_file, reseal
from glp1_pipeline.adapters.tables import metadata
from glp1_pipeline.cli import keys as commands
from glp1_pipeline_tests.small_road import SmallRoad, connect, empty_tables, submission

WHO = ("security-1", "yearly rotation")


@pytest.fixture
def road(url, tmp_path):
    """A road whose ring is a file that can change."""
    with connect(url) as connection:
        empty_tables(connection)
        KeyRing.create(ring_of(tmp_path))
        yield SmallRoad(url, tmp_path, connection, cipher=Cipher(KeyRing.load(ring_of(tmp_path))))


def ring_of(folder: Path) -> Path:
    return folder / "secrets" / "keys.json"


def rotate(road: SmallRoad) -> str:
    return keys.rotate(ring_of(road.folder), *WHO)


def retire(road: SmallRoad, kid: str, patience: float = 5.0) -> None:
    escrow = road.folder / f"{kid}.escrow"
    keys.retire(road.connection, ring_of(road.folder), road.folder / "archive", kid, escrow, *WHO, patience=patience)


def kids(road: SmallRoad) -> set[str]:
    return set(count_sealed(road.connection, road.folder / "archive"))


def opened(road: SmallRoad) -> list[bytes]:
    """Everything sealed, opened by who reads the ring now."""
    cipher = Cipher(KeyRing.load(ring_of(road.folder)))
    found = [
        cipher.open(kid, bytes(body), f"{kind.place}|{key}")
        for kind in SEALED
        for key, kid, body in road.connection.execute(
            kind.words("select {key}, kid, body from {table} where kid is not null order by {key}")
        )
    ]
    return found + [open_archived(cipher, path).read() for path in archived(road.folder / "archive")]


def test_every_table_with_sealed_bodies_is_known_to_who_seals_anew():
    there = {f"{t.schema}.{t.name}" for t in metadata.tables.values() if "kid" in t.columns}
    assert there == {kind.name for kind in SEALED}


def test_a_new_key_is_taken_up_without_a_restart_and_the_old_one_still_opens(road):
    road.send(submission(1), submission(2))
    before = opened(road)
    kid = rotate(road)
    road.send(submission(3))  # by the same object as before: a process that goes on
    assert kids(road) == {"k1", kid}
    assert set(before) <= set(opened(road))
    assert road.balance().holds


def test_sealing_anew_changes_no_content_no_meaning_and_holds_each_body_at_its_place(road):
    road.send(*[submission(n) for n in range(1, 30)])
    before, fingerprint = opened(road), road.fingerprint()
    kid = rotate(road)
    done = reseal(road.connection, road.cipher, road.folder / "archive")
    assert (done.left, dict(done.failed), kids(road)) == (0, {}, {kid})
    assert sum(done.done.values()) == len(before)
    assert (opened(road), road.fingerprint()) == (before, fingerprint)
    (a, sealed), (b, _) = road.rows("select event_id, body from phi.events order by event_id limit 2")
    assert road.cipher.open(kid, bytes(sealed), f"events|{a}")
    with pytest.raises(Tampered):
        road.cipher.open(kid, bytes(sealed), f"events|{b}")
    assert not reseal(road.connection, road.cipher, road.folder / "archive").done


RESEAL_AND_DIE = """
import os, signal, sys
from pathlib import Path
from glp1_pipeline.adapters import resealing
from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline_tests.small_road import connect
folder, dies_at = Path(sys.argv[2]), int(sys.argv[3])
resealing.CHUNK_ROWS = 4
class Mortal(Cipher):
    n = 0
    def reseal(self, *what):
        Mortal.n += 1
        if Mortal.n == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().reseal(*what)
with connect(sys.argv[1]) as connection:
    resealing.reseal(connection, Mortal(KeyRing.load(folder / "secrets" / "keys.json")), folder / "archive")
"""


def test_killed_in_the_middle_every_body_still_opens_and_the_next_run_does_the_rest(road):
    for n in range(1, 5):
        road.send(submission(2 * n), submission(2 * n + 1))
    before = opened(road)
    n_rows = sum(road.one(f"select count(*) from {kind.name}") for kind in SEALED)
    rotate(road)
    for dies_at in (6, n_rows):  # in a chunk of rows, and (less what is done) in the archive
        died = subprocess.run([sys.executable, "-c", RESEAL_AND_DIE, road.url, road.folder, str(dies_at)])
        assert died.returncode == -signal.SIGKILL
        assert opened(road) == before
    assert any((road.folder / "archive").glob(f"*{resealing.UNFINISHED}"))
    assert reseal(road.connection, road.cipher, road.folder / "archive").left == 0
    assert opened(road) == before
    assert not any((road.folder / "archive").glob(f"*{resealing.UNFINISHED}"))


def test_a_row_in_use_is_not_waited_for_and_done_by_the_next_run(road):
    road.send(submission(1), submission(2))
    rotate(road)
    with connect(road.url) as other, other.transaction():
        other.execute("select from phi.events limit 1 for update")
        assert reseal(road.connection, road.cipher, road.folder / "archive", is_over=Once()).left >= 1
    assert reseal(road.connection, road.cipher, road.folder / "archive").left == 0


class Once:
    """True after one pass over the tables and the archive."""

    asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked > 12


def test_a_body_that_does_not_open_is_counted_left_alone_and_keeps_its_key(road):
    road.send(submission(1), submission(2))
    road.connection.execute("update phi.events set body = set_byte(body, 70, get_byte(body, 70) # 1) where line = 1")
    kid = rotate(road)
    done = reseal(road.connection, road.cipher, road.folder / "archive")
    assert (done.left, dict(done.failed)) == (1, {"tampered": 1})
    with pytest.raises(KeyFault, match="1 bodies are still sealed under k1"):
        retire(road, "k1")
    assert kids(road) == {"k1", kid}


def test_a_key_goes_only_when_nothing_is_sealed_by_it_and_comes_back_from_escrow(road):
    road.send(submission(1))
    (body,) = road.rows("select kid, body, event_id from phi.events")
    with pytest.raises(KeyFault, match="current"):
        retire(road, "k1")
    kid = rotate(road)
    with pytest.raises(KeyFault, match="keys reseal"):
        retire(road, "k1")
    reseal(road.connection, road.cipher, road.folder / "archive")
    retire(road, "k1")
    assert set(KeyRing.load(ring_of(road.folder)).keys) == {kid}
    assert opened(road)
    with pytest.raises(
        KeyMissing, match="key k1 is not in the ring: put it back from escrow"
    ):  # what a backup of before holds
        Cipher(KeyRing.load(ring_of(road.folder))).open(body[0], bytes(body[1]), f"events|{body[2]}")
    assert (road.folder / "k1.escrow").stat().st_mode & 0o077 == 0
    assert keys.take_back(ring_of(road.folder), road.folder / "k1.escrow", *WHO) == ["k1"]
    assert Cipher(KeyRing.load(ring_of(road.folder))).open(body[0], bytes(body[1]), f"events|{body[2]}")
    assert [h["done"] for h in keys.history(ring_of(road.folder))] == ["made", "retired", "taken back"]


def test_who_sealed_before_the_rotation_and_commits_after_it_is_waited_for(road):
    road.send(submission(1))
    with connect(road.url) as other:
        late = SmallRoad(road.url, road.folder, other, cipher=road.cipher)
        late.drop("late.ndjson", submission(2))
        outcome: list[str] = []
        with other.transaction():
            late.take()  # sealed under k1, and not committed
            rotate(road)
            reseal(road.connection, road.cipher, road.folder / "archive")

            def end() -> None:
                try:
                    with connect(road.url) as own:
                        retire(SmallRoad(road.url, road.folder, own), "k1")
                except KeyFault as fault:
                    outcome.append(str(fault))

            ending = threading.Thread(target=end)
            ending.start()
            ending.join(0.7)
            assert ending.is_alive()
        ending.join()
    assert "still sealed under k1" in outcome[0]
    assert opened(road)


def test_retiring_gives_up_on_a_transaction_that_does_not_end(road):
    rotate(road)
    with connect(road.url) as other, other.transaction():
        other.execute("select 1")
        with pytest.raises(KeyFault, match="open for too long"):
            retire(road, "k1", patience=0.2)


def test_a_rotation_cut_short_leaves_the_ring_as_it_was(road, monkeypatch):
    before = ring_of(road.folder).read_bytes()

    def dies(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", dies)
    with pytest.raises(OSError, match="no space"):
        rotate(road)
    assert ring_of(road.folder).read_bytes() == before
    monkeypatch.undo()
    assert rotate(road) in KeyRing.load(ring_of(road.folder)).keys


def test_nothing_is_sealed_while_the_ring_is_gone_damaged_or_anothers_and_what_lies_there_still_opens(road, tmp_path):
    kid, sealed = road.cipher.seal(b"mine", "events|1")
    kept = ring_of(road.folder).read_bytes()
    for bad in (None, b"{", json.dumps(json.loads(kept) | {"patient_key": "eHh4"}).encode(), b'{"keys": 1}'):
        ring_of(road.folder).unlink(missing_ok=True)
        if bad is not None:
            ring_of(road.folder).write_bytes(bad)
        with pytest.raises(KeyMissing):
            road.cipher.seal(b"lost", "events|2")
        assert road.cipher.open(kid, sealed, "events|1") == b"mine"
    ring_of(road.folder).write_bytes(kept)
    assert road.cipher.seal(b"again", "events|3")


def test_no_key_is_ever_printed_and_two_keys_never_share_an_id(road):
    ring = KeyRing.load(ring_of(road.folder))
    assert all(repr(key) not in repr(ring) for key in (*ring.keys.values(), ring.patient_key))
    old = ring_of(road.folder).read_bytes()
    first = rotate(road)
    ring_of(road.folder).write_bytes(old)  # an old copy of the ring, put back
    assert rotate(road) != first


def test_the_command_line_rotates_seals_anew_and_retires_and_says_what_lies_where(road, monkeypatch):
    monkeypatch.setenv("GLP1_HOME", str(road.folder))
    for name in ("GLP1_DATABASE_URL", "GLP1_DAGSTER_DATABASE_URL"):
        monkeypatch.setenv(name, road.url)
    who = ["--actor", WHO[0], "--reason", WHO[1]]

    def say(*words: str, code: int = 0):
        done = CliRunner().invoke(commands.keys, list(words))
        assert done.exit_code == code, done.output
        return done.output

    road.send(submission(1))
    kid = json.loads(say("rotate", *who, "--json"))["key"]
    assert {k["key"]: k["state"] for k in json.loads(say("list", "--json"))["keys"]} == {"k1": "opens", kid: "current"}
    escrow = str(road.folder / "old-key")
    assert "keys reseal" in say("retire", "k1", "--escrow", escrow, *who, code=1)
    assert json.loads(say("reseal", "--json"))["left"] == 0
    say("retire", "k1", "--escrow", escrow, *who)
    listed = json.loads(say("list", "--json"))
    assert {k["key"]: k["state"] for k in listed["keys"]} == {"k1": "retired", kid: "current"}
    assert {h["actor"] for h in listed["history"]} == {WHO[0]}
    assert "yearly rotation" in say("list")
    ring_of(road.folder).write_text(json.dumps({**json.loads(ring_of(road.folder).read_text()), "retired": [],
                                                "active": "k9", "keys": {"k9": "eHh4"}}))  # fmt: skip
    assert "MISSING" in say("list", code=1)
    assert uuid.UUID(archived(road.folder / "archive")[0].stem)
    assert keys_of_file(archived(road.folder / "archive")[0]) == {kid}
