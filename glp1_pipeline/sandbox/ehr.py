"""The sandbox EHR: `sekmet`, a FHIR R4 server of its own, on loopback.

What does not belong here: our client of an EHR (`adapters.ehr`).
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from glp1_pipeline.adapters.settings import Settings


def ehr_command(settings: Settings, port: int) -> tuple[list[str], dict[str, str]]:
    """Writes its settings; gives the arguments and the environment of the process."""
    folder = settings.home / "ehr"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(_ehr_settings(settings, folder, port)), "utf-8")
    path.chmod(0o600)
    # Its own `serve` writes each request's address to the log, and a search may hold a patient's name: not this way.
    argv = [sys.executable, "-m", "uvicorn", "glp1_pipeline.sandbox.ehr_server:app", "--factory", "--no-access-log"]
    argv += ["--log-level", "warning", "--host", "127.0.0.1", "--port", str(port)]
    # It calls nobody but us, in the clear: to read all certificates of the machine for each call costs 30 ms of CPU.
    certificates = folder / "no_certificates"
    certificates.mkdir(mode=0o700, exist_ok=True)
    return argv, {"SEKMET_CONFIG": str(path), "SSL_CERT_DIR": str(certificates)}


def _ehr_settings(settings: Settings, folder: Path, port: int) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "base_url": f"http://127.0.0.1:{port}/fhir",
        "host": "127.0.0.1",  # its default is every network
        "port": port,
        "data_dir": str(folder / "data"),
        "own_private_key_path": str(folder / "keys" / "private.pem"),
        "facility_name": "Sandbox EHR",
        "log_inbound": False,  # a log of whole resources, and a quarter slower
        "validation": {"inbound": "strict"},
        "simulator": {"auto": []},  # nobody but us may move our Tasks and requests
    }
    if settings.ehr_sandbox_auth:
        secret = settings.secrets.get_or_create("ehr_client_secret")
        client = {"client_id": "glp1-pipeline", "scopes": "system/*.*", "client_secret": secret}
        chosen["server_auth"] = {"types": ["smart"], "token_lifetime": 300, "smart_clients": [client]}
    return chosen
