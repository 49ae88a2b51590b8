"""Days and instants as people and clients write them.

Here: reading them, where they can be read in one way only. Not here: a clock; "future" is judged against the moment
that the submission was authored.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any

from ..contract import fold
from ..events.shapes import WIDEST_OFFSET
from ..zones import zone_named
from .codes import Nulls, once
from .digits import ascii_digits
from .text import Context, Doc, Shape, held, known

OLDEST_YEARS = 120
LATEST_YEAR = 2100
A_DAY = timedelta(days=1)
NOTHING = {"none", "no", "never", "ninguna", "nunca"}
"""Said of a day, these mean that there is none."""
MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan enero ene", "february feb febrero", "march mar marzo", "april apr abril abr", "may mayo",
            "june jun junio", "july jul julio", "august aug agosto ago", "september sep sept septiembre",
            "october oct octubre", "november nov noviembre", "december dec diciembre dic",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
YEAR_FIRST = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
YEAR_LAST = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4})")
_MONTH = r"[^\W\d]+\.?"
SHORT_YEAR = re.compile(
    rf"(?:\d{{1,2}}|{_MONTH})[-/. ]\d{{1,2}}(?:st|nd|rd|th)?,?[-/. ]'?\d{{2}}|\d{{1,2}}[-/. ]{_MONTH}[-/. ]'?\d{{2}}"
)
DAY_MONTH = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?[ .-]*(?:of |de )?([^\W\d]+)\.?,?[ .-]*(?:de |del )?(\d{4})")
MONTH_DAY = re.compile(r"([^\W\d]+)\.?[ -]*(\d{1,2})(?:st|nd|rd|th)?,?[ -]+(\d{4})")
PARTIAL = re.compile(r"\d{4}|\d{4}-\d{2}|[^\W\d]+ \d{4}")
DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}.*")


class Unreadable(ValueError):
    """No single day follows from the text: the cause and the edge say why."""

    def __init__(self, cause: str, *edges: str) -> None:
        super().__init__(cause)
        self.cause, self.edges = cause, edges


def date_shape(kind: str, nulls: Nulls) -> Shape:
    """`birth_date` and `past_date` cannot lie after the submission; a birth lies within a life's length of it."""
    past, birth = kind in ("past_date", "birth_date"), kind == "birth_date"

    def is_plausible(day: date, context: Context) -> bool:
        now = context.authored_at.date()
        too_late = day > now + A_DAY if past else day.year > LATEST_YEAR
        return not too_late and day.year >= (now.year - OLDEST_YEARS if birth else 1900)

    def judge(day: date, raw: Any, context: Context, edges: list[str]) -> Doc:
        if not is_plausible(day, context):
            return held("implausible_date", raw, *edges)
        if birth and day.month == 2 and day.day == 29:
            edges = [*edges, "leap_birthday"]
        return known(day.isoformat(), edges, raw if edges and edges != ["leap_birthday"] else None)

    def slow(raw: Any, context: Context) -> Doc:
        if isinstance(raw, str) and fold(raw) in NOTHING and not birth:
            return {"null": "not_applicable"}
        try:
            day, edges = read_date(raw, context.time_zone, birth)
        except Unreadable as why:
            return held(why.cause, raw, *why.edges)
        return judge(day, raw, context, edges)

    unwrap = once(slow, nulls)

    def shape(raw: Any, context: Context) -> Doc:
        if type(raw) is str and len(raw) == 10 and raw[4] == "-" == raw[7]:
            try:
                day = date.fromisoformat(raw)
            except ValueError:
                return unwrap(raw, context)
            if is_plausible(day, context) and not (birth and raw.endswith("-02-29")):
                return {"value": raw}
        return unwrap(raw, context)

    return shape


def read_date(raw: Any, time_zone: str, is_birth: bool) -> tuple[date, list[str]]:
    """The day that is meant, and the edges met; raises Unreadable."""
    if isinstance(raw, bool | list):
        raise Unreadable("unreadable_date")
    if isinstance(raw, dict):
        if raw.keys() == {"value"} and isinstance(raw["value"], str):
            return read_date(raw["value"], time_zone, is_birth)
        parts = [
            int(part) if isinstance(part, str) and part.strip().isdecimal() and len(part) < 5 else part
            for part in (raw.get(name) for name in ("year", "month", "day"))
        ]
        if all(isinstance(part, int) and not isinstance(part, bool) for part in parts):
            return made(*parts), []  # type: ignore[arg-type]
        raise Unreadable("unreadable_date")
    if not isinstance(raw, str):
        raise Unreadable("epoch_number", "epoch_number")
    if len(raw) > 64:
        raise Unreadable("unreadable_date")
    text, edges = ascii_digits(raw)
    text = " ".join(text.translate(DASHES).casefold().split())
    text = re.sub(r"(?<=\d) ?([-/.]) ?(?=\d)", r"\1", text)  # `03 / 14 / 1985`, as masked inputs have it
    if INSTANT.fullmatch(text):
        return day_of_instant(text, time_zone, edges, is_birth)
    if found := YEAR_FIRST.fullmatch(text):
        day = made(*(int(part) for part in found.groups()))
        return day, edges if text == day.isoformat() else [*edges, "date_free_text"]
    if found := YEAR_LAST.fullmatch(text):
        return day_and_month(*(int(part) for part in found.groups())), [*edges, "date_free_text"]
    if found := DAY_MONTH.fullmatch(text):
        day, month, year = found.groups()
        return made(int(year), month_of(month), int(day)), [*edges, "date_free_text"]
    if found := MONTH_DAY.fullmatch(text):
        month, day, year = found.groups()
        return made(int(year), month_of(month), int(day)), [*edges, "date_free_text"]
    if SHORT_YEAR.fullmatch(text):
        raise Unreadable("ambiguous_date", "two_digit_year")
    if PARTIAL.fullmatch(text):
        raise Unreadable("partial_date")
    if re.fullmatch(r"\d{6,8}", text):
        raise Unreadable("ambiguous_date", "ambiguous_date")
    if re.fullmatch(r"-?\d{9,}(\.\d+)?", text):
        raise Unreadable("epoch_number", "epoch_number")
    raise Unreadable("unreadable_date")


def made(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except (ValueError, OverflowError):
        raise Unreadable("impossible_date") from None


def day_and_month(first: int, second: int, year: int) -> date:
    """Day and month in the only order that is possible; both orders possible and different is nobody's to choose."""
    if first <= 12 and second <= 12 and first != second:
        raise Unreadable("ambiguous_date", "ambiguous_date")
    return made(year, second, first) if first > 12 else made(year, first, second)


def month_of(name: str) -> int:
    if name not in MONTHS:
        raise Unreadable("unreadable_date")
    return MONTHS[name]


def day_of_instant(text: str, time_zone: str, edges: list[str], is_birth: bool) -> tuple[date, list[str]]:
    """Pickers that send midnight of any zone or a bare clock time mean the written day; a real instant has its local
    day. Nobody is born at an instant that a form knows: of a birth another local day counts alone where it begins."""
    try:
        at = datetime.fromisoformat(text.upper().replace(" ", "T", 1))
    except ValueError:
        raise Unreadable("unreadable_date") from None
    offset = at.utcoffset()
    if offset is None or (at.hour, at.minute, at.second) == (0, 0, 0):
        return at.date(), [*edges, "date_with_time"]
    zone = zone_named(time_zone)
    if zone is None:
        raise Unreadable("ambiguous_date", "date_near_midnight")
    try:
        local = at.astimezone(zone)
    except OverflowError:
        raise Unreadable("implausible_date") from None
    if is_birth and local.date() != at.date() and (local.hour, local.minute, local.second) != (0, 0, 0):
        raise Unreadable("ambiguous_date", "date_near_midnight")
    return local.date(), [*edges, "date_near_midnight"]


def read_instant(raw: Any, time_zone: str) -> tuple[datetime, list[str]]:
    """An instant with its offset. A clock time alone needs a zone, and must have been shown once by its clocks."""
    if not isinstance(raw, str) or len(raw) > 64:
        raise Unreadable("epoch_number" if isinstance(raw, int | float) else "unreadable_instant")
    try:
        at = datetime.fromisoformat(raw.strip().upper())
    except ValueError:
        raise Unreadable("unreadable_instant") from None
    if not plausible(at):
        raise Unreadable("implausible_instant")
    if at.utcoffset() is not None:
        return at, []
    zone = zone_named(time_zone)
    if zone is None:
        raise Unreadable("instant_without_offset")
    early, late = at.replace(tzinfo=zone), at.replace(tzinfo=zone, fold=1)
    if early.utcoffset() != late.utcoffset():
        gap = (early.utcoffset() or timedelta()) < (late.utcoffset() or timedelta())
        raise Unreadable("nonexistent_time" if gap else "ambiguous_time", "dst_gap")
    return early, []


def plausible(at: datetime) -> bool:
    """Whether every store can hold it, and every zone show it."""
    return 1900 <= at.year < 2100 and abs(at.utcoffset() or timedelta()) <= WIDEST_OFFSET


def instant_shape(nulls: Nulls) -> Shape:
    def read(raw: Any, context: Context) -> Doc:
        try:
            at, edges = read_instant(raw, context.time_zone)
        except Unreadable as why:
            return held(why.cause, raw, *why.edges)
        return known(at.isoformat(), edges)

    return once(read, nulls)
