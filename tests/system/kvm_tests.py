# SPDX-License-Identifier: BSD-3-Clause
"""Guests x nodes x fabrics x faults on real KVM; exact results every time.

The sample covers every pair of values of any two dimensions at least once (greedily, in an order
that the seed gives), after a few cases that are always run. --full runs the whole product. What
the budget leaves out is counted as skipped.
"""
import dataclasses
import fnmatch
import importlib.machinery
import importlib.util
import itertools
import json
import os
import random
import re
import sys
import time

import cluster as cl
import options
import outcome
import summary
from options import Options

# What no guest of ours, which are identity-mapped, can have in RIP: the emulator's VMEXIT saved the
# lab kernel's state as the guest's.
EMULATOR_FAULT = re.compile(r"^  rip ffffffff", re.M)
CASE_SECONDS = 180  # a machine with fewer cores than nodes can be slow without being wrong

# guest -> command line, guest RAM in MiB. Iteration counts are chosen so that a case takes seconds
# on two cores.
GUESTS = {
    "smoke": ("", 64),
    "counters": ("iters=2000", 64),
    "falseshare": ("iters=2000", 64),
    "locks": ("iters=300", 64),
    "matrix": ("n=96", 64),
    "sort": ("count=65536", 64),
    "sweep": ("size=16 turns=2", 64),
    "pageset": ("iters=300", 64),
    "ipi": ("laps=50 rounds=5", 64),
    "timer": ("slow=1", 64),
    "outsb": ("blocks=1", 64),
    "mmio": ("iters=100 msis=20", 64),
    "pingpong": ("n=50", 64),
    "storm": ("n=20 blocks=1", 64),
    "faultrate": ("size=8 ms=200", 64),
    "join": ("rows=8192 probes=8192", 64),
    "stencil": ("n=96 sweeps=5", 64),
    "litmus": ("iters=2000", 64),
    "triplefault": ("", 64),
}
# The acceptance shape, too long for the product: the VM's pages fill what three nodes may hold.
LONG = {"sweep64": ("sweep", "size=64 turns=1", 96)}
LAB_GUESTS = ("smoke", "counters", "locks", "matrix", "ipi", "timer", "pageset", "mmio", "triplefault")
CRASHES = {
    "triplefault"
}  # the VM ends, and so do the others; everybody else passes with status 1, v = 0

FAULTS = {
    "none": {},
    "loss1": {"loss": 1.0, "dup": 1.0, "reorder": 1.0},
    "loss5": {"loss": 5.0, "dup": 2.0, "reorder": 5.0, "corrupt": 0.5},
}

DIMENSIONS = {
    "guest": tuple(GUESTS),
    "nodes": (1, 2, 3),
    "fabric": options.FABRICS,
    "faults": tuple(FAULTS),
    "mtu": (9000, 1500),
    "memory": ("all", "limited"),
    "homes": ("interleave", "range"),
}


# A case without its guest: what is nothing special.
PLAIN = {
    "nodes": 2,
    "fabric": "shm",
    "faults": "none",
    "mtu": 9000,
    "memory": "all",
    "homes": "interleave",
}


def possible(case):
    """One node has no fabric: its other dimensions have one value each, or the same run comes
    again and again.
    """
    if case["nodes"] == 1:
        return (case["fabric"], case["faults"], case["mtu"], case["memory"], case["homes"]) == (
            "shm",
            "none",
            9000,
            "all",
            "interleave",
        )
    return True


def all_cases():
    cases = (dict(zip(DIMENSIONS, values)) for values in itertools.product(*DIMENSIONS.values()))
    return [c for c in cases if possible(c)]


def pairs(case):
    return {((a, case[a]), (b, case[b])) for a, b in itertools.combinations(DIMENSIONS, 2)}


def pairwise(seed):
    """Cases that cover every possible pair; each next one covers the most that are still uncovered
    among a random sample, so the early part of the list covers much if the budget cuts it."""
    rng = random.Random(seed)
    cases = all_cases()
    open_pairs = set().union(*(pairs(c) for c in cases))
    chosen = []
    while open_pairs:
        sample = rng.sample(cases, min(200, len(cases)))
        best = max(sample, key=lambda c: len(pairs(c) & open_pairs))
        if not pairs(best) & open_pairs:
            pair = rng.choice(sorted(open_pairs, key=repr))
            best = rng.choice([c for c in cases if pair in pairs(c)])
        open_pairs -= pairs(best)
        chosen.append(best)
    return chosen


def always():
    """What no sample may leave out: the acceptance shapes."""
    return [
        PLAIN | {"guest": "smoke", "nodes": 1},
        PLAIN | {"guest": "counters"},
        PLAIN | {"guest": "ipi", "nodes": 3},
        PLAIN | {"guest": "sweep64", "nodes": 3, "memory": "limited"},
        PLAIN | {"guest": "pageset", "faults": "loss5"},
        PLAIN
        | {"guest": "matrix", "nodes": 3, "fabric": "af_packet", "faults": "loss1", "mtu": 1500},
        PLAIN | {"guest": "locks", "fabric": "memif", "faults": "loss1"},
    ]


def to_options(case, seed):
    guest, cmdline, ram = LONG.get(case["guest"]) or (case["guest"], *GUESTS[case["guest"]])
    return Options(
        nodes=case["nodes"],
        vcpus=2 * case["nodes"],
        fabric=case["fabric"],
        mtu=case["mtu"],
        ram=ram,
        resident_pct=40 if case["memory"] == "limited" else 0,
        homes=case["homes"],
        seed=seed,
        guest=guest,
        # The guest's own bound on a wait, too: a stall ends the case, a slow machine does not.
        cmdline=f"{cmdline} wait_s={CASE_SECONDS - 30}".strip(),
        timeout=CASE_SECONDS,
        **FAULTS[case["faults"]],
    )


def lab_cases():
    """What the lab VM adds: nested paging, where the processor's walk of the guest's page tables is
    a write, and hardware that is complete. One vCPU a node: two are all it has."""
    return [PLAIN | {"guest": g} for g in LAB_GUESTS] + [
        PLAIN | {"guest": "counters", "fabric": "af_packet", "faults": "loss1"},
        PLAIN | {"guest": "smoke", "nodes": 1},
    ]


def in_lab(o):
    """An exit costs hundreds of microseconds there: a page must stay for many times that."""
    return dataclasses.replace(
        o, vcpus=2, hold_us=5000, dead_ms=20000, cmdline=f"{o.cmdline} nap_us=5000"
    )


def title(case):
    return "/".join(str(case[d]) for d in DIMENSIONS)


@dataclasses.dataclass
class Outcome:
    name: str
    result: str
    seconds: float = 0.0
    reason: str = ""
    command: str = ""
    emulator: bool = False  # the lab's emulator is to blame


def load_guest_verdict():
    """tests/kvm/run-guests knows what each guest must print, on whatever it runs."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kvm/run-guests")
    loader = importlib.machinery.SourceFileLoader("run_guests", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_guests", loader))
    loader.exec_module(module)
    module.outsb_error.__defaults__ = (1,)  # blocks a vCPU, as in GUESTS
    return module.verdict


guest_verdict = load_guest_verdict()


def judge(case, o, result, console, errors):
    """None, or what is wrong: the guest's verdict, who died, and what the summaries must show."""
    wrong = guest_verdict(o.guest, result.status, console, errors, o.vcpus, False)
    if wrong:
        return f"{result.died}; {wrong}" if result.died else wrong
    if result.died and case["guest"] not in CRASHES:
        return result.died
    if result.slow:
        return f"still alive after the end: {', '.join(result.slow)}"
    if result.left:
        return f"left behind in the run directory: {', '.join(result.left)}"
    return summary.problem(result, o)


def run_case(case, build, seed, lab=False):
    o = to_options(case, seed)
    if lab:
        o = in_lab(o)
    output, vmm = [], {"out": "", "err": ""}

    def on_line(process, stream, text):
        output.append(f"{process.name:>10} | {text[:200]}")
        if process.name == "vmm":
            vmm[stream] += text + "\n"

    start = time.monotonic()
    try:
        with cl.Cluster(o, build, on_line=on_line) as c:
            result = c.run()
        wrong = judge(case, o, result, vmm["out"], vmm["err"])
    except cl.SetupError as e:
        wrong = str(e)
    done = Outcome(
        title(case),
        "pass" if wrong is None else "fail",
        round(time.monotonic() - start, 2),
        wrong or "",
        o.command(),
    )
    done.emulator = lab and bool(EMULATOR_FAULT.search(vmm["err"]))
    if wrong:
        for line in output[-40:]:
            print("       " + line)
    return done


def run_again(case, args):
    """In the lab a case is run again, twice at most, if, and only if, the emulator broke it."""
    for left in (2, 1, 0):
        done = run_case(case, args.build, args.seed, args.lab)
        if not done.emulator or done.result != "fail" or left == 0:
            return done
        print("     the emulator left the lab kernel's own state in the guest's registers; again")


def missing_guest(case, build):
    try:
        cl.find_guest(build, to_options(case, 1).guest)
    except cl.SetupError as e:
        return str(e)
    return None


def tell(result, tally, where):
    outcome.report(tally, f"{where}/{result.name}", result.result, result.seconds, result.reason)
    if result.result == "fail":
        print(f"     again: {result.command}", flush=True)


def choose(args):
    if args.lab:
        return [c for c in lab_cases() if fnmatch.fnmatchcase(title(c), args.only or "*")]
    if args.only:
        return [c for c in always() + all_cases() if fnmatch.fnmatchcase(title(c), args.only)]
    if args.full:
        cases = all_cases()
        random.Random(args.seed).shuffle(cases)
        return cases
    cases = always()
    return cases + [c for c in pairwise(args.seed) if c not in cases]


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=float, default=240, help="seconds")
    parser.add_argument("--full", action="store_true")
    parser.add_argument(
        "--only", metavar="PATTERN", help="of the whole product those whose title matches: 'locks/3/*'"
    )
    parser.add_argument("--lab", action="store_true", help="the cases for the lab VM (lab_tests.py)")
    parser.add_argument("--json", help="result file")
    parser.add_argument("--list", action="store_true", help="print the cases and run nothing")
    args = parser.parse_args()
    cases = choose(args)
    if args.list:
        print("\n".join(title(c) for c in cases))
        print(f"{len(cases)} of {len(all_cases())} cases, seed {args.seed}")
        return 0
    print(f"{len(cases)} of {len(all_cases())} cases, seed {args.seed}")
    limited = not args.full and (args.lab or not args.only)
    start, outcomes = time.monotonic(), []
    for case in cases:
        missing = missing_guest(case, args.build)
        if missing:
            result = Outcome(title(case), "fail", reason=missing)
        elif limited and time.monotonic() - start > args.budget:
            result = Outcome(
                title(case), "skip", reason=f"the budget of {args.budget:g} s is used up"
            )
        else:
            result = run_again(case, args)
        outcomes.append(result)
        tell(result, args.tally, "lab" if args.lab else "kvm")
    failed = sum(o.result == "fail" for o in outcomes)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(
                {
                    "schema": 1,
                    "command": "kvm_tests",
                    "seed": args.seed,
                    "result": "fail" if failed else "pass",
                    "seconds": round(time.monotonic() - start, 1),
                    "cases": [dataclasses.asdict(o) for o in outcomes],
                },
                f,
                indent=1,
            )
    return outcome.status([failed == 0] if cases else [])


if __name__ == "__main__":
    sys.exit(main())
