"""The journey of one event, and the numbers of all journeys.

Not here: how everything stands now (`look`).
"""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from typing import Any

import click

from .telling import AS_JSON, open_road, question, show_or_json, told


@click.command(short_help="the journey of one event")
@click.argument("event", type=click.UUID)
@AS_JSON
def trace(event: uuid.UUID, as_json: bool) -> None:
    """The whole journey of EVENT: received, charted, in the queue, decisions on refills that were made because of it,
    each write and each attempt, with every hop's time and the run that did it.

    Ids, names and times, no value. Its ids are those of `glp1 events` and `glp1 why`.
    """
    from ..adapters.trace import trace as ask

    found = told(lambda: question(lambda connection: ask(connection, event)))
    if found is None:
        raise click.ClickException("no event has this id: `glp1 events --status charted` lists the newest")
    show_or_json(as_json, found, lambda: _show(found))


def _show(found: dict[str, Any]) -> None:
    lines: list[tuple[datetime, str]] = []

    def line(at: datetime, words: str, run: str | None = None) -> None:
        lines.append((at, f"{words}{f' (run {run})' if run else ''}"))

    what = f"{found['type']} of {found['source']}" if found["type"] else "a line"
    line(found["received_at"], f"received: {what}, drop {found['drop_id']} line {found['line']}", found["taken_by_run"])
    if found["reason"]:
        words = f"{found['status']}: {found['reason']}: {found['hint']}"
        line(found["failed_at"] or found["received_at"], words, found["settled_by_run"])
    if found["charted_at"]:
        line(found["charted_at"], f"charted, patient {found['patient_id']}", found["settled_by_run"])
    if found["queue"]:
        line(found["queue"]["entered_at"], "the patient entered the provider's queue")
    for made in found["decisions"]:
        words = f"decided because of it: refill {made['refill_id']} is {made['outcome']} by rule {made['rule']}"
        line(made["as_of"], f"{words} (decision {made['decision_id']})")
    for write in found["writes"]:
        name = f"write {write['write']} to {write['target']}"
        line(write["decided_at"], f"{name}: {write['resources']} resource(s)", write["run"])
        for attempt in write["attempts"]:
            trouble = f" ({attempt['trouble']})" if attempt["trouble"] else ""
            status = f", HTTP {attempt['http_status']}" if attempt["http_status"] else ""
            words = f"{name}, attempt {attempt['attempt']}: {attempt['outcome']}{trouble} in {attempt['ms']} ms{status}"
            line(attempt["at"], words, attempt["run"])
        if write["settled_at"]:
            line(write["settled_at"], f"{name}: {write['status']}")
    for replay in found["replays"]:
        line(replay["at"], f"replayed by plan {replay['plan_id']} for {replay['actor']}")
    for at, words in sorted(lines, key=lambda one: one[0]):
        click.echo(f"{at:%Y-%m-%d %H:%M:%S.%f}  {words}")
    for write in (one for one in found["writes"] if not one["settled_at"]):
        click.echo(f"{'':28}write {write['write']} to {write['target']}: {write['status']}")
    for name, seconds in found["hops"].items():
        click.echo(f"{name:34}{seconds:>10.3f} s")


@click.command(short_help="times of all hops, errors and queues, for a scraper")
@click.option("--serve", "port", type=click.IntRange(0, 65535), help="Serve them on this port of 127.0.0.1 (0: any).")
def metrics(port: int | None) -> None:
    """Every hop's time, error rates, duplicates and queues for a scraper, as OpenMetrics text; no patient in it.

    With --serve it answers http://127.0.0.1:PORT/metrics until Ctrl-C. docs/grafana/ has a dashboard of these names.
    """
    from ..adapters import metrics as exposition

    road = open_road()
    if port is None:
        click.echo(told(lambda: exposition.text(lambda: road.connect("glp1 metrics"))), nl=False)
        return
    try:
        server, served = told(lambda: exposition.serve(lambda: road.connect("glp1 metrics"), port))
    except OSError as error:
        raise click.ClickException(
            f"port {port} of 127.0.0.1 cannot be listened on ({error.strerror}): choose another, or 0 for any free one"
        ) from None
    click.echo(f"http://127.0.0.1:{served}/metrics until Ctrl-C")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        server.shutdown()
