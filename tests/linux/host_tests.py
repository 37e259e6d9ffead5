#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The guest's programs on this machine, briefly: each passes, and notices every error that it can
make on purpose.

    host_tests.py PROGRAM TEST
"""
import os
import re
import socket
import subprocess
import sys
import tempfile

import disk_image
import net_client

SKIP = 77
# By test: options that make it short, and by error what the program must say of it.
TESTS = {
    "threads": (
        ["--rounds", "500"],
        {
            "atomic": "the counter of all CPUs is",
            "lock": "under the lock",
            "ring": "message 3 from",
            "matrix": "row .* of the matrix product",
        },
    ),
    "clock": (
        ["--seconds", "1"],
        {
            "monotonic": "monotonic [1-9]",
            "raw": "raw [1-9]",
            "realtime": "realtime [1-9]",
            "tsc": "tsc [1-9]",
        },
    ),
    "ipi": (
        ["--rounds", "50", "--no-counters"],
        {
            "stale": "reads the old page",
            "mprotect": "after mprotect .* stale",
            "munmap": "after munmap .* stale",
            "membarrier": "in spite of membarrier",
            "futex": "the futex token had",
            "affinity": "a thread that moved",
            "policy": "the policy of the thread",
        },
    ),
    "litmus": (
        ["--rounds", "2000"],
        {
            name: re.escape(name) + ": the forbidden outcome"
            for name in "SB+mfence MP LB R+mfence S 2+2W CoRR CoWW CoWR CoRW WRC IRIW".split()
        },
    ),
    "smc": (["--rounds", "40"], {name: f"{name}, turn 4" for name in ("rwx", "wx", "alias")}),
    "hotplug": (
        ["--rounds", "2"],
        {"offline": "is still online", "online": "did not come back", "load": "a computation under hotplug"},
    ),
    "disk": (["--rounds", "2", "--mib", "4"], {"block": "read wrongly", "pattern": "what the host wrote is wrong"}),
    "echo": ([], {"payload": "wrong answers", "checksum": "wrong answers"}),
}


def call(argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout + done.stderr


def plain(argv, _scratch):
    return call(argv)


def with_sysfs(argv, scratch):
    """CPUs that only seem to be: this machine keeps its own."""
    for cpu in (1, 2):
        os.makedirs(os.path.join(scratch, f"cpu{cpu}"), exist_ok=True)
        with open(os.path.join(scratch, f"cpu{cpu}/online"), "w", encoding="ascii") as f:
            f.write("1\n")
    return call(argv + ["--sys", scratch])


def with_disk(argv, scratch):
    path = disk_image.make(os.path.join(scratch, "disk"), 5, seed=77)
    return call(argv + ["--path", path])


def with_client(argv, _scratch):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    p = subprocess.Popen(argv + ["--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        client = net_client.run("127.0.0.1", port, connections=6, messages=20, wait=20)
        out = p.communicate(timeout=20)[0]
    finally:
        p.kill()
    if bool(client.errors) != bool(p.returncode):
        out += f"the client saw {client.errors[:3]}, the server ended with {p.returncode}\n"
        return 3, out
    return p.returncode, out


AROUND = {"hotplug": with_sysfs, "disk": with_disk, "echo": with_client}


def main():
    program, name = sys.argv[1:]
    if len(os.sched_getaffinity(0)) < 2:
        print("one CPU only: the tests are about several")
        return SKIP
    options, breaks = TESTS[name]
    run, bad = AROUND.get(name, plain), 0
    # On the machine's disk: what lies in memory has no direct I/O on every kernel.
    with tempfile.TemporaryDirectory(dir=os.path.dirname(program)) as scratch:
        for broken, must_say in [(None, f"^{name}: (?!FAIL)")] + sorted(breaks.items()):
            argv = [program, name, *options] + ([f"--break={broken}"] if broken else [])
            status, out = run(argv, scratch)
            last = (out.strip().splitlines() or ["nothing"])[-1]
            right = status == (1 if broken else 0) and re.search(must_say, last)
            if broken == "policy" and "policy left out" in out:
                right = status == 0
            print(f"{'ok  ' if right else 'FAIL'} {name} {broken or ''}: status {status}, {last}")
            bad += not right
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
