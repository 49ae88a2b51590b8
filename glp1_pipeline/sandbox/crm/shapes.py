"""What the sandbox CRM's API reads and shows: bodies, filters, contacts, faults, in HubSpot's shapes.

Not here: what is done with them (`server`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .database import Contact
from .filters import Filter, Refused

MOST_FILTERS = {"groups": 5, "of a group": 6, "values": 100}
"""Of one search, as HubSpot's."""
MOST_SORTS = 5


def show(contact: Contact, names: list[str] | None, has_version: bool) -> dict[str, Any]:
    wanted = list(contact.properties) if names is None else names
    properties: dict[str, str | None] = {name: contact.properties.get(name) for name in wanted}
    properties |= {
        "hs_object_id": str(contact.contact_id),
        "createdate": instant(contact.created_ms),
        "lastmodifieddate": instant(contact.modified_ms),
    }
    shown: dict[str, Any] = {
        "id": str(contact.contact_id),
        "properties": properties,
        "createdAt": instant(contact.created_ms),
        "updatedAt": instant(contact.modified_ms),
        "archived": contact.archived_ms is not None,
    }
    if contact.archived_ms is not None:
        shown["archivedAt"] = instant(contact.archived_ms)
    return shown | ({"version": str(contact.version)} if has_version else {})


def read_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
        json.dumps(content, ensure_ascii=False).encode()  # half a letter is no text, and nobody can keep it
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise Refused(400, "VALIDATION_ERROR", "send one JSON object")
    return content


def read_properties(content: Mapping[str, Any]) -> dict[str, str]:
    given = content.get("properties")
    if not isinstance(given, dict) or not all(isinstance(v, str | None) for v in given.values()):
        raise Refused(400, "VALIDATION_ERROR", "`properties` must be an object of texts")
    if unknown := given.keys() & {"hs_object_id", "createdate", "lastmodifieddate"}:
        raise Refused(400, "VALIDATION_ERROR", f"{min(unknown)} cannot be written")
    return {name: value or "" for name, value in given.items()}


def read_search(
    asked: Mapping[str, Any],
) -> tuple[list[list[Filter]], list[tuple[str, bool]], list[str] | None]:
    """Groups of filters, sorts (a property, and whether it descends), and the properties to show (None: all)."""
    try:
        groups = [[_read_filter(one) for one in group["filters"]] for group in asked.get("filterGroups", [])]
        sorts = [
            (one, False) if isinstance(one, str) else (one["propertyName"], one.get("direction") == "DESCENDING")
            for one in asked.get("sorts", [])
        ]
    except (KeyError, TypeError, AttributeError):
        raise Refused(400, "VALIDATION_ERROR", "a filter or a sort has not its shape") from None
    names = asked["properties"] if isinstance(asked.get("properties"), list) else None
    if not all(isinstance(name, str) for name in [*(name for name, _ in sorts), *(names or ())]):
        raise Refused(400, "VALIDATION_ERROR", "names of properties must be texts")
    if (
        len(sorts) > MOST_SORTS
        or len(groups) > MOST_FILTERS["groups"]
        or any(len(group) > MOST_FILTERS["of a group"] for group in groups)
    ):
        raise Refused(400, "VALIDATION_ERROR", "too many filters or sorts")
    return groups, sorts, names


def _read_filter(one: Mapping[str, Any]) -> Filter:
    name, operator, values = one["propertyName"], one["operator"], tuple(map(str, one.get("values", ())))
    if not isinstance(name, str) or not isinstance(operator, str) or len(values) > MOST_FILTERS["values"]:
        raise TypeError
    return Filter(name, operator, str(one.get("value", "")), values)


def read_form(body: bytes) -> dict[str, str]:
    try:
        return {name: values[-1] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
    except UnicodeDecodeError:
        raise Refused(400, "VALIDATION_ERROR", "send the form as UTF-8") from None


def read_names(request: Request, parameter: str) -> list[str] | None:
    given = request.query_params.get(parameter)
    return given.split(",") if given else None


def read_number(raw: Any, default: int) -> int:
    text = str(raw) if raw is not None else ""
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise Refused(400, "VALIDATION_ERROR", "a number was expected")
    return int(text)


def read_limit(raw: Any, most: int) -> int:
    """How many a page may show: at least one, else nobody would ever see the next."""
    return max(1, min(read_number(raw, 10), most))


def instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fault(status: int, category: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"status": "error", "category": category, "message": message}, status, headers)


def read_source(source: str) -> dict[str, str]:
    kind, _, name = source.partition(":")
    return {"sourceType": kind, "sourceId": name}
