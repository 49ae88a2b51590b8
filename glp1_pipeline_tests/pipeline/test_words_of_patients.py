"""No word of a patient where none belongs: after all that the other tests did, and a steward's decisions in the UI."""

import json
import re
import time
import zlib

import psycopg
import pytest
import requests

from glp1_pipeline.sandbox import stack as parts
from glp1_pipeline.sandbox.samples import samples
from glp1_pipeline_tests.pipeline.test_road import drop, patient_of
from glp1_pipeline_tests.sample_inputs import clean_submission

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
    params = {
        "selector": {
            "repositoryLocationName": "glp1_pipeline", "repositoryName": "__repository__", "jobName": "decide_match",
        },
        "runConfigData": {"ops": {"decide": {"config": {**config, "dry_run": False}}}},
    }  # fmt: skip
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


HUNTED = (
    "two_accounts_of_one_person", "two_systems_change_the_same_fields", "twins_stay_two_people", "clear_case_pen",
    "household_shares_a_phone", "names_with_apostrophes_and_accents", "flag_suicidal_thoughts",
)  # fmt: skip


def words_of_patients() -> set[str]:
    """What the people of some stories are called, where they are reached and when they were born, as they said it."""
    said: set[str] = {"Canary", "canary"}
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
    assert {"intake", "delivery", "crm_delivery", "decide_match"} <= {run["jobName"] for run in runs}
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
        parts.CODE,
        parts.METRICS,
        parts.DAEMON,
        parts.WORKER,
        parts.WEB,
    )
    assert {str(running.stack.supervisor.log_of(p).relative_to(home)) for p in programs} <= searched
    assert found == []
