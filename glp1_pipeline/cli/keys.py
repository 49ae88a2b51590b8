"""`glp1 keys`: which keys seal and open, a new one, sealing anew, retiring an old one; passwords of the database; and
the key that the EHR knows us by.

Not here: any of that work (`adapters.keys`, `adapters.resealing`, `adapters.postgres_password`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from .telling import AS_JSON, open_road, question, show_or_json, told

ACTOR = click.option("--actor", required=True, help="Who wants it, as an opaque name.")
REASON = click.option("--reason", required=True, help="Why, in words without a value.")


@click.group(short_help="keys of sealed bodies, passwords, our key for the EHR")
def keys() -> None:
    """The keys that bodies are sealed with, while the system runs.

    \b
    A rotation, in order:
      glp1 keys rotate --actor A --reason R     a new key seals from now on; old ones still open
      copy GLP1_HOME/secrets/keys.json to where its copies are kept, apart from the backups
      glp1 keys reseal                          what lies under old keys is sealed anew; may be stopped
      glp1 keys retire OLD --escrow FILE ...    refused while anything is sealed under it

    No process needs a restart: each looks at the ring before it seals. Several machines must see one and the same file,
    or get the new file within the same minute: one without the new key cannot open what it sealed, and says so.
    """


@keys.command("list", short_help="each key, and how much is sealed under it")
@AS_JSON
def list_(as_json: bool) -> None:
    """Each key: whether it seals, opens or is retired, since when, and how much is sealed under it; then the history.

    MISSING: something is sealed under a key that the ring does not have. Put the ring back, or the key from its escrow:
    `glp1 keys take-back`. No key is ever shown.
    """
    from ..adapters.keys import history, listed
    from ..adapters.resealing import count_sealed

    path, archive = _ring(), _archive()
    counted = told(lambda: question(lambda connection: count_sealed(connection, archive)))
    found = {"keys": told(_sentence(lambda: listed(path, counted))), "history": told(lambda: history(path))}

    def show() -> None:
        for key in found["keys"]:
            sealed = ", ".join(f"{name} {count}" for name, count in key["sealed"].items()) or "nothing"
            click.echo(f"{key['key']:14}{key['state']:9} since {key['made_at'] or 'the beginning':26} seals {sealed}")
        for one in found["history"]:
            click.echo(f"{one['at']}  {one['key']} {one['done']} by {one['actor']}: {one['reason']}")

    show_or_json(as_json, found, show)
    if any(key["state"] == "MISSING" for key in found["keys"]):
        sys.exit(1)


@keys.command(short_help="make a new key and seal with it from now on")
@ACTOR
@REASON
@AS_JSON
def rotate(actor: str, reason: str, as_json: bool) -> None:
    """Make a new key and seal with it from now on. Running processes take it up before their next seal.

    Copy the ring's file to where its copies are kept at once: what is sealed from now on opens with the new key alone.
    """
    from ..adapters.keys import rotate as make

    path = _ring()
    kid = told(_sentence(lambda: make(path, actor, reason)))
    show_or_json(
        as_json,
        {"key": kid, "state": "current"},
        lambda: click.echo(f"{kid} seals from now on. Copy {path} to where its copies are kept, now."),
    )


@keys.command(short_help="seal anew what lies under older keys")
@AS_JSON
def reseal(as_json: bool) -> None:
    """Seal anew what lies under older keys: events, requests, archived drops. Ctrl-C loses nothing; so does a kill.

    The road goes on meanwhile: rows in use are passed over and done in a later pass. Exits with 1 while something is
    left: begin it again.
    """
    from ..adapters.progress import every_few_seconds
    from ..adapters.resealing import Resealed
    from ..adapters.resealing import reseal as seal_anew

    def work() -> Resealed:
        road = open_road()
        tell = every_few_seconds(lambda now: click.echo(f"{sum(now.done.values())} bodies …", err=True))
        with road.connect("glp1 keys reseal") as connection:
            return seal_anew(connection, road.cipher, _archive(), tell)

    done = told(_sentence(work)).as_dict()

    def show() -> None:
        click.echo("sealed anew: " + (", ".join(f"{k} {n}" for k, n in done["done"].items()) or "nothing"))
        if done["failed"]:
            click.echo("could not be opened: " + ", ".join(f"{k} {n}" for k, n in done["failed"].items()))
        click.echo(f"left under older keys: {done['left']}")

    show_or_json(as_json, done, show)
    sys.exit(1 if done["left"] else 0)


@keys.command(short_help="take a key out of the ring, into escrow")
@click.argument("key")
@click.option("--escrow", type=click.Path(path_type=Path), required=True, help="A new file for a copy of the key.")
@click.option("--patience", type=click.FloatRange(0, 3600), default=60.0, show_default=True,
              help="Seconds to wait for transactions that are open.")  # fmt: skip
@ACTOR
@REASON
@AS_JSON
def retire(key: str, escrow: Path, patience: float, actor: str, reason: str, as_json: bool) -> None:
    """Take KEY out of the ring, when nothing is sealed under it any more; a copy goes to the file --escrow.

    Backups made before still need it: keep that file as long as the oldest of them, apart from them, and away from
    this machine.
    """
    from ..adapters.keys import retire as end

    path = _ring()

    def work() -> None:
        with open_road().connect("glp1 keys retire") as connection:
            end(connection, path, _archive(), key, escrow.absolute(), actor, reason, patience)

    told(_sentence(work))
    show_or_json(
        as_json,
        {"key": key, "state": "retired", "escrow": str(escrow)},
        lambda: click.echo(f"{key} is retired. {escrow} opens backups made before: move it away from this machine."),
    )


@keys.command("take-back", short_help="put keys from escrow into the ring again")
@click.argument("escrow", type=click.Path(path_type=Path))
@ACTOR
@REASON
@AS_JSON
def take_back(escrow: Path, actor: str, reason: str, as_json: bool) -> None:
    """Put the keys of the file ESCROW into the ring again, to open an old backup. They do not seal."""
    from ..adapters.keys import take_back as put_in

    path = _ring()
    kids = told(_sentence(lambda: put_in(path, escrow, actor, reason)))
    show_or_json(as_json, {"keys": kids}, lambda: click.echo(f"{', '.join(kids)} opens again"))


@keys.command(short_help="a new random password for a role of the database")
@click.option("--role", type=click.Choice(["glp1", "metrics", "dagster", "setup"]), default="glp1", show_default=True,
              help="Whose: our own database's, that of the metrics, Dagster's, or that of the set-up.")  # fmt: skip
@click.option("--end-sessions", is_flag=True, help="End all sessions opened with the old one; processes reconnect.")
@ACTOR
@REASON
@AS_JSON
def password(role: str, end_sessions: bool, actor: str, reason: str, as_json: bool) -> None:
    """Give a role of the embedded Postgres a new random password, which is never shown.

    Our processes read it at each new connection; but the receiver of webhooks is told it when it starts: until the next
    `glp1 up` changes in CRM and EHR are found by the clock alone. Dagster's processes are told theirs when they start
    too: so that one is changed at the next `glp1 up`.

    A server that is not the embedded one: name a password file in its address, as below. Processes read that at each
    new connection too, Dagster's among them.

    \b
    GLP1_DATABASE_URL=postgresql://glp1@db.example/glp1?passfile=/run/secrets/pgpass
    """
    from ..adapters.keys import note
    from ..adapters.postgres import READER
    from ..adapters.postgres_cluster import SETUP_ROLE
    from ..adapters.postgres_password import change_password

    name = {"setup": SETUP_ROLE, "metrics": READER}.get(role, role)

    def work() -> dict[str, Any]:
        note(_ring(), "password to be changed", name, actor, reason)
        ended = change_password(open_road().settings, name, ends_sessions=end_sessions)
        return {"role": name, "changed": "at the next start" if ended is None else "now", "ended_sessions": ended or 0}

    done = told(_sentence(work))
    show_or_json(
        as_json,
        done,
        lambda: click.echo(
            f"the password of {name}: changed {done['changed']}; {done['ended_sessions']} sessions ended"
        ),
    )


@keys.command(short_help="what to register at an EHR that knows us by a key pair")
def ehr() -> None:
    """Print the public half of our key for the EHR as a JWK Set, to be registered there. It is no secret.

    Many EHRs take no client secret: they give a token for what a private key signed (SMART backend services). The key
    is made the first time, as `ehr_client_key` in GLP1_HOME/secrets; or it is the PEM file that GLP1_EHR_CLIENT_KEY
    names, RSA of 2048 bits or more, or EC P-384. Then set GLP1_EHR_CLIENT_ID to the id that the EHR gave, and start.

    \b
    glp1 keys ehr > jwks.json
    """
    from ..adapters.ehr.client_key import ClientKey, UnfitKey, new_key
    from ..adapters.settings import EHR_CLIENT_KEY

    settings = told(lambda: open_road().settings)

    def work() -> dict[str, Any]:
        if settings.ehr_client_key is None:
            settings.secrets.get_or_create(EHR_CLIENT_KEY, new_key)
        return ClientKey(settings.ehr_key()).registered()

    click.echo(json.dumps(told(work, UnfitKey), indent=2))


def _ring() -> Path:
    from ..defs.resources import KEYS

    return told(lambda: open_road().settings).home / "secrets" / KEYS


def _archive() -> Path:
    return open_road().settings.home / "archive"


def _sentence(work):
    """What cannot be done with keys now is a sentence, not a trace."""

    def asked() -> Any:
        from ..adapters.resealing import KeyFault

        try:
            return work()
        except KeyFault as fault:
            raise click.ClickException(str(fault)) from None

    return asked
