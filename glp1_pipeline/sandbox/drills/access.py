"""Drills of keys, passwords, credentials, certificates, and of being called.

Not here: what else an EHR or a database does (`ehr`, `database`).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

import psycopg
import yaml

from glp1_pipeline.adapters import alerts, keys
from glp1_pipeline.adapters.cipher import KeyRing
from glp1_pipeline.adapters.postgres_password import change_password
from glp1_pipeline.adapters.resealing import SEALED, KeyFault, archived, count_sealed, reseal

from ..ehr import ehr_command
from .drill import Drill
from .ending import DrillFailed, NotRun
from .looping import EHR
from .programs import wait_until
from .proxy import slow, status
from .receiver import Receiver, receiver
from .scene import Scene
from .tls import TlsFront

WHO = ("drill", "a drill")
TOKEN_SECONDS, SHORT_TOKEN_SECONDS = 4, 2
HOUR = 3600

# ---- the EHR's credential


def _revoked(scene: Scene) -> None:
    """Tokens live for seconds here, so that a revoked secret is felt at once and not at the end of a token."""
    if scene.site.foreign_ehr:
        raise NotRun("the credential of another's EHR is not ours to revoke")
    _restart_ehr(scene)
    scene.feed(2)
    scene.break_("the EHR takes our client secret away", lambda: _restart_ehr(scene, client_secret="another"))  # noqa: S106
    scene.feed(6)
    scene.until_detected()
    wait_until(lambda: _breaker(scene) == "unauthorized", 20, "the breaker does not say `unauthorized`")
    scene.step("the breaker says: unauthorized")
    n_dead = scene.one("select count(*) from ops.writes where status = 'dead'")
    n_burnt = scene.one("select coalesce(max(tries), 0) from ops.writes where status <> 'delivered'")
    if n_dead or n_burnt > 3:
        raise DrillFailed(f"{n_dead} changes were given up, and one has burnt {n_burnt} tries, for a credential")
    scene.step("no change was given up, none came nearer to it")
    scene.heal("the secret is given back; no process of ours is restarted", lambda: _restart_ehr(scene))
    scene.until_settled()


def _token_expired(scene: Scene) -> None:
    """The proxy holds a write until the token that it carries has expired."""
    if scene.site.foreign_ehr:
        raise NotRun("how long another's EHR lets a token live is not ours to say")
    _restart_ehr(scene, token_seconds=SHORT_TOKEN_SECONDS)
    scene.feed(2)
    wait_until(lambda: not scene.left() and scene.one("select count(*) from ops.deliveries"), 30,
               "nothing was delivered with a token that lives")  # fmt: skip
    hold = slow(SHORT_TOKEN_SECONDS + 0.05)
    scene.break_("our token expires while a write is on its way", lambda: scene.proxy.plan(hold, hold))
    scene.feed(4)
    scene.until_detected(
        lambda: "the EHR says 401, and the same try goes on with a new token" if _refused_tokens(scene) else None
    )
    scene.until_settled()
    troubled = scene.one("select count(*) from ops.deliveries where outcome <> 'delivered'")
    if troubled or _breaker(scene):
        raise DrillFailed(f"{troubled} tries failed, or nothing is sent any more, for a token that expired")
    scene.step(f"{_refused_tokens(scene)} requests met an expired token; no try failed, nothing was held back")


def _refused_tokens(scene: Scene) -> int:
    return sum(answered == 401 for _, answered in scene.proxy.writes)


def _restart_ehr(scene: Scene, token_seconds: int = TOKEN_SECONDS, **client: str) -> None:
    scene.site.stop(EHR)
    settings = scene.settings
    argv, env = ehr_command(settings, int(settings.state.get("ehr_itself_port")))
    path = settings.home / "ehr" / "settings.yaml"
    content = yaml.safe_load(path.read_text("utf-8"))
    content["server_auth"]["token_lifetime"] = token_seconds
    content["server_auth"]["smart_clients"][0] |= client
    path.write_text(yaml.safe_dump(content), "utf-8")
    scene.site.launch(EHR, argv, env)
    scene.site.wait_for(f"{scene.site.ehr_url}/metadata", EHR)


def _breaker(scene: Scene) -> str | None:
    rows = scene.rows("select reason from ops.breakers where target = %s and state <> 'closed'", EHR)
    return rows[0][0] if rows else None


# ---- keys of payload encryption


def _key_rotation(scene: Scene) -> None:
    ring, archive = scene.home / "secrets" / "keys.json", scene.home / "archive"
    old = KeyRing.load(ring).active
    scene.feed(6)
    wait_until(lambda: _sealed(scene, old), 30, "nothing was sealed before the rotation")
    made: list[str] = []
    scene.break_("a new key is made current while events flow", lambda: made.append(keys.rotate(ring, *WHO)))
    scene.feed(6)
    scene.until_detected(
        lambda: "processes at work seal under it, without a restart" if _sealed(scene, made[0]) else None
    )
    _kill_while_resealing(scene, old)
    scene.feed(4)
    with scene.connect() as connection:
        done, left = Counter[str](), 1
        while left:  # what is in use at that moment is left for the next time
            again = reseal(connection, scene.cipher, archive)
            done, left = done + again.done, again.left
        scene.step(f"sealed anew while events flow: {dict(done) or 'the killed one had done it all'}")
        escrow = scene.home / "old-key"
        keys.retire(connection, ring, archive, old, escrow, *WHO)
        scene.step("the old key is out of the ring; a copy is in escrow")
        scene.heal("only the new key is left")
        scene.feed(2)
        scene.until_settled()
        by_key = count_sealed(connection, archive)
        if set(by_key) != set(made):
            raise DrillFailed(f"bodies are sealed under {len(by_key)} keys, and the ring has one")
        scene.step(f"{_open_all(scene, connection)} bodies open with the ring as it is")
    try:
        with scene.connect() as connection:
            keys.retire(connection, ring, archive, made[0], scene.home / "never", *WHO)
    except KeyFault:
        scene.step("the current key cannot be retired")
        return
    raise DrillFailed("the current key could be retired")


def _sealed(scene: Scene, kid: str) -> int:
    with scene.connect() as connection:
        return sum(count_sealed(connection, scene.home / "archive").get(kid, {}).values())


def _kill_while_resealing(scene: Scene, old: str) -> None:
    before = _sealed(scene, old)
    scene.site.launch("reseal", [sys.executable, "-m", "glp1_pipeline.cli", "keys", "reseal"], {})
    ends = time.monotonic() + 15
    while scene.site.is_up("reseal") and _sealed(scene, old) >= before and time.monotonic() < ends:
        time.sleep(0.01)
    was_up = scene.site.is_up("reseal")
    scene.kill("reseal")
    scene.step(f"`glp1 keys reseal` {'was killed at work' if was_up else 'was done before it could be killed'}")
    with scene.connect() as connection:
        _open_all(scene, connection)


def _open_all(scene: Scene, connection: psycopg.Connection) -> int:
    """How many bodies there are; every one opens at its place."""
    cipher, n = scene.cipher, 0
    for kind in SEALED:
        rows = connection.execute(kind.words("select {key}, kid, body from {table} where kid is not null"))
        for n_here, (key, kid, body) in enumerate(rows, 1):
            cipher.open(kid, bytes(body), f"{kind.place}|{key}")
            n += n_here > 0
    return n + len(archived(scene.home / "archive"))


# ---- the database's password


def _password(scene: Scene) -> None:
    if scene.settings.database_url:
        raise NotRun("the password of another's database is not ours to change")
    old = scene.settings.store_url()
    scene.feed(6)
    began = scene.one("select clock_timestamp()")

    def change() -> None:
        ended = change_password(scene.settings, "glp1", ends_sessions=True)
        scene.step(f"a new password; {ended} sessions that were opened with the old one were ended")

    def reconnected() -> str | None:
        n = scene.one(
            "select count(*) from pg_stat_activity where application_name like 'glp1%%'"
            " and application_name <> 'glp1 drill' and backend_start > %s",
            began,
        )
        return "the pipeline's processes are connected with the new one, without a restart" if n else None

    scene.break_("the database's password is changed while events flow", change)
    scene.feed(6)
    scene.until_detected(reconnected)
    try:
        psycopg.connect(old, connect_timeout=5).close()
    except psycopg.OperationalError:
        scene.step("the old password is refused")
    else:
        raise DrillFailed("the old password still lets in")
    scene.until_settled()


# ---- the EHR's certificate


def _certificate(scene: Scene) -> None:
    """Delivery is done by this process, which alone trusts the drill's authority: see `tls`."""
    scene.site.stop("delivery")
    with TlsFront(scene.proxy.url, scene.home / "tls") as front, front.delivering(scene):
        scene.feed(2)
        wait_until(lambda: scene.one("select count(*) from ops.deliveries where outcome = 'delivered'"), 30,
                   "nothing was delivered over TLS")  # fmt: skip
        scene.break_("the EHR's certificate has expired", lambda: front.use(is_expired=True))
        scene.feed(6)
        scene.until_detected()
        scene.step(f"the breaker says: {_breaker(scene)}; a look at the certificate says: {front.verdict()}")
        if scene.one("select count(*) from ops.writes where status in ('in_doubt', 'dead') and last_class is not null"
                     " and last_class <> 'unreachable'"):  # fmt: skip
            raise DrillFailed("a change is in doubt or given up, though nothing was ever sent")
        scene.heal("the EHR has a valid certificate", front.use)
        scene.until_settled()


# ---- the EHR away for long


def _an_hour(scene: Scene) -> None:
    """An hour in seconds: what the database remembers of the past is moved back by a quarter of an hour, four times,
    and between them the real program tries for real. What counts in hours (giving up) sees an hour."""
    if scene.site.foreign_ehr:
        raise NotRun("another's EHR is not ours to stop")
    scene.feed(3)
    scene.break_("the EHR is stopped", lambda: scene.site.stop(EHR))
    scene.feed(6)
    scene.until_detected()
    for quarter in range(4):
        n_before = scene.one("select count(*) from ops.deliveries")
        with scene.connect() as connection:
            _pass(connection, HOUR / 4)
        wait_until(lambda n=n_before: scene.one("select count(*) from ops.deliveries") > n, 20,
                   "it was not tried again")  # fmt: skip
        scene.step(f"{15 * (quarter + 1)} minutes have passed by the rows' times; it was tried again, in vain")
    oldest = scene.one(
        "select extract(epoch from now() - min(created_at))::int from ops.writes where status <> 'delivered'"
    )
    n_dead = scene.one("select count(*) from ops.writes where status = 'dead'")
    if n_dead or oldest < HOUR:
        raise DrillFailed(f"{n_dead} changes were given up; the oldest waits for {oldest} s")

    def start() -> None:
        scene.site.start_ehr()
        scene.site.wait_for(f"{scene.site.ehr_url}/metadata", EHR)

    scene.heal("the EHR is started again", start)
    scene.until_settled()


def _pass(connection: psycopg.Connection, seconds: float) -> None:
    for table, columns, which in (
        ("ops.writes", ("created_at", "first_tried_at"), "status in ('ready', 'in_doubt')"),
        ("ops.lanes", ("next_at",), "leased_until is null"),
        ("ops.breakers", ("open_until", "changed_at"), "true"),
    ):
        moved = ", ".join(f"{name} = {name} - make_interval(secs => %(s)s)" for name in columns)
        connection.execute(f"update {table} set {moved} where {which}".encode(), {"s": seconds})  # noqa: S608 - our own names


# ---- the broker


def _broker(scene: Scene) -> None:
    """The sandbox's broker is a folder. It goes with every message in it, and a new, empty one comes back."""
    if scene.settings.broker_url:
        raise NotRun("another's broker is not ours to lose")
    folder = scene.home / "broker"
    scene.feed(3)
    wait_until(lambda: not scene.left() and scene.one("select count(*) from phi.events"), 120, "Dagster does not work")
    scene.break_("the broker is lost, and every message in it", lambda: folder.rename(scene.home / "broker-lost"))
    scene.feed(4)
    scene.until_detected(seconds=60)
    scene.heal("an empty broker is there", scene.settings.make_home)
    scene.until_settled(240)


# ---- who is on call


def _on_call(scene: Scene) -> None:
    secret = "a secret of this drill"  # noqa: S105 - of a receiver that lives for seconds
    with receiver(secret) as heard:
        addresses = " ".join(heard.address(name) for name in sorted(_channels(scene)))
        scene.restart_loops({"GLP1_ALERT_URLS": addresses, "GLP1_ALERT_WEBHOOK_SECRET": secret})
        scene.break_("every call to the EHR is refused", lambda: scene.proxy.always(status(503)))
        people = scene.feed(6)
        scene.until_detected()
        alert = str(scene.alert)
        wait_until(lambda: heard.has("opened", alert) or _look(scene), 15, "no message came")
        scene.step(
            f"a signed message was at the channel {time.monotonic() - (scene.broken_at or 0.0):.1f} s after the break"
        )
        message = heard.first("opened", alert)
        _is_well_told(message, heard, people)
        team = scene.book.teams[message["owner"]]
        scene.step(
            f"the signature holds; {message['severity']}, team {message['owner']}, channel {message['path']}, which is"
            f" that team's: {message['path'] in team.channels}"
        )
        with scene.connect() as connection:
            noted = None
            for one in scene.look(connection):
                if one.alert == alert and one.resolved_at is None and one.incident_id is not None:
                    noted = alerts.acknowledge(connection, one.incident_id, one.called)
        if noted is None or noted.acknowledged_at is None or message["path"] not in team.channels:
            raise DrillFailed("it could not be acknowledged, or went to another team's channel")
        scene.step("acknowledged by whoever is on call")
        scene.heal("the EHR answers again", scene.proxy.heal)
        scene.until_settled()
        wait_until(lambda: heard.has("resolved", alert) or _look(scene), 15, "the end was not told")
        if heard.has("escalated", alert) or heard.n_forged or heard.n_twice():
            raise DrillFailed("it was escalated though it was acknowledged, forged, or told twice")
        scene.step(f"its end was told too; {len(heard.got)} messages in all, none twice, none escalated")


def _channels(scene: Scene) -> set[str]:
    return {channel for team in scene.book.teams.values() for channel in team.channels}


def _look(scene: Scene) -> None:
    """At everything, and send what there is to tell."""
    with scene.connect() as connection:
        scene.look(connection)


def _is_well_told(message: dict[str, Any], heard: Receiver, people: list[dict[str, Any]]) -> None:
    if heard.n_forged:
        raise DrillFailed("a message came whose signature does not hold")
    answers = [person["data"]["answers"] for person in people]
    words = {str(a[name]) for a in answers for name in ("demo.legal_last", "demo.email", "demo.dob", "demo.mobile")}
    if any(word in str(message) for word in words):
        raise DrillFailed("the message holds a word of a patient")


DRILLS = [
    Drill("ehr-credential-revoked", "access", "The EHR takes our client secret away, and gives it back.",
          "breaker_open", _revoked, settings={"GLP1_EHR_SANDBOX_AUTH": "smart"}),
    Drill("ehr-token-expired", "access", "Our token for the EHR expires while a write is on its way.", None,
          _token_expired, settings={"GLP1_EHR_SANDBOX_AUTH": "smart"},
          why_no_alert="the same try asks for a new token and goes on"),
    Drill("key-rotation", "access", "A new key of payload encryption becomes current while events flow; what lies "
          "under the old one is sealed anew, and the old one is retired.", None, _key_rotation, is_alone=True,
          why_no_alert="nothing fails and nobody has to act: `glp1 keys list` shows how far it is"),
    Drill("database-password", "access", "The password of our own database is changed while events flow, and all its "
          "sessions are ended.", None, _password, is_alone=True,
          why_no_alert="the processes are connected again within seconds"),
    Drill("certificate-expired", "access", "The certificate of the EHR expires.", "breaker_open", _certificate,
          is_alone=True),
    Drill("ehr-down-an-hour", "access", "The EHR is away for an hour and comes back (an hour by the rows' times, some "
          "seconds by the clock).", "breaker_open", _an_hour),
    Drill("broker-lost", "machine", "The broker between Dagster and its workers is lost with all its messages.",
          "event_waiting", _broker, needs_dagster=True),
    Drill("on-call", "access", "An alert reaches whoever is on call by a signed webhook, is acknowledged, is not "
          "escalated, and its end is told.", "breaker_open", _on_call, is_alone=True),
]  # fmt: skip
