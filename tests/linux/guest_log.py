#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the Linux guest says on its console: lines become results.

    guest_log.py [FILE]     reads a console log; exit status 0 if all that was begun has passed
"""
import re
import sys

PREFIX = "pando-guest: "
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1bc|\r")
# A kernel's line that means that the machine was not right. What jobs print has no time stamp in front.
KERNEL = r"\[ *\d+\.\d+\].*"
CRASHES = [
    ("panic", re.compile(r"Kernel panic - not syncing(?!.*sysrq)")),
    ("BUG", re.compile(KERNEL + r"(\bBUG: |kernel BUG at)")),
    ("oops", re.compile(KERNEL + r"(Oops: |general protection fault|unable to handle|double fault:|invalid opcode: )")),
    ("lockup", re.compile(KERNEL + r"(soft lockup|hard LOCKUP)", re.I)),
    ("stall", re.compile(KERNEL + r"(detected .*stalls|self-detected stall|rcu_\w+ kthread starved)")),
    ("hung task", re.compile(KERNEL + r"blocked for more than \d+ seconds")),
    ("warning", re.compile(KERNEL + r"WARNING: CPU:(?!.* sched_tick_remote\+)")),  # jobs/harmless.txt says why not
    ("clock", re.compile(KERNEL + r"(Marking (TSC|clocksource) .*unstable|TSC unstable|clocksource .* skewed)", re.I)),
    ("cpu", re.compile(KERNEL + r"(failed to report alive|do_boot_cpu failed|Not responding|failed to come online)", re.I)),
    ("timer", re.compile(KERNEL + r"(IO-APIC .* timer doesn't work|APIC timer .*not|nobody cared)", re.I)),
]


class GuestLog:
    """Fed line by line; says at any time what is known.

    userspace_s   seconds after the kernel's start at which /init ran, or None
    boots, due    how often it did, and should
    jobs          names as announced
    running       the job that has begun and not ended, or None
    passed        {job: (seconds, words)}
    failed        {job: why}
    crash         (kind, line) of the first bad line of the kernel, or None
    done          all jobs have ended"""

    def __init__(self, boots=1):
        self.userspace_s, self.boots, self.due = None, 0, boots
        self.jobs, self.running = [], None
        self.passed, self.failed, self.seconds = {}, {}, {}
        self.crash, self.done = None, False

    def feed(self, line):
        line = ANSI.sub("", line).rstrip("\n")
        at = line.find(PREFIX)
        if at >= 0:
            self.result(line[at + len(PREFIX) :])
        elif not self.crash:
            for kind, pattern in CRASHES:
                if pattern.search(line):
                    self.crash = (kind, line.strip())
                    break
        return self

    def result(self, words):
        if found := re.match(r"userspace after ([\d.]+) s", words):
            if self.boots and not self.done:
                self.failed["boot"] = f"the guest came up again in the middle of boot {self.boots}"
            self.userspace_s, self.boots = float(found[1]), self.boots + 1
            self.jobs, self.passed, self.running, self.done = [], {}, None, False  # of this boot
        elif found := re.match(r"jobs(.*)", words):
            self.jobs = found[1].split()
        elif found := re.match(r"begin (\S+)", words):
            self.running = found[1]
        elif found := re.match(r"pass (\S+) ([\d.]+) s(?:: (.*))?", words):
            self.passed[found[1]] = (float(found[2]), found[3] or "")
            self.ended(found[1], float(found[2]))
        elif found := re.match(r"FAIL (\S+): (.*?)(?: \(([\d.]+) s\))?$", words):
            self.failed[found[1]] = found[2]
            self.ended(found[1], float(found[3] or 0))
        elif found := re.match(r"module (\S+) does not load", words):
            self.failed[f"module {found[1]}"] = "it does not load"
        elif words == "done":
            self.done = True

    def ended(self, name, seconds):
        self.seconds[name] = seconds
        if self.running == name:
            self.running = None

    def missing(self):
        """Jobs that were announced and have no result."""
        return [name for name in self.jobs if name not in self.passed and name not in self.failed]

    def problem(self):
        """The first thing that is wrong, in words, or None."""
        if self.crash:
            return f"the guest's kernel, {self.crash[0]}: {self.crash[1]}"
        for name, why in self.failed.items():
            return f"job {name}: {why}"
        if self.userspace_s is None:
            return "the guest did not come to its userspace"
        if self.running:
            return f"job {self.running} did not end"
        if self.missing():
            return f"jobs without a result: {', '.join(self.missing())}"
        if not self.done:
            return "the guest did not say that it is done"
        return None if self.boots == self.due else f"the guest came up {self.boots} times, not {self.due}"

    def text(self):
        """For people: a line a job."""
        lines = [f"userspace after {self.userspace_s} s"] if self.userspace_s is not None else []
        lines += [f"pass {n:<9} {s:6.1f} s  {words}" for n, (s, words) in self.passed.items()]
        lines += [f"FAIL {n:<9} {self.seconds.get(n, 0):6.1f} s  {why}" for n, why in self.failed.items()]
        return "\n".join(lines + [self.problem() or f"all {len(self.passed)} jobs passed"])


def parse(lines, boots=1):
    log = GuestLog(boots)
    for line in lines:
        log.feed(line)
    return log


def main():
    if len(sys.argv) > 2:
        print(__doc__, file=sys.stderr)
        return 2
    name = sys.argv[1] if len(sys.argv) > 1 else "/dev/stdin"
    with open(name, encoding="utf-8", errors="replace") as f:
        log = parse(f)
    print(log.text())
    return 1 if log.problem() else 0


if __name__ == "__main__":
    sys.exit(main())
