# SPDX-License-Identifier: BSD-3-Clause
"""Kill any process of a running cluster: everybody else ends by itself in about a second, says
why, and nothing is left on the machine: no process, namespace, socket, shared-memory or hugepage
file."""
import functools
import os
import re
import signal
import subprocess
import sys
import time

import cluster as cl
import outcome
import workspace
from options import Options

# dead_ms is how a node learns that another's dataplane is gone, where the fabric does not tell:
# there it has its default, elsewhere it must not be needed. The limit leaves room for that, and for
# a machine with fewer cores than processes.
DEAD_MS = {"af_packet": 800, "af_xdp": 800, "shm": 60000, "memif": 60000}
LIMIT_SECONDS = 1.5
GUEST, CMDLINE = "counters", "iters=100000000"  # for ever
RUNNING_SECONDS = 30


def options(fabric):
    return Options(
        nodes=2,
        vcpus=4,
        fabric=fabric,
        ram=64,
        guest=GUEST,
        cmdline=CMDLINE,
        dead_ms=DEAD_MS[fabric],
        timeout=100,
    )


def listing(path):
    try:
        return [os.path.join(path, name) for name in os.listdir(path)]
    except OSError:
        return []


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read().decode("utf-8", "replace")
    except OSError:
        return ""


def left_behind(tag, hugepages_before):
    """What a run left on the machine: everything of it carries the run's tag, but for hugepage files."""
    places = ["/dev/shm", "/run", "/tmp", "/run/netns", "/run/dpdk", workspace.BASE]
    left = [path for place in places for path in listing(place) if tag in path]
    left += [line.split()[-1] for line in read("/proc/net/unix").split("\n") if tag in line]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if tag in read(f"/proc/{pid}/cmdline") and int(pid) != os.getpid():
            left.append(f"process {pid}")
    return left + sorted(set(listing("/dev/hugepages")) - hugepages_before)


def run_until_started(c, result):
    """Starts the cluster and lets the guest run; what went wrong, or None."""
    c.start(cl.find_guest(c.build, c.o.guest))
    if c.ended():
        return f"{c.ended()[0].name} ended while starting"
    end = time.monotonic() + RUNNING_SECONDS
    if not c.group.wait_until(
        lambda: c.ended() or any(p is c.vmm and p.tail for p in c.group.processes), end
    ):
        return f"the guest said nothing within {RUNNING_SECONDS} s"
    if not c.ended():
        c.group.wait_until(c.ended, time.monotonic() + 0.5)
    return f"{c.ended()[0].name} ended before it was killed" if c.ended() else None


def kill_one(victim, fabric, build):
    """Kills one process of a running cluster with SIGKILL; returns (what went wrong or None,
    note, whether the cluster was running at all).
    """
    hugepages, lines, result, started = set(listing("/dev/hugepages")), [], cl.Result(), False
    with cl.Cluster(
        options(fabric), build, on_line=lambda p, s, text: lines.append(f"{p.name:>10} | {text}")
    ) as c:
        c.end_seconds = LIMIT_SECONDS
        wrong = run_until_started(c, result)
        started = not wrong
        if started:
            target = next(p for p in c.group.processes if p.name == victim)
            mark = len(lines)
            target.send(signal.SIGKILL)
            c.group.wait_until(c.ended, time.monotonic() + 5)
            c.watch(result)
            c.finish(result)
            wrong = judge(victim, result, lines[mark:]) or survivors_left(c, victim)
    left = left_behind(c.space.tag, hugepages)
    if not wrong and left:
        wrong = "left behind: " + ", ".join(left)
    if wrong:
        print("\n".join("       " + line for line in lines[-30:]))
    return wrong, f"all gone after {result.ended_after:.2f} s", started


def survivors_left(c, victim):
    """Who was not killed has removed his socket; the killed one's stays for his successor to find."""
    left = [n for n in range(c.o.nodes) if os.path.exists(c.space.path("run", f"node{n}.sock"))]
    wrong = [f"node{n}.sock" for n in left if victim != f"dataplane{n}"]
    return f"left in the run directory: {', '.join(wrong)}" if wrong else None


def kill_repeatedly(victim, fabric, build):
    """With dead_ms this short, a busy machine can end a cluster while it starts: that is not what is
    tested here, so it is started again, twice at most, and said."""
    for _ in range(3):
        wrong, note, started = kill_one(victim, fabric, build)
        if started:
            break
        print(f"     did not start: {wrong}; again")
    return wrong, note


def judge(victim, result, lines):
    if not result.died.startswith(victim + " "):
        return f"the first to die was {result.died}"
    if result.slow:
        return f"{', '.join(result.slow)} still alive {LIMIT_SECONDS} s later"
    said = [
        line
        for line in lines
        if re.search(r"lost|ended|stopped|gone|closed", line, re.I)
        and not line.lstrip().startswith(victim)
    ]
    return None if said else "no survivor said why it ended"


def kill_harness(build):
    """Kills the harness itself: the kernel ends its children; the next run removes files and
    namespaces.
    """
    hugepages = set(listing("/dev/hugepages"))
    here = os.path.dirname(os.path.abspath(__file__))
    argv = [sys.executable, os.path.join(here, "demo.py"), "--bare", "--build", build] + options(
        "af_packet"
    ).words()
    p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seen = []
    for line in p.stdout:
        seen.append(line.rstrip())
        if line.startswith("guest |"):
            break
    else:
        print("\n".join("       " + line for line in seen[-30:]))
        return "the demonstration ended before it was killed", ""
    tag = f"{p.pid}-{workspace.start_time(p.pid)}-"
    children = [
        int(n)
        for n in open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii").read().split()
    ]
    p.kill()
    p.wait()
    end = time.monotonic() + 1.0
    alive = children
    while alive and time.monotonic() < end:
        time.sleep(0.02)
        alive = [pid for pid in children if not gone(pid)]
    if not children or alive:
        return f"of its children {children} still alive a second later: {alive}", ""
    removed = workspace.clean_stale()
    left = left_behind(tag, hugepages)
    if left:
        return "left behind: " + ", ".join(left), ""
    return None, f"{len(children)} children ended at once; removed later: {len(removed)} things"


def gone(pid):
    """Ended; a zombie that init has not collected yet counts."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


CASES = [
    (victim, fabric)
    for fabric in ("shm", "af_packet")
    for victim in ("dataplane0", "dataplane1", "vcpud1", "vmm")
]
CASES += [("dataplane1", "memif"), ("dataplane1", "af_xdp")]


def main():
    args = outcome.parser(__doc__).parse_args()
    tests = {
        f"kill/{fabric}/{victim}": functools.partial(kill_repeatedly, victim, fabric, args.build)
        for victim, fabric in CASES
    }
    tests["kill/af_packet/harness"] = lambda: kill_harness(args.build)
    return outcome.status([outcome.run(args.tally, *test) for test in tests.items()])


if __name__ == "__main__":
    sys.exit(main())
