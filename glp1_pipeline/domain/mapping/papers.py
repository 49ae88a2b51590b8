"""Consents and files: answers that stand for a document.

Here: what was agreed to, in which version and when; which file, by its hash. Not here: the documents.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from ..contract import Code
from .codes import Nulls, null_in, once, set_of
from .dates import Unreadable, plausible, read_instant
from .records import Parts
from .text import Context, Doc, Shape, as_text, held, held_whole, is_plain, known, null, tidy, unmapped
from .told import TICKS, spelled

CLEAN = ("given", "refused", "revoked")
SHA256 = re.compile(r"[0-9a-f]{64}")
STATUS_KEYS = ("status", "code", "value", "display")
TIME_KEYS = ("at", "timestamp", "ts", "date", "datetime", "dateTime", "signed_at", "signedAt")
DATED = re.compile(r"[_ ]?(?:at|on|date|time)$|(?<=[a-z])(?:At|On|Date|Time)$")
"""What stands behind a status in the name of a part that tells when: `revoked_at`, `withdrawnOn`."""
AHEAD = timedelta(days=1)
"""How far a clock that is fast, or is read in the wrong zone, may carry a signature past its submission."""


def consent_shape(codes: Mapping[str, Code], nulls: Nulls, needs_version: bool) -> Shape:
    """Status, version and time. To agree to a text, one must know which: without a version it is held. So is a consent
    dated after the submission that brought it. A refusal or a withdrawal counts at once, whatever day it names."""
    table = {spelling: code.code for spelling, code in codes.items()}
    name = set_of(codes)
    own_nulls = {spelling: kind for spelling, kind in nulls.items() if spelling not in table}

    def read(raw: Any, context: Context) -> Doc:
        told = raw if isinstance(raw, dict) else {"status": raw}
        said = status_of(told)
        meant = [spelled(table, text) if (text := as_text(one)) is not None else None for _, one in said]
        boxes = {key: spelled(table, DATED.sub("", str(key))) for key in told if key not in STATUS_KEYS}
        unticked = {code for key, code in boxes.items() if told[key] is False}
        is_taken_back = any(code in ("refused", "revoked") and not is_unsaid(told[key]) for key, code in boxes.items())
        torn = len({one for one in meant if one}) > 1 or ("given" in meant and is_taken_back)
        if torn or unticked.intersection(filter(None, meant)):
            return held("conflicting_answers", raw)
        # A code of some other system leaves the word to its display.
        found = next((one for (key, _), one in zip(said, meant, strict=True) if one or key != "code"), None)
        if found is None:
            is_asked = any(key in told for key in STATUS_KEYS)
            kind = null_in(said[0][1] if said else None, own_nulls) if is_asked else None
            if kind:
                return null(kind)
            words = [text for _, one in said if (text := as_text(one)) is not None]
            return unmapped(held("unmapped_code", raw), name, *words)
        version = as_text(told.get("version"))
        if found == "given" and needs_version and not (version and version.strip()):
            return held("consent_without_version", raw)
        edges: list[str] = []
        value = {"status": found, "version": tidy(version)[0] if version else ""}
        at = next((told[key] for key in TIME_KEYS if told.get(key)), None)
        if at is None:
            value["at"] = context.authored_at.isoformat()
            edges.append("consent_time_from_submission")
        else:
            try:
                instant, met = read_instant(at, context.time_zone)
            except Unreadable as why:
                return held(why.cause, raw, *why.edges)
            if found == "given" and instant - context.given_by > AHEAD:
                return held("consent_dated_ahead", raw)
            value["at"] = instant.isoformat()
            edges += met
        return known(value, edges)

    unwrap = once(read, own_nulls)

    def shape(raw: Any, context: Context) -> Doc:
        """The clean case first: three plain parts and an instant with its offset."""
        if type(raw) is dict and len(raw) == 3:
            status, version, at = raw.get("status"), raw.get("version"), raw.get("at")
            if status in CLEAN and type(version) is str and is_plain(version) and type(at) is str and len(at) <= 32:
                instant = clean_instant(at)
                if instant and (status != "given" or instant.at - context.given_by <= AHEAD):
                    return {"value": {"status": status, "version": version, "at": instant.text}}
        return unwrap(raw, context)

    return shape


def is_unsaid(part: Any) -> bool:
    return part in (None, False, "", 0) or (isinstance(part, str) and TICKS.get(part.strip().lower()) is False)


def status_of(told: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What an answer says of its status, by the key it stands under; of one picked from a code system both words."""
    said: list[tuple[str, Any]] = []
    for key in STATUS_KEYS:
        part = told.get(key)
        if isinstance(part, dict) and null_in(part, {}) is None:
            said += [(name, part.get(name)) for name in ("code", "display")]
        else:
            said.append((key, part))
    return [(key, part) for key, part in said if part not in (None, "")]


class Instant(NamedTuple):
    at: datetime
    text: str


@lru_cache(maxsize=256)
def clean_instant(text: str) -> Instant | None:
    """An instant with its offset, where nothing is odd about it. Kept a while: one tap signs several consents."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    is_clean = len(text) >= 20 and at.tzinfo is not None and plausible(at)
    return Instant(at, at.isoformat()) if is_clean else None


def attachment_shape(parts: Parts, nulls: Nulls) -> Shape:
    """Type and hash of a file; the file itself never passes here."""

    def read(raw: Any, context: Context) -> Doc:
        doc = parts.read(with_hex_hash(raw), context)
        if "value" in doc and not SHA256.fullmatch(str(doc["value"].get("sha256", ""))):
            return held("attachment_without_hash", raw)
        return doc if "held" not in doc else held_whole(doc, raw)

    return once(read, nulls)


def cards_shape(rows: Shape) -> Shape:
    """Several files; of each the hash, where it is told, is one."""

    def shape(raw: Any, context: Context) -> Doc:
        told = [with_hex_hash(row) for row in raw] if isinstance(raw, list) else with_hex_hash(raw)
        doc = rows(told, context)
        hashes = [row["sha256"] for row in doc.get("value", ()) if "sha256" in row]
        return doc if all(map(SHA256.fullmatch, hashes)) else held("attachment_without_hash", raw)

    return shape


def with_hex_hash(raw: Any) -> Any:
    """FHIR carries a hash in base64; 32 bytes of it are a SHA-256."""
    if isinstance(raw, dict) and isinstance(told := raw.get("hash"), str) and "sha256" not in raw:
        try:
            digest = base64.b64decode(told, validate=True)
        except (binascii.Error, ValueError):
            return raw
        if len(digest) == 32:
            return {**{key: part for key, part in raw.items() if key != "hash"}, "sha256": digest.hex()}
    if isinstance(raw, dict) and isinstance(told := raw.get("sha256"), str) and not SHA256.fullmatch(told):
        return {**raw, "sha256": told.strip().lower()}
    return raw
