"""Working on paper: what a row means, what may not stand in it, and a PDF that every reader can open."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.adapters.downtime.pack import as_csv, as_pdf
from glp1_pipeline.adapters.downtime.pdf import COLUMNS, HEIGHT, LEADING, MARGIN, ROWS, SIZE, WIDTH, printable
from glp1_pipeline.domain import flags, gates, tasks
from glp1_pipeline.domain.chart import Chart, Reported, resolve
from glp1_pipeline.domain.downtime import NEEDED, BadRow, Line, OpenTask, event_of, in_words, read_row
from glp1_pipeline.domain.events import Change, Refused, parse_event
from glp1_pipeline_tests.sample_inputs import contract

from .test_flags import CLEAN, CONTRACT, report
from .test_gates import GATE

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")
ROW = {
    "task_id": str(uuid.UUID(int=7)), "rests_on": str(uuid.UUID(int=8)), "outcome": "done", "done_by": "staff-31",
    "done_at": "2026-11-23 09:30", "note_code": "",
}  # fmt: skip
TASK = OpenTask(
    str(uuid.UUID(int=7)), "missing-high-risk-input", "hx.mtc_personal", "care-coordination", "patient", NOW, NOW
)  # fmt: skip


def line(**more) -> Line:
    made = Line(
        TASK, str(uuid.UUID(int=8)), str(uuid.UUID(int=9)), "Amara Canary", "1980-02-03", "+12125550123",
        "complete red-flag question", "Medullary thyroid cancer", (), ("Weight (too old)",),
    )  # fmt: skip
    return replace(made, **more)


def texts(pdf: bytes) -> list[str]:
    found = re.findall(rb"\((.*)\) Tj", pdf)
    return [re.sub(rb"\\([()\\])", rb"\1", one).decode("cp1252") for one in found]


def test_a_filled_in_row_is_an_event_that_is_the_same_however_often_and_in_whichever_time_zone_it_is_read():
    entry = read_row(ROW, NEW_YORK, NOW)
    assert entry is not None
    assert entry.at == datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    same = read_row({**ROW, "done_at": "2026-11-23T14:30Z", "outcome": " Done "}, ZoneInfo("UTC"), NOW)
    assert same == entry
    first = event_of(entry, str(uuid.UUID(int=9)), TASK.code, TASK.cause)
    event, told = parse_event(first, contract())
    assert (event.type, event.source_id) == ("task.completed", first["id"])
    assert isinstance(told, Change)
    assert told.remote_id == f"{TASK.code}/{TASK.cause}/{entry.rests_on}/done"
    other = event_of(replace(entry, by="staff-32"), str(uuid.UUID(int=9)), TASK.code, TASK.cause)
    assert other["id"] != first["id"]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"outcome": "finished"}, "`outcome`"),
        ({"outcome": ""}, "`outcome`"),
        ({"done_by": "Jane Canary"}, "`done_by`"),
        ({"done_by": ""}, "`done_by`"),
        ({"done_at": "11/23/2026 9:30"}, "`done_at`"),
        ({"done_at": "2026-11-23"}, "`done_at`"),
        ({"done_at": "2026-11-23 10:01"}, "future"),
        ({"done_at": "0026-11-23 10:01"}, "century"),
        ({"done_at": "0001-01-01 00:00+05:00"}, "century"),
        ({"done_at": "9999-12-31 23:59"}, "century"),
        ({"done_at": "2026-11-01 01:30"}, "showed twice"),
        ({"done_at": "2026-03-08 02:30"}, "skipped"),
        ({"task_id": "7"}, "`task_id`"),
        ({"rests_on": "x"}, "`rests_on`"),
        ({"note_code": "Patient said she cried"}, "`note_code`"),
        ({"outcome": "noted"}, "`note_code`"),
    ],
)
def test_a_row_that_is_wrong_is_told_how_to_mend_it(cells: dict[str, str], says: str):
    with pytest.raises(BadRow, match=says):
        read_row({**ROW, **cells}, NEW_YORK, NOW)


@pytest.mark.parametrize("written", ["2026-11-01 01:30-05:00", "2026-11-01 06:30 UTC"])
def test_an_hour_that_the_clocks_showed_twice_is_told_with_its_offset(written: str):
    entry = read_row({**ROW, "done_at": written}, NEW_YORK, NOW)
    assert entry is not None
    assert entry.at == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)


def test_a_row_that_nobody_wrote_into_is_no_row():
    assert read_row({**ROW, "outcome": "", "done_by": "", "done_at": " "}, NEW_YORK, NOW) is None


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(NEEDED), st.text(max_size=40), max_size=6))
def test_whatever_is_written_a_row_is_read_or_answered_without_what_stands_in_it(cells: dict[str, str]):
    try:
        entry = read_row({**ROW, **cells}, NEW_YORK, NOW)
    except BadRow as bad:
        known = ("`outcome` must be one of done, declined, noted", "2026-11-23 14:05")
        plain = str(bad)
        for words in known:
            plain = plain.replace(words, "")
        assert not [text for text in cells.values() if len(text.strip()) > 8 and text.strip() in plain]
    else:
        if entry:
            parse_event(event_of(entry, str(uuid.UUID(int=9)), TASK.code, TASK.cause), contract())


@pytest.mark.parametrize(
    "data",
    [{"outcome": "cancelled"}, {"task": "a/b"}, {"cause": None}, {"rests_on": "x"}, {"actor": ""}, {"record_id": "1"}],
)
def test_an_event_that_is_not_whole_is_refused(data: dict):
    entry = read_row(ROW, NEW_YORK, NOW)
    assert entry
    event = event_of(entry, str(uuid.UUID(int=9)), TASK.code, TASK.cause)
    event["data"] |= data
    with pytest.raises(Refused):
        parse_event(event, contract())


@settings(max_examples=40, deadline=None)
@given(odd=st.dictionaries(st.sampled_from(sorted(CLEAN)), st.just({"null": "unknown"}), max_size=4), data=st.data())
def test_a_task_done_by_hand_is_gone_wherever_its_word_stands_and_a_newer_word_about_its_cause_brings_it_back(
    odd, data
):
    patient = report(values={**CLEAN, **odd})

    def needs(*told: Reported) -> tuple[Chart, dict[tuple[str, str], str]]:
        chart = resolve(CONTRACT, "p1", [patient, *told])
        raised = flags.evaluate(CONTRACT, chart)
        (gate,) = gates.evaluate(CONTRACT, GATE, [chart], [raised])
        found = tasks.derive(CONTRACT, chart, raised, gate)
        return chart, {(n.code, n.cause): tasks.basis_of(CONTRACT, chart, raised, n) for n in found}

    before, open_before = needs()
    code, cause = data.draw(st.sampled_from(sorted(open_before)))
    hours = data.draw(st.integers(-5, 5))

    def word(outcome: str) -> Reported:
        at = patient.authored_at + timedelta(hours=hours)
        name = f"task/{code}/{cause}/{open_before[code, cause]}/{outcome}"
        return Reported("by-hand", name, "", "completed", at, at, "", {}, source="steward")

    after, open_after = needs(word("done"))
    assert after.values == before.values
    assert open_after.keys() == open_before.keys() - {(code, cause)}
    assert needs(word("noted"))[1] == open_before
    assert needs(word("done"), report(2, values=patient.values))[1].keys() == open_before.keys()


def test_causes_are_told_in_words():
    assert in_words(contract(), "match:0") == "may be the same person as another record"
    assert in_words(contract(), "hx.mtc_personal") == contract().fields["hx.mtc_personal"].label
    assert in_words(contract(), "anthro.weight:stale").endswith("(too old)")
    assert in_words(contract(), "clinical-minimum") == "clinical minimum"


def test_a_name_that_cannot_be_printed_is_said_to_be_so_and_stands_in_full_in_the_csv():
    assert printable("José Núñez") == ("José Núñez", True)
    assert printable("Łukasz Čaněk") == ("Lukasz Canek", False)
    assert printable("李小龙") == ("", False)
    lines = [line(name="Łukasz Canary"), line(name="李小龙")]
    shown = texts(as_pdf(lines, NOW))
    assert any("Lukasz Canary *, born 1980-02-03" in text for text in shown)
    assert any("the CSV has it in full" in text for text in shown)
    assert any("(name in other letters: see row 2 of the CSV)" in text for text in shown)
    told = as_csv(lines).decode("utf-8-sig")
    assert "Łukasz Canary" in told
    assert "李小龙" in told


def test_no_cell_is_a_formula_to_a_spreadsheet():
    told = as_csv([line(name='=HYPERLINK("x")', phone="+12125550123")]).decode("utf-8-sig")
    assert "\"'=HYPERLINK(" in told
    assert ",'+12125550123," in told


names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=60)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(names, names, st.sampled_from(["provider", "pharmacy"])), max_size=25))
def test_whatever_names_there_are_the_pdf_is_whole_and_every_task_stands_on_one_page(told: list[tuple[str, str, str]]):
    lines = sorted(
        (line(name=name, about=about, task=replace(TASK, queue=queue)) for name, about, queue in told),
        key=lambda one: one.task.queue,
    )
    pdf = as_pdf(lines, NOW + timedelta(minutes=1))
    start = int(pdf.rsplit(b"startxref\n", 1)[1].split()[0])
    table = pdf[start:].split(b"trailer")[0].split(b"\n")[3:-1]
    for number, entry in enumerate(table, 1):
        assert pdf[int(entry[:10]) :].startswith(b"%d 0 obj\n" % number)
    pages = re.findall(rb"/Length (\d+) >>\nstream\n(.*?)\nendstream", pdf, re.S)
    rows = 0
    for length, content in pages:
        assert len(content) == int(length)
        shown = texts(content)
        assert len(shown) <= ROWS
        assert all(len(text) <= COLUMNS for text in shown)
        starts = [n for n, text in enumerate(shown) if "[ ] done" in text]
        assert len(starts) == sum("by: ____" in text for text in shown) == sum("rests on" in text for text in shown)
        rows += len(starts)
    assert rows == len(lines)
    assert COLUMNS * SIZE * 0.6 <= WIDTH - 2 * MARGIN
    assert ROWS * LEADING <= HEIGHT - 2 * MARGIN
