"""The shapes of what people declare: fields, codes, flags, gates, event types, write kinds, products.

Here: frozen models, and look-ups on them that need no more than their own content. Not here: reading files
(`contracts`), and any decision about a patient (the other modules of `domain`).
"""

from __future__ import annotations

import unicodedata
from functools import cached_property, lru_cache
from typing import Annotated, Literal, get_args

from pydantic import StringConstraints

from .declared import Declared
from .identity_model import IdentityModel
from .medication_model import MedicationRules
from .refill_model import CheckinForm, FollowUpRules, OverrideReason, RefillRules, Role

FieldType = Literal[
    "string", "text", "code", "codes", "boolean", "tri", "quantity", "date", "instant",
    "integer", "group", "list", "consent", "attachment",
]  # fmt: skip
Required = Literal["submit", "gate", "program", "prior_auth", "conditional", "no", "auto"]
Severity = Literal["red", "amber", "info"]
Stage = Literal["lead", "intake", "clinical_review", "active_treatment", "paused_or_discontinued"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Format = Literal[
    "", "name", "phone", "email", "timezone", "uuid", "zip", "bin", "ncpdp", "state", "integer", "number", "date",
    "birth_date", "past_date", "blood_pressure", "medicines", "address",
]  # fmt: skip
ConflictRule = Literal[
    "owner_wins", "hold_for_steward", "hold_and_block", "latest_stated", "latest_verified", "most_restrictive",
    "most_cautious", "worst_status", "append", "immutable", "union", "red_sticks", "recomputed", "first_write",
    "per_encounter", "state_machine", "eligibility_wins", "true_wins",
]  # fmt: skip
EHR, CRM, STEWARD, PIPELINE = "ehr", "crm", "steward", "pipeline"
"""Systems as events, writes and identifiers name them: two that we write to, people who were asked who they are, and
our own clock. Others are named in the contract's files alone."""
RollbackRule = Literal["restore", "entered_in_error", "forbidden"]
"""restore: each resource says again what it said before the write, and what it did not say before is marked as entered
in error. entered_in_error: always marked so. forbidden: what was said stays said."""

Semver = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
ANY = "*"
FAMILY = "hx.mtc_family"
"""The one question about relatives."""
NOTHING = frozenset(("no", "none", "never", "na", "declined", "unsure", "unknown"))
"""Codes by which a person says of the past that there is nothing to tell, or that they cannot tell."""
APPLICABILITY = frozenset({"has_prior_glp1", "has_diabetes", "bmi_27_to_30", "may_be_pregnant", "has_allergies"})
"""Names of the rules in `domain.gates` that a requirement's `when` may use."""


class Field(Declared):
    """One thing that may be known of a patient."""

    name: str
    section: str
    form: Literal["intake", "checkin"] = "intake"
    """Which form asks it; a check-in asks some fields of the intake too (`CheckinForm.asks`)."""
    label: str
    type: FieldType
    unit: str | None = None
    """UCUM unit of the canonical value (quantities alone)."""
    codes: str | None = None
    """Name of the code set in codes.csv."""
    parts: tuple[str, ...] = ()
    """Named parts of a group, or of each row of a list."""
    required: Required = "no"
    since: Semver = "1.0.0"
    """First intake version that asks it."""
    questions: dict[str, str] = {}
    """Intake version -> question id, where it is not the field's name."""
    units: dict[str, str] = {}
    """Intake version -> the unit that its question fixed (a bare number is then no guess)."""
    fhir: str = ""
    loinc: str | None = None
    sensitivity: str = "none"
    """HIPAA Safe Harbor class letter(s) with a word, or `none`."""
    owner: dict[Stage, str] = {}
    conflict: str = ""
    verify: str | None = None
    """Set where a clinician still has to confirm the fact."""
    owned_as: str = ""
    """Row of ownership.csv that `owner` and `conflict` came from."""
    format: Format = ""
    """What a string must look like, or how a group is read."""
    low: float | None = None
    high: float | None = None
    """Limits of what a body can be, in the field's unit; outside of them an answer is held."""
    part_formats: dict[str, Format] = {}
    part_codes: dict[str, str] = {}
    """Part -> code set, where a part is coded."""
    lone_part: str = ""
    """The part that a bare scalar means, where a group was expected."""
    hidden_when: dict[str, tuple[str | bool, ...]] = {}
    """Other field -> its answers under which the form does not show this one."""

    def question(self, version: str) -> str:
        return self.questions.get(version, self.name)

    @property
    def may_be_none(self) -> bool:
        """Whether `none` as a text says that there is no such thing: a card, a doctor. A person or a town may be called
        so."""
        return self.type in ("string", "group") and not self.format and not self.part_codes

    def asked_in(self, version: str) -> bool:
        """Whether that version of the intake form asks it."""
        return self.form == "intake" and version_key(version) >= version_key(self.since)


class Code(Declared):
    """A spelling and the code that it means."""

    set: str
    spelling: str
    code: str
    fhir_system: str = ""
    fhir_code: str = ""
    display: str = ""
    verify: str = ""


class Ownership(Declared):
    """Who may write a record in each stage of a patient's way, and what happens when two disagree."""

    record: str
    phi: str
    lead: str
    intake: str
    clinical_review: str
    active_treatment: str
    paused_or_discontinued: str
    conflict: ConflictRule
    note: str = ""
    verified: str = ""
    """Record in which a provider's own finding of the same thing lies, beside what the patient said."""
    worst_first: str = ""
    """Codes from the one that permits least, is most cautious or worst, down; `?` is where nobody knows."""
    task: str = ""
    """Kind of task for whoever settles it, where it is not `resolve-field-conflict`."""
    kept_in: str = ""
    """Where it lies, if no field of the intake is owned as it."""

    @cached_property
    def owner(self) -> dict[Stage, str]:
        return {stage: getattr(self, stage) for stage in STAGES}


class Program(Declared):
    """Thresholds of the programme: configuration that a clinical lead signs, not law."""

    bmi_min: float
    bmi_min_with_comorbidity: float
    age_min: int
    age_elderly: int
    bp_amber: tuple[int, int]
    bp_red: tuple[int, int]
    hr_amber: int
    verify: str = ""


class FlagRule(Declared):
    """A risk flag: what it is called, how bad, on what basis, who may override. When it fires is `domain.flags`."""

    flag_id: str
    label: str
    severity: Severity
    basis: str
    applies_to: str
    input: Literal["intake", "labs", "followup", "identity", "programme"]
    """Which stream the inputs of the rule come from; only `intake` rules can fire on a submission."""
    snomed: str = ""
    snomed_equivalence: Literal["", "equivalent", "inexact"] = ""
    """equivalent: whoever has the flag said just what the code means, and the EHR gets it. inexact: the flag stands for
    a doubt, a relative or a number as well, and the code would be a finding in the patient that nobody told."""
    icd10cm: str = ""
    actcode: str = ""
    trigger: str = ""
    override: str = ""
    task: str = ""
    """Kind of task of a flag that is somebody's work by itself; all others are read by the provider at review."""
    verify: str = ""


class HistoryAnswer(Declared):
    """An answer about one's own past or one's family's: what the EHR gets of it, and what in an EHR says the same."""

    field: str
    answer: str
    """A code of the field; ANY for whatever it may answer and no other row names."""
    resource: Literal["", "Condition", "Procedure", "FamilyMemberHistory"]
    """Empty: only heard."""
    clinical_status: Literal["", "active", "inactive", "remission"] = ""
    once_over: str = ""
    """What a condition of the EHR answers when it is over; empty: then it says nothing."""
    text: str = ""
    """Our own words: a dictionary's display text is licensed, and would claim more than the patient said."""
    snomed: Annotated[str, StringConstraints(pattern=r"^(\d{6,18})?$")] = ""
    """The code that means just this."""
    comorbidity: str = ""
    """The comorbidity that it is the same as: its standard code, once signed, is this one's."""
    equivalence: Literal["", "narrower"] = ""
    """narrower: the standard code of the answer means less than the answer. It is heard, and never told."""
    flags: tuple[str, ...] = ()
    """Flags whose standard codes, in a condition of the EHR, say this; of two rows of a field the first."""
    verify: str = ""


class Requirement(Declared):
    """One line of a gate: the fields that must be known, when it applies, how fresh."""

    name: str
    fields: tuple[str, ...]
    need: Literal["all", "any"] = "all"
    accept: tuple[str, ...] = ("value",)
    """States that satisfy it: value, unknown, declined, not_applicable."""
    values: tuple[str, ...] = ()
    """If set, the value must be one of these codes."""
    when: str | None = None
    """Name of an applicability rule in domain.gates."""
    max_age_days: int | None = None
    since: Semver = "1.0.0"
    high_risk: bool = False
    """A red question: its absence opens a task."""


class Gate(Declared):
    gate_id: str
    version: str
    blocks: str
    requirements: tuple[Requirement, ...]


class EventType(Declared):
    type: str
    emitter: str
    """Several are told apart by the event's source: `intake|pharmacy`."""
    description: str
    data: tuple[str, ...] = ()
    """Names that its data must have."""

    @cached_property
    def emitters(self) -> tuple[str, ...]:
        return tuple(self.emitter.split("|"))

    def emitter_of(self, source: str) -> str:
        """Who emits it: the one that the source begins with, else the first. A steward may say what a system says."""
        begins = source.removeprefix("/").partition("/")[0]
        return begins if begins in (*self.emitters, STEWARD) else self.emitters[0]


class IdentifierKind(Declared):
    """What a system may call a person, beside the name that its events go by. It never joins two records."""

    kind: str
    label: str
    given_by: tuple[str, ...]
    """Emitters that may tell it, besides the system itself of its own people."""
    types: tuple[str, ...] = ()
    """Codes of HL7 table 0203 under which FHIR shows it."""
    never: tuple[str, ...] = ()
    """Beginnings of FHIR systems whose identifiers are not kept."""


class TaskKind(Declared):
    code: str
    purpose: str
    queue: str
    owner: str
    due_minutes: int
    verify: str = ""


class WriteKind(Declared):
    """An outside effect: where to, how often tried, when given up, how it is taken back."""

    kind: str
    target: str
    description: str
    max_tries: int
    first_retry_seconds: float
    max_retry_seconds: float
    give_up_after_hours: float
    rollback: RollbackRule
    rollback_why: str = ""
    """Why so; must be said where it is forbidden."""
    max_in_flight: int = 4
    max_conditional_entries: int | None = None


class CrmProperty(Declared):
    """A property of a contact that the CRM may know, or that we hear from it."""

    property: str
    field: str = ""
    """A field, or a record of ownership.csv that no question asks: yes or no, said by the CRM."""
    part: str = ""
    """Of a field with parts, the one that the property holds."""
    means: Literal["value", "opt_out"] = "value"
    """opt_out: `true` where the consent is refused or revoked; to permit something is never told."""
    computed: Literal["", "pipeline_status", "followup_status"] = ""
    flows: Literal["in", "out", "both"]


class Contract(Declared):
    """All that people declared, checked as a whole when it is read."""

    version: str
    """Hash of the contract files' content, twelve hex digits: stamped on all that is computed from them."""
    form_id: str
    form_versions: tuple[Semver, ...]
    fields: dict[str, Field]
    codes: dict[str, dict[str, Code]]
    """Set -> folded spelling -> Code."""
    flags: dict[str, FlagRule]
    history: dict[str, dict[str, HistoryAnswer]]
    """Field -> answer -> what it is in the EHR."""
    gates: dict[str, Gate]
    event_types: dict[str, EventType]
    tasks: dict[str, TaskKind]
    writes: dict[str, WriteKind]
    products: dict[str, dict[str, str]]
    states_served: frozenset[str]
    program: Program
    ownership: dict[str, Ownership] = {}
    crm: dict[str, CrmProperty] = {}
    """Property of a contact -> what it is to us: all that the CRM may ever know."""
    dose_ladders: dict[str, tuple[dict[str, str], ...]] = {}
    """Product key -> its steps, lowest dose first."""
    identifiers: dict[str, IdentifierKind] = {}
    identity: IdentityModel
    medication: MedicationRules
    checkin: CheckinForm
    followups: FollowUpRules
    refills: RefillRules
    roles: dict[str, Role]
    override_reasons: dict[str, OverrideReason]
    proposals: dict[str, str]
    """What a rule proposes to the provider -> the words that a person reads."""

    @cached_property
    def consents(self) -> frozenset[str]:
        return frozenset(name for name, field in self.fields.items() if field.type == "consent")

    @cached_property
    def emitters(self) -> frozenset[str]:
        """Whoever emits an event of any type."""
        return frozenset(emitter for kind in self.event_types.values() for emitter in kind.emitters)

    @cached_property
    def asked_in_checkin(self) -> tuple[str, ...]:
        """Fields that a check-in asks, its own and those of the intake."""
        return (*(n for n, f in self.fields.items() if f.form == "checkin"), *self.checkin.asks)

    @cached_property
    def asked(self) -> dict[str, frozenset[str]]:
        """Intake version -> the fields that it asks."""
        return {v: frozenset(n for n, f in self.fields.items() if f.asked_in(v)) for v in self.form_versions}


@lru_cache(maxsize=64)
def version_key(version: str) -> tuple[int, ...]:
    """Order of semantic versions: `10.0.0` comes after `9.0.0`."""
    return tuple(int(part) for part in version.split("."))


def fold(spelling: str) -> str:
    """The form in which spellings are compared: compatibility forms unified, case folded, spaces collapsed, apostrophes
    straight (phones curl them)."""
    if spelling.isascii():
        return " ".join(spelling.lower().split())
    return " ".join(unicodedata.normalize("NFKC", spelling).casefold().replace("\u2019", "'").split())
