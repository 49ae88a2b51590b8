"""The files of the embedded Postgres: made once by initdb, and the configuration, written anew at each start.

What does not belong here: running it (postgres.py), and which folder and account (postgres_place.py).
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from glp1_pipeline.adapters import processes
from glp1_pipeline.adapters.postgres_place import Place, PostgresError
from glp1_pipeline.adapters.settings import Settings

MAJOR = "18"
SETUP_ROLE = "glp1_setup"

# Passwords are 256 random bits: nobody guesses them, so the thousands of rounds that slow down a guesser of human
# passwords would only slow down each of our own connections.
_SCRAM_ROUNDS = 64

_MEMORY_MB = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
# Ids are by chance, so that whoever is charted touches some twenty pages of indexes anywhere: they must stay in memory,
# and each is written whole to the log once after a checkpoint. At a million patients they are 1.5 GB.
_SHARED_MB = min(_MEMORY_MB // 4, 2048)

_CONFIG = f"""\
# Written anew at each start by glp1_pipeline/adapters/postgres_cluster.py.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''          # a socket's path has a limit of 107 letters, and modes of its own
max_connections = 200
shared_buffers = {_SHARED_MB}MB
max_locks_per_transaction = 128       # times max_connections: room for a thousand events a batch (charts/claim.py)
work_mem = 16MB
maintenance_work_mem = 128MB
max_wal_size = 4GB                    # bounds recovery: about 18 s
min_wal_size = 160MB
checkpoint_timeout = 10min
wal_level = minimal                   # nobody replicates a sandbox
max_wal_senders = 0
synchronous_commit = on
password_encryption = scram-sha-256
scram_iterations = {_SCRAM_ROUNDS}
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
jit = off
# A failed statement's text, values and row must not reach a log file: they may be a patient's.
log_min_messages = log                # in this list `log` lies above `error`: starts and recovery, no failed statements
log_min_error_statement = panic
log_error_verbosity = terse
log_statement = none
log_checkpoints = off
log_min_duration_statement = -1
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""
_FOR_INITDB = "pw"
"""So begins the name of a file with the password for it."""
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


def make_cluster(settings: Settings, place: Place, say: Callable[[str], None]) -> None:
    _initdb(settings, place, say)
    _write(place, "glp1.conf", _CONFIG)
    _write(place, "pg_hba.conf", _HBA)


def _initdb(settings: Settings, place: Place, say: Callable[[str], None]) -> None:
    data, done = place.data, place.base / "initdb.done"
    for left in place.base.glob(f"{_FOR_INITDB}*"):
        left.unlink()  # of a start that was killed: it holds the password
    if done.exists():
        _check_owner_and_version(place, done.read_text("ascii").strip())
        return
    if data.exists() and any(data.iterdir()):
        aside = Path(tempfile.mkdtemp(prefix="data.half-made-", dir=place.base))
        data.rename(aside / "data")
        say(f"An earlier first start of Postgres was cut short; moved aside to {aside} and done again.")
    data.mkdir(mode=0o700, exist_ok=True)
    place.give(data)
    with tempfile.NamedTemporaryFile("w", dir=place.base, prefix=_FOR_INITDB) as password:
        password.write(settings.secrets.get_or_create(f"postgres_{SETUP_ROLE}"))
        password.flush()
        place.give(Path(password.name))
        argv = [str(place.binaries / "initdb"), "-D", str(data), "-U", SETUP_ROLE, f"--pwfile={password.name}"]
        argv += ["--auth-local=reject", "--auth-host=scram-sha-256", "--data-checksums", "--encoding=UTF8"]
        argv += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        argv += [
            "-c",
            f"scram_iterations={_SCRAM_ROUNDS}",
            "-c",
            "shared_buffers=64MB",
            "-c",
            "max_connections=200",
        ]
        log = settings.home / "logs" / "initdb.log"
        with open(log, "wb") as output:
            code = processes.run(argv, env=bare_environment(), cwd="/", output=output, account=place.account)
    if code != 0:
        raise PostgresError(f"Postgres could not make its database files (initdb ended with {code}); see {log}.")
    _write(place, "initdb.done", MAJOR + "\n")


def _check_owner_and_version(place: Place, made_by: str) -> None:
    if made_by != MAJOR:
        raise PostgresError(
            f"The data in {place.data} was made by Postgres {made_by}; this is {MAJOR}. Dump it with the "
            "older release of this project and load it here, or begin anew with `make clean`."
        )
    owner = place.data.stat().st_uid
    if owner != (place.account or (os.geteuid(), 0))[0]:
        raise PostgresError(
            f"The data in {place.data} belongs to another user (id {owner}). Run as the user who made it, "
            "or set GLP1_HOME to a new folder."
        )


def _write(place: Place, name: str, text: str) -> None:
    path, draft = place.base / name, place.base / f".{name}.new"
    draft.write_text(text, "utf-8")
    draft.chmod(0o644 if place.account else 0o600)
    draft.replace(path)


def bare_environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
