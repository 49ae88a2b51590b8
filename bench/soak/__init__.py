"""A long run: a stream of events under a random nemesis from a printed seed; in the end nothing may be lost or doubled.

The rooms: `stream` (what is sent), `others` (people at work in the EHR, the CRM and as stewards), `worker` (the pipeline,
to be killed), `nemesis` (what goes wrong), `proof` (what must hold), `run` (the course of it). Not here: each fault by
itself, with times of detection and recovery (`glp1 drill`), and every point of the code to die at (the crash tests).
"""

from .run import add_arguments, run

__all__ = ["add_arguments", "run"]
