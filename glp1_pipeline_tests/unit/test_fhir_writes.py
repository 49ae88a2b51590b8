"""Provenance, the hash that tells a change, and the transaction."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from glp1_pipeline.domain import fhir
from glp1_pipeline_tests.fhir_rules import problems

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_provenance_names_the_assembler_the_events_and_the_write():
    made = fhir.provenance("canary-1", 3, ["Patient/a"], NOON, ["event-0", "QuestionnaireResponse/q"], "abc")
    assert problems(made) == []
    assert made["meta"]["tag"] == [{"system": "urn:glp1-pipeline:write", "code": "canary-1.3"}]
    assert made["id"] == fhir.resource_id("canary-1", "Provenance/3")
    assert made["policy"] == ["urn:glp1-pipeline:contract:abc"]
    event, answers = (entity["what"] for entity in made["entity"])
    assert event["identifier"]["value"] == "event-0"
    assert answers == {"reference": "QuestionnaireResponse/q"}


def test_the_hash_does_not_see_the_order_of_keys_and_sees_every_value():
    one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    assert fhir.dump(one) == fhir.dump(other)
    assert fhir.content_hash(fhir.dump(one)) != fhir.content_hash(fhir.dump({**one, "a": 2}))
    assert len(fhir.content_hash(fhir.dump(one))) == 16


def test_a_transaction_puts_each_resource_under_its_own_id():
    flag = {"resourceType": "Flag", "id": "canary"}
    made = orjson.loads(fhir.transaction({"Flag/canary": fhir.dump(flag)}))
    assert (made["resourceType"], made["type"]) == ("Bundle", "transaction")
    assert made["entry"] == [
        {"fullUrl": "urn:uuid:canary", "resource": flag, "request": {"method": "PUT", "url": "Flag/canary"}}
    ]
