"""Who is one person: what joins two records, what only asks a person, and what keeps them apart."""

from typing import Any

import pytest

from glp1_pipeline.contracts.identity import load_identity
from glp1_pipeline.domain.identity import Features, blocking_keys, compare, contradictions, features

MODEL = load_identity()
ANNA: dict[str, Any] = {
    "demo.legal_first": "Annabel",
    "demo.legal_last": "Canary-O'Neill",
    "demo.dob": "1984-03-12",
    "demo.sex_at_birth": "female",
    "demo.email": "annabel.canary@example.com",
    "demo.mobile": "+12125550142",
    "demo.address": {
        "line1": "48 Leslie Place",
        "line2": "Apt 2B",
        "city": "Albany",
        "state": "NY",
        "postal_code": "12207",
    },
    "demo.state_residence": "NY",
}
ELSEWHERE = {"line1": "9 Birch Road", "city": "Utica", "state": "NY", "postal_code": "13501"}


def match(one: dict[str, Any], **changes: Any):
    """Beside the same person with some fields told otherwise (`dob=...` is `demo.dob`); None: not told."""
    told = one | {f"demo.{name}": value for name, value in changes.items()}
    return compare(MODEL, features(MODEL, one), features(MODEL, {n: v for n, v in told.items() if v is not None}))


def outcome(one: dict[str, Any], **changes: Any) -> str:
    return match(one, **changes).outcome


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"legal_first": "ANNABEL", "legal_last": "canary oneill"},
        {"legal_first": "Ánnabél", "legal_last": "Canary\u2013O\u2019Neill"},
        {"legal_last": "Canary"},
        {"legal_first": "Annabel Maria"},
        {"email": "ANNABEL.CANARY+glp1@example.com", "mobile": "(212) 555-0142"},
        {"mobile": "+13155550199"},
        {"email": "new@example.com"},
        {"address": ELSEWHERE},
        {"address": None, "sex_at_birth": None},
        {"address": {"line1": "48 LESLIE PL #2B", "city": "ALBANY", "state": "NY", "postal_code": "12207-1234"}},
        {"dob": "1984-12-03"},
        {"dob": "1984-03-21"},
        {"dob": "1984-03-13"},
        {"legal_first": "Canary-O'Neill", "legal_last": "Annabel"},
    ],
)
def test_the_same_person_told_otherwise_is_joined_without_asking(changes):
    assert outcome(ANNA, **changes) == "same"


def test_a_nickname_and_a_preferred_name_are_the_first_name():
    robert = ANNA | {"demo.legal_first": "Robert", "demo.sex_at_birth": "male"}
    assert outcome(robert, legal_first="Bob") == "same"
    assert outcome(robert | {"demo.preferred_name": "Ziggy"}, legal_first="Ziggy") == "same"
    assert outcome(ANNA | {"demo.legal_first": "Guadalupe"}, legal_first="Lupita") == "same"


def test_an_obvious_typo_in_a_first_name_is_joined_where_two_contacts_agree():
    catherine = ANNA | {"demo.legal_first": "Catherine"}
    assert outcome(catherine, legal_first="Cathreine") == "same"
    assert outcome(catherine, legal_first="Cathreine", email=None, mobile=None) == "review"


@pytest.mark.parametrize("twin", ["Bianca", "Annabeth", "Anabela", "Isabel", "A", "Annabel Bella"])
def test_twins_are_never_joined_whatever_they_share(twin):
    one = ANNA | ({"demo.legal_first": "Annabel Maria"} if " " in twin else {})
    found = match(one, legal_first=twin)
    assert found.outcome != "same"
    assert "twins" in found.guards
    assert found.contradicts


@pytest.mark.parametrize(
    "names",
    [
        ("Jayden", "Kayden"),
        ("Brendan", "Brennan"),
        ("Amir", "Amira"),
        ("Maria", "Marta"),
        ("Christine", "Christopher"),
        ("Brendan", "Brandon"),
    ],
)
def test_names_of_twins_that_differ_by_a_letter_are_no_typo(names):
    assert outcome(ANNA | {"demo.legal_first": names[0]}, legal_first=names[1]) != "same"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Christian", "Christina"),
        ("Joan", "Joann"),
        ("Lisa", "Lissa"),
        ("Rene", "Renee"),
        ("Jamie", "Jaime"),
        ("Taina", "Tiana"),
    ],
)
def test_names_that_differ_in_letters_and_may_be_two_names_are_a_question_whatever_is_shared(one, other):
    found = match(ANNA | {"demo.legal_first": one, "demo.sex_at_birth": "unknown"}, legal_first=other)
    assert (found.outcome, found.guards) == ("review", ("names_alike",))
    assert not found.contradicts  # who told them apart is a person, no rule: a typing error may be as likely


@pytest.mark.parametrize("typed", ["Anabel", "Annabell", "ANNNABEL"])
def test_a_doubled_letter_is_a_slip_unless_a_contact_speaks_against_it(typed):
    assert outcome(ANNA, legal_first=typed) == "same"
    assert outcome(ANNA, legal_first=typed, email=None) == "same"
    for told in ({"email": "anabel.c@example.org"}, {"mobile": "+13155550199"}, {"address": ELSEWHERE}):
        found = match(ANNA, legal_first=typed, **told)
        assert (found.outcome, found.guards) == ("review", ("names_alike",))


@pytest.mark.parametrize("dob", ["2009-03-12", "1995-04-12", "1958-11-30"])
def test_parent_and_child_of_one_name_in_one_house_are_never_joined(dob):
    found = match(ANNA, dob=dob)
    assert found.outcome != "same"
    assert "parent_and_child" in found.guards
    assert found.contradicts


def test_junior_and_senior_are_two_people_although_all_else_agrees():
    junior, senior = ANNA | {"demo.legal_last": "Canary Jr."}, {"legal_last": "Canary Sr"}
    assert outcome(junior, **senior) == "review"
    assert match(junior, **senior).contradicts
    assert outcome(junior, legal_last="Canary") == "same"


def test_a_household_that_shares_phone_mail_and_home_is_not_even_a_question():
    assert outcome(ANNA, legal_first="Walter", dob="1979-07-30", sex_at_birth="male") == "different"
    assert outcome(ANNA, legal_first="Walter", dob=None, sex_at_birth="male") == "different"


def test_shared_contacts_alone_never_join():
    assert outcome(ANNA, legal_first=None, legal_last=None) != "same"
    assert outcome(ANNA, legal_first=None, legal_last=None, dob=None) != "same"
    assert outcome(ANNA, legal_last="Stranger") != "same"


def test_names_and_birth_date_alone_are_a_question():
    told = match(ANNA, email=None, mobile=None, address=None)
    assert (told.outcome, "uncorroborated" in told.guards) == ("review", True)
    assert outcome(ANNA, email="other@example.com", mobile="+13155550199", address=ELSEWHERE) == "review"


def test_one_thing_that_agrees_is_not_enough_where_another_speaks_against_it():
    assert "half_corroborated" in match(ANNA, mobile="+13155550199", address=ELSEWHERE).guards
    assert "half_corroborated" in match(ANNA, email=None, address=ELSEWHERE).guards


def test_without_a_birth_date_a_person_is_asked():
    found = match(ANNA, dob=None)
    assert (found.outcome, found.guards) == ("review", ("no_birth_date",))
    assert outcome(ANNA, dob="1900-01-01") == "review"


def test_another_sex_is_a_question_not_a_join():
    assert outcome(ANNA, sex_at_birth="male") == "review"
    assert outcome(ANNA, sex_at_birth="unknown") == "same"


def test_what_people_type_for_nothing_is_no_evidence():
    told = {"demo.mobile": "+15555555555", "demo.email": "none@example.com", "demo.address": {"postal_code": "00000"}}
    known = features(MODEL, told)
    assert known == Features()
    assert blocking_keys(known) == ()


def test_what_is_known_can_be_kept_as_json_and_read_back():
    known = features(MODEL, ANNA)
    assert Features.from_doc(known.to_doc()) == known
    assert Features.from_doc(known.to_doc() | {"of_another_version": "x"}) == known
    assert "called" not in known.to_doc()


def test_keys_are_the_same_on_every_machine_for_ever():
    """A change of these numbers makes every stored key worthless: it needs a migration."""
    first = features(MODEL, {"demo.legal_first": "Ada", "demo.legal_last": "Canary", "demo.dob": "1990-02-01"})
    assert blocking_keys(first) == (-7403458272985543364, 6887468648077014878)


@pytest.mark.parametrize(
    "changes",
    [
        {"dob": "1984-12-03", "email": None, "mobile": None, "address": None},
        {"legal_first": "Canary", "legal_last": "Annabel", "email": None, "mobile": None, "address": ELSEWHERE},
        {"legal_first": "Annabell", "legal_last": "Cannary", "email": None, "mobile": None, "address": None},
        {"legal_last": "Stranger", "email": None, "mobile": None, "address": None},
        {"dob": "1999-09-09", "email": None, "mobile": None},
        {"dob": "1999-09-09", "legal_first": "Q", "email": None, "mobile": None},
    ],
)
def test_one_person_is_found_again_by_at_least_one_key(changes):
    told = {n: v for n, v in (ANNA | {f"demo.{n}": v for n, v in changes.items()}).items() if v is not None}
    mine, theirs = blocking_keys(features(MODEL, ANNA)), blocking_keys(features(MODEL, told))
    assert set(mine) & set(theirs)
    assert len(mine) <= 8


def test_nobody_is_found_by_town_or_first_name_alone():
    town = {"demo.address": {"city": "Albany", "state": "NY", "postal_code": "12207"}, "demo.legal_first": "Annabel"}
    assert blocking_keys(features(MODEL, town)) == ()


def test_records_that_contradict_are_told_for_the_grouping():
    people = {
        "a": features(MODEL, ANNA),
        "b": features(MODEL, ANNA | {"demo.legal_first": "Bianca"}),
        "c": features(MODEL, ANNA | {"demo.mobile": "+13155550199"}),
    }
    assert contradictions(MODEL, people) == {("a", "b"), ("b", "c")}


def test_the_signed_model_says_more_for_a_stronger_level_and_less_for_none():
    weights = MODEL.weights
    for name, strongest in (
        ("last", "exact"),
        ("dob", "exact"),
        ("phone", "exact"),
        ("email", "exact"),
        ("address", "home"),
    ):
        own = {level: weight for level, weight in weights.items() if level.startswith(f"{name}:")}
        assert max(own, key=lambda level: own[level]) == f"{name}:{strongest}"
        assert weights[f"{name}:differs"] < 0
    assert MODEL.verify
