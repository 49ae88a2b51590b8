"""Compression of what is sealed: zstd, against a dictionary of what our documents have in common.

A submission and the FHIR of a chart are mostly the same words for everybody: with those known beforehand a body is a
third as large. `zstd_dictionaries` holds one file a dictionary, named by the number that each squeezed body carries.
None is ever changed or taken away: what was squeezed against it opens by it alone. A better one, which `python -m
bench squeeze --train` makes, gets a number of its own and is named in `CURRENT`; older bodies open as before.

Not here: encryption, which comes after (`cipher`).
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Final

import zstandard

CURRENT: Final = 100001
LEVEL: Final = 1
_local = threading.local()  # zstd's contexts are for one thread each


class DictionaryMissing(LookupError):
    """A body was squeezed against a dictionary that this version of the code does not have."""


def squeeze(content: bytes) -> bytes:
    try:
        compressor = _local.compressor
    except AttributeError:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=LEVEL, dict_data=_dictionary(CURRENT))
    return compressor.compress(content)


def expand(squeezed: bytes, most: int) -> bytes:
    """The content, of `most` bytes. DictionaryMissing."""
    number = zstandard.get_frame_parameters(squeezed).dict_id
    try:
        expanders = _local.expanders
    except AttributeError:
        expanders = _local.expanders = {0: zstandard.ZstdDecompressor()}
    if number not in expanders:
        expanders[number] = zstandard.ZstdDecompressor(dict_data=_dictionary(number))
    return expanders[number].decompress(squeezed, max_output_size=most)


def path_of(number: int) -> Path:
    return Path(__file__).parent / "zstd_dictionaries" / f"{number}.dict"


@cache
def _dictionary(number: int) -> zstandard.ZstdCompressionDict:
    try:
        content = path_of(number).read_bytes()
    except FileNotFoundError:
        raise DictionaryMissing(number) from None
    dictionary = zstandard.ZstdCompressionDict(content)
    dictionary.precompute_compress(level=LEVEL)
    return dictionary
