"""The wiring: what Dagster runs, and what the command line shares with it.

Not here: any decision (`domain`), and what speaks to a database or a server (`adapters`).
"""

import warnings

import dagster as dg

# The owners of jobs, sensors and schedules. That Dagster may change them is for whoever raises the locked version: a
# command that tells an ops lead how things stand does not begin with it.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
