"""Compression promises: what was squeezed comes back to the byte, whichever dictionary it was squeezed against."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline.adapters import squeezing
from glp1_pipeline.adapters.cipher import Cipher, KeyMissing, KeyRing
from glp1_pipeline_tests.sample_inputs import clean_submission

CIPHER = Cipher(KeyRing("k1", {"k1": b"1" * 32}, b"p" * 32))
SUBMISSION = orjson.dumps(clean_submission(7, account="canary-squeezed"))
DICTIONARIES = {100001: "62a3a93e68378608ecc1288e3526703ec22cc000b431a6a421655f2677531759"}


@given(st.binary(max_size=5000))
def test_what_was_squeezed_comes_back_to_the_byte(content):
    assert squeezing.expand(squeezing.squeeze(content), len(content)) == content


@given(st.binary(max_size=5000))
def test_what_was_squeezed_before_there_was_a_dictionary_still_opens(content):
    assert squeezing.expand(zstandard.ZstdCompressor(level=1).compress(content), len(content)) == content


def test_a_dictionary_is_never_changed_or_taken_away():
    # Bodies were squeezed against each of these: without it, to the byte, they are lost. Add lines here; change none.
    found = {int(file.stem): file for file in squeezing.path_of(squeezing.CURRENT).parent.glob("*.dict")}
    assert {number: hashlib.sha256(file.read_bytes()).hexdigest() for number, file in found.items()} == DICTIONARIES
    for number, file in found.items():
        assert zstandard.ZstdCompressionDict(file.read_bytes()).dict_id() == number
    assert max(DICTIONARIES) == squeezing.CURRENT


def test_a_submission_is_less_than_half_of_what_zstd_alone_makes_of_it():
    alone = zstandard.ZstdCompressor(level=1).compress(SUBMISSION)
    assert len(squeezing.squeeze(SUBMISSION)) < len(alone) / 2


def test_threads_squeeze_and_expand_side_by_side():
    def there_and_back(n):
        content = SUBMISSION + str(n).encode()
        return squeezing.expand(squeezing.squeeze(content), len(content)) == content

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(there_and_back, range(400)))


def test_a_body_of_a_later_dictionary_says_that_a_later_version_is_needed_and_nothing_of_what_it_holds(monkeypatch):
    later = zstandard.ZstdCompressionDict(
        zstandard.train_dictionary(4096, [SUBMISSION + bytes([n]) for n in range(200)], dict_id=900_000).as_bytes()
    )
    monkeypatch.setattr("glp1_pipeline.adapters.cipher.squeeze", zstandard.ZstdCompressor(dict_data=later).compress)
    kid, sealed = CIPHER.seal(SUBMISSION, "events|1")
    with pytest.raises(KeyMissing, match=r"dictionary 900000 .* later") as refusal:
        CIPHER.open(kid, sealed, "events|1")
    assert refusal.value.__cause__ is None
    assert "canary" not in str(refusal.value)
