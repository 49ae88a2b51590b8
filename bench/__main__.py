"""`python -m bench bulk|grow|latency|delivery|identity|reads|replay|dead_letters|refills|squeeze|soak`: prints a table, keeps the figures in bench/results/."""

import argparse
import sys

from . import bulk, dead_letters, delivery, grow, identity, latency, reads, refills, replay, soak, squeeze

BENCHES = {
    "bulk": bulk,
    "grow": grow,
    "latency": latency,
    "delivery": delivery,
    "identity": identity,
    "reads": reads,
    "replay": replay,
    "dead_letters": dead_letters,
    "refills": refills,
    "squeeze": squeeze,
    "soak": soak,
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    for module in BENCHES.values():
        module.add_arguments(benches)
    return parser


def main() -> None:
    given = sys.argv[1:]
    if not given:
        print(
            "Three of them, small. `make bench ARGS='bulk --count 100000'` is one of them in full; --help tells more."
        )
        for quick in (["bulk", "--count", "10000"], ["latency", "--drops", "10"], ["delivery", "--patients", "100"]):
            chosen = arguments().parse_args(quick)
            BENCHES[chosen.bench].run(chosen)
        return
    chosen = arguments().parse_args(given)
    BENCHES[chosen.bench].run(chosen)


main()
