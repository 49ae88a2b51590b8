"""HTTP answers that are over by a moment, however their bytes come, and that belong to what was asked.

A read is given up after a while; an answer that comes a letter now and then, of a header as of a body, would hold us
for ever.

Not here: which moment (`calls`).
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from glp1_pipeline.adapters.trust import TrustingAdapter

_call = threading.local()  # a call is one thread's


@contextmanager
def by(moment: float) -> Iterator[None]:
    """What this thread reads by a `PunctualAdapter` is over by this moment of the monotonic clock. TimeoutError."""
    _call.ends = moment
    try:
        yield
    finally:
        del _call.ends


class PunctualAdapter(TrustingAdapter):
    """Use it within `by` alone."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SafePool}


class _Line(io.RawIOBase):
    """What comes over a connection."""

    def __init__(self, coming: io.RawIOBase, line: socket.socket) -> None:
        self._coming, self._line = coming, line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _call.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._line.settimeout(min(left, self._line.gettimeout() or left))
        return self._coming.readinto(buffer)

    def close(self) -> None:
        self._coming.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Line(self.fp.detach(), sock))

    def _read_status(self) -> tuple[str, int, str]:
        """Python passes over a 100 alone. Any other word before the answer it takes for the answer, and the answer for
        that of the next call on this line, which may be another patient's."""
        while 100 <= (told := super()._read_status())[1] < 200:  # type: ignore[misc] - no stub knows it
            http.client.parse_headers(self.fp)
        return told


class _Connection(HTTPConnection):
    response_class = _Answer


class _SafeConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls: Any = _Connection


class _SafePool(HTTPSConnectionPool):
    ConnectionCls: Any = _SafeConnection
