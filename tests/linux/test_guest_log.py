#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Tests of what the harness reads of the Linux guest, and of what the guest reads of its kernel."""
import os
import shutil
import subprocess
import tempfile
import unittest

import guest_log
import symbols

HERE = os.path.dirname(os.path.abspath(__file__))
GOOD = """\
[    0.000000] Linux version 6.1.0
[    0.1] some words
pando-guest: userspace after 3.21 s
pando-guest: jobs show clock kernel
pando-guest: begin show
kernel: 6.1.0
pando-guest: pass show 0.4 s: 4 CPUs, 2 nodes
pando-guest: begin clock
clock: nothing BUG: of the kernel's
pando-guest: pass clock 5.0 s
pando-guest: begin kernel
pando-guest: pass kernel 0.1 s: no complaint
pando-guest: done
[   12.345678] reboot: Power down
""".splitlines()

CRASHES = {
    "panic": "[   1.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
    "BUG": "[   10.123456] BUG: kernel NULL pointer dereference, address: 0000000000000010",
    "lockup": "[   36.000001] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [swapper/1:0]",
    "stall": "[   21.012345] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "hung task": "[  242.1] INFO: task init:1 blocked for more than 120 seconds.",
    "oops": "[    5.0] general protection fault, probably for non-canonical address 0x1: 0000 [#1] SMP",
    "warning": "[    5.0] WARNING: CPU: 1 PID: 1 at kernel/smp.c:1 f+0x1/0x2",
    "clock": "[    5.0] tsc: Marking TSC unstable due to clocksource watchdog",
    "cpu": "[    5.0] smpboot: do_boot_cpu failed(-1) to wakeup CPU#1",
}


class GuestLogTest(unittest.TestCase):
    def test_good(self):
        log = guest_log.parse(GOOD)
        self.assertIsNone(log.problem())
        self.assertEqual(log.userspace_s, 3.21)
        self.assertEqual(log.jobs, ["show", "clock", "kernel"])
        self.assertEqual(log.passed["show"], (0.4, "4 CPUs, 2 nodes"))
        self.assertEqual(log.passed["clock"], (5.0, ""))
        self.assertTrue(log.done)
        self.assertIn("all 3 jobs passed", log.text())

    def test_console_noise(self):
        noisy = [f"\x1b[0m{line}\r" for line in GOOD]
        noisy[6] = "[    4.0] late words" + noisy[6]  # the kernel and the job share a line
        self.assertIsNone(guest_log.parse(noisy).problem())

    def test_failed_job(self):
        lines = [line.replace("pass clock 5.0 s", "FAIL clock: tsc went back (5.0 s)") for line in GOOD]
        log = guest_log.parse(lines)
        self.assertEqual(log.failed, {"clock": "tsc went back"})
        self.assertEqual(log.seconds["clock"], 5.0)
        self.assertEqual(log.problem(), "job clock: tsc went back")

    def test_a_module_that_does_not_load(self):
        log = guest_log.GuestLog()
        for line in ("userspace after 1 s", "module virtio_blk.ko does not load", "jobs show", "pass show 1 s", "done"):
            log.feed(guest_log.PREFIX + line)
        self.assertIn("virtio_blk.ko", log.problem())

    def test_failure_without_seconds(self):
        log = guest_log.parse(["pando-guest: FAIL nosuch: there is no such job"])
        self.assertEqual(log.failed, {"nosuch": "there is no such job"})

    def test_each_end_that_is_none(self):
        for n, words in (
            (0, "did not come to its userspace"),
            (5, "job show did not end"),
            (7, "jobs without a result: clock, kernel"),
            (12, "did not say that it is done"),
        ):
            self.assertIn(words, guest_log.parse(GOOD[:n]).problem())

    def test_crashes(self):
        for kind, line in CRASHES.items():
            log = guest_log.parse(GOOD[:3] + [line] + GOOD[3:])
            self.assertIsNotNone(log.crash, line)
            self.assertIn(log.crash[0], (kind, "BUG"))
            self.assertIn(line, log.problem())

    def test_a_tick_of_others_that_is_late_is_none(self):
        line = "[  156.3] WARNING: CPU: 0 PID: 46 at kernel/sched/core.c:5623 sched_tick_remote+0x14e/0x1b0"
        self.assertIsNone(guest_log.parse([line]).crash)
        self.assertIsNotNone(guest_log.parse([line.replace("sched_tick_remote", "scheduler_tick")]).crash)

    def test_words_of_a_job_are_no_crash(self):
        for line in ("litmus: BUG: none", "stall", "ipi: general protection fault", "blocked for more than 120 seconds"):
            self.assertIsNone(guest_log.parse([line]).crash)


class JobsTest(unittest.TestCase):
    """The shell functions that the jobs share, by the shell of the guest."""

    def setUp(self):
        if not shutil.which("busybox"):
            self.skipTest("there is no busybox")
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name

    def shell(self, script, text="", cmdline=""):
        with open(os.path.join(self.scratch, "cmdline"), "w", encoding="ascii") as f:
            f.write(cmdline + "\n")
        harmless = os.path.join(HERE, "jobs/harmless.txt")
        environment = dict(os.environ, HARMLESS=harmless, TMP=self.scratch, CMDLINE=os.path.join(self.scratch, "cmdline"))
        argv = ["busybox", "sh", "-c", f". {HERE}/jobs/lib.sh; {script}"]
        return subprocess.run(argv, input=text, capture_output=True, text=True, env=environment, check=False).stdout

    def test_bad_lines(self):
        for line, bad in (
            ("<6>[    0.0] Linux version 6.1", False),
            ("<4>[    0.0] a warning of no weight", False),
            ("<3>[    0.0] something failed", True),
            ("<27>[    0.0] a daemon's error", True),
            ("<30>[    0.0] a daemon's information", False),
            ("<4>[    0.0] tsc: Marking TSC unstable due to x", True),
            ("<4>[    0.0] WARNING: CPU: 0 PID: 1 at x", True),
            ("<4>[    0.0] WARNING: CPU: 0 PID: 46 at kernel/sched/core.c:5623 sched_tick_remote+0x14e/0x1b0", False),
            ("<6>[    0.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks", True),
            ("<6>[    0.0] sysrq: Show Blocked State", False),
        ):
            self.assertEqual(self.shell("bad_lines", line + "\n"), line + "\n" if bad else "", line)

    def test_words(self):
        line = "quiet pando.jobs=a,b pando.clock=seconds:3,break:tsc,drop pando.limit=7"
        self.assertEqual(self.shell("word jobs", cmdline=line), "a,b\n")
        self.assertEqual(self.shell("word end", cmdline=line), "")
        self.assertEqual(self.shell("options clock", cmdline=line).split(), ["--seconds=3", "--break=tsc", "--drop"])
        self.assertEqual(self.shell("options disk", cmdline=line).split(), [])
        self.assertEqual(self.shell("option clock break none", cmdline=line), "tsc\n")
        self.assertEqual(self.shell("option clock only none", cmdline=line), "none\n")


class TestBoots(unittest.TestCase):
    def test_a_second_boot_is_its_own(self):
        self.assertIsNone(guest_log.parse(GOOD + GOOD, 2).problem())
        self.assertIn("2 times", guest_log.parse(GOOD + GOOD).problem())
        self.assertIn("1 times", guest_log.parse(GOOD, 2).problem())
        self.assertIn("did not end", guest_log.parse(GOOD + GOOD[:5], 2).problem())
        self.assertIn("in the middle", guest_log.parse(GOOD[:5] + GOOD, 2).problem())


class TestSymbols(unittest.TestCase):
    def test_pages(self):
        found = symbols.Symbols(
            """\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff82a10000 D init_top_pgt
ffffffff82a11ff0 d two_pages
ffffffff82a13008 d another
ffffffff82a13010 d a_third
ffffffff82a20000 B _end
ffffffffc0000000 t module_init	[virtio_blk]
""".splitlines()
        )
        names = [found.of_page(p) for p in (0x2A10, 0x2A11, 0x2A12, 0x2A13, 0x2A20, 0x9999, 1)]
        self.assertEqual(names, ["init_top_pgt", "two_pages", "two_pages+", "another and 1 more", "", "", ""])


if __name__ == "__main__":
    unittest.main()
