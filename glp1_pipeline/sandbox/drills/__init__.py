"""Drills: a fault is made on purpose in an installation of its own, and what became of it is measured.

The rooms: `drill` (what a drill is and works with), `site` (its servers), `looping` (the pipeline at work as child
processes), `proxy` (faults between us and the EHR), `people` (what is fed), `proof` (what is lost and doubled), `run`
and `scorecard`; the drills themselves by area. Not here: anything that the pipeline needs.
"""
