"""Starting everything, and dropping files.

Not here: looking at what became of them (`look`).
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path

import click

from .telling import AS_JSON, open_road, show_or_json, told


@click.command(short_help="start everything here; no samples")
def up() -> None:
    """Start everything (Postgres, the sandbox EHR and CRM, Dagster) and stay up until Ctrl-C; drop no samples."""
    from ..sandbox import demo

    told(_contracts_hold)
    told(_settings_can_work)
    told(lambda: _unless_the_disk_is_full(demo.up))


@click.command(name="demo", short_help="start everything here, with samples")
@click.option("--once", is_flag=True, help="End when the samples have settled; exit 1 if anything is not as expected.")
def demo_command(once: bool) -> None:
    """Start everything, drop the samples of data_samples/, show their way, and stay up until Ctrl-C.

    With --once it ends by itself, prints the summary and exits with 1 if the ledger is out of balance or a sample did
    not reach its expected state.
    """
    from ..sandbox import demo

    told(_contracts_hold)
    told(_settings_can_work)
    sys.exit(told(lambda: _unless_the_disk_is_full(lambda: demo.run(once))))


def _contracts_hold() -> None:
    """Without a contract no run ends well, and without rules of alerting nobody would be called for it."""
    from .. import contracts
    from ..contracts.alerts import load_alerts

    contracts.load()
    load_alerts()


def _settings_can_work() -> None:
    """What never can is told now, and not by each run: an address without TLS, a driver that is not there. Asks
    nobody."""
    from ..adapters.crm import CrmSettings
    from ..adapters.ehr import EhrSettings
    from ..adapters.landing import require_driver
    from ..adapters.settings import Settings

    Settings.refuse_misspelt()
    settings = Settings.from_env()
    require_driver(settings.landing_url)
    if settings.ehr_url:
        EhrSettings(settings.ehr_url, **settings.ehr_credentials())
    if settings.crm_url:
        CrmSettings(*settings.crm_access())


def _unless_the_disk_is_full(start: Callable):
    """A start writes in many places; each may be the one that finds no room, in our process or in Postgres."""
    try:
        return start()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise click.ClickException(
                f"the disk of {open_road().settings.home} is full: make room there, or set"
                " GLP1_HOME to a folder on another disk, and start again; nothing is lost"
            ) from None
        raise


@click.command(short_help="put files into the landing zone")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@AS_JSON
def drop(files: tuple[Path, ...], as_json: bool) -> None:
    """Drop FILES into the landing zone, as a producer should: written beside, flushed, renamed into place.

    A file is a CloudEvents 1.0 JSON event, NDJSON of them, or a FHIR QuestionnaireResponse.
    """
    import uuid

    from ..adapters.landing import DROPS, LandingFault, digest

    dropped: list[dict[str, str | int]] = []

    def work() -> None:
        landing = open_road().landing
        for file in files:
            with file.open("rb") as stream:
                drop_id = uuid.uuid5(DROPS, digest(stream)[0].hex())
                try:
                    landing.put(f"{uuid.uuid4()}{file.suffix}", stream)
                except OSError as error:
                    raise LandingFault(
                        f"the landing zone did not take file {len(dropped) + 1} of {len(files)}"
                        f" ({error.strerror or 'it does not answer'}): make room there or mend its rights, and drop all"
                        " of them again; what it has already counts once"
                    ) from None
            dropped.append({"drop_id": str(drop_id), "size_bytes": file.stat().st_size})

    told(work)
    show_or_json(
        as_json, dropped, lambda: [click.echo(f"dropped as {d['drop_id']} ({d['size_bytes']} bytes)") for d in dropped]
    )
