#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The tools of the benches, briefly: what they print becomes an object of perf/schema.json with all in it that this
machine and this build can measure. Their times are nobody's here.
"""
import os
import re
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", "system"), os.path.join(ROOT, "perf", "common")]
import outcome  # noqa: E402
import schema  # noqa: E402

SIZES = (32, 64, 128, 256, 512)
FABRICS = ("shm", "memif", "af_packet", "af_xdp")
PEERS = ("tcp_spin", "tcp_block", "udp_spin")
UCX = ("ucx_tcp", "ucx_shm")
CLASSES = ("urgent", "request", "data", "bulk")


def bench(build, name, *words, status=(0, 1)):
    line = [sys.executable, os.path.join(ROOT, "perf", name + ".py"), "--build", build, "--json", *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=200)  # fmt: skip
    if done.returncode not in status:
        raise schema.BadResult(f"ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    if not done.stdout:
        raise schema.BadResult(f"ended with {done.returncode} and no object: {done.stderr.strip()[-300:]}")
    out = schema.parse(done.stdout.splitlines()[-1])
    wrong = schema.check(out)
    if wrong:
        raise schema.BadResult(wrong[0])
    return out, done.stderr


def noise(build):
    out, _ = bench(build, "noise", "--ms", "50", status=(0,))
    cpus = sorted(f"noise/cpu{n}" for n in os.sched_getaffinity(0))
    if sorted(r["name"] for r in out["results"]) != cpus:
        return f"{[r['name'] for r in out['results']]} where the CPUs are {cpus}"
    for r in out["results"]:
        spent = sum(top * n for top, n in r["buckets"]) / 1e6  # buckets are told by their largest value
        if not 45 <= spent <= 80 and r["max"] < 20000:
            return f"{r['name']}: its gaps add up to {spent:.1f} ms of 50"
        over = sum(top * n for top, n in r["buckets"] if top > 1100) / 50e6
        if not over * 0.8 - 0.01 <= r["counts"]["stolen_ppm"] / 1e6 <= over * 1.3 + 0.01 and r["max"] < 20000:
            return f"{r['name']}: stolen_ppm is {r['counts']['stolen_ppm']}; by the buckets it is {over:.4f}"
    tool = os.path.join(build, "perf", "pando-noise")
    for words in (["--ms", "9"], ["--ms", "x"], ["--ms"], ["--ns", "50"], ["--ms", "50", "x"]):
        done = subprocess.run([tool, *words], capture_output=True, text=True, timeout=60)
        if done.returncode != 2 or "usage:" not in done.stderr:
            return f"pando-noise {' '.join(words)}: status {done.returncode}, {done.stderr.strip()}"
    return None


def left_behind(before):
    """What is new in /dev/shm and in nobody's use: others may measure at the same time."""
    new = [f for f in set(os.listdir("/dev/shm")) - before if re.search(r"rtt|ucx|ucp", f)]
    used = []
    for pid in (p for p in os.listdir("/proc") if p.isdigit()):
        used += [f for f in new if f.endswith(f"-{pid}")]
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as f:
                maps = f.read()
        except OSError:
            continue
        used += [f for f in new if f"/dev/shm/{f}" in maps]
    return sorted(set(new) - set(used))


def can_xdp():
    try:
        socket.socket(getattr(socket, "AF_XDP", 44), socket.SOCK_RAW).close()
    except OSError:
        return False
    return True


def with_bpf(build):
    return os.access(os.path.join(build, "perf", "pando-loss"), os.X_OK)


def possible(build):
    """(fabrics, all variants of round trips): what was built in, and what the kernel has."""
    linked = subprocess.run(["ldd", os.path.join(build, "perf", "pando-rtt")], capture_output=True, text=True, check=True).stdout
    fabrics = [f for f in FABRICS if f != "af_xdp" or (with_bpf(build) and can_xdp())]
    return fabrics, [*fabrics, *(f"raw_{f}" for f in fabrics), *PEERS, *(UCX if "libucp" in linked else ())]


def rtt(build):
    """Every variant that can be at every size; a page; every class; frames; loss."""
    before = set(os.listdir("/dev/shm"))
    out, said = bench(build, "rtt", "--quick", "--rounds", "1", "--samples", "100")
    names = {r["name"]: r for r in out["results"]}
    fabrics, variants = possible(build)
    want = [f"rtt/{v}/{n}" for v in variants for n in SIZES]
    want += [f"fetch/{v}/4096/{mtu}" for v in variants for mtu in (9000, 1500)]
    classed = [f"class/{f}/{c}/32" for f in fabrics if f != "memif" for c in CLASSES]
    loss = [f"loss/{v}/{ppm}{end}" for v in fabrics if v.startswith("af_") for ppm in (0, 10000) for end in ("", "/all")]
    loss = [*loss, "loss/wire"] if with_bpf(build) else []
    lacking = [n for n in [*want, *classed, *loss, "wire/ack"] if n not in names]
    if lacking:
        return f"{lacking} is not measured ({out['not_measured']}); {said[-300:]}"
    few = [n for n in want + classed if names[n]["n"] + names[n]["counts"]["lost"] != 100]
    if few:
        return f"{few[0]}: {names[few[0]]['n']} samples of 100"
    other = [n for n in classed if not 100 <= names[n]["counts"]["sent"] < 200]
    if other:
        return f"{other[0]}: {names[other[0]]['counts']['sent']} messages left in that class, of 100 questions"
    left = left_behind(before)
    ucx = sum(n.startswith("rtt/ucx") for n in names)
    return (f"left in /dev/shm: {left}" if left else None), f"{len(names)} results, {ucx} of UCX"


def main():
    args = outcome.parser(__doc__).parse_args()

    def guarded(test):
        if os.geteuid() != 0 and test is not noise:
            raise outcome.Skipped("not root")
        if not os.access(os.path.join(args.build, "perf", "pando-rtt"), os.X_OK) and test is not noise:
            raise outcome.Skipped("pando-rtt was not built")
        try:
            return test(args.build)
        except (schema.BadResult, OSError, subprocess.TimeoutExpired) as e:
            return str(e)

    tests = {"bench/noise": noise, "bench/rtt": rtt}
    return outcome.status([outcome.run(args.tally, name, lambda t=t: guarded(t)) for name, t in tests.items()])


if __name__ == "__main__":
    sys.exit(main())
