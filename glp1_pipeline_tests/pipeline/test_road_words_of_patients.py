"""No word of a patient where none belongs: after all that the other tests did, and a steward's decisions in the UI."""

import json
import re
import time
import zlib
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import requests
from click.testing import CliRunner

from glp1_pipeline.cli import main
from glp1_pipeline.sandbox import stack as parts
from glp1_pipeline.sandbox.samples import samples
from glp1_pipeline_tests.pipeline.test_road import drop, patient_of
from glp1_pipeline_tests.refill_road import SIDE_EFFECT, begin_lately, of
from glp1_pipeline_tests.refills import checkin, intake, requested
from glp1_pipeline_tests.sample_inputs import clean_submission
from glp1_pipeline_tests.treatments import dispensed, ordered

pytestmark = pytest.mark.timeout(600)

LAUNCH_JOB = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } }
}"""

RUNS = """
{ runsOrError(limit: 1000) { ... on Runs { results {
  runId jobName status runConfigYaml tags { key value }
  assetMaterializations { label description metadataEntries { label description
    ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr } ... on JsonMetadataEntry { jsonString }
    ... on UrlMetadataEntry { url } ... on PathMetadataEntry { path } } }
  eventConnection(limit: 1000) { events {
    ... on MessageEvent { message eventType }
    ... on ExecutionStepFailureEvent { error { message stack causes { message stack } } }
    ... on StepExpectationResultEvent { stepKey }
    ... on ErrorEvent { error { message stack } } } }
} } } }"""


def decide(running, action: str, first: str, second: str, reason: str) -> str:
    """A steward fills in the Launchpad; how the run ended."""
    config = {"action": action, "first": first, "second": second, "actor": "steward-7", "reason": reason}
    return launch(running, "decide_match", {"ops": {"decide": {"config": {**config, "dry_run": False}}}})


def launch(running, job: str, config: dict, assets: tuple[str, ...] = ()) -> str:
    """Launch a job, or assets by hand; how the run ended."""
    place = {"repositoryLocationName": "glp1_pipeline", "repositoryName": "__repository__", "jobName": job}
    selector = place | ({"assetSelection": [{"path": [name]} for name in assets]} if assets else {})
    params = {"selector": selector, "runConfigData": config}
    launched = running.ask(LAUNCH_JOB, {"params": params})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched

    def ended():
        run = running.ask(
            "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", {"id": launched["run"]["runId"]}
        )
        status = run["runOrError"]["status"]
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

    return running.wait(ended, 60, "the job did not end")


def test_a_steward_merges_two_records_in_the_ui_and_takes_them_apart_again(running):
    events = [clean_submission(900_010), clean_submission(900_011)]
    for event in events:
        drop(running, event)
    running.settle()

    def charts(connection):
        return connection.execute(
            "select count(*) from phi.charts where patient_id = any(%s)", ([first, second],)
        ).fetchone()

    with running.connect() as connection:
        first, second = (str(patient_of(connection, event)) for event in events)
        assert charts(connection) == (2,)
        assert decide(running, "MERGE", first, second, "SEEN_TOGETHER") == "SUCCESS"
        assert charts(connection) == (1,)
        assert decide(running, "UNMERGE", first, second, "WRONG_MERGE") == "SUCCESS"
        assert charts(connection) == (2,)
        assert decide(running, "MERGE", first, "nobody", "OTHER") == "FAILURE"
    running.settle()
    with running.connect() as connection:
        assert running.faults(connection) == []


WORDS = "seen by video; Canary eats and drinks"
"""Of somebody who lets a refill or an order go on: sealed with their event, and nowhere else."""


def test_a_patient_under_treatment_is_asked_held_and_let_through_in_the_ui_and_by_command(running, monkeypatch):
    """The clock rings by its own sensor, and what people write and say of it is hunted below."""
    begin_lately(monkeypatch, 25.5)
    account = "canary-0900020"
    told = {"new_medicines": [{"name": "Canarywort"}], "new_conditions": [{"name": "Canary fever"}], **SIDE_EFFECT}
    for event in (
        intake(account), of(ordered(0, 0.25, account=account), account),
        of(dispensed(3, 0.25, account=account), account), checkin(24, account=account, **told),
        requested(25, account=account),
    ):  # fmt: skip
        drop(running, event)

    def stands(connection) -> tuple[str, str, str, str] | None:
        return connection.execute(
            "select refill_id::text, decision_id::text, outcome, decided_by from ops.refills join phi.identifiers i"
            " on i.record_id = patient_id where i.value = %s and status = 'open'",
            (account,),
        ).fetchone()

    def override(**config) -> str:
        return launch(running, "override_refill", {"ops": {"let_through": {"config": config}}})

    with running.connect() as connection:
        found = running.wait(lambda: (one := stands(connection)) and one[3] == "side_effect" and one, 60, "not held")
        config = {
            "refill_id": found[0], "decision_id": found[1], "rules": ["SIDE_EFFECT"], "reason": "ASSESSED_PATIENT",
            "role": "PROVIDER", "ground": "SAW_THE_PATIENT", "actor": "provider-7", "dry_run": False,
        }  # fmt: skip
        assert override(**config | {"rules": ["RED_SYMPTOM"]}) == "FAILURE"
        assert override(**config) == "SUCCESS"
        let = stands(connection)
        assert let is not None
        assert let[3] == "interaction", "the next rule holds it: no table of ours knows that medicine"
        words = ["--rule", "interaction", "--reason", "ASSESSED_PATIENT", "--text", WORDS, "--until", "2099-01-01"]
        words += ["--actor", "provider-7", "--role", "provider"]
        refused = CliRunner().invoke(main, ["refill", "override", let[0], *words])
        assert "within 90 days" in refused.output
        words[words.index("2099-01-01")] = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
        assert CliRunner().invoke(main, ["refill", "override", let[0], *words]).exit_code == 0
        assert (stands(connection) or ())[2:] == ("provider_queue", "complete")
        let_an_order_through(running, connection, account)
    assert (
        launch(running, "__ASSET_JOB", {}, ("follow_ups", "refills", "refill_decisions", "refill_overrides"))
        == "SUCCESS"
    )
    running.settle()
    with running.connect() as connection:
        assert running.faults(connection) == []


def let_an_order_through(running, connection, account: str) -> None:
    """An order that leaves out a step: asked about in the UI, and let through by command."""
    drop(running, of(ordered(25.4, 1.0, "high", account=account), account))

    def order(outcome: str) -> tuple[str] | None:
        return connection.execute(
            "select t.event_id::text from ops.medication_transitions t join phi.identifiers i on i.record_id ="
            " t.patient_id where i.value = %s and t.outcome = %s",
            (account, outcome),
        ).fetchone()

    (refused,) = running.wait(lambda: order("rejected"), 60, "not refused")
    config = {
        "order_event_id": refused, "rules": ["SKIP_A_STEP_UP"], "reason": "ASSESSED_PATIENT", "role": "PROVIDER",
        "ground": "SAW_THE_PATIENT", "actor": "provider-7",
    }  # fmt: skip
    for rules, ends in ((["START_ABOVE_FIRST_STEP"], "FAILURE"), (["SKIP_A_STEP_UP"], "SUCCESS")):
        run_config = {"ops": {"let_order_through": {"config": config | {"rules": rules}}}}
        assert launch(running, "override_order", run_config) == ends
    words = ["--rule", "skip_a_step_up", "--reason", "ASSESSED_PATIENT", "--text", WORDS]
    words += ["--actor", "provider-7", "--role", "provider"]
    done = CliRunner().invoke(main, ["medication", "override", refused, *words])
    assert (done.exit_code, order("rejected")) == (0, None), done.output
    assert order("overridden") is not None


def test_what_the_clock_reached_is_charted_by_the_sensors_alone(running, monkeypatch):
    begin_lately(monkeypatch, 25.5)
    account = "canary-0900021"
    for event in (of(ordered(0, 0.25, account=account), account), of(dispensed(3, 0.25, account=account), account)):
        drop(running, event)
    with running.connect() as connection:

        def status() -> str | None:
            row = connection.execute(
                "select f.status from ops.follow_ups f join phi.identifiers i on i.record_id = f.patient_id"
                " where i.value = %s",
                (account,),
            ).fetchone()
            return row[0] if row else None

        running.wait(lambda: status() == "missed", 120, "it opened, was due and was missed days ago")


HUNTED = (
    "two_accounts_of_one_person", "two_systems_change_the_same_fields", "twins_stay_two_people", "clear_case_pen",
    "household_shares_a_phone", "names_with_apostrophes_and_accents", "flag_suicidal_thoughts",
)  # fmt: skip


def words_of_patients() -> set[str]:
    """What the people of some stories are called, where they are reached and when they were born, as they said it."""
    said: set[str] = {"Canary", "canary", "eats and drinks"}
    for story in samples():
        for file in story.files if story.name in HUNTED else ():
            data = json.loads(file.read_text("utf-8")).get("data", {})
            answers = {**data.get("answers", {}), **data.get("properties", {})}
            for name in ("legal_first", "legal_last", "preferred_name", "email", "mobile", "dob"):
                if isinstance(value := answers.get(f"demo.{name}"), str):
                    said.add(value)
            if phone := answers.get("mobilephone"):
                said.add(phone)
    phones = {word for word in said if word.startswith("+")}
    return said | {"".join(c for c in phone if c.isdigit())[-10:] for phone in phones}


def speak_of_a_patient_to_whoever_listens(running, word: str) -> None:
    """Requests that fail, with a patient in each part: what a careless program would log."""
    crm, token = running.settings.crm_access()
    hook = f"http://127.0.0.1:{running.settings.state.get('crm_hook_port')}/crm"
    for url, headers in (
        (f"{crm}/crm/v3/objects/contacts/x{word}?idProperty=email", {"Authorization": f"Bearer {token}"}),
        (f"{crm}/crm/v3/objects/contacts/{word}?idProperty={word}", {"Authorization": f"Bearer {token}"}),
        (f"{crm}/{word}", {}),
        (f"{hook}?about={word}", {"X-Signature": word, "X-Signature-Timestamp": str(int(time.time()))}),
    ):
        for method in ("GET", "POST"):
            body = word if "about" in url else json.dumps({"properties": {word: word}})
            assert requests.request(method, url, data=body, headers=headers, timeout=10).status_code >= 400


def test_no_word_of_a_patient_is_in_dagsters_storage_in_a_run_or_any_log(running, stories):
    """Everyone in the samples is a Canary: the ledger, the EHR and the CRM know them, Dagster and the logs must not."""
    for story in samples():
        if story.name in HUNTED:
            story.drop(running.road.landing)
    running.settle()
    words = words_of_patients()
    assert {"Wendell", "+13035550163", "3035550163", "wendell.71001@example.org", "1976-08-28"} <= words
    speak_of_a_patient_to_whoever_listens(running, "wendell.71001@example.org")
    # A first name is a word by itself: within another word it is nobody.
    pattern = "|".join(rf"(?<![A-Za-z0-9]){re.escape(w)}(?![a-z0-9])" if w.isalpha() else re.escape(w) for w in words)
    telltale = re.compile(pattern.replace("(?<![A-Za-z0-9])Canary", "Canary"))
    with running.connect() as connection:
        known = connection.execute("select kid, body, event_id from phi.events where status = 'charted'").fetchall()
        opened = [running.road.cipher.open(kid, bytes(body), f"events|{event_id}") for kid, body, event_id in known]
    assert sum(bool(telltale.search(body.decode())) for body in opened) > 20
    found: list[tuple[str, str]] = []
    url = running.settings.dagster_url().replace("postgresql+psycopg2", "postgresql")
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'public'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f"select t::text from {table} as t".encode())
            found += [(table, hit[0]) for (row,) in rows if (hit := telltale.search(row))]
        for (body,) in connection.execute("select snapshot_body from snapshots"):
            found += [("snapshots", hit[0]) for hit in [telltale.search(zlib.decompress(body).decode())] if hit]
    runs = running.ask(RUNS)["runsOrError"]["results"]
    jobs = {"intake", "delivery", "crm_delivery", "decide_match", "override_refill", "override_order", "__ASSET_JOB"}
    assert jobs <= {run["jobName"] for run in runs}
    for run in runs:
        if hit := telltale.search(json.dumps(run, ensure_ascii=False)):
            found.append((f"a run of {run['jobName']}", hit[0]))
    home, searched = running.settings.home, set()
    for path in home.rglob("*"):
        name = path.relative_to(home)
        is_ours = path.is_file() and name.parts[0] not in ("ehr", "landing", "archive", "postgres", "secrets")
        if is_ours and not name.match("crm/contacts.sqlite3*"):  # the CRM's own memory
            searched.add(str(name))
            text = path.read_bytes().decode(errors="replace")
            found += [(str(name), hit[0]) for hit in [telltale.search(text)] if hit]
    programs = (
        parts.POSTGRES,
        parts.EHR,
        parts.CRM,
        parts.RECEIVER,
        parts.WATCH,
        parts.CODE,
        parts.METRICS,
        parts.DAEMON,
        parts.WORKER,
        parts.WEB,
    )
    assert {str(running.stack.supervisor.log_of(p).relative_to(home)) for p in programs} <= searched
    assert found == []
