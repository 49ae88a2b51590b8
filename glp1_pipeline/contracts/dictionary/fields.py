"""The fields of the data dictionary: what each means, how it is asked, who owns it, where it goes.

Here: that part of the page. Not here: code sets (`codes`), and rules that read fields (`rules`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ...domain.contract import STAGES, Contract, Field
from .markdown import MARK, bullets, code, named, table

CHECKIN = "checkin"
REQUIRED = {
    "submit": "to press submit",
    "gate": "for the provider's queue",
    "program": "by the programme",
    "prior_auth": "for prior authorization",
    "conditional": "when other answers make it matter",
    "auto": "filled in by the form itself",
    "no": "no",
}
TYPES = {
    "tri": "yes or no, in three states",
    "codes": "several codes",
    "code": "one code",
    "boolean": "a box: true or false",
    "quantity": "a number with its unit",
    "group": "named parts",
    "list": "rows of named parts",
    "consent": "a decision on a text, with its version and time",
    "attachment": "a file, by its type and hash",
    "instant": "an instant with its offset",
}


def write_fields(lines: list[str], contract: Contract) -> None:
    sections: dict[str, list[Field]] = defaultdict(list)
    for field in contract.fields.values():
        sections[field.section].append(field)
    asked = ", ".join(f"{len(names)} by {version}" for version, names in contract.asked.items())
    lines += ["", "## Fields", ""]
    lines += [f"{len(contract.fields)} fields; form `{contract.form_id}` asks {asked}.", ""]
    table(
        lines,
        ("Section", "Fields"),
        ((name.replace("_", " "), ", ".join(code(f.name) for f in sections[name])) for name in sorted(sections)),
    )
    for section in sorted(sections):
        lines += ["", f"### {section.replace('_', ' ').capitalize()}"]
        for field in sections[section]:
            lines += ["", f"#### {field.name}", "", field.label, ""]
            bullets(lines, _facts(contract, field))


def _facts(contract: Contract, field: Field) -> Iterable[tuple[str, str]]:
    yield "Type", TYPES.get(field.type, field.type) + (f", format {code(field.format)}" if field.format else "")
    yield "Question", _questions(contract, field)
    if field.units:
        yield "Unit fixed by its question", ", ".join(f"{v}: {code(unit)}" for v, unit in field.units.items())
    yield "Unit", code(field.unit) if field.unit else ""
    yield "Codes", code(field.codes) if field.codes else _implied_codes(field)
    yield "Parts", ", ".join(_part(field, part) for part in field.parts)
    yield "Limits", _limits(field)
    yield "Required", "for a refill" if field.form == CHECKIN and field.required == "gate" else REQUIRED[field.required]
    yield "No value", _nulls(field)
    yield "FHIR", field.fhir or "nowhere but in the answers as received"
    yield "LOINC", code(field.loinc) if field.loinc else ""
    yield "Owned as", f"{code(field.owned_as)}: {_owners(field)}; in conflict {code(field.conflict)}"
    yield "Sensitivity", field.sensitivity
    yield MARK, field.verify or ""


def _questions(contract: Contract, field: Field) -> str:
    form = contract.checkin.form_id
    if field.form == CHECKIN:
        return f"of form {code(form)} {code(field.name)}"
    told = [
        f"{version} {code(field.question(version)) if field.asked_in(version) else 'not asked'}"
        for version in contract.form_versions
    ]
    if field.name in contract.checkin.asks:
        told.append(f"of form {code(form)} {code(field.name)}")
    return "; ".join(told)


def _implied_codes(field: Field) -> str:
    match field.type:
        case "tri" | "boolean":
            return code("yes_no")
        case "consent":
            return code("consent_status")
        case _:
            return ""


def _part(field: Field, part: str) -> str:
    told = [code(part)]
    if part in field.part_codes:
        told.append(f"(codes {code(field.part_codes[part])})")
    elif part in field.part_formats:
        told.append(f"(format {code(field.part_formats[part])})")
    if part == field.lone_part:
        told.append("(what a bare answer means)")
    return " ".join(told)


def _limits(field: Field) -> str:
    if field.low is None and field.high is None:
        return ""
    return f"{named(field.low)} to {named(field.high)}, outside of which an answer is held"


def _nulls(field: Field) -> str:
    told = []
    if field.format == "name":
        told.append("only a blank: there are people called Null, Na and None")
    if field.type == "list":
        told.append("an explicit none is a value, the empty list")
    for master, answers in field.hidden_when.items():
        told.append(f"`not_applicable` when {code(master)} is {', '.join(code(named(a)) for a in answers)}")
    return "; ".join(told)


def _owners(field: Field) -> str:
    """Stages in a row that have one owner are told together."""
    told: list[tuple[str, list[str]]] = []
    for stage in STAGES:
        owner = field.owner.get(stage, "nobody")
        if told and told[-1][0] == owner:
            told[-1][1].append(stage)
        else:
            told.append((owner, [stage]))
    if len(told) == 1:
        return f"{told[0][0]} in every stage"
    return ", ".join(f"{owner} in {' and '.join(stages)}" for owner, stages in told)


def write_ownership(lines: list[str], contract: Contract) -> None:
    lines += ["", "## Ownership", ""]
    lines += ["Who may write a record, by stage of the patient's way; `nobody`: no system may.", ""]
    table(
        lines,
        ("Record", *(stage.replace("_", " ") for stage in STAGES), "In conflict", "Note"),
        (
            (code(name), *(owned.owner[stage] for stage in STAGES), code(owned.conflict), owned.note)
            for name, owned in sorted(contract.ownership.items())
        ),
    )
