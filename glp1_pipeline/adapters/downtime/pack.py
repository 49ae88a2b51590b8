"""The worklist as files for working on paper: a CSV to fill in and load, and a PDF to print, a queue to a page.

They hold patients' data: written into the folder that the caller names, for the owner alone, and under names that tell
nothing. Here: how they look, and writing them whole. Not here: what is in them (`worklist`).
"""

from __future__ import annotations

import csv
import io
import os
import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ...domain.downtime import COLUMNS, Line, cells
from .pdf import COLUMNS as PDF_COLUMNS
from .pdf import ROWS, make_pdf, printable

MARKED = "* some letters of this name are printed without their marks; the CSV has it in full"
UNPRINTABLE = "(name in other letters: see row {} of the CSV)"
ROOM = f"    by: {'_' * 22}  at (date, time): {'_' * 26}  note code: {'_' * 34}"
HEAD = 3
"""Lines at the top of each page."""


class Pack(NamedTuple):
    csv: Path
    pdf: Path
    tasks: int
    patients: int
    overdue: int


def write_pack(folder: Path, lines: Sequence[Line], made_at: datetime) -> Pack:
    """Write both files; FileExistsError where there is a pack of this second already, and nothing is overwritten."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"worklist-{made_at:%Y%m%dT%H%M%SZ}"
    pack = Pack(
        folder / f"{name}.csv", folder / f"{name}.pdf", len(lines), len({line.patient_id for line in lines}),
        sum(line.task.due_at < made_at for line in lines),
    )  # fmt: skip
    _write(pack.csv, as_csv(lines))
    _write(pack.pdf, as_pdf(lines, made_at))
    return pack


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # unlike a rename it never replaces what is there
    finally:
        draft.unlink()


def as_csv(lines: Sequence[Line]) -> bytes:
    """With a mark of UTF-8 at its head, since spreadsheets would misread names without it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row, line in enumerate(lines, 1):
        told = cells(line, row)
        writer.writerow([told[column] for column in COLUMNS])
    return text.getvalue().encode("utf-8-sig")


def as_pdf(lines: Sequence[Line], made_at: datetime) -> bytes:
    """Each queue begins on a page of its own, so that it can be handed to its team; a task is never torn in two."""
    pages: list[tuple[str, list[str]]] = []
    for queue, group in groupby(enumerate(lines, 1), key=lambda numbered: numbered[1].task.queue):
        tasks = list(group)
        title, left = f"Queue {queue}: {len(tasks)} open tasks", 0
        for row, line in tasks:
            block = list(_block(row, line, made_at))
            if len(block) > left:
                pages.append((title, []))
                left = ROWS - HEAD
            pages[-1][1].extend(block)
            left -= len(block)
    if not pages:
        pages.append(("Nothing is open", []))
    return make_pdf([_page(n, len(pages), title, body, made_at) for n, (title, body) in enumerate(pages, 1)])


def _page(n: int, count: int, title: str, body: list[str], made_at: datetime) -> list[str]:
    right = f"page {n} of {count}"
    head = f"CONFIDENTIAL: patients' data. Worklist of {made_at:%Y-%m-%d %H:%M} UTC. Shred it when it is loaded."
    return [f"{head:<{PDF_COLUMNS - len(right)}}{right}", f"# {title}", "", *body]


def _block(row: int, line: Line, made_at: datetime) -> Iterator[str]:
    task = line.task
    due = f"due {task.due_at:%Y-%m-%d %H:%M} UTC{', OVERDUE' if task.due_at < made_at else ''}"
    yield f"# {row:>3}  [ ] done  [ ] declined  [ ] noted    {due}    owner {task.owner}"
    name, is_whole = printable(line.name)
    told = (name if is_whole else f"{name} *") if name else UNPRINTABLE.format(row) if line.name else "(no name)"
    born = f", born {line.birth_date}" if line.birth_date else ""
    phone = f", phone {line.phone}" if line.phone else ""
    yield from _wrap(f"{told}{born}{phone}; patient {line.patient_id}")
    yield from _wrap(f"{line.purpose}: {line.about}")
    if line.in_queue_since:
        yield from _wrap(f"in the provider's queue since {line.in_queue_since:%Y-%m-%d %H:%M} UTC")
    if line.red_flags:
        yield from _wrap(f"red flags: {'; '.join(line.red_flags)}")
    if line.waits_for:
        yield from _wrap(f"the gate waits for: {'; '.join(line.waits_for)}")
    if name and not is_whole:
        yield from _wrap(MARKED)
    yield f"    task {task.task_id}  rests on {line.rests_on}"
    yield ""
    yield ROOM
    yield ""


def _wrap(text: str) -> list[str]:
    shown = "".join(c if printable(c)[0] else "?" for c in text)
    found = textwrap.wrap(shown, PDF_COLUMNS - 4, max_lines=6, placeholder=" ... (more in the CSV)")
    return [f"    {part}" for part in found]
