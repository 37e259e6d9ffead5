#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a bench may print, and what becomes of it: perf/schema.json with its rules, output.py, the report's page.

Each rule of the schema is broken once, and what breaks it must be named. What passes is escaped on the page.
"""
import argparse
import copy
import functools
import html.parser
import io
import json
import os
import re
import sys
import tempfile
import time
import unittest
from contextlib import redirect_stdout
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "perf"), os.path.join(ROOT, "perf", "common")]
import charts  # noqa: E402
import figures  # noqa: E402
import output  # noqa: E402
import page  # noqa: E402
import report  # noqa: E402
import schema  # noqa: E402

SAMPLES = os.path.join(ROOT, "tests", "bench", "samples")
NASTY = "<script>document.title='owned'</script><img src=http://198.51.100.1/x.png onerror=alert(1)>\"'&"


def args():
    return argparse.Namespace(build="/nonexistent", json=True, rounds=3, only=["a"])


def good():
    """An object as a bench makes it."""
    return copy.deepcopy(made())


@functools.lru_cache
def made():
    rows = [output.histogram("rtt/af_xdp/64", {7000: 900, 8000: 90, 900000: 10}, [7.0, 7.5], 900.5),
            output.histogram("rtt/tcp_spin/64", {14000: 990, 15000: 10}, [14.0, 14.5], 15.0),
            output.histogram("rtt/parts/64", {3000: 1000}, [3.0], 3.0),
            output.value("stream/shm/9000", "pages/s", [1.0, 3.0, 2.0]),
            output.value("fault/upgrade/15", "us", [40.0], modelled="one sharer's time and 14 messages")]
    goal = output.judged("rtt/af_xdp/64 : rtt/tcp_spin/64", [0.5, 0.6], 0.55, sides=([7, 8], [14, 15]), why="waiting")
    falls = [{"name": "span/read", "total": "rtt/af_xdp/64", "stages": ["rtt/parts/64"]}]
    missing = ["something"]
    return output.built("rtt", args(), time.monotonic(), rows, [goal], missing, ["a remark"], waterfalls=falls,
                        ratios=[output.compared("a : b", [1.0, 2.0])], config="nodes: 2")  # fmt: skip


def change(path, value):
    """good() with a member changed, or removed (None); a path's last part may be new."""
    out = good()
    at = out
    for part in path[:-1]:
        at = at[part]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return out


class Schema(unittest.TestCase):
    def setUp(self):
        if schema.jsonschema is None:
            self.skipTest(schema.WITHOUT)

    def test_the_schema_is_one_and_closed(self):
        with open(schema.FILE, encoding="utf-8") as f:
            text = json.load(f)
        schema.jsonschema.Draft202012Validator.check_schema(text)

        def closed(node, where):
            if isinstance(node, dict):
                if "properties" in node:
                    self.assertIs(node.get("additionalProperties"), False, where)
                for key, each in node.items():
                    closed(each, f"{where}/{key}")
            elif isinstance(node, list):
                for i, each in enumerate(node):
                    closed(each, f"{where}/{i}")

        closed(text, "")

    def test_what_is_good(self):
        self.assertEqual(schema.check(good()), [])
        for file in os.listdir(SAMPLES):
            schema.read(os.path.join(SAMPLES, file))

    BROKEN = (
        (("schema",), 2), (("bench",), "Rtt"), (("bench",), NASTY), (("revision",), "HEAD"), (("dirty",), "no"),
        (("when",), "yesterday"), (("seconds",), -1), (("host", "cpu"), None), (("host", "name"), "mine"),
        (("host", "cpus"), 0), (("host", "load"), [1, 2]), (("host", "kvm"), "maybe"), (("settings", "a b"), 1),
        (("settings", "deep"), {"a": 1}), (("config_sha256",), "0"), (("noise",), None), (("more",), 1),
        (("results", 0, "name"), NASTY), (("results", 0, "name"), "rtt//64"), (("results", 0, "unit"), "<b>"),
        (("results", 0, "n"), 1.5), (("results", 0, "p99"), None), (("results", 0, "p50"), "7"),
        (("results", 0, "color"), "red"), (("results", 0, "buckets"), []), (("results", 0, "buckets"), [[1, 2, 3]]),
        (("results", 0, "buckets"), [[-1, 1000]]), (("results", 0, "counts"), {"lost": "2"}),
        (("results", 3, "median"), None), (("results", 3, "p50"), 1), (("results", 3, "low"), 1e16),
        (("ratios", 0, "goal"), 1), (("ratios", 0, "p"), 1.5), (("ratios", 0, "name"), NASTY),
        (("goals", 0, "sense"), "=="), (("goals", 0, "met"), None), (("goals", 0, "met"), 1),
        (("waterfalls", 0, "stages"), []), (("not_measured",), "all"), (("not_measured", 0), "x" * 2001),
        (("remarks", 0), 7),
    )  # fmt: skip

    def test_each_member_is_looked_at(self):
        for path, value in self.BROKEN:
            with self.subTest(path=path, value=str(value)[:30]):
                self.assertTrue(schema.check(change(path, value)))

    def test_what_is_no_object(self):
        for out in ([], {}, 1, "x", None, {"schema": 1}):
            self.assertTrue(schema.check(out), out)


class Rules(unittest.TestCase):
    """What holds whether the package is there or not."""

    BROKEN = (
        (("results", 0, "n"), 999, "buckets hold 1000"),
        (("results", 0, "buckets"), [[8000, 500], [7000, 500]], "do not ascend"),
        (("results", 0, "p90"), 1000.0, "not ascending"),
        (("results", 0, "p50_low"), 7.4, "not ascending"),
        (("results", 1, "name"), "rtt/af_xdp/64", "2 times"),
        (("results", 3, "high"), 0.5, "not ascending"),
        (("results", 3, "rounds"), 0, "modelled"),
        (("results", 4, "rounds"), 1, "modelled"),
        (("goals", 0, "met"), False, "met says otherwise"),
        (("goals", 0, "short_by"), 0.5, "short_by is 0.5"),
        (("goals", 0, "low"), 0.9, "not ascending"),
        (("waterfalls", 0, "stages"), ["rtt/none/64"], "no histogram rtt/none/64"),
        (("waterfalls", 0, "total"), "stream/shm/9000", "no histogram stream/shm/9000"),
        (("results", 0, "max"), float("nan"), "not finite"),
        (("seconds",), float("inf"), "not finite"),
        (("remarks", 0), "a\x1b[31m", "control code"),
        (("remarks", 0), "trailing\n", "control code"),
        (("remarks", 0), "\ud800", "surrogate"),
    )

    def test_each_rule(self):
        for package in (schema.jsonschema, None):
            for path, value, words in self.BROKEN:
                with self.subTest(path=path, value=str(value)[:30], package=package is not None):
                    with mock.patch.object(schema, "jsonschema", package):
                        self.assertIn(words, "; ".join(schema.check(change(path, value))))

    def test_met(self):
        for value, goal, sense, met in ((1, 1, "<=", True), (1, 1, "<", False), (1, 1, ">=", True), (2, 1, ">=", True),
                                        (0.9, 1, "<", True), (0.9, 1, ">=", False), (1.1, 1, "<=", False)):  # fmt: skip
            g = output.judged("a : b", [value], goal, sense)
            self.assertEqual(g["met"], met, (value, goal, sense))
            self.assertEqual([*schema.goal(g)], [])
            self.assertTrue([*schema.goal({**g, "met": not met})])

    def test_texts_that_are_not_read(self):
        deep = "[" * 100000 + "]" * 100000
        for text, words in (("{", "not JSON"), ('{"a": NaN}', "NaN"), ('{"a": -Infinity}', "Infinity"),
                            (deep, "not JSON"), ('{"a": 1, "a": 2}', "twice"),
                            (" " * (schema.BYTES_MAX + 1), "at most")):  # fmt: skip
            with self.assertRaisesRegex(schema.BadResult, words):
                schema.parse(text)
        self.assertIn("not finite", schema.check(schema.parse('{"a": 1e999}'))[0])
        nest = {}
        for _ in range(schema.DEPTH_MAX + 2):
            nest = {"a": nest}
        self.assertIn("deeper", schema.check(nest)[0])


class Output(unittest.TestCase):
    def test_percentiles_are_of_all_samples(self):
        h = output.histogram("a/b", {1000: 90, 2000: 9, 50000: 1}, [1.0, 3.0], 49.0)
        self.assertEqual((h["n"], h["p50"], h["p90"], h["p99"], h["max"]), (100, 2.0, 1.0, 2.0, 49.0))
        self.assertEqual((h["p50_low"], h["p50_high"]), (1.0, 3.0))
        self.assertNotIn("p999", h)
        self.assertEqual(output.histogram("a/b", {10: 1000}, [10], unit="bytes")["p99"], 10)

    def test_buckets_are_those_of_hist_h(self):
        self.assertEqual(output.of_samples([0, 63, 64, 65, 66, 1000]), {0: 1, 63: 1, 65: 2, 67: 1, 1007: 1})

    def test_p_wants_rounds_of_two_sides(self):
        self.assertIsNone(output.judged("a : b", [1, 2, 3], 1, sides=([1, 2, 3], [1, 1, 1]))["p"])
        self.assertAlmostEqual(output.judged("a : b", [1], 1, sides=([1, 2, 3, 4], [5, 6, 7, 8]))["p"], 2 / 70, 6)

    def test_report_prints_one_object_last_or_a_table(self):
        rows, said = [output.value("a/b", "pages/s", [1, 2])], io.StringIO()
        with redirect_stdout(said):
            output.report("a", args(), time.monotonic(), rows, [], [], lambda r: self.fail("a table"), ["x\ny"])
        out = schema.parse(said.getvalue().splitlines()[-1])
        self.assertEqual(schema.check(out), [])
        self.assertEqual(out["remarks"], ["x y"])
        self.assertIn("noise floor", out["not_measured"][0])  # no tool there
        self.assertEqual(out["settings"], {"only": ["a"], "rounds": 3})
        people, said, tables = args(), io.StringIO(), []
        people.json = False
        with redirect_stdout(said):
            output.report("a", people, time.monotonic(), rows, [output.judged("a : b", [2], 1)], [], tables.append)
        self.assertEqual(tables, [rows])
        self.assertRegex(said.getvalue(), r"a : b .* short by 1\b")

    def test_report_refuses_what_nobody_could_read(self):
        row = output.value("a/b", "pages/s", [1, 2])
        for bad in ({**row, "name": "A b"}, {**row, "low": 5}, {**row, "more": 1}):
            if schema.jsonschema is None and "more" in bad:
                continue
            with self.assertRaisesRegex(SystemExit, "perf/schema.json"):
                output.built("a", args(), time.monotonic(), [bad], [], [])

    def test_host(self):
        h = output.host()
        self.assertEqual(h["cpus"], os.cpu_count())
        with open("/proc/version", encoding="utf-8") as f:
            self.assertIn(h["kernel"], f.read())


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            raise ValueError(f"</{tag}> does not end what is open")


class Page(unittest.TestCase):
    def text(self, benches, absent=None, refused=()):
        return page.page(benches, absent or {}, list(refused), "")

    def test_every_text_is_escaped(self):
        out = good()
        for where in (out["not_measured"], out["remarks"]):
            where.append(NASTY)
        out["host"] |= {"cpu": NASTY, "kernel": NASTY, "clocksource": NASTY, "governor": NASTY, "hypervisor": NASTY}
        out["results"][3]["note"] = out["results"][0]["note"] = out["results"][4]["modelled"] = NASTY
        out["goals"][0]["why"] = out["waterfalls"][0]["note"] = NASTY
        out["settings"]["a"] = NASTY
        self.assertEqual(schema.check(out), [])
        text = self.text({"rtt": out}, {"b": NASTY}, [(NASTY, NASTY)])
        seen = Tags()
        seen.feed(text)
        self.assertEqual(seen.open, [])
        self.assertFalse({"script", "img", "iframe", "link", "object", "a"} & set(seen.tags))
        self.assertFalse([a for a, _ in seen.attributes if a.startswith("on") or a in ("src", "href")])
        self.assertGreater(text.count("&lt;script&gt;"), 12)
        self.assertIn("default-src 'none'", text)

    def test_the_style_asks_for_nothing(self):
        with open(os.path.join(ROOT, "perf", "common", "page.css"), encoding="utf-8") as f:
            self.assertFalse(re.findall(r"url\(|@import|image-set|src:", f.read()))

    def test_missing_benches_are_named_and_not_drawn(self):
        text = self.text({"rtt": good()}, {"fault": "failed: no guests here"}, [("x.json", "not JSON")])
        self.assertIn("fault: failed: no guests here", text)
        self.assertIn("x.json: not JSON", text)
        self.assertNotIn("fig-fault", text)

    def test_goals(self):
        text = self.text({"rtt": good()})
        self.assertIn("Goals: 1 met, 0 short", text)
        out = change(("goals",), [output.judged("a : b", [2.0, 3.0], 1, why="the home's step")])
        text = self.text({"rtt": out})
        self.assertIn("short by 1.50", text)
        self.assertIn("the home&#x27;s step", text)

    def test_other_machines_are_told_apart(self):
        self.assertNotIn("comparing them", self.text({"rtt": good(), "all": good()}))
        self.assertIn("2 machines", self.text({"rtt": good(), "idle": change(("host", "cpu"), "another")}))
        self.assertIn("2 revisions", self.text({"rtt": good(), "idle": change(("revision",), "0" * 40)}))

    def test_modelled_is_told(self):
        text = self.text({"rtt": good()})
        self.assertIn("modelled, not measured: one sharer", text)
        self.assertIn('class="fill modelled"', text)

    def test_waterfall_stages_follow_each_other(self):
        out = good()
        stages = [output.histogram(f"span/read/{n}", {ns: 100}, [ns / 1e3]) for n, ns in (("one", 3000), ("two", 1000))]
        total = output.histogram("span/read/whole", {5000: 100}, [5.0])
        out["results"] += [*stages, total]
        out["waterfalls"] = [{"name": "span/read", "total": "span/read/whole", "stages": [s["name"] for s in stages]}]
        self.assertEqual(schema.check(out), [])
        text = page.waterfall_of(out, out["waterfalls"][0])
        self.assertEqual(re.findall(r"left:([\d.]+)%;width:([\d.]+)%", text), [("0.00", "60.00"), ("60.00", "20.00")])
        self.assertIn("add up to 4.00\u00a0µs", text)
        self.assertNotIn("The median of the whole is longer", text)
        total["p50"] = 6.0
        self.assertIn("The median of the whole is longer", page.waterfall_of(out, out["waterfalls"][0]))

    def test_new_benches_are_drawn_without_a_line_for_them(self):
        rows = [output.value(f"new/{n}", "pages/s", [n]) for n in (1, 2)]
        rows += [output.histogram("new/a", {1000: 5}, [1.0])]
        text = self.text({"new": change(("results",), rows) | {"bench": "new", "waterfalls": []}})
        self.assertIn('id="fig-new-0"', text)
        self.assertIn('id="fig-new-1"', text)

    def test_empty_histograms_and_zeroes(self):
        nothing = output.histogram("new/nothing", {0: 0}, [0.0]) | {"buckets": [[0, 0]]}
        rows = [output.value("new/zero", "pages/s", [0, 0]), nothing]
        text = self.text({"new": change(("results",), rows) | {"bench": "new", "waterfalls": []}})
        self.assertNotIn("nan", text)

    def test_one_sample(self):
        rows = [output.histogram("new/one", {1000: 1}, [1.0])]
        self.assertIn("fig-new-0", self.text({"new": change(("results",), rows) | {"bench": "new", "waterfalls": []}}))


class Words(unittest.TestCase):
    def test_times(self):
        for us, words in ((0.05, "50.0 ns"), (0.9999, "1.00 µs"), (999.4, "999 µs"), (999.6, "1.00 ms"),
                          (2.5e6, "2.50 s")):  # fmt: skip
            self.assertEqual(charts.time_words(us), words.replace(" ", "\u00a0"))

    def test_log_axis(self):
        axis = charts.LogAxis(7, 900)
        self.assertEqual((axis.low, axis.high, axis.at(5), axis.at(1000), axis.at(1e9)), (5, 1000, 0, 100, 100))
        self.assertAlmostEqual(charts.LogAxis(1, 100).at(10), 50)

    def test_curve_keeps_its_shares(self):
        row = output.histogram("a/b", {1000: 500, 10000: 400, 100000: 100}, [1.0])
        self.assertEqual(charts.places_of(row), [(1.0, 0.5), (10.0, 0.9), (100.0, 1.0)])
        axis = charts.LogAxis(1, 100)
        path = charts.curve(row, axis, 2.0, ("#000", ""))
        at = [tuple(map(float, p.split())) for p in re.findall(r"[ML]([\d.]+ [\d.]+)", path)]
        for x, y in ((0, 100 - 15.05), (50, 50), (100, 0)):
            self.assertTrue(any(abs(x - a) < 0.1 and abs(y - b) < 0.1 for a, b in at), (x, y, at))

    def test_labels(self):
        for parts, words in ((["nodes=2", "x_y"], "2 nodes, x y"), (["vcpus=1"], "1 vCPU"), (["rate=10"], "10 rate"),
                             (["tcp_spin"], "TCP, spinning"), ([], "all")):  # fmt: skip
            self.assertEqual(figures.words_of(parts), words)
        self.assertEqual(figures.value_words(output.value("a/b", "bytes", [60])), "60 bytes")
        self.assertEqual(figures.value_words(output.value("a/b", "bytes", [60.25])), "60.2 bytes")
        self.assertEqual(figures.value_words(output.value("a/b", "us", [60.25])), "60.2\u00a0µs")

    def test_roles(self):
        for name, role in (("rtt/af_xdp/64", charts.OURS), ("rtt/ucx_tcp/64", charts.PEER),
                           ("rtt/raw_shm/64", charts.FLOOR), ("floor/uffd_spin/x", charts.FLOOR),
                           ("giantvm/giantvm_spin/read", charts.PEER), ("giantvm/read/giantvm", charts.PEER),
                           ("giantvm/af_xdp/read", charts.OURS),
                           ("io/local/pio_in", charts.FLOOR), ("io/remote/pio_in", charts.OURS)):  # fmt: skip
            self.assertEqual(figures.role_of({"name": name}), role, name)


class Figures(unittest.TestCase):
    def drawn(self, bench, *names):
        rows = [output.histogram(n, {1000: 5}, [1.0]) for n in names]
        return {f.key: {r["name"]: f.label(r) for r in mine} for f, mine in figures.of_bench(bench, rows)}

    def test_classes(self):
        drawn = self.drawn("rtt", "class/shm/urgent/32", "class/shm/data/32", "class/af_xdp/bulk/32", "rtt/shm/64")
        self.assertEqual(drawn["class-shm"], {"class/shm/urgent/32": "urgent", "class/shm/data/32": "data"})
        self.assertEqual(drawn["class-af_xdp"], {"class/af_xdp/bulk/32": "bulk"})

    def test_the_floors_are_drawn_beside_both_sides(self):
        drawn = self.drawn("giantvm", "giantvm/write/af_xdp", "giantvm/write/giantvm", "floor/uffd_spin/minor_modified",
                           "floor/take/zap", "rtt/raw_af_xdp/64")["giantvm-write"]  # fmt: skip
        self.assertEqual(list(drawn.values()), ["Pando, AF_XDP", "GiantVM-style, sleeping", "local fault, no network",
                                                "AF_XDP alone, there and back"])  # fmt: skip

    def test_floors_by_themselves_are_not_drawn(self):
        self.assertEqual(self.drawn("giantvm", "floor/uffd_spin/minor_shared", "rtt/raw_af_xdp/64"), {})
        self.assertEqual(list(self.drawn("noise", "noise/cpu0")), ["noise"])  # what is all of a bench is no floor there

    def test_each_kind_of_fault_has_words_and_a_line_of_its_own(self):
        import fault

        drawn = self.drawn("fault", *fault.FAULTS)["fault"]
        self.assertEqual(sorted(drawn.values()), ["first touch, far home", "read", "upgrade", "write of a modified page",
                                                  "write of what others share"])  # fmt: skip
        self.assertGreaterEqual(len(set(charts.STYLES[charts.OURS])), len(drawn))


class Benches(unittest.TestCase):
    """What benches that take minutes make of what they measured."""

    def checked(self, bench, rows, ratios=()):
        out = good() | {"bench": bench, "results": rows, "ratios": list(ratios), "waterfalls": []}
        self.assertEqual(schema.check(out), [])
        return {r["name"]: r for r in rows}

    def test_idle(self):
        import idle

        found = lambda *values: idle.Round(values, {5000: 9, 51000: 1}, 50500, "config")
        rounds = {("shm", "busy", "this"): [found(100.0, 99.0, 5.0, 50.0), None, found(90.0, 98.0, 6.0, 60.0)],
                  ("shm", "busy", "against"): [found(50.0, 99.0, 10.0, 25.0), found(1, 1, 1, 1), found(45.0, 98.0, 12.0, 20.0)],
                  ("af_xdp", "yield", "this"): [None]}  # fmt: skip
        ratios = idle.ratios(rounds)
        rows = self.checked("idle", idle.results(rounds), ratios)
        self.assertEqual(len(rows), 10)
        page = rows["idle/shm/busy/page"]
        self.assertEqual((page["n"], page["buckets"], page["max"], page["round_p99"]),
                         (20, [[5000, 18], [51000, 2]], 50.5, [50.0, 60.0]))  # fmt: skip
        self.assertEqual(rows["idle/shm/busy/rest_cpu"]["each"], [100.0, 90.0])
        self.assertEqual((rows["idle/shm/busy/rest_cpu"]["unit"], rows["idle/shm/busy/page_p99"]["unit"]), ("%", "us"))
        self.assertEqual(rows["idle/shm/busy/page_p50/against"]["median"], 10.0)
        values = {r["name"]: r["value"] for r in ratios}
        self.assertEqual(values["idle/shm/busy/page_p50 : idle/shm/busy/page_p50/against"], 0.5)
        self.assertEqual(len(values), 4)

    def test_tuning(self):
        import tuning

        boots = {"base": ({"messages": 600, "faults": 60, "seconds": 60}, None),
                 "no nowatchdog": (None, "the boot took too long")}  # fmt: skip
        chosen = lambda _lab: {n: ([n], f"words of {n}") for n in boots}
        with mock.patch.object(tuning, "variants", chosen), mock.patch.object(tuning.places, "prepare"), \
                mock.patch.object(tuning, "boot", lambda _p, more, *_: boots[more[0]]), \
                mock.patch.object(sys, "argv", ["tuning", "--json", "--build", "/nonexistent"]), \
                redirect_stdout(io.StringIO()) as said, mock.patch("sys.stderr", io.StringIO()):  # fmt: skip
            self.assertEqual(tuning.main(), 1)
        out = schema.parse(said.getvalue().splitlines()[-1])
        self.assertEqual(schema.check(out), [])
        rows = {r["name"]: r for r in out["results"]}
        self.assertEqual(rows["tuning/base/messages"]["median"], 10.0)
        self.assertEqual(rows["tuning/base/faults"]["unit"], "faults/s")
        self.assertIn("no nowatchdog: the boot took too long", out["not_measured"])

    def test_rtt(self):
        import rtt

        rounds = rtt.measured.Rounds()
        rounds.add({"name": "loss/wire", "unit": "frames", "forwarded": 100, "lost": 3})
        for name in ("loss/af_xdp/0", "loss/af_xdp/0/all", "rtt/af_xdp/64", "rtt/ucx_tcp/64", "rtt/tcp_spin/64"):
            for at in (1.0, 2.0):
                line = {"name": name, "unit": "us", "n": 10, "max": 2.0, "lost": 1, "buckets": [[1000, 9], [2000, 1]],
                        "round_p50": [at * 4 if "ucx" in name else at]}  # fmt: skip
                if name == "loss/af_xdp/0":
                    line |= {"unanswered": 2, "stalls": 1, "stalls_excused": 1, "poll_gap_max": 5.0, "round_p99": [at]}
                rounds.add(line)
        rounds.add({"name": "wire/ack", "unit": "bytes", "n": 3, "min": 38, "max": 60})
        rows = self.checked("rtt", rtt.results_of(rounds), rtt.ratios_of(rounds))
        self.assertEqual(rows["rtt/af_xdp/64"]["counts"], {"lost": 2})
        self.assertEqual((rows["rtt/af_xdp/64"]["n"], rows["rtt/af_xdp/64"]["p50"]), (20, 1.5))
        self.assertEqual(rows["loss/af_xdp/0"]["counts"]["stalls"], 2)
        self.assertEqual((rows["wire/ack"]["low"], rows["wire/ack"]["high"]), (38, 60))
        self.assertEqual([(r["name"], r["value"]) for r in rtt.ratios_of(rounds)],
                         [("rtt/af_xdp/64 : rtt/ucx_tcp/64", 0.25)])  # fmt: skip
        rounds.add({"name": "class/shm/bulk/32", "unit": "us", "n": 10, "max": 2.0, "lost": 0, "sent": 9,
                    "buckets": [[1000, 10]], "round_p50": [1.0]})  # fmt: skip
        rows = self.checked("rtt", rtt.results_of(rounds))
        self.assertEqual(rows["class/shm/bulk/32"]["counts"], {"lost": 0, "sent": 9})
        missing = []
        rtt.look_twice(rounds, missing)
        self.assertIn("class/shm/bulk/32: 9 messages left in this class, of 10 questions", missing)
        self.assertEqual([t for t in missing if t.startswith("loss")], ["loss/af_xdp/0: 4 messages had no answer"])
        self.assertEqual({g["name"]: g["met"] for g in rtt.goals_of(rounds)},
                         {"rtt/af_xdp/64 : rtt/tcp_spin/64": False, "wire/ack : minimum frame": True})  # fmt: skip


    def test_rtt_says_what_a_missed_goal_costs(self):
        import rtt

        rounds = rtt.measured.Rounds()
        line = lambda name, us, **more: rounds.add({"name": name, "unit": "us", "n": 100, "max": us * 2, "lost": 0,
                "buckets": [[int(us * 1000), 100]], "round_p50": [us], "round_p99": [us]} | more)  # fmt: skip
        line("rtt/af_xdp/64", 8.0)
        line("rtt/raw_af_xdp/64", 6.0)
        line("rtt/tcp_spin/64", 10.0)
        line("fetch/shm/4096/9000", 9.0)
        line("fetch/tcp_spin/4096/9000", 10.0)
        counted = {"stalls": 3, "stalls_excused": 2, "unanswered": 0, "poll_gap_max": 1.0}
        line("loss/af_xdp/0", 10.0, **counted)
        line("loss/af_xdp/10000", 70.0, **counted | {"stalls": 8})
        rounds.add({"name": "loss/wire", "unit": "frames", "forwarded": 500, "lost": 5})
        rounds.add({"name": "wire/ack", "unit": "bytes", "n": 3, "min": 38, "max": 64})
        goals = {g["name"]: g for g in rtt.goals_of(rounds)}
        port = "of the 8.00 us of rtt/af_xdp/64 the port by itself takes 6.00 (75 %), the transport adds 2.00"
        self.assertEqual({n: g.get("why") for n, g in goals.items() if not g["met"]}, {
            "rtt/af_xdp/64 : rtt/tcp_spin/64": port + "; rtt/tcp_spin/64 takes 10.00 us, and the port by itself is 0.60 of that",
            "rtt/af_xdp/64 : rtt/raw_af_xdp/64": port,
            "fetch/shm/4096/9000 : fetch/tcp_spin/4096/9000": None,  # the port by itself was not measured
            "loss/af_xdp/10000 : loss/af_xdp/0": "p50 is 70 us with loss and 10 without, p99 70 and 10; with loss 8 of 100 "
            "messages stalled, 2 of them of a side that did not run; without loss 3 of 100 messages stalled, 2 of them of a "
            "side that did not run; the wire lost 5 of 500 frames",
            "wire/ack : minimum frame": "the longest has 64 bytes, 4 more than fit",
        })  # fmt: skip


class Load(unittest.TestCase):
    def test_files_that_are_no_results_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            twice = json.dumps(good())
            for name, text in (("rtt", twice), ("a", "{"), ("b", '{"schema": 1}'), ("c", "\xff"), ("d", twice)):
                with open(os.path.join(folder, name + ".json"), "w", encoding="latin-1") as f:
                    f.write(text)
            found, refused = report.load(folder)
        self.assertEqual(list(found), ["rtt"])
        self.assertEqual([n for n, _ in refused], ["a.json", "b.json", "c.json", "rtt.json"])
        self.assertIn("second file", refused[-1][1])

    def test_absent_benches_say_why(self):
        whole = {"all": {"benches": [{"name": "rtt", "state": "failed", "why": "no root"}]}, "idle": {}}
        absent = report.absent_of(whole)
        self.assertEqual(absent["rtt"], "failed: no root")
        self.assertNotIn("idle", absent)
        self.assertIn("./dev bench stream", absent["stream"])


if __name__ == "__main__":
    unittest.main()
