#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev litmus: litmus tests of the x86 memory model in a bare-metal guest whose vCPUs sit on different nodes.

Each shape of shapes.txt in three modes (plain, mfence, lock) and, if it has two variables, on two pages and on one.
One VM for the tests of two threads, one for three, one for four; each has a node more than threads, whose vCPU reads
and writes the same pages all the time. Each test runs free (as fast as it goes; 128 instances share an interrupt) and
in windows: every instance has its pages to itself, some milliseconds lie between a thread's two accesses, and
"moved" are the instances one of whose pages the stirring vCPU fetched meanwhile. The outcomes that the model allows
are computed by generate.py; any other fails, with a trace.

At the end the control, on a build that acknowledges invalidations before the mapping is gone (-Dplant=early-ack): the
shape that notices it most often, which must, in one run of a dozen; and, but for --quick, all others of two threads:
who notices is named. Beside it processes keep the CPUs busy: on an idle machine the mapping is gone before anybody can look.
"""
import contextlib
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import cluster as cl  # noqa: E402
import generate  # noqa: E402
import outcome  # noqa: E402
import summary  # noqa: E402
from options import ENGINES, Options  # noqa: E402

LINE = re.compile(r"^LITMUS (\S+) (\S+) (\S+) (.*)$")
HISTOGRAM = re.compile(r"^LITMUS-(free|window) (\S+) (\S+) (\S+) (.*)$")
OUTCOME = re.compile(r"(\d+)(\(forbidden\))?:(\d+)")
PLANT = "build-plant"
SHAPES = os.path.join(HERE, "shapes.txt")


class Work:
    """How much: free instances and moved instances of a shape in one mode (half of it in each of two placements);
    seconds of windows at most. By default the three modes reach a million and 20000."""

    def __init__(self, iters, moved, max_s):
        self.iters, self.moved, self.max_s = iters, moved, max_s


QUICK, DEFAULT, FULL = Work(32000, 40, 4), Work(340000, 6700, 120), Work(3400000, 67000, 1200)


class Guest:
    """What one VM printed, line by line."""

    def __init__(self, screen):
        self.tests, self.trace, self.other, self.screen = {}, [], [], screen

    def line(self, process, _stream, text):
        if process.name != "vmm":
            self.other.append(f"{process.name}: {text}")
            return
        line, histogram = LINE.match(text), HISTOGRAM.match(text)
        if line:
            numbers = dict(word.split("=") for word in line[4].split())
            key = line.group(1, 2, 3)
            self.tests[key] = {"name": key[0], "mode": key[1], "place": key[2], "free": {}, "window": {}}
            self.tests[key].update({k: int(v) for k, v in numbers.items()})
        elif histogram:
            test = self.tests[histogram.group(2, 3, 4)]
            test[histogram[1]] = {code: int(n) for code, _, n in OUTCOME.findall(histogram[5])}
            if histogram[1] == "window" or not test["windows"]:
                self.screen(test)
        elif text.startswith(("FORBIDDEN", "  thread", "  stirrer", "FAIL")):
            self.trace.append(text)
            if not text.startswith("FAIL"):
                self.screen(text)
        else:
            self.other.append(f"vmm: {text}")


def show(test, stream):
    if isinstance(test, str):
        print("     " + test, file=stream, flush=True)
        return
    counts = lambda way: " ".join(f"{k}:{v}" for k, v in sorted(test[way].items()))
    seconds = (test["free_ms"] + test["window_ms"]) / 1000
    free = f"free {counts('free')}" + (f" by {test['irqs']} interrupts" if test["irqs"] else "")
    name = f"{test['name']:5} {test['mode']:6} {test['place']:9}"
    print(f"{'FAIL' if test['forbidden'] else 'ok  '} {name} {seconds:6.1f} s  " + free
          + (f" | windows, {test['moved']} moved: {counts('window')}" if test["window"] else ""),
          file=stream, flush=True)


def options_of(args, threads, work, words=""):
    """A vCPU on each node, one of them to stir; pages are not held for long, so that they move."""
    fabric, loss = args.fabric, args.loss
    if args.engine != "pando":
        fabric, loss = fabric or "udp", 0.0
    elif args.quick and not fabric and loss is None:
        fabric, loss = {2: ("shm", 0.0), 3: ("memif", 1.0), 4: ("af_packet", 1.0)}[threads]
    seconds = 120 + 62 * (work.max_s + work.iters // 10000)
    cmdline = f"threads={threads} iters={work.iters} moved={work.moved} max_s={work.max_s} seed={args.seed} wait_s=100"
    return Options(nodes=threads + 1, vcpus=threads + 1, engine=args.engine, fabric=fabric or "shm", ram=64, hold_us=args.hold_us,
                   seed=args.seed, loss=loss or 0.0, guest="litmus", timeout=min(86400, seconds),
                   cmdline=f"{cmdline} {words}".strip())


def run_vm(o, build, screen):
    """(guest, words for what is wrong or None, faults of the stirring node)"""
    guest = Guest(screen)
    with cl.Cluster(o, build, on_line=guest.line) as c:
        result = c.run()
    wrong = None
    if not result.passed:
        said = [t for t in guest.trace if t.startswith("FAIL")]
        wrong = result.died or (said[-1] if said else f"the VMM ended with status {result.status}")
    else:
        wrong = summary.problem(result, o)
    faults = sum(summary.get(s, "faults", kind, "n")
                 for s in result.summaries[-1:] for kind in ("read", "write", "upgrade"))
    return guest, wrong, faults


def expected(threads, only):
    """(name, mode, place) of all tests with so many threads."""
    return [(s.name, mode, place) for s in generate.read_shapes(SHAPES) for mode in generate.MODES
            for place in (("different", "same") if len(s.variables) > 1 else ("different",))
            if len(s.threads) == threads and only in (None, s.name)]


def short(guest, o, work, faults, wanted):
    """What is missing for a run to count, or None."""
    missing = [key for key in wanted if key not in guest.tests]
    if missing:
        return f"{len(missing)} of {len(wanted)} tests were not run, the first: {' '.join(missing[0])}"
    placements = lambda t: len({place for name, mode, place in wanted if (name, mode) == (t["name"], t["mode"])})
    few = [t for t in guest.tests.values()
           if t["moved"] < (1 if work is QUICK else work.moved // placements(t))
           or t["instances"] < work.iters // placements(t)]
    if few:
        t = few[0]
        return (f"{t['name']} {t['mode']} {t['place']}: {t['instances']} instances, {t['moved']} moved ones; "
                f"wanted: {work.iters // placements(t)} and {work.moved // placements(t)}; {len(few)} such tests")
    stirs = sum(t["stirs"] for t in guest.tests.values())
    if faults < stirs:
        return f"node {o.nodes - 1}, which stirs, had {faults} faults, but says of {stirs} accesses that they took one"
    return None


def check_all(args, work, stream, tests, wrongs):
    """Adds the results of all tests, and words for what is wrong."""
    for threads in args.threads:
        o = options_of(args, threads, work, args.words)
        print(f"== {threads} threads on {threads} nodes, node {threads} stirs; again: {o.command()}", file=stream,
              flush=True)
        guest, wrong, faults = run_vm(o, args.build, lambda t: show(t, stream))
        wrong = wrong or short(guest, o, work, faults, expected(threads, args.only))
        tests += [{**t, "nodes": o.nodes} for t in guest.tests.values()]
        if not wrong:
            continue
        wrongs.append(wrong)
        print(f"FAIL {threads} threads: {wrong}", file=stream, flush=True)
        if not any(t.startswith("FORBIDDEN") for t in guest.trace):
            print("\n".join("     " + t for t in guest.other[-20:]), file=stream, flush=True)


def by_shape(tests):
    """Sums over modes and placements."""
    shapes = {}
    for t in tests:
        s = shapes.setdefault(t["name"], {"tests": 0, "instances": 0, "interrupts": 0, "moved": 0, "forbidden": 0})
        s["tests"] += 1
        s["instances"] += t["instances"] + t["windows"]
        s["interrupts"] += t["irqs"]
        s["moved"] += t["moved"]
        s["forbidden"] += t["forbidden"]
    return shapes


def print_shapes(shapes, stream):
    rows = [("shape", "tests", "instances", "interrupts", "with a page moved", "forbidden")]
    rows += [(name, *s.values()) for name, s in shapes.items()]
    print("\n".join("  " + line for line in summary.table(rows)), file=stream, flush=True)


def build_plant(stream):
    log = os.path.join(ROOT, "out", PLANT + ".log")
    commands = [] if os.path.exists(os.path.join(ROOT, PLANT, "build.ninja")) else [
        ["meson", "setup", PLANT, "-Dplant=early-ack", "-Dtests=disabled"]]
    os.makedirs(os.path.dirname(log), exist_ok=True)
    print(f"== control: building {PLANT}/, which acknowledges invalidations early", file=stream, flush=True)
    with open(log, "w", encoding="utf-8") as f:
        for c in commands + [["ninja", "-C", PLANT]]:
            if subprocess.run(c, cwd=ROOT, stdout=f, stderr=f, check=False).returncode != 0:
                raise cl.SetupError(f"{' '.join(c)} failed; see {log}")


@contextlib.contextmanager
def busy():
    """All CPUs have other work, so that now and then a mapping goes late."""
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for p in load:
            p.kill()
            p.wait()


def control_run(args, build, words, stream):
    o = options_of(args, 2, CONTROL, f"{words} keep=1")
    with busy():
        guest, wrong, _ = run_vm(o, build, lambda t: show(t, stream))
    return guest, [t for t in guest.tests.values() if t["forbidden"]], wrong


def control(args, stream):
    """What noticed the planted error; words for what is wrong."""
    build_plant(stream)
    start = time.monotonic()
    guest, noticed, wrong = control_run(args, args.build, NOTICES, stream)
    if wrong:
        return {}, f"control, on the good build: {wrong}"
    for runs in range(1, CONTROL_RUNS + 1):
        guest, noticed, wrong = control_run(args, os.path.join(ROOT, PLANT), NOTICES, stream)
        if noticed:
            break
        if wrong:
            return {}, f"control, run {runs} on the build with the error: {wrong}"
    else:
        return {}, f"control: {NOTICES} did not notice in {CONTROL_RUNS} runs that invalidations are acknowledged early"
    t = noticed[0]
    result = {"shape": t["name"], "mode": t["mode"], "place": t["place"], "forbidden": t["forbidden"],
              "runs": runs, "trace": guest.trace, "seconds": round(time.monotonic() - start, 1)}
    if not args.quick:
        _, others, _ = control_run(args, os.path.join(ROOT, PLANT), "", stream)
        result["all"] = {f"{t['name']} {t['mode']} {t['place']}": t["forbidden"] for t in others}
    return result, None


CONTROL = Work(50000, 200, 8)
CONTROL_RUNS = 12  # of four seconds; one in four or so notices nothing
NOTICES = "only=IPI mode=plain"  # what notices it most often


def main():
    p = outcome.parser(__doc__)
    p.add_argument("--full", action="store_true", help="ten times as much")
    p.add_argument("--quick", action="store_true", help="a tenth, and counts that are not reached are shown only: as in ./dev test")
    shapes_of = {s.name: s for s in generate.read_shapes(SHAPES)}
    p.add_argument("--only", choices=shapes_of, metavar="SHAPE", help="one of " + ", ".join(shapes_of))
    p.add_argument("--iters", type=int, help="free instances of a shape in one mode")
    p.add_argument("--moved", type=int, help="likewise, instances with a page that moved")
    p.add_argument("--fabric", help="shm, memif or af_packet (default shm; --quick: one after the other)")
    p.add_argument("--engine", choices=tuple(ENGINES), default="pando",
                   help="or a baseline (perf/giantvm), on udp or af_packet, with --no-control (default %(default)s)")
    p.add_argument("--loss", type=float, metavar="PCT", help="frames lost (default 0; --quick: 0 or 1)")
    p.add_argument("--hold-us", type=int, default=20, metavar="US", help="coherence.hold_us (default %(default)s)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--no-control", action="store_true", help="without the build that must fail")
    p.add_argument("--json", action="store_true", help="one JSON object as the last line of standard output")
    args = p.parse_args()
    if args.engine != "pando" and not args.no_control:
        p.error(f"--engine {args.engine} needs --no-control: the error that must be noticed is planted in the product")
    work = FULL if args.full else QUICK if args.quick else DEFAULT
    if args.iters is not None or args.moved is not None:
        work = Work(work.iters if args.iters is None else args.iters, work.moved if args.moved is None else args.moved,
                    work.max_s)
    args.words = f"only={args.only}" if args.only else ""
    args.threads = [len(shapes_of[args.only].threads)] if args.only else [2, 3, 4]
    stream = sys.stderr if args.json else sys.stdout
    start, tests, wrongs, noticed = time.monotonic(), [], [], None
    try:
        check_all(args, work, stream, tests, wrongs)
        if not args.no_control:
            noticed, wrong = control(args, stream)
            wrongs += [wrong] if wrong else []
            if noticed:
                print(f"ok   control: {noticed['shape']} {noticed['mode']} {noticed['place']} noticed after "
                      f"{noticed['seconds']} s, in run {noticed['runs']}: {noticed['trace'][0]}", file=stream)
                others = ", ".join(f"{name} {n}" for name, n in noticed.get("all", {}).items())
                if others:
                    print(f"     all of two threads that noticed, how often: {others}", file=stream)
    except cl.SetupError as e:
        wrongs.append(str(e))
    seconds = time.monotonic() - start
    shapes = by_shape(tests)
    total = sum(s["instances"] for s in shapes.values())
    print_shapes(shapes, stream)
    print(f"{'FAIL' if wrongs else 'PASS'} litmus: {len(tests)} tests, {total} instances, "
          f"{sum(t['moved'] for t in tests)} with a page that moved between the accesses, "
          f"{sum(t['forbidden'] for t in tests)} forbidden; {seconds:.0f} s"
          + "".join(f"\n     {w}" for w in wrongs), file=stream, flush=True)
    result = {"schema": 1, "command": "litmus", "result": "fail" if wrongs else "pass", "seconds": round(seconds, 1),
              "instances": total, "wrong": wrongs, "control": noticed, "shapes": shapes, "tests": tests}
    os.makedirs(os.path.join(ROOT, "out"), exist_ok=True)
    with open(os.path.join(ROOT, "out", "litmus.json"), "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    if args.json:
        print(json.dumps(result))
    if args.tally:
        outcome.report(args.tally, "litmus", "fail" if wrongs else "pass", seconds, "; ".join(wrongs))
        return outcome.status([not wrongs])
    return 1 if wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
