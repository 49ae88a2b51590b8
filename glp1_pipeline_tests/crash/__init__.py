"""Dies by SIGKILL at every place where the world changes, and looks whether the next run leaves it as it must be.

The rooms: `tracer` (finds the places by watching), `road` (all that a run does), `proof` (what must hold), `__main__`
(the sweep; run as a program it prints what it found as JSON). Not here: which findings are faults of the test.
"""
