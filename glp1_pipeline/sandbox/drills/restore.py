"""Drills of a database that is lost, and put back from a backup while the EHR knows more than the backup does.

Not here: a database that only stumbles (`database`).
"""

from __future__ import annotations

from pathlib import Path

from glp1_pipeline.adapters.backup import Programs, make, restore, take_again, unknown_drops
from glp1_pipeline.adapters.balance import balance, fingerprint
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings
from glp1_pipeline.adapters.ehr_unknown import Unknown, unknown_there

from .drill import Drill
from .ending import DrillFailed, NotRun
from .programs import wait_until
from .scene import Scene


def _restore(scene: Scene) -> None:
    """Kept elsewhere, as docs/decisions/0026 asks: the backup, the folder of secrets, the archive of drops."""
    if scene.settings.database_url:
        raise NotRun("another's database is not ours to lose")
    programs, file = Programs.of(scene.settings), scene.home / "a.backup"
    scene.feed(5)
    wait_until(lambda: scene.one("select count(*) from ops.deliveries"), 30, "nothing was delivered")
    point = make(scene.settings.store_url(), scene.cipher, file, programs)
    n_events, n_bytes = point["balance"]["received"], file.stat().st_size
    scene.step(f"a backup while events flow: {n_events} events, {n_bytes} bytes, sealed")
    scene.feed(6)
    wait_until(lambda: scene._is_settled(), 60, "what was fed did not settle")
    was = _state(scene)
    scene.step("after it more was fed, and delivered to the EHR and the CRM")

    def lose() -> None:
        scene.site.stop_loops()
        scene.site._new_database()

    scene.break_("our database is lost; the EHR and the CRM have everything", lose)
    scene.until_detected(lambda: None if scene.one("select count(*) from phi.events") else "not one event is there")
    _put_back(scene, file, programs)
    scene.heal("the pipeline is started again", scene.site.start_loops)
    scene.until_settled(90)
    now, there = _state(scene), _unknown(scene)
    if not there.is_nothing:
        raise DrillFailed(f"the EHR holds what we do not know: {there.as_dict()}")
    if now != was:
        raise DrillFailed(f"it is not what it was: {sorted(name for name in was if was[name] != now[name])}")
    scene.step("the fingerprint is that of the moment before the loss; the EHR holds nothing that we do not know")


def _put_back(scene: Scene, file: Path, programs: Programs) -> None:
    found = restore(scene.settings.store_url(), scene.cipher, file, programs)
    with scene.connect() as connection:
        if fingerprint(connection) != found["fingerprint"] or not balance(connection).holds:
            raise DrillFailed("what was restored is not what was backed up")
        there = _unknown(scene)
        if not there.resources:
            raise DrillFailed("the EHR should know more than the backup, and nothing says so")
        scene.step(
            f"restored: the fingerprint is that of the backup; {found['doubted']} changes are in doubt; the EHR holds"
            f" {sum(there.resources.values())} resources of ours that the backup does not know, and"
            f" {sum(there.versions.values())} in a later version"
        )
        n = take_again(scene.cipher, scene.landing, unknown_drops(connection, scene.home / "archive"))
    scene.step(f"{n} drops that came after the backup are taken from the archive again")


def _state(scene: Scene) -> dict[str, str]:
    with scene.connect() as connection:
        return fingerprint(connection)


def _unknown(scene: Scene) -> Unknown:
    ehr = Ehr(EhrSettings(scene.site.ehr_url, **scene.settings.ehr_credentials()))
    try:
        with scene.connect() as connection:
            return unknown_there(connection, ehr, scene.began_at)
    finally:
        ehr.close()


DRILLS = [
    Drill("restore-from-backup", "database", "Our database is lost and put back from a backup; the EHR and the CRM "
          "know more than it does.", None, _restore, is_alone=True,
          why_no_alert="without a database nothing can be measured: then `glp1 alerts check` fails, and cron tells"),
]  # fmt: skip
