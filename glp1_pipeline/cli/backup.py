"""`glp1 backup`: make one, check one, put one back, and what is known elsewhere of the time after it.

Not here: any of that work (`adapters.backup`, `adapters.ehr_unknown`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from .keys import ACTOR, REASON
from .telling import AS_JSON, of_a_system, open_road, show_or_json, told

FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group(short_help="backups of our database: make, check, put back")
def backup() -> None:
    """Backups of our own database: one sealed file each, with the point of balance inside.

    \b
    What must be kept, each apart from the others:
      the backup files        sealed: without the keys they are noise
      GLP1_HOME/secrets       the keys, and what `glp1 keys retire` put into escrow: never beside the backups
      GLP1_HOME/archive       drops, sealed: with it nothing that came after the last backup is lost
      the landing zone        drops that nobody has read yet
    Dagster's own database is a log of runs: what is to be done stands in ours.

    \b
    When the database is lost:
      stop `glp1 up`; an empty database; secrets and archive put back
      glp1 backup restore FILE       proves that the fingerprint is that of the backup
      glp1 backup take-again         drops that came after it, from the archive
      glp1 up                        what was delivered meanwhile is found in the EHR, and not sent twice
      glp1 backup unknown            what the EHR holds of ours that nothing here tells of: for a person to look at
    """


@backup.command(short_help="back up into a new file, while everything goes on")
@FILE
@AS_JSON
def make(file: Path, as_json: bool) -> None:
    """Back up into the new FILE, while everything goes on. Killed at any point there is no FILE.

    Counts, fingerprint and rows are of one instant. The file is sealed under the current key of the ring.
    """
    from ..adapters.backup import Programs
    from ..adapters.backup import make as write

    def work() -> dict[str, Any]:
        road = open_road()
        with _database() as url:
            return write(url, road.cipher, file.absolute(), Programs.of(road.settings), _progress())

    point = told(_sentence(work))
    _show(point | {"file": str(file), "bytes": file.stat().st_size}, as_json)


@backup.command(short_help="whether a backup is whole and its keys are here")
@FILE
@click.option("--restore", "is_restored", is_flag=True,
              help="Also restore it into a database of its own, compare the fingerprint, delete that.")  # fmt: skip
@AS_JSON
def check(file: Path, is_restored: bool, as_json: bool) -> None:
    """Open every piece of FILE: it is whole, unchanged, and its keys are here. The only proof is --restore."""
    from ..adapters import backup as backups

    def work() -> dict[str, Any]:
        road = open_road()
        programs = backups.Programs.of(road.settings)
        found = backups.check(file, road.cipher, programs, _progress())
        if not is_restored:
            return found | {"restored": False}
        if road.settings.database_url:
            raise click.ClickException(
                "this server is not the embedded one: make an empty database there, and `glp1 backup restore` into it"
                " with GLP1_DATABASE_URL"
            )
        with _database(is_made=True), _scratch(road.settings) as url:
            backups.restore(url, road.cipher, file, programs, _progress())
        return found | {"restored": True}

    _show(told(_sentence(work)), as_json)


@backup.command(short_help="put a backup into our database, which must be empty")
@FILE
@ACTOR
@REASON
@AS_JSON
def restore(file: Path, actor: str, reason: str, as_json: bool) -> None:
    """Put FILE back into our database, which must be empty and used by nobody: stop `glp1 up` first.

    All or nothing; the same again ends what was cut short. What was not delivered at the backup's instant is in doubt
    now: it is read back before it is sent. Then: `glp1 backup take-again`, `glp1 up`, `glp1 reconcile`.
    """
    from ..adapters import backup as backups
    from ..adapters.keys import note
    from ..defs.resources import KEYS, connect

    def work() -> dict[str, Any]:
        road = open_road()
        note(road.settings.home / "secrets" / KEYS, "restored", "database", actor, reason)
        with _database(is_made=True) as url:
            point = backups.restore(url, road.cipher, file, backups.Programs.of(road.settings), _progress())
            with connect(road.settings, "glp1 backup") as connection:
                left = len(backups.unknown_drops(connection, road.settings.home / "archive"))
        return point | {"archived_drops_unknown": left}

    _show(told(_sentence(work)), as_json)


@backup.command("take-again", short_help="drop again, from the archive, what came after the backup")
@AS_JSON
def take_again(as_json: bool) -> None:
    """Drop once more what lies in the archive and is not in the database: it came in after the backup.

    An event that is known already is counted as a duplicate; so this may be done twice.
    """
    from ..adapters.backup import take_again as drop
    from ..adapters.backup import unknown_drops

    def work() -> int:
        road = open_road()
        with _database(), road.connect("glp1 backup") as connection:
            road.settings.make_home()  # after a restore on a new machine nothing was started here yet
            return drop(road.cipher, road.landing, unknown_drops(connection, road.settings.home / "archive"))

    n = told(_sentence(work))
    show_or_json(as_json, {"dropped": n}, lambda: click.echo(f"{n} drops are in the landing zone again"))


@backup.command(short_help="what the EHR holds of ours that our database does not know")
@click.option("--since", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"]),
              help="Only what changed there since then: the instant of the backup. Else everything.")  # fmt: skip
@AS_JSON
def unknown(since: datetime | None, as_json: bool) -> None:
    """What the EHR holds of ours that our database does not know; exits with 1 if there is any.

    Right after a restore that is what was told after the backup. What comes from the archive and from senders again is
    decided again and found there. What is left then: a person looks at it; it is read in as an edit made in the EHR.

    Of types that carry no identifier of ours (QuestionnaireResponse, Provenance, AuditEvent) nothing is told.
    """
    from datetime import UTC

    from ..adapters.ehr_unknown import unknown_there
    from ..adapters.progress import every_few_seconds

    def work() -> dict[str, Any]:
        road = open_road()
        at = since if since is None or since.tzinfo else since.replace(tzinfo=UTC)
        tell = every_few_seconds(lambda now: click.echo(f"looked at {now.looked_at} resources …", err=True))
        with _database(), road.connect("glp1 backup") as connection:
            found = unknown_there(connection, road.ehr, at, progress=tell)
        return found.as_dict() | {"is_nothing": found.is_nothing}

    found = told(_sentence(lambda: of_a_system(work, "try again when it is up; nothing was changed")))

    def show() -> None:
        click.echo(f"looked at {found['looked_at']} resources")
        for title, counts in (("unknown here", found["resources"]), ("in an unknown version", found["versions"])):
            click.echo(f"{title}: " + (", ".join(f"{kind} {n}" for kind, n in counts.items()) or "none"))

    show_or_json(as_json, found, show)
    sys.exit(0 if found["is_nothing"] else 1)


@contextmanager
def _database(is_made: bool = False) -> Iterator[str]:
    """The address of our database; the embedded server is started for the time where it is not running. `is_made`: a
    new one where there is none yet. Else that is a fault: mostly GLP1_HOME names another folder than was meant."""
    import psycopg

    from ..adapters.postgres import EmbeddedPostgres

    settings = open_road().settings
    if settings.database_url:
        yield settings.store_url()
        return
    if not is_made:
        settings.store_url()
    try:
        psycopg.connect(settings.store_url(), connect_timeout=5).close()
    except (psycopg.OperationalError, ConnectionError, RuntimeError):  # none yet, or not running
        server = EmbeddedPostgres(settings, say=lambda sentence: click.echo(sentence, err=True))
        server.start()
        try:
            yield settings.store_url()
        finally:
            server.stop()
    else:
        yield settings.store_url()


@contextmanager
def _scratch(settings) -> Iterator[str]:
    from ..adapters.backup import scratch_database
    from ..adapters.postgres import EmbeddedPostgres
    from ..adapters.postgres_cluster import SETUP_ROLE
    from ..adapters.variables import embedded_url

    server = EmbeddedPostgres(settings)
    secret = settings.secrets.get("postgres_glp1")
    with scratch_database(
        server.url(SETUP_ROLE), lambda name: embedded_url("postgresql", "glp1", secret, server.port, name), "glp1"
    ) as url:
        yield url


def _progress():
    from ..adapters.progress import every_few_seconds

    return every_few_seconds(lambda done: click.echo(f"{done / 1e6:.0f} MB …", err=True))


def _sentence(work):
    """What cannot be done with a backup is a sentence, not a trace."""

    def asked() -> Any:
        from ..adapters.backup_file import BackupFault
        from ..adapters.resealing import KeyFault

        try:
            return work()
        except (BackupFault, KeyFault) as fault:
            raise click.ClickException(str(fault)) from None

    return asked


def _show(found: dict[str, Any], as_json: bool) -> None:
    def show() -> None:
        there = found["balance"]
        click.echo(
            f"of {found['at']}: received {there['received']} = charted {there['charted']} + waiting {there['waiting']}"
            f" + rejected {there['rejected']} + dead {there['dead']}; patients {there['patients']}; writes"
            f" {there['writes'] or '-'}"
        )
        click.echo(f"fingerprint {found['fingerprint']['state']}, schema {found['schema_version']}")
        for name, words in (
            ("bytes", "bytes in the file"), ("keys", "keys that it needs"), ("restored", "restored and compared"),
            ("doubted", "changes to be read back before they are sent"),
            ("archived_drops_unknown", "drops in the archive that came after it: `glp1 backup take-again`"),
        ):  # fmt: skip
            if name in found:
                click.echo(f"{words}: {', '.join(found[name]) if isinstance(found[name], list) else found[name]}")

    show_or_json(as_json, found, show)
