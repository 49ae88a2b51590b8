"""`glp1 conflicts` on the road itself: a provider edits in the EHR, we change the same, and a person decides."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import requests
from click.testing import CliRunner

from glp1_pipeline import cli
from glp1_pipeline.adapters.charts import attend_disputes
from glp1_pipeline.adapters.crm import Crm, CrmSettings
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings
from glp1_pipeline.adapters.outbox import DeliveryReport, deliver_pending
from glp1_pipeline.cli import mend, prove, telling
from glp1_pipeline.domain.outbox import keys_of
from glp1_pipeline_tests.deliveries import get, write_kind
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import SmallRoad, amendment, connect, migrated_database, small_road, submission

from .conftest import EhrProcess

WHO = ("--actor", "steward-7", "--reason", "compared with the chart")


def glp1(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli.main, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def deliver(road: SmallRoad, ehr: Ehr) -> DeliveryReport:
    done = deliver_pending(lambda: connect(road.url), ehr, write_kind("ehr"), road.cipher.open)
    attend_disputes(road.connection, road.contract, road.cipher)
    return done


def test_a_person_lists_a_conflict_and_decides_it_and_replays_stay_without_effect(
    ehr: EhrProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Ehr(EhrSettings(ehr.url))
    with small_road(migrated_database(), tmp_path) as road:
        door = SimpleNamespace(
            connect=lambda name: connect(road.url, name),
            contract=road.contract,
            cipher=road.cipher,
            ehr=client,
            settings=SimpleNamespace(home=tmp_path),
        )
        for module in (mend, prove, telling):
            monkeypatch.setattr(module, "open_road", lambda: door)
        first = submission(1)
        road.send(first)
        assert deliver(road, client).delivered == 1
        assert glp1("conflicts") == {"conflicts": []}

        road.send(amendment(first, 1, {"anthro.weight": 111, "anthro.weight_unit": "kg"}))
        ((write_id, patient_id, kid, body),) = road.rows(
            "select write_id, w.patient_id::text, kid, body from ops.writes w join phi.write_bodies using (write_id)"
            " where n = 2"
        )
        ours = keys_of(orjson.loads(road.cipher.open(kid, bytes(body), f"writes|{write_id}")))
        key = min(k for k in ours if k.startswith("Observation/"))
        theirs = {**get(f"{ehr.url}/{key}"), "note": [{"text": "measured again by the provider"}]}
        requests.put(f"{ehr.url}/{key}", json=theirs, timeout=10).raise_for_status()
        assert dict(deliver(road, client).outcomes) == {"conflict": 1}

        (listed,) = glp1("conflicts")["conflicts"]
        assert (listed["patient_id"], listed["key"], listed["reason"]) == (patient_id, key, "edited_in_ehr")
        assert glp1("status")["conflicts"] == {"edited_in_ehr": 1}
        told = glp1("why", patient_id)
        assert [c["resource"] for c in told["conflicts"]] == [key]
        asked = [t for t in told["tasks"] if t["task"] == "resolve-edit-conflict"]
        assert [(t["cause"], t["owner"]) for t in asked] == [(f"edited_in_ehr:{key.replace('/', ':')}", "data-steward")]
        assert [w["status"] for w in told["writes"]] == ["ready"]  # the task, for those who work in the EHR
        assert dict(deliver(road, client).outcomes) == {"delivered": 1}
        assert "ours is not sent" in CliRunner().invoke(cli.main, ["why", patient_id]).output
        reconciled = glp1("reconcile")
        assert reconciled["ehr"]["edited_there"] == 1
        assert reconciled["holds"]
        assert road.replay().writes == 0  # a replay is no decision
        assert CliRunner().invoke(cli.main, ["conflicts", "--keep-theirs", patient_id, "Flag/no", *WHO]).exit_code == 1
        nobody = CliRunner().invoke(cli.main, ["conflicts", "--keep-theirs", patient_id, key])
        assert (nobody.exit_code, "says who wanted it" in nobody.output) == (2, True)
        assert not (tmp_path / "audit.ndjson").exists()

        assert glp1("conflicts", "--keep-theirs", patient_id, key, *WHO) == {"decision": "theirs", "new_writes": 0}
        assert glp1("status")["conflicts"] == {}
        assert not [t for t in glp1("why", patient_id)["tasks"] if t["task"] == "resolve-edit-conflict"]
        assert dict(deliver(road, client).outcomes) == {"delivered": 1}  # the task, done
        assert glp1("reconcile")["holds"]
        assert road.replay().writes == 0
        assert "note" in get(f"{ehr.url}/{key}")

        assert glp1("conflicts", "--send-ours", patient_id, key, *WHO) == {"decision": "ours", "new_writes": 1}
        assert dict(deliver(road, client).outcomes) == {"delivered": 1}
        assert "note" not in get(f"{ehr.url}/{key}")
        assert glp1("conflicts") == {"conflicts": []}
        assert road.replay().writes == 0
        reconciled = glp1("reconcile")
        assert (reconciled["ehr"]["edited_there"], reconciled["holds"]) == (0, True)
        second = {**get(f"{ehr.url}/{key}"), "id": "a-second-copy"}
        requests.put(f"{ehr.url}/Observation/a-second-copy", json=second, timeout=10).raise_for_status()
        asked = CliRunner().invoke(cli.main, ["reconcile", "--json"])
        assert (asked.exit_code, json.loads(asked.stdout)["ehr"]["extra"]) == (1, 1)
        assert "1 unknown here" in CliRunner().invoke(cli.main, ["reconcile"]).output
        kept = [json.loads(line) for line in (tmp_path / "audit.ndjson").read_text().splitlines()]
        assert [(line["actor"], line["patient"], line["resource"], line["decision"]) for line in kept] == [
            ("steward-7", patient_id, key, "theirs"),
            ("steward-7", patient_id, key, "ours"),
        ]
    client.close()


def test_an_ehr_that_does_not_answer_is_said_in_a_sentence_and_the_ledger_can_be_proven_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_road(migrated_database(), tmp_path) as road:
        road.send(submission(1))
        away = Ehr(EhrSettings("http://127.0.0.1:9/fhir"))
        crm = Crm(CrmSettings("http://127.0.0.1:9", "a token"))
        door = SimpleNamespace(
            connect=lambda name: connect(road.url, name), contract=contract(), cipher=road.cipher, ehr=away, crm=crm
        )
        monkeypatch.setattr(prove, "open_road", lambda: door)
        asked = CliRunner().invoke(cli.main, ["reconcile", "--json"])
        assert (asked.exit_code, asked.stdout) == (1, "")
        assert "the EHR does not tell" in asked.output
        assert "--no-ehr" in asked.output
        assert "the CRM does not tell" in CliRunner().invoke(cli.main, ["reconcile", "--no-ehr"]).output
        assert glp1("reconcile", "--no-ehr", "--no-crm")["holds"]
