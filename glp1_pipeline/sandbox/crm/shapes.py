"""What the sandbox CRM's API reads and shows: bodies, filters, contacts, faults, in HubSpot's shapes.

Not here: what is done with them (`server`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .database import Contact
from .filters import Filter, Refused


def show(contact: Contact, names: Any, has_version: bool) -> dict[str, Any]:
    wanted = names if isinstance(names, list) else list(contact.properties)
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


def read_filter(one: Mapping[str, Any]) -> Filter:
    return Filter(
        one["propertyName"], one["operator"], str(one.get("value", "")), tuple(map(str, one.get("values", ())))
    )


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


def instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fault(status: int, category: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"status": "error", "category": category, "message": message}, status, headers)


def read_source(source: str) -> dict[str, str]:
    kind, _, name = source.partition(":")
    return {"sourceType": kind, "sourceId": name}
