"""How people tell, in a list of what they take, that they do not take it: no more, not yet, or not at all.

Here: the words, in English and Spanish, and the parts of a row that say it. Not here: what follows (`rows`), and a text
that begins with a no (also there). None of these words decides what is taken: a person reads the answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ..contract import fold

HABIT = r"(?! (?:smoking|drinking|vaping|alcohol|tobacco|nicotine|de (?:fumar|beber)))"
HOW = (
    r"(?! (?:it |them |this )?(?:with|on|at|in|for|after|before|if|when|unless|until|while|more|over|longer|together|"
    r"daily|every|often|regularly)\b)"
)
"""`not taken with food` says how it is taken."""
MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|ene|abr|ago|dic)[a-z]*"
TOOK = r"took(?!.* (?:this|today|yesterday|daily|every|last (?:dose|night|shot|week)|\w+day)\b)"
WORDS = (
    # no more
    rf"(?<!until )(?<!never )stopped{HABIT}",
    rf"(?<!to )(?<!me )quit{HABIT}",
    rf"gave up{HABIT}",
    r"discontinued|d/c'?e?d?|dc'?e?d|ceased|ended|ran out|paused|on (?:hold|pause)",
    r"(?:^|i |i've |just |have |already )finished",
    r"(?:came|come|went|gone|been|got|taken|weaned|tapered|now|currently|am|i'm|me) off(?![ -](?:and|brand|label))",
    r"^off(?![ -](?:and|brand|label))",
    rf"(?:until|till?|hasta) (?:last|20\d\d|(?:early |late |mid |fin de )?{MONTH})",
    r"no longer(?! than)|any ?more(?! than)",
    # not at all, and not yet
    rf"(?:not|never)(?: currently| now| really| presently| yet| been)? (?:taking|taken?|took|us(?:ing|ed)|tried){HOW}",
    r"(?:not|never)(?: currently| now| yet| been)? on(?! (?:an?|time)\b)|not currently",
    rf"(?:do not|don'?t|did not|didn'?t)(?: currently| really)? (?:take|use|need){HOW}",
    r"(?:not|never|haven'?t|hadn'?t)(?: yet)? (?:been|taken|used|started|had)",
    r"(?:will|going to|gonna|about to|plan(?:ning)? (?:to|on))(?: be)? (?:start|begin|tak|try|us|get)\w*",
    r"want|would like|hop(?:e|ing) to|interested in",
    # in the past
    r"used? to (?:be|take|inject|use|have|get|do)",
    r"(?:was|were|had been) (?:previously |once |only |briefly )?(?:on|taking|using)",
    r"(?:^|had |i |i've |have )(?:previously |once |briefly )?tried",
    rf"^(?:i )?(?:once |previously )?{TOOK}",
    r"formerly|previously(?! \d)|in the past|^(?:past|former|previous|prior(?! auth))",
    # the same in Spanish
    rf"dej(?:[eéo]|ado){HABIT}",
    r"suspend(?:[ií]|id[oa]s?)|descontinu(?:é|ad[oa])|par[eé] de|abandon[eé]",
    r"me (?:l[oa]s? )?quit(?:[eé]|aron)|se me acab\w+",
    r"ya no|no (?:l[oa]s? )?(?:tomo|uso|me inyecto|estoy (?:tomando|usando)|he)",
    r"tomaba|usaba|tomé|usé|me inyectaba|estaba (?:tomando|usando|en)|sol[ií]a (?:tomar|usar)",
    r"anteriormente|previamente|en el pasado|quiero|quisiera|(?:voy a|pienso) (?:empezar|comenzar|tomar|probar|usar)",
)
SAID = re.compile(rf"(?<!\w)(?:{'|'.join(WORDS)})(?!\w)")
BRIEFLY = re.compile(
    r"(?<!\w)(?:(?<!until )stopped|discontinued|d/c'?e?d|no longer(?! than)|not (?:currently )?taking|on hold|paused|"
    r"ya no|suspendid[oa]|dejé)(?!\w)"
)
"""The same in a dose or a remark, where instructions stand as well: `do not use more than twice` denies nothing."""
STATES = frozenset(("inactive", "past", "former", "stopped", "ended", "completed", "finished", "not-taken", "on-hold"))
"""Of a row, as forms and FHIR call them."""
END = re.compile(r"(?:stop(?:ped)?|end(?:ed|s)?|discontinued)(?:[_ -]?(?:on|at|date))?|inactive|past", re.IGNORECASE)
GOES_ON = re.compile(r"(?:is|still|currently)?[_ -]?(?:active|current|taking|still|takes)(?:ly)?", re.IGNORECASE)
NO = ("no", "n", "false", "0")


def said(text: str) -> bool:
    """Whether somebody tells so in a text, of whatever medicine."""
    return SAID.search(fold(text)) is not None


def told(row: Any, name: str, own: Collection[str], today: str) -> bool:
    """Whether a raw row tells so in its name or in some other part. `own`: the parts that the field has. A part of
    another name counts by that name: `{"name": ..., "stopped": true}`, or an end that is not after `today`."""
    if said(name):
        return True
    for key, part in row.items() if isinstance(row, dict) else ():
        words = fold(part) if isinstance(part, str) else ""
        if BRIEFLY.search(words) or words.replace("_", "-") in STATES:
            return True
        if key in own or part in (None, "", [], {}):
            continue
        is_no = part is False or words in NO
        if (is_no and GOES_ON.fullmatch(str(key))) or (not is_no and END.fullmatch(str(key)) and words[:10] <= today):
            return True
    return False
