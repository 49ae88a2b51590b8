"""Encryption promises: sealed bytes open only at their own place, under a key of the ring, unchanged."""

import os
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline.adapters.cipher import Cipher, KeyMissing, KeyRing, Tampered

RING = KeyRing("k1", {"k1": b"1" * 32}, b"p" * 32)
CIPHER = Cipher(RING)


@given(st.binary(max_size=5000), st.text(max_size=40))
def test_what_was_sealed_opens_to_the_same_bytes_at_its_place(content, place):
    kid, sealed = CIPHER.seal(content, place)
    assert CIPHER.open(kid, sealed, place) == content


@given(st.binary(min_size=1, max_size=200), st.integers(min_value=0))
def test_one_changed_bit_anywhere_is_noticed(content, where):
    kid, sealed = CIPHER.seal(content, "events|1")
    index = where % len(sealed)
    changed = sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :]
    with pytest.raises(Tampered):
        CIPHER.open(kid, changed, "events|1")


def test_sealed_bytes_moved_to_another_row_do_not_open():
    kid, sealed = CIPHER.seal(b"mine", "events|1")
    with pytest.raises(Tampered) as refusal:
        CIPHER.open(kid, sealed, "events|2")
    assert "mine" not in str(refusal.value)


def test_a_key_that_is_not_in_the_ring_is_asked_for_by_name():
    with pytest.raises(KeyMissing, match="k9"):
        CIPHER.open("k9", b"x" * 100, "events|1")


def test_a_ring_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "secrets" / "keys.json"
    first = KeyRing.create(path)
    assert KeyRing.create(path) == first == KeyRing.load(path)
    assert path.stat().st_mode & 0o077 == 0


def test_a_start_killed_while_it_makes_the_ring_hinders_nobody_and_leaves_no_copy_of_a_key(tmp_path, monkeypatch):
    path = tmp_path / "keys.json"
    for killed in ("link", "fdopen"):
        with monkeypatch.context() as patched:
            patched.setattr(os, killed, _dies)
            with pytest.raises(KeyboardInterrupt):
                KeyRing.create(path)
    assert len(list(tmp_path.iterdir())) == 2
    KeyRing.create(path)
    assert list(tmp_path.iterdir()) == [path]


def _dies(*_args, **_options):
    raise KeyboardInterrupt


def test_a_missing_ring_says_how_to_mend_it(tmp_path):
    with pytest.raises(KeyMissing, match="put back the file"):
        KeyRing.load(tmp_path / "keys.json")


def test_a_patient_id_is_the_same_for_the_same_identifier_and_tells_nothing_without_the_key():
    other = KeyRing("k1", {"k1": b"1" * 32}, b"q" * 32)
    assert RING.patient_id("intake", "ada-canary") == RING.patient_id("intake", "ada-canary")
    assert RING.patient_id("intake", "ada-canary") != RING.patient_id("intake", "ada-canari")
    assert RING.patient_id("intake", "ada-canary") != other.patient_id("intake", "ada-canary")
    assert isinstance(RING.patient_id("intake", "\ud800"), uuid.UUID)
