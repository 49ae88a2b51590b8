"""Drills of what comes in: events again, in the wrong order, late, with wrong clocks, in a shape that nobody agreed on.

Not here: the landing zone's disk (`machine`).
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from .drill import Drill
from .ending import DrillFailed
from .scene import Scene

HANDLED = "the ledger handles it by itself and counts it"
CONSENT = "consent.telehealth"


def _counted(column: str) -> Callable[[Scene], str | None]:
    def ask(scene: Scene) -> str | None:
        ((n,),) = scene.rows(f"select coalesce(sum({column}), 0)::int from ops.drops")  # noqa: S608 - our own name
        return f"counted: {n} {column}" if n else None

    return ask


def _edge(name: str) -> Callable[[Scene], str | None]:
    """The mark that a value bears in the chart when its time is odd."""

    def ask(scene: Scene) -> str | None:
        n = scene.one(
            "select count(*) from phi.chart_values where value -> 'edges' ? %s or value ->> 'held' = %s", name, name
        )
        return f"marked: {name}, {n} values" if n else None

    return ask


def _again(scene: Scene) -> None:
    people = [scene.person() for _ in range(6)]

    def drop() -> None:
        scene.drop(*people)
        scene.drop(*people)  # the same file
        scene.drop(*people[::-1], *people)  # another file, each event twice
        scene.drop(*[_reformatted(person) for person in people])

    scene.break_("6 submissions come five times: the same file, another file, twice in a file, other spaces", drop)
    scene.until_detected(lambda: _counted("duplicates")(scene))
    scene.until_settled()
    _expect(scene, "select count(*) from phi.events where status <> 'rejected'", 6, "each submission is one event")


def _reformatted(event: dict[str, Any]) -> bytes:
    """The same event, its keys in another order and with other spaces."""
    return orjson.dumps(dict(reversed(event.items()))).replace(b'":', b'": ')


def _reordered(scene: Scene) -> None:
    people = [scene.person() for _ in range(4)]
    weight = {"value": 91.5, "unit": "kg"}
    later = [scene.amended(p, 1, {"anthro.weight": weight}) for p in people]

    def drop() -> None:
        scene.drop(*later)
        scene.until(lambda: scene.one("select count(*) from phi.events") >= 4)
        scene.drop(*people)

    scene.break_("4 corrections come before the submissions that they correct", drop)
    early = "select count(*) from phi.events a join phi.events s using (subject) where s.type = 'intake.submitted'"
    scene.until_detected(
        lambda: (
            "ledger: a correction before its submission"
            if scene.one(f"{early} and a.type = 'intake.amended' and a.seq < s.seq")
            else None
        )
    )
    scene.until_settled()
    _expect(
        scene,
        "select count(*) from phi.chart_values where field = 'anthro.weight' and (value ->> 'value')::float = 91.5",
        4,
        "the correction has the last word",
    )


def _late(scene: Scene) -> None:
    now = datetime.now(UTC)
    old = [scene.person(now - timedelta(days=2, minutes=n)) for n in range(5)]
    for event in old:  # signed two days ago, received by the form's server now
        event["data"]["received_at"] = event["time"] = now.isoformat(timespec="milliseconds")
    scene.break_("5 submissions that were signed two days ago without a network", lambda: scene.drop(*old))
    scene.until_detected(lambda: _edge("offline_then_online")(scene))
    scene.until_settled()


def _skewed(hours: float) -> Callable[[Scene], None]:
    def run(scene: Scene) -> None:
        now = datetime.now(UTC)
        people = [scene.person() for _ in range(5)]
        for event in people:
            event["data"]["authored_at"] = (now + timedelta(hours=hours)).isoformat(timespec="milliseconds")
            event["data"]["received_at"] = event["time"] = now.isoformat(timespec="milliseconds")
        right = [scene.amended(p, 1, {"anthro.weight": {"value": 92.5, "unit": "kg"}}) for p in people]
        for event in right:  # our own clock was right all the while
            event["data"]["received_at"] = event["time"] = (now + timedelta(seconds=5)).isoformat()
        scene.break_(f"5 phones whose clocks are {abs(hours):.0f} hours {'ahead' if hours > 0 else 'behind'}",
                     lambda: scene.drop(*people))  # fmt: skip
        scene.until_detected(lambda: _edge("clock_skew" if hours > 0 else "offline_then_online")(scene))
        scene.drop(*right)
        scene.until_settled()
        _expect(
            scene,
            "select count(*) from phi.chart_values where field = 'anthro.weight' and (value ->> 'value')::float = 92.5",
            5,
            "a later correction counts, whatever the phone's clock said",
        )

    return run


def _daylight(scene: Scene) -> None:
    """In spring the clocks jump over half past two; in autumn half past one comes twice."""
    given = {"status": "given", "version": "2026-09"}
    never = scene.person(answers={CONSENT: given | {"at": "2026-03-08T02:30:00"}})
    twice = [scene.person(datetime.fromisoformat(f"2026-11-01T01:30:00{zone}")) for zone in ("-04:00", "-05:00")]
    for event in twice:
        event["data"]["answers"]["anthro.weight_measured_at"] = "2026-10-30"
    scene.break_(
        "one consent at an hour that never was, two submissions within the hour that came twice",
        lambda: scene.drop(never, *twice),
    )
    scene.until_detected(lambda: _edge("nonexistent_time")(scene))
    scene.until_settled()
    _expect(scene, "select count(*) from ops.tasks where cause like '%%nonexistent_time'", 1, "a person is asked")
    apart = "select extract(epoch from max(authored_at) - min(authored_at))::int from phi.patient_values where"
    _expect(scene, f"{apart} authored_at < '2026-11-02' and authored_at > '2026-10-31'", 3600, "one hour lies between")


def _new_schema(scene: Scene) -> None:
    people = [scene.person() for _ in range(8)]
    strange = [{**p, "id": str(uuid.uuid4()), "data": {**p["data"], "form_version": "9.0.0"}} for p in people]
    scene.break_(
        "a source sends 8 submissions of a form version that nobody told us of",
        lambda: scene.drop(*strange, is_charted=False),
    )
    scene.until_detected()
    scene.heal("the source sends them again as agreed", lambda: scene.drop(*people))
    scene.until_settled()
    _expect(scene, "select count(*) from phi.events where status = 'rejected'", 8, "what was rejected is kept")


def _poison(scene: Scene) -> None:
    bad = [
        b'{"specversion": "1.0", "id": "cut',
        b"[1, 2, 3]",
        b'{"specversion": "1.0", "type": "intake.submitted", "type": "intake.amended"}',
        b"[" * 200 + b"]" * 200,
        b'{"a": NaN}',
        b"\xff\xfe\x00\x01",
        orjson.dumps({**scene.person(), "subject": "with a \\u0000 in it"}).replace(b"\\\\u0000", b"\\u0000"),
    ]
    good = [scene.person() for _ in range(6)]
    mixed: list[Any] = [line for pair in zip(bad, [*good, good[0]], strict=True) for line in pair]
    scene.break_(f"{len(bad)} lines that are no event lie between 6 good ones", lambda: scene.drop(*mixed))
    scene.until_detected()
    scene.until_settled()
    _expect(scene, "select count(*) from phi.events where status in ('rejected', 'dead')", len(bad), "each is kept")


def _huge(scene: Scene) -> None:
    good = [scene.person() for _ in range(2)]
    huge = orjson.dumps({**scene.person(), "note": "x" * (24 << 20)})
    long = {**scene.person(), "note": "x" * (900 << 10)}
    scene.break_(
        "a line of 24 MiB and one just below the limit of 1 MiB lie between two good ones",
        lambda: scene.drop(good[0], huge, long, good[1]),
    )
    scene.until_detected()
    scene.until_settled()


def _torn(scene: Scene) -> None:
    """A producer that writes slowly into the landing zone itself, without renaming at the end."""
    people = [scene.person() for _ in range(4)]
    path = scene.landing.path / f"{uuid.uuid4()}.ndjson"
    content = b"".join(orjson.dumps(person) + b"\n" for person in people)
    scene.charted |= {(p["source"], p["id"]) for p in people}
    scene.n_lines += len(people)

    def drip() -> None:
        with path.open("wb") as file:
            for part in (content[:5000], content[5000:9000], content[9000:]):
                file.write(part)
                file.flush()
                scene.until(lambda: True, after=0.7)

    scene.break_("a file is written in three parts, with a pause after each", drip)
    scene.until_detected(lambda: _counted("lines")(scene))
    scene.until_settled()
    _expect(scene, "select count(*) from phi.events where status = 'rejected'", 0, "nothing was read half")


def _refused(scene: Scene) -> None:
    """A compressed file, and then the same lines as they must be."""
    import gzip

    people = [scene.person() for _ in range(3)]
    packed = gzip.compress(b"\n".join(map(orjson.dumps, people)))
    scene.n_lines += 1
    scene.break_(
        "a producer sends a compressed file, which nobody agreed on",
        lambda: scene.landing.put(f"{uuid.uuid4()}.ndjson", io.BytesIO(packed)),
    )
    scene.until_detected()
    scene.heal("it sends the lines themselves", lambda: scene.drop(*people))
    scene.until_settled()


def _expect(scene: Scene, statement: str, wanted: object, sentence: str) -> None:
    found = scene.one(statement)
    if found != wanted:
        raise DrillFailed(f"{sentence}: found {found}, not {wanted}")
    scene.step(f"so it is: {sentence}")


DRILLS = [
    Drill("events-again", "events", "Each event comes five times, in files and within a file.", None, _again, HANDLED),
    Drill("events-reordered", "events", "Corrections come before what they correct.", None, _reordered, HANDLED),
    Drill("events-late", "events", "Phones without a network send two days later.", None, _late, HANDLED),
    Drill("events-clock-ahead", "events", "Phones' clocks are three days ahead.", None, _skewed(72), HANDLED),
    Drill("events-clock-behind", "events", "Phones' clocks are three days behind.", None, _skewed(-72), HANDLED),
    Drill("events-daylight-saving", "events", "Times that a change of clocks skips or repeats.", None, _daylight,
          "a task asks a person for the one time that never was"),
    Drill("events-new-schema", "events", "A source changes its schema without a word.", "event_rejected", _new_schema),
    Drill("events-poison", "events", "Lines that are no event lie between good ones.", None, _poison,
          "each is kept with its reason, too few of a kind to call anybody"),
    Drill("events-huge", "events", "A line far too long lies between good ones.", None, _huge,
          "it is kept as too long, and one is too few to call anybody"),
    Drill("events-dripping", "events", "A producer writes its file slowly, in place.", None, _torn, HANDLED),
    Drill("events-compressed", "events", "A producer sends what nobody agreed on, then mends it.", None, _refused,
          "one refused drop is shown by the check of the asset `events`"),
]  # fmt: skip
