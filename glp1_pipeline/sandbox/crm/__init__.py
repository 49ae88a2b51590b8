"""The sandbox CRM: a small server of our own with a real database, in the shape of HubSpot's contacts API.

Here: how it is started. The rooms: `database`, `server`, `hooks`, `page`. Not here: our client of a CRM
(`adapters.crm`).
"""

from __future__ import annotations

import os
import sys

from glp1_pipeline.adapters.settings import Settings

TOKEN = "crm_token"  # noqa: S105 - the secret's name


def crm_command(settings: Settings, port: int, hook_url: str | None) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of the process; secrets are files that it reads, not arguments."""
    folder = settings.home / "crm"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.secrets.get_or_create(TOKEN)
    settings.secrets.get_or_create("crm_webhook_secret")
    argv = [sys.executable, "-m", "uvicorn", "glp1_pipeline.sandbox.crm:app", "--factory", "--no-access-log"]
    argv += ["--log-level", "warning", "--host", "127.0.0.1", "--port", str(port)]
    return argv, {"GLP1_SANDBOX_CRM_HOOK": hook_url or ""}


def crm_page(settings: Settings) -> str:
    """The address of the page, with the key that opens it for a browser."""
    from .server import page_key

    url, token = settings.crm_access()
    return f"{url}/?key={page_key(token)}"


def app():
    """The server of the sandbox at GLP1_HOME."""
    from .server import CrmOptions, make_app

    settings = Settings.from_env()
    rate = os.environ.get("GLP1_SANDBOX_CRM_RATE")
    return make_app(
        CrmOptions(
            settings.home / "crm" / "contacts.sqlite3",
            settings.secrets.get(TOKEN),
            hook_url=os.environ.get("GLP1_SANDBOX_CRM_HOOK") or None,
            hook_secret=settings.secrets.get("crm_webhook_secret"),
            requests_per_second=float(rate) if rate else None,
        )
    )
