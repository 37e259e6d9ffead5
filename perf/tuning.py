#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench tuning: which words on an unmodified kernel's command line cut the coherence traffic.

Debian's kernel on two nodes with a vCPU each does nothing for a while: what travels then is the kernel's own
doing, messages a second. In the lab VM with all the words that it needs to come up at all, less one of them at
a time; on hardware with none, plus one at a time. One boot each (--rounds for more): minutes a boot in the lab VM, so
it is no part of ./dev bench all. Results: tuning/VARIANT/messages and /faults; perf/schema.json says more.
"""
import argparse
import os
import re
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
for part in ("tests/linux", "tests/system", "perf/common"):
    sys.path.insert(0, os.path.join(ROOT, part))
import image  # noqa: E402
import output  # noqa: E402
import place as places  # noqa: E402

# The word, as over_nodes.py --without knows it, and as it is added; what it does.
WORDS = {
    "compaction": ("sysctl.vm.compaction", "sysctl.vm.compaction_proactiveness=0", "no kcompactd that looks twice a second"),
    "numa_balancing": ("numa_balancing", "numa_balancing=disable", "pages are not unmapped to see who uses them"),
    "isolcpus": ("isolcpus", "isolcpus=managed_irq,domain,1", "unbound work stays on node 0"),
    "nowatchdog": ("nowatchdog", "nowatchdog", "no lockup detector's timer on each CPU"),
    "nohz_full": ("nohz_full", "nohz_full=1", "no tick on node 1's CPU with one task; its RCU callbacks on node 0"),
    "idle=poll": (None, "idle=poll", "idle CPUs spin instead of halting"),
}
BOOT_SECONDS = 420


def variants(lab):
    """name: (arguments of over_nodes.py, in words)"""
    out = {"base": ([], "all words of tests/linux/over_nodes.py" if lab else "no words")}
    for name, (without, added, effect) in WORDS.items():
        if lab and without:
            out["no " + name] = ([f"--without={without}"], "without: " + effect)
        else:
            out["with " + name] = ([f"--words={added}"], "with: " + effect)
    return out


def progress(line):
    """Where the boot is, and what goes wrong in it."""
    if any(part in line for part in ("pando-guest:", "pando run:", "cpu1 is up", "traffic:", "lab:")):
        print("    " + line.strip(), file=sys.stderr, flush=True)


def boot(place, more, seconds, build, out):
    words = ["--nodes=2", "--homes=0,1", "--bare", "--traffic", "--jobs=idle"]
    words += ["--slow"] if place.lab else []
    given = [w for w in more if not w.startswith("--words=")]
    extra = " ".join(w.removeprefix("--words=") for w in more if w.startswith("--words="))
    words += [*given, f"--words=pando.idle=seconds:{seconds} {extra}"]
    result, wrong = places.run(place, words, out, BOOT_SECONDS + seconds, build, progress)
    traffic = ((result or {}).get("traffic") or {}).get("idle")
    if wrong or not traffic:
        return None, wrong or "the dataplanes' telemetry did not answer"
    return traffic, None


def main():
    parser = argparse.ArgumentParser(prog="./dev bench tuning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--seconds", type=int, default=60, help="of idleness (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="boots of each variant (default %(default)s)")
    parser.add_argument("--only", default="", metavar="A,B", help="parts of variants' names; base is always run")
    args = parser.parse_args()
    if not 5 <= args.seconds <= 600 or not 1 <= args.rounds <= 20:
        parser.error("--seconds 5..600, --rounds 1..20")
    start = time.monotonic()
    place, build = places.Place(), os.path.abspath(args.build)
    try:
        places.prepare(build)
    except image.ImageError as e:
        print(f"tuning: {e}", file=sys.stderr)
        return 4
    only = [part for part in args.only.split(",") if part]
    chosen = {n: v for n, v in variants(place.lab).items() if n == "base" or not only or any(part in n for part in only)}
    rows, missing = {name: [] for name in chosen}, {}
    try:
        for name in list(chosen) * args.rounds:
            booting = time.monotonic()
            traffic, why = boot(place, chosen[name][0], args.seconds, build, os.path.join(places.lab.CACHE, "tuning"))
            if traffic:
                rows[name].append(traffic)
            else:
                missing[name] = why
            said = why or "{messages} messages, {faults} faults in {seconds} s".format(**traffic)
            print(f"tuning: {name}: {said}; the boot took {time.monotonic() - booting:.0f} s", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        missing["the rest"] = "stopped by a signal"
    results = []
    for name, samples in ((n, s) for n, s in rows.items() if s):
        for key in ("messages", "faults"):
            results.append(output.value(f"tuning/{re.sub('[^a-z0-9_.=]', '_', name)}/{key}", f"{key}/s",
                                        [s[key] / s["seconds"] for s in samples], 1, note=chosen[name][1]))  # fmt: skip
    failed = [f"{n}: {why}" for n, why in missing.items()]
    output.report("tuning", args, start, results, [], failed, table, [f"measured in: {place.why}"])
    return 1 if missing else 0


def table(rows):
    print(f"{'result':<36}{'a second':>10}{'boots':>7}")
    for r in rows:
        print(f"{r['name']:<36}{r['median']:>10}{r['rounds']:>7}  {r['note']}")


if __name__ == "__main__":
    sys.exit(main())
