#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench io: port and memory-mapped I/O of a vCPU that is not on the VMM's node.

A byte is read from and written to a port, eight bytes from and to a register; every value is verified. io/local is a
vCPU beside the VMM, under Pando as well: the exit itself, the device, and nothing that travels. io/remote : io/local
is what the way costs; rtt is a round trip of the fabric by the transport, in the same rounds.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import guests  # noqa: E402
import measured  # noqa: E402

IN_ALL = {"seconds": 40, "args": ["--rounds", "3", "--limit", "32"]}
WAYS = {"pio": ("pio_in", "pio_out"), "mmio": ("mmio_read", "mmio_write")}
PLACES = {"local": 1, "remote": 2}  # nodes; the vCPU that measures is the last of two
VCPUS, RTT_SAMPLES = 2, 1000


def steps_of(args, rounds, configs):
    def transport():
        for line in measured.run_tool(args.build, "pando-rtt", "--sizes", 64, "--rounds", 1, "--samples", RTT_SAMPLES):
            if line["name"] == f"rtt/{args.fabric}/64":
                rounds.add(line)

    def guest(place, mode):
        words = f"mode={mode} n={args.samples} raw=1"
        poll = guests.poll_mode(max(PLACES.values()), VCPUS)
        run = guests.run(args.build, "pingpong", words, PLACES[place], VCPUS, fabric=args.fabric, poll=poll)
        for way in WAYS[mode]:
            rounds.add(guests.line_of_samples(f"io/{place}/{way}", run.samples[way]))
        configs.append(run.config)

    steps = [("the fabric", transport)]
    return steps + [(f"{place} {mode}", lambda p=place, m=mode: guest(p, m)) for mode in WAYS for place in PLACES]


def ratios_of(rounds):
    ways = [w for pair in WAYS.values() for w in pair]
    found = [rounds.ratio(f"io/remote/{w}", f"io/local/{w}") for w in ways]
    return [r for r in found if r]


def beyond(rounds, fabric):
    """What a remote access takes longer than a local one, in round trips of the transport."""
    rtt, out = f"rtt/{fabric}/64", []
    for way in (w for pair in WAYS.values() for w in pair):
        far, near = f"io/remote/{way}", f"io/local/{way}"
        if any(n not in rounds for n in (far, near, rtt)):
            continue
        each = [(a - b) / r for a, b, r in zip(*(rounds.get(n, "round_p50") for n in (far, near, rtt)))]
        out.append(measured.compared(f"({far} - {near}) : {rtt}", each))
    return out


def table(results):
    print(f"{'result':<24}{'n':>8}{'p50':>10}{'spread of p50':>22}{'p99':>10}{'max':>12}  us")
    for r in results:
        spread = f"{r['p50_low']:.2f}..{r['p50_high']:.2f}"
        print(f"{r['name']:<24}{r['n']:>8}{r['p50']:>10.2f}{spread:>22}{r['p99']:>10.2f}{r['max']:>12.2f}")


def main():
    args = guests.arguments("io", __doc__, 4, ("samples", 200, 10, 100000, "of each kind of access a round"))
    rounds, missing, configs, start = measured.Rounds(), [], [""], time.monotonic()
    measured.run_steps("io", args, steps_of(args, rounds, configs), missing)
    rows = [rounds.time_row(n) for n in sorted(rounds.names(""))]
    short = guests.cores_short(max(PLACES.values()), VCPUS)
    remarks = [f"{short}: times are the host scheduler's as well"] if short else []
    measured.report("io", args, start, rows, [], missing, table, remarks,
                    ratios=ratios_of(rounds) + beyond(rounds, args.fabric), config=configs[-1] or None)  # fmt: skip
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
