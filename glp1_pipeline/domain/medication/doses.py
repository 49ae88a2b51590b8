"""Which product and how much of it a source tells of, and why that cannot be told.

A drug code alone tells neither brand nor indication: a brand code (SBD) or a package code (NDC) names the product, a
code that brands share only confirms a product key. A compounded dose is mass, concentration and volume at once: where
one is missing or they disagree nothing is used, so that a tenfold error cannot hide.
Here: answers with names of findings, never with a value. Not here: where the parts stand in a message (`reading`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..flags.medicines import medicine_names
from ..medication_model import DrugCode, MedicationRules

UNITS_PER_ML = 100
"""Of an insulin syringe, in which compounded doses are often told."""
SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Amount:
    """A dose as it was told; whatever was not is None."""

    mg: float | None = None
    ml: float | None = None
    mg_per_ml: float | None = None
    units: float | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """How a medicine was named."""

    product_key: str = ""
    rxcuis: tuple[str, ...] = ()
    ndcs: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Dose:
    """What could be told; `held` names the finding where it cannot be used."""

    product: str = ""
    mg: float | None = None
    mg_per_ml: float | None = None
    ml: float | None = None
    held: str = ""
    is_glp1: bool = field(default=True)


def resolve(
    rules: MedicationRules, named: Named, amount: Amount, needs_dose: bool = True, needs_whole: bool = True
) -> Dose:
    """Product and dose of what was named. `needs_dose`: without one it cannot be used. `needs_whole`: nor can a
    compounded one without mass, concentration and volume."""
    codes = [code for code in map(rules.codes.get, named.rxcuis) if code is not None]
    codes += [code for code in map(rules.by_ndc.get, map(ndc11, named.ndcs)) if code is not None]
    if not (codes or named.product_key in rules.products or medicine_names(rules).ingredient_of(named.text)):
        return Dose(is_glp1=bool(named.product_key), held="product_unknown")
    product, held = _product(rules, named, codes)
    if held:
        return Dose(product, held=held)
    if rules.products[product].is_compounded:
        return _compounded(rules, product, amount, needs_whole)
    return _labelled(rules, product, codes, amount, needs_dose)


def _product(rules: MedicationRules, named: Named, codes: list[DrugCode]) -> tuple[str, str]:
    brands = {product for code in codes if len(code.products) == 1 and code.kind == "SBD" for product in code.products}
    if named.product_key and named.product_key not in rules.products:
        return "", "product_unknown"
    wanted = {named.product_key} if named.product_key else brands
    if len(wanted) > 1:
        return "", "product_contradicts_code"
    if not wanted:
        return "", "product_ambiguous" if any(code.products for code in codes) else "product_unknown"
    (product,) = wanted
    ingredient = rules.products[product].ingredient
    for code in codes:
        if (code.products and product not in code.products) or code.ingredient != ingredient:
            return product, "product_contradicts_code"
    return product, ""


def _labelled(rules: MedicationRules, product: str, codes: list[DrugCode], amount: Amount, needs_dose: bool) -> Dose:
    family = rules.families[rules.products[product].family]
    possible = {mg for code in codes if code.kind in ("SBD", "SCD") for mg in code.mgs}
    mg = amount.mg
    if mg is None and len(possible) == 1:
        (mg,) = possible
    if mg is None:
        return Dose(product, held="dose_missing" if needs_dose else "")
    if possible and not any(abs(mg - one) < SAME for one in possible):
        return Dose(product, held="code_contradicts_dose")
    return Dose(product, mg, held="" if family.rungs else "no_ladder")


def _compounded(rules: MedicationRules, product: str, amount: Amount, needs_whole: bool) -> Dose:
    ml = amount.ml if amount.ml is not None or amount.units is None else amount.units / UNITS_PER_ML
    if amount.mg is None or ml is None or amount.mg_per_ml is None:
        if needs_whole:
            return Dose(product, held="compounded_dose_incomplete")
        return Dose(product, amount.mg, amount.mg_per_ml, ml)  # each part is compared with that of the order
    by_volume = amount.mg_per_ml * ml
    ratio = amount.mg / by_volume
    if not _near(ratio, 1, rules):
        return Dose(product, held="compounded_dose_" + ("tenfold" if _is_tenfold(ratio, rules) else "disagrees"))
    if amount.units is not None and amount.ml is not None and not _near(amount.units / UNITS_PER_ML / ml, 1, rules):
        tenfold = _is_tenfold(amount.units / UNITS_PER_ML / ml, rules)
        return Dose(product, held="compounded_dose_" + ("tenfold" if tenfold else "disagrees"))
    family = rules.families[rules.products[product].family]
    if not (family.mg_from or 0) - SAME <= amount.mg <= (family.mg_to or 0) + SAME:
        return Dose(product, held="compounded_dose_out_of_range")
    return Dose(product, amount.mg, amount.mg_per_ml, ml)


def _near(ratio: float, wanted: float, rules: MedicationRules) -> bool:
    return abs(ratio / wanted - 1) <= rules.compound_tolerance


def _is_tenfold(ratio: float, rules: MedicationRules) -> bool:
    return any(_near(ratio, factor, rules) for factor in (0.01, 0.1, 10, 100))


def ndc11(code: str) -> str:
    """A package code in its eleven digits, from any of the usual ways with hyphens; empty where it is none."""
    parts = code.strip().split("-")
    if len(parts) == 3:
        code = "".join(part.zfill(size) for part, size in zip(parts, (5, 4, 2), strict=True))
    return code if len(code) == 11 and code.isascii() and code.isdecimal() else ""
