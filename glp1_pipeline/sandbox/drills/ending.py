"""How a drill may end, but for going as it must.

Not here: what a drill is (`drill`), and telling what came of it (`run`).
"""


class DrillFailed(Exception):
    """It did not go as it must; the message says what, with no value of anybody."""


class NotRun(Exception):
    """This machine cannot show it; the message says why."""
