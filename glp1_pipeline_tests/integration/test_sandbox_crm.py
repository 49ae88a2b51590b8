"""The sandbox CRM lets in who belongs there, and behaves as the CRM that it stands for. And our door to it tells nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.adapters.calls import CallFailure
from glp1_pipeline.adapters.crm import CrmMisconfigured, CrmSettings
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.adapters.variables import SettingsError
from glp1_pipeline.sandbox.crm.server import page_key
from glp1_pipeline_tests.crm_process import CONTACTS, TOKEN, CrmProcess


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrmProcess]:
    with CrmProcess(tmp_path_factory.mktemp("crm")) as process:
        yield process


@pytest.fixture
def browser(crm: CrmProcess) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.get(f"{crm.url}/?key={page_key(TOKEN)}", timeout=10).raise_for_status()
        yield session


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
def test_the_api_is_closed_to_whoever_has_no_token(crm: CrmProcess, header: dict[str, str]) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/search"), ("PATCH", "/1"), ("DELETE", "/1")):
        answer = requests.request(method, crm.url + CONTACTS + path, json={}, headers=header, timeout=10)
        assert answer.status_code == 401


def test_the_page_is_closed_to_whoever_has_not_its_key(crm: CrmProcess) -> None:
    contact_id = crm.add(email="shut@canary.example")
    for path in ("/", f"/contacts/{contact_id}", "/?key=guess"):
        answer = requests.get(crm.url + path, timeout=10)
        assert (answer.status_code, "canary" in answer.text) == (401, False)
    assert TOKEN not in page_key(TOKEN)


def test_another_web_page_can_neither_read_nor_write_it(crm: CrmProcess, browser: requests.Session) -> None:
    contact_id = crm.add(email="apart@canary.example")
    foreign = {"Origin": "https://elsewhere.example"}
    answer = browser.post(f"{crm.url}/contacts/{contact_id}", {"firstname": "X"}, headers=foreign, timeout=10)
    assert answer.status_code == 403
    assert browser.get(crm.url, headers={"Host": "elsewhere.example"}, timeout=10).status_code == 403


def test_a_person_who_saves_an_old_page_is_told_and_overwrites_nothing(
    crm: CrmProcess, browser: requests.Session
) -> None:
    contact_id = crm.add(email="old@canary.example", firstname="Ada")
    crm.edit(contact_id, firstname="Berta")
    answer = browser.post(
        f"{crm.url}/contacts/{contact_id}", {"version": "1", "firstname": "Cilly"}, timeout=10
    )  # fmt: skip
    assert "Not saved" in answer.text
    assert crm.ask("GET", f"/{contact_id}")["properties"]["firstname"] == "Berta"


def test_a_script_in_a_name_is_only_text_on_the_page(crm: CrmProcess, browser: requests.Session) -> None:
    contact_id = crm.add(email="script@canary.example", firstname='"><script>alert(1)</script>')
    for path in ("/", f"/contacts/{contact_id}"):
        assert "<script" not in browser.get(crm.url + path, timeout=10).text


def test_a_batch_is_done_whole_or_not_at_all(crm: CrmProcess) -> None:
    crm.add(email="taken@canary.example")
    before = len(crm.contacts())
    inputs = [
        {"id": "new-key", "idProperty": "glp1_patient_id", "properties": {"firstname": "New"}},
        {"id": "other-key", "idProperty": "glp1_patient_id", "properties": {"email": "Taken@canary.example"}},
    ]
    with pytest.raises(requests.HTTPError, match="409"):
        crm.ask("POST", "/batch/upsert", {"inputs": inputs})
    assert len(crm.contacts()) == before
    done = crm.ask("POST", "/batch/upsert", {"inputs": inputs[:1]})
    assert [one["new"] for one in done["results"]] == [True]


@pytest.mark.parametrize(
    "body", [{}, {"properties": []}, {"properties": {"firstname": 7}}, {"properties": {"hs_object_id": "1"}}]
)
def test_a_body_of_another_shape_is_refused(crm: CrmProcess, body: dict) -> None:
    with pytest.raises(requests.HTTPError, match="400"):
        crm.ask("POST", "", body)


def test_a_failed_call_says_neither_the_address_nor_a_value(crm: CrmProcess) -> None:
    crm.add(email="secret@canary.example")
    with pytest.raises(CallFailure) as caught:
        crm.door().create({"email": "secret@canary.example"})
    assert str(caught.value) == "CRM: moved (409)"
    assert caught.value.__cause__ is None
    with pytest.raises(CallFailure) as caught:
        crm.door(max_response_bytes=10).get("secret@canary.example", ["email"], id_property="email")
    assert str(caught.value) == "CRM: rubbish (200)"


def test_the_crms_address_must_be_one_that_nobody_reads_on_the_way() -> None:
    with pytest.raises(CrmMisconfigured, match="https"):
        CrmSettings("http://crm.example", "t")
    assert "t0ken" not in repr(CrmSettings("https://crm.example", "t0ken"))


def test_a_crm_without_its_token_or_a_token_without_its_crm_is_said(tmp_path: Path) -> None:
    for name in ("GLP1_CRM_URL", "GLP1_CRM_TOKEN"):
        with pytest.raises(SettingsError, match="go together"):
            Settings.from_env({"GLP1_HOME": str(tmp_path), name: "https://crm.example"})
    other = Settings.from_env(
        {"GLP1_HOME": str(tmp_path), "GLP1_CRM_URL": "https://crm.example/", "GLP1_CRM_TOKEN": "t0ken"}
    )
    assert other.crm_access() == ("https://crm.example", "t0ken")
    assert "t0ken" not in repr(other)
    with pytest.raises(SettingsError, match="GLP1_CRM_WEBHOOK_SECRET"):
        other.crm_hook_secret()
    with pytest.raises(SettingsError, match="glp1 up"):
        Settings.from_env({"GLP1_HOME": str(tmp_path)}).crm_access()


def test_a_person_finds_a_contact_by_part_of_a_name_and_sees_that_an_edit_is_saved(
    crm: CrmProcess, browser: requests.Session
) -> None:
    wanted = crm.add(email="found@canary.example", firstname="Wilhelmina")
    crm.add(email="other@canary.example", firstname="Ottilie")
    page = browser.get(f"{crm.url}/?q=hELmi", timeout=10).text
    assert f"/contacts/{wanted}" in page
    assert "other@canary.example" not in page
    assert "No contact is like that" in browser.get(f"{crm.url}/?q=%25", timeout=10).text
    saved = browser.post(
        f"{crm.url}/contacts/{wanted}", {"version": "1", "mobilephone": "+15125550100"}, timeout=10
    ).text
    assert "Saved." in saved
    assert "+15125550100" in saved


def search(crm: CrmProcess, body: object) -> int:
    """Its status; a body that is no bytes goes as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return requests.post(f"{crm.url}{CONTACTS}/search", data=content, headers=headers, timeout=10).status_code


def asks(**one: object) -> dict:
    return {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "EQ", "value": "x", **one}]}]}


@pytest.mark.parametrize(
    "body",
    [
        asks(propertyName="hs_object_id", operator="GT", value="9" * 30),
        asks(propertyName="hs_object_id", operator="GT", value="9" * 5000),
        asks(propertyName="lastmodifieddate", value="١٢"),
        asks(value="\ud800"),
        asks(propertyName='a"b'),
        asks(propertyName=["email"]),
        asks(propertyName={}),
        asks(operator=["EQ"]),
        asks(operator="IN", values=["x"] * 50_000),
        {"filterGroups": [{"filters": asks()["filterGroups"][0]["filters"] * 2000}]},
        {"filterGroups": None},
        {"sorts": [{"propertyName": {}}]},
        {"sorts": ['a"b']},
        {"properties": [{}]},
        {"properties": ["email", 7]},
        {"limit": []},
        b"\xff",
    ],
)
def test_an_odd_search_is_refused(crm: CrmProcess, body: object) -> None:
    assert search(crm, body) == 400
    assert search(crm, {"properties": 7}) == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=()), max_size=4)
    | st.sampled_from(["EQ", "GT", "IN", "CONTAINS_TOKEN", "email", "hs_object_id", "9" * 30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "filterGroups": st.lists(
                st.fixed_dictionaries(
                    {
                        "filters": st.lists(
                            st.fixed_dictionaries({"propertyName": JSON, "operator": JSON, "value": JSON})
                        )
                    }
                ),
                max_size=2,
            )
            | JSON,
            "sorts": JSON,
            "properties": JSON,
            "limit": JSON,
            "after": JSON,
        },
    )
)
def test_no_search_is_a_fault_of_the_server(crm: CrmProcess, body: dict) -> None:
    assert search(crm, body) in (200, 400)


def test_odd_letters_in_a_key_a_cookie_a_form_or_a_property_are_refused(
    crm: CrmProcess, browser: requests.Session
) -> None:
    contact_id = crm.add(email="odd@canary.example")
    assert requests.get(f"{crm.url}/?key=é", timeout=10).status_code == 401
    assert requests.get(f"{crm.url}/", headers={"Cookie": b"sandbox_crm=\xc3\xa9"}, timeout=10).status_code == 401
    assert requests.get(f"{crm.url}/", headers={"Host": "["}, timeout=10).status_code == 403
    assert requests.get(f"{crm.url}/", headers={"Host": "é"}, timeout=10).status_code in (400, 403)
    assert browser.post(f"{crm.url}/contacts/{contact_id}", data=b"firstname=\xff", timeout=10).status_code == 400
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for method, path in (("POST", ""), ("PATCH", f"/{contact_id}")):
        answer = requests.request(
            method, crm.url + CONTACTS + path, json={"properties": {"firstname": "\ud800"}}, headers=headers, timeout=10
        )
        assert answer.status_code == 400
    answer = requests.get(f"{crm.url}{CONTACTS}?limit=0", headers=headers, timeout=10)
    assert (answer.status_code, len(answer.json()["results"])) == (200, 1)
    assert requests.get(crm.url + CONTACTS, headers={"Authorization": "Bearer é"}, timeout=10).status_code == 401
