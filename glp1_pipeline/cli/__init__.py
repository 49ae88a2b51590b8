"""The command line `glp1`: thin, the same functions that the assets call.

Here: the group, and which commands it has. Not here: any decision. Imports are inside the commands, so that `--help`
and a quick question cost no more than they need.
"""

from __future__ import annotations

import sys

import click

from . import (
    alerts,
    backup,
    crm,
    downtime,
    drift,
    drill,
    followup,
    health,
    history,
    keys,
    look,
    mapping,
    match,
    medication,
    mend,
    program,
    prove,
    prune,
    refill,
    replay,
    rollback,
    settle,
    start,
    tasks,
    telling,
    trace,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Carries the clinical data of a GLP-1 telehealth program: intake to chart to queue to EHR, once and in order.

    \b
    Begin with    glp1 demo            everything on this machine, with samples; glp1 up: without
                  glp1 drop FILE       put files into the landing zone
    Look          glp1 health          what is green, amber or red, whose it is, and what to do next
                  glp1 status          how the whole stands, in counts
                  glp1 events          what was quarantined, where and why
                  glp1 why PATIENT     what one patient waits for, since when, and whose it is
                  glp1 history         who said what of a patient, when, on whose word; of a field its values
                  glp1 tasks           the work of a queue: of whom, since when, until when
                  glp1 medication      treatments: where they stand, what was refused, where sources disagree
                  glp1 followup        check-ins before a refill: open, due, missed
                  glp1 refill          requests: what waits, what each decision rests on, overrides, other rules
                  glp1 trace EVENT     the whole journey of one event; glp1 metrics: those of all in numbers
                  glp1 crm             the contacts in the CRM: what waits, what is in conflict
                  glp1 drift           which system wrote against the owner of which field
    Prove         glp1 reconcile       nothing lost, nothing doubled, the EHR and the CRM read back
                  glp1 fingerprint     a hash of all state, which no replay changes
                  glp1 program         an invented program of a year, checked story by story
    Mend          glp1 replay          compute events again after a correction
                  glp1 rollback        take back what was written to the EHR by mistake
                  glp1 match           who may be the same person, and decisions about it
                  glp1 conflicts       what somebody changed in the EHR against us
                  glp1 settle          decide a disputed field
    Be called     glp1 alerts          what is wrong for too long, who is at it, how soon it is mended
    On paper      glp1 downtime        the worklist before the system is down, and what was done by hand after it
    Keep small    glp1 prune           what nothing needs any more goes; the job maintenance does it each night
    Trust         glp1 mapping check   how much of a folder of submissions maps by itself
                  glp1 dictionary      every field, code, flag and task that the contract declares
    Survive       glp1 backup          make, check, put back; glp1 keys: a new key, a new password
                  glp1 drill           break something on purpose, and see that nothing is lost

    Settings come from GLP1_* variables; without any, everything runs embedded in the folder .glp1 of the project.
    """
    sys.excepthook = telling.say_fault


for command in (
    start.up, start.demo_command, start.drop, health.health, look.status, look.events, look.why, history.history,
    tasks.tasks, trace.trace, trace.metrics, prove.reconcile, prove.fingerprint,
    replay.replay, rollback.rollback, mend.conflicts, match.match, settle.settle,
    mapping.mapping, mapping.dictionary, drift.drift, medication.medication, followup.followup, refill.refill,
    crm.crm, alerts.alerts, downtime.downtime,
    keys.keys, backup.backup, prune.prune, drill.drill, program.program,
):  # fmt: skip
    main.add_command(command)
