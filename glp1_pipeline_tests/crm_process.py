"""The sandbox CRM as a process of its own, for tests: it can be killed between commit and answer, and keeps what it got.

Run as a program it is the server. Not here: any expectation of a test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests

from glp1_pipeline.adapters.crm import Crm, CrmSettings
from glp1_pipeline.adapters.state import free_port
from glp1_pipeline.sandbox.crm.server import CrmOptions, make_app, page_key

TOKEN, OTHER_TOKEN = "a-token-for-tests", "a-token-of-another-program"
CONTACTS = "/crm/v3/objects/contacts"


class CrmProcess:
    """`with CrmProcess(folder) as crm:`; options as of CrmOptions, but for those that are set here. `stopped_clock_ms`:
    all that happens there happens in this millisecond."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder, self.options = folder, options
        self.port = free_port(set())
        self.url = f"http://127.0.0.1:{self.port}"
        self.dying, self.got = folder / "die", folder / "got"
        self._doors: list[Crm] = []

    def __enter__(self) -> CrmProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for door in self._doors:
            door.close()
        self.process.terminate()
        self.process.wait(20)

    def start(self) -> None:
        """Start it, or start it again on the same address and data."""
        argv = [sys.executable, "-m", "glp1_pipeline_tests.crm_process", str(self.folder), str(self.port)]
        self.process = subprocess.Popen([*argv, json.dumps(self.options)])
        ends = time.monotonic() + 30
        while True:
            try:
                if requests.get(f"{self.url}/health", timeout=5).ok:
                    return
            except requests.ConnectionError:
                assert time.monotonic() < ends, "the CRM did not start"
                time.sleep(0.05)

    def die_at_next_commit(self) -> None:
        self.dying.touch()

    def wait_dead(self) -> None:
        assert self.process.wait(20) == -signal.SIGKILL

    def door(self, **settings: Any) -> Crm:
        """Our client of it."""
        crm = Crm(CrmSettings(self.url, TOKEN, **{"connect_timeout": 1.0, "read_timeout": 3.0, **settings}))
        self._doors.append(crm)
        return crm

    # ---- as a person or another program sees it

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """As another program than the pipeline."""
        token = {"Authorization": f"Bearer {OTHER_TOKEN}"}
        answer = requests.request(method, self.url + CONTACTS + path, json=body, headers=token, timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def contacts(self) -> list[dict[str, Any]]:
        return self.ask("GET", "?limit=100")["results"]

    def only(self) -> dict[str, Any]:
        (contact,) = self.contacts()
        return contact

    def edit(self, contact_id: str, **properties: str) -> None:
        """Edit a contact on the page, as a person in sales does."""
        with requests.Session() as browser:
            browser.get(f"{self.url}/?key={page_key(TOKEN)}", timeout=10).raise_for_status()
            answer = browser.post(f"{self.url}/contacts/{contact_id}", data=properties, timeout=10)
            assert answer.ok
            assert "Not saved" not in answer.text, answer.text

    def add(self, **properties: str) -> str:
        """A contact that somebody else than the pipeline made."""
        return self.ask("POST", "", {"properties": properties})["id"]

    @property
    def received(self) -> bytes:
        """All bytes that it ever got: addresses, headers and bodies of requests."""
        return self.got.read_bytes()


def _keeping(app: Any, path: Path) -> Any:
    file = path.open("ab", buffering=0)

    async def keeping(scope: Any, receive: Any, send: Any) -> None:
        async def kept() -> Any:
            message = await receive()
            file.write(message.get("body", b"") + b"\n")
            return message

        if scope["type"] == "http":
            head = b" ".join([scope["method"].encode(), scope["raw_path"], scope["query_string"]])
            file.write(head + b"\n" + b"\n".join(b": ".join(pair) for pair in scope["headers"]) + b"\n")
        await app(scope, kept, send)

    return keeping


def main() -> None:
    import uvicorn

    folder, port, options = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    if instant := options.pop("stopped_clock_ms", None):
        options["clock"] = lambda: instant

    def on_commit() -> None:
        if (folder / "die").exists():
            (folder / "die").unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    app = make_app(
        CrmOptions(folder / "contacts.sqlite3", TOKEN, {OTHER_TOKEN: "marketing"}, on_commit=on_commit, **options)
    )
    uvicorn.run(_keeping(app, folder / "got"), host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
