"""The sandbox EHR's process: `sekmet` as it is, with two indexes more in its database.

What changed since an instant is asked at every look, and without them it reads all that it ever stored: 0.25 s for each
type of resource at 200,000 of it, with every other call waiting. Not here: its settings (`ehr`).
"""

from __future__ import annotations

from fastapi import FastAPI
from sekmet.main import create_app

INDEXES = """
create index if not exists glp1_changed on idx (type, param, hi);
create index if not exists glp1_versions on versions (type, last_updated);
"""


def app() -> FastAPI:
    """For uvicorn's --factory."""
    made = create_app()
    store = made.state.ctx.store
    with store.lock:
        store.conn.executescript(INDEXES)
    return made
