"""How well a set of submissions maps, without touching any state: no database, no landing zone, nothing written.

Here: finding the files, reading them as the landing zone does, counting what maps, what is held and why. Not here:
the mapping (`domain.mapping`), and how the answer is shown (`cli.mapping`).

A submission maps without manual correction if it is accepted and no person has to look at how one of its answers was
read: none is held, none is kept as typed for want of a code, no question is unknown. A contradiction between answers
is counted apart: it is the patient's to settle, and every answer of it was understood.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ..domain.contract import Contract
from ..domain.events import Refused, Submission, parse_event
from ..domain.failures import where
from ..domain.followup import Answers, read_checkin
from ..domain.mapping import NO_FIELD, Mapped, map_submission
from .documents import lines_of, read_document
from .landing import MAX_LINE_BYTES, Line

SUFFIXES = (".json", ".ndjson", ".jsonl")
"""What is read in a folder; a file that is named itself is read whatever it is called."""


class Place(NamedTuple):
    """Where a submission failed: never on what value."""

    file: str
    line: int
    field: str
    """Empty where the whole document was refused."""
    cause: str


@dataclass(slots=True)
class Checked:
    """What was found: names and counts."""

    files: int = 0
    passed_over: int = 0
    """Files of a folder that are of another kind."""
    documents: int = 0
    """Submissions, and whatever was refused in their place."""
    other_events: int = 0
    """Sound events that are no submissions."""
    accepted: int = 0
    mapped: int = 0
    """Submissions that map without manual correction."""
    answers: int = 0
    answers_mapped: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    hints: dict[str, str] = field(default_factory=dict)
    """Reason of refusal -> how to mend it."""
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(field, cause) -> how many answers."""
    contradictions: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    """Where our own code failed -> how often."""
    places: list[Place] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of all documents; 0 where there are none."""
        return self.mapped / self.documents if self.documents else 0.0

    @property
    def answer_share(self) -> float:
        return self.answers_mapped / self.answers if self.answers else 0.0

    def as_dict(self) -> dict[str, Any]:
        failed: dict[str, dict[str, int]] = {}
        for (name, cause), count in most(self.failed):
            failed.setdefault(name, {})[cause] = count
        return {
            "submissions": self.documents,
            "accepted": self.accepted,
            "mapped": self.mapped,
            "share": round(self.share, 6),
            "answers": self.answers,
            "answers_mapped": self.answers_mapped,
            "answer_share": round(self.answer_share, 6),
            "failed": failed,
            "refused": dict(most(self.refused)),
            "contradictions": dict(most(self.contradictions)),
            "dead": dict(most(self.dead)),
            "other_events": self.other_events,
            "files": self.files,
            "files_passed_over": self.passed_over,
            "places": [place._asdict() for place in self.places],
        }


def most(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """The most frequent first, equals by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def check_mapping(
    contract: Contract,
    paths: Iterable[Path],
    places: int = 0,
    progress: Callable[[Checked], None] = lambda _: None,
) -> Checked:
    """Read every submission in files and folders and map it. Memory does not grow with their number.

    `places`: how many of the first failures to list with file and line. `progress` hears the counts as they grow.
    OSError where a path cannot be read.
    """
    checked = Checked()
    for path in paths:
        for file in files_in(path, checked):
            checked.files += 1
            for line in lines_in(file):
                for failed, cause in _check_line(contract, line, checked):
                    if len(checked.places) < places:
                        checked.places.append(Place(str(file), line.number, failed, cause))
                progress(checked)
    return checked


def files_in(path: Path, checked: Checked) -> Iterator[Path]:
    """The files of a tree, in a fixed order; links to folders are not followed."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES):
                yield Path(folder, name)
            else:
                checked.passed_over += 1


def _raise(error: OSError) -> None:
    raise error


def lines_in(file: Path) -> Iterator[Line]:
    """As the landing zone reads them; one document over the limit of an event is one line, not thousands."""
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_LINE_BYTES:
            first = stream.readline(MAX_LINE_BYTES).strip()
            stream.seek(0)
            if first in (b"{", b"[", b"[{") or (first.endswith((b",", b"{", b"[")) and not _is_json(first)):
                yield Line(1, first, True, size)
                return
        yield from lines_of(stream, size, 0)


def _is_json(content: bytes) -> bool:
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return True


def _check_line(contract: Contract, line: Line, checked: Checked) -> list[tuple[str, str]]:
    """Count one line; what failed of it, as (field, cause), without a field where the whole line did."""
    try:
        _, content = parse_event(read_document(line.content, line.is_too_long), contract)
    except Refused as refusal:
        checked.documents += 1
        checked.refused[refusal.reason] += 1
        checked.hints.setdefault(refusal.reason, refusal.hint)
        return [("", refusal.reason)]
    if not isinstance(content, Submission):
        checked.other_events += 1
        return []
    checked.documents += 1
    checked.accepted += 1
    try:
        is_checkin = content.form_id == contract.checkin.form_id
        mapped = read_checkin(contract, content) if is_checkin else map_submission(contract, content)
    except Exception as error:  # noqa: BLE001 - a poison submission is a finding of this check, named by its place
        checked.dead[where(error)] += 1
        return [("", "dead")]
    failures = failures_of(mapped)
    told = sum(is_told(name, doc, content) for name, doc in mapped.values.items())
    unknown = sum(name == NO_FIELD for name, _ in failures)
    checked.mapped += not failures
    checked.answers += told + unknown
    checked.answers_mapped += told + unknown - len(failures)
    checked.failed.update(failures)
    checked.contradictions.update(mapped.contradictions)
    return failures


def is_told(name: str, doc: dict[str, Any], submission: Submission) -> bool:
    """Whether somebody answered: not where it was left blank, nor what the envelope says of the form itself."""
    return doc.get("null") != "absent" and (not name.startswith("sys.") or name in submission.answers)


def failures_of(mapped: Mapped | Answers) -> list[tuple[str, str]]:
    """(field, cause) of each answer that a person has to look at."""
    found = [(problem.field, problem.cause) for problem in mapped.problems]
    return found + [(n, "unmapped_code") for n, doc in mapped.values.items() if "unmapped" in doc and "value" in doc]
