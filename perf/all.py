#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench all: every bench that is part of it, one after the other, in under 20 minutes.

Part of it is each perf/*.py with a line IN_ALL = {"seconds": N, "args": [...]}: it is run with these arguments and
interrupted after N seconds, or when the 20 minutes are over; what it then prints counts. A bench that fails is named,
and the rest goes on. Results go to DIR/NAME.json as soon as they are there, the whole with all goals to DIR/all.json;
./dev bench report draws them. What a bench has in DIR from an earlier run is removed first. Exit status 0: all is
measured; 1: something is not, and the last lines say what.
"""
import argparse
import ast
import json
import os
import signal
import subprocess
import sys
import time

PERF = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(PERF, "common"))
import output  # noqa: E402
import schema  # noqa: E402

ROOT = os.path.dirname(PERF)
TOTAL_SECONDS = 20 * 60
CLOSING_SECONDS = 20  # of a bench, after the --limit that it was given
LIMITS_SECONDS = 25 * 60  # of all limits together: few benches need all of theirs, and the 20 minutes are kept anyway
GRACE_S = 8  # from SIGINT to SIGKILL: to put a cluster away, and to say what was measured
SKIPPED = 77
TEXT_MAX = 200


class BadBudget(Exception):
    """IN_ALL of a bench is not what it must be."""


def declared(folder=PERF):
    """{name: {"seconds", "args"}} of the benches in a folder, those that take least time first."""
    found = {}
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".py"):
            continue
        with open(os.path.join(folder, file), encoding="utf-8") as f:
            budget = budget_in(f.read(), file)
        if budget is not None:
            found[file[:-3]] = budget
    return dict(sorted(found.items(), key=lambda each: each[1]["seconds"]))


def budget_in(text, file):
    """Read, not imported: a bench may need what is not here."""
    for node in ast.parse(text, file).body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", None) for t in node.targets] == ["IN_ALL"]:
            return checked_budget(node.value, file)
    return None


def checked_budget(node, file):
    try:
        budget = ast.literal_eval(node)
    except ValueError:
        budget = None
    if not isinstance(budget, dict) or set(budget) != {"seconds", "args"} or type(budget["seconds"]) is not int or \
            not 1 <= budget["seconds"] <= TOTAL_SECONDS or not isinstance(budget["args"], list) or \
            not all(isinstance(a, str) for a in budget["args"]):  # fmt: skip
        raise BadBudget(f"{file}: IN_ALL is {ast.unparse(node)}; it must be a literal {{'seconds': 1..{TOTAL_SECONDS}, "
                        "'args': [strings]}}")  # fmt: skip
    return budget


def say(text):
    print(text, file=sys.stderr, flush=True)


def minutes(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def end_group(process):
    """Ends a bench, which may put its clusters away, then whatever of it is left."""
    try:
        process.send_signal(signal.SIGINT)
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def hear_sigint():
    """A shell's background jobs ignore it, and so would what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def within(words, limit):
    """The arguments, with a --limit that leaves time to end in so many seconds."""
    most = {i + 1 for i, w in enumerate(words) if w == "--limit"}
    return [str(max(1, min(int(w), int(limit) - CLOSING_SECONDS))) if i in most else w for i, w in enumerate(words)]


def run_bench(program, args, limit, log):
    """(exit status or None if its time was up, what it said on standard output)"""
    with open(log + ".out", "w+b") as out, open(log + ".log", "wb") as err:
        process = subprocess.Popen([sys.executable, program, *args], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=err, start_new_session=True, preexec_fn=hear_sigint)  # fmt: skip
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end_group(process)
        out.seek(0)
        return status, out.read(schema.BYTES_MAX + 1)


def last_line(data):
    lines = data.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""


def tail_of(log):
    with open(log + ".log", "rb") as f:
        return last_line(f.read()[-4096:])[:TEXT_MAX]


def judge(name, status, said, log, limit):
    """(state, why, the object or None). One whose time was up may have said what it had until then."""
    late = f"not done after {limit:.0f} s" if status is None else ""
    if status == SKIPPED:
        return "skipped", tail_of(log).removeprefix("SKIP: ") or "it says no reason", None
    try:
        out = schema.parse(last_line(said))
        wrong = schema.check(out)
        if wrong:
            raise schema.BadResult(wrong[0])
        if out["bench"] != name:
            raise schema.BadResult(f"it is of bench {out['bench']}")
    except schema.BadResult as e:
        return "failed", late or (f"ended with {status}: {tail_of(log)}" if status else f"its object: {e}"), None
    if status not in (0, 1, None):
        return "failed", f"ended with {status}: {tail_of(log)}", None
    lacks = [t for t in [late, *out["not_measured"]] if t]
    return ("incomplete" if lacks or status else "measured"), "; ".join(lacks)[:TEXT_MAX], out


def write(path, out):
    """Whole or not at all."""
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(out, f, allow_nan=False)
        f.write("\n")
    os.replace(path + ".new", path)


def run_all(benches, args, folder):
    """(rows of how each went, {name: object})"""
    start, rows, found = time.monotonic(), [], {}
    left = {n: b["seconds"] for n, b in benches.items()}
    for n in benches:  # what is from another run must not stand beside this one's
        for end in (".json", ".log"):
            if os.path.exists(os.path.join(args.out, n + end)):
                os.remove(os.path.join(args.out, n + end))
    for i, (name, budget) in enumerate(benches.items(), 1):
        limit = min(budget["seconds"], TOTAL_SECONDS - (time.monotonic() - start))
        if limit <= 1:
            rows.append({"name": name, "state": "not started", "seconds": 0, "budget_s": budget["seconds"],
                         "why": f"the {TOTAL_SECONDS // 60} minutes of all benches were over"})  # fmt: skip
            continue
        rest = min(sum(left.values()), TOTAL_SECONDS - (time.monotonic() - start))
        say(f"bench {i} of {len(benches)}: {name}, at most {minutes(limit)}; all that is left: at most {minutes(rest)}")
        began, log = time.monotonic(), os.path.join(args.out, name)
        words = ["--build", args.build, "--json", *within(budget["args"], limit)]
        status, said = run_bench(os.path.join(folder, name + ".py"), words, limit, log)
        state, why, out = judge(name, status, said, log, limit)
        os.remove(log + ".out")
        left.pop(name)
        if out is not None:
            found[name] = out
            write(os.path.join(args.out, name + ".json"), out)
        rows.append({"name": name, "state": state, "seconds": round(time.monotonic() - began, 1),
                     "budget_s": budget["seconds"], "why": output.sentence(why)})  # fmt: skip
        say(f"bench {i} of {len(benches)}: {name}: {state} after {minutes(rows[-1]['seconds'])}{why and ': '}{why}")
    return rows, found


def whole(args, start, rows, found):
    """One object: all goals, and what is missing."""
    goals, missing = [], []
    for name, out in found.items():
        goals += out["goals"]
        missing += [f"{name}: {t}" for t in out["not_measured"]]
    late = [r for r in rows if r["name"] not in found or r["why"].startswith("not done")]
    missing += [f"{r['name']}: {r['state']}: {r['why']}" for r in late]
    once = {g["name"]: g for g in goals}  # two benches may hold the same against the same
    remarks = [f"{n}: {t}" for n, out in found.items() for t in out["remarks"]]
    return output.built("all", args, start, [], list(once.values()), missing, remarks, benches=rows,
                        floor=next((o["noise"] for o in found.values() if o["noise"]), None))  # fmt: skip


def table(out):
    print(f"{'bench':<12}{'':<12}{'seconds':>9}{'of':>6}  ")
    for r in out["benches"]:
        print(f"{r['name']:<12}{r['state']:<12}{r['seconds']:>9}{r['budget_s']:>6.0f}  {r['why']}")


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench all", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--benches", default=PERF, help=argparse.SUPPRESS)  # tests: another folder of benches
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--out", default="out/bench", metavar="DIR", help="where results go (default %(default)s)")
    parser.add_argument("--only", default="", metavar="A,B", help="these benches (default: all of them)")
    args = parser.parse_args()
    benches = declared(args.benches)
    only = [n for n in args.only.split(",") if n]
    unknown = [n for n in only if n not in benches]
    if unknown:
        parser.error(f"--only {unknown[0]}: no such bench is part of it; there are: {', '.join(sorted(benches))}")
    benches = {n: b for n, b in benches.items() if not only or n in only}
    if sum(b["seconds"] for b in benches.values()) > LIMITS_SECONDS:
        raise BadBudget(f"together the benches may take {sum(b['seconds'] for b in benches.values())} s; at most "
                        f"{LIMITS_SECONDS} are allowed: lower IN_ALL of " + ", ".join(benches))  # fmt: skip
    here = ROOT if args.out == parser.get_default("out") else os.environ.get("PANDO_CWD", os.getcwd())
    args.out = os.path.join(here, args.out)
    return args, benches


def main():
    try:
        args, benches = arguments()
        os.makedirs(args.out, exist_ok=True)
    except (BadBudget, OSError) as e:
        say(f"bench all: {e}")
        return 2
    start, folder = time.monotonic(), args.benches
    del args.benches
    rows, found = run_all(benches, args, folder)
    out = whole(args, start, rows, found)
    write(os.path.join(args.out, "all.json"), out)
    if args.json:
        print(json.dumps(out, allow_nan=False))
    else:
        table(out)
        output.print_rest(out)
    return 1 if out["not_measured"] else 0


if __name__ == "__main__":
    sys.exit(main())
