#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Boots the Linux guest as one VM over several nodes of this machine, under Debian's QEMU and `pando
run`; needs root and a KVM that runs Linux (place.py knows where one is).

    over_nodes.py [--nodes N] [--homes 0,1] [--jobs a,b] [--machine q35] [--result FILE] ...

Exit status 0 if every job has passed and the kernel had nothing to complain about.
"""
import argparse
import json
import os
import shlex
import sys
import tempfile
import time

import disk_image
import image
import smoke
import traffic

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
import options  # noqa: E402
import workspace  # noqa: E402

GUEST = "guest| "  # in front of what the guest and QEMU say
# Where an exit costs hundreds of microseconds: the kernel boots on the first node's CPUs, and those of
# the others come up from userspace, when idle CPUs have no tick any more. Its memory of the early boot
# is at home where it is used, and unbound work stays on the first node. Each memory node's kcompactd looks
# twice a second whether it should defragment (proactively), on its own node's CPUs: off. NUMA balancing takes
# the pages of every process from its page tables again and again, to see who touches them: off. A CPU of another
# node that has one thread to run does not tick (nohz_full). What the kernel takes for a stall, after 21 s, is no
# sign of one there.
SLOW_WORDS = (
    "quiet nokaslr tsc=reliable nowatchdog maxcpus={first} isolcpus=managed_irq,domain,{others} nohz_full={others}"
    " numa_balancing=disable sysctl.vm.compaction_proactiveness=0 rcupdate.rcu_cpu_stall_timeout=300 sysctl.kernel.hung_task_timeout_secs=600"
)
SLOW_BRIEF = "pando.clock=seconds:60 pando.hotplug=rounds:1 " + " ".join(
    f"pando.{job}=seconds:1,patience:900" for job in ("threads", "ipi", "litmus", "smc")
)
SLOW_DISK = "pando.disk=rounds:1,mib:2,patience:900"  # with CPUs on several nodes, who read what the others wrote
SLOW_MANY = ",rounds:20"  # of threads, on more than two nodes: a page goes round among all of them
SLOW_RTO = ", rto_min_us: 20000, rto_max_us: 200000"  # an emulated node answers late
SLOW_REST = ", tick_rest_times: 20, tick_rest_max_ms: 2000"
SLOW_HOLD_US = 25000  # coherence.hold_us there


def cluster(args, run_dir):
    """The cluster's configuration: the guest's RAM homed where its NUMA node is."""
    offset_us, drift_ppb = (int(part) for part in args.skew.split(":"))
    skew = [""] * (len(args.ranges) - 1) + [f", clock_offset_us: {offset_us}, clock_drift_ppb: {drift_ppb}"]
    device = f", device: {workspace.INTERFACE}" if args.fabric in options.ON_THE_WIRE else ""
    nodes = [f"- {{id: {n}, name: n{n}, range_mib: {mib}{device}{skew[n]}}}" for n, mib in enumerate(args.ranges)]
    ppm = round(args.loss * 10000)
    hold_us = args.hold_us or (SLOW_HOLD_US if args.slow else 0)
    rest = SLOW_REST if args.slow else ""
    hold = f", hold_us: {hold_us}, hold_max_us: {2 * hold_us}" if hold_us else ""
    return "\n".join([
        "cluster: linux",
        f"run_dir: {run_dir}",
        f"vm: {{ram_mib: {args.mem}, vcpus: {len(args.homes)}, homes: range, vcpu_homes: {args.homes}{rest}}}",
        "nodes:", *nodes,
        f"fabric: {{type: {args.fabric}, faults: {{seed: {args.seed}, drop_ppm: {ppm}}}}}",
        f"transport: {{heartbeat_ms: 100, dead_ms: 20000{SLOW_RTO if args.slow else ''}}}",
        f"coherence: {{check: true{hold}}}",
        f"clock: {{discipline: {'off' if args.undisciplined else 'on'}}}",
        "poll: {mode: sleep}",
    ]) + "\n"  # fmt: skip


def pando_argv(args, config, summaries, namespaces, qemu):
    argv = [os.path.join(args.build, "hypervisor-glue/run/pando"), "run", "--config", config, "--summary-dir", summaries]
    cpus = sorted(os.sched_getaffinity(0))
    for n in range(args.nodes):
        on = f"taskset -c {cpus[n % len(cpus)]} " if args.pin else ""
        on += f"ip netns exec {namespaces[n]}" if namespaces else ""
        argv += ["--on", f"{n}={on.strip()}"] if on else []
    return argv + ["--", *qemu]


def qemu_argv(args, kernel, initrd, disk, port):
    words = f"console=ttyS0 panic=-1 pando.limit={args.limit} pando.jobs={args.jobs}"
    words += f" {SLOW_BRIEF if args.slow else smoke.BRIEF} {args.words}"
    words += f" pando.threads=seconds:1,patience:900{SLOW_MANY}" if args.slow and args.nodes > 2 else ""
    words += "" if args.bare else " pando.need=disk,net,storm"
    words += f" pando.cpus={len(args.homes)}" + (" pando.end=reboot" if args.reboot else "")
    argv = ["qemu-system-x86_64", "-machine", args.machine, "-m", str(args.mem), "-nodefaults", "-display", "none"]
    argv += ["-serial", "stdio", "-kernel", kernel, "-initrd", initrd, "-append", words] + shlex.split(args.qemu)
    argv += [] if args.reboot else ["-no-reboot"]
    if disk:
        argv += ["-drive", f"file={disk},format=raw,if=none,id=d0", "-device", "virtio-blk-pci,drive=d0"]
    if port:
        argv += ["-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:{smoke.NET_PORT}"]
        argv += ["-device", "virtio-net-pci,netdev=n0"]
    return argv


KEPT = ("node", "seconds", "faults", "messages", "classes", "coherence", "clock", "drops", "hot_pages", "fault_filter")


def node_summary(path):
    try:
        with open(path, encoding="utf-8") as f:
            s = json.load(f)
    except (OSError, ValueError):
        return {}
    return {k: s.get(k) for k in KEPT}


def total(nodes, part, counter):
    return sum(group.get(counter, 0) for node in nodes for group in (node.get(part) or {}).values())


def wrong(status, nodes, loss):
    """What is the matter with the run itself, whatever the guest says; None: nothing. A VM over several
    nodes whose pages did not travel, or that lost no frame where some should be, has tested nothing."""
    if status != 0:
        return f"pando run ended with status {status}"
    for n, node in enumerate(nodes):
        coherence = node.get("coherence") or {}
        if not coherence:
            return f"node {n} left no summary"
        if coherence["violations"]:
            return f"node {n}: invariant violated: {coherence['violation']}"
        if not coherence["checks"]:
            return f"node {n} checked nothing"
    if len(nodes) > 1 and not (total(nodes, "messages", "tx") and total(nodes, "faults", "n")):
        return "no page went from node to node"
    if loss and not (total(nodes, "classes", "retransmit") and sum(n["fault_filter"]["dropped"] for n in nodes)):
        return "no frame was lost and sent again"
    return None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--homes", default="0,1", help="node of each vCPU")
    parser.add_argument("--mem", type=int, default=256, metavar="MIB")
    parser.add_argument("--ranges", default="", metavar="MIB,MIB", help="RAM of each node; default: equal parts of --mem")
    parser.add_argument("--machine", default="q35")
    parser.add_argument("--fabric", default="shm", choices=options.FABRICS, help="over interfaces (%s): --bare" % ", ".join(options.ON_THE_WIRE))
    parser.add_argument("--loss", type=float, default=0, metavar="PCT")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skew", default="0:0", metavar="US:PPB", help="what the last node's TSC is ahead by, and faster")
    parser.add_argument("--undisciplined", action="store_true", help="nobody does anything about it")
    parser.add_argument("--jobs", default="show")
    parser.add_argument("--words", default="", help="more for the kernel's command line")
    parser.add_argument("--without", default="", metavar="A,B", help="--slow: less on it, by the words' beginnings")
    parser.add_argument("--traffic", action="store_true", help="messages of each job, from the dataplanes' telemetry")
    parser.add_argument("--qemu", default="", help="more for QEMU's command line")
    parser.add_argument("--reboot", action="store_true", help="the guest reboots once, then it ends")
    parser.add_argument("--hold-us", type=int, default=0, help="0: what is right for the place")
    parser.add_argument("--slow", action="store_true", help="the host is an emulator: CPUs of other nodes come up late")
    parser.add_argument("--pin", action="store_true", help="each node on one CPU of its own: as hosts are")
    parser.add_argument("--bare", action="store_true", help="neither disk nor network")
    parser.add_argument("--stress", action="store_true", help="the image with stress-ng")
    parser.add_argument("--kernel", default=image.META, metavar="META")
    parser.add_argument("--build", default=os.path.join(image.ROOT, "build"))
    parser.add_argument("--limit", type=int, default=0, help="seconds a job")
    parser.add_argument("--seconds", type=int, default=600, help="for all")
    parser.add_argument("--result", help="file for the result, as JSON")
    args = parser.parse_args()
    args.homes = [int(n) for n in args.homes.split(",")]
    if args.fabric in options.ON_THE_WIRE and not args.bare:
        parser.error("QEMU's own network does not leave the first node's namespace: add --bare")
    base, extra = divmod(args.mem, args.nodes)
    args.ranges = [int(n) for n in args.ranges.split(",") if n] or [base + (n < extra) for n in range(args.nodes)]
    args.limit = args.limit or (args.seconds // 2 if args.slow else 180)
    if args.slow:
        slow(args)
    return args


def slow(args):
    """Changes the arguments to what an emulator has the time for."""
    first = sum(home == args.homes[0] for home in args.homes)
    if first == len(args.homes):
        args.words = f"quiet nokaslr {args.words}"
        return
    words = SLOW_WORDS.format(first=first, others=f"{first}-{len(args.homes) - 1}").split()
    without = tuple(filter(None, args.without.split(",")))
    args.words = " ".join([w for w in words if not (without and w.startswith(without))] + [SLOW_DISK, args.words])
    args.jobs = f"online,{args.jobs}"


def main():
    args, start = arguments(), time.monotonic()
    try:
        kernel = image.kernel(args.kernel)[0]
        initrd = image.initrd("stress" if args.stress else "small", args.kernel, args.build)
    except image.ImageError as e:
        print(f"over_nodes: {e}")
        return 4
    with tempfile.TemporaryDirectory(prefix="pando-linux-") as scratch:
        config, summaries = os.path.join(scratch, "cluster.yaml"), os.path.join(scratch, "summaries")
        os.makedirs(summaries)
        os.makedirs(os.path.join(scratch, "run"))
        with open(config, "w", encoding="ascii") as f:
            f.write(cluster(args, os.path.join(scratch, "run")))
        disk = None if args.bare else disk_image.make(os.path.join(scratch, "disk"), 16, seed=int(start * 1e6))
        port = None if args.bare else smoke.free_port()
        qemu = qemu_argv(args, kernel, initrd, disk, port)
        jobs = traffic.Traffic(os.path.join(scratch, "run"))
        watch = jobs.feed if args.traffic else lambda line: None
        space = workspace.Workspace() if args.fabric in options.ON_THE_WIRE else None
        try:
            namespaces = space.make_segment(args.nodes, 9000) if space else []
            argv = pando_argv(args, config, summaries, namespaces, qemu)
            log, status = smoke.run(argv, port, args.seconds, True, GUEST, 1 + args.reboot, watch)
        finally:
            if space:
                space.remove()
        nodes = [node_summary(os.path.join(summaries, f"summary{n}.json")) for n in range(args.nodes)]
    broken = wrong(status, nodes, args.loss)
    problem = log.problem() or broken
    print("\n" + log.text() + (f"\n{problem}" if problem else ""))
    seconds = round(time.monotonic() - start, 1)
    result = {
        "problem": problem, "broken": broken, "userspace_s": log.userspace_s, "seconds": seconds,
        "passed": {n: {"seconds": s, "words": w} for n, (s, w) in log.passed.items()}, "failed": log.failed, "nodes": nodes,
        "traffic": jobs.jobs,
    }  # fmt: skip
    if args.result:
        with open(args.result, "w", encoding="utf-8") as f:
            json.dump(result, f)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
