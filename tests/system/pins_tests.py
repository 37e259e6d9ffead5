#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the configuration says about threads and memory is in force in a running cluster, as the kernel tells it: CPUs,
classes and priorities of every thread, NUMA policy of guest RAM, size of packet memory's pages. What this machine has
not got refuses the start; what costs latency is counted, and pando doctor tells the same."""
import ctypes
import functools
import json
import os
import re
import struct
import subprocess
import sys

import bad_tests
import cluster as cl
import kill_tests
import outcome
from options import Options

SYS_SCHED_GETATTR = 315
OTHER, FIFO, RR, BATCH = 0, 1, 2, 3
HOST = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "configs", "host")
libc = ctypes.CDLL(None, use_errno=True)


def read(path, default=""):
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read()
    except OSError:
        return default


def attributes(tid):
    """(policy, nice, priority, slice in us; 0: this kernel does not tell)"""
    buf = ctypes.create_string_buffer(48)
    if libc.syscall(SYS_SCHED_GETATTR, tid, buf, 48, 0) != 0:
        raise OSError(ctypes.get_errno(), f"sched_getattr of {tid}")
    _, policy, _, nice, priority, runtime, _, _ = struct.unpack("IIQiIQQQ", buf.raw)
    return policy, nice, priority, runtime // 1000


def threads(pid):
    """[(name, CPUs it may use, (policy, nice, priority, slice), tid)] of a process, without KVM's own, which the first
    vCPU to run makes in passing"""
    out = []
    for tid in map(int, os.listdir(f"/proc/{pid}/task")):
        status = read(f"/proc/{pid}/task/{tid}/status")
        if status and not status.startswith("Name:\tkvm-"):
            cpus = re.search(r"^Cpus_allowed_list:\s*(\S*)", status, re.M)[1]
            out.append((re.search(r"^Name:\s*(.*)", status)[1], cpus, attributes(tid), tid))
    return out


def processes(c):
    return {p.name: p.pid for p in c.group.processes}


class Configured(cl.Cluster):
    """A cluster whose configuration gets more: keys of each node, and sections."""

    def __init__(self, o, build, node_keys, sections, on_line):
        super().__init__(o, build, on_line=on_line)
        config = o.config

        def more(*args):
            text = config(*args)
            for n, keys in enumerate(node_keys):
                text = text.replace(f"id: {n}, name: n{n}", f"id: {n}, name: n{n}" + (f", {keys}" if keys else ""))
            for name, keys in sections.items():
                flow, block = f"{name}: {{", f"{name}:\n"
                if flow in text:
                    text = text.replace(flow, f"{flow}{keys}, ")
                elif block in text:
                    text = text.replace(block, f"{block}  {keys}\n")
                else:
                    text += f"{flow}{keys}}}\n"
            return text
        o.config = more


def running(build, look, node_keys=("", ""), sections=None, **options):
    """Runs a guest with this configuration to its end; look(c, lines) says what is wrong while it runs."""
    lines, result = [], cl.Result()
    o = Options(**{"nodes": 2, "vcpus": 2, "ram": 64, "guest": "faultrate", "cmdline": "size=4 ms=4000", "timeout": 100} | options)
    with Configured(o, build, node_keys, sections or {}, lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        wrong = kill_tests.run_until_started(c, result)
        wrong = wrong or look(c, lines)
        if not wrong:
            c.watch(result)
            c.finish(result)
            wrong = None if result.passed else f"the guest did not pass: status {result.status}, {result.died}"
    if wrong:
        print("\n".join("       " + line for line in lines[-20:]))
    return wrong


def two_cpus():
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise outcome.Skipped("one CPU: roles cannot be told apart by theirs")
    return cpus[:2]


def check_threads(pid, rules, rest):
    """Each thread of the process is as the first rule that has its name says, others as the rest: (CPUs, policy,
    nice, priority); None: not looked at. Every rule has a thread."""
    seen = set()
    for name, cpus, (policy, nice, priority, _), tid in threads(pid):
        rule = next((r for r in rules if re.fullmatch(r, name)), None)
        seen.add(rule)
        want = rules.get(rule, rest)
        is_now = (cpus, policy, nice, priority)
        if any(w is not None and w != v for w, v in zip(want, is_now)):
            return f"thread {tid} '{name}' has (CPUs, policy, nice, priority) {is_now}, wanted {want}"
    return None if seen >= set(rules) else f"process {pid} has no thread {sorted(set(rules) - seen)}: {threads(pid)}"


PLACED = {"threads": "poll_class: fifo, poll_priority: 3, agent_class: rr, agent_priority: 2, vcpu_nice: 5, "
                     "housekeeping_class: batch, housekeeping_nice: 4"}


def placed(build, fabric="shm"):
    """Every thread of the four processes, each role in a class of its own, on CPUs that tell it from the others."""
    a, b = two_cpus()
    keys = (f"dataplane_core: {b}, agent_core: {a}, vcpu_cores: [{a}], housekeeping_cores: [{b}]",
            f"dataplane_core: {a}, agent_core: {b}, vcpu_cores: [{b}], housekeeping_cores: [{a}]")

    def look(c, lines):
        pids = processes(c)
        for node, (loop, agent) in enumerate(((b, a), (a, b))):
            housekeeping = (str(loop), BATCH, 4, 0)
            wrong = check_threads(pids[f"dataplane{node}"], {"pando-dataplane": (str(loop), FIFO, None, 3)}, housekeeping)
            rules = {"pando-agent": (str(agent), RR, None, 2)}
            if node == 1:
                rules["pando-vcpu1"] = (str(agent), OTHER, 5, 0)
                wrong = wrong or check_threads(pids["vcpud1"], rules, housekeeping)
                continue
            # The VMM's threads have no names: the vCPU at home here is the one with the vCPUs' nice level.
            vmm = c.vmm.pid
            vcpus = [t for t in threads(vmm) if t[2][:2] == (OTHER, 5)]
            if not wrong and (len(vcpus) != 1 or vcpus[0][1] != str(agent)):
                wrong = f"vCPU 0 is not on CPU {agent} with nice 5: {threads(vmm)}"
            left = [t for t in threads(vmm) if t not in vcpus and t[0] != "pando-agent" and t[1] != str(loop)]
            wrong = wrong or (f"VMM: not on housekeeping's CPU: {left}" if left else None)
            wrong = wrong or check_threads(vmm, rules, (None, None, None, None))
            if wrong:
                return wrong
        return wrong
    return running(build, look, keys, PLACED, fabric=fabric)


def housekeeping_alone(build):
    """vCPUs and agent are not housekeeping: they keep what the process was started with, though the threads that make
    them were moved."""
    a, b = two_cpus()
    everywhere = next(t[1] for t in threads(os.getpid()))

    def look(c, lines):
        rules = {"pando-vcpu1": (everywhere, OTHER, 0, 0), "pando-agent": (everywhere, OTHER, -10, 0)}
        return check_threads(processes(c)["vcpud1"], rules, (str(a), BATCH, 0, 0))
    return running(build, look, ("", f"housekeeping_cores: [{a}]"), {"threads": "housekeeping_class: batch"})


def left_alone(build):
    """Without these keys nothing but the poll loop and the agent is touched."""
    everywhere = next(t[1] for t in threads(os.getpid()))

    def look(c, lines):
        pids = processes(c)
        loop = next(t for t in threads(pids["dataplane0"]) if t[0] == "pando-dataplane")
        if loop[2][3] not in (0, 100):
            return f"the poll loop's slice is {loop[2][3]} us, not 100"
        return check_threads(pids["dataplane0"], {"pando-dataplane": (everywhere, OTHER, -10, 0)}, (everywhere, OTHER, 0, 0)) or \
            check_threads(pids["vcpud1"], {"pando-agent": (everywhere, OTHER, -10, 0)}, (everywhere, OTHER, 0, 0))
    return running(build, look)


def guest_ram(build):
    """The policy of the memfd, which is the file's: the VMM's own mapping has it, too."""
    if not read("/proc/self/numa_maps"):
        raise outcome.Skipped("a kernel without NUMA")

    def look(c, lines):
        for node, pid in ((0, c.vmm.pid), (0, processes(c)["dataplane0"]), (1, processes(c)["vcpud1"])):
            ram = [line for line in read(f"/proc/{pid}/numa_maps").splitlines() if "memfd:" in line and "shmem-dummy" not in line]
            bound = any(" bind:0 " in line for line in ram)
            if bound != (node == 0):
                return f"node {node}, process {pid}: guest RAM is {'' if bound else 'not '}bound to NUMA node 0: {ram}"
        return None
    return running(build, look, ("ram_node: 0", ""))


def packet_node(build):
    """Packet memory that is no hugepages: its mapping has the policy, and only where it was asked for."""
    if not read("/proc/self/numa_maps"):
        raise outcome.Skipped("a kernel without NUMA")

    def look(c, lines):
        for node in range(2):
            maps = read(f"/proc/{processes(c)[f'dataplane{node}']}/numa_maps").splitlines()
            bound = [line for line in maps if " bind:0 " in line]
            if bool(bound) != (node == 0):
                return f"node {node}: bound to NUMA node 0 are {bound}"
        return None
    return running(build, look, ("packet_node: 0", ""), {"fabric": "hugepages: 'off'"}, fabric="memif")


def real_time_vcpus(build):
    """vCPUs in a real-time class, which poll loop and agent come before."""
    def look(c, lines):
        rules = {"pando-vcpu1": (None, RR, None, 2), "pando-agent": (None, FIFO, None, 30)}
        return check_threads(processes(c)["vcpud1"], rules, (None, OTHER, 0, 0))
    keys = "poll_class: fifo, poll_priority: 30, agent_class: fifo, agent_priority: 30, vcpu_class: rr, vcpu_priority: 2"
    return running(build, look, sections={"threads": keys}, cmdline="size=4 ms=2000")


def poll_mode(mode, build):
    """The guest runs in this mode, and the loop sleeps or does not."""
    lines, o = [], Options(nodes=2, vcpus=2, ram=64, guest="counters", cmdline="iters=300000", poll=mode, timeout=100)
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(text)) as c:
        result = c.run()
    loops = [s.get("loop", {}) for s in result.summaries]
    note = ", ".join(f"{k} {[loop.get(k) for loop in loops]}" for k in ("rounds", "useful", "sleeps", "yields"))
    if not result.passed:
        return f"the guest did not pass: status {result.status}, {result.died}"
    return None if all(loop.get("sleeps") for loop in loops) else "the loops did not sleep", note


def makes_way(build):
    """A loop makes way for the vCPU and the agent that share its CPU, and for nobody where they are elsewhere."""
    a, b = two_cpus()
    made = {}
    for where, cpus in (("beside", ((a, a), (b, b))), ("apart", ((b, a), (a, b)))):
        keys = [f"dataplane_core: {loop}, agent_core: {rest}, vcpu_cores: [{rest}], housekeeping_cores: [{rest}]"
                for loop, rest in cpus]
        o = Options(nodes=2, vcpus=2, ram=64, guest="counters", cmdline="iters=300000", poll="yield", timeout=100)
        with Configured(o, build, keys, {}, lambda p, s, text: None) as c:
            result = c.run()
        if not result.passed:
            return f"{where}: the guest did not pass: status {result.status}, {result.died}"
        loops = [s.get("loop", {}) for s in result.summaries]
        made[where] = [loop.get("made_way") for loop in loops]
        if [loop.get("core") for loop in loops] != [loop for loop, _ in cpus]:
            return f"{where}: the loops say that they are on other cores than {cpus}: {loops}"
        # A frame may end the sleep: the way then has another one, of what was left of it.
        if any(loop.get("sleeps", 0) > 10 * loop.get("made_way", 0) for loop in loops):
            return f"{where}: a loop in mode yield slept, and not to make way: {loops}"
    note = f"beside {made['beside']}, apart {made['apart']}"
    return None if min(made["beside"]) > 20 and made["apart"] == [0, 0] else f"made way: {note}", note


def hugepages(size, build):
    """Packet memory on pages of the size that was asked for, where there are both, from the NUMA node that was asked
    for; prepared, and given back, by configs/host."""
    state, kib, need = f"/run/pando-pins-{os.getpid()}", {"2M": 2048, "1G": 1048576}, {"2M": 80, "1G": 2}
    free = {s: f"/sys/devices/system/node/node0/hugepages/hugepages-{kib[s]}kB/free_hugepages" for s in kib}
    if not all(map(os.path.exists, free.values())):
        raise outcome.Skipped("this kernel has not both sizes of hugepages")
    before = {s: read(free[s]) for s in free}
    try:
        words = [w for s in need for w in ("--hugepages", f"0:{s}:{need[s]}")]
        p = subprocess.run([f"{HOST}/prepare", "--state", state, *words], capture_output=True, text=True, check=False)
        if any(int(read(free[s])) < need[s] for s in need):
            raise outcome.Skipped(f"hugepages, {need}, are not to be had: {p.stderr.strip()}")

        def look(c, lines):
            maps = read(f"/proc/{processes(c)['dataplane0']}/numa_maps").splitlines()
            huge = {s: [line for line in maps if f"kernelpagesize_kB={kib[s]}" in line and " N0=" in line] for s in kib}
            other = next(s for s in kib if s != size)
            if huge[other] and size == "1G":  # with 2M DPDK takes one of 1G as well, for what it asks for later
                return f"there are pages of {other}: {huge[other]}"
            bound = any(" bind:0 " in line for line in huge[size])
            return None if bound else f"no page of {size} that is bound to node 0: {huge[size]}"
        return running(build, look, ("packet_node: 0", "packet_node: 0"), {"fabric": f"hugepages: {size}"}, fabric="memif")
    finally:
        subprocess.run([f"{HOST}/restore", "--state", state], capture_output=True, check=False)
        for s in free:
            if read(free[s]) != before[s]:
                print(f"       free hugepages of {s}: {before[s].strip()} before, {read(free[s]).strip()} after")


def notes(build):
    """What a start counts in one line is what pando doctor tells."""
    found = {}

    def look(c, lines):
        line = next((x for x in lines if x.startswith("dataplane0") and "on this machine: pando doctor" in x), None)
        m = line and re.search(r"(\d+) notes? on this machine: pando doctor --config (\S+) --node (\d)$", line)
        if not m:
            return f"no such line: {line}"
        doctor = cl.find_program(build, "pando-doctor")
        p = subprocess.run([doctor, "--json", "--config", m[2], "--node", m[3]], capture_output=True, text=True, check=False)
        said = json.loads(p.stdout)
        told = [f for r in said["nodes"][0]["roles"] for f in r["findings"]]
        found["notes"] = len(told)
        if p.returncode != (1 if said["missing"] else 0):
            return f"exit status {p.returncode} with {said['missing']} missing"
        return None if len(told) == int(m[1]) else f"the start counted {m[1]}, the doctor tells of {told}"
    wrong = running(build, look, (f"dataplane_core: {two_cpus()[0]}", ""))
    return wrong, f"{found.get('notes')} notes"


def cpuset_root():
    """A folder for cpusets of ours and the names of the files in it; Skipped where there is none."""
    if os.path.isfile("/sys/fs/cgroup/cpuset/cpuset.cpus"):
        return "/sys/fs/cgroup/cpuset", ("cpuset.cpus", "cpuset.mems")
    if "cpuset" in read("/sys/fs/cgroup/cgroup.subtree_control"):
        return "/sys/fs/cgroup", ("cpuset.cpus",)
    raise outcome.Skipped("no cpusets to be made here")


def outside_of_the_cpuset(lab):
    """A dataplane that may not use its CPU does not start, and says what it may use."""
    a, b = two_cpus()
    top, files = cpuset_root()
    group = f"{top}/pando-pins-{os.getpid()}"
    text = Options().config(lab.space.path("run"), "pins", "none").replace("name: n0", f"name: n0, dataplane_core: {b}")
    config = lab.config("c.yaml", text)
    os.mkdir(group)
    try:
        for name, value in zip(files, (str(a), read(f"{top}/cpuset.mems").strip() or "0")):
            with open(f"{group}/{name}", "w", encoding="ascii") as f:
                f.write(value)
        program = cl.find_program(lab.build, "pando-dataplane")
        lab.start("dataplane0", "sh", "-c", 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"', "sh", group, program,
                  "--config", config, "--node", "0")
        return lab.refused(rf"dataplane_core: CPU {b} is outside of this process's cpuset; allowed: {a}")
    finally:
        lab.group.end_all()
        os.rmdir(group)


def no_such_numa_node(lab):
    text = Options().config(lab.space.path("run"), "pins", "none").replace("name: n0", "name: n0, ram_node: 31")
    lab.dataplane(lab.config("c.yaml", text), 0)
    return lab.refused(r"ram_node: NUMA node 31: this host has no such node.*allowed: 0")


def refused(test, build):
    with bad_tests.Lab(build) as lab:
        wrong = test(lab)
    if wrong:
        print("\n".join("       " + line for line in lab.lines[-8:]))
    return wrong


TESTS = {
    "placed": placed,
    "housekeeping-alone": housekeeping_alone,
    "left-alone": left_alone,
    "guest-ram": guest_ram,
    "packet-node": packet_node,
    "real-time-vcpus": real_time_vcpus,
    "adaptive": functools.partial(poll_mode, "adaptive"),
    "interrupt": functools.partial(poll_mode, "interrupt"),
    "makes-way": makes_way,
    "hugepages-2M": functools.partial(hugepages, "2M"),
    "hugepages-1G": functools.partial(hugepages, "1G"),
    "notes": notes,
    "outside-of-the-cpuset": functools.partial(refused, outside_of_the_cpuset),
    "no-such-numa-node": functools.partial(refused, no_such_numa_node),
}


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--only", metavar="REGEX", default="")
    args = parser.parse_args()
    return outcome.status(outcome.run(args.tally, f"pins/{name}", functools.partial(test, args.build))
                          for name, test in TESTS.items() if re.search(args.only, name))


if __name__ == "__main__":
    sys.exit(main())
