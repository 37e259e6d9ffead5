#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench fault: what a remote page fault costs, and what it is made of.

In one run, in interleaved rounds: the floor of userfaultfd alone, the round trip of the transport on every fabric,
kernel TCP over the same veth pair beside it, and what a guest sees: a remote read fault, a remote write fault of a Modified page, an upgrade
with 1 and with 2 sharers, an interrupt one way. All samples of all rounds are kept; a ratio compares the medians
of the two sides round by round.
"""
import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import cluster as cl  # noqa: E402
from options import Options  # noqa: E402

# name of the result -> (guest mode, nodes, command line)
GUEST = (
    ("fault/read", "read", 2, ""),
    ("fault/write_modified", "write", 2, ""),
    ("fault/upgrade/1", "upgrade", 2, "sharers=1"),
    ("fault/upgrade/2", "upgrade", 3, "sharers=2"),
    ("ipi/one_way", "ipi", 2, ""),
)
RATIOS = (
    ("fault/read", "floor/uffd_yield/minor_shared"),
    ("fault/write_modified", "floor/uffd_yield/minor_modified"),
    ("fault/upgrade/1", "floor/uffd_yield/wp_upgrade"),
    ("fault/upgrade/2", "fault/upgrade/1"),
    ("fault/read", "fetch/shm/4096"),
    ("ipi/one_way", "rtt/shm/64"),
    ("rtt/shm/64", "rtt/raw_shm/64"),
    ("rtt/shm/64", "rtt/tcp_spin/64"),
    ("rtt/af_packet/64", "rtt/tcp_spin/64"),
    ("rtt/af_packet/64", "rtt/tcp_block/64"),
    ("fetch/shm/4096", "fetch/tcp_spin/4096"),
    ("fetch/af_packet/4096", "fetch/tcp_spin/4096"),
)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Results:
    """By name: the rounds' medians, and either all samples or the sum of the tools' histograms."""

    def __init__(self):
        self.samples, self.rounds, self.buckets, self.top = {}, {}, {}, {}

    def add_samples(self, name, values):
        values = sorted(values)
        self.samples.setdefault(name, []).extend(values)
        self.rounds.setdefault(name, []).append(values[(len(values) - 1) // 2])

    def add_line(self, line):
        """One JSON line of a tool: a histogram, [largest value in ns, samples] a bucket."""
        d = json.loads(line)
        name, sum_of = d["name"], self.buckets.setdefault(d["name"], {})
        for value, n in d["buckets"]:
            sum_of[value] = sum_of.get(value, 0) + n
        self.top[name] = max(self.top.get(name, 0), d["max"])
        self.rounds.setdefault(name, []).append(d["p50"])

    def rows(self):
        out = []
        for name, values in self.samples.items():
            values.sort()
            at = lambda p: values[min(len(values) - 1, int(len(values) * p))]
            out.append(row(name, len(values), at, values[-1]))
        for name, sum_of in self.buckets.items():
            at = lambda p: min(quantile(sum_of, p) / 1e3, self.top[name])
            out.append(row(name, sum(sum_of.values()), at, self.top[name]))
        return sorted(out, key=lambda d: d["name"])

    def ratios(self):
        out = []
        for a, b in RATIOS:
            if a not in self.rounds or b not in self.rounds:
                continue
            each = sorted(x / y for x, y in zip(self.rounds[a], self.rounds[b]) if y > 0)
            if each:
                out.append({"name": f"{a} : {b}", "value": round(each[(len(each) - 1) // 2], 3),
                            "low": round(each[0], 3), "high": round(each[-1], 3), "goal": None, "met": None})
        return out


def quantile(buckets, p):
    """The largest value of the bucket that holds the sample of this rank."""
    want, seen = p * sum(buckets.values()), 0
    for value in sorted(buckets):
        seen += buckets[value]
        if seen >= want:
            return value
    return 0


def row(name, n, at, top):
    return {"name": name, "unit": "us", "n": n, "p50": round(at(0.5), 3), "p90": round(at(0.9), 3),
            "p99": round(at(0.99), 3), "max": round(top, 3)}


def tool(build, name, *args):
    return subprocess.run([cl.find_program(build, name), *args], check=True, capture_output=True, text=True,
                          timeout=120).stdout.splitlines()


def guest_samples(build, mode, nodes, words, count):
    """Runs the guest once; microseconds."""
    khz, cycles, tail = 0, [], []

    def line(process, stream, text):
        nonlocal khz
        tail.append(f"{process.name}: {text}")
        if process.name != "vmm" or stream != "out":
            return
        found = re.match(r"BENCH \S+ .*tsc_khz=(\d+)", text)
        if found:
            khz = int(found[1])
        if text.startswith("SAMPLES "):
            cycles.extend(int(v) for v in text.split()[2:])

    o = Options(nodes=nodes, vcpus=nodes, guest="pingpong", ram=64, check=False, timeout=120,
                cmdline=f"mode={mode} n={count} raw=1 {words}".strip())
    with cl.Cluster(o, build, on_line=line) as c:
        result = c.run()
    if not result.passed or not khz or not cycles:
        raise RuntimeError(f"guest pingpong mode={mode} on {nodes} nodes failed (status {result.status}, "
                           f"{result.died or 'nobody died'}):\n" + "\n".join(tail[-15:]))
    return [c * 1000.0 / khz for c in cycles]


def host():
    cpu = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for text in f:
            if text.startswith("model name"):
                cpu = text.split(":", 1)[1].strip()
                break
    return {"kernel": platform.release(), "cpu": cpu, "cpus": os.cpu_count(),
            "hypervisor_kvm": "vmx or svm" if re.search(r"\b(vmx|svm)\b", open("/proc/cpuinfo").read()) else "PVM or none"}


def git(*args):
    done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def measure(args, results, missing):
    for r in range(args.rounds):
        say(f"round {r + 1} of {args.rounds}: floor, transport, TCP")
        for text in tool(args.build, "uffd_floor", "1"):
            results.add_line(text)
        for text in tool(args.build, "pando-rtt", "--sizes", "64", "--rounds", "1", "--samples", str(args.samples * 5)):
            results.add_line(text)
        for name, mode, nodes, words in GUEST:
            if name in missing:
                continue
            say(f"round {r + 1} of {args.rounds}: {name} on {nodes} nodes")
            try:
                results.add_samples(name, guest_samples(args.build, mode, nodes, words, args.samples))
            except (RuntimeError, cl.SetupError) as e:
                say(str(e))
                missing[name] = str(e).splitlines()[0]


def main():
    parser = argparse.ArgumentParser(prog="./dev bench fault", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default %(default)s)")
    parser.add_argument("--samples", type=int, default=200, help="samples a round, a multiple of 4 (default %(default)s)")
    args = parser.parse_args()
    if args.rounds < 1 or args.samples < 4 or args.samples % 4:
        parser.error("--rounds at least 1; --samples a multiple of 4, at least 4")
    results, missing = Results(), {}
    measure(args, results, missing)
    config = Options(nodes=2, vcpus=2, guest="pingpong", ram=64, check=False).config("RUN_DIR", "bench", "DEVICE")
    out = {"schema": 1, "bench": "fault", "revision": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain")),
           "host": host(), "config_sha256": hashlib.sha256(config.encode()).hexdigest(), "results": results.rows(),
           "ratios": results.ratios(),
           "not_measured": [f"{n}: {why}" for n, why in missing.items()]
           + ["guest faults on fabrics other than shared memory", "bare-metal KVM: no vmx or svm here"
              if host()["hypervisor_kvm"].startswith("PVM") else "PVM"]}
    if args.json:
        print(json.dumps(out))
    else:
        print(f"{'result':<36}{'n':>8}{'p50':>10}{'p90':>10}{'p99':>10}{'max':>12}  us")
        for r in out["results"]:
            print(f"{r['name']:<36}{r['n']:>8}{r['p50']:>10.2f}{r['p90']:>10.2f}{r['p99']:>10.2f}{r['max']:>12.2f}")
        for r in out["ratios"]:
            print(f"ratio {r['name']}: {r['value']} ({r['low']} to {r['high']} over the rounds)")
        for text in out["not_measured"]:
            print(f"not measured: {text}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
