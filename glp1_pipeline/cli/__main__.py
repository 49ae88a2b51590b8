"""`python -m glp1_pipeline.cli` is `glp1`."""

from . import main

main()
