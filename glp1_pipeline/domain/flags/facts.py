"""What is worked out of a chart once, for all the rules that ask: age, BMI, medicine groups, the product wanted.

Here: arithmetic on a chart as of the instant its latest submission was received, and the named conditions under which
a requirement applies. Not here: what any of it means (`answers`, `measures`, `gates`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Generic, TypeVar

from ..chart import Chart
from ..contract import Contract, Requirement
from ..declared import kept
from ..zones import zone_named, zone_of
from .medicines import GLP1, MedicineNames, medicine_names

Condition = Callable[["Facts"], bool]
V = TypeVar("V")

BMI_PLAUSIBLE = (15, 80)
"""Beyond these a slip of unit is likelier than the body."""


class worked_out(Generic[V]):  # noqa: N801 - a decorator
    """`functools.cached_property` without its lock, which costs more than most of what is worked out here: one thread
    alone looks at a chart."""

    def __init__(self, work: Callable[[Any], V]) -> None:
        self.work, self.name = work, work.__name__

    def __get__(self, facts: Any, owner: type) -> V:
        value = facts.__dict__[self.name] = self.work(facts)
        return value


class Facts:
    """Per-chart facts, each worked out when it is first asked for. As of the receipt of the latest submission, not of
    today: a replay then gives the same."""

    def __init__(self, contract: Contract, chart: Chart) -> None:
        self.contract = contract
        self.chart = chart

    @worked_out
    def complete(self) -> bool:
        return self.chart.is_complete

    @worked_out
    def on(self) -> date:
        """By the clock of the device that it came from; where that names no zone that there is, by the patient's."""
        latest = self.chart.latest
        zone = zone_named(latest.time_zone) or zone_of(self.contract, self.chart)
        return latest.received_at.astimezone(zone).date()

    @worked_out
    def age(self) -> int | None:
        return age_on(day(self.chart.get("demo.dob")), self.on)

    @worked_out
    def bmi(self) -> float | None:
        return bmi(self.chart)

    @property
    def names(self) -> MedicineNames:
        return medicine_names(self.contract.medication)

    @worked_out
    def groups(self) -> frozenset[str]:
        """Groups of the medicines that are taken."""
        rows = self.chart.get("med.current_list")
        return self.names.groups_in(rows) if rows else frozenset()

    @worked_out
    def product(self) -> str | None:
        return text_of(self.chart.get("med.glp1_product"))

    @worked_out
    def wanted(self) -> str | None:
        return text_of(self.chart.get("rx.preference"))

    def may_get(self, ingredient: str, route: str | None = None) -> bool:
        """Whether the patient asks for, uses, or has left open a product with this ingredient (and route)."""
        keys = [key for key in (self.wanted, self.product if self.uses_glp1 else None) if key]
        if not self.wanted or self.wanted == "no_preference":
            return True
        for key in keys:
            row = self.contract.products.get(key, {})
            if (row.get("ingredient") or self.names.ingredient_of(key)) == ingredient and (
                route is None or row.get("route", route) == route
            ):
                return True
        return False

    @property
    def wanted_ingredient(self) -> str | None:
        if not self.wanted or self.wanted == "no_preference":
            return None
        return self.contract.products.get(self.wanted, {}).get("ingredient") or self.names.ingredient_of(self.wanted)

    @property
    def uses_glp1(self) -> bool:
        return self.chart.get("med.glp1_history") == "current"

    @property
    def lists_compounded_glp1(self) -> bool:
        """Whether a row of the medicines that are taken says so itself: `compounded semaglutide`."""
        if GLP1 not in self.groups:
            return False
        rows = self.chart.get("med.current_list")
        return any(
            "compound" in str(row.get("name", "")).lower() and GLP1 in self.names.groups_in([row]) for row in rows
        )

    @property
    def has_comorbidity(self) -> bool | None:
        """Yes, no, or None where the patient has not said."""
        listed = self.chart.get("hx.comorbidities")
        if self.chart.get("hx.t2dm") == "yes" or (isinstance(listed, list) and any(c != "none" for c in listed)):
            return True
        return False if isinstance(listed, list) else None


def number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def text_of(value: Any) -> str | None:
    """A code, whether it stands alone or as the product of a group."""
    if isinstance(value, dict):
        value = value.get("product")
    return value if isinstance(value, str) else None


def texts_of(raw: Any) -> list[str]:
    """All that is written in an answer that was held, the names of its parts included."""
    if isinstance(raw, Mapping):
        return [text for key, part in raw.items() for text in (str(key), *texts_of(part))]
    if isinstance(raw, list):
        return [text for part in raw for text in texts_of(part)]
    return [raw] if isinstance(raw, str) else []


def day(value: Any) -> date | None:
    """The date of a canonical date or instant; None where the text is neither."""
    if not isinstance(value, str):
        return None
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None


def age_on(born: date | None, on: date) -> int | None:
    """Whole years. Born on 29 February, a year is full on 1 March."""
    return None if born is None else on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def bmi(chart: Chart) -> float | None:
    """kg/m2 from the stored height and weight, never from what a form worked out."""
    height, weight = number(chart.get("anthro.height")), number(chart.get("anthro.weight"))
    if height is None or weight is None or height <= 0 or weight <= 0:
        return None
    return round(weight / (height / 100) / (height / 100), 2)  # a square may be beyond what a float holds


def has_prior_glp1(facts: Facts) -> bool:
    return facts.chart.get("med.glp1_history") not in (None, "never")


def has_diabetes(facts: Facts) -> bool:
    chart = facts.chart
    listed = chart.get("hx.comorbidities")
    return (
        chart.get("hx.t1dm") == "yes"
        or chart.get("hx.t2dm") == "yes"
        or (isinstance(listed, list) and "t2dm" in listed)
    )


def bmi_27_to_30(facts: Facts) -> bool:
    program = facts.contract.program
    return facts.bmi is not None and program.bmi_min_with_comorbidity <= facts.bmi < program.bmi_min


def may_be_pregnant(facts: Facts) -> bool:
    """Anyone whose sex at birth is not known to be male: a question too many harms less than one too few."""
    return facts.chart.get("demo.sex_at_birth") != "male"


def has_allergies(facts: Facts) -> bool:
    return facts.chart.get("allergy.any") == "yes"


CONDITIONS: dict[str, Condition] = {
    rule.__name__: rule for rule in (has_prior_glp1, has_diabetes, bmi_27_to_30, may_be_pregnant, has_allergies)
}
"""Name in gates.yaml (`when`) -> the condition."""


@kept
def high_risk(contract: Contract) -> tuple[tuple[str, Requirement, Condition | None], ...]:
    """The fields of the high-risk requirements of all gates, each with its requirement and the condition of that."""
    lines = {r.name: r for gate in contract.gates.values() for r in gate.requirements if r.high_risk}
    return tuple((name, r, CONDITIONS[r.when] if r.when else None) for r in lines.values() for name in r.fields)


def unanswered(facts: Facts) -> dict[str, tuple[Requirement, str]]:
    """High-risk field -> its requirement and why it has no answer. A blank counts once the patient has submitted."""
    chart, found = facts.chart, {}
    known = chart.known
    for name, requirement, applies in high_risk(facts.contract):
        if name in known and "value" in known[name]:  # as nearly always
            continue
        state = chart.state(name)
        if state == "not_applicable" and state in requirement.accept:
            continue
        if (facts.complete or state in ("unknown", "declined", "held")) and (applies is None or applies(facts)):
            found[name] = (requirement, state)
    return found
