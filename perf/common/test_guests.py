# SPDX-License-Identifier: BSD-3-Clause
"""The benches of guests without guests: what is read of their lines, how it is put together and judged."""
import argparse
import os
import sys
import types
import unittest
from unittest import mock

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import cycles  # noqa: E402
import fault  # noqa: E402
import guests  # noqa: E402
import ipi  # noqa: E402
import kernels  # noqa: E402
import measured  # noqa: E402
import output  # noqa: E402
import scale  # noqa: E402
import schema  # noqa: E402
import upgrade  # noqa: E402

ARGS = argparse.Namespace(build="build", fabric="shm", rounds=4, samples=10, blocks=2, ms=100, reps=2, json=True,
                          limit=None)  # fmt: skip


def read(*lines):
    reader = guests.Reader()
    for line in lines:
        reader.line(types.SimpleNamespace(name="vmm"), "out", line)
    return reader


def a_round(name, p50, p99=None):
    line = guests.line_of_samples(name, [p50 * 1000])
    return line | ({"round_p99": [p99]} if p99 else {})


def filled(values):
    """measured.Rounds of {name: its rounds' medians}."""
    rounds = measured.Rounds()
    for name, each in values.items():
        for p50 in each:
            rounds.add(a_round(name, p50))
    return rounds


def checked(test, results, goals=(), ratios=(), missing=()):
    out = output.built("unit", ARGS, 0, list(results), list(goals), list(missing), (), ratios, floor=[])
    test.assertEqual(schema.check(out), [])
    return out


class ReaderTest(unittest.TestCase):
    def test_samples_end_where_bench_says(self):
        run = read("BENCH read unit=cycles n=5 p50=1 tsc_khz=2000000 peer=1", "SAMPLES read 2000 4000 6000 8000",
                   "SAMPLES read 10000 10000 10000 10000").run  # fmt: skip
        self.assertEqual(run.samples, {"read": [1000, 2000, 3000, 4000, 5000]})

    def test_histogram_is_of_nanoseconds(self):
        run = read("HIST alone/00 n=3 max=4000 tsc_khz=2000000", "BUCKETS alone/00 63:1 4031:2").run
        self.assertEqual(run.top, {"alone/00": 2000})
        self.assertEqual(sum(run.hists["alone/00"].values()), 3)
        self.assertEqual(run.hists["alone/00"], {31: 1, 2015: 2})

    def test_counts(self):
        run = read("KERNEL sort rep=0 ops=65536 cycles=3000 tsc_khz=3000000", "STORM cpu=1 page=7 mmio=9",
                   "RATE cpu=2 accesses=5 writes=4 cycles=6000 tsc_khz=3000000", "counters: 1 vCPU",
                   "HISTORY x").run  # fmt: skip
        self.assertEqual((run.kernels, run.storms), ([(65536, 1000)], [{"page": 7, "mmio": 9}]))
        self.assertEqual(run.rates, [(5, 4, 2000)])

    def test_warm(self):
        run = read("BENCH read unit=cycles n=5 p50=1 tsc_khz=2000000 peer=1 sharers=1 warm=8",
                   "RATE cpu=2 accesses=5 writes=4 cycles=6000 tsc_khz=3000000 warm=3").run  # fmt: skip
        self.assertEqual(run.warm, [8, 3])

    def test_work_is_looked_at_when_it_begins_and_ends(self):
        reader, seen = read(), []
        reader.look = lambda: [{"seen": len(seen)}]
        for line in ("WORK begins", "WORK ends"):
            seen.append(line)
            reader.line(types.SimpleNamespace(name="vmm"), "out", line)
        self.assertEqual((reader.run.marks, reader.run.late), ({"begins": [{"seen": 1}], "ends": [{"seen": 2}]}, ""))

    def test_a_line_that_comes_too_late(self):
        """The guest works again, and two looks differ."""
        reader, faults = read(), iter((100, 100 + guests.RESTING_FAULTS + 1))
        reader.look = lambda: [{"faults": {"read": {"n": next(faults)}}}]
        reader.line(types.SimpleNamespace(name="vmm"), "out", "WORK begins")
        self.assertIn("9 faults between two looks", reader.run.late)
        reader.look = lambda: None
        reader.line(types.SimpleNamespace(name="vmm"), "out", "WORK ends")
        self.assertIn("does not answer", reader.run.late)

    def test_a_look_that_comes_too_late(self):
        now = iter((0, guests.REST_MS / 1e3))
        reader = read()
        reader.look = lambda: []
        with mock.patch.object(guests.time, "monotonic", lambda: next(now)):
            reader.line(types.SimpleNamespace(name="vmm"), "out", "WORK begins")
        self.assertIn(f"after {guests.REST_MS} ms", reader.run.late)

    def test_only_the_console_counts(self):
        reader = guests.Reader()
        reader.line(types.SimpleNamespace(name="vcpud1"), "out", "KERNEL sort rep=0 ops=1 cycles=1 tsc_khz=1")
        reader.line(types.SimpleNamespace(name="vmm"), "err", "KERNEL sort rep=0 ops=1 cycles=1 tsc_khz=1")
        self.assertEqual(reader.run.kernels, [])

    def test_line_of_samples(self):
        line = guests.line_of_samples("x", range(1000, 101000, 1000))
        self.assertEqual((line["round_p50"], line["round_p99"], line["max"], line["n"]), ([50.0], [99.0], 100.0, 100))
        self.assertEqual(sum(n for _, n in line["buckets"]), 100)


class FaultTest(unittest.TestCase):
    ROUNDS = {"floor/uffd_spin/minor_shared": [4] * 4, "floor/take/wp": [1] * 4, "rtt/raw_shm/64": [5] * 4}

    def test_goal_is_of_the_floor_of_the_same_round(self):
        rounds = filled(self.ROUNDS | {"fault/read": [10, 12, 11, 20]})
        with mock.patch.object(guests, "cores", lambda: 64):
            missing = []
            goals, ratios = fault.judge(rounds, "shm", missing)
        self.assertEqual([(g["value"], g["low"], g["high"], g["met"]) for g in goals], [(1.15, 1.0, 2.0, True)])
        self.assertEqual(missing, [])
        checked(self, [rounds.time_row(n) for n in rounds.names("")], goals, ratios)

    def test_missed(self):
        rounds = filled(self.ROUNDS | {"fault/read": [13, 13, 13, 13]})
        with mock.patch.object(guests, "cores", lambda: 64):
            (goal,), _ = fault.judge(rounds, "shm", [])
        self.assertEqual((goal["value"], goal["met"], goal["short_by"]), (1.3, False, 0.05))

    def test_no_goal_without_cores(self):
        rounds = filled(self.ROUNDS | {"fault/read": [10, 10, 10, 10]})
        with mock.patch.object(guests, "cores", lambda: 2):
            missing = []
            goals, ratios = fault.judge(rounds, "shm", missing)
        self.assertEqual((goals, [r["value"] for r in ratios]), ([], [1.0]))
        self.assertIn("share 2 CPUs", missing[0])

    def test_what_is_no_fault_does_not_count(self):
        line = fault.faults_of("fault/read", [500] + [9000] * 99, 3000)
        self.assertEqual((line["n"], line["round_p50"]), (99, [9.0]))
        with self.assertRaises(measured.ToolError):
            fault.faults_of("fault/read", [500] * 3 + [9000] * 97, 3000)
        self.assertEqual(fault.fastest(filled({"floor/uffd_spin/k": [4, 3]}), "k"), 3007)

    def test_hops(self):
        rounds = filled({"floor/uffd_spin/k": [1], "floor/take/t": [2], "rtt/raw_shm/64": [10]})
        self.assertEqual(fault.floor_of(rounds, "rtt/raw_shm/64", "k", "t", 3), [18])
        self.assertIsNone(fault.floor_of(rounds, "rtt/raw_shm/64", "k", "zap", 3))


    def test_what_is_no_fault_is_tried_once_more(self):
        runs = {"read": [[500] * 20, [9000] * 20], "write": [[500] * 20] * 3}

        def run(build, guest, words, nodes, **more):
            mode = words.split("mode=")[1].split()[0]
            many = {"messages": {"gets": {"tx": 20}, "getm": {"tx": 20}}}
            return guests.Run(samples={mode: runs[mode].pop(0) if runs.get(mode) else [9000] * 20},
                              summaries=[many] * 3, config="c")  # fmt: skip

        rounds, missing = filled({f"floor/uffd_spin/{k}": [3] for k in ("minor_shared", "minor_modified")}), []
        args = argparse.Namespace(**vars(ARGS) | {"rounds": 1, "samples": 20})
        with mock.patch.object(guests, "run", run), mock.patch.object(measured, "run_tool", lambda *a: []), \
                mock.patch.object(measured, "say", lambda _: None):  # fmt: skip
            measured.run_steps("fault", args, fault.steps_of(args, rounds, []), missing)
        # Of write, two runs are write_modified's, the third write_shared's first.
        self.assertEqual(rounds.names("fault/"), ["fault/read", "fault/write_shared", "fault/first_touch", "fault/upgrade"])
        self.assertEqual([t.split(":")[0] for t in missing], ["fault/write_modified"])

    def test_a_kind_that_was_not_reached_is_not_measured(self):
        for name, f in ((n, f) for n, f in fault.FAULTS.items() if f.sent):
            node, kind = f.sent
            for sent, well in ((19, False), (20, True)):
                summaries = [{"messages": {kind: {"tx": 99}}} for _ in range(f.nodes)]
                summaries[node]["messages"][kind]["tx"] = sent
                run = guests.Run(summaries=summaries)
                with self.subTest(name=name, sent=sent):
                    if well:
                        fault.look_at_messages(f, run, 20)
                    else:
                        self.assertRaisesRegex(measured.ToolError, f"sent 19 {kind}", fault.look_at_messages, f, run, 20)
        self.assertEqual({n for n, f in fault.FAULTS.items() if f.sent}, {"fault/write_shared", "fault/first_touch"})

    def test_nobody_has_to_give_up_a_page_that_nobody_touched(self):
        rounds = filled({"floor/uffd_spin/minor_modified": [3], "rtt/raw_shm/64": [10]})
        self.assertEqual(fault.floor_of(rounds, "rtt/raw_shm/64", "minor_modified", "", 2), [13])

    def test_why_is_of_what_was_measured(self):
        rounds = filled(self.ROUNDS | {"rtt/shm/64": [9] * 4, "fault/read": [40] * 4})
        with mock.patch.object(guests, "cores", lambda: 64):
            (goal,), _ = fault.judge(rounds, "shm", [])
        self.assertEqual(goal["why"], "of the 40 us of fault/read: a local fault (minor_shared) 4.00 us (10 %), 2 hops of the "
                         "port 5.00 us (12 %), taking the page (wp) 1.00 us (2 %), the transport around the hops 4.00 us "
                         "(10 %); the rest 26 us")  # fmt: skip


class IpiTest(unittest.TestCase):
    def test_blocks_of_a_kind_are_one_round(self):
        run = guests.Run(storms=[{"page": 3, "mmio": 4}], config="c")
        for kind in ipi.KINDS:
            for block in range(2):
                run.hists[f"{kind}/{block:02}"], run.top[f"{kind}/{block:02}"] = {2015: 5, 4031: 5}, 4000 + block
        rounds, storms = measured.Rounds(), {"page": 0, "mmio": 0}
        with mock.patch.object(guests, "run", lambda *a, **k: run):
            for _ in range(4):
                ipi.measure(ARGS, rounds, storms, [])
        row = rounds.time_row("ipi/page")
        self.assertEqual((row["n"], row["max"], row["round_p50"], len(row["round_p99"])), (80, 4.001, [2.015] * 4, 4))
        self.assertEqual(storms, {"page": 12, "mmio": 16})
        goals, ratios = ipi.judge(rounds, ipi.P99_SAMPLES, [])
        self.assertEqual([g["met"] for g in goals], [True, True])
        checked(self, [row], goals, ratios)

    def test_a_tenth_is_too_much(self):
        rounds = measured.Rounds()
        for kind, p99 in (("alone", 100), ("page", 110), ("mmio", 109)):
            for _ in range(4):
                rounds.add(a_round(f"ipi/{kind}", 50, p99))
        judge = lambda: ipi.judge(rounds, ipi.P99_SAMPLES, [])[0]
        self.assertEqual([g["met"] for g in judge()], [False, True])
        for _ in range(4):
            rounds.add(a_round("ipi/spin", 50, 105))
        page, mmio = judge()
        self.assertIn("1.05 (1.05 to 1.05) of alone", page["why"])
        self.assertNotIn("why", mmio)


    def test_of_few_samples_the_99th_percentile_is_not_judged(self):
        missing = []
        self.assertEqual(ipi.judge(filled({"ipi/alone": [1] * 4, "ipi/page": [1] * 4}), 399, missing), ([], []))
        self.assertIn("399 samples of a kind a round, 400 are needed", missing[0])

    def test_in_all_there_are_enough(self):
        with mock.patch.object(sys, "argv", ["ipi", *ipi.IN_ALL["args"]]), \
                mock.patch.object(measured, "run_steps"), mock.patch.object(measured, "report"), \
                mock.patch.object(ipi, "judge", return_value=([], [])) as judge:  # fmt: skip
            ipi.main()
        self.assertGreaterEqual(judge.call_args.args[1], ipi.P99_SAMPLES)


class UpgradeTest(unittest.TestCase):
    def test_model(self):
        u = upgrade.Upgrades()
        u.rounds, u.trace = filled({"upgrade/sharers=1": [100, 200]}), [1000, 3000]
        self.assertEqual(u.modelled(15), [114, 242])
        rows = checked(self, u.rows())["results"]
        self.assertTrue(all(r["rounds"] == 0 and "modelled" in r for r in rows if "/modelled/" in r["name"]))
        with mock.patch.object(guests, "cores", lambda: 2):
            missing = []
            goals, ratios = upgrade.judge(u, missing)
        self.assertEqual((goals, ratios[0]["low"], ratios[0]["high"], len(missing)), ([], 1.14, 1.21, 1))

    def test_measured_is_judged(self):
        u = upgrade.Upgrades()
        u.rounds = filled({"upgrade/sharers=1": [100] * 4, "upgrade/sharers=15": [131] * 4})
        (goal,), _ = upgrade.judge(u, [])
        self.assertEqual((goal["value"], goal["met"]), (1.31, False))

    def test_messages_are_what_the_longer_run_has_more(self):
        u, runs = upgrade.Upgrades(), []

        def run(build, guest, words, nodes, **more):
            n = int(words.split("n=")[1].split()[0])
            runs.append((nodes, n))
            return types.SimpleNamespace(messages=lambda kind: 50 + n * {"inv": 3, "inv_ack": 3}.get(kind, 1))

        with mock.patch.object(guests, "run", run):
            u.counted(ARGS, 3)
            u.counted(ARGS, 3)
        self.assertEqual(u.messages, {3: {"getm": 1, "grant": 1, "inv": 3, "inv_ack": 3}})
        self.assertEqual(runs, [(4, upgrade.SHORT), (4, upgrade.LONG)])


class CountTest(unittest.TestCase):
    @staticmethod
    def fake(counted, **more):
        run = guests.Run(config="c", **more)
        run.counted = lambda: counted
        return run

    def test_scale_is_what_was_counted_while_the_guest_worked(self):
        def node(faults, messages, pages, size):
            return {"faults": {"read": {"n": faults}}, "classes": {"data": {"tx_messages": messages}},
                    "copies": {"page_out_bytes": pages * 4096}, "port": {"tx_bytes": size}}  # fmt: skip

        rates = scale.Rates()
        marks = {"begins": [node(4, 10, 2, 100), node(1, 1, 1, 1)], "ends": [node(104, 310, 102, 410100), node(1, 1, 1, 1)]}
        for _ in range(2):
            rates.add("scale/read/vcpus=1", guests.Run(marks=marks, rates=[(500, 0, 5e8), (500, 0, 4e8)]))
        (row,) = checked(self, rates.rows())["results"]
        self.assertEqual((row["median"], row["counts"]["faults"], row["counts"]["accesses"]), (200, 200, 2000))
        self.assertEqual([row["counts"][f"{k}_per_fault"] for k in scale.PER_FAULT], [3, 1, 4100])

    def test_work_whose_begin_or_end_is_not_known(self):
        for marks, late in (({"begins": []}, ""), ({"begins": [], "ends": []}, "late")):
            with self.assertRaises(measured.Unlucky):
                guests.Run(marks=marks, late=late).worked()

    def test_each_run_warms_up(self):
        asked = []

        def run(build, guest, words, nodes, vcpus, **more):
            asked.append(words)
            return guests.Run(warm=[0, 0])

        with mock.patch.object(guests, "run", run), self.assertRaisesRegex(measured.ToolError, "did not warm up"):
            scale.guest(ARGS, "reads=100")
        self.assertIn(f"warm_ms={scale.WARM_MS}", asked[0].split())

    def test_kernels_are_the_repetitions_between(self):
        runs = [self.fake({"messages": 100, "pages": 10, "bytes": 1000}, kernels=[(1000, 9e9)]),
                self.fake({"messages": 300, "pages": 30, "bytes": 5000},
                          kernels=[(1000, 9e9), (1000, 1e9), (1000, 2e9)])]  # fmt: skip
        k = kernels.Kernels()
        with mock.patch.object(guests, "run", lambda *a, **kw: runs.pop(0)):
            k.measure(ARGS, "matrix", 1)
        rows = {r["name"]: r["median"] for r in checked(self, k.rows())["results"]}
        self.assertEqual(rows, {"kernels/matrix/nodes=1/ops": 750, "kernels/matrix/nodes=1/messages": 100,
                                "kernels/matrix/nodes=1/pages": 10, "kernels/matrix/nodes=1/bytes": 2000})  # fmt: skip

    def test_a_repetition_that_is_not_told_of(self):
        with mock.patch.object(guests, "run", lambda *a, **kw: self.fake({}, kernels=[(1, 1)])):
            with self.assertRaises(measured.ToolError):
                kernels.Kernels().measure(ARGS, "matrix", 1)


class StepsTest(unittest.TestCase):
    def test_rounds_are_interleaved_and_what_fails_is_left_out(self):
        seen, missing = [], []

        def broken():
            seen.append("b")
            raise measured.ToolError("no")

        steps = [("a", lambda: seen.append("a")), ("b", broken), ("c", lambda: seen.append("c"))]
        measured.run_steps("x", ARGS, steps, missing)
        self.assertEqual(("".join(seen), missing), ("abcacacac", ["b: no"]))


    def test_nothing_begins_behind_the_limit(self):
        seen, missing, now = [], [], [0]

        def step():
            seen.append(now[0])
            now[0] += 4

        args = argparse.Namespace(**vars(ARGS) | {"limit": 10})
        with mock.patch.object(measured.time, "monotonic", lambda: now[0]):
            measured.run_steps("x", args, [("a", step), ("b", step)], missing)
        self.assertEqual((seen, missing), ([0, 4, 8], ["b of round 2 of 4 and what follows: 10 s were over"]))

    def test_a_signal_ends_the_rounds_and_what_was_measured_counts(self):
        seen, missing = [], []

        def interrupted():
            seen.append("b")
            if len(seen) > 3:
                raise KeyboardInterrupt

        steps = [("a", lambda: seen.append("a")), ("b", interrupted), ("c", lambda: seen.append("c"))]
        measured.run_steps("x", ARGS, steps, missing)
        self.assertEqual("".join(seen), "abcab")
        self.assertEqual(missing, ["what follows b of round 2 of 4: it was ended by a signal"])


class TraceTest(unittest.TestCase):
    """pando-cycles: the trace is what it was the last time, and its protocol's work is what it is made of."""

    def test_the_same_each_time(self):
        build = os.environ["PANDO_BUILD"]
        one, two, longer = (cycles.trace(build, n) for n in (1024, 1024, 2048))
        for key in ("faults", "messages", "frames"):
            self.assertEqual(one[key], two[key])
        # A page moves to and fro: 2 or 3 messages to other nodes where the home is another one, else 1 or 2.
        self.assertTrue(1 <= one["messages"] / one["faults"] <= 3, one)
        self.assertTrue(one["messages"] < longer["messages"] <= 2.2 * one["messages"], (one, longer))


if __name__ == "__main__":
    unittest.main()
