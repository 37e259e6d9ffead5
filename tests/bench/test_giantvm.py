#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench giantvm: what it makes of samples, and that rounds are compared with their neighbours only."""
import argparse
import os
import sys
import time
import types
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "perf"), os.path.join(ROOT, "perf", "common")]
import giantvm  # noqa: E402
import guests  # noqa: E402
import measured  # noqa: E402
import output  # noqa: E402


def filled(us):
    """All results; us: side -> microseconds of a fault, the slowest of each round ten times that."""
    sides = giantvm.Sides()
    for turn in range(5):
        for side, value in us.items():
            ns = [value * 1000 + turn] * 98 + [value * 10000] * 2
            for what in (*giantvm.FAULTS, "ipi", "handover"):
                sides.add_samples(what, side, turn, ns)
            for kernel in giantvm.KERNELS:
                sides.add_value(f"{kernel}_messages", side, turn, value / 100)
                sides.add_value(f"{kernel}_bytes", side, turn, value)
            for kind in giantvm.SERVED.values():
                sides.add_value(f"served_{kind}_p50", side, turn, value)
                sides.add_value(f"served_{kind}_p99", side, turn, 2 * value)
    for turn in range(5):
        for name in ("uffd_spin/minor_shared", "uffd_spin/minor_modified", "uffd_spin/wp_upgrade", "take/wp", "take/zap"):
            sides.floors.add(guests.line_of_samples(f"floor/{name}", [4000] * 9))
        for name in giantvm.RAW:
            sides.floors.add(guests.line_of_samples(name, [12000] * 9))
    return sides


class SidesTest(unittest.TestCase):
    US = {"af_packet": 30, "af_xdp": 40, "giantvm": 100, "giantvm_spin": 40, "shm": 10, "giantvm_loopback": 90,
          "giantvm_spin_loopback": 30}

    def goal(self, name, goals):
        return next(g for g in goals if g["name"] == name)

    def test_goals_are_computed(self):
        goals = filled(self.US).goals(giantvm.P99_SAMPLES)
        self.assertEqual(len(goals), len(giantvm.FAULTS) * 2 * 4)
        g = self.goal("giantvm/read/af_packet : giantvm/read/giantvm (p50)", goals)
        self.assertEqual((g["value"], g["goal"], g["met"]), (0.3, 0.3333, True))
        g = self.goal("giantvm/read/af_xdp : giantvm/read/giantvm (p50)", goals)
        self.assertEqual((g["value"], g["met"]), (0.4, False))
        g = self.goal("giantvm/read/af_packet : giantvm/read/giantvm (p99)", goals)
        self.assertEqual((g["value"], g["goal"], g["met"]), (0.3, 0.2, False))
        self.assertIn("af_xdp: 40 us at the vCPU, 40 us from message", self.goal(
            "giantvm/read/af_xdp : giantvm/read/giantvm (p50)", goals)["why"])
        self.assertTrue(all("why" in g for g in goals if not g["met"]))
        g = self.goal("giantvm/write/af_xdp : giantvm/write/giantvm (p99)", goals)
        self.assertEqual(g["why"], "of the 40 us of giantvm/write/af_xdp: a local fault (minor_modified) 4.00 us (10 %), taking "
                         "the page (zap) 4.00 us (10 %), a round trip of the port by itself 12 us (30 %); the rest 20 us; its "
                         "p99 of 400 us is 10.0 times that")  # fmt: skip
        self.assertIn("af_xdp: 40 us at the vCPU", self.goal("giantvm/upgrade/3/af_xdp : giantvm/upgrade/3/giantvm (p50)", goals)["why"])
        # Below the spinning one: equal is not.
        g = self.goal("giantvm/write/af_xdp : giantvm/write/giantvm_spin (p50)", goals)
        self.assertEqual((g["value"], g["sense"], g["met"]), (1.0, "<", False))
        self.assertLess(self.goal("giantvm/write/af_packet : giantvm/write/giantvm_spin (p50)", goals)["p"], 0.01)

    def test_of_few_samples_the_99th_percentile_is_not_judged(self):
        goals = filled(self.US).goals(giantvm.P99_SAMPLES - 1)
        self.assertEqual(len(goals), len(giantvm.FAULTS) * 2 * 2)
        self.assertTrue(all(g["name"].endswith("(p50)") for g in goals))

    def test_a_round_that_one_side_lacks_is_left_out(self):
        sides = giantvm.Sides()
        for turn, value in enumerate((10, 20, 30)):
            sides.add_samples("read", "af_xdp", turn, [value * 1000])
        for turn, value in ((0, 100), (2, 300)):
            sides.add_samples("read", "giantvm", turn, [value * 1000])
        each, both = sides.paired(sides.p50, "read", "af_xdp", "giantvm")
        self.assertEqual(each, [0.1, 0.1])
        self.assertEqual(both, ([10, 30], [100, 300]))
        self.assertIsNone(sides.paired(sides.p50, "read", "af_packet", "giantvm"))

    def test_it_is_what_the_schema_asks_for(self):
        sides = filled(self.US)
        args = argparse.Namespace(build="build", json=True, rounds=5, samples=100)
        out = output.built("giantvm", args, time.monotonic(), sides.rows(), sides.goals(giantvm.P99_SAMPLES), ["something"],
                           giantvm.remarks(), ratios=sides.ratios(), floor=[])
        row = next(r for r in out["results"] if r["name"] == "giantvm/read/af_packet")
        self.assertEqual((row["n"], row["max"]), (500, 300.0))
        self.assertEqual(len(out["ratios"]), (3 + 4 + 8) * 4 + 3 * 2)
        names = {r["name"] for r in out["results"]}
        self.assertTrue({"floor/uffd_spin/minor_shared", "rtt/raw_af_packet/64", "rtt/raw_af_xdp/64"} <= names, names)

    def test_without_floors_nothing_is_said_of_them(self):
        sides = filled(self.US)
        sides.floors = measured.Rounds()
        goals = sides.goals(giantvm.P99_SAMPLES)
        self.assertFalse(any("why" in g for g in goals if "/write/" in g["name"]))
        self.assertTrue(all("port by itself" not in g.get("why", "") for g in goals))


class RunTest(unittest.TestCase):
    def test_the_floors_are_of_each_round(self):
        tools = {"uffd_floor": ["floor/uffd_spin/minor_shared"], "pando-rtt": ["rtt/raw_af_xdp/64", "rtt/tcp_spin/64"]}
        steps = giantvm.steps_of(types.SimpleNamespace(build="", samples=4))
        ((title, step),) = steps[0]
        sides, real = giantvm.Sides(), measured.run_tool
        measured.run_tool = lambda _build, tool, *_words: [guests.line_of_samples(n, [1000]) for n in tools[tool]]
        try:
            for turn in range(2):
                step(sides, turn)
        finally:
            measured.run_tool = real
        self.assertEqual((title, sides.floors.get("rtt/raw_af_xdp/64", "round_p50")), ("the floors", [1.0, 1.0]))
        self.assertEqual(sorted(sides.floors.names("")), ["floor/uffd_spin/minor_shared", "rtt/raw_af_xdp/64"])

    def test_all_samples_or_none(self):
        run = guests.Run(samples={"read": [1000, 2000, 3000]})
        self.assertEqual(giantvm.samples_of(run, "read", 3), [1000, 2000, 3000])
        for mode, n in (("read", 4), ("read", 2), ("write", 1)):
            with self.assertRaises(measured.ToolError):
                giantvm.samples_of(run, mode, n)

    def test_who_begins_takes_turns(self):
        begun, args = [], types.SimpleNamespace(build="", samples=4, rounds=2, limit=0)
        real, giantvm.steps_of = giantvm.steps_of, lambda args: [[(s, lambda sides, turn, s=s: begun.append((turn, s)))
                                                                 for s in "abc"]]
        try:
            giantvm.measure(args, giantvm.Sides(), [])
        finally:
            giantvm.steps_of = real
        self.assertEqual([s for _, s in begun], list("abcbca"))

    def test_what_fails_is_named_and_left_out(self):
        calls, missing = [], []

        def fails(sides, turn):
            calls.append(turn)
            raise measured.ToolError("it broke")

        real, giantvm.steps_of = giantvm.steps_of, lambda args: [[("bad", fails)]]
        try:
            giantvm.measure(types.SimpleNamespace(rounds=3, limit=0), giantvm.Sides(), missing)
        finally:
            giantvm.steps_of = real
        self.assertEqual(calls, [0])
        self.assertEqual(missing, ["bad, from round 1 on: it broke"])

    def test_no_round_begins_that_does_not_fit(self):
        calls, missing = [], []
        real, giantvm.steps_of = giantvm.steps_of, lambda args: [[("slow", lambda sides, turn: (calls.append(turn),
                                                                                               time.sleep(0.6)))]]
        try:
            giantvm.measure(types.SimpleNamespace(rounds=9, limit=1), giantvm.Sides(), missing)
        finally:
            giantvm.steps_of = real
        self.assertEqual(calls, [0])
        self.assertEqual(missing, ["8 of 9 rounds: they did not fit into --limit 1"])


if __name__ == "__main__":
    unittest.main()
