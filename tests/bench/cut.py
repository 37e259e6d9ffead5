#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cuts the results of ./dev bench all down to what the tests of the report need: samples/.

usage: cut.py DIR        (out/bench, say)
What is left is as it was measured: whole results, with all their samples.
"""
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "perf", "common"))
import schema  # noqa: E402

KEPT = re.compile(r"rtt/\w+/64$|fetch/(shm|af_\w+|tcp_\w+)/4096/9000|stream/\w+/9000|wire/|noise/|fault/|"
                  r"floor/uffd_spin|span/|giantvm/.*read|ipi/|io/|scale/|kernels/|capture/|idle/shm")  # fmt: skip
GOALS_MAX, RESULTS_MAX = 8, 24


def cut(out):
    out["results"] = [r for r in out["results"] if KEPT.match(r["name"])][:RESULTS_MAX]
    names = {r["name"] for r in out["results"]}
    met = [g for g in out["goals"] if g["met"]][:GOALS_MAX // 2]
    out["goals"] = met + [g for g in out["goals"] if not g["met"]][:GOALS_MAX // 2]
    out["ratios"] = out["ratios"][:4]
    out["waterfalls"] = [w for w in out.get("waterfalls", []) if {w["total"], *w["stages"]} <= names]
    return out


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    target = os.path.join(HERE, "samples")
    os.makedirs(target, exist_ok=True)
    for file in sorted(f for f in os.listdir(sys.argv[1]) if f.endswith(".json") and f != "all.json"):
        out = cut(schema.read(os.path.join(sys.argv[1], file)))
        wrong = schema.check(out)
        if wrong:
            raise SystemExit(f"{file}: {wrong[0]}")
        with open(os.path.join(target, file), "w", encoding="utf-8") as f:
            json.dump(out, f, allow_nan=False)
            f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
