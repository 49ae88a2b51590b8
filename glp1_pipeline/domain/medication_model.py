"""The shapes of what people declare of a treatment: states, moves, findings, products, ladders, packs, drug codes.

Here: frozen data of `contracts/medication.yaml` and the tables beside it, and look-ups that need no more than their own
content. Not here: reading files (`contracts`), and any decision about a patient (`medication`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from .declared import Declared
from .refill_model import ReasonClass

State = Literal[
    "none", "new_start", "titration", "maintenance", "de_escalation", "switch", "restart", "paused", "discontinued"
]
PREVIOUS = "previous"
"""As the state that a move leads to: the one before the pause."""
TRIGGERS = frozenset(
    (
        "order_of_the_starting_dose", "order_beside_doses_taken_elsewhere", "order_of_another_product", "step_up_order",
        "step_up_order_later", "provider_keeps_the_dose", "label_maintenance_reached", "dose_down_order", "hold",
        "resume", "resume_after_a_gap", "order_after_a_gap", "another_product_took_its_place", "stop",
        "start_is_over",
    )
)  # fmt: skip
FINDINGS = frozenset(
    (
        "skip_a_step_up", "step_up_before_min_days", "overlap_two_glp1", "maintenance_at_starting_dose",
        "start_above_first_step", "dose_not_on_ladder", "compounded_jump", "move_not_allowed", "product_unknown",
        "product_ambiguous", "product_contradicts_code", "code_contradicts_dose", "dose_missing", "no_ladder",
        "compounded_dose_incomplete", "compounded_dose_disagrees", "compounded_dose_tenfold",
        "compounded_dose_out_of_range", "time_unreadable", "planned_dose_disagrees", "planned_product_disagrees",
        "listed_dose_disagrees",
        "dispensed_dose_disagrees", "reported_dose_disagrees", "skipped_rung", "reversed_rung", "two_glp1_at_once",
        "dispensed_without_order", "supply_does_not_fit_dose", "switch_without_last_dose", "restart_after_gap",
        "switch_above_first_step",
    )
)  # fmt: skip
"""The names that `domain.medication` decides by: each must be declared, and no other is ever seen."""
NEVER_OVERRIDDEN = frozenset(("overlap_two_glp1", "dose_not_on_ladder", "compounded_jump", "move_not_allowed"))
"""Rules that no contract may open: two products at once, a dose that is none, a tenfold error."""


class StateKind(Declared):
    state: State
    is_active: bool
    description: str


class Move(Declared):
    """An allowed change of state, named after what makes it."""

    trigger: str
    leaves: frozenset[State]
    to: State | Literal["previous"]
    basis: str


class FindingKind(Declared):
    finding: str
    kind: Literal["move", "told", "drift"]
    """move: an order that is refused; told: something said that cannot be used; drift: sources that disagree."""
    severity: Literal["red", "amber"]
    task: str
    description: str
    overridden_by: tuple[ReasonClass, ...] = ()
    """Of a refused order: classes of reasons by which it may be let through; none: nobody may."""
    verify: str = ""


class OrderOverrides(Declared):
    """How a refused order may be let through, whatever rule refused it."""

    roles: tuple[str, ...]
    """Of access.yaml: each gives the reasons that it may give."""
    expires: Literal["next_order"]
    verify: str


class MissedDoses(Declared):
    """What is proposed to the provider from so many missed doses on."""

    doses: int
    propose: str
    basis: str
    is_restart: bool = False
    mg: float | None = None
    """The dose to begin again with, where somebody names one; shown to people, nothing is decided by it."""
    may: str = ""
    """What a program may choose in its place."""
    decided_by: Literal["", "provider"] = ""
    """Who must decide before anything goes on; empty where the label says what to do."""
    verify: str = ""


class LateDose(Declared):
    """What who is late with a single dose is told. For people: nothing here decides by it."""

    missed_doses: str
    """The list of missed doses that it stands beside."""
    rule: str
    basis: str
    verify: str = ""


class Rung(Declared):
    """A step of a ladder. Its dose is compared with none but those of the same ladder."""

    step: int
    mg: float
    is_start: bool
    min_days: int | None
    """Days at it before the next step; None at the last one, and where nobody says."""
    is_kept: bool | None
    """Whether the label keeps it for maintenance; None where that is still to be verified."""


class Product(Declared):
    product_key: str
    ingredient: str
    family: str
    interval_days: int
    is_compounded: bool


class DrugCode(Declared):
    rxcui: str
    kind: Literal["SBD", "SCD", "IN", "unverified"]
    """SBD names one brand and pack; SCD is shared by brands and never tells which."""
    ingredient: str
    products: frozenset[str]
    mgs: frozenset[float]
    """Doses that it is given in; empty where nobody told."""
    ndcs: frozenset[str]


class Pack(Declared):
    """What one unit that a pharmacy hands over holds."""

    product_key: str
    unit: str
    for_mg: frozenset[float]
    """Empty: for every dose."""
    mg_per_unit: float | None
    doses_per_unit: float | None
    days: tuple[int, int] | None
    """Per unit, where several numbers are right."""


class MedicineGroup(Declared):
    """Medicines that matter to whoever prescribes a GLP-1, by the words of a name; several rows make one group."""

    group: str
    ingredient: str = ""
    """Of the GLP-1 group: each has a row."""
    words: tuple[str, ...]
    """Single words in lower case, each enough: ingredients and brands."""
    phrases: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    """Words beside which a name is none of the group: what is not swallowed."""
    rxcui: tuple[str, ...] = ()
    medicine_class: str = ""
    """The code of set `medicines` that says the same."""
    verify: str = ""


class Family(Declared):
    """Products with one formulation and one ladder."""

    family: str
    counted_as: str
    """Name of the list of its missed doses."""
    missed_doses: tuple[MissedDoses, ...]
    interval_days: int
    is_compounded: bool
    rungs: tuple[Rung, ...]
    """Lowest first; none for compounded products, and where nobody signed a ladder."""
    mg_from: float | None = None
    mg_to: float | None = None
    """Of compounded products: what a dose may be."""
    mg_start: float | None = None
    """Of compounded products: the most that a first order may be."""
    verify: str = ""

    def rung(self, mg: float | None) -> Rung | None:
        return next((rung for rung in self.rungs if mg is not None and abs(rung.mg - mg) < 1e-6), None)

    def proposal(self, missed: int) -> MissedDoses | None:
        return max((m for m in self.missed_doses if m.doses <= missed), key=lambda m: m.doses, default=None)


class MedicationRules(Declared):
    """All that is declared of treatments."""

    verify: str
    look_back_days: int
    order_ahead_days: int
    maintenance_after_days: int
    carry_over_days: int
    supply_tolerance: float
    shipped_after_days: int
    compound_tolerance: float
    compound_step_ratio: float
    states: dict[str, StateKind]
    moves: dict[str, Move]
    findings: dict[str, FindingKind]
    overrides: OrderOverrides
    products: dict[str, Product]
    families: dict[str, Family]
    late_doses: dict[str, LateDose]
    codes: dict[str, DrugCode]
    packs: tuple[Pack, ...]
    medicine_groups: tuple[MedicineGroup, ...]

    @cached_property
    def by_ndc(self) -> dict[str, DrugCode]:
        """NDC of eleven digits -> the code that it is a pack of."""
        return {ndc: code for code in self.codes.values() for ndc in code.ndcs}

    def family_of(self, product_key: str) -> Family | None:
        product = self.products.get(product_key)
        return None if product is None else self.families.get(product.family)

    def is_active(self, state: str) -> bool:
        return self.states[state].is_active
