"""The day that counts is the patient's own, and the same whichever machine looks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain.flags.facts import age_on
from glp1_pipeline.domain.zones import zone_named
from glp1_pipeline_tests.one_patient import CONTRACT, Patient
from glp1_pipeline_tests.sample_inputs import ABSENT, clean_submission

ZONES = sorted({*CONTRACT.followups.zones.values(), "Pacific/Guam", "Pacific/Kiritimati", "Asia/Kathmandu", "UTC"})


def flags_of(born: date, at: datetime, **told: Any) -> set[str]:
    """Of who submits at that moment; the form's server says nothing of its own time."""
    patient = Patient()
    written = {"authored_at": at.isoformat(), "received_at": at.isoformat(), "demo.dob": born.isoformat()}
    return {*patient.hear(clean_submission(7, **written, **told)).flags}


NO_ZONE: list[dict[str, Any]] = [
    {"time_zone": ABSENT},
    {"time_zone": "localtime"},
    {"time_zone": "Somewhere/Else"},
    {"time_zone": ABSENT, "demo.timezone": ABSENT},  # then it is the one of the state, TX
    {"time_zone": "right/UTC", "demo.timezone": ABSENT},
]


@pytest.mark.parametrize("told", NO_ZONE)
def test_nobody_is_of_age_the_evening_before_for_want_of_a_zone_in_the_submission(told: dict[str, Any]):
    evening = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)  # eight in the evening of the 20th in Texas
    born = date(2008, 11, 21)
    assert "AGE_OUT" in flags_of(born, evening, **told)
    assert "AGE_OUT" not in flags_of(born, evening + timedelta(hours=4), **told)


@settings(max_examples=200, deadline=None)
@given(
    at=st.datetimes(datetime(2024, 1, 1), datetime(2027, 11, 1), timezones=st.just(UTC)),
    zone=st.sampled_from(ZONES),
    off=st.integers(-3, 3),
    offset=st.sampled_from(["Asia/Kathmandu", "Etc/GMT-14", "Etc/GMT+12", "UTC"]),
)
def test_who_is_of_age_is_told_by_the_calendar_where_they_are_and_by_no_offset(
    at: datetime, zone: str, off: int, offset: str
):
    today = at.astimezone(ZoneInfo(zone)).date()
    born = date(today.year - 18, today.month, min(today.day, 28)) + timedelta(days=off)
    is_of_age = (born.year + 18, born.month, born.day) <= (today.year, today.month, today.day)
    told = flags_of(born, at.astimezone(ZoneInfo(offset)), time_zone=zone)
    assert ("AGE_OUT" in told) is not is_of_age


@given(st.dates(date(1900, 1, 1), date(2026, 1, 1)), st.dates(date(2026, 1, 1), date(2032, 12, 31)))
def test_an_age_is_the_number_of_birthdays_that_came(born: date, on: date):
    def birthday(year: int) -> date:
        is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return date(year, 3, 1) if (born.month, born.day) == (2, 29) and not is_leap else born.replace(year=year)

    assert age_on(born, on) == sum(birthday(year) <= on for year in range(born.year + 1, on.year + 1))


@pytest.mark.parametrize("name", ["localtime", "posixrules", "right/America/New_York", "posix/UTC", "", "../UTC", "\0"])
def test_no_name_is_a_zone_that_another_machine_would_take_for_another_or_for_none(name: str):
    assert zone_named(name) is None
