"""A Postgres of somebody else: what it must be is said before it is used, and its defaults change nothing of ours."""

from __future__ import annotations

import base64
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from psycopg.conninfo import make_conninfo

from glp1_pipeline.adapters import processes, store
from glp1_pipeline.adapters.cipher import KeyMissing, KeyRing
from glp1_pipeline.adapters.foreign_server import require_fit
from glp1_pipeline.adapters.schema import drift, migrate
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.variables import SettingsError
from glp1_pipeline.sandbox.dagster_home import dagster_env
from glp1_pipeline.sandbox.demo import prepare
from glp1_pipeline.sandbox.stack import Stack
from glp1_pipeline.sandbox.supervisor import StackError
from glp1_pipeline_tests.small_road import database_of_bytes, empty_database, small_road, submission


def settings(home: Path, url: str) -> Settings:
    return Settings.from_env(
        {"GLP1_HOME": str(home), "GLP1_DATABASE_URL": url, "GLP1_DAGSTER_DATABASE_URL": url.replace("test_", "other_")}
    )


def keep(ring: KeyRing, path: Path) -> None:
    keys = {kid: base64.b64encode(key).decode() for kid, key in ring.keys.items()}
    content = {"active": ring.active, "keys": keys, "patient_key": base64.b64encode(ring.patient_key).decode()}
    path.parent.mkdir(parents=True)
    path.write_bytes(orjson.dumps(content))


@pytest.mark.parametrize("default", ["serializable", "repeatable read"])
def test_whoever_gets_a_lock_sees_what_its_last_holder_wrote_whatever_the_servers_default(
    url: str, default: str
) -> None:
    option = "-c default_transaction_isolation=" + default.replace(" ", "\\ ")
    asked = f"{url}&options={quote(option)}"
    with store.connect(asked, "test") as connection:
        assert connection.execute("show transaction_isolation").fetchone() == ("read committed",)


def test_a_database_whose_name_needs_percent_signs_gets_our_tables() -> None:
    url = empty_database(" a@b/%41é")
    migrate(url)
    assert drift(url) == []


def test_a_database_that_cannot_hold_every_name_is_told_with_what_mends_it() -> None:
    url, other = empty_database(), database_of_bytes()
    require_fit(lambda: store.connect(url, "test"), 4)
    with pytest.raises(SettingsError, match=r"kept in SQL_ASCII.*encoding 'UTF8'"):
        require_fit(lambda: store.connect(other, "test"), 4)


def test_too_few_connections_for_so_many_workers_are_told_with_how_many_it_takes(url: str) -> None:
    require_fit(lambda: store.connect(url, "test"), 4)
    with pytest.raises(SettingsError, match=r"up to 204 are needed.*max_connections to 207.*GLP1_WORKERS to 61"):
        require_fit(lambda: store.connect(url, "test"), 64)


def test_a_store_that_lets_in_no_more_says_so_and_does_not_send_anybody_to_start_it() -> None:
    url = empty_database()
    with store.connect(url, "test") as one:
        one.execute(f'alter database "{one.info.dbname}" connection limit 1'.encode())
        with pytest.raises(store.StoreGone, match=r"takes no more connections.*max_connections"):
            store.connect(url, "test")


def test_a_store_that_takes_no_writes_or_has_no_room_is_one_sentence_that_says_so(url: str, tmp_path: Path) -> None:
    new = empty_database() + "&options=" + quote("-c default_transaction_read_only=on")
    for start in (lambda: migrate(new), lambda: prepare(settings(tmp_path, new))):
        with pytest.raises(store.StoreGone, match=r"takes no writes.*default_transaction_read_only is on"):
            start()
    with pytest.raises(store.StoreGone, match="takes no writes"), store.connect(new, "test") as connection:
        connection.execute("create table one (id int)")
    with pytest.raises(store.StoreGone, match="disk of the store is full"), store.connect(url, "test") as connection:
        connection.execute("do $$ begin raise exception 'OtterTide' using errcode = '53100'; end $$")


def test_a_store_that_recovers_is_waited_for_and_not_started_again() -> None:
    said = b"SFATAL\0C57P03\0Mthe database system is in recovery mode\0\0"
    with socket.create_server(("127.0.0.1", 0)) as door, ThreadPoolExecutor(1) as hall:

        def refuse() -> None:
            client, _ = door.accept()
            with client:
                client.recv(1000)
                client.sendall(b"E" + struct.pack("!I", len(said) + 4) + said)

        hall.submit(refuse)
        url = f"postgresql://glp1@127.0.0.1:{door.getsockname()[1]}/x?sslmode=disable&gssencmode=disable"
        with pytest.raises(store.StoreGone, match=r"recovering.*wait a moment"):
            store.connect(url, "test")


def test_a_pooler_that_gives_two_clients_one_session_is_told_before_a_lock_is_held_by_both(url: str) -> None:
    with store.connect(url, "test") as shared:

        class Client:
            """A connection through a pooler that gives each transaction the session that is free."""

            info, execute = shared.info, shared.execute

            def __enter__(self) -> Client:
                return self

            def __exit__(self, *_: Any) -> None:
                pass

        client: Any = Client
        with pytest.raises(SettingsError, match="pool mode to session"):
            require_fit(client, 4)


def test_a_server_that_does_not_answer_is_one_sentence_at_the_start_too(tmp_path: Path) -> None:
    away = "postgresql://glp1:OtterTide@127.0.0.1:1/test_x"
    for start in (lambda: migrate(away), lambda: prepare(settings(tmp_path, away))):
        with pytest.raises(store.StoreGone, match="check GLP1_DATABASE_URL") as told:
            start()
        assert "OtterTide" not in str(told.value)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"password": "OtterTide"}, "does not let us in"),
        ({"user": "nobody_here"}, "does not let us in"),
        ({"dbname": "none_such"}, "does not let us in"),
        ({"sslmode": "verify-full", "sslrootcert": "/none"}, "by TLS as its address asks"),
        ({"port": "1"}, "does not answer"),
    ],
)
def test_who_is_not_let_in_is_told_so_and_not_that_nobody_answers(url: str, what: dict[str, str], says: str) -> None:
    address = make_conninfo(url, **what)
    with pytest.raises(store.StoreGone, match=f"^the store .*{says}.*GLP1_DATABASE_URL") as told:
        store.connect(address, "test")
    assert "OtterTide" not in str(told.value)


def test_a_database_that_was_filled_with_another_key_ring_is_not_started(url: str, tmp_path: Path) -> None:
    with small_road(url, tmp_path) as road:
        road.send(submission(1))
        mine, other = settings(tmp_path / "mine", url), settings(tmp_path / "other", url)
        ring = KeyRing.create(other.home / "secrets" / "keys.json")
        with pytest.raises(KeyMissing, match="another key ring"):
            prepare(other)
        assert ring == KeyRing.load(other.home / "secrets" / "keys.json")
        with pytest.raises(KeyMissing, match="no key ring"):
            prepare(mine)
        keep(road.cipher.ring, mine.home / "secrets" / "keys.json")
        prepare(mine)


def test_of_two_installations_that_meet_in_a_new_database_the_second_is_told_before_anybody_is_two_patients(
    tmp_path: Path,
) -> None:
    url = empty_database()
    first, second, third = (settings(tmp_path / name, url) for name in ("first", "second", "third"))
    prepare(first)
    prepare(first)
    ring = KeyRing.create(second.home / "secrets" / "keys.json")
    with pytest.raises(KeyMissing, match="begun with another key ring"):
        prepare(second)
    with pytest.raises(KeyMissing, match="begun with a key ring"):
        prepare(third)
    assert not (third.home / "secrets" / "keys.json").exists()
    assert KeyRing.load(second.home / "secrets" / "keys.json") == ring
    keep(KeyRing.load(first.home / "secrets" / "keys.json"), third.home / "secrets" / "keys.json")
    prepare(third)


def test_a_second_stack_on_the_same_database_of_dagster_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    url = empty_database()
    given = {"GLP1_DATABASE_URL": url, "GLP1_DAGSTER_DATABASE_URL": url}
    first, second, third = (
        Stack(Settings.from_env(given | {"GLP1_HOME": str(tmp_path / name)}), lambda _: None, say=lambda _: None)
        for name in ("first", "second", "third")
    )
    with first, second:
        first.claim_dagster()
        with pytest.raises(StackError, match=r"Another `glp1 up` runs.*give this one another database"):
            second.claim_dagster()
    with third:
        third.claim_dagster()


def test_dagsters_tables_are_made_in_each_database_that_is_named_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    first, second = empty_database(), empty_database()

    def makes_tables(_: object, *, env: dict[str, str], **__: object) -> int:
        made.append(env["GLP1_DAGSTER_URL"])
        with store.connect(made[-1].replace("+psycopg2", ""), "test") as connection:
            connection.execute("create table runs (id int)")
        return 0

    monkeypatch.setattr(processes, "run", makes_tables)
    for url in (first, first, second, second):
        home = {"GLP1_HOME": str(tmp_path), "GLP1_DATABASE_URL": url, "GLP1_DAGSTER_DATABASE_URL": url}
        stack = Stack(Settings.from_env(home), lambda _: None, say=lambda _: None)
        stack.settings.make_home()
        stack.prepare_dagster(dagster_env(stack.settings))
    assert [url.partition("://")[2] for url in made] == [url.partition("://")[2] for url in (first, second)]
