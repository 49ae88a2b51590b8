"""Dagster's daemon, which looks each second whether a sensor is to be asked anew, and not each five.

Run as `python -m glp1_pipeline.sandbox.daemon run -w workspace.yaml`. A sensor of ours listens for as long as its tick
lasts; after it found something nobody listens until the next look, and who drops a file then waits for that. Not here:
anything else of the daemon.
"""

from dagster._daemon import sensor
from dagster._daemon.cli import main

sensor.MIN_INTERVAL_LOOP_TIME = 1.0  # no setting of Dagster's reaches it

if __name__ == "__main__":
    main()
