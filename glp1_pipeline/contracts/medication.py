"""What is declared of treatments, read and checked as one: medication.yaml, the ladders, packs and drug codes.

Here: which part of the files becomes what, and what they must agree on. Not here: what follows for a patient
(`domain.medication`). Drug codes carry our own words; no text of a licensed dictionary is in these files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..domain.contract import Contract, TaskKind
from ..domain.flags.medicines import GROUPS as NAMED
from ..domain.medication import may_let_through
from ..domain.medication_model import (
    FINDINGS,
    NEVER_OVERRIDDEN,
    PREVIOUS,
    TRIGGERS,
    DrugCode,
    Family,
    FindingKind,
    LateDose,
    MedicationRules,
    MedicineGroup,
    MissedDoses,
    Move,
    Pack,
    Product,
    Rung,
    StateKind,
)
from .reading import Folder, Lined

FILE, PRODUCTS, LADDERS, CODES, PACKS, GROUPS = (
    "medication.yaml", "products.csv", "dose_ladders.csv", "medication_codes.csv", "days_supply.csv",
    "medicine_groups.csv",
)  # fmt: skip
CODE_COLUMNS = ("rxcui", "kind", "ingredient", "product_keys", "mg_per_dose", "ndc11", "verification")
PACK_COLUMNS = (
    "product_key", "unit", "for_doses_mg", "mg_per_unit", "doses_per_unit", "usual_units", "days_from", "days_to",
    "verification",
)  # fmt: skip
GROUP_COLUMNS = ("group", "ingredient", "words", "phrases", "unless", "rxcui", "medicine_class", "verify")
PLAIN = (
    "verify", "look_back_days", "order_ahead_days", "maintenance_after_days", "carry_over_days", "supply_tolerance",
    "shipped_after_days", "compound_tolerance", "compound_step_ratio",
)  # fmt: skip
Ladders = Mapping[str, tuple[dict[str, str], ...]]


def read_medication(folder: Folder, products: Mapping[str, dict[str, str]], ladders: Ladders) -> MedicationRules | None:
    """From a folder that is being read; None with faults where it cannot be used."""
    tree = folder.tree(FILE)
    if not tree:
        return None
    known = {key: _product(folder, row) for key, row in products.items()}
    made = {key: product for key, product in known.items() if product is not None}
    codes = _codes(folder, ladders)
    values: dict[str, Any] = {key: tree[key] for key in PLAIN if key in tree}
    values["states"] = _named(folder, tree, "states", StateKind, "state")
    values["moves"] = _moves(folder, tree)
    values["findings"] = _named(folder, tree, "findings", FindingKind, "finding")
    values["overrides"] = dict(folder.branch(tree, "overrides", FILE))
    values["late_doses"] = _named(folder, tree, "late_doses", LateDose, "missed_doses")
    for name in sorted(values["late_doses"].keys() ^ folder.branch(tree, "missed_doses", FILE).keys()):
        folder.fault(FILE, 1, f"`{name}` is in one of `missed_doses` and `late_doses` alone", "add it to the other")
    values["products"], values["codes"] = made, codes
    values["families"] = _families(folder, tree, made, ladders)
    values["packs"], values["medicine_groups"] = tuple(_packs(folder)), tuple(_groups(folder))
    for key in (
        tree.keys()
        - set(PLAIN)
        - {"states", "moves", "findings", "missed_doses", "late_doses", "families", "overrides"}
    ):
        folder.fault(FILE, tree.lines[key], f"`{key}` is not known at the top", "see contracts/medication.py")
    rules = folder.build(MedicationRules, values, "medication", "rules", (FILE, 1))
    if rules is not None and not folder.faults:
        _check(folder, rules)
    return rules


def _named(folder: Folder, tree: Lined, branch: str, model: Any, key: str) -> dict[str, Any]:
    entries, found = folder.branch(tree, branch, FILE), {}
    for name in entries:
        entry = folder.branch(entries, name, FILE)
        if made := folder.build(model, {key: name, **entry}, key, name, (FILE, entries.lines[name])):
            found[name] = made
    return found


def _moves(folder: Folder, tree: Lined) -> dict[str, Move]:
    entries, found = folder.branch(tree, "moves", FILE), {}
    for name in entries:
        entry = dict(folder.branch(entries, name, FILE))
        entry["leaves"] = entry.pop("from", ())
        if made := folder.build(Move, {"trigger": name, **entry}, "trigger", name, (FILE, entries.lines[name])):
            found[name] = made
    return found


def _product(folder: Folder, row: dict[str, str]) -> Product | None:
    key = row["product_key"]
    days = row["interval_days"]
    values = {
        "product_key": key,
        "ingredient": row["ingredient"],
        "family": row["family"],
        "interval_days": int(days) if days.isdecimal() else None,
        "is_compounded": {"yes": True, "no": False}.get(row["is_compounded"]),
    }
    return folder.build(Product, values, "product", key, (PRODUCTS, 1))


def _families(folder: Folder, tree: Lined, products: Mapping[str, Product], ladders: Ladders) -> dict[str, Family]:
    entries, found = folder.branch(tree, "families", FILE), {}
    missed = folder.branch(tree, "missed_doses", FILE)
    for name in entries:
        at, entry = (FILE, entries.lines[name]), dict(folder.branch(entries, name, FILE))
        rules = missed.get(str(entry.get("missed_doses")))
        members = [product for product in products.values() if product.family == name]
        if not isinstance(rules, list) or not members:
            what = "names no list of `missed_doses`" if members else "is the family of no product"
            folder.fault(*at, f"family `{name}` {what}", "mend it, or products.csv")
            continue
        entry["counted_as"] = entry["missed_doses"]
        entry["missed_doses"] = tuple(MissedDoses.model_validate(rule) for rule in rules)
        shared = {_shape(ladders[p.product_key]) for p in members if p.product_key in ladders}
        if len(shared) > 1 or len({(p.ingredient, p.interval_days, p.is_compounded) for p in members}) > 1:
            folder.fault(*at, f"the products of family `{name}` have different ladders", "give each its own family")
            continue
        values = {
            **entry,
            "family": name,
            "interval_days": members[0].interval_days,
            "is_compounded": members[0].is_compounded,
            "rungs": _rungs(next((ladders[p.product_key] for p in members if p.product_key in ladders), ())),
        }
        if made := folder.build(Family, values, "family", name, at):
            found[name] = made
    return found


def _shape(steps: Iterable[dict[str, str]]) -> tuple[tuple[float, str, str, str], ...]:
    """What of a ladder may be compared: equal for two products alone where one is the other in another pack."""
    return tuple((float(s["dose"]), s["dose_unit"], s["frequency"], s["min_days_before_next"]) for s in steps)


def _rungs(steps: Iterable[dict[str, str]]) -> tuple[Rung, ...]:
    return tuple(
        Rung(
            step=int(step["step"]),
            mg=float(step["dose"]),
            is_start=step["phase"] == "new_start",
            min_days=int(step["min_days_before_next"]) if step["min_days_before_next"] else None,
            is_kept={"Y": True, "N": False}.get(step["maintenance_allowed"][:1]),
        )
        for step in steps
    )


def _codes(folder: Folder, ladders: Ladders) -> dict[str, DrugCode]:
    given: dict[str, set[float]] = {}
    for steps in ladders.values():
        for step in steps:
            for code in (step["rxcui_sbd"], step["rxcui_scd"]):
                given.setdefault(code, set()).add(float(step["dose"]))
    found = {}
    for line, row in folder.rows(CODES, CODE_COLUMNS):
        mgs = given.get(row["rxcui"], set()) | ({float(row["mg_per_dose"])} if row["mg_per_dose"] else set())
        values = {
            "rxcui": row["rxcui"],
            "kind": row["kind"],
            "ingredient": row["ingredient"],
            "products": frozenset(row["product_keys"].split()),
            "mgs": frozenset(mgs),
            "ndcs": frozenset(row["ndc11"].split()),
        }
        if made := folder.build(DrugCode, values, "rxcui", row["rxcui"], (CODES, line)):
            found[row["rxcui"]] = made
    for product, steps in ladders.items():
        for step in steps:
            for code in filter(None, (step["rxcui_sbd"], step["rxcui_scd"])):
                if code not in found or product not in found[code].products:
                    what = f"code {code} of a step of `{product}` is not its code in {CODES}"
                    folder.fault(LADDERS, 1, what, "mend one of the two")
    return found


def _packs(folder: Folder) -> Iterable[Pack]:
    for line, row in folder.rows(PACKS, PACK_COLUMNS):
        days = (int(row["days_from"]), int(row["days_to"])) if row["days_from"] and row["days_to"] else None
        values = {
            "product_key": row["product_key"],
            "unit": row["unit"],
            "for_mg": frozenset(float(mg) for mg in row["for_doses_mg"].split()),
            "mg_per_unit": float(row["mg_per_unit"]) if row["mg_per_unit"] else None,
            "doses_per_unit": float(row["doses_per_unit"]) if row["doses_per_unit"] else None,
            "days": days,
        }
        name = f"{row['product_key']} {row['unit']} {row['for_doses_mg']}"
        if made := folder.build(Pack, values, "pack", name, (PACKS, line)):
            yield made


def _groups(folder: Folder) -> Iterable[MedicineGroup]:
    for line, row in folder.rows(GROUPS, GROUP_COLUMNS):
        values = {
            **row,
            **{name: tuple(row[name].split()) for name in ("words", "unless", "rxcui")},
            "phrases": tuple(filter(None, row["phrases"].split("|"))),
        }
        name = f"{row['group']} {row['ingredient']}".strip()
        if made := folder.build(MedicineGroup, values, "group", name, (GROUPS, line)):
            yield made


def check_medicine_groups(contract: Contract, folder: Folder) -> None:
    declared = contract.medication.medicine_groups
    known = {row.group for row in declared}
    for name in sorted((NAMED | {*contract.refills.interacting}) - known):
        folder.fault(GROUPS, 1, f"group `{name}` is missing, and rules ask for it", "restore its row")
    classes = {code.code for code in contract.codes.get("medicines", {}).values()}
    for row in declared:
        at = f"{row.group} {row.ingredient}".strip()
        for word in (*row.words, *row.unless):
            if not word.isalpha() or word != word.casefold():
                folder.fault_at("group", at, "a word is not letters in lower case", "a name is cut into such words")
        if row.medicine_class and row.medicine_class not in classes:
            folder.fault_at("group", at, "names a class that is not in set `medicines`", "use a code of codes.csv")


def check_order_overrides(contract: Contract, folder: Folder) -> None:
    """Who lets a refused order through is a role that is known, and may give a reason for each rule that is open."""
    rules = contract.medication
    for role in sorted({*rules.overrides.roles} - contract.roles.keys()):
        folder.fault(
            FILE, 1, f"refused orders are let through by `{role}`, which is no role", "name one of access.yaml"
        )
        return
    for name, finding in rules.findings.items():
        if finding.overridden_by and not may_let_through(contract, name):
            what = f"finding `{name}` may be overridden, and no role of `overrides` may give a reason of its classes"
            folder.fault_at("finding", name, what, "see access.yaml and override_reasons.csv")


def _check(folder: Folder, rules: MedicationRules) -> None:
    """Every reference resolves, every state can be reached, every ladder rises."""
    tasks = {row["code"] for _, row in folder.rows("tasks.csv", tuple(TaskKind.model_fields))}
    for name, finding in rules.findings.items():
        if finding.overridden_by and (finding.kind != "move" or name in NEVER_OVERRIDDEN or not finding.verify):
            what = f"finding `{name}` is overridden by `{finding.overridden_by[0]}`, and nobody may override it"
            if finding.kind == "move" and name not in NEVER_OVERRIDDEN:
                what = f"finding `{name}` may be overridden, and nothing says that this is to be verified"
            folder.fault_at("finding", name, what, "see NEVER_OVERRIDDEN in domain/medication_model.py, and `verify`")
        if finding.task not in tasks:
            folder.fault_at("finding", name, f"finding `{name}` opens task `{finding.task}`", "name one of tasks.csv")
    for name, move in rules.moves.items():
        if unknown := (move.leaves | {move.to}) - rules.states.keys() - {PREVIOUS}:
            folder.fault_at(
                "trigger", name, f"move `{name}` names `{sorted(unknown)[0]}`, which is no state", "mend it"
            )
    for branch, declared, used in (("moves", rules.moves, TRIGGERS), ("findings", rules.findings, FINDINGS)):
        for name in sorted(used ^ declared.keys()):
            what = f"`{name}` of `{branch}` is " + ("missing" if name in used else "used by nothing")
            folder.fault(FILE, 1, what, "restore it" if name in used else "see domain/medication_model.py")
    led_to = {move.to for move in rules.moves.values()} | {"none"}
    for name in sorted(rules.states.keys() - led_to):
        folder.fault_at("state", name, f"no move leads to state `{name}`", "add one, or take the state away")
    for key, product in rules.products.items():
        if product.family not in rules.families:
            folder.fault_at("product", key, f"product `{key}` is of family `{product.family}`", f"add it to {FILE}")
    for rxcui, code in rules.codes.items():
        for key in sorted(code.products - rules.products.keys()):
            folder.fault_at("rxcui", rxcui, f"code {rxcui} names product `{key}`", "add it to products.csv")
        if code.kind == "SBD" and len(code.products) != 1:
            folder.fault_at("rxcui", rxcui, f"brand code {rxcui} must name one product", "it is one brand and pack")
    seen: dict[str, str] = {}
    for rxcui, code in rules.codes.items():
        for ndc in sorted(code.ndcs):
            if len(ndc) != 11 or not ndc.isdecimal() or seen.setdefault(ndc, rxcui) != rxcui:
                folder.fault_at("rxcui", rxcui, f"NDC {ndc} is no NDC of this code alone", "eleven digits, once")
    for name, family in rules.families.items():
        mgs = [rung.mg for rung in family.rungs]
        if mgs != sorted(set(mgs)):
            folder.fault_at("family", name, f"the ladder of family `{name}` does not rise", f"mend {LADDERS}")
        limits = (family.mg_from, family.mg_start, family.mg_to)
        if family.is_compounded and (family.rungs or None in limits):
            what = f"compounded family `{name}` must have limits and no ladder"
            folder.fault_at("family", name, what, "give mg_from, mg_start and mg_to")
    for pack in rules.packs:
        if pack.product_key not in rules.products:
            folder.fault(PACKS, 1, f"product `{pack.product_key}` is not in {PRODUCTS}", "add it there")
