# SPDX-License-Identifier: BSD-3-Clause
"""Tests of the harness itself: what it generates, what it notices, what it leaves."""
import argparse
import contextlib
import io
import itertools
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

import cluster
import kvm_tests
import options
import outcome
import procs
import summary
import workspace
from options import Options

BUILD = os.environ.get("PANDO_BUILD", "build")


def good_summary(node):
    return {
        "node": node,
        "faults": {"read": {"n": 10, "p50_us": 1, "p99_us": 2, "max_us": 3}},
        "classes": {"urgent": {"tx_messages": 10, "tx_frames": 5000, "retransmit": 4, "tx_bytes": 600,
                               "rx_bytes": 500}},
        "messages": {"gets": {"tx": 10, "rx": 6}, "data": {"tx": 3, "rx": 1}},
        "peers": {"a": {"tx_messages": 6, "rx_messages": 3, "tx_bytes": 400, "rx_bytes": 200, "retransmit": 1,
                        "group_bytes": 50},
                  "b": {"tx_messages": 4, "rx_messages": 5, "tx_bytes": 250, "rx_bytes": 300, "retransmit": 3,
                        "group_bytes": 0}},
        "rings": {"backlog": 2},
        "drops": {"engine.message_peer_down": 1, "engine.message_after_end": 1, "rrdp.duplicate": 7},
        "fault_filter": {"dropped": 50},
        "coherence": {"checks": 5, "violations": 0, "resident_high": 100},
    }


class OptionsTest(unittest.TestCase):
    def test_command_round_trip(self):
        parser = argparse.ArgumentParser()
        options.add_arguments(parser)
        for o in (
            Options(),
            Options(nodes=3, vcpus=6, fabric="af_packet", loss=2.5, dup=1, seed=7, guest="sweep"),
            Options(engine="giantvm-spin", fabric="udp", pinned=True),
            Options(
                cmdline="size=16 turns=1", check=False, plain=True, poll="busy", resident_pct=40
            ),
        ):
            words = shlex.split(o.command())
            self.assertEqual(words[:3], ["./dev", "demo", "--bare"])
            self.assertEqual(options.from_arguments(parser.parse_args(words[3:])), o)

    def test_generated_configurations_load(self):
        program = cluster.find_program(BUILD, "pando-config")
        for fabric, homes, nodes, pct in itertools.product(
            options.FABRICS, ("interleave", "range"), (1, 2, 3, 7), (0, 10, 40, 100)
        ):
            o = Options(
                nodes=nodes, vcpus=nodes, fabric=fabric, homes=homes, resident_pct=pct, ram=65
            )
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
                f.write(o.config("/run/x", "c", "pando0"))
                f.flush()
                r = subprocess.run([program, "check", f.name], capture_output=True, text=True)
                self.assertEqual((r.returncode, r.stderr), (0, ""))

    def test_baselines_have_addresses(self):
        program = cluster.find_program(BUILD, "pando-config")
        for engine, fabric in itertools.product(options.ENGINES, ("udp", "af_packet", "af_xdp")):
            o = Options(engine=engine, fabric=fabric, nodes=3, vcpus=3)
            text = o.config("/run/x", "c", "pando0")
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
                f.write(text)
                f.flush()
                r = subprocess.run([program, "check", f.name], capture_output=True, text=True)
            self.assertEqual((r.returncode, r.stderr), (0, ""))
            tcp = engine != "pando"
            self.assertEqual(o.dataplane, options.ENGINES[engine])
            self.assertEqual("type: udp\n" in text, tcp or fabric == "udp")
            self.assertEqual(f"address: {workspace.ADDRESS}3" in text, tcp and fabric != "udp")
            self.assertEqual("address: 127.0.0.3" in text, fabric == "udp")

    def test_pinned(self):
        program = cluster.find_program(BUILD, "pando-config")
        o = Options(nodes=2, vcpus=3, pinned=True)
        with mock.patch("os.sched_getaffinity", return_value=set(range(10, 18))):
            self.assertEqual([o.cores(0), o.cores(1)], [(10, 11, [12, 13]), (14, 15, [16])])
        with mock.patch("os.sched_getaffinity", return_value={4, 6, 7}):
            self.assertEqual([o.cores(0), o.cores(1)], [(4, 4, [4]), (6, 6, [6])])
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            f.write(o.config("/run/x", "c", "pando0"))
            f.flush()
            r = subprocess.run([program, "check", f.name], capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stderr)  # with few CPUs it warns that threads share them

    def test_problems_are_named(self):
        self.assertIsNone(options.problem(Options()))
        for bad in (
            Options(nodes=0),
            Options(nodes=65),
            Options(vcpus=0),
            Options(nodes=3, vcpus=2),
            Options(ram=1),
            Options(loss=101),
            Options(reorder=-1),
            Options(resident_pct=101),
            Options(mtu=100),
            Options(timeout=0),
            Options(dead_ms=1),
            Options(engine="giantvm"),  # over shm
            Options(engine="giantvm", fabric="udp", nodes=17, vcpus=17),
            Options(engine="giantvm", fabric="udp", resident_pct=50),
            Options(engine="giantvm", fabric="udp", loss=1),
            Options(engine="giantvm", fabric="af_packet", encapsulation="udp"),
        ):
            self.assertIsNotNone(options.problem(bad), bad)


class MatrixTest(unittest.TestCase):
    def test_pairwise_covers_every_pair(self):
        every = set().union(*(kvm_tests.pairs(c) for c in kvm_tests.all_cases()))
        for seed in range(5):
            cases = kvm_tests.pairwise(seed)
            self.assertEqual(set().union(*(kvm_tests.pairs(c) for c in cases)), every)
            self.assertLess(len(cases), 150)
            self.assertEqual(cases, kvm_tests.pairwise(seed))

    def test_cases_are_possible(self):
        for case in kvm_tests.always() + kvm_tests.all_cases():
            self.assertTrue(kvm_tests.possible(case))
            self.assertIsNone(options.problem(kvm_tests.to_options(case, 1)))


class SummaryTest(unittest.TestCase):
    def problem(self, change, **more):
        result = cluster.Result(status=1, summaries=[good_summary(0), good_summary(1)])
        change(result.summaries)
        return summary.problem(result, Options(**more))

    def test_good(self):
        self.assertIsNone(self.problem(lambda s: None))
        self.assertIsNone(self.problem(lambda s: None, loss=1.0, resident_pct=50))

    def test_copies_are_shown(self):
        s = good_summary(1)
        s["port"] = {"name": "memif"}
        s["copies"] = {"per_page_out": {"ours": 0.0, "driver": 1.0}, "per_page_in": {"ours": 1.0, "driver": 2.0},
                       "thawed_bytes": 3 * 4096, "parked_bytes": 7 * 1024}
        rows = summary.copy_rows([s, good_summary(2)])  # the second one has no such section
        self.assertEqual(rows[1], ("node 1, memif", "0.00", "1.00", "1.00", "2.00", 3, 7))
        self.assertEqual({len(r) for r in rows}, {7})

    def test_each_problem_is_noticed(self):
        def set_all(value, *path):
            def change(summaries):
                for s in summaries:
                    for key in path[:-1]:
                        s = s[key]
                    s[path[-1]] = value

            return change

        cases = (
            (lambda s: s.__setitem__(1, {}), {}),
            (set_all(1, "coherence", "violations"), {}),
            (set_all(0, "coherence", "checks"), {}),
            (set_all(0, "faults", "read", "n"), {}),
            (set_all(0, "classes", "urgent", "tx_messages"), {}),
            (set_all(0, "fault_filter", "dropped"), {"loss": 1.0}),
            (set_all(0, "classes", "urgent", "retransmit"), {"loss": 1.0}),
            (set_all(32768, "coherence", "resident_high"), {"resident_pct": 50}),
            *((set_all(77, "peers", "b", key), {}) for key in good_summary(0)["peers"]["b"]),
            *((set_all(77, "messages", "gets", way), {}) for way in ("tx", "rx")),
            (set_all(0, "rings", "backlog"), {}),
            (set_all(0, "drops", "engine.message_peer_down"), {}),
            (set_all(0, "drops", "engine.message_after_end"), {}),
            (set_all(1, "drops", "engine.message_kind"), {}),
        )
        for i, (change, more) in enumerate(cases):
            self.assertIsNotNone(self.problem(change, **more), i)


class ProcessTest(unittest.TestCase):
    def test_children_die_with_a_killed_parent(self):
        script = (
            "import procs, time\ng = procs.Group()\n"
            "p = procs.Process(g, 'x', ['sleep', '60'])\nprint(p.pid, flush=True)\ntime.sleep(60)\n"
        )
        here = os.path.dirname(os.path.abspath(__file__))
        parent = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=here
        )
        child = int(parent.stdout.readline())
        start = workspace.start_time(child)
        self.assertIsNotNone(start)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
        end = time.monotonic() + 2
        while time.monotonic() < end and workspace.start_time(child) == start:
            with open(f"/proc/{child}/stat", encoding="ascii") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
            time.sleep(0.01)
        self.assertNotEqual(workspace.start_time(child), start)

    def test_end_all_ends_the_stubborn(self):
        group = procs.Group()
        lines = []
        p = procs.Process(
            group,
            "stubborn",
            ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
            on_line=lambda process, stream, text: lines.append((stream, text)),
        )
        self.assertTrue(group.wait_until(lambda: lines, time.monotonic() + 5))
        self.assertEqual(group.end_all(grace=0.3), ["stubborn"])
        self.assertEqual(procs.exit_words(p.status), "was killed by SIGKILL")
        group.close()

    def test_output_and_status(self):
        group = procs.Group()
        lines = []
        p = procs.Process(
            group,
            "x",
            ["sh", "-c", "echo a; echo b >&2; printf c; exit 3"],
            on_line=lambda process, stream, text: lines.append(stream + text),
        )
        self.assertTrue(group.wait_until(lambda: p.status is not None, time.monotonic() + 5))
        self.assertEqual((p.status, sorted(lines)), (3, ["errb", "outa", "outc"]))
        group.close()


class WorkspaceTest(unittest.TestCase):
    def test_stale_is_removed_and_live_is_not(self):
        space = workspace.Workspace()
        dead = subprocess.Popen(["true"])
        dead.wait()
        stale = os.path.join(workspace.BASE, f"{dead.pid}-1-1")
        os.makedirs(stale)
        removed = workspace.clean_stale()
        self.assertIn(stale, removed)
        self.assertFalse(os.path.exists(stale))
        self.assertTrue(os.path.isdir(space.directory))
        space.remove()
        self.assertFalse(os.path.exists(space.directory))

    def test_leftover_process_is_ended_only_if_it_is_the_same(self):
        child = subprocess.Popen(["sleep", "60"])
        with tempfile.TemporaryDirectory() as directory:
            record = os.path.join(directory, "processes")
            start = workspace.start_time(child.pid)
            with open(record, "w", encoding="ascii") as f:
                f.write(f"{child.pid} {start + 1}\n")
            self.assertEqual(workspace.kill_leftovers(directory), [])
            with open(record, "w", encoding="ascii") as f:
                f.write(f"{child.pid} {start}\n")
            self.assertEqual(workspace.kill_leftovers(directory), [child.pid])
        self.assertEqual(child.wait(5), -signal.SIGKILL)


class Outcomes(unittest.TestCase):
    """A failure fails, a skip is neither: what is printed, tallied and returned."""

    def setUp(self):
        self.tally = tempfile.NamedTemporaryFile("r", encoding="utf-8")
        self.addCleanup(self.tally.close)

    def run_one(self, test):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            good = outcome.run(self.tally.name, "suite/case", test)
        return good, said.getvalue(), self.tally.read()

    def raising(self, error):
        def test():
            raise error

        return self.run_one(test)

    def test_pass(self):
        good, said, tallied = self.run_one(lambda: (None, "a note"))
        self.assertTrue(good and said.startswith("ok   suite/case") and "a note" in said)
        self.assertEqual(tallied, "pass\tsuite/case\t\n")

    def test_fail(self):
        for test in (lambda: "it broke", lambda: ("it broke", "a note")):
            self.tally.seek(0, 2)
            good, said, tallied = self.run_one(test)
            self.assertFalse(good)
            self.assertTrue(said.startswith("FAIL suite/case"))
            self.assertEqual(tallied, "fail\tsuite/case\tit broke\n")
        good, _, tallied = self.raising(cluster.SetupError("no root"))
        self.assertFalse(good)
        self.assertEqual(tallied, "fail\tsuite/case\tno root\n")

    def test_skip(self):
        good, said, tallied = self.raising(outcome.Skipped("no such machine"))
        self.assertTrue(good and said.startswith("SKIP"))
        self.assertEqual(tallied, "skip\tsuite/case\tno such machine\n")

    def test_status(self):
        self.assertEqual(outcome.status([True, True]), 0)
        self.assertEqual(outcome.status([True, False]), 3)


if __name__ == "__main__":
    unittest.main()
