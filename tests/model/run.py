#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev model: checks the protocols' models, completely, and holds the code against them.

    coherence.m   the directory protocol, by rumur; rrdp.m: set-up and epochs of the transport
    follow.c      whether each different step of the production code in the simulator is the model's

A run is one model with its constants; what is wrong on purpose ("control") must be found. Without --full
only the runs for which CI has time; what was not run is said.
"""
import argparse
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MEMORY = 12 << 30
RUN_SECONDS = 600

ONE_PAGE = {"NODES": 3, "PAGES": 1}
TWO_PAGES = {"NODES": 2, "PAGES": 2, "URGENTS": 6, "BYTESES": 4}
SMALL = {"EVICT": "false", "EDGES": "false", "GUESS": "false"}
CRASH = {"EPOCHS": 2, "EVICT": "false", "EDGES": "false", "GUESS": "false"}
CRASH_2 = {"NODES": 2, "EPOCHS": 2}


class Run:
    def __init__(self, name, model, constants, text, ci=False, finds=None):
        self.name, self.model, self.constants = name, model, constants
        self.text, self.ci, self.finds = text, ci, finds


RUNS = [
    Run("2-nodes", "coherence.m", {"NODES": 2, "SERVED": "true"},
        "2 nodes, 1 page, all of it; and a way to rest from everywhere"),
    Run("3-nodes", "coherence.m", ONE_PAGE, "3 nodes, 1 page, all of it", ci=True),
    Run("2-pages", "coherence.m", {**TWO_PAGES, **SMALL}, "2 nodes, 2 pages that share the channels"),
    Run("2-nodes-crash", "coherence.m", CRASH_2, "2 nodes, 1 page: one crashes, all come back in a new epoch", ci=True),
    Run("3-nodes-crash", "coherence.m", {**ONE_PAGE, **CRASH}, "3 nodes, 1 page: one crashes, all come back"),
    Run("rrdp", "rrdp.m", {}, "set-up, epochs and teardown of the transport", ci=True),
    Run("control-early-ack", "coherence.m", {"NODES": 2, "EARLY_ACK": "true"},
        "INV is acknowledged before the mapping is gone", ci=True, finds=["single writer", "data value"]),
    Run("control-early-data", "coherence.m", {"NODES": 2, "EARLY_DATA": "true"},
        "a page is handed over before its mapping is gone", finds=["single writer", "data value"]),
    Run("control-early-grant", "coherence.m", {**ONE_PAGE, **SMALL, "EARLY_GRANT": "true"},
        "a write is granted before all have acknowledged", finds=["single writer", "data value"]),
    Run("control-old-epoch", "coherence.m", {**CRASH_2, "OLD_EPOCH": "true"}, "messages of an old epoch are taken",
        finds=["without a cell", "single writer", "data value", "no owner", "directory", "sharer"]),
    Run("control-same-epoch", "rrdp.m", {"SAME_EPOCH": "true"},
        "a connection that was given up keeps its epoch", finds=["second time", "out of its order"]),
    Run("control-any-tag", "rrdp.m", {"ANY_TAG": "true"}, "frames of another connection are taken",
        finds=["another connection", "out of its order"]),
]


def write_model(run, path):
    with open(os.path.join(HERE, run.model), encoding="utf-8") as f:
        text = f.read()
    for name, value in run.constants.items():
        text, n = re.subn(rf"^(  {name}: )[^;]*;", rf"\g<1>{value};", text, flags=re.M)
        if n != 1:
            raise SystemExit(f"model: {run.name}: {run.model} has no constant {name}")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def compile_model(run, base):
    write_model(run, base + ".m")
    symmetry = ["--symmetry-reduction", "heuristic"]
    subprocess.run(["rumur", *symmetry, "--deadlock-detection", "stuck", "--output", base + ".c", base + ".m"],
                   check=True)
    subprocess.run(["clang", "-w", "-O1", "-mcx16", "-o", base, base + ".c", "-lpthread"], check=True)


def limits():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def explore(run, base, seconds):
    """Runs the checker; its report, the numbers in it."""
    last = time.monotonic()
    began = last
    with open(base + ".log", "w", encoding="utf-8") as log:
        p = subprocess.Popen([base], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             preexec_fn=limits)
        timer = threading.Timer(seconds, p.kill)
        timer.start()
        for line in p.stdout:
            log.write(line)
            if "states explored" in line and time.monotonic() - last > 10:
                last = time.monotonic()
                print(f"    {run.name}: {line.strip()}", file=sys.stderr, flush=True)
        code = p.wait()
        timer.cancel()
    with open(base + ".log", encoding="utf-8") as log:
        text = log.read()
    found = re.findall(r"^\t(\d+) states, (\d+) rules fired in (\d+)s", text, flags=re.M)
    states, rules = (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)
    errors = re.findall(r"error trace for the error:\n+\t(.*)", text)
    return {"name": run.name, "text": run.text, "states": states, "rules": rules, "errors": errors,
            "seconds": round(time.monotonic() - began, 1), "complete": bool(found) and code in (0, 1),
            "exit": code}


def verdict(run, r):
    """None: as it should be."""
    if not r["complete"]:
        return f"not complete after {r['seconds']} s, exit status {r['exit']}"
    if run.finds is None:
        return None if not r["errors"] and r["exit"] == 0 else f"found: {'; '.join(r['errors'])}"
    if any(re.search(f, e) for f in run.finds for e in r["errors"]):
        return None
    return f"was not found: {'; '.join(r['errors']) or 'no error'}"


def check(run, out):
    base = os.path.join(out, run.name)
    compile_model(run, base)
    r = explore(run, base, RUN_SECONDS)
    r["wrong"] = verdict(run, r)
    for big in (base, base + ".c"):
        os.remove(big)
    return r


def mend_scalarset_loops(path):
    """murphi2c 2022.08 lets a loop over a scalarset run to its size, one too far."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    text = re.sub(r"(for \(int (\w+) = 0; \2) <= (\((?:NODES|PAGES)\);)", r"\1 < \3", text)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def follow(build, out, seeds):
    """The simulator's steps against coherence.m with 3 nodes; and one step that was changed by hand."""
    base = os.path.join(out, "follow")
    write_model(Run("follow", "coherence.m", {**ONE_PAGE, "URGENTS": 8, "BYTESES": 4, "PARK": 4}, ""), base + ".m")
    c = os.path.join(out, "coherence_m.c")
    subprocess.run(["murphi2c", "--output", c, base + ".m"], check=True)
    mend_scalarset_loops(c)
    source = os.path.join(HERE, "follow.c")
    subprocess.run(["clang", "-O2", "-w", "-I", out, "-I", ROOT, "-o", base, source], check=True)
    steps = base + ".steps"
    subprocess.run([os.path.join(build, "tests/sim/pando-sim"), "--seeds", str(seeds), "--seed", "1",
                    "--transitions", steps], check=True, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    p = subprocess.run([base, steps], capture_output=True, text=True)
    print("    " + p.stdout.strip().replace("\n", "\n    "))
    wrong = None if p.returncode == 0 else (p.stdout + p.stderr).strip() or f"follow ended with {p.returncode}"
    wrong = wrong or plant(base, steps)
    return {"name": "follow", "text": "the code's steps are the model's", "states": 0, "rules": 0, "wrong": wrong,
            "seconds": round(time.monotonic() - began, 1), "steps": sum(1 for _ in open(steps, encoding="ascii"))}


# Fields of an entry in a line (tests/sim/observe.c); how many there are without parked messages.
FIELDS = {"state": 0, "owner": 1, "age": 2, "serving": 8}
ENTRY_FIELDS = 12


def plant(base, steps):
    """Changes something in one step after the other; the first change that is not found, or None."""
    tried = 0
    with open(steps, encoding="ascii") as f:
        lines = [line.split() for line in f]
    for number, line in enumerate(lines[:: max(1, len(lines) // 200)]):
        changed = change(line, number)
        if changed is None:
            continue
        tried += 1
        with open(base + ".planted", "w", encoding="ascii") as out:
            out.write(" ".join(changed) + "\n")
        if subprocess.run([base, base + ".planted"], capture_output=True).returncode == 0:
            return f"a step that was changed by hand was not found: {' '.join(changed)}"
    print(f"    {tried} steps that were changed by hand, all found")
    return None if tried > 50 else f"only {tried} steps could be changed by hand"


def change(line, number):
    """The line with a field of the state after the step, its last message or its edge action changed."""
    at = 3
    at = skip_view(line, at)
    event = int(line[at])
    at += 1 + (7 if event == 2 else 0)
    after, ways = list(line), ["state", "owner", "age", "serving", "edge", "send"]
    way = ways[number % len(ways)]
    if way == "send":
        edge = skip_view(line, at)
        if int(line[edge + 1]) == 0:
            return None
        return line[: edge + 1] + [str(int(line[edge + 1]) - 1)] + line[edge + 2 : len(line) - 7]
    if way == "edge":
        edge = skip_view(line, at)
        after[edge] = "4" if line[edge] == "0" else "0"
        return after
    place = at + FIELDS[way]
    limit = {"state": 21, "age": 5}.get(way, 2)
    after[place] = str((int(line[place]) + 1) % limit)
    return after


def skip_view(line, at):
    """Behind an entry and a directory."""
    parks = int(line[at + ENTRY_FIELDS - 1])
    at += ENTRY_FIELDS + 4 * parks
    return at + (1 if line[at] == "-" else 3)


def main():
    parser = argparse.ArgumentParser(prog="./dev model", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help=argparse.SUPPRESS)
    parser.add_argument("--tally", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--only", default="", metavar="A,B", help="names of runs, or parts of them")
    parser.add_argument("--full", action="store_true", help="all runs, up to ten minutes each")
    parser.add_argument("--seeds", type=int, default=300, help="of the simulator, to follow (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    args = parser.parse_args()
    out = os.path.join(ROOT, "out", "model")
    os.makedirs(out, exist_ok=True)
    only = [part for part in args.only.split(",") if part]
    results, skipped = [], []
    for part in only:
        if not any(part in name for name in [run.name for run in RUNS] + ["follow"]):
            parser.error(f"--only {part}: no such run; there are {', '.join(run.name for run in RUNS)}, follow")
    for run in RUNS:
        if any(part in run.name for part in only) if only else args.full or run.ci:
            results.append(check(run, out))
            say(run, results[-1])
        else:
            skipped.append(run.name)
    if not only or any(part in "follow" for part in only):
        results.append(follow(args.build, out, args.seeds))
        say(None, results[-1])
    for name in skipped if not only else []:
        print(f"SKIP model/{name}: only with --full")
    if args.tally:
        with open(args.tally, "a", encoding="utf-8") as f:
            for r in results:
                why = r["wrong"].splitlines()[0] if r["wrong"] else ""
                f.write(f"{'fail' if why else 'pass'}\tmodel/{r['name']}\t{why}\n")
            for name in skipped:
                f.write(f"skip\tmodel/{name}\tonly with --full\n")
    wrong = [r for r in results if r["wrong"]]
    with open(os.path.join(out, "results.json"), "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    if args.json:
        print(json.dumps({"schema": 1, "result": "fail" if wrong else "pass", "runs": results, "skipped": skipped}))
    return (3 if args.tally else 1) if wrong else 0


def say(run, r):
    what = f"{r['states']} states, {r['rules']} rules fired" if r["states"] else f"{r.get('steps', 0)} steps"
    if run is not None and run.finds:
        what = f"found: {r['errors'][0] if r['errors'] else 'nothing'}"
    print(f"{'FAIL' if r['wrong'] else 'ok  '} model/{r['name']} ({r['seconds']} s): {r['text']}: {what}"
          + (f"\n     {r['wrong']}" if r["wrong"] else ""), flush=True)


if __name__ == "__main__":
    sys.exit(main())
