#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Who checks the checkers: plants one bug at a time in a copy of the tree and shows which check finds it.

    tests/mutation/mutants.py [--only A,B] [--json]

A mutant that no check finds is a defect of the checks: exit status 1. A mutant whose text is no longer in the
source is an error too, so that the list cannot rot silently.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COH, RRDP, CLOCK, BASE = "dataplane/coherence/", "dataplane/transport/", "dataplane/clock/", "dataplane/base/"
PLAN = "offload/plan/"

# name, what it breaks, [(file, text, replacement)], simulator options
MUTANTS = (
    ("skip-zap", "an UNMAP that does nothing", [], ["--plant", "zap"]),
    ("late-write", "a page is written in place after what was sent behind it", [], ["--plant", "late"]),
    (
        "field-elsewhere",
        "two fields of a message are listed in each other's place",
        [("dataplane/wire/fields.h", "chan, 16, 16, CHAN", "chan, 32, 16, CHAN"),
         ("dataplane/wire/fields.h", "op, 32, 16, DEC", "op, 16, 16, DEC")],
        [],
    ),
    (
        "placed-twice",
        "a frame that is sent again is written in place again",
        [(RRDP + "freeze.c", "f->retransmission || ", "")],
        [],
    ),
    (
        "group-bytes",
        "a frame for several peers counts for none of them",
        [(RRDP + "group.c", "        to->counters.group_bytes += WIRE_RRDP_HEADER + m->inline_len;\n", "")],
        [],
    ),
    (
        "idle-in-a-fault",
        "a vCPU that is blocked in a fault is taken for one that waits",
        [(COH + "residency.c", " || c->vcpu[vcpu].outstanding)", ")")],
        [],
    ),
    (
        "ahead-writes-all",
        "what a vCPU only read is fetched ahead for writing",
        [(COH + "faults.c", "    bool write = (v->last_writable & bit64(i)) != 0;\n", "    bool write = i < 64;\n")],
        [],
    ),
    (
        "early-inv-ack",
        "an invalidation is acknowledged before the mapping is gone",
        [(COH + "core.h", "enum { COH_PLANT_EARLY_ACK = 0 };", "enum { COH_PLANT_EARLY_ACK = 1 };")],
        [],
    ),
    (
        "any-vm",
        "a message of another VM is taken",
        [(COH + "step.c", "    if (m->vm != c->cfg.vm)\n        return COH_DROP_WRONG_VM;\n", "")],
        [],
    ),
    (
        "ack-twice",
        "an acknowledgement that comes twice counts twice",
        [(COH + "responses.c", "(r->acked & bit) || ", "")],
        [],
    ),
    (
        "after-the-stop",
        "a node that has stopped goes on",
        [(COH + "step.c", "    if (c->stopped) {\n", "    if (false) {\n")],
        [],
    ),
    (
        "moved-mac",
        "frames of a peer are taken from any address",
        [(RRDP + "receive.c", "else if (memcmp(&p->mac, &mac, sizeof(mac)) != 0)", "else if (false)")],
        [],
    ),
    (
        "ack-of-unsent",
        "what was never sent can be acknowledged",
        [(RRDP + "ack.c", "    if (ahead > most || ahead < -(1 << 30))", "    if (ahead < -(1 << 30))")],
        [],
    ),
    (
        "reuse-txn",
        "a transaction id is given out twice",
        [(COH + "step.c", "        c->next_txn++;\n", "        c->next_txn += c->next_txn % 8 != 0;\n")],
        [],
    ),
    (
        "no-last-ack",
        "an upgrade is granted without the last acknowledgement",
        [(COH + "responses.c", "bit64_count(r->acked) != r->acks)", "bit64_count(r->acked) + 1 < r->acks)")],
        [],
    ),
    (
        "late-tick",
        "a tick forgets the timers that it did not find due",
        [(RRDP + "timer.c", "    r->due = rrdp_deadline(r);\n", "    r->due = NO_TIME;\n")],
        [],
    ),
    (
        "short-path",
        "a path that comes to carry less is not noticed",
        [(RRDP + "internal.h", "MTU_TRIES = 4,", "MTU_TRIES = 255,")],
        [],
    ),
    (
        "first-part",
        "the first part of a frame to come is taken for all of it",
        [(RRDP + "receive.c", "    return *have == (1u << ", "    return *have != 0 || *have == (1u << ")],
        [],
    ),
    (
        "drop-eack-bit",
        "the first parked frame is left out of the EACK bitmap",
        [(RRDP + "send.c", ".eack_bits = s->parked,", ".eack_bits = s->parked & (s->parked - 1),")],
        [],
    ),
    (
        "no-thaw",
        "a page changes while its old bytes are in flight",
        [(RRDP + "freeze.c", "    if (s == POOL_NONE)\n        return;\n    rrdp_rebind",
          "    if (s == POOL_NONE || page % 2)\n        return;\n    rrdp_rebind")],
        [],
    ),
    (
        "early-unpin",
        "a copy is given back while another message still goes on from it",
        [(RRDP + "freeze.c", "--f->staging_refs[s] == 0", "f->staging_refs[s]-- != 0")],
        [],
    ),
    (
        "false-eack-bit",
        "the EACK bitmap claims a frame that never came",
        [(RRDP + "send.c", ".eack_bits = s->parked,", ".eack_bits = s->parked | s->parked << 1,")],
        [],
    ),
    (
        "no-duplicate-filter",
        "a frame that was delivered already is delivered again",
        [(RRDP + "receive.c", "    if (ahead < 0) {\n", "    if (ahead < -1) {\n"),
         (RRDP + "receive.c", "    if (ahead > 0) {\n        park", "    if (ahead == -1)\n        s->rcv_nxt--;\n    if (ahead > 0) {\n        park")],
        [],
    ),
    (
        "clock-offset-sign",
        "a clock's offset is taken the wrong way round",
        [(CLOCK + "clock.c", "ret->offset = m->received + (uint64_t)there / 2 - ret->host;",
          "ret->offset = ret->host - (m->received + (uint64_t)there / 2);")],
        [],
    ),
    (
        "clock-steps-back",
        "a clock that is ahead is put back instead of slewed",
        [(CLOCK + "clock.c", "if (ahead < 0 && (uint64_t)-ahead >", "if (ahead > 0 || (uint64_t)-ahead >")],
        [],
    ),
    (
        "clock-half-the-bound",
        "a clock claims to be nearer than its fastest exchange shows",
        [(CLOCK + "estimate.c", "return s->delay / 2 +", "return s->delay / 8 +")],
        [],
    ),
    (
        "migratory-for-ever",
        "a page that was upgraded once is never read as a shared one again",
        [(COH + "faults.c", "    e->migratory--;\n", "")],
        [],
    ),
    (
        "guess-is-a-write",
        "a read that was asked for as a write makes its page one that the vCPU writes",
        [(COH + "residency.c", " && !e->guessed", "")],
        [],
    ),
    (
        "younger-first",
        "a set gives way to a demand that has waited for less time",
        [(COH + "residency.c", "since < v->since ? lower || v->since - since >= slack", "since < v->since ? lower")],
        [],
    ),
    (
        "wounded-while-running",
        "a vCPU that does not wait loses its set to an older demand",
        [(COH + "residency.c", "else if (v->outstanding && v->yield_at", "else if (v->yield_at")],
        [],
    ),
    (
        "nobody-has-an-age",
        "forwards do not pass on how long the requester has been at it",
        [(COH + "home.c", "    fwd.age = m->age;\n", "")],
        [],
    ),
    (
        "topk-fresh-count",
        "a hot page that takes another's place starts at one",
        [(BASE + "topk.c", ".count = least->count + 1, .over = least->count}", ".count = 1}")],
        [],
    ),
    (
        "any-page-a-table",
        "an entry's reserved bits do not tell a page table from data",
        [(BASE + "page_table.c", "(entry & CLEAR) != 0 ||", "")],
        [],
    ),
    (
        "late-fence",
        "a rule that steers comes before the one that drops",
        [(PLAN + "plan.c", "r->priority = PRIORITY_FENCE;", "r->priority = m->nic->priorities ? 2 : 0;")],
        [],
    ),
    (
        "any-epoch",
        "the fence around an old connection does not look at its tag",
        [(PLAN + "plan.c", "(epoch ? a->tag : 0));", "0);")],
        [],
    ),
    (
        "fenced-and-steered",
        "without priorities a fenced node keeps the rules that steer its frames",
        [(PLAN + "plan.c", "SHAPE_NONE ? 0 : m->in->fenced;", "SHAPE_NONE ? 0 : 0;")],
        [],
    ),
    (
        "others-port",
        "classes are told apart by the UDP ports of frames to another node",
        [(PLAN + "plan.c", "link_source_port(in->link.self, r->cls)", "link_source_port(r->node, r->cls)")],
        [],
    ),
    (
        "whole-byte",
        "the class is matched with the length that shares its byte, in what the driver is told",
        [(PLAN + "text.c", "= RULE_RRDP_CLASS_MASK;", "= 0xFF;")],
        [],
    ),
    (
        "gap-in-a-fence",
        "a change of rules removes what drops before what is to drop is there",
        [(PLAN + "diff.c", "    add_all(&d, true);\n", "    remove_all(&d, true);\n    add_all(&d, true);\n")],
        [],
    ),
    (
        "stale-put",
        "the home takes a page back from a node that is no longer its owner",
        [(COH + "home.c", "        return COH_PUT_STALE;\n", "        return COH_PUT_ACCEPT;\n"),
         ],
        [],
    ),
)


def run(argv, cwd, limit):
    try:
        return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as e:
        return subprocess.CompletedProcess(argv, 124, str(e.stdout or ""), "out of time")


def copy_tree(to):
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
                           check=True).stdout.split("\n")
    for name in filter(None, names):
        if os.path.isfile(os.path.join(ROOT, name)):
            os.makedirs(os.path.dirname(os.path.join(to, name)), exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), os.path.join(to, name))


def patch(tree, edits):
    for name, text, replacement in edits:
        path = os.path.join(tree, name)
        with open(path, encoding="utf-8") as f:
            source = f.read()
        if text not in source:
            raise SystemExit(f"mutants: the text to change is not in {name} any more:\n{text}")
        with open(path, "w", encoding="utf-8") as f:
            f.write(source.replace(text, replacement, 1))


def restore(tree, edits):
    for name, _, _ in edits:
        shutil.copy(os.path.join(ROOT, name), os.path.join(tree, name))
        os.utime(os.path.join(tree, name))


def unit_failures(build):
    done = run(["meson", "test", "-C", build, "--no-rebuild", "--suite", "pure"], build, 300)
    return re.findall(r"/ (\S+)\s+(?:FAIL|TIMEOUT|ERROR)", done.stdout)


def simulator(build, options):
    done = run([os.path.join(build, "tests/sim/pando-sim"), "--seeds", "500", "--seed", "1", *options], build, 300)
    if done.returncode == 0:
        return None
    words = re.search(r"(SAFETY|LIVENESS) violation: (.*)", done.stderr)
    if words:
        return f"{words[1].lower()}: {words[2]}"
    words = re.search(r"assertion failed: (.*)", done.stderr)
    return f"assertion: {words[1]}" if words else f"status {done.returncode}"


def try_mutant(tree, build, mutant):
    name, what, edits, options = mutant
    patch(tree, edits)
    built = run(["ninja", "-C", build], tree, 300)
    result = {"name": name, "plants": what, "caught_by": []}
    if built.returncode != 0:
        result["error"] = "does not build: " + built.stdout[-400:]
    else:
        if edits:
            result["caught_by"] += [f"unit test {t}" for t in unit_failures(build)]
        found = simulator(build, options)
        if found:
            result["caught_by"].append(f"simulator, {found}")
    restore(tree, edits)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="A,B", help="mutants by name")
    parser.add_argument("--json", action="store_true", help="last line: one JSON object")
    args = parser.parse_args()
    only = args.only.split(",") if args.only else [m[0] for m in MUTANTS]
    chosen = [m for m in MUTANTS if m[0] in only]
    if len(chosen) != len(only):
        parser.error(f"--only {args.only}; there are: " + " ".join(m[0] for m in MUTANTS))
    start, results = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="pando-mutants-") as tree:
        copy_tree(tree)
        build = os.path.join(tree, "b")
        done = run(["meson", "setup", build, "-Ddpdk=disabled", "-Dkvm=disabled", "-Dconfig=disabled"], tree, 120)
        if done.returncode != 0:
            raise SystemExit("mutants: meson setup failed:\n" + done.stdout[-2000:])
        base = run(["ninja", "-C", build], tree, 600)
        if base.returncode != 0 or unit_failures(build) or simulator(build, []):
            raise SystemExit("mutants: the tree itself does not build and pass; mend that first")
        for m in chosen:
            r = try_mutant(tree, build, m)
            results.append(r)
            mark = "caught" if r["caught_by"] else r.get("error", "SURVIVED")
            print(f"{r['name']:<20} {mark}: {r['plants']}", file=sys.stderr if args.json else sys.stdout, flush=True)
            for by in r["caught_by"]:
                print(f"{'':20}   {by}", file=sys.stderr if args.json else sys.stdout, flush=True)
    survived = [r["name"] for r in results if not r["caught_by"]]
    if args.json:
        print(json.dumps({"schema": 1, "result": "fail" if survived else "pass",
                          "seconds": round(time.monotonic() - start, 1), "mutants": results}))
    else:
        print(f"{len(results) - len(survived)} of {len(results)} mutants caught"
              + (f"; survived: {', '.join(survived)}" if survived else ""))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
