"""The peer's own virtual environment: made once, from requirements/bench.txt, inside .venv (so `make clean` ends it).

Apart from ours because no user of this project needs it. Not here: what the peer does (`peer_dlt`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import bootstrap
from glp1_pipeline.adapters.settings import PROJECT

FOLDER = PROJECT / ".venv" / "bench-peer"
LOCK = PROJECT / "requirements" / "bench.txt"


def python() -> Path:
    """The Python that has dlt."""
    found, stamp = FOLDER / "bin" / "python", FOLDER / "stamp"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text("ascii") == wanted:
        return found
    print("Installing the peer (dlt) into a virtual environment of its own.", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    uv = [str(PROJECT / ".venv" / "bin" / "uv")]
    env = {**os.environ, **bootstrap.uv_settings(dict(os.environ))}
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(FOLDER)], check=True, env=env)
    install = ["pip", "install", "--quiet", "--compile-bytecode", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*uv, *install, "--python", str(found), "-r", str(LOCK)], check=True, env=env)
    stamp.write_text(wanted, "ascii")
    return found


def load(database_url: str, file: Path, style: str) -> dict[str, Any]:
    """dlt loads the file; what it took."""
    argv = [str(python()), str(Path(__file__).parent / "peer_dlt.py"), str(file), style]
    env = {**os.environ, "PEER_URL": database_url}
    done = subprocess.run(argv, env=env, cwd=file.parent, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])
