# SPDX-License-Identifier: BSD-3-Clause
"""What benches do with the lines that measuring tools print: put rounds together, compare.

output.py makes the object of it, in the form of perf/schema.json, and prints it; its names are here as well.
Names are bench/variant/parameters. A latency's samples are added up over the rounds; percentiles are never averaged.
A bench that lacks something says so in not_measured, and ends with 1. Nothing is a threshold: a bench that misses a
goal says so, and that is all.
"""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

from output import compared, git, histogram, host, judged, quantile, report, value  # noqa: F401

TOOL_SECONDS = 240


def say(text):
    print(text, file=sys.stderr, flush=True)


class ToolError(Exception):
    """A measuring tool did not end well; the text says which and why."""


class Unlucky(ToolError):
    """Nothing is broken, but what was measured is not what was to be measured; the next time it may be."""


def second_try(step):
    """A step of run_steps that is taken once more if it was unlucky."""

    def taken():
        try:
            step()
        except Unlucky as e:
            say(f"once more: {e}")
            step()

    return taken


def run_tool(build, name, *args):
    """Runs build/perf/NAME; its lines as objects. What it says on standard error goes on to ours."""
    program = os.path.join(build, "perf", name)
    if not os.access(program, os.X_OK):
        raise ToolError(f"{name} was not built (DPDK, and for pando-loss libbpf, are needed: ./dev doctor)")
    try:
        done = subprocess.run([program, *map(str, args)], stdout=subprocess.PIPE, text=True, timeout=TOOL_SECONDS,
                              env={**os.environ, "UCX_LOG_FILE": "stderr"})  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} did not end within {TOOL_SECONDS} s") from None
    if done.returncode != 0:
        raise ToolError(f"{name} ended with {done.returncode}" + ("; it needs root" if done.returncode == 77 else ""))
    try:
        return [json.loads(line) for line in done.stdout.splitlines()]
    except ValueError as e:
        raise ToolError(f"{name} printed a line that is no object: {e}") from None


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


@contextlib.contextmanager
def until_signal(missing):
    """SIGINT (./dev bench all, when a bench's time is up) ends what is within: what was measured until then is the
    result, and missing says that it is not all."""
    try:
        yield
    except KeyboardInterrupt:
        missing.append("what follows: it was ended by a signal")


def run_passes(bench, args, runs, rounds, missing):
    """Each pass starts each tool once. runs: (title, tool, words, prefix, suffix); names of lines that begin with
    prefix get the suffix. A run that fails is left out from then on, and is in missing; so is what a signal ends."""
    broken = set()
    with until_signal(missing):
        for turn in range(args.passes):
            for run in (r for r in runs if r[0] not in broken):
                say(f"{bench}: {turn + 1} of {args.passes}: {run[0]}")
                try:
                    run_pass(args, run, rounds)
                except ToolError as e:
                    say(f"{bench}: {e}")
                    broken.add(run[0])
                    missing.append(f"{run[0]}: {e}")


def run_pass(args, run, rounds):
    _, tool, words, prefix, suffix = run
    for line in run_tool(args.build, tool, "--rounds", args.rounds, *words):
        if line["name"].startswith(prefix):
            line["name"] += suffix
        rounds.add(line)


def run_steps(bench, args, steps, missing):
    """Each round takes each step once, so that what is compared are neighbours in time. steps: (title, function); one
    that fails is left out from then on, and is in missing. SIGINT, or args.limit seconds (None: no limit), ends the
    rounds: what was measured until then is the result, and missing says so. False after SIGINT."""
    broken, start = set(), time.monotonic()
    for turn in range(args.rounds):
        for title, step in steps:
            if title in broken:
                continue
            if args.limit and time.monotonic() - start > args.limit:
                where = f"{title} of round {turn + 1} of {args.rounds}"
                missing.append(f"{where} and what follows: {args.limit} s were over")
                return True
            say(f"{bench}: {turn + 1} of {args.rounds}: {title}")
            try:
                step()
            except ToolError as e:
                say(f"{bench}: {e}")
                broken.add(title)
                missing.append(f"{title}: {e}")
            except KeyboardInterrupt:
                missing.append(f"what follows {title} of round {turn + 1} of {args.rounds}: it was ended by a signal")
                return False
    return True


def shares(name, whole, parts):
    """In words: what parts, each measured by itself, are of the whole, and what they leave to the rest. {what: us}"""
    us = lambda v: f"{v:.2f}" if abs(v) < 10 else f"{v:.0f}"
    said = ", ".join(f"{what} {us(v)} us ({100 * v / whole:.0f} %)" for what, v in parts.items())
    return f"of the {us(whole)} us of {name}: {said}; the rest {us(whole - sum(parts.values()))} us"


class Rounds:
    """The lines of all runs of the tools, by name: lists of rounds joined, histograms and counts added up."""

    ADDED = ("n", "lost", "sent", "unanswered", "stalls", "stalls_excused", "forwarded")

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

    def median(self, name):
        """Microseconds: the median over the rounds of each round's median, as in its row."""
        return statistics.median(self.lines[name]["round_p50"])

    def quantile(self, name, p):
        """Microseconds."""
        return min(quantile(self.lines[name]["buckets"], p) / 1e3, self.lines[name]["max"])

    def time_row(self, name, **counts):
        line = self.lines[name]
        return histogram(name, line["buckets"], line["round_p50"], line["max"],
                         round_p99=line.get("round_p99", ()), counts=counts)  # fmt: skip

    def pairs(self, a, b, key):
        """(the ratio of each round, the rounds of both sides); None if one of them is missing."""
        if a not in self or b not in self:
            return None
        sides = self.get(a, key), self.get(b, key)
        each = [x / y for x, y in zip(*sides) if y > 0]
        return (each, sides) if each else None

    def goal(self, a, b, limit, sense="<=", key="round_p50", why=""):
        """a : b against a limit; None if one of them is missing."""
        found = self.pairs(a, b, key)
        return found and judged(f"{a} : {b}", found[0], limit, sense, found[1], why=why)

    def ratio(self, a, b, key="round_p50"):
        """a : b, of which nothing is asked; None likewise."""
        found = self.pairs(a, b, key)
        return found and compared(f"{a} : {b}", *found)
