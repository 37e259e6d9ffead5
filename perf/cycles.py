#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench cycles: what a message costs the poll loop.

trace: a fixed trace of faults between two nodes in one thread, coherence over the transport, joined in memory
(perf/cycles.c): nanoseconds of CPU time a message, both ends together, and instructions, counted by valgrind's
callgrind in a long trace less a short one, which no other load changes. loop: two dataplanes whose guest reads what the
other node writes: the time of their useful rounds for each message that they sent or took, the fault's and the fabric's
part included; where a loop has no CPU of its own that time has what was taken from it, so .../cpu gives the CPU time of
the same thread, empty rounds included.
"""
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import guests  # noqa: E402
import measured  # noqa: E402

IN_ALL = {"seconds": 30, "args": ["--limit", "22"]}
NODES, TRACE, SHORT, LONG = 2, 20000, 1000, 5000  # faults
COLLECTED = re.compile(r"Collected : (\d+)")
VALGRIND_SECONDS = 120


def trace(build, faults):
    (line,) = measured.run_tool(build, "pando-cycles", faults)
    return line


def collected(build, faults):
    """(instructions, messages) of a trace."""
    program = os.path.join(build, "perf", "pando-cycles")
    argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, str(faults)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=VALGRIND_SECONDS)
    except subprocess.TimeoutExpired:
        raise measured.ToolError(f"callgrind did not end within {VALGRIND_SECONDS} s") from None
    found = COLLECTED.search(done.stderr)
    if done.returncode or not found:
        raise measured.ToolError(f"callgrind ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return int(found[1]), measured.json.loads(done.stdout)["messages"]


class Cycles:
    def __init__(self):
        self.each, self.counts, self.configs = {}, {}, [""]

    def add(self, name, unit, value, **counts):
        self.each.setdefault((name, unit), []).append(value)
        self.counts[name] = counts

    def instructions(self, args):
        if shutil.which("valgrind") is None:
            raise measured.ToolError("valgrind is not installed: apt-get install valgrind")
        (short, few), (long, many) = collected(args.build, SHORT), collected(args.build, LONG)
        self.add("cycles/trace/instructions", "instructions/message", (long - short) / (many - few),
                 messages=many - few)  # fmt: skip

    def trace(self, args):
        line = trace(args.build, TRACE)
        counts = {k: line[k] for k in ("messages", "frames")}
        self.add("cycles/trace/time", "ns/message", line["ns"] / line["messages"], **counts)

    def loop(self, args):
        run = guests.run(args.build, "pingpong", f"mode=read n={args.samples} halt=1", NODES, fabric=args.fabric,
                         poll=guests.poll_mode(NODES))  # fmt: skip
        self.configs.append(run.config)
        if not all("useful_ns" in s["loop"] for s in run.summaries):
            raise measured.ToolError("the dataplanes' summaries have no time of useful rounds")
        classes = [c for s in run.summaries for c in s["classes"].values()]
        handled = sum(c["tx_messages"] + c["rx_messages"] for c in classes)
        for name, key in (("useful", "useful_ns"), ("cpu", "cpu_ns")):
            ns = run.count("loop", key)
            self.add(f"cycles/loop/{name}", "ns/message", ns / handled, messages=handled)
            self.add(f"cycles/loop/{name}_cycles", "cycles/message", ns * run.khz / 1e6 / handled, messages=handled)

    def rows(self):
        return [measured.value(name, unit, each, 1, counts=self.counts[name])
                for (name, unit), each in self.each.items()]  # fmt: skip


def table(results):
    print(f"{'result':<30}{'median':>10}  spread")
    for r in results:
        spread = f"{r['low']:g}..{r['high']:g}"
        print(f"{r['name']:<30}{r['median']:>10g}  {spread} {r['unit']}, of {r['counts']['messages']}")


def main():
    args = guests.arguments("cycles", __doc__, 4, ("samples", 2000, 100, 100000, "reads a round"))
    cycles, missing, start = Cycles(), [], time.monotonic()
    steps = [("a fixed trace", lambda: cycles.trace(args)), ("the poll loops", lambda: cycles.loop(args))]
    if measured.run_steps("cycles", args, steps, missing):
        with measured.until_signal(missing):
            try:
                cycles.instructions(args)  # the same each time
            except measured.ToolError as e:
                missing.append(f"instructions a message: {e}")
    short = guests.cores_short(NODES)
    remarks = [f"{short}: cycles/loop/useful has the time that others took from the loops"] if short else []
    measured.report("cycles", args, start, cycles.rows(), [], missing, table, remarks,
                    config=cycles.configs[-1] or None)  # fmt: skip
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
