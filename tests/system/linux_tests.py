# SPDX-License-Identifier: BSD-3-Clause
"""Debian's kernel over several nodes under Debian's QEMU and `pando run`: in the lab VM, a fresh one
for each case; tests/linux/over_nodes.py does the work in there."""
import functools
import json
import os
import shlex
import sys
import time

import outcome

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
sys.path.insert(0, os.path.join(ROOT, "tests", "linux"))
import image  # noqa: E402
import lab  # noqa: E402

CPU = "--qemu=-cpu qemu64,+tsc-deadline"
JOBS = "--jobs=show,threads,clock,smc,disk,net"
# name: (arguments of over_nodes.py, seconds, only with --full)
CASES = {
    "1-node": (["--nodes=1", "--homes=0", JOBS], 240, False),
    "memory-elsewhere": (["--nodes=2", "--homes=0", "--mem=256", JOBS], 300, False),
    "2-nodes": (["--nodes=2", "--homes=0,1", "--jobs=show", "--bare", "--words=tsc=reliable nowatchdog"], 900, True),
}


def console(line):
    """What people want to see live: everything but the two kernels' own lines."""
    if not line.removeprefix("guest| ").lstrip().startswith("["):
        print("     " + line, flush=True)


def traffic(result):
    """Faults and messages of all nodes, for the line of the result."""
    faults, messages = 0, 0
    for node in result["nodes"]:
        faults += sum(kind["n"] for kind in (node.get("faults") or {}).values())
        messages += sum(kind["tx"] for kind in (node.get("messages") or {}).values())
    return f"userspace after {result['userspace_s']} s of guest time, {faults} page faults, {messages} coherence messages"


def run_case(name, build):
    arguments, seconds, _ = CASES[name]
    out = os.path.join(lab.CACHE, "linux-" + name)
    result_file = os.path.join(out, "result.json")
    words = [*arguments, CPU, "--pin", "--build", build, f"--seconds={seconds - 60}", "--result", "/run/out/result.json"]
    job = f"rm -f $OUT/result.json; export PANDO_LINUX_CACHE={image.CACHE}\n"
    job += f"python3 tests/linux/over_nodes.py {shlex.join(words)}\n"
    try:
        status = lab.run_job(job, out, seconds, on_line=console, build=build)
    except lab.LabError as e:
        return str(e)
    try:
        with open(result_file, encoding="utf-8") as f:
            result = json.load(f)
    except (OSError, ValueError) as e:
        return f"status {status} and no result: {e}"
    if result["problem"] or status != 0:
        return result["problem"] or f"status {status}"
    return None, traffic(result)


def prepare(build):
    """Made here: the lab's root directory is read-only."""
    image.kernel(image.META)
    image.initrd("small", image.META, build)


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--only", default="", help="a part of a case's name")
    parser.add_argument("--full", action="store_true", help="all of them")
    args = parser.parse_args()
    build, start = os.path.abspath(args.build), time.monotonic()
    try:
        prepare(build)
    except image.ImageError as e:
        outcome.report(args.tally, "linux/image", "fail", time.monotonic() - start, str(e))
        return 3
    results = []
    for name, (_, _, full) in CASES.items():
        if args.only not in name:
            continue
        if full and not args.full and not args.only:
            outcome.report(args.tally, f"linux/{name}", "skip", 0, "only with --full: it takes many minutes")
            continue
        results.append(outcome.run(args.tally, f"linux/{name}", functools.partial(run_case, name, build)))
    return outcome.status(results)


if __name__ == "__main__":
    sys.exit(main())
