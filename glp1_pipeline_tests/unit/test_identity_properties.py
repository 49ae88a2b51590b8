"""Whatever people type, comparing never fails, never depends on who comes first, and normalising twice is once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.contracts.identity import load_identity
from glp1_pipeline.domain.identity import Features, blocking_keys, compare, features, is_another_person
from glp1_pipeline.domain.identity.names import plain, sound

MODEL = load_identity()
LETTERS = st.text(alphabet="aeinmorst'- é", max_size=12)
ANYTHING = st.one_of(
    LETTERS,
    st.text(max_size=30),
    st.sampled_from(["", " ", "😀", "\u202e\u200b", "ﷺ", "I\u0307", "\x00", "Null", "\ud800@x\udfff.org"]),
)
DATES = st.dates().map(str) | st.sampled_from(["1984-03-12", "1984-12-03", "0000-00-00", "9999-99-99", "soon", ""])
PEOPLE = st.fixed_dictionaries(
    {},
    optional={
        "demo.legal_first": ANYTHING,
        "demo.legal_last": ANYTHING,
        "demo.preferred_name": ANYTHING,
        "demo.dob": DATES,
        "demo.sex_at_birth": st.sampled_from(["female", "male", "unknown", "", "😀"]),
        "demo.email": st.sampled_from(["a.b@gmail.com", "ab+x@googlemail.com", "@", "a@", "@b", "ab@x.org"]) | ANYTHING,
        "demo.mobile": st.sampled_from(["+12125550142", "+12125550143", "+3312345"]) | ANYTHING,
        "demo.address": st.none()
        | ANYTHING
        | st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("line1", "line2", "city", "state", "postal_code"), ANYTHING)
        ),
        "demo.state_residence": ANYTHING,
    },
)


@given(PEOPLE, PEOPLE)
@settings(max_examples=300, deadline=None)
def test_any_two_records_compare_and_either_may_come_first(one, other):
    a, b = features(MODEL, one), features(MODEL, other)
    found = compare(MODEL, a, b)
    assert found == compare(MODEL, b, a)
    assert is_another_person(a, b) == is_another_person(b, a) == ("another_person" in found.guards)


@given(PEOPLE)
@settings(max_examples=200, deadline=None)
def test_any_record_survives_being_kept_and_has_few_keys_of_64_bits(told):
    known = features(MODEL, told)
    assert Features.from_doc(known.to_doc()) == known
    keys = blocking_keys(known)
    assert len(keys) <= 8
    assert keys == tuple(sorted(set(keys)))
    assert all(-(2**63) <= key < 2**63 for key in keys)


@given(PEOPLE)
@settings(max_examples=100, deadline=None)
def test_a_record_without_names_or_birth_date_is_never_joined_not_even_with_its_copy(told):
    known = features(MODEL, told)
    if not (known.first and known.last and known.dob):
        assert compare(MODEL, known, known).outcome != "same"


@given(st.text())
def test_a_plain_name_stays_as_it_is(name):
    assert plain(plain(name)) == plain(name)
    sound(plain(name))


def test_ten_thousand_letters_are_no_burden():
    long = {
        "demo.legal_first": "é" * 10_000,
        "demo.legal_last": "Canary " * 2_000,
        "demo.email": "x" * 10_000 + "@y.org",
    }
    told = features(MODEL, long | {"demo.address": {"line1": "1 " * 10_000}, "demo.mobile": "1" * 10_000})
    assert len(str(told.to_doc())) < 3_000
    assert compare(MODEL, told, told).outcome != "same"


@given(st.text(alphabet="aZ09", max_size=90))
def test_one_plain_word_is_read_as_a_word_among_others(word):
    assert plain(word) == plain(f" {word}") == plain(f"x-{word}")[2:]
