"""What the contract files must agree on as a whole.

Here: every reference resolves, every field has one owner, no question means two things. Not here: reading files
(`reading`), and the shape of one entry (the models in `domain.contract`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..domain.contract import ANY, APPLICABILITY, FAMILY, NOTHING, STAGES, Contract, fold, version_key
from ..domain.fhir.observations import BY_LOINC
from ..domain.ownership import RANKED, UNWRITTEN
from .reading import Folder

CODED = {"code", "codes", "quantity"}
COMPUTED = {"bmi"}
"""Names that a gate may ask for though no question does."""
NEEDED_SETS = {
    "null_answers", "yes_no", "unticked_boxes", "consent_status", "medicines", "allergens", "no_entries",
    "email_domain_typos",
}  # fmt: skip
"""Code sets that mapping uses by name."""


def check(contract: Contract, folder: Folder) -> None:
    check_sets(contract, folder)
    check_fields(contract, folder)
    check_questions(contract, folder)
    check_ownership(contract, folder)
    check_history(contract, folder)
    check_gates(contract, folder)
    check_products(contract, folder)
    check_identifiers(contract, folder)
    for kind in contract.writes.values():
        if kind.rollback == "forbidden" and not kind.rollback_why:
            what = f"write kind `{kind.kind}` forbids a rollback and does not say why"
            folder.fault_at("kind", kind.kind, what, "give the reason in `rollback_why`")
    known_states = {code.code for code in contract.codes.get("states", {}).values()}
    for state in sorted(contract.states_served - known_states):
        folder.fault("program.yaml", 1, f"state `{state}` is not in code set `states`", "use its two letters")


def check_sets(contract: Contract, folder: Folder) -> None:
    for name in sorted(NEEDED_SETS - contract.codes.keys()):
        folder.fault("codes.csv", 1, f"code set `{name}` is missing", "mapping needs it: restore its rows")
    nulls = {code.code for code in contract.codes.get("null_answers", {}).values()}
    for code in sorted(nulls - {"unknown", "declined", "not_applicable", "absent"}):
        at = next(c.spelling for c in contract.codes["null_answers"].values() if c.code == code)
        folder.fault_at("code", f"null_answers {fold(at)}", f"`{code}` is no kind of null", "use one of the four")


def check_fields(contract: Contract, folder: Folder) -> None:
    for name, field in contract.fields.items():

        def wrong(what: str, mend: str, name: str = name) -> None:
            folder.fault_at("field", name, f"field `{name}` {what}", mend)

        if field.type in CODED and not field.codes:
            wrong("has no code set", "name one in `codes`")
        if field.codes and field.codes not in contract.codes:
            wrong(f"names code set `{field.codes}`, which is not there", "add its spellings to codes.csv")
        if (field.type == "quantity") != bool(field.unit):
            wrong("must have a unit exactly if it is a quantity", "state its UCUM unit in `unit`")
        if field.type in {"group", "list", "consent", "attachment"} and not field.parts:
            wrong("has no parts", "name them in `parts`")
        for part in [*field.part_formats, *field.part_codes, *filter(None, [field.lone_part])]:
            if part not in field.parts:
                wrong(f"names part `{part}`, which it has not", "add it to `parts`")
        for part, codes in field.part_codes.items():
            if codes not in contract.codes:
                wrong(f"part `{part}` names code set `{codes}`, which is not there", "add it to codes.csv")
        check_field_versions(contract, folder, name)
        for stage in STAGES:
            if not field.owner.get(stage):
                wrong(f"has no owner in stage {stage}", "name a row of ownership.csv in `owned_as`")
        if name in BY_LOINC and not field.loinc:
            wrong("is an Observation and has no code", "state its LOINC code in `loinc`")
        for other, answers in field.hidden_when.items():
            master = contract.fields.get(other)
            if master is None:
                wrong(f"is hidden by `{other}`, which is no field", "mend `hidden_when`")
            elif master.codes and not set(answers) <= codes_of(contract, master.codes):
                wrong(f"is hidden by an answer that `{other}` cannot have", "use its canonical codes")


def check_field_versions(contract: Contract, folder: Folder, name: str) -> None:
    field = contract.fields[name]
    for version in {field.since, *field.questions, *field.units} - set(contract.form_versions):
        folder.fault_at("field", name, f"field `{name}` names form version `{version}`", "see form.yaml for versions")
    for version in field.questions:
        if version in contract.form_versions and not field.asked_in(version):
            folder.fault_at("field", name, f"field `{name}` has a question before `since`", "lower `since`")
    if field.units and field.codes:
        for unit in set(field.units.values()) - codes_of(contract, field.codes):
            folder.fault_at("field", name, f"field `{name}` fixes unit `{unit}`", "use a code of its unit set")


def check_questions(contract: Contract, folder: Folder) -> None:
    """A question id means one field, in every version: a draft may be finished on a newer form."""
    meaning: dict[str, str] = {name: name for name in contract.fields}
    for version in contract.form_versions:
        for name, field in contract.fields.items():
            if not field.asked_in(version):
                continue
            question = field.question(version)
            if meaning.setdefault(question, name) != name:
                what = f"question `{question}` of version {version} means both `{name}` and `{meaning[question]}`"
                folder.fault_at("field", name, what, "give one of them another id")


def check_ownership(contract: Contract, folder: Folder) -> None:
    """One owner per record and stage (`nobody` is said, not left out), a rule that is written, and nothing unused."""
    used = {field.owned_as for field in contract.fields.values()}
    used |= {record.verified for record in contract.ownership.values() if record.record in used}
    for name, record in contract.ownership.items():

        def wrong(what: str, mend: str, name: str = name) -> None:
            folder.fault_at("record", name, f"record `{name}` {what}", mend)

        for stage in STAGES:
            if not re.fullmatch("[a-z_]+", record.owner[stage]):
                wrong(f"must have one owner in stage {stage}", "name one system, or `nobody`")
        if record.conflict in UNWRITTEN:
            wrong(f"follows rule `{record.conflict}`, which nobody wrote", "write it in domain/ownership/rules.py")
        if (name in used) == bool(record.kept_in):
            wrong(
                "is in no field, and does not say where it is" if not record.kept_in else "is in a field after all",
                "say in `kept_in` where it lies or which part of the program brings it" if not record.kept_in
                else "empty its `kept_in`",
            )  # fmt: skip
        if record.verified and record.verified not in contract.ownership:
            wrong(f"is verified as `{record.verified}`, which is no record", "name a row of ownership.csv")
        if record.task and record.task not in contract.tasks:
            wrong(f"makes task `{record.task}`, which is not in tasks.csv", "name one that is")
        order = record.worst_first.split()
        if len(set(order)) != len(order):
            wrong("has a code twice in its order", "leave it where it is worse")
        if record.conflict in RANKED and "?" not in order:
            wrong("has no order, and its rule needs one", "list its codes in `worst_first`, `?` for nobody knows")


def check_history(contract: Contract, folder: Folder) -> None:
    """Whatever a patient may answer of the past has its place in the EHR, and no two rows say the same of a code."""
    if "yes" not in contract.history.get(FAMILY, {}):
        folder.fault("history.csv", 1, f"answer `yes` of `{FAMILY}` is missing", "restore its row")
    for field, answers in contract.history.items():
        declared = contract.fields.get(field)
        may_be = codes_of(contract, declared.codes) if declared and declared.codes else {"yes"}
        for answer, said in answers.items():

            def wrong(what: str, mend: str, name: str = f"{field} {answer}") -> None:
                folder.fault_at("answer", name, f"answer `{name}` {what}", mend)

            if declared is None:
                wrong("is of no field", "name a field of fields/")
            elif answer != ANY and answer not in may_be:
                wrong("cannot be given", "use a code of the field's set, or `yes`")
            if (said.resource == "Condition") != bool(said.clinical_status):
                wrong("must have a clinical status exactly if it is a Condition", "empty it, or say active")
            if said.once_over and said.once_over not in may_be:
                wrong("is over as what cannot be answered", "use a code of the field's set, or `yes`")
            if said.comorbidity and said.comorbidity not in codes_of(contract, "comorbidities"):
                wrong("is the same as no comorbidity", "use a code of set `comorbidities`")
            for flag in said.flags:
                if flag not in contract.flags:
                    wrong(f"names `{flag}`, which is no flag", "name one of flags.csv")
        if declared and ANY not in answers and any(said.resource for said in answers.values()):
            for lacking in sorted(map(str, may_be - answers.keys() - NOTHING)):
                what = f"answer `{lacking}` of `{field}` has no row in history.csv"
                folder.fault_at("field", field, what, "say there what the EHR gets of it")
    for flag in contract.flags.values():
        if flag.task and flag.task not in contract.tasks:
            what = f"flag `{flag.flag_id}` opens task `{flag.task}`, which is not in tasks.csv"
            folder.fault_at("flag_id", flag.flag_id, what, "name one that is")
        if flag.snomed_equivalence == "equivalent" and not flag.snomed.isdecimal():
            what = f"flag `{flag.flag_id}` means the same as not just one code"
            folder.fault_at("flag_id", flag.flag_id, what, "leave one in `snomed`, or call it inexact")


def check_gates(contract: Contract, folder: Folder) -> None:
    for gate in contract.gates.values():
        for need in gate.requirements:
            at = f"{gate.gate_id} {need.name}"
            for name in need.fields:
                if name not in contract.fields and name not in COMPUTED:
                    folder.fault_at("requirement", at, f"`{name}` is no field", "name a field, or `bmi`")
            if need.when and need.when not in APPLICABILITY:
                rules = ", ".join(sorted(APPLICABILITY))
                folder.fault_at("requirement", at, f"rule `{need.when}` is not known", f"known: {rules}")
            if need.since not in contract.form_versions:
                folder.fault_at("requirement", at, f"version `{need.since}` is not in form.yaml", "mend `since`")
            for name in need.fields:
                field = contract.fields.get(name)
                if field is None:
                    continue
                if need.need == "all" and version_key(need.since) < version_key(field.since):
                    what = f"`{name}` is asked since {field.since}, required since {need.since}"
                    folder.fault_at("requirement", at, what, "raise `since`, or it holds those whom nobody asked")
                known = codes_of(contract, "consent_status" if field.type == "consent" else field.codes or "")
                if need.values and not set(need.values) <= known:
                    folder.fault_at("requirement", at, f"`{name}` cannot have these values", "use its codes")


def check_products(contract: Contract, folder: Folder) -> None:
    for key in contract.dose_ladders.keys() - contract.products.keys():
        folder.fault("dose_ladders.csv", 1, f"product `{key}` is not in products.csv", "add it there")
    for set_name in ("glp1_products", "product_preference"):
        for key in sorted(contract.products.keys() - codes_of(contract, set_name)):
            folder.fault("codes.csv", 1, f"product `{key}` has no spelling in `{set_name}`", "add a row for it")


def check_identifiers(contract: Contract, folder: Folder) -> None:
    emitters = {emitter for kind in contract.event_types.values() for emitter in kind.emitters}
    for name, kind in contract.identifiers.items():
        for emitter in sorted(set(kind.given_by) - emitters):
            what = f"identifier `{name}` is given by `{emitter}`, which sends no event"
            folder.fault_at("kind", name, what, "name an emitter of events.yaml")
    shown = [code for kind in contract.identifiers.values() for code in kind.types]
    for code in sorted({code for code in shown if shown.count(code) > 1}):
        folder.fault("identifiers.yaml", 1, f"type `{code}` is of two kinds", "leave it with one of them")


def codes_of(contract: Contract, set_name: str) -> set[str | bool]:
    codes: Iterable[str] = (code.code for code in contract.codes.get(set_name, {}).values())
    return set(codes)
