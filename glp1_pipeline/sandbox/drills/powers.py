"""Root without its power to read and write whatever it likes, so that rights of files hold for it as for anybody.

By the system's capabilities: given up by the thread that asks, and what it starts as root has them again unless that
gives them up too. Not here: what is done meanwhile.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from .ending import NotRun

VERSION_3 = 0x20080522
OVERRIDES = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: to pass over the rights of files and folders."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Powers(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def give_up() -> None:
    """For this thread and those that it starts. NotRun where this machine cannot."""
    _set(_get() & ~OVERRIDES)


@contextmanager
def given_up() -> Iterator[None]:
    """For a while, in this thread alone. Who is not root has nothing to give up."""
    before = _get()
    _set(before & ~OVERRIDES)
    try:
        yield
    finally:
        _set(before)


def _get() -> int:
    return _call("capget")[0].effective


def _set(effective: int) -> None:
    powers = _call("capget")
    powers[0].effective = effective
    _call("capset", powers)


def _call(name: str, powers: ctypes.Array[_Powers] | None = None) -> ctypes.Array[_Powers]:
    powers = powers if powers is not None else (_Powers * 2)()
    try:
        done = getattr(ctypes.CDLL(None, use_errno=True), name)(ctypes.byref(_Header(VERSION_3, 0)), powers)
    except (AttributeError, OSError):
        raise NotRun("this system does not let root give up its power over files: run as another user") from None
    if done:
        raise NotRun(f"root may not give up its power over files here ({os.strerror(ctypes.get_errno())})")
    return powers
