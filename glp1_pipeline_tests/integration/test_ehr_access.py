"""The EHR lets us in: by a secret or by what our key signed, each as SMART backend services asks; else a person is told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from glp1_pipeline.adapters.ehr import EhrMisconfigured
from glp1_pipeline.adapters.ehr.client_key import ClientKey, new_key
from glp1_pipeline.adapters.settings import Settings, SettingsError
from glp1_pipeline.cli.keys import keys
from glp1_pipeline.sandbox.drills.proxy import FaultProxy, status
from glp1_pipeline_tests.deliveries import World

from .conftest import EhrProcess, run_ehr

US = "glp1-pipeline"


def pem_of(private: Any, password: bytes | None = None) -> str:
    closed = BestAvailableEncryption(password) if password else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, closed).decode()


RSA_KEY = pem_of(rsa.generate_private_key(65537, 2048))
EC_KEY = new_key()


@pytest.fixture(scope="module")
def strict_ehr(tmp_path_factory) -> Iterator[EhrProcess]:
    """It knows one client by a secret and two by a key; a token lives for a minute, a signed word is taken once."""
    smart = {
        "types": ["smart"],
        "token_lifetime": 60,
        "smart_clients": [
            {"client_id": "by-secret", "scopes": "system/*.*", "client_secret": "right"},
            {"client_id": US, "scopes": "system/*.*", "jwks": ClientKey(EC_KEY).registered()},
            {"client_id": "by-rsa", "scopes": "system/*.*", "jwks": ClientKey(RSA_KEY).registered()},
        ],
    }
    with run_ehr(tmp_path_factory.mktemp("strict"), smart) as process:
        yield process


@pytest.fixture
def world(url: str, strict_ehr: EhrProcess) -> Iterator[World]:
    world = World(url, strict_ehr.url)
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Anna"))
    yield world
    world.close()


KNOWN = {
    "a secret": {"client_id": "by-secret", "client_secret": "right"},
    "a key of RSA": {"client_id": "by-rsa", "client_key": RSA_KEY},
    "a key of P-384": {"client_id": US, "client_key": EC_KEY},
}
STRANGE = {
    "another secret": {"client_id": "by-secret", "client_secret": "wrong"},
    "another key": {"client_id": US, "client_key": new_key()},
    "another id": {"client_id": "nobody", "client_key": EC_KEY},
}


@pytest.mark.parametrize("how", KNOWN)
def test_whom_the_ehr_knows_delivers_and_gets_a_new_token_when_one_is_forgotten(world: World, how: str) -> None:
    ehr = world.ehr(**KNOWN[how])
    world.drain(ehr)
    assert world.statuses() == {"delivered": 1}
    ehr.wire._token = "forgotten"
    (patient,) = world.patients(1)
    world.plan(patient, patient.chart(1, "Berta"))
    assert world.deliver(ehr).delivered == 1


@pytest.mark.parametrize("how", STRANGE)
def test_whom_it_does_not_know_opens_the_breaker_and_burns_no_try(world: World, how: str) -> None:
    assert world.deliver(world.ehr(**STRANGE[how])).stopped == "unauthorized"
    assert world.breaker()[0] == "open"
    assert [(s, tries) for _, s, tries, _ in world.writes()] == [("ready", 0)]
    world.drain(world.ehr(**KNOWN["a key of P-384"]))
    assert world.statuses() == {"delivered": 1}


def test_a_refused_scope_opens_the_breaker(world: World) -> None:
    with FaultProxy(world.ehr_url) as proxy:
        proxy.plan(status(403))
        assert world.deliver(world.ehr(proxy.url, **KNOWN["a secret"])).stopped == "forbidden"
    assert [(s, tries) for _, s, tries, _ in world.writes()] == [("ready", 0)]


def test_a_scope_that_the_server_does_not_give_us_is_not_asked_for(world: World) -> None:
    """Where an EHR grants scope by scope, GLP1_EHR_SCOPE names them; too narrow a one is refused in a way that tells."""
    assert world.deliver(world.ehr(**KNOWN["a secret"], scope="system/Patient.rs")).stopped == "forbidden"
    world.drain(world.ehr(**KNOWN["a secret"], scope="system/*.cruds"))
    assert world.statuses() == {"delivered": 1}


@pytest.mark.parametrize("pem", [RSA_KEY, EC_KEY])
def test_what_is_signed_is_for_one_address_one_use_and_some_minutes(pem: str) -> None:
    key = ClientKey(pem)
    (public,) = key.registered()["keys"]
    words = [key.assertion(US, "https://ehr.example.org/token") for _ in range(2)]
    told = [jwt.decode(word, jwt.PyJWK(public), audience="https://ehr.example.org/token") for word in words]
    assert {(one["iss"], one["sub"]) for one in told} == {(US, US)}
    assert len({one["jti"] for one in told}) == 2
    assert all(0 < one["exp"] - time.time() <= 300 for one in told)
    assert jwt.get_unverified_header(words[0]) == {"alg": public["alg"], "kid": public["kid"], "typ": "JWT"}


UNFIT = {
    "no key": "hush",
    "a key behind a password": pem_of(ec.generate_private_key(ec.SECP384R1()), b"hush"),
    "too short": pem_of(rsa.generate_private_key(65537, 1024)),
    "another curve": pem_of(ec.generate_private_key(ec.SECP256R1())),
    "another kind": pem_of(ed25519.Ed25519PrivateKey.generate()),
}


@pytest.mark.parametrize("why", UNFIT)
def test_a_key_that_smart_does_not_know_is_told_before_anything_is_sent(world: World, why: str) -> None:
    with pytest.raises(EhrMisconfigured, match=r"^The key for the EHR (is no|must be)") as caught:
        world.ehr(client_id=US, client_key=UNFIT[why])
    assert "hush" not in str(caught.value)
    assert UNFIT[why] not in repr(caught.value)


# ---- by settings and the command line


def printed(home: Path, **env: str) -> dict[str, Any]:
    done = CliRunner(env={"GLP1_HOME": str(home), **env}).invoke(keys, ["ehr"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_key_that_the_command_makes_is_the_one_that_the_ehr_knows_us_by(tmp_path: Path, url: str) -> None:
    first = printed(tmp_path)
    assert first == printed(tmp_path, GLP1_EHR_CLIENT_ID=US)
    assert set(first["keys"][0]) == {"kty", "crv", "x", "y", "kid", "alg", "use", "key_ops"}  # and nothing private
    assert (tmp_path / "secrets" / "ehr_client_key").stat().st_mode & 0o777 == 0o600
    smart = {"types": ["smart"], "smart_clients": [{"client_id": US, "scopes": "system/*.*", "jwks": first}]}
    known = Settings.from_env({"GLP1_HOME": str(tmp_path), "GLP1_EHR_CLIENT_ID": US}).ehr_credentials()
    (tmp_path / "there").mkdir()
    with run_ehr(tmp_path / "there", smart) as process:
        world = World(url, process.url)
        (patient,) = world.patients(1)
        world.plan(patient, patient.chart(1, "Anna"))
        world.drain(world.ehr(**known))
        assert world.statuses() == {"delivered": 1}
        world.close()


def test_a_file_of_ones_own_is_printed_and_used_and_none_is_made(tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_text(RSA_KEY)
    env = {"GLP1_HOME": str(tmp_path / "home"), "GLP1_EHR_CLIENT_ID": US, "GLP1_EHR_CLIENT_KEY": str(own)}
    assert (
        printed(tmp_path / "home", GLP1_EHR_CLIENT_KEY=str(own), GLP1_EHR_CLIENT_ID=US)
        == ClientKey(RSA_KEY).registered()
    )
    assert not (tmp_path / "home" / "secrets" / "ehr_client_key").exists()
    settings = Settings.from_env({**env, "GLP1_EHR_SCOPE": "system/Patient.cruds"})
    assert settings.ehr_credentials() == {"client_id": US, "client_key": RSA_KEY, "scope": "system/Patient.cruds"}


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"GLP1_EHR_CLIENT_SECRET": "hush"}, "need GLP1_EHR_CLIENT_ID"),
        ({"GLP1_EHR_SCOPE": "system/*.rs"}, "need GLP1_EHR_CLIENT_ID"),
        ({"GLP1_EHR_CLIENT_ID": US, "GLP1_EHR_CLIENT_SECRET": "hush", "GLP1_EHR_CLIENT_KEY": "k"}, "leave one out"),
        ({"GLP1_EHR_CLIENT_ID": US}, "glp1 keys ehr"),
        ({"GLP1_EHR_CLIENT_ID": US, "GLP1_EHR_CLIENT_KEY": "/nowhere/hush"}, r"cannot be read \(No such file"),
    ],
)
def test_credentials_that_make_no_sense_are_a_sentence_with_the_way_on(
    tmp_path: Path, env: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.from_env({"GLP1_HOME": str(tmp_path), **env}).ehr_credentials()
