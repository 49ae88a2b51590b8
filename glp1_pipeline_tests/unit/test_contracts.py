"""The contract files agree, and a fault in them is told with its place and its cure."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from glp1_pipeline.contracts import HERE, ContractError, load
from glp1_pipeline.domain.contract import STAGES, Contract, Program, fold
from glp1_pipeline.domain.declared import kept

Break = Callable[[str, str, str], ContractError]
"""Load after replacing one text in one file."""


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load()


@pytest.fixture
def broken(tmp_path: Path) -> Break:
    def replace(file: str, before: str, after: str) -> ContractError:
        folder = tmp_path / "contracts"
        shutil.copytree(HERE, folder)
        text = (folder / file).read_text()
        assert before in text
        (folder / file).write_text(text.replace(before, after, 1))
        with pytest.raises(ContractError) as caught:
            load(folder)
        return caught.value

    return replace


def test_all_86_fields_of_the_intake_are_declared(contract: Contract) -> None:
    assert sum(field.form == "intake" for field in contract.fields.values()) == 86


def test_what_is_worked_out_of_a_declaration_is_worked_out_once_and_for_no_other(contract: Contract) -> None:
    built = []

    @kept
    def turn(program: Program) -> int:
        built.append(program)
        return len(built)

    one, its_like = contract.program, contract.program.model_copy()
    assert [turn(one), turn(one), turn(its_like), turn(one)] == [1, 1, 2, 1]


def test_every_field_has_an_owner_in_every_stage_and_a_conflict_rule(contract: Contract) -> None:
    for field in contract.fields.values():
        assert set(field.owner) == set(STAGES)
        assert all(field.owner.values())
        assert field.conflict


def test_every_record_is_in_a_field_or_says_where_else_it_is(contract: Contract) -> None:
    used = {field.owned_as for field in contract.fields.values()}
    beside = {contract.ownership[name].verified for name in used} - {""}
    assert len(beside) == 5
    told = {name for name, record in contract.ownership.items() if record.kept_in}
    assert told | used | beside == contract.ownership.keys()
    assert not told & (used | beside)


def test_all_62_flags_are_declared_and_say_where_their_input_comes_from(contract: Contract) -> None:
    assert len(contract.flags) == 62
    assert {flag.input for flag in contract.flags.values()} >= {"intake", "labs", "followup", "identity"}


def test_each_version_asks_what_the_one_before_asked_and_more(contract: Contract) -> None:
    one, two, three = (contract.asked[version] for version in contract.form_versions)
    assert one < two < three
    assert "hx.eating_disorder" in three - two


def test_nobody_is_held_for_a_question_that_their_form_never_asked(contract: Contract) -> None:
    for need in contract.gates["clinical-minimum"].requirements:
        for name in need.fields:
            if name in contract.fields and need.need == "all":
                assert contract.fields[name].since <= need.since


def test_the_gate_asks_every_red_question_for_a_yes_or_a_no(contract: Contract) -> None:
    red = {n: r for r in contract.gates["clinical-minimum"].requirements if r.high_risk for n in r.fields}
    assert len(red) == 16
    reproductive = {"preg.status", "preg.breastfeeding"}
    assert {name for name, need in red.items() if need.accept != ("value",)} == {"hx.mtc_family"} | reproductive
    assert {red[name].accept for name in reproductive} == {("value", "not_applicable")}


def test_every_code_set_knows_its_own_codes_as_spellings(contract: Contract) -> None:
    for spellings in contract.codes.values():
        for code in spellings.values():
            if code.set != "email_domain_typos":
                assert spellings[fold(code.code)].code == code.code


def test_every_state_with_dc_is_served_until_counsel_says_otherwise(contract: Contract) -> None:
    assert len(contract.states_served) == 51
    assert "DC" in contract.states_served
    assert "PR" not in contract.states_served


def test_unconfirmed_terminology_is_marked(contract: Contract) -> None:
    marked = {code.code for code in contract.codes["comorbidities"].values() if code.verify}
    assert marked == {"masld", "pcos", "oa", "asthma", "copd"}


def test_the_chart_write_is_given_up_after_a_day(contract: Contract) -> None:
    write = contract.writes["ehr_chart"]
    assert (write.max_tries, write.first_retry_seconds, write.max_retry_seconds) == (50, 2, 900)
    assert (write.give_up_after_hours, write.max_in_flight, write.max_conditional_entries) == (24, 4, None)


def test_every_dose_ladder_belongs_to_a_product(contract: Contract) -> None:
    assert contract.dose_ladders.keys() <= contract.products.keys()
    assert [step["dose"] for step in contract.dose_ladders["wegovy_inj"]] == ["0.25", "0.5", "1.0", "1.7", "2.4"]


def test_the_version_is_the_content(contract: Contract, tmp_path: Path) -> None:
    assert re.fullmatch("[0-9a-f]{12}", contract.version)
    assert load().version == contract.version
    folder = tmp_path / "contracts"
    shutil.copytree(HERE, folder)
    (folder / "codes.csv").write_text((folder / "codes.csv").read_text() + "goals,feel lighter,health_risk,,,,\n")
    assert load(folder).version != contract.version


def test_a_typo_in_a_key_names_file_and_line(broken: Break) -> None:
    (fault,) = broken("fields/vitals.yaml", "    unit: cm", "    unti: cm").faults
    assert (fault.file, fault.what) == (
        "fields/vitals.yaml",
        "field `anthro.height`, `unti`: extra inputs are not permitted",
    )
    assert fault.line == 10


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("fields/vitals.yaml", "codes: height_units", "codes: hight_units", "code set `hight_units`"),
        ("fields/vitals.yaml", 'loinc: "8867-4"', "loinc:", "field `vitals.hr` is an Observation and has no code"),
        ("fields/vitals.yaml", "owned_as: height_patient_reported", "owned_as: nothing", "no row of ownership.csv"),
        (
            "fields/vitals.yaml",
            '"1.0.0": weight_lbs',
            '"1.0.0": height',
            "question `height` of version 1.0.0 means both",
        ),
        ("fields/vitals.yaml", '"1.0.0": weight_lbs', '"1.5.0": weight_lbs', "form version `1.5.0`"),
        ("fields/vitals.yaml", '"1.0.0": "[lb_av]"', '"1.0.0": "lbs"', "fixes unit `lbs`"),
        ("fields/medicines.yaml", "[never]", "[nevr]", "an answer that `med.glp1_history` cannot have"),
        ("fields/consent.yaml", "  consent.sms:", "  consent.marketing:", "is given twice"),
        ("fields/lead.yaml", "fields:", "fields: []\nmore:", "`fields` is not a mapping"),
        ("codes.csv", "yes_no,y,yes", "yes_no,no,yes", "declared twice"),
        ("codes.csv", "yes_no,y,yes", "yes_no,y", "6 cells, 7 expected"),
        ("codes.csv", "null_answers,unsure,unknown", "null_answers,unsure,dunno", "`dunno` is no kind of null"),
        ("gates.yaml", "fields: [hx.men2]", "fields: [hx.men3]", "`hx.men3` is no field"),
        ("gates.yaml", "when: has_diabetes", "when: has_diabetis", "rule `has_diabetis` is not known"),
        ("gates.yaml", 'since: "3.0.0"', 'since: "2.0.0"', "is asked since 3.0.0, required since 2.0.0"),
        ("gates.yaml", "values: [verified, manual]", "values: [yes]", "see domain/contract.py"),
        ("gates.yaml", "values: [given]", "values: [granted]", "cannot have these values"),
        ("flags.csv", "MEN2,Multiple", "MTC_FAMILY,Multiple", "declared twice"),
        ("flags.csv", "61808009|61530001,inexact", "61808009|61530001,equivalent", "not just one code"),
        ("flags.csv", "licensure-recheck", "license-recheck", "which is not in tasks.csv"),
        ("flags.csv", "R22.1,COND,yes,provider,urgent-safety-review", "R22.1,COND,yes,provider,", "is nobody's work"),
        ("history.csv", "hx.kidney,dialysis,", "hx.kidney,dialisys,", "`hx.kidney dialisys` cannot be given"),
        ("history.csv", "hx.kidney,dialysis,", "hx.kidney,dialisys,", "`dialysis` of `hx.kidney` has no row"),
        ("history.csv", "hx.men2,yes", "hx.men3,yes", "is of no field"),
        ("history.csv", "hx.mtc_family,yes", "hx.mtc_family,no", "answer `yes` of `hx.mtc_family` is missing"),
        ("history.csv", "hx.men2,yes,Condition,active", "hx.men2,yes,Condition,", "exactly if it is a Condition"),
        ("history.csv", "active,past,Thoughts", "active,gone,Thoughts", "is over as what cannot be answered"),
        ("history.csv", ",t2dm,", ",t3dm,", "is the same as no comorbidity"),
        ("history.csv", "PREGNANT", "EXPECTING", "names `EXPECTING`, which is no flag"),
        ("medicine_groups.csv", "prokinetic,,", "prokinetics,,", "group `prokinetic` is missing"),
        ("medicine_groups.csv", "reglan", "Reglan", "letters in lower case"),
        (
            "medicine_groups.csv",
            ",levothyroxine,words",
            ",levothyroxin,words",
            "a class that is not in set `medicines`",
        ),
        ("ownership.csv", ",immutable,", ",frozen,", "conflict"),
        ("ownership.csv", "email,yes,crm,intake", "email,yes,crm ehr,intake", "one owner in stage lead"),
        ("ownership.csv", "email,yes,crm,intake", "email,yes,crm,", "one owner in stage intake"),
        ("ownership.csv", "comes with labs", "", "is in no field, and does not say where it is"),
        ("ownership.csv", "resolve-identity", "resolve-identty", "makes task `resolve-identty`"),
        ("ownership.csv", "height_verified,,,", "height_verifed,,,", "which is no record"),
        ("ownership.csv", "failed pending ? manual verified", "", "has no order, and its rule needs one"),
        ("ownership.csv", "failed pending", "failed failed", "a code twice"),
        ("dose_ladders.csv", "wegovy_hd,", "wegovy_xl,", "product `wegovy_xl` is not in products.csv"),
        ("program.yaml", "AL,", "AL, ZZ,", "state `ZZ`"),
        ("program.yaml", "age_min: 18", "age_min: eighteen", "valid integer"),
        ("form.yaml", '"3.0.0"', '"three"', "match pattern"),
        ("tasks.csv", "code,purpose", "code,porpoise", "the columns are not the expected ones"),
        ("writes.yaml", "  target: ehr", "  target: ehr\n  target: crm", "is given twice"),
    ],
)
def test_a_contract_that_does_not_agree_says_what_to_mend(
    broken: Break, file: str, before: str, after: str, told: str
) -> None:
    faults = broken(file, before, after).faults
    assert any(told in str(fault) for fault in faults), [str(fault) for fault in faults]
    assert all(fault.mend for fault in faults)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "contracts"
    shutil.copytree(HERE, folder)
    (folder / "tasks.csv").unlink()
    (folder / "form.yaml").write_text("form_id: [\n")
    with pytest.raises(ContractError) as caught:
        load(folder)
    assert {fault.file for fault in caught.value.faults} >= {"tasks.csv", "form.yaml"}


def test_no_question_spells_a_no_as_an_untouched_box(contract: Contract) -> None:
    boxes = contract.codes["unticked_boxes"].keys()
    for field in contract.fields.values():
        table = contract.codes[field.codes] if field.codes and field.type in ("code", "codes") else {}
        assert not {table[box].code for box in boxes & table.keys()} & {"no", "none", "never"}, field.name


def test_a_rule_that_holds_a_request_has_a_severity_and_one_that_only_adds_has_none(broken: Break) -> None:
    told = str(broken("refills.yaml", "    severity: low\n", ""))
    assert "rule `administrative` has a severity if it holds a request, and else none" in told


def test_what_a_rule_proposes_has_words_that_a_person_reads(broken: Break) -> None:
    told = str(broken("proposals.csv", "restart_low,", "restart_high,"))
    assert "proposals.csv:1: nothing says what `restart_low` proposes" in told
