"""Working on paper with a real Postgres: the worklist out, what was done by hand back, once, and for ever."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import stat
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from click.testing import CliRunner
from psycopg.types.json import Jsonb

from glp1_pipeline.adapters import downtime, matches
from glp1_pipeline.adapters.charts import attend_disputes
from glp1_pipeline.adapters.downtime import Answer, bring_back, read_worklist
from glp1_pipeline.adapters.downtime.bring_back import Row
from glp1_pipeline.cli.downtime import downtime as command
from glp1_pipeline.defs import resources
from glp1_pipeline.domain.charting import GATE
from glp1_pipeline.domain.downtime import NEEDED, cells
from glp1_pipeline.domain.tasks import EDITED
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import SmallRoad, amendment, connect, submission

DONE_AT = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=2)
REVIEW = "provider-review-initial"


def worklist(road: SmallRoad) -> list[dict[str, str]]:
    return [cells(line, row) for row, line in enumerate(read_worklist(road.connection, road.contract, GATE), 1)]


def filled(row: dict[str, str], outcome: str = "done", **more: str) -> dict[str, str]:
    return {**row, "outcome": outcome, "done_by": "staff-31", "done_at": f"{DONE_AT:%Y-%m-%d %H:%M}", **more}


def load(road: SmallRoad, *rows: dict[str, str], is_dry_run: bool = False) -> list[Answer]:
    given = [Row(row.get("row", "?"), row) for row in rows]
    zone = ZoneInfo("UTC")
    return bring_back(road.connection, road.contract, road.cipher, GATE, given, zone, is_dry_run=is_dry_run)


def statuses(answers: list[Answer]) -> list[str]:
    return [answer.status for answer in answers]


def open_tasks(road: SmallRoad) -> list[str]:
    return [code for (code,) in road.rows("select code from ops.tasks where status = 'open' order by code")]


def last_body(road: SmallRoad) -> dict[str, Any]:
    ((write_id, kid, body),) = road.rows(
        "select write_id, b.kid, b.body from ops.writes join phi.write_bodies b using (write_id)"
        " order by write_id desc limit 1"
    )
    return orjson.loads(road.cipher.open(kid, bytes(body), f"writes|{write_id}"))


def test_what_was_done_by_hand_closes_its_task_once_and_no_replay_opens_it_again(road: SmallRoad):
    road.send(submission(1), submission(2))
    first, second = worklist(road)
    assert (first["queue"], first["task"]) == ("provider", contract().tasks[REVIEW].purpose)
    assert first["in_queue_since"]
    values = "select patient_id, field, value, is_finding from phi.chart_values order by 1, 2, 4"
    said = road.rows(values)
    assert statuses(load(road, filled(first), second)) == ["done", "blank"]
    assert road.rows(values) == said, "of the patient nothing was said"
    assert open_tasks(road) == [REVIEW]
    told = {entry["resource"]["status"] for entry in last_body(road)["entry"] if "Task" in entry["request"]["url"]}
    assert told == {"completed"}, "the EHR hears of it too"
    before = road.fingerprint()
    assert statuses(load(road, filled(first))) == ["loaded_before"]
    assert statuses(load(road, filled(first, done_at=f"{DONE_AT:%Y-%m-%dT%H:%M}Z"))) == ["loaded_before"]
    for _ in range(3):
        road.replay()
    assert road.fingerprint() == before
    assert road.balance().holds
    assert [row["task_id"] for row in worklist(road)] == [second["task_id"]]


def test_a_new_word_about_its_cause_opens_a_task_again_and_another_word_does_not(road: SmallRoad):
    lacking = submission(3, **{"hx.mtc_personal": "unsure"})
    road.send(lacking)
    row = next(row for row in worklist(road) if "thyroid" in row["about"].lower() or "mtc" in row["about"].lower())
    (answer,) = load(road, filled(row))
    assert answer.status == "done"
    assert "the gate still holds the patient" in answer.says
    assert open_tasks(road) == []
    road.send(amendment(lacking, 1, {"demo.mobile": "+12125550142"}))
    assert open_tasks(road) == [], "of that nothing was said"
    road.send(amendment(lacking, 2, {"hx.mtc_personal": "unsure"}, minutes=90))
    assert open_tasks(road) == ["missing-high-risk-input"]
    (again,) = [row for row in worklist(road) if row["task_id"] == row["task_id"]]
    assert again["task_id"] == row["task_id"]
    assert again["rests_on"] != row["rests_on"]
    assert statuses(load(road, filled(again))) == ["done"]
    before = road.fingerprint()
    road.replay()
    assert road.fingerprint() == before


def test_what_came_in_meanwhile_keeps_the_task_open_and_the_word_is_kept(road: SmallRoad):
    first = submission(4)
    road.send(first)
    (row,) = worklist(road)
    road.send(amendment(first, 1, {"anthro.weight": {"value": 101, "unit": "kg"}}))
    (answer,) = load(road, filled(row))
    assert answer.status == "still_open"
    assert open_tasks(road) == [REVIEW]
    assert road.one("select status from phi.events where event_id = %s", answer.event_id) == "charted"


def test_a_task_that_closed_meanwhile_stays_closed_and_is_told_so(road: SmallRoad):
    lacking = submission(5, **{"hx.mtc_personal": "unsure"})
    road.send(lacking)
    row = worklist(road)[0]
    road.send(amendment(lacking, 1, {"hx.mtc_personal": "no"}))
    assert open_tasks(road) == [REVIEW]
    assert statuses(load(road, filled(row))) == ["closed_meanwhile"]
    assert open_tasks(road) == [REVIEW]


def test_declined_and_noted_are_kept_and_leave_the_task_open(road: SmallRoad):
    road.send(submission(6), submission(7))
    first, second = worklist(road)
    answers = load(road, filled(first, "declined"), filled(second, "noted", note_code="left-message"))
    assert statuses(answers) == ["declined", "noted"]
    assert open_tasks(road) == [REVIEW, REVIEW]
    assert road.events() == {"charted": 4}


def test_a_bad_row_is_answered_by_its_number_without_its_words_and_the_rest_goes_on(road: SmallRoad):
    road.send(submission(8))
    (row,) = worklist(road)
    wrong = filled(row, done_by="Jane Canary"), filled(row, task_id=str(uuid.uuid4())), filled(row, "finished-canary")
    answers = load(road, *({**one, "row": str(n)} for n, one in enumerate(wrong, 4)), filled(row), filled(row))
    assert statuses(answers) == ["bad", "bad", "bad", "done", "loaded_before"]
    assert [answer.row for answer in answers] == ["4", "5", "6", "1", "1"]
    assert "canary" not in " ".join(answer.says for answer in answers).lower()


def test_a_dry_run_says_the_same_and_changes_nothing(road: SmallRoad):
    road.send(submission(9))
    (row,) = worklist(road)
    before = road.fingerprint(), road.drops()
    dry = load(road, filled(row), is_dry_run=True)
    assert (road.fingerprint(), road.drops()) == before
    assert load(road, filled(row)) == dry


def test_who_is_who_is_not_decided_on_paper(road: SmallRoad):
    road.send(submission(10))
    (row,) = worklist(road)
    road.connection.execute("update ops.tasks set code = 'resolve-identity', cause = 'match:' || %s", (uuid.uuid4(),))
    (answer,) = load(road, filled(row))
    assert answer.status == "bad"
    assert "glp1 match" in answer.says


def test_whose_word_of_a_resource_stays_is_not_decided_on_paper(road: SmallRoad):
    road.send(submission(18))
    mark = {"Patient/7": {"reason": "edited_in_ehr", "since": DONE_AT.isoformat()}}
    road.connection.execute("update ops.copies set conflicts = %s", (Jsonb(mark),))
    attend_disputes(road.connection, road.contract, road.cipher)
    (row,) = [row for row in worklist(road) if row["task"] == contract().tasks[EDITED].purpose]
    (answer,) = load(road, filled(row))
    assert answer.status == "bad"
    assert "glp1 conflicts" in answer.says
    assert road.events() == {"charted": 1}


def test_work_that_was_begun_under_a_record_is_done_also_after_the_record_became_part_of_another(road: SmallRoad):
    road.send(submission(11), submission(11, subject="her-other-account"))
    survivor = road.one("select patient_id::text from phi.charts")
    other = road.one("select record_id::text from ops.patient_links where record_id <> patient_id")

    def decide(action: Any) -> None:
        event_id = matches.decide(
            road.connection, road.contract, road.cipher, action, (survivor, other), "staff-9", "said so"
        )
        road.chart(event_ids=(event_id,))

    decide("unmerge")
    rows = {row["patient_id"]: row for row in worklist(road)}
    assert rows.keys() == {survivor, other}
    decide("merge")
    assert open_tasks(road) == [REVIEW]
    latest = worklist(road)[0]["rests_on"]
    (under,) = [row for row in rows.values() if row["rests_on"] == latest]
    assert statuses(load(road, filled(under))) == ["done"]
    assert open_tasks(road) == []
    before = road.fingerprint()
    road.replay()
    assert road.fingerprint() == before
    assert road.balance().holds


def test_killed_between_the_ledger_and_the_chart_the_next_load_ends_it(road: SmallRoad):
    road.send(submission(13))
    (row,) = worklist(road)
    child = os.fork()
    if child == 0:
        try:
            module = sys.modules[bring_back.__module__]

            def die(*_: Any) -> None:
                os.kill(os.getpid(), signal.SIGKILL)

            module.chart_events = die  # type: ignore[attr-defined]
            with connect(road.url, "mortal") as mine:
                bring_back(mine, road.contract, road.cipher, GATE, [Row("1", filled(row))], ZoneInfo("UTC"))
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert road.events() == {"charted": 1, "waiting": 1}
    assert open_tasks(road) == [REVIEW]
    assert statuses(load(road, filled(row))) == ["loaded_before"]
    assert open_tasks(road) == []
    assert road.events() == {"charted": 2}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, road: SmallRoad, tmp_path: Path) -> Path:
    for name in ("GLP1_DATABASE_URL", "GLP1_DAGSTER_DATABASE_URL"):
        monkeypatch.setenv(name, road.url)
    monkeypatch.setenv("GLP1_HOME", str(tmp_path))
    monkeypatch.setattr(resources, "_parts", lambda _: (road.cipher, road.landing))
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, [*arguments])
    return result.exit_code, result.output


def test_by_the_command_line_from_the_worklist_to_the_paper_and_back(home: Path, road: SmallRoad):
    road.send(submission(14), submission(15))
    why = ("--actor", "staff-1", "--reason", "the EHR is down tonight")
    code, output = run("pack", "--to", str(home / "paper"), *why)
    assert code == 0, output
    assert "2 tasks of 2 patients" in output
    assert "Canary" not in output
    made = sorted((home / "paper").iterdir())
    assert [path.suffix for path in made] == [".csv", ".pdf"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (*made, home / "audit.ndjson")} == {0o600}
    rows = list(csv.DictReader(io.StringIO(made[0].read_bytes().decode("utf-8-sig"))))
    assert all("Canary" in row["name"] for row in rows)
    assert made[1].read_bytes().startswith(b"%PDF-1.4")
    # As a spreadsheet of the other half of the world saves it.
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], delimiter=";")
    writer.writeheader()
    writer.writerows([filled(rows[0]), filled(rows[1], done_by="Jane Canary")])
    made[0].write_text(text.getvalue(), "utf-8-sig")
    code, output = run("load", str(made[0]), *why, "--dry-run")
    assert (code, open_tasks(road)) == (1, [REVIEW, REVIEW])
    assert "nothing was changed" in output
    code, output = run("load", str(made[0]), *why, "--json")
    assert code == 1
    assert json.loads(output)["counts"] == {"done": 1, "bad": 1}
    assert "Canary" not in output
    audit = [json.loads(entry) for entry in (home / "audit.ndjson").read_text().splitlines()]
    assert [(entry["what"], entry["actor"], entry["reason"]) for entry in audit] == [
        ("downtime.pack", "staff-1", "the EHR is down tonight"), ("downtime.load", "staff-1", "the EHR is down tonight"),
    ]  # fmt: skip


def test_where_the_audit_cannot_be_written_no_patient_is_taken_out(
    home: Path, road: SmallRoad, monkeypatch: pytest.MonkeyPatch
):
    road.send(submission(19))
    monkeypatch.setenv("GLP1_HOME", str(home / "not-mounted"))
    code, output = run("pack", "--to", str(home / "paper"), "--actor", "staff-1", "--reason", "tonight")
    assert code == 1
    assert "audit in GLP1_HOME cannot be written" in output
    assert not (home / "paper").exists()


def test_what_cannot_be_a_worklist_is_said_in_a_sentence_and_nothing_is_taken_out_without_a_name(home: Path):
    wrong = home / "wrong.csv"
    why = ("--actor", "staff-1", "--reason", "tried")
    for content, says in (
        (b"a,b\n1,2\n", "lacks the columns task_id"), (b"\xff\xfe", "not UTF-8"), (b"", "lacks the columns"),
        (b'"' + b"x" * 200_000 + b'"\n', "is no CSV"),
    ):  # fmt: skip
        wrong.write_bytes(content)
        code, output = run("load", str(wrong), *why)
        assert code == 1
        assert says in output
    assert run("pack", "--to", str(home / "x"), "--actor", "Jane Canary", "--reason", "r")[0] == 2
    assert run("pack", "--to", str(home / "x"), "--actor", "staff-1")[0] == 2
    assert not (home / "x").exists()
    assert not (home / "audit.ndjson").exists()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_whichever_way_a_spreadsheet_ends_lines_and_orders_columns_the_rows_are_read(tmp_path: Path, end: str):
    file = tmp_path / "filled.csv"
    file.write_bytes(f"note_code,{','.join(reversed(NEEDED[:-1]))},row{end}left-message,,,,,b,7{end}".encode())
    assert [(row.name, row.cells["note_code"], row.cells["task_id"]) for row in downtime.read_rows(file)] == [
        ("7", "left-message", "b")
    ]


def test_a_pack_is_never_written_over_another(tmp_path: Path):
    now = datetime.now(UTC)
    downtime.write_pack(tmp_path, [], now)
    with pytest.raises(FileExistsError):
        downtime.write_pack(tmp_path, [], now)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".pdf"]
