"""How a variable of the environment is read: an address, a number, one of two words; each fault a sentence.

Not here: which variables there are (`settings`).
"""

import re
from pathlib import Path
from urllib.parse import quote, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict


class SettingsError(RuntimeError):
    """A setting is missing or makes no sense; the message says how to mend it."""


def embedded_url(scheme: str, role: str, password: str, port: int, database: str) -> str:
    return f"{scheme}://{role}:{quote(password, safe='')}@127.0.0.1:{port}/{database}?sslmode=disable"


def with_scheme(url: str | None, scheme: str, name: str) -> str | None:
    if url is None:
        return None
    given, separator, rest = url.partition("://")
    if not separator or given.split("+")[0] not in ("postgresql", "postgres"):
        raise SettingsError(f"{name} must begin with postgresql:// (Postgres 15 or later).")
    if not _is_address(f"postgresql://{rest}"):
        raise SettingsError(
            f"{name} is no address that Postgres' library can read. In a name or password write @ as %40, : as %3A, /"
            " as %2F, % as %25 and a blank as %20, and look at the options after the question mark."
        )
    return f"{scheme}://{rest}"


def _is_address(url: str) -> bool:
    """A password whose signs are not written so cuts the address at another place; what is said of that quotes it."""
    try:
        told = conninfo_to_dict(url)
    except ProgrammingError:
        return False
    return "@" not in str(told.get("host", "")) and not re.search(r"[^0-9,]", str(told.get("port", "")))


def is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def hook(url: str | None) -> str | None:
    """A secret travels there, so TLS or this machine."""
    if url and not url.startswith("https://") and not (url.startswith("http://") and is_loopback(url)):
        raise SettingsError("GLP1_EHR_HOOK_URL must begin with https:// (http:// only on this machine).")
    return url


def page(url: str | None) -> str | None:
    """Where people's browsers find us: links in alerts lead there."""
    if url and not (urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname):
        raise SettingsError("GLP1_UI_URL must begin with https:// or http:// and name a host.")
    return url


def sources(text: str | None) -> tuple[str, ...]:
    """At least the kind of system: a lone slash would let anybody speak for all of them."""
    named = tuple((text or "").replace(",", " ").split())
    if not all(re.fullmatch(r"/[^/]+/.*", name) for name in named):
        raise SettingsError("GLP1_DROP_SOURCES names sources such as /ehr/clinic, or /ehr/ for all that begin so.")
    return named


def folder_or_url(text: str) -> str:
    """A folder by its whole path, since our processes stand in another folder than whoever starts them; else a URL."""
    path = text.removeprefix("file://")
    return text if "://" in path else str(Path(path).expanduser().absolute())


def number(text: str | None, name: str, default: int, low: int, high: int) -> int:
    if text is None:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SettingsError(f"{name} must be a whole number from {low} to {high}.")
    return int(text)


def one_of(text: str | None, name: str, yes: str, no: str, default: bool = True) -> bool:
    if text not in (None, yes, no):
        raise SettingsError(f"{name} is either {yes} or {no}.")
    return default if text is None else text == yes
