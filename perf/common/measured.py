# SPDX-License-Identifier: BSD-3-Clause
"""What benches do with the lines that measuring tools print: put rounds together, compare, print.

The JSON object of a bench, schema 1:
  schema, bench, revision (of git), dirty, host, seconds (of measuring)
  results: a list of objects with `name` and `unit`. Times: n, p50 (median over the rounds of each round's median),
    p50_low, p50_high (their spread), p99, max (of all samples); other members as the bench says. A latency's samples
    are added up over the rounds; percentiles are never averaged.
  goals: {name, value, low, high, goal, sense, met, short_by}: a ratio of two results, median over the rounds of the
    ratio of neighbours in time, and its spread; sense "<=" or ">="; short_by: 0 if met, else by how much it is missed
  not_measured, remarks: lists of sentences; with any of the former the bench ends with 1
Nothing in it is a threshold: a bench that misses a goal says so, and that is all.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL_SECONDS = 240


def say(text):
    print(text, file=sys.stderr, flush=True)


def git(*args):
    done = subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def host():
    try:
        with open("/proc/cpuinfo") as f:
            cpu = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown")
    except OSError:
        cpu = "unknown"
    load = [round(v, 2) for v in os.getloadavg()]
    return {"kernel": platform.release(), "cpus": os.cpu_count(), "cpu": cpu, "load": load}


class ToolError(Exception):
    """A measuring tool did not end well; the text says which and why."""


def run_tool(build, name, *args):
    """Runs build/perf/NAME; its lines as objects. What it says on standard error goes on to ours."""
    program = os.path.join(build, "perf", name)
    if not os.access(program, os.X_OK):
        raise ToolError(f"{name} was not built (DPDK, and for pando-loss libbpf, are needed: ./dev doctor)")
    try:
        done = subprocess.run([program, *map(str, args)], stdout=subprocess.PIPE, text=True, timeout=TOOL_SECONDS)
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} did not end within {TOOL_SECONDS} s") from None
    if done.returncode != 0:
        raise ToolError(f"{name} ended with {done.returncode}" + ("; it needs root" if done.returncode == 77 else ""))
    return [json.loads(line) for line in done.stdout.splitlines()]


def arguments(bench, about, name, default, lowest, highest, help):
    """The command line of a bench of tools with two sides; --NAME N is what one of their rounds has most of."""
    parser = argparse.ArgumentParser(prog=f"./dev bench {bench}", description=about,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="one pass, half a minute")
    for option, value, low, high, text in (
        ("passes", 5, 1, 100, "starts of all tools"),
        ("rounds", 4, 1, 64, "interleaved rounds a pass"),
        (name, default, lowest, highest, help),
    ):
        parser.add_argument(f"--{option}", type=within(low, high), default=value, metavar="N",
                            help=f"{text}, {low}..{high} (default {value})")
    args = parser.parse_args()
    args.passes = 1 if args.quick else args.passes
    return args


def within(low, high):
    def number(text):
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not in {low}..{high}")
        return int(text)

    return number


def run_passes(bench, args, runs, rounds, missing):
    """Each pass starts each tool once. runs: (title, tool, words, prefix, suffix); names of lines that begin with
    prefix get the suffix. A run that fails is left out from then on, and is in missing."""
    broken = set()
    for turn in range(args.passes):
        for title, tool, words, prefix, suffix in runs:
            if title in broken:
                continue
            say(f"{bench}: {turn + 1} of {args.passes}: {title}")
            try:
                lines = run_tool(args.build, tool, "--rounds", args.rounds, *words)
            except ToolError as e:
                say(f"{bench}: {e}")
                broken.add(title)
                missing.append(f"{title}: {e}")
                continue
            for line in lines:
                if line["name"].startswith(prefix):
                    line["name"] += suffix
                rounds.add(line)


class Rounds:
    """The lines of all runs of the tools, by name: lists of rounds joined, histograms and counts added up."""

    ADDED = ("n", "lost", "unanswered", "stalls", "stalls_excused", "forwarded")

    def __init__(self):
        self.lines = {}

    def add(self, line):
        have = self.lines.setdefault(line["name"], {"buckets": {}})
        for key, value in line.items():
            if key == "buckets":
                for top, n in value:
                    have["buckets"][top] = have["buckets"].get(top, 0) + n
            elif isinstance(value, list):
                have.setdefault(key, []).extend(value)
            elif key == "all":
                have.setdefault(key, []).append(value)  # percentiles: one object a run of the tool
            elif key in self.ADDED:
                have[key] = have.get(key, 0) + value
            elif key in ("max", "poll_gap_max"):
                have[key] = max(have.get(key, 0), value)
            elif key == "min":
                have[key] = min(have.get(key, value), value)
            else:
                have[key] = value

    def __contains__(self, name):
        return name in self.lines

    def names(self, prefix):
        return [n for n in self.lines if n.startswith(prefix)]

    def get(self, name, key):
        return self.lines[name][key]

    def quantile(self, name, p):
        """Microseconds: the largest value of the bucket that holds the sample of this rank."""
        buckets, seen = self.lines[name]["buckets"], 0
        want = p * sum(buckets.values())
        for top in sorted(buckets):
            seen += buckets[top]
            if seen >= want:
                return min(top / 1e3, self.lines[name]["max"])
        return 0.0

    def time_row(self, name, **more):
        rounds = self.lines[name]["round_p50"]
        return {"name": name, "unit": "us", "n": self.lines[name]["n"], "p50": round(statistics.median(rounds), 3),
                "p50_low": min(rounds), "p50_high": max(rounds), "p99": round(self.quantile(name, 0.99), 3),
                "max": self.lines[name]["max"], **more}  # fmt: skip

    def goal(self, a, b, limit, sense="<=", key="round_p50"):
        """a : b against a limit; None if one of them is missing."""
        if a not in self or b not in self:
            return None
        each = [x / y for x, y in zip(self.get(a, key), self.get(b, key)) if y > 0]
        return judged(f"{a} : {b}", each, limit, sense) if each else None


def judged(name, each, limit, sense="<="):
    value = round(statistics.median(each), 3)
    over = value - limit if sense == "<=" else limit - value
    return {"name": name, "value": value, "low": round(min(each), 3), "high": round(max(each), 3), "goal": limit,
            "sense": sense, "met": over <= 0, "short_by": round(max(over, 0), 3)}  # fmt: skip


def report(bench, args, start, results, goals, missing, table, remarks=()):
    """Prints the object as the last line, or the table and the goals."""
    out = {"schema": 1, "bench": bench, "revision": git("rev-parse", "HEAD"),
           "dirty": bool(git("status", "--porcelain")), "host": host(),
           "seconds": round(time.monotonic() - start, 1), "results": results, "goals": goals,
           "not_measured": missing, "remarks": list(remarks)}  # fmt: skip
    if args.json:
        print(json.dumps(out))
        return
    table(results)
    for g in goals:
        end = "met" if g["met"] else f"short by {g['short_by']}"
        spread = f"({g['low']}..{g['high']})"
        print(f"{g['name']:<50}{g['value']:>9} {spread:<18} goal {g['sense']} {g['goal']:<6} {end}")
    for text in remarks:
        print(f"remark: {text}")
    for text in missing:
        print(f"not measured: {text}")
