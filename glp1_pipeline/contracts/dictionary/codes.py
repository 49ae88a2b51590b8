"""The code sets of the data dictionary: each code once, with how many spellings mean it and which fields use it.

Here: that part of the page. Not here: the spellings themselves, which are in codes.csv.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...domain.contract import Code, Contract
from ..checks import NEEDED_SETS
from .markdown import MARK, code, table


def write_codes(lines: list[str], contract: Contract) -> None:
    spellings = sum(len(entries) for entries in contract.codes.values())
    lines += ["", "## Code sets", ""]
    lines += [
        f"{len(contract.codes)} sets, {spellings} spellings. An answer whose spelling its set lacks is held:"
        " `glp1 mapping unmapped` lists them, and a line in codes.csv and a replay mend them.",
    ]
    for name, entries in sorted(contract.codes.items()):
        used = users(contract, name)
        lines += ["", f"### {name}", "", f"{len(entries)} spellings. Used by {', '.join(used)}.", ""]
        head = ("Code", "Spellings", "In our words", "Standard code", MARK)
        by_code: dict[str, list[Code]] = {}
        for entry in entries.values():
            by_code.setdefault(entry.code, []).append(entry)
        table(lines, head, (code_row(key, same) for key, same in by_code.items()))


def code_row(key: str, entries: list[Code]) -> Sequence[str]:
    words = dict.fromkeys(entry.display for entry in entries if entry.display)
    standard = dict.fromkeys(f"{e.fhir_system} {code(e.fhir_code)}" for e in entries if e.fhir_code)
    marks = dict.fromkeys(entry.verify for entry in entries if entry.verify)
    return code(key), str(len(entries)), "; ".join(words), "; ".join(standard), "; ".join(marks)


def users(contract: Contract, name: str) -> list[str]:
    """Fields and parts whose answers are looked up in a set; `mapping` where it is asked for by its own name."""
    found = []
    for field in contract.fields.values():
        if field.codes == name:
            found.append(code(field.name))
        found += [f"{code(field.name)} ({part})" for part, codes in field.part_codes.items() if codes == name]
    return [*found, *(["the mapping of answers"] if name in NEEDED_SETS or not found else [])]
