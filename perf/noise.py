#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench noise: the noise floor of this machine: what it does to a loop that only looks at the clock.

A histogram of the gaps between two looks for each CPU, all CPUs at the same time. Every bench has the same in short in
its member `noise`; alone and longer it shows what is rare: a tail that is here cannot be Pando's. perf/schema.json says
what comes out; counts.stolen_ppm is the share of the time in gaps of more than a microsecond.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import measured  # noqa: E402
import output  # noqa: E402

IN_ALL = {"seconds": 15, "args": ["--ms", "5000"]}


def table(results):
    print(f"{'CPU':<16}{'looks':>12}{'p50':>9}{'p99.9':>9}{'max':>12} us{'in gaps over 1 us':>20}")
    for r in results:
        print(f"{r['name']:<16}{r['n']:>12}{r['p50']:>9.3f}{r['p999']:>9.3f}{r['max']:>12.1f}   "
              f"{r['counts']['stolen_ppm'] / 1e4:>18.3f}%")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(prog="./dev bench noise", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--ms", type=measured.within(10, 600000), default=8000, metavar="N",
                        help="for how long, 10..600000 (default 8000)")  # fmt: skip
    args = parser.parse_args()
    missing, start = [], time.monotonic()
    found = output.noise(args.build, missing, args.ms)
    output.report("noise", args, start, found, [], missing, table, floor=found)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
