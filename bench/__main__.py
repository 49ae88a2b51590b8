"""`python -m bench bulk|grow|latency|delivery|identity|reads|replay|dead_letters|refills|squeeze|soak`: prints a table, keeps the figures in bench/results/."""

import argparse
import sys
from collections.abc import Callable

from . import bulk, dead_letters, delivery, grow, identity, latency, reads, refills, replay, soak, squeeze

BENCHES: dict[str, Callable[[argparse.Namespace], None]] = {
    "bulk": bulk.run,
    "grow": grow.run,
    "latency": latency.run,
    "delivery": delivery.run,
    "identity": identity.run,
    "reads": reads.run,
    "replay": replay.run,
    "dead_letters": dead_letters.run,
    "refills": refills.run,
    "squeeze": squeeze.run,
    "soak": soak.run,
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    for module in (bulk, grow, latency, delivery, identity, reads, replay, dead_letters, refills, squeeze, soak):
        module.add_arguments(benches)
    return parser


def main() -> None:
    given = sys.argv[1:]
    if not given:
        print("All three, small. `make bench ARGS='bulk --count 100000'` is one of them in full; --help tells more.")
        for quick in (["bulk", "--count", "10000"], ["latency", "--drops", "10"], ["delivery", "--patients", "100"]):
            chosen = arguments().parse_args(quick)
            BENCHES[chosen.bench](chosen)
        return
    chosen = arguments().parse_args(given)
    BENCHES[chosen.bench](chosen)


main()
