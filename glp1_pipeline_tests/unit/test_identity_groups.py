"""Records become patients: what people decided holds, what was refused stays apart, and order changes nothing."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain.identity import Decided, Edge, group

START = datetime(2026, 1, 1, tzinfo=UTC)
RECORDS = {name: START + timedelta(days=day) for day, name in enumerate("abcdef")}


def merge(survivor: str, retired: str, minute: int) -> Decided:
    return Decided("merge", survivor, retired, START + timedelta(minutes=minute), f"e{minute:03}")


def unmerge(survivor: str, restored: str, minute: int) -> Decided:
    return merge(survivor, restored, minute)._replace(action="unmerge")


def refuse(a: str, b: str, minute: int) -> Decided:
    return merge(a, b, minute)._replace(action="not_a_match")


def together(edges=(), decisions=(), contradictions=()) -> set[str]:
    """Each patient with its records, the patient first, as `a:abc`; those that are alone are left out."""
    patients = group(RECORDS, [Edge(*edge) for edge in edges], decisions, contradictions).patients
    records: dict[str, str] = {}
    for record, patient in sorted(patients.items()):
        records[patient] = records.get(patient, "") + record
    return {f"{patient}:{held}" for patient, held in records.items() if len(held) > 1}


def test_a_record_that_nobody_resembles_is_its_own_patient():
    assert group(RECORDS, [], []).patients == {record: record for record in RECORDS}


def test_edges_join_and_whom_we_heard_of_first_survives():
    assert together(["ba", "bc", "fe"]) == {"a:abc", "e:ef"}


def test_the_latest_merge_names_the_survivor():
    assert together([], [merge("c", "a", 1)]) == {"c:ac"}
    assert together(["ab"], [merge("c", "a", 1), merge("b", "c", 2)]) == {"b:abc"}


def test_unmerge_parts_what_a_merge_and_an_edge_had_joined():
    assert together(["ab"], [merge("a", "b", 1), unmerge("a", "b", 2)]) == set()


def test_unmerge_takes_back_the_latest_merge_that_held_the_two_together():
    assert together([], [merge("b", "d", 1), merge("a", "b", 2), unmerge("a", "b", 3)]) == {"b:bd"}
    assert together([], [merge("a", "c", 1), merge("c", "b", 2), unmerge("a", "b", 3)]) == {"a:ac"}


def test_a_merge_newer_than_the_refusal_wins_and_an_older_one_does_not():
    assert together([], [refuse("a", "b", 1), merge("a", "b", 2)]) == {"a:ab"}
    assert together([], [merge("a", "b", 1), refuse("a", "b", 2)]) == set()
    assert together([], [refuse("a", "b", 1), merge("a", "c", 2), merge("c", "b", 3)]) == {"c:abc"}


def test_a_merge_takes_back_the_refusal_for_good():
    decided = [refuse("a", "b", 1), merge("a", "b", 2), unmerge("a", "b", 3), merge("b", "a", 4)]
    assert together(["ab"], decided) == {"b:ab"}


def test_whoever_resembles_two_people_whom_a_person_told_apart_is_left_to_a_person():
    grouping = group(RECORDS, [Edge("a", "b"), Edge("c", "b"), Edge("a", "d")], [refuse("a", "c", 1)])
    assert grouping.patients == {**{r: r for r in RECORDS}, "d": "a"}
    assert grouping.reviews == {("a", "b"), ("b", "c")}


def test_unmerge_takes_one_record_out_of_a_patient_and_leaves_the_others_together():
    all_alike = ["ab", "ac", "ad", "bc", "bd", "cd"]
    assert together(all_alike, [unmerge("a", "d", 1)]) == {"a:abc"}
    assert together([*all_alike, "de"], [unmerge("a", "d", 1)]) == {"a:abc", "d:de"}


def test_a_pair_told_apart_does_not_part_the_others_who_are_alike():
    assert together(["ab", "ac", "ad", "bc", "bd", "cd"], [refuse("a", "d", 1)]) == {"b:bc"}


def test_a_contradiction_is_not_bridged_by_a_third_record():
    assert together(["ab", "bc"], [], [("a", "c")]) == set()
    assert together(["ab", "bc"], [merge("a", "c", 1)], [("a", "c")]) == {"a:abc"}


def test_an_edge_between_two_who_were_refused_is_not_followed():
    grouping = group(RECORDS, [Edge("b", "a")], [refuse("a", "b", 1)])
    assert grouping.patients["b"] == "b"
    assert grouping.reviews == {("a", "b")}


def test_a_merge_stays_although_its_records_are_refused_by_a_third():
    assert together(["bc"], [merge("a", "b", 1), refuse("a", "c", 2)]) == {"a:ab"}


def test_what_concerns_records_that_are_not_given_is_passed_over():
    assert together(["xa", "ab"], [merge("x", "a", 1)], [("x", "b")]) == {"a:ab"}


NAMES = st.sampled_from("abcdef")
PAIRS = st.tuples(NAMES, NAMES).filter(lambda pair: pair[0] != pair[1])
DECISIONS = st.lists(
    st.tuples(st.sampled_from(["merge", "unmerge", "not_a_match"]), PAIRS, st.integers(0, 5)), max_size=8
).map(
    lambda rows: [
        merge(*pair, minute)._replace(action=action, event_id=f"e{at}")
        for at, (action, pair, minute) in enumerate(rows)
    ]
)


@given(st.lists(PAIRS, max_size=12), DECISIONS, st.lists(PAIRS, max_size=3), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_the_same_facts_in_any_order_and_twice_end_in_the_same_patients(edges, decisions, contradictions, dice):
    before = group(RECORDS, [Edge(*e) for e in edges], decisions, contradictions)
    for shuffled in (edges := [*edges, *edges]), (decisions := [*decisions, *decisions]), contradictions:
        dice.shuffle(shuffled)
    turned = [Edge(b, a) for a, b in edges]
    records = dict(sorted(RECORDS.items(), reverse=True))
    assert group(records, turned, decisions, [(b, a) for a, b in contradictions]) == before


@given(st.lists(PAIRS, max_size=14), st.lists(PAIRS, min_size=1, max_size=3))
@settings(max_examples=400, deadline=None)
def test_no_two_who_were_refused_end_in_one_patient_by_edges(edges, refused):
    decisions = [refuse(a, b, minute) for minute, (a, b) in enumerate(refused)]
    grouping = group(RECORDS, [Edge(*e) for e in edges], decisions)
    assert all(grouping.patients[a] != grouping.patients[b] for a, b in refused)
    patients = grouping.patients
    followed = {(min(e), max(e)) for e in edges} - grouping.reviews
    assert all(patients[a] == patients[b] for a, b in followed)


@given(st.lists(PAIRS, max_size=14), DECISIONS)
@settings(max_examples=300, deadline=None)
def test_whom_a_person_parted_last_is_apart_and_whom_a_person_merged_last_is_joined(edges, decisions):
    if decisions:
        last = max(decisions, key=lambda d: (d.at, d.event_id, d))
        patients = group(RECORDS, [Edge(*e) for e in edges], decisions).patients
        assert (patients[last.a] == patients[last.b]) == (last.action == "merge")
        assert last.action != "merge" or patients[last.b] == last.a


@given(st.lists(PAIRS, max_size=14), DECISIONS)
@settings(max_examples=200, deadline=None)
def test_a_patient_is_a_record_of_its_own(edges, decisions):
    patients = group(RECORDS, [Edge(*e) for e in edges], decisions).patients
    assert all(patients[patient] == patient for patient in patients.values())
