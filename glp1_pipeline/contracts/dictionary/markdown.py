"""Lines of Markdown that the data dictionary is made of.

Here: tables, lists, cells that cannot break a table. Not here: what is said in them (`dictionary`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MARK = "TO BE VERIFIED"


def cell(text: str) -> str:
    """Text that stays within its cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


def code(text: str) -> str:
    return f"`{text}`"


def named(value: object) -> str:
    """A number without a needless point, true and false as they are written in the contract, nothing as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def table(lines: list[str], head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines.append(f"| {' | '.join(head)} |")
    lines.append("|" + "---|" * len(head))
    lines += [f"| {' | '.join(cell(part) for part in row)} |" for row in rows]


def bullets(lines: list[str], facts: Iterable[tuple[str, str]]) -> None:
    """Facts by name; one that says nothing is left out."""
    lines += [f"- **{name}:** {' '.join(fact.split())}" for name, fact in facts if fact]
