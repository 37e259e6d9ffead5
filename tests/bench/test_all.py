#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench all over benches that are played: good, incomplete, skipped, broken, endless; and what the real ones
declare.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PERF = os.path.join(ROOT, "perf")
sys.path[:0] = [PERF, os.path.join(PERF, "common")]
import all as every  # noqa: E402
import schema  # noqa: E402

SLEEPS = str(900000 + os.getpid())  # seconds, and how a process is known

# A bench's beginning: NAME, then its end.
HEAD = """import argparse, os, signal, subprocess, sys, time
sys.path.insert(0, {common!r})
import output
IN_ALL = {{"seconds": {seconds}, "args": ["--word", "a b"]}}
args = argparse.Namespace(build="/nonexistent", json=True)
assert sys.argv[1:3] == ["--build", "B"] and sys.argv[3:] == ["--json", "--word", "a b"], sys.argv
goal = output.judged("{name}/a : {name}/b", [2.0], 1)
row = output.value("{name}/a", "pages/s", [1])
floor = [output.histogram("noise/cpu0", {{50: 10}}, [0.05], counts={{"stolen_ppm": 5}})]
def end(missing=(), bench="{name}"):
    output.report(bench, args, time.monotonic(), [row], [goal], list(missing), None, floor=floor)
print("words that are no object")
print("progress", file=sys.stderr)
"""
ENDS = {
    "good": "end()",
    "noise": "end()",
    "part": "end(['a thing']); sys.exit(1)",
    "skips": "print('SKIP: no KVM here', file=sys.stderr); sys.exit(77)",
    "breaks": "sys.exit('it broke because of X')",
    "liar": "end(bench='good')",
    "silent": "",
    "garbage": "print('{\"schema\": 1}')",
    "fails_late": "end(); sys.exit(3)",
    "stubborn": "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
                f"subprocess.Popen(['sleep', '{SLEEPS}'])\nprint('no end', file=sys.stderr)\ntime.sleep(60)",
}  # fmt: skip
ENDS["tidy"] = ENDS["stubborn"].replace("SIG_IGN", "default_int_handler").replace(
    "time.sleep(60)", "try:\n    time.sleep(60)\nfinally:\n    print('put away', file=sys.stderr, flush=True)")
ENDS["cut"] = "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    end(['the rest'])"
EXPECTED = {"cut": "incomplete", "good": "measured", "noise": "measured", "part": "incomplete", "skips": "skipped",
            "breaks": "failed",
            **dict.fromkeys(("liar", "silent", "garbage", "fails_late", "stubborn", "tidy"), "failed")}  # fmt: skip


def processes_with(word):
    found = []
    for pid in (p for p in os.listdir("/proc") if p.isdigit()):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if word in f.read().decode("utf-8", "replace").split("\0"):
                    found.append(pid)
        except OSError:
            pass
    return found


class Folder(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.benches, self.out = (os.path.join(self.scratch.name, n) for n in ("benches", "out"))
        os.makedirs(self.benches)
        os.makedirs(self.out)

    def bench(self, name, end, seconds=30):
        with open(os.path.join(self.benches, name + ".py"), "w", encoding="utf-8") as f:
            f.write(HEAD.format(common=os.path.join(PERF, "common"), name=name, seconds=seconds) + end + "\n")

    def run_all(self, *words):
        code = "import sys; sys.path.insert(0, sys.argv.pop(1)); import all as a; a.GRACE_S = 3; sys.exit(a.main())"
        words = ["--build", "B", "--benches", self.benches, "--out", self.out, *words]
        return subprocess.run([sys.executable, "-c", code, PERF, *words], capture_output=True, text=True, timeout=200)


class Runs(Folder):
    def test_each_end_is_told_and_the_rest_goes_on(self):
        for name, end in ENDS.items():
            self.bench(name, end, 4 if name in ("stubborn", "tidy", "cut") else 60)
        with open(os.path.join(self.benches, "apart.py"), "w", encoding="utf-8") as f:
            f.write("raise SystemExit('not part of it')\n")
        for stale in ("breaks.json", "good.json"):
            with open(os.path.join(self.out, stale), "w", encoding="utf-8") as f:
                f.write("of another run")
        every_grace, start = every.GRACE_S, time.monotonic()
        done = self.run_all("--json")
        self.assertEqual(done.returncode, 1, done.stderr)
        out = schema.parse(done.stdout.splitlines()[-1])
        self.assertEqual(schema.check(out), [])
        self.assertEqual({r["name"]: r["state"] for r in out["benches"]}, EXPECTED)
        why = {r["name"]: r["why"] for r in out["benches"]}
        self.assertEqual(why["skips"], "no KVM here")
        self.assertIn("it broke because of X", why["breaks"])
        self.assertIn("of bench good", why["liar"])
        self.assertIn("not done after 4 s", why["stubborn"])
        self.assertEqual(why["part"], "a thing")
        self.assertEqual(why["cut"], "not done after 4 s; the rest")
        with open(os.path.join(self.out, "tidy.log"), encoding="utf-8") as f:
            self.assertIn("put away", f.read())
        self.assertEqual([g["name"] for g in out["goals"]].count("good/a : good/b"), 1)
        self.assertEqual(len(out["goals"]), 4)  # of cut, good, noise and part
        self.assertIn("part: a thing", out["not_measured"])
        self.assertTrue(any(t.startswith("stubborn: failed") for t in out["not_measured"]))
        self.assertEqual(sorted(f for f in os.listdir(self.out) if f.endswith(".json")),
                         ["all.json", "cut.json", "good.json", "noise.json", "part.json"])  # fmt: skip
        self.assertEqual(schema.read(os.path.join(self.out, "good.json"))["bench"], "good")
        self.assertEqual(schema.read(os.path.join(self.out, "all.json")), out)
        self.assertEqual(processes_with(SLEEPS), [], "what a bench started outlived it")
        self.assertLess(time.monotonic() - start, 60 + every_grace)
        self.assertRegex(done.stderr, r"bench 1 of 12: cut, at most 0:04; all that is left: at most 9:12")

    def test_table_and_only(self):
        self.bench("good", "end()")
        self.bench("breaks", "sys.exit('X')")
        done = self.run_all("--only", "good")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"good +measured")
        self.assertRegex(done.stdout, r"good/a : good/b .*short by 1")
        self.assertNotIn("breaks", done.stdout)
        refused = self.run_all("--only", "none")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("there are: breaks, good", refused.stderr)

    def test_the_time_of_all_is_kept(self):
        """Three benches that would take 30 s each, in 3 s: the second is cut short, the third is not started."""
        for name in ("a", "b", "c"):
            self.bench(name, "time.sleep(30)", 30 + ord(name))
        code = ("import sys; sys.path.insert(0, sys.argv.pop(1)); import all as a; "
                "b = a.declared(sys.argv[-1]); a.TOTAL_SECONDS, a.GRACE_S = 6, 1; b['a']['seconds'] = 3; "
                "a.declared = lambda _: b; "
                "sys.exit(a.main())")  # fmt: skip
        words = ["--out", self.out, "--json", "--build", "B", "--benches", self.benches]
        done = subprocess.run([sys.executable, "-c", code, PERF, *words], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        out = schema.parse(done.stdout.splitlines()[-1])
        self.assertEqual([(r["name"], r["state"]) for r in out["benches"]],
                         [("a", "failed"), ("b", "failed"), ("c", "not started")])  # fmt: skip
        self.assertIn("minutes of all benches were over", out["benches"][2]["why"])
        self.assertLess(sum(r["seconds"] for r in out["benches"]), 12)

    def test_bad_budgets(self):
        for text in ("IN_ALL = {'seconds': 0, 'args': []}", "IN_ALL = {'seconds': 1201, 'args': []}", "IN_ALL = 5",
                     "IN_ALL = {'seconds': 1.5, 'args': []}", "IN_ALL = {'seconds': 5}",
                     "IN_ALL = {'seconds': f(), 'args': []}",
                     "IN_ALL = {'seconds': 5, 'args': [1]}", "IN_ALL = {'seconds': True, 'args': []}"):  # fmt: skip
            with self.assertRaisesRegex(every.BadBudget, "x.py: IN_ALL"):
                every.budget_in(text, "x.py")
        self.assertIsNone(every.budget_in("x = 1", "x.py"))
        for name in ("a", "b"):
            self.bench(name, "end()", 751)
        done = self.run_all()
        self.assertEqual(done.returncode, 2)
        self.assertIn("together the benches may take 1502 s; at most 1500", done.stderr)


class Real(unittest.TestCase):
    def test_budgets_fit(self):
        benches = every.declared()
        self.assertLessEqual({"rtt", "stream", "idle", "noise"}, set(benches))
        self.assertLessEqual(sum(b["seconds"] for b in benches.values()), every.LIMITS_SECONDS)

    def test_help_names_each_bench(self):
        done = subprocess.run([os.path.join(ROOT, "dev"), "bench", "--help"], capture_output=True, text=True)
        listed = set(re.findall(r"^  (\w+) ", done.stdout, re.M))
        self.assertEqual(listed, {f[:-3] for f in os.listdir(PERF) if f.endswith(".py")})

    def test_their_arguments_are_theirs(self):
        """A word that argparse refuses would end a bench of the set only after all that came before it."""
        for name, budget in every.declared().items():
            words = [os.path.join(PERF, name + ".py"), *budget["args"], "--no-such-option"]
            done = subprocess.run([sys.executable, *words],
                                  capture_output=True, text=True, timeout=60)  # fmt: skip
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("unrecognized arguments: --no-such-option", done.stderr)


if __name__ == "__main__":
    unittest.main()
