"""A strict reader of FHIR R4, for tests: what the libraries let pass, this one refuses.

Here: element names, cardinalities, required codes, reference targets, primitives' spelling and the invariants of the
types that the pipeline emits, said again by hand from the R4 definitions. Not here: types and elements that we do not
emit: an element missing from the table below is an error, so that emitting it means adding it here after reading R4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

_RESOURCE_SHAPES = """
Patient: identifier* Identifier; active? boolean; name* HumanName; telecom* ContactPoint; birthDate? date;
  gender? code(male female other unknown); address* Address; communication* BackboneElement;
  communication.language! CodeableConcept; communication.preferred? boolean;
  generalPractitioner* Reference(Organization Practitioner PractitionerRole)
Consent: identifier* Identifier; status! code(draft proposed active rejected inactive entered-in-error);
  scope! CodeableConcept; category+ CodeableConcept; patient? Reference(Patient); dateTime? dateTime;
  performer* Reference(Organization Patient Practitioner PractitionerRole RelatedPerson);
  sourceAttachment? Attachment; sourceReference? Reference(Consent DocumentReference Contract QuestionnaireResponse);
  policy* BackboneElement; policy.uri? uri; policyRule? CodeableConcept; provision? BackboneElement;
  provision.type? code(deny permit)
Observation: identifier* Identifier; category* CodeableConcept; code! CodeableConcept;
  status! code(registered preliminary final amended corrected cancelled entered-in-error unknown);
  subject? Reference(Patient Group Device Location); effectiveDateTime? dateTime; issued? instant;
  performer* Reference(Practitioner PractitionerRole Organization CareTeam Patient RelatedPerson);
  valueQuantity? Quantity; valueCodeableConcept? CodeableConcept; valueDateTime? dateTime;
  dataAbsentReason? CodeableConcept; method? CodeableConcept; device? Reference(Device DeviceMetric);
  derivedFrom* Reference(DocumentReference ImagingStudy Media QuestionnaireResponse Observation MolecularSequence);
  component* BackboneElement; component.code! CodeableConcept; component.valueQuantity? Quantity;
  component.dataAbsentReason? CodeableConcept
Condition: identifier* Identifier; category* CodeableConcept; code? CodeableConcept; recordedDate? dateTime;
  clinicalStatus? CodeableConcept(condition-clinical: active recurrence relapse inactive remission resolved);
  verificationStatus? CodeableConcept(condition-ver-status: unconfirmed provisional differential confirmed refuted
    entered-in-error);
  subject! Reference(Patient Group); recorder? Reference(Practitioner PractitionerRole Patient RelatedPerson);
  asserter? Reference(Practitioner PractitionerRole Patient RelatedPerson); evidence* BackboneElement;
  evidence.code* CodeableConcept; evidence.detail* Reference(*)
Procedure: identifier* Identifier; code? CodeableConcept; subject! Reference(Patient Group);
  status! code(preparation in-progress not-done on-hold stopped completed entered-in-error unknown);
  recorder? Reference(Patient RelatedPerson Practitioner PractitionerRole);
  asserter? Reference(Patient RelatedPerson Practitioner PractitionerRole)
AllergyIntolerance: identifier* Identifier; code? CodeableConcept; patient! Reference(Patient);
  clinicalStatus? CodeableConcept(allergyintolerance-clinical: active inactive resolved);
  verificationStatus? CodeableConcept(allergyintolerance-verification: unconfirmed confirmed refuted entered-in-error);
  recordedDate? dateTime; recorder? Reference(Practitioner PractitionerRole Patient RelatedPerson);
  asserter? Reference(Patient RelatedPerson Practitioner PractitionerRole); reaction* BackboneElement;
  reaction.manifestation+ CodeableConcept; reaction.severity? code(mild moderate severe)
FamilyMemberHistory: identifier* Identifier; status! code(partial completed entered-in-error health-unknown);
  dataAbsentReason? CodeableConcept; patient! Reference(Patient); date? dateTime; relationship! CodeableConcept;
  condition* BackboneElement; condition.code! CodeableConcept
MedicationStatement: identifier* Identifier; category? CodeableConcept; medicationCodeableConcept! CodeableConcept;
  status! code(active completed entered-in-error intended stopped on-hold unknown not-taken);
  subject! Reference(Patient Group); effectivePeriod? Period; dateAsserted? dateTime;
  informationSource? Reference(Patient Practitioner PractitionerRole RelatedPerson Organization);
  derivedFrom* Reference(*); note* Annotation; dosage* Dosage
Flag: identifier* Identifier; status! code(active inactive entered-in-error); category* CodeableConcept;
  code! CodeableConcept; period? Period; author? Reference(Device Organization Patient Practitioner PractitionerRole);
  subject! Reference(Patient Location Group Organization Practitioner PlanDefinition Medication Procedure)
Task: identifier* Identifier; intent! code(unknown proposal plan order original-order reflex-order filler-order
    instance-order option);
  status! code(draft requested received accepted rejected ready cancelled in-progress on-hold failed completed
    entered-in-error);
  priority? code(routine urgent asap stat); code? CodeableConcept; for? Reference(*); authoredOn? dateTime;
  lastModified? dateTime; performerType* CodeableConcept; reasonCode? CodeableConcept;
  requester? Reference(Device Organization Patient Practitioner PractitionerRole RelatedPerson);
  restriction? BackboneElement; restriction.period? Period
MedicationRequest: identifier* Identifier; medicationCodeableConcept! CodeableConcept; subject! Reference(Patient Group);
  status! code(active on-hold cancelled completed entered-in-error stopped draft unknown);
  intent! code(proposal plan order original-order reflex-order filler-order instance-order option);
  supportingInformation* Reference(*); authoredOn? dateTime; note* Annotation; dosageInstruction* Dosage;
  requester? Reference(Practitioner PractitionerRole Organization Patient RelatedPerson Device);
  dispenseRequest? BackboneElement; dispenseRequest.expectedSupplyDuration? Duration
DetectedIssue: identifier* Identifier; code? CodeableConcept; severity? code(high moderate low);
  status! code(registered preliminary final amended corrected cancelled entered-in-error unknown);
  patient? Reference(Patient); identifiedDateTime? dateTime;
  author? Reference(Practitioner PractitionerRole Device); implicated* Reference(*); evidence* BackboneElement;
  evidence.code* CodeableConcept; evidence.detail* Reference(*); mitigation* BackboneElement;
  mitigation.action! CodeableConcept; mitigation.date? dateTime;
  mitigation.author? Reference(Practitioner PractitionerRole)
CommunicationRequest: identifier* Identifier; category* CodeableConcept; medium* CodeableConcept;
  status! code(draft active on-hold revoked completed entered-in-error unknown); subject? Reference(Patient Group);
  payload* BackboneElement; payload.contentString! string; occurrencePeriod? Period; authoredOn? dateTime;
  requester? Reference(Practitioner PractitionerRole Organization Patient RelatedPerson Device);
  recipient* Reference(Device Organization Patient Practitioner PractitionerRole RelatedPerson Group CareTeam
    HealthcareService); reasonCode* CodeableConcept
AuditEvent: type! Coding; action? code(C R U D E); recorded! instant; outcome? code(0 4 8 12); outcomeDesc? string;
  agent+ BackboneElement; agent.role* CodeableConcept; agent.requestor! boolean;
  agent.who? Reference(PractitionerRole Practitioner Organization Device Patient RelatedPerson);
  source! BackboneElement;
  source.observer! Reference(PractitionerRole Practitioner Organization Device Patient RelatedPerson);
  entity* BackboneElement; entity.what? Reference(*); entity.type? Coding; entity.role? Coding; entity.name? string;
  entity.query? string; entity.detail* BackboneElement; entity.detail.type! string; entity.detail.valueString! string
QuestionnaireResponse: identifier? Identifier; questionnaire? canonical; subject? Reference(*); authored? dateTime;
  status! code(in-progress completed amended entered-in-error stopped);
  author? Reference(Device Practitioner PractitionerRole Patient RelatedPerson Organization);
  source? Reference(Patient Practitioner PractitionerRole RelatedPerson); item* Item
Provenance: target+ Reference(*); recorded! instant; policy* uri; activity? CodeableConcept; agent+ BackboneElement;
  agent.type? CodeableConcept; agent.who! Reference(Practitioner PractitionerRole RelatedPerson Patient Device
  Organization); entity* BackboneElement; entity.role! code(derivation revision quotation source removal);
  entity.what! Reference(*)
"""

_TYPE_SHAPES = """
Item: linkId! string; definition? uri; text? string; item* Item; answer* Answer
Answer: valueBoolean? boolean; valueInteger? integer; valueDecimal? decimal; valueString? string;
  valueQuantity? Quantity; valueCoding? Coding; item* Item
Meta: tag* Coding
Identifier: use? code(usual official temp secondary old); system? uri; value? string
CodeableConcept: coding* Coding; text? string
Coding: system? uri; version? string; code? code; display? string
Reference: reference? string; type? uri; identifier? Identifier; display? string
Quantity: value? decimal; unit? string; system? uri; code? code
Period: start? dateTime; end? dateTime
HumanName: use? code(usual official temp nickname anonymous old maiden); family? string; given* string; text? string
ContactPoint: system? code(phone fax email pager url sms other); value? string; use? code(home work temp old mobile)
Address: use? code(home work temp old billing); line* string; city? string; state? string; postalCode? string;
  country? string
Annotation: text! markdown
Dosage: text? string; doseAndRate* DoseAndRate
DoseAndRate: doseQuantity? Quantity
Duration: value? decimal; unit? string; system? uri; code? code
Extension: url! uri; extension* Extension; valueCode? code; valueString? string; valueDateTime? dateTime;
  valueInteger? integer; valueCodeableConcept? CodeableConcept
"""

_DATE = r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?"
_TIME = r"T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]((0\d|1[0-3]):[0-5]\d|14:00))"
_TEXTS = {
    "code": r"[^\s]+( [^\s]+)*",
    "date": _DATE,
    "dateTime": rf"{_DATE}|\d{{4}}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01]){_TIME}",
    "instant": rf"\d{{4}}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01]){_TIME}",
    "uri": r"\S+",
    "canonical": r"\S+",
    "string": r"(?s:.+)",
    "markdown": r"(?s:.+)",
}
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_HL7 = "http://terminology.hl7.org/CodeSystem/"
_UCUM = "http://unitsofmeasure.org"
_ENTRY = re.compile(r"([\w.]+)([?!*+]) (\w+)(?:\(([^)]*)\))?")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def _read(table: str) -> dict[str, dict[str, tuple[str, str, str]]]:
    shapes: dict[str, dict[str, tuple[str, str, str]]] = {}
    for block in re.split(r"\n(?=\w)", table.strip()):
        name, _, body = block.partition(":")
        for entry in body.split(";"):
            text = " ".join(entry.split())
            found = _ENTRY.fullmatch(text)
            assert found, f"misspelt entry of {name}: {text}"
            path, many, kind, detail = found.groups()
            owner, _, element = f"{name}.{path}".rpartition(".")
            shapes.setdefault(owner, {})[element] = (many, kind, detail or "")
    return shapes


_RESOURCES = frozenset(owner for owner in _read(_RESOURCE_SHAPES) if "." not in owner)
SHAPES = _read(_RESOURCE_SHAPES) | _read(_TYPE_SHAPES)
_WITHOUT_IDENTIFIER = frozenset(("Provenance", "AuditEvent"))


def as_sent(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource as who receives it reads it: parts of it may have been dumped before the rest."""
    return orjson.loads(orjson.dumps(resource))


def problems(resource: dict[str, Any]) -> list[str]:
    """Everything that is wrong with one resource, each with its place and never with a value."""
    kind = resource.get("resourceType", "")
    if kind not in _RESOURCES:
        return [f"{kind}: a type that the rules do not know"]
    found = [f"{kind}.id: not an id"] if not _ID.fullmatch(str(resource.get("id", ""))) else []
    body = {name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")}
    found += _element(kind, "Resource", body, "")
    if "meta" in resource:
        found += _element(f"{kind}.meta", "Meta", resource["meta"], "")
    if kind not in _WITHOUT_IDENTIFIER and not resource.get("identifier"):
        found.append(f"{kind}.identifier: ours is missing")
    # The invariants are asked of a sound shape alone: they read elements without looking twice.
    return found or [f"{kind}: {broken}" for broken in _INVARIANTS.get(kind, _nothing)(resource)]


def _element(path: str, kind: str, value: Any, detail: str) -> Iterator[str] | list[str]:
    shape = SHAPES.get(path if kind in ("Resource", "BackboneElement") else kind)
    if shape is None:
        return list(_primitive(path, kind, value, detail))
    return list(_complex(path, kind, shape, value, detail))


def _complex(path: str, kind: str, shape: dict, value: Any, detail: str) -> Iterator[str]:
    if not isinstance(value, dict) or not value:
        yield f"{path}: not an object, or an empty one"
        return
    for name, told in value.items():
        if name == "extension":
            yield from _many(f"{path}.extension", "*", "Extension", told, "")
        elif name.startswith("_"):
            if name[1:] not in shape or set(told) != {"extension"} or name[1:] in value:
                yield f"{path}.{name}: must stand alone for an element, with extensions"
            else:
                yield from _many(f"{path}.{name}", "*", "Extension", told["extension"], "")
        elif name not in shape:
            yield f"{path}.{name}: no such element"
        else:
            many, inner, codes = shape[name]
            yield from _many(f"{path}.{name}", many, inner, told, codes)
    for name, (many, _, _) in shape.items():
        if many in "!+" and name not in value and f"_{name}" not in value:
            yield f"{path}.{name}: missing"
    choices = [
        found[1]
        for name in value
        if (found := re.match(r"(value|effective|medication|source|identified|occurrence)[A-Z]", name))
    ]
    if len(choices) > len(set(choices)):
        yield f"{path}: two of one choice"
    yield from _of_type(path, kind, value, detail)


def _many(path: str, many: str, kind: str, value: Any, detail: str) -> Iterator[str]:
    if many in "?!":
        yield from _element(path, kind, value, detail)
    elif not isinstance(value, list) or not value:
        yield f"{path}: not a list, or an empty one"
    else:
        for each in value:
            yield from _element(path, kind, each, detail)


def _of_type(path: str, kind: str, value: dict[str, Any], detail: str) -> Iterator[str]:
    """The invariants of data types."""
    if kind == "Extension" and ("extension" in value) == any(name.startswith("value") for name in value):
        yield f"{path}: ext-1, either a value or extensions"
    if kind == "Reference":
        target = value.get("reference", "").partition("/")[0] or value.get("type", "")
        if "reference" in value and not re.fullmatch(r"[A-Z]\w+/[A-Za-z0-9\-.]{1,64}", value["reference"]):
            yield f"{path}: a reference is Type/id"
        if not {"reference", "identifier", "display"} & value.keys():
            yield f"{path}: refers to nothing"
        if detail != "*" and target not in detail.split():
            yield f"{path}: may not point to {target}"
    if kind == "CodeableConcept" and detail:
        system, _, codes = detail.partition(": ")
        own = [c for c in value.get("coding", []) if c.get("system") == _HL7 + system]
        if len(own) != 1 or own[0].get("code") not in codes.split():
            yield f"{path}: required code of {system}"
    if kind == "Quantity" and "code" in value and "system" not in value:
        yield f"{path}: qty-3, a coded unit has a system"
    if kind == "Duration" and "value" in value and not ("code" in value and value.get("system", _UCUM) == _UCUM):
        yield f"{path}: drt-1, a value has a unit of time"
    if kind == "ContactPoint" and "value" in value and "system" not in value:
        yield f"{path}: cpt-2, a value has a system"
    if kind == "Period" and {"start", "end"} <= value.keys() and _at(value["start"]) > _at(value["end"]):
        yield f"{path}: per-1, starts after its end"
    if kind == "Item" and "item" in value and "answer" in value:
        yield f"{path}: qrs-1, items below the item or below its answer"
    if kind == "Answer" and not any(name.startswith("value") for name in value):
        yield f"{path}: an answer that says nothing"


def _primitive(path: str, kind: str, value: Any, detail: str) -> Iterator[str]:
    if kind == "boolean":
        fits = isinstance(value, bool)
    elif kind in ("integer", "decimal"):
        fits = isinstance(value, int) or (kind == "decimal" and isinstance(value, float) and value == value)
        fits = fits and not isinstance(value, bool) and abs(value) < (2**31 if kind == "integer" else float("inf"))
    elif kind in _TEXTS:
        fits = isinstance(value, str) and re.fullmatch(_TEXTS[kind], value) is not None
        fits = fits and bool(value.strip()) and not _UNFIT.search(value) and len(value.encode()) <= 1024 * 1024
        if fits and kind in ("date", "dateTime", "instant"):
            fits = _exists(value)
    else:
        raise AssertionError(f"{path}: the table names a type that it does not describe: {kind}")
    if not fits:
        yield f"{path}: not a {kind}"
    elif detail and value not in detail.split():
        yield f"{path}: not a code of its required set"


def _exists(value: str) -> bool:
    try:
        return bool(len(value) < 10 or datetime.fromisoformat(value.replace(":60", ":59")))
    except ValueError:
        return False


def _at(value: str) -> datetime:
    return datetime.fromisoformat(value if "T" in value else f"{value}T00:00:00+00:00")


def _codes(concept: dict[str, Any] | None) -> list[str]:
    return [coding.get("code", "") for coding in (concept or {}).get("coding", [])]


def _nothing(_: dict[str, Any]) -> Iterator[str]:
    return iter(())


def _observation(r: dict[str, Any]) -> Iterator[str]:
    values = [name for name in r if name.startswith("value")]
    if "dataAbsentReason" in r and values:
        yield "obs-6, a reason for having no value beside a value"
    own = {(c.get("system"), c.get("code")) for c in r["code"].get("coding", [])}
    parts = [coding for part in r.get("component", []) for coding in part["code"].get("coding", [])]
    inner = {(c.get("system"), c.get("code")) for c in parts}
    if values and own & inner:
        yield "obs-7, a component repeats the code while there is a value"
    if not values and "dataAbsentReason" not in r and "component" not in r:
        yield "vs-2, neither a value nor why there is none"
    for part in r.get("component", []):
        if ("dataAbsentReason" in part) == any(name.startswith("value") for name in part):
            yield "vs-3, a component has a value or says why not"


def _condition(r: dict[str, Any]) -> Iterator[str]:
    wrong = "entered-in-error" in _codes(r.get("verificationStatus"))
    if not wrong and "clinicalStatus" not in r and any("problem-list-item" in _codes(c) for c in r.get("category", [])):
        yield "con-3, a problem has a clinical status"
    if wrong and "clinicalStatus" in r:
        yield "con-5, no clinical status for what was entered in error"


def _allergy(r: dict[str, Any]) -> Iterator[str]:
    wrong = "entered-in-error" in _codes(r.get("verificationStatus"))
    if not wrong and "clinicalStatus" not in r:
        yield "ait-1, a clinical status is due"
    if wrong and "clinicalStatus" in r:
        yield "ait-2, no clinical status for what was entered in error"


def _consent(r: dict[str, Any]) -> Iterator[str]:
    if "policy" not in r and "policyRule" not in r:
        yield "ppc-1, a policy or a rule"
    if {"patient-privacy", "treatment"} & set(_codes(r.get("scope"))) and "patient" not in r:
        yield "ppc-2 and ppc-5, the patient is due"


def _task(r: dict[str, Any]) -> Iterator[str]:
    if {"lastModified", "authoredOn"} <= r.keys() and _at(r["lastModified"]) < _at(r["authoredOn"]):
        yield "inv-1, changed before it was made"


def _audit(r: dict[str, Any]) -> Iterator[str]:
    if any("name" in entity and "query" in entity for entity in r.get("entity", [])):
        yield "sev-1, a name or a query, not both"


_INVARIANTS = {
    "Observation": _observation,
    "Condition": _condition,
    "AllergyIntolerance": _allergy,
    "Consent": _consent,
    "Task": _task,
    "AuditEvent": _audit,
}


def bundle_problems(bundle: dict[str, Any]) -> list[str]:
    """Problems of a transaction and of all that is in it; every reference must find its target inside."""
    found: list[str] = []
    entries = bundle.get("entry", [])
    here = {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in entries}
    if bundle.get("type") != "transaction" or len(here) != len(entries):
        found.append("Bundle: no transaction, or one identity twice")
    if len({e["fullUrl"] for e in entries}) != len(entries):
        found.append("Bundle: bdl-7, fullUrl twice")
    for entry in entries:
        resource = entry["resource"]
        url = f"{resource['resourceType']}/{resource['id']}"
        if entry["request"] != {"method": "PUT", "url": url} or entry["fullUrl"] != f"urn:uuid:{resource['id']}":
            found.append(f"{resource['resourceType']}: its request does not name it")
        found += problems(resource)
        for reference in references(resource):
            if reference not in here:
                found.append(f"{resource['resourceType']}: points to a {reference.partition('/')[0]} that is not here")
    return found


def references(value: Any) -> Iterator[str]:
    """All literal references inside a resource."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
