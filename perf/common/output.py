# SPDX-License-Identifier: BSD-3-Clause
"""How a bench ends: one object as perf/schema.json says, or the same as a table for people.

    out = output.report("rtt", args, start, results, goals, missing, table, remarks, ratios=...)

Results are made by histogram() and value(), goals by judged(), ratios by compared(): they compute what must follow
from something else (percentiles, met, short_by, p). report() adds revision, host, settings, the machine's noise floor,
and looks at it all with schema.check() before it prints: what is wrong there is an error of the bench's.
"""
import hashlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time

import schema

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOISE_MS = 300
ROUNDS_FOR_P = 4  # with three a side p is never below 0.1


def git(*args):
    done = subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().strip() or None
    except OSError:
        return None


def hypervisor(flags):
    if "hypervisor" not in flags:
        return None
    done = subprocess.run(["lscpu"], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    found = re.search(r"^Hypervisor vendor:\s*(.+)$", done.stdout, re.M)
    return found[1].strip() if found else "unknown"


def host():
    info = read("/proc/cpuinfo") or ""
    cpu = re.search(r"^model name\s*: (.*)$", info, re.M)
    flags = set(re.findall(r"\w+", info))
    kvm = "none"
    if os.path.exists("/dev/kvm"):
        kvm = next((f for f in ("vmx", "svm") if f in flags), "without vmx or svm")
    return {"kernel": platform.release(), "cpus": os.cpu_count() or 1, "cpu": cpu[1].strip() if cpu else "unknown",
            "load": [round(v, 2) for v in os.getloadavg()],
            "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "hypervisor": hypervisor(flags), "kvm": kvm,
            "clocksource": read("/sys/devices/system/clocksource/clocksource0/current_clocksource") or "unknown"}


def sentence(text):
    """One line of what a program said, as the schema wants it."""
    return "".join(c if c >= " " and c != "\x7f" else " " for c in str(text)).encode("utf-8", "replace").decode()[:2000]


def quantile(buckets, p):
    """The largest value of the bucket that holds the sample of this rank; buckets: {largest value: samples}."""
    want, seen = p * sum(buckets.values()), 0
    for top in sorted(buckets):
        seen += buckets[top]
        if seen >= want:
            return top
    return 0


def of_samples(values):
    """{largest value of the bucket: samples} of integers, by the rule of dataplane/base/hist.h."""
    out = {}
    for v in values:
        v = max(int(v), 0)
        shift = max(v.bit_length() - 6, 0)
        top = (((v >> shift) + 1) << shift) - 1
        out[top] = out.get(top, 0) + 1
    return out


def with_more(row, counts, note, modelled):
    if counts:
        row["counts"] = counts
    if note:
        row["note"] = sentence(note)
    if modelled:
        row["modelled"] = sentence(modelled)
    return row


def histogram(name, buckets, rounds, top=None, unit="us", round_p99=(), counts=None, note="", modelled=""):
    """A result with all its samples. buckets: {largest value: samples}, in nanoseconds where unit is us, else in the
    unit; rounds: the median of each round, in the unit, in order of time; top: the largest sample, in the unit."""
    scale = 1e3 if unit == "us" else 1
    top = max(buckets) / scale if top is None else top
    at = lambda p: round(min(quantile(buckets, p) / scale, top), 3)
    n = sum(buckets.values())
    row = {"name": name, "unit": unit, "n": n, "p50": round(statistics.median(rounds), 3),
           "p50_low": min(rounds), "p50_high": max(rounds), "round_p50": list(rounds), "p90": at(0.9), "p99": at(0.99),
           "max": top, "buckets": [[k, buckets[k]] for k in sorted(buckets) if buckets[k]]}  # fmt: skip
    if n >= 1000:
        row["p999"] = at(0.999)
    if round_p99:
        row["round_p99"] = list(round_p99)
    return with_more(row, counts, note, modelled)


def value(name, unit, each, digits=3, counts=None, note="", modelled=""):
    """A result of one number a round; modelled: a single number that was computed, and from what."""
    each = [round(v, digits) for v in each]
    row = {"name": name, "unit": unit, "rounds": 0 if modelled else len(each),
           "median": round(statistics.median(each), digits), "low": min(each), "high": max(each), "each": each}
    return with_more(row, counts, note, modelled)


def p_of(a, b):
    """Mann-Whitney U over the rounds of both sides; None: too few of them."""
    try:
        import stats
    except ImportError:
        return None
    if min(len(a), len(b)) < ROUNDS_FOR_P:
        return None
    return round(stats.mann_whitney(a, b)[1], 6)


def compared(name, each, sides=None):
    """A ratio that nothing is asked of. each: round by round; sides: the rounds of both."""
    return {"name": name, "value": round(statistics.median(each), 3), "low": round(min(each), 3),
            "high": round(max(each), 3), "p": p_of(*sides) if sides else None, "rounds": len(each)}


def judged(name, each, limit, sense="<=", sides=None, unit=None, why=""):
    """The same against a limit; unit: it is no ratio but a quantity; why: what costs it, if it is missed."""
    g = compared(name, each, sides)
    short = max(schema.over(g["value"], limit, sense), 0)
    g |= {"goal": limit, "sense": sense, "met": schema.met(g["value"], limit, sense), "short_by": round(short, 3)}
    if unit:
        g["unit"] = unit
    if why and not g["met"]:
        g["why"] = sentence(why)
    return g


def noise(build, missing, ms=NOISE_MS):
    """The gaps of an empty loop, a histogram for each CPU: what the machine does to whoever measures on it."""
    program = os.path.join(build, "perf", "pando-noise")
    try:
        done = subprocess.run([program, "--ms", str(ms)], capture_output=True, text=True, timeout=60 + ms / 500)
        if done.returncode:
            raise OSError(done.stderr.strip() or f"ended with {done.returncode}")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:
        missing.append(sentence(f"the machine's noise floor: {e}"))
        return []
    return [histogram(d["name"], dict(map(tuple, d["buckets"])), [d["p50"]], d["max"],
                      counts={"stolen_ppm": d["stolen_ppm"], "ms": d["ms"]}) for d in lines]  # fmt: skip


def settings_of(args):
    def plain(v):
        if isinstance(v, (list, tuple)):
            return [plain(x) for x in v]
        return v if isinstance(v, (int, float, bool, type(None))) else sentence(v)

    return {k: plain(v) for k, v in sorted(vars(args).items()) if k not in ("build", "json")}


def built(bench, args, start, results, goals, missing, remarks=(), ratios=(), waterfalls=(), config=None, floor=None,
          benches=None):
    """The object. start: time.monotonic() at the bench's; config: the text of the cluster's configuration, if any;
    floor: noise() if the bench has measured it itself. What else is missing is appended to missing."""
    settings = settings_of(args)
    seconds = round(time.monotonic() - start, 1)
    floor = noise(args.build, missing) if floor is None else floor
    if schema.jsonschema is None:
        remarks = [*remarks, schema.WITHOUT]
    out = {"schema": 1, "bench": bench, "revision": git("rev-parse", "HEAD"),
           "dirty": bool(git("status", "--porcelain")), "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
           "seconds": seconds, "host": host(), "settings": settings,
           "config_sha256": hashlib.sha256((config or json.dumps(settings, sort_keys=True)).encode()).hexdigest(),
           "noise": floor, "results": results, "ratios": list(ratios), "goals": goals,
           "waterfalls": list(waterfalls), "not_measured": [sentence(t) for t in missing],
           "remarks": [sentence(t) for t in remarks]}  # fmt: skip
    if benches is not None:
        out["benches"] = benches
    wrong = schema.check(out)
    if wrong:
        raise SystemExit(f"{bench}: not what perf/schema.json asks for: " + "; ".join(wrong[:5]))
    return out


def report(bench, args, start, results, goals, missing, table, remarks=(), **more):
    """Prints the object as the last line, or the table and the goals; returns the object. more: as built()'s."""
    out = built(bench, args, start, results, goals, missing, remarks, **more)
    if args.json:
        print(json.dumps(out, allow_nan=False))
    else:
        table(results)
        print_rest(out)
    sys.stdout.flush()
    return out


def p_words(row):
    """That both sides are alike, not that a goal is met."""
    return "" if row["p"] is None else f"p alike {row['p']:.2g}"


def print_rest(out):
    for g in out["goals"]:
        end = "met" if g["met"] else f"short by {g['short_by']}"
        spread = f"({g['low']}..{g['high']})"
        print(f"{g['name']:<50}{g['value']:>9} {spread:<18} {p_words(g):<16} goal {g['sense']} {g['goal']:<6} {end}")
    for r in out["ratios"]:
        print(f"{r['name']:<50}{r['value']:>9} ({r['low']}..{r['high']}) {p_words(r)}")
    for h in out["noise"]:
        print(f"noise floor: {h['name'].split('/')[1]}: an empty loop stood still for up to {h['max']:.0f} us, "
              f"{h['counts']['stolen_ppm'] / 1e4:.2f} % of the time in gaps over 1 us")  # fmt: skip
    for text in out["remarks"]:
        print(f"remark: {text}")
    for text in out["not_measured"]:
        print(f"not measured: {text}")
