#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench span without guests: whose fault an access was, in which of two times, and what its stages are."""
import os
import sys
import types
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("perf", "perf/common"):
    sys.path.insert(0, os.path.join(HERE, "..", "..", folder))
import span  # noqa: E402

EPOCH = 1000000


def record(serial, read, kind="read", **more):
    stamps = {"read": read, "asked": read + 10, "request_tx": read + 20, "home_rx": read + 120, "owner_done": read + 200,
              "owner_tx": read + 210, "data_rx": read + 300, "mapped": read + 350}  # fmt: skip
    return {"serial": serial, "kind": kind, "object": 7, "home": 1, "owner": 1, "stamps": stamps | more}


def result(records, offset=0, rate_ppb=0):
    summary = {"spans": {"epoch": EPOCH, "khz": 1000000}, "clock": {"offset_ticks": offset, "rate_ppb": rate_ppb}}
    return types.SimpleNamespace(summaries=[summary, summary], spans=[records, records])


class Join(unittest.TestCase):
    def test_an_access_has_its_fault_and_its_stages_add_up(self):
        records = [record(1, EPOCH + 5000), record(2, EPOCH + 7000)]
        joined, others = span.join(result(records), [(4950, 5400), (6900, 7350 + 25)])
        self.assertEqual([r["serial"] for _, r in joined], [1, 2])
        self.assertEqual(others, 0)
        first, second = joined[0][0], joined[1][0]
        self.assertEqual((first["read"], first["resumed"], first["total"]), (50, 50, 450))
        self.assertEqual((second["read"], second["resumed"], second["home_rx"]), (100, 25, 100))

    def test_no_fault_two_faults_and_a_fault_that_sticks_out_are_left_out(self):
        records = [record(1, EPOCH + 5000), record(2, EPOCH + 5360), record(3, EPOCH + 9000), record(4, EPOCH + 12000)]
        stamps = [(1000, 2000), (4990, 5800), (9001, 9400), (12000 - 1, 12349), (11990, 12351)]
        joined, others = span.join(result(records), stamps)
        self.assertEqual([r["serial"] for _, r in joined], [4])
        self.assertEqual(others, 4)

    def test_interrupts_are_no_faults(self):
        other = record(2, EPOCH + 5010, kind="ipi")
        joined, _ = span.join(result([record(1, EPOCH + 5000), other]), [(4950, 5400)])
        self.assertEqual([r["serial"] for _, r in joined], [1])

    def test_a_guest_that_reads_the_host_tsc(self):
        """Where KVM cannot offset it: the node's map, which at earlier times was behind what it is at the end."""
        last, rate, far = 2_000_000_000, 20000, 1_000_000_000
        cluster = lambda host: host + 700 + int((host - last) * rate / 1e9)
        records = [record(1, cluster(far) + 10), record(2, last + 700)]
        joined, others = span.join(result(records, 700, rate), [(far, far + 400), (last - 30, last + 360)])
        self.assertEqual([r["serial"] for _, r in joined], [1, 2])
        self.assertEqual(others, 0)
        self.assertLess(abs(joined[0][0]["read"] - 10), 3)


class Stages(unittest.TestCase):
    def test_a_peers_stamp_is_moved_between_its_neighbours(self):
        stages = span.stages_of(record(1, 5000, home_rx=4000, owner_tx=9999), span.OWN_POINTS)
        self.assertEqual(stages["home_rx"], 0)
        self.assertEqual(stages["data_rx"], 0)
        self.assertEqual(stages["mapped"], 50)
        self.assertEqual(sum(stages.values()), 350)

    def test_rows_have_all_samples_and_a_share(self):
        w = span.Waterfall("read", span.FAULT_ORDER)
        for turn in range(2):
            w.add([{"read": 100, "mapped": 300, "total": 400}, {"read": 200, "acked": 50, "mapped": 100, "total": 350}],
                  500000 * (turn + 1))  # fmt: skip
        rows = {r["name"]: r for r in w.rows()}
        self.assertEqual(list(rows), ["span/read/read", "span/read/acked", "span/read/mapped", "span/read/total"])
        self.assertEqual(rows["span/read/total"]["n"], 4)
        self.assertEqual(rows["span/read/acked"]["n"], 2)
        self.assertEqual(rows["span/read/acked"]["counts"]["of_all"], 4)
        self.assertEqual(rows["span/read/total"]["max"], 0.8)
        self.assertEqual(w.drawn()["total"], "span/read/total")
        with self.assertRaises(span.Failed):
            w.add([], 1000000)


if __name__ == "__main__":
    unittest.main()
