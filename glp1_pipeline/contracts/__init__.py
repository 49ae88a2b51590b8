"""Facts that people sign, read into one checked, frozen Contract.

Here: which file becomes what. Not here: logic about patients (`domain`), or anything that the files could say.
An owner called `nobody` means that no system may write the field in that stage.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..domain.contract import (
    Code,
    Contract,
    CrmProperty,
    Declared,
    EventType,
    Field,
    FlagRule,
    Gate,
    HistoryAnswer,
    IdentifierKind,
    Ownership,
    Program,
    Requirement,
    Semver,
    TaskKind,
    WriteKind,
    fold,
)
from .checks import check
from .crm import check_crm
from .identity import read_identity
from .medication import check_medicine_groups, check_order_overrides, read_medication
from .reading import ContractError, Folder, Lined, Model
from .refills import (
    check_refills,
    read_checkin,
    read_followups,
    read_proposals,
    read_reasons,
    read_refills,
    read_roles,
)

__all__ = ["ContractError", "load"]

HERE = Path(__file__).parent
PRODUCT = (
    "product_key", "brand", "ingredient", "route", "form", "frequency", "interval_days", "family", "is_compounded",
    "indication", "us_status_2026", "min_age", "verification",
)  # fmt: skip
STEP = (
    "product_key", "step", "phase", "dose", "dose_unit", "frequency", "min_days_before_next", "rxcui_scd", "rxcui_sbd",
    "maintenance_allowed", "verification",
)  # fmt: skip


class Form(Declared):
    form_id: str
    versions: tuple[Semver, ...]


class Reach(Declared):
    thresholds: Program
    states_served: frozenset[str]


def load(path: Path | None = None) -> Contract:
    """Read and check all contract files; raises ContractError with every fault at once."""
    folder = Folder(path or HERE)
    form_tree = folder.tree("form.yaml")
    intake = {key: value for key, value in form_tree.items() if key != "checkin"}
    form = folder.build(Form, intake, "form", "form", ("form.yaml", 1))
    program = folder.build(Reach, folder.tree("program.yaml"), "program", "program", ("program.yaml", 1))
    ownership = read_table(folder, "ownership.csv", Ownership, "record")
    products, ladders, gates = read_products(folder), read_ladders(folder), read_gates(folder)
    followups = read_followups(folder)
    contract = Contract.model_construct(
        version="",
        form_id=form.form_id if form else "",
        form_versions=form.versions if form else (),
        fields=read_fields(folder, ownership),
        codes=read_codes(folder),
        flags=read_table(folder, "flags.csv", FlagRule, "flag_id"),
        history=read_history(folder),
        gates=gates,
        event_types=read_named(folder, "events.yaml", EventType, "type"),
        tasks=read_table(folder, "tasks.csv", TaskKind, "code"),
        writes=read_named(folder, "writes.yaml", WriteKind, "kind"),
        products=products,
        states_served=program.states_served if program else frozenset(),
        program=program.thresholds if program else None,
        ownership=ownership,
        crm=read_named(folder, "crm.yaml", CrmProperty, "property"),
        dose_ladders=ladders,
        medication=read_medication(folder, products, ladders),
        identifiers=read_named(folder, "identifiers.yaml", IdentifierKind, "kind"),
        identity=read_identity(folder),
        checkin=read_checkin(folder, form_tree),
        followups=followups,
        refills=read_refills(folder, gates.get(followups.gate) if followups else None),
        roles=read_roles(folder),
        override_reasons=read_reasons(folder),
        proposals=read_proposals(folder),
    )
    if not folder.faults:  # a file that cannot be read would only raise false alarms in the others
        check(contract, folder)
        check_crm(contract, folder)
        check_refills(contract, folder)
        check_order_overrides(contract, folder)
        check_medicine_groups(contract, folder)
    if folder.faults:
        raise ContractError(folder.faults)
    digest = hashlib.sha256()
    for name, content in sorted(folder.content.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Contract(**{**dict(contract), "version": digest.hexdigest()[:12]})


def read_fields(folder: Folder, ownership: dict[str, Ownership]) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    files = sorted(path.name for path in (folder.path / "fields").glob("*.yaml"))
    if not files:
        folder.fault("fields/", 0, "there is no field file", "restore the folder from version control")
    for file in (f"fields/{name}" for name in files):
        tree = folder.tree(file)
        usual = {key: tree[key] for key in ("section", "form", "owned_as", "sensitivity") if key in tree}
        for key in tree.keys() - {"section", "form", "owned_as", "sensitivity", "fields"}:
            folder.fault(file, tree.lines[key], f"`{key}` is not known at the top", "state it in a field")
        stanzas = folder.branch(tree, "fields", file)
        for name, line in stanzas.lines.items():
            stanza = folder.branch(stanzas, name, file)
            values = Lined({**usual, **stanza, "name": name})
            values.lines = stanza.lines
            owned = ownership.get(str(values.get("owned_as")))
            if owned is None:
                at = values.lines.get("owned_as", line)
                folder.fault(file, at, f"field `{name}` is owned as no row of ownership.csv", "name one in `owned_as`")
            else:
                values |= {"owner": owned.owner, "conflict": owned.conflict}
            if field := folder.build(Field, values, "field", name, (file, line)):
                fields[name] = field
    return fields


def read_codes(folder: Folder) -> dict[str, dict[str, Code]]:
    sets: dict[str, dict[str, Code]] = {}
    for line, row in folder.rows("codes.csv", tuple(Code.model_fields)):
        folded, at = fold(row["spelling"]), ("codes.csv", line)
        code = folder.build(Code, row, "code", f"{row['set']} {folded}", at)
        if code and not code.code:
            folder.fault(*at, "the row has no code", "say what the spelling means")
        elif code:
            sets.setdefault(code.set, {})[folded] = code
    return sets


def read_history(folder: Folder) -> dict[str, dict[str, HistoryAnswer]]:
    found: dict[str, dict[str, HistoryAnswer]] = {}
    for line, row in folder.rows("history.csv", tuple(HistoryAnswer.model_fields)):
        values = {**row, "flags": tuple(row["flags"].split())}
        name = f"{row['field']} {row['answer']}"
        if said := folder.build(HistoryAnswer, values, "answer", name, ("history.csv", line)):
            found.setdefault(said.field, {})[said.answer] = said
    return found


def read_gates(folder: Folder) -> dict[str, Gate]:
    gates: dict[str, Gate] = {}
    tree = folder.tree("gates.yaml")
    for gate_id in tree:
        stanza = folder.branch(tree, gate_id, "gates.yaml")
        needs = folder.branch(stanza, "requirements", "gates.yaml")
        built = [
            folder.build(
                Requirement,
                {"name": name, **folder.branch(needs, name, "gates.yaml")},
                "requirement",
                f"{gate_id} {name}",
                ("gates.yaml", line),
            )
            for name, line in needs.lines.items()
        ]
        values = {**stanza, "gate_id": gate_id, "requirements": tuple(need for need in built if need)}
        if gate := folder.build(Gate, values, "gate", gate_id, ("gates.yaml", tree.lines[gate_id])):
            gates[gate_id] = gate
    return gates


def read_named(folder: Folder, file: str, model: type[Model], key: str) -> dict[str, Model]:
    """Entries of a YAML file whose name is their key."""
    tree, found = folder.tree(file), {}
    for name in tree:
        entry = folder.branch(tree, name, file)
        if made := folder.build(model, {key: name, **entry}, key, name, (file, tree.lines[name])):
            found[name] = made
    return found


def read_table(folder: Folder, file: str, model: type[Model], key: str) -> dict[str, Model]:
    """Rows of a CSV file whose columns are the model's fields."""
    found: dict[str, Any] = {}
    for line, row in folder.rows(file, tuple(model.model_fields)):
        if made := folder.build(model, row, key, row[key], (file, line)):
            found[row[key]] = made
    return found


def read_products(folder: Folder) -> dict[str, dict[str, str]]:
    return {row["product_key"]: row for _, row in folder.rows("products.csv", PRODUCT)}


def read_ladders(folder: Folder) -> dict[str, tuple[dict[str, str], ...]]:
    ladders: dict[str, list[dict[str, str]]] = {}
    for line, row in folder.rows("dose_ladders.csv", STEP):
        if row["step"].isdecimal():
            ladders.setdefault(row["product_key"], []).append(row)
        else:
            folder.fault("dose_ladders.csv", line, "`step` is no number", "count the steps from 1")
    return {key: tuple(sorted(steps, key=lambda step: int(step["step"]))) for key, steps in ladders.items()}
