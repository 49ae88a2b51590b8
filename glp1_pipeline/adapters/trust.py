"""Whom we believe in TLS: whom this machine does, as its owner set it up, and Mozilla's list.

Python's HTTP libraries know that list alone, and an EHR within a company mostly has a certificate of the company's own
authority. A slim container has no authorities, so that the list stays. Not here: an authority told for one system
(`calls`).
"""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH


class TrustingAdapter(HTTPAdapter):
    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        super().cert_verify(conn, url, verify, cert)
        if verify is True and url.lower().startswith("https"):
            conn.ca_certs = None
            conn.conn_kw["ssl_context"] = trusted()


@cache
def trusted() -> ssl.SSLContext:
    """Once for a process: reading them takes as long as a hundred calls."""
    context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    context.load_default_certs()
    return context
