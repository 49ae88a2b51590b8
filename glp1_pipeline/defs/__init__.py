"""The wiring: what Dagster runs, and what the command line shares with it.

Not here: any decision (`domain`), and what speaks to a database or a server (`adapters`).
"""

import logging
import warnings

import dagster as dg

from ..domain.failures import trace_of

# The owners of jobs, sensors and schedules. That Dagster may change them is for whoever raises the locked version: a
# command that tells an ops lead how things stand does not begin with it.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


def _without_values(record: logging.LogRecord) -> bool:
    """What an error in our code says may quote a patient: its way is told, its text only where it is one of ours."""
    if record.exc_info and record.exc_info[1]:
        record.msg, record.args = f"{record.getMessage()}\n{trace_of(record.exc_info[1])}", None
        record.exc_info = record.exc_text = None
    return True


# Dagster masks these errors in its own storage (sandbox/dagster_home.py) and writes them to the process's log in clear.
logging.getLogger("dagster.redacted_errors").addFilter(_without_values)
