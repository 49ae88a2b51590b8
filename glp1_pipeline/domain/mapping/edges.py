"""The odd things that phones, browsers and people do to an answer, each by its name.

Here: the names, where each is dealt with, and what is done. Not here: the doing. A value document carries in `edges`
the names of those that it met, so that anyone can count them; a name never tells the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class EdgeCase(NamedTuple):
    where: str
    """Module of `domain` that deals with it, or `form` or `photos`: outside of the data's path."""
    done: str


def case(where: str, done: str) -> EdgeCase:
    return EdgeCase(where, done)


EDGE_CASES: Mapping[str, EdgeCase] = MappingProxyType(
    {
        # numbers
        "height_typed_as_511": case("mapping", "Held: 511 is five foot eleven typed without its marks, or 511 cm."),
        "height_decimal_feet": case("mapping", "Held: 5.11 feet may mean five foot eleven or five foot one and a bit."),
        "inches_over_11": case("mapping", "Held: twelve or more inches beside feet is a slip of some kind."),
        "weight_unit_swap": case("mapping", "Held: the body mass index makes sense only under the other unit."),
        "stone": case("mapping", "Converted: a stone is fourteen pounds; as typed is kept."),
        "comma_decimal": case("mapping", "Converted: a comma before other than three digits is a decimal mark."),
        "non_ascii_digits": case("mapping", "Converted: every script's decimal digits count as digits."),
        "thousands_separator": case("mapping", "The one reading that a body allows is taken; two or none are held."),
        # dates
        "ambiguous_date": case("mapping", "Held: day and month could change places."),
        "two_digit_year": case("mapping", "Held: no pivot year is guessed."),
        "date_near_midnight": case(
            "mapping",
            "An instant given for a date is read in the patient's own zone. A birth date is held where the day as "
            "written is another, unless it is that zone's midnight.",
        ),
        "dst_gap": case(
            "mapping", "Held: a clock time that its zone skipped has no instant; doubled ones are held too."
        ),
        "leap_birthday": case("mapping", "Kept as it is; ages are counted by the calendar."),
        "epoch_number": case("mapping", "Held: a count of seconds or milliseconds where a date was asked."),
        "clock_skew": case("mapping", "Kept: authored over five minutes after it was received."),
        # names and text
        "apostrophe": case("identity", "Kept, straight or curly; the match key folds them."),
        "decomposed_letters": case("mapping", "Composed (NFC) for storing; the match key also drops the marks."),
        "single_name": case("mapping", "One name is enough, in any script."),
        "compound_name": case("mapping", "Kept whole: names are never split."),
        "invisible_characters": case(
            "mapping", "Outer spaces, zero-width characters and, outside of prose, marks of direction go; case stays."
        ),
        "emoji": case("mapping", "Kept, joiners included."),
        "autocorrected_medicine": case("mapping", "Kept as typed, without a class: a pharmacist reconciles it."),
        "autofill": case("identity", "Somebody else's name and birth date do not fit the account, and are reviewed."),
        # contact
        "phone_format": case("mapping", "Read as a number of the US unless it says otherwise; as typed is kept."),
        "phone_reused": case("identity", "A phone alone never makes two people one."),
        "email_case": case("mapping", "The domain in lower case, the rest as typed; plus tags and dots stay."),
        "email_typo": case("mapping", "Noted and never mended: only the patient knows."),
        # sending
        "duplicate_tap": case("events", "The same producer's id is the same event."),
        "retry_after_timeout": case("events", "The same producer's id is the same event."),
        "offline_then_online": case("mapping", "Kept: sent an hour or more after it was authored."),
        "draft": case("chart", "A draft alone never reaches a provider."),
        "hidden_answer": case("mapping", "An answer to a question that the form no longer shows does not count."),
        "resumed_across_versions": case("mapping", "A question id of another version means the same field."),
        # contradictions
        "exclusive_none": case("mapping", "Nothing and something at once: something stands, a human looks."),
        "diabetes_denied_insulin_listed": case("mapping", "Both stand as a contradiction."),
        "male_and_pregnant": case("mapping", "Both stand as a contradiction: it may be true."),
        "skipped_is_not_no": case("mapping", "A blank is `absent`, in every type, and never a no."),
        "boolean_string": case("mapping", "Spellings of yes and no are looked up; an unknown one is held."),
        # long, hostile, lost
        "very_long_text": case("mapping", "Kept whole; only a copy with a limit is cut."),
        "markup": case("mapping", "Kept as it is: escaping belongs to output."),
        "huge_photo": case("photos", "Out of the data's path: no image passes here, only its hash and type."),
        "photo_location": case("photos", "Out of the data's path: no image passes here, only its hash and type."),
        "zip_leading_zero": case("mapping", "Padded to five digits where a number input ate the zero."),
        "bin_leading_zero": case("mapping", "Padded to six digits where a number input ate the zero."),
        "po_box": case("mapping", "Noted: a cold parcel cannot go there."),
        "state_mismatch": case("mapping", "Noted on the state of the visit when home is another state."),
        # judged at another time
        "minor": case("flags", "Age is judged on the day that it matters, not here."),
        "weight_by_time_of_day": case("flags", "One reading is no trend."),
        "screen_reader": case("form", "Out of the data's path: labels are the form's to give."),
        "session_timeout": case("form", "Out of the data's path: the form saves its drafts."),
        "translated_labels": case("mapping", "Codes have no language; the spellings of several are known."),
    }
)

NOTES: Mapping[str, str] = MappingProxyType(
    {
        "unit_converted": "Given in another unit; as typed is kept.",
        "number_as_text": "A number where text was asked: a leading zero may be lost.",
        "date_free_text": "Not written as ISO, but it can be read in one way only.",
        "date_with_time": "An instant at midnight, or without a zone, given for a date: its date was taken.",
        "nul_replaced": "A NUL byte was replaced: the database cannot hold one.",
        "surrogate_replaced": "Half of a character was replaced: it cannot be encoded.",
        "html_entities": "HTML's entities, `&#39;` say, are read as the letters that they stand for.",
        "control_removed": "Control characters were removed; in a name a line break or a tab is a space.",
        "ncpdp_leading_zero": "Padded to seven digits.",
        "text_kept": "Words beside the code are kept as typed.",
        "list_from_text": "One text was read as several entries.",
        "unknown_part": "Named parts that the field does not have are only in the raw event.",
        "pounds_over_13": "Fourteen or more pounds beside stones.",
        "consent_time_from_submission": "Consent without a time: that of the submission.",
        "blank_is_not_no": "An untouched box, read as a blank: nobody said no.",
        "words_beside_no": "Words beside a no: both stand as a contradiction.",
        "unsure_beside_answers": "Not knowing or not saying in a list with entries: they stand, a human looks.",
        "unmapped_allergen": "An allergen that no table knows: its row has no `code`, a person looks.",
        "answered_twice": "The question was answered more than once, alike.",
    }
)
"""Further names that a value document's `edges` may hold."""
