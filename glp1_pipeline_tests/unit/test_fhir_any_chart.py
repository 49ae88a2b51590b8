"""Whatever a patient may have said, in however many submissions: what we write of it is FHIR."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import fhirkit
import orjson
import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain import fhir
from glp1_pipeline.domain.chart import Reported, Value, resolve
from glp1_pipeline.domain.contract import Field
from glp1_pipeline.domain.events import Submission
from glp1_pipeline.domain.flags import RaisedFlag
from glp1_pipeline.domain.tasks import TaskNeed
from glp1_pipeline_tests.fhir_rules import bundle_problems
from glp1_pipeline_tests.sample_inputs import contract

CONTRACT = contract()
PATIENT = "9d3f3c9e-canary"

text = st.text(min_size=1, max_size=20)
instants = st.datetimes(
    datetime(2025, 1, 1), datetime(2026, 11, 1), timezones=st.sampled_from([UTC, timezone(-timedelta(hours=6))])
)
days = st.dates(date(1920, 1, 1), date(2026, 11, 1)).map(date.isoformat)
nulls = st.sampled_from(["unknown", "declined", "not_applicable", "absent"]).map(lambda why: {"null": why})
held = st.builds(lambda raw: {"held": "unmapped_code", "raw": raw}, text)
raw_answers = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
) | st.fixed_dictionaries({"value": st.integers() | st.floats(), "unit": text})


def codes_of(name: str | None) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted({entry.code for entry in CONTRACT.codes[name or "yes_no"].values()}))


def part_of(field: Field, name: str) -> st.SearchStrategy[Any]:
    if name in field.part_codes:
        return codes_of(field.part_codes[name])
    form = field.part_formats.get(name)
    if form == "date":
        return days
    return st.integers(1, 300) if form in ("integer", "number") else text


def values_of(field: Field) -> st.SearchStrategy[Any]:
    row = st.fixed_dictionaries({}, optional={name: part_of(field, name) for name in field.parts})
    match field.type:
        case "tri":
            return st.sampled_from(["yes", "no"])
        case "code":
            return codes_of(field.codes)
        case "codes":
            return st.lists(codes_of(field.codes), unique=True).map(sorted)
        case "boolean":
            return st.booleans()
        case "quantity":
            return st.floats(field.low or 20, field.high or 400).map(lambda n: round(n, 2))
        case "integer":
            return st.integers(0, 3000)
        case "date":
            return days
        case "instant":
            return instants.map(datetime.isoformat)
        case "group":
            return row.filter(bool)
        case "list":
            return st.lists(row, max_size=4)
        case "consent":
            statuses = st.sampled_from(["given", "refused", "revoked"])
            at = instants.map(datetime.isoformat)
            return st.fixed_dictionaries({"status": statuses}, optional={"version": text, "at": at})
        case "attachment":
            return st.just({"content_type": "image/jpeg", "sha256": "0" * 64})
        case _:
            return text


documents = {
    name: st.one_of(values_of(field).map(lambda value: {"value": value}), nulls, held)
    for name, field in CONTRACT.fields.items()
}


@st.composite
def submissions(draw: st.DrawFn, few: int = 0) -> list[tuple[Reported, Submission]]:
    """Up to three submissions; with `few`, about so many fields, so that one submission often contradicts another."""
    made = []
    among = draw(st.lists(st.sampled_from(sorted(documents)), min_size=few, max_size=few))
    if few and draw(st.booleans()):
        among += ["allergy.any", "allergy.list"]
    for n in range(draw(st.integers(1, 3))):
        version = draw(st.sampled_from(CONTRACT.form_versions))
        status = draw(st.sampled_from(["completed", "amended", "in-progress"]))
        authored, received = draw(instants), draw(instants)
        asked = draw(st.lists(st.sampled_from(sorted(documents)), unique=True, max_size=40)) if not few else among
        values: dict[str, Value] = {name: draw(documents[name]) for name in asked if name in CONTRACT.asked[version]}
        report = Reported(
            f"event-{n}", f"submission-{n}", version, status, authored, received, "America/Chicago", values
        )
        answers = draw(st.dictionaries(st.text(max_size=8), raw_answers, max_size=5))
        submission = Submission(
            submission_id=f"submission-{n}",
            form_id=CONTRACT.form_id,
            form_version=version,
            status=status,
            authored_at=authored,
            received_at=received,
            time_zone="America/Chicago",
            channel="ios",
            locale="en-US",
            ab_variant="A",
            duration_s=412,
            supersedes="submission-0" if status == "amended" else None,
            answers=answers,
        )
        made.append((report, submission))
    return made


flags = st.lists(st.sampled_from(sorted(CONTRACT.flags)), unique=True, max_size=6).map(
    lambda ids: {name: RaisedFlag(name, CONTRACT.flags[name].severity, (), "event-0") for name in ids}
)
causes = st.sampled_from(["hx.men2", "anthro.weight:implausible_weight", "SUICIDAL_ACTIVE", "clinical-minimum"])
keys = st.tuples(st.sampled_from(sorted(CONTRACT.tasks)), causes)


def need(code: str, cause: str) -> TaskNeed:
    kind = CONTRACT.tasks[code]
    return TaskNeed(code, cause, kind.queue, kind.owner, kind.due_minutes)


def written(
    told: list[tuple[Reported, Submission]],
    raised: dict[str, RaisedFlag],
    open_tasks: set[tuple[str, str]],
    closed: set[tuple[str, str]],
) -> dict[str, Any]:
    """The whole transaction of a patient: chart, answers of what was submitted, provenance."""
    chart = resolve(CONTRACT, PATIENT, [report for report, _ in told])
    resources = fhir.chart_resources(
        CONTRACT,
        chart,
        raised,
        [need(*key) for key in sorted(open_tasks)],
        accounts=[("urn:glp1-pipeline:intake-account", "canary-account")],
        closed_tasks=sorted(closed - open_tasks),
    )
    answers = [
        fhir.questionnaire_response(CONTRACT, submission, PATIENT)
        for report, submission in sorted(told, key=lambda pair: pair[0].event_id)
        if report.status != "in-progress"
    ]
    proof = fhir.provenance(
        PATIENT, 1, sorted(resources), chart.latest.received_at, [r.event_id for r in chart.submissions], "98c5aba8b5bf"
    )
    everything = [*resources.values(), *answers, proof]
    return orjson.loads(fhir.transaction({f"{r['resourceType']}/{r['id']}": fhir.dump(r) for r in everything}))


relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
anything = given(submissions(), flags, st.sets(keys, max_size=4), st.sets(keys, max_size=4))


@settings(relaxed, max_examples=150)
@anything
def test_any_chart_keeps_the_strict_rules(told, raised, open_tasks, closed):
    assert bundle_problems(json.loads(orjson.dumps(written(told, raised, open_tasks, closed)))) == []


@settings(relaxed, max_examples=30)
@anything
def test_two_other_readers_of_fhir_find_nothing_wrong_with_any_chart(told, raised, open_tasks, closed):
    bundle = json.loads(orjson.dumps(written(told, raised, open_tasks, closed)))
    assert [issue.path for issue in fhirkit.validate(bundle) if issue.severity == "error"] == []
    for entry in bundle["entry"]:
        get_fhir_model_class(entry["resource"]["resourceType"]).model_validate(entry["resource"])


@settings(relaxed, max_examples=60)
@given(submissions(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_no_byte(told, chance: random.Random):
    first = orjson.dumps(written(told, {}, {("verify-weight", "anthro.weight")}, set()))
    shuffled = told[:]
    chance.shuffle(shuffled)
    assert orjson.dumps(written(shuffled, {}, {("verify-weight", "anthro.weight")}, set())) == first


@settings(relaxed, max_examples=150)
@given(submissions(few=4))
def test_what_was_ever_written_of_some_submissions_is_written_again_of_all(told):
    """Else a resource of an early state would stand in the EHR for ever, with nobody to take it back."""
    whole = keys_of(told)
    for some in range(1, 2 ** len(told)):
        part = [pair for n, pair in enumerate(told) if some >> n & 1]
        if any(report.status != "in-progress" for report, _ in part):  # of drafts alone nothing is written
            assert keys_of(part) <= whole


def keys_of(told: list[tuple[Reported, Submission]]) -> set[str]:
    return set(fhir.chart_resources(CONTRACT, resolve(CONTRACT, PATIENT, [report for report, _ in told]), {}, []))


@pytest.mark.parametrize("library", ["fhir.resources", "fhirkit"])
def test_the_other_readers_do_read(library):
    """Guards the two tests above: a reader that takes everything would prove nothing."""
    wrong = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "canary": 1}
    if library == "fhirkit":
        assert [issue for issue in fhirkit.validate(wrong) if issue.severity == "error"]
    else:
        with pytest.raises(ValueError, match="canary"):
            get_fhir_model_class("Observation").model_validate(wrong)
