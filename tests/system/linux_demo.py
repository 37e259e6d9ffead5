# SPDX-License-Identifier: BSD-3-Clause
"""./dev demo: Debian's own kernel as one VM over several nodes on this machine, under Debian's QEMU
and `pando run`; its console live, what the guest sees of itself, and a summary at the end.

Where this machine's KVM is not nested paging by hardware, all of it runs in the lab VM: an emulated
machine with such a KVM, some hundred times slower. (--bare: guests of our own on this machine's KVM.)
"""
import argparse
import json
import os
import re
import signal
import sys
import threading
import time

import demo
import options
import summary

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "linux"))
import guest_log  # noqa: E402
import image  # noqa: E402
import place as places  # noqa: E402
import symbols  # noqa: E402

GUEST = re.compile(r"guest\| ?")
SILENCE_SECONDS = 15
# What a line says about how far it is.
STAGES = (
    (re.compile(r"pando run: waiting"), "the firmware, then the guest's kernel"),
    (re.compile(r"\[ *0\.0+\] Linux version"), "the guest's kernel"),
    (re.compile(r"pando-guest: userspace"), "the guest's init"),
)
BEGIN = re.compile(r"pando-guest: begin (\S+)")


class Progress:
    """Shows lines as they come; says what is going on when none do."""

    def __init__(self, screen, stage):
        self.screen, self.stage, self.start = screen, stage, time.monotonic()
        self.said, self.over = self.start, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def watch(self):
        while not self.over.wait(1):
            now = time.monotonic()
            if now - self.said >= SILENCE_SECONDS:
                self.said = now
                self.screen.say(f"{self.screen.dim}{now - self.start:7.0f} s | {self.stage}{self.screen.plain}")

    def line(self, text):
        text = guest_log.ANSI.sub("", text).rstrip()
        self.said = time.monotonic()
        for pattern, stage in STAGES:
            if pattern.search(text):
                self.stage = stage
        if found := BEGIN.search(text):
            self.stage = f"the guest's job {found[1]}"
        mark = GUEST.match(text)
        if mark and not text[mark.end() :].startswith(("pando run:", "pando:")):
            self.screen.say(f"{self.screen.bold}guest |{self.screen.plain} {text[mark.end():]}")
        elif text:
            self.screen.say(f"{self.screen.dim}      | {text[mark.end() if mark else 0:]}{self.screen.plain}")


def arguments():
    parser = argparse.ArgumentParser(
        prog="./dev demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--build", default="build", help=argparse.SUPPRESS)
    add("--nodes", type=int, default=2, metavar="N", help="nodes, 1..64 (default %(default)s)")
    add("--vcpus", type=int, default=4, metavar="N", help="vCPUs of the guest, dealt out in runs (default %(default)s)")
    add("--ram", type=int, default=0, metavar="MIB", help="guest RAM (default 128 a node)")
    add("--machine", default="q35", help="QEMU's machine type (default %(default)s)")
    add("--fabric", choices=options.FABRICS, default="shm", help="what joins the nodes (default %(default)s)")
    add("--loss", type=float, default=0.0, metavar="PCT", help="per cent of the frames lost (default 0)")
    add("--seed", type=int, default=1, metavar="N", help="seed of the fault filter (default %(default)s)")
    add("--jobs", default="show,threads", help="what the guest does (tests/linux/README.md; default %(default)s)")
    add("--kernel-words", default="", metavar="S", help="more for the kernel's command line")
    add("--symbols", metavar="FILE", help="the guest kernel's System.map or kallsyms, to name the hot pages")
    add("--timeout", type=int, default=0, metavar="S", help="seconds for all (default 300, in the lab VM 2400)")
    add("--json", action="store_true", help="one JSON object as the last line of standard output")
    args = parser.parse_args()
    args.ram = args.ram or 128 * max(args.nodes, 2)
    o = options.Options(nodes=args.nodes, vcpus=args.vcpus, ram=args.ram, fabric=args.fabric, loss=args.loss, seed=args.seed)
    problem = options.problem(o)
    if not problem and args.ram < 64 * args.nodes + 64:
        problem = f"--ram {args.ram}; allowed: {64 * args.nodes + 64} MiB or more for {args.nodes} nodes"
    jobs = os.listdir(os.path.join(ROOT, "tests", "linux", "jobs"))
    unknown = [job for job in args.jobs.split(",") if job not in jobs or "." in job]
    if not problem and unknown:
        known = " ".join(sorted(job for job in jobs if "." not in job))
        problem = f"--jobs: there is no job '{unknown[0]}'; there are: {known}"
    if not problem and args.timeout and not 120 <= args.timeout <= 86400:
        problem = f"--timeout {args.timeout}; allowed: 120..86400 s"
    if problem:
        parser.error(problem)
    return args, o


def words_of(args, o, place):
    """The arguments of over_nodes.py."""
    homes = ",".join(str(o.home(v)) for v in range(o.vcpus))
    words = [f"--nodes={o.nodes}", f"--homes={homes}", f"--mem={o.ram}", f"--machine={args.machine}"]
    words += [f"--fabric={o.fabric}", f"--loss={o.loss:g}", f"--seed={o.seed}", "--bare"]
    more = f"{args.kernel_words} nokaslr" if args.symbols else args.kernel_words
    words += [f"--jobs={args.jobs}", f"--words={more}"]
    return words + (["--slow"] if place.lab else [])


def hot_pages(nodes, names):
    """The ten pages that vCPUs waited for most often, as a table."""
    faults = {}
    for node in nodes:
        for page, count in (node.get("hot_pages") or {}).items():
            faults.setdefault(int(page, 16), {})[node["node"]] = count["faults"]
    most = sorted(faults, key=lambda page: -sum(faults[page].values()))[:10]
    head = ("hot pages", *(f"node {n['node']}" for n in nodes), "")
    rows = [(f"{p:#x}", *(faults[p].get(n["node"], "") for n in nodes), names.of_page(p) if names else "") for p in most]
    return summary.table([head, *rows]) if rows else []


def show(screen, result, wrong, o, seconds, names):
    screen.say()
    if result:
        for name, job in result["passed"].items():
            screen.say(f"  {screen.green}pass{screen.plain} {name:<9} {job['seconds']:6.1f} s  {job['words']}")
        for name, why in result["failed"].items():
            screen.say(f"  {screen.red}FAIL{screen.plain} {name:<9} {why}")
        nodes = [n for n in result["nodes"] if n]
        if nodes:
            lines = summary.table(summary.fault_rows(nodes)) + summary.table(summary.class_rows(nodes))
            for line in lines + hot_pages(nodes, names):
                screen.say("  " + line)
        if result["userspace_s"] is not None:
            screen.say(f"  userspace after {result['userspace_s']:.1f} s of the guest's time")
    mark = f"{screen.red}FAIL{screen.plain}: {wrong}" if wrong else f"{screen.green}PASS{screen.plain}"
    screen.say(f"{mark} Debian's kernel on {o.vcpus} vCPUs over {o.nodes} nodes, in {seconds:.0f} s")


def main():
    args, o = arguments()
    try:
        names = symbols.load(os.path.join(os.environ.get("PANDO_CWD", ""), args.symbols)) if args.symbols else None
    except (OSError, ValueError) as e:
        print(f"./dev demo: --symbols: {e}", file=sys.stderr)
        return 2
    screen = demo.Screen(sys.stderr if args.json else sys.stdout)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    place, build, start = places.Place(), os.path.abspath(args.build), time.monotonic()
    seconds = args.timeout or (2400 if place.lab else 300)
    screen.say(f"{screen.bold}Debian's kernel over {o.nodes} nodes{screen.plain}: {o.vcpus} vCPUs, {o.ram} MiB")
    if place.lab:
        screen.say(f"  here: {place.why}")
        screen.say("  so all of it runs in the lab VM, which emulates a machine with AMD-V: some minutes")
    for line in demo.picture(o):
        screen.say("  " + line)
    screen.say()
    try:
        places.prepare(build)
        out = os.path.join(ROOT, "out", "demo")
        with Progress(screen, "the lab VM comes up" if place.lab else "the nodes come up") as progress:
            result, wrong = places.run(place, words_of(args, o, place), out, seconds, build, progress.line)
    except image.ImageError as e:
        result, wrong = None, str(e)
    except KeyboardInterrupt:
        result, wrong = None, "stopped by a signal"
    seconds = time.monotonic() - start
    show(screen, result, wrong, o, seconds, names)
    if args.json:
        record = {"schema": 1, "command": "demo", "result": "fail" if wrong else "pass", "problem": wrong}
        record |= {"seconds": round(seconds, 3), "nodes": o.nodes, "vcpus": o.vcpus, "fabric": o.fabric}
        print(json.dumps(record | {"lab": place.lab, "guest": result}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
