# SPDX-License-Identifier: BSD-3-Clause
"""RDMA between nodes, over the kernel's rdma_rxe in the lab VM: pando ping and bench; guests whose pages are written in
place; RDMA that no longer gets through under a running guest; WRITEs that arrive when their connection has ended. rxe
receives in the first network namespace only, so the nodes share it: on one device that has both addresses, or on a
device each, by link-local addresses, where a wire is between them (tests/lab/nic_rxe.sh). (To remove a device under a
running guest cannot be tried with rxe: the kernel waits until nobody has it open.)"""
import dataclasses
import functools
import os
import re
import signal
import subprocess
import sys
import time

import bad_tests
import cluster as cl
import fabric_tests
import in_lab
import kvm_tests
import outcome
import ping_tests
import summary
import workspace
from options import Options

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECONDS = 1500
MODULES = ("rdma_rxe", "ib_uverbs", "dummy", "sch_prio", "sch_netem", "cls_flower")
JOB = """
{before}
python3 tests/system/verbs_tests.py --inside --build {build} --only '{only}' --tally $OUT/tally.tsv
"""
DUMMY, ONE_DEVICE = "pando-rd", ("192.0.2.1", "192.0.2.2")
NIC_MTU = 4500
LINK_MTU = 4200  # of a frame: a page fits, and af_packet's over IPv6 fits into the interface
DEAD_MS = 20000
LATE_SECONDS = 6  # and back: more than a connection waits for, a third of DEAD_MS
FALL_SECONDS = 60
STARTED_SECONDS = 10  # all CPUs of the guest run by then; their start does not wait for long
ROCE_PORT = 4791


def sh(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True)


@dataclasses.dataclass
class RdmaOptions(Options):
    """A run over RDMA: as over sockets of the kernel's, but for type, addresses and devices."""
    addresses: tuple = ONE_DEVICE
    devices: tuple = ("", "")
    ladder: str = ""

    def config(self, run_dir, cluster, device):
        text = dataclasses.replace(self, fabric="udp").base_config(run_dir, cluster, device)
        for n, address in enumerate(self.addresses):
            more = f", device: {self.devices[n]}" if self.devices[n] else ""
            text = text.replace(f"address: 127.0.0.{n + 1}}}", f"address: '{address}'{more}}}")
        if self.ladder:
            text = text.replace("encapsulation: ethernet", "encapsulation: udp")
            return text.replace("  type: udp", f"  type: auto\n  ladder: [{self.ladder}]")
        return text.replace("  type: udp", "  type: verbs")

    def base_config(self, run_dir, cluster, device):
        return Options.config(self, run_dir, cluster, device)


# ---- devices -------------------------------------------------------------------------------------------------------

def one_device():
    """Once: rxe0 on an interface without a wire that has both addresses."""
    if not os.path.exists(f"/sys/class/net/{DUMMY}"):
        workspace.ip("link", "add", DUMMY, "mtu", str(NIC_MTU), "type", "dummy")
        workspace.ip("link", "set", DUMMY, "up")
        for address in ONE_DEVICE:
            workspace.ip("addr", "add", f"{address}/24", "dev", DUMMY)
        sh("rdma", "link", "add", "rxe9", "type", "rxe", "netdev", DUMMY)


def link_local(interface):
    text = workspace.ip("-6", "-o", "addr", "show", "dev", interface, "scope", "link").stdout
    return re.search(r"inet6 (\S+)/", text).group(1)


def two_devices():
    """Once: rxe0 and rxe1, with a wire between them, that a test may have spoiled."""
    if not os.path.exists("/sys/class/net/rdma0"):
        sh(os.path.join(ROOT, "tests/lab/nic_rxe.sh"), "2", str(NIC_MTU))
    for n in range(2):
        sh("tc", "qdisc", "del", "dev", f"rdma{n}", "root", check=False)
    return tuple(link_local(f"rdma{n}") for n in range(2))


# ---- pando ping, echo, bench ----------------------------------------------------------------------------------------

class Nodes(ping_tests.Nodes):
    def setup_rdma(self, o):
        self.config_path = self.standard("c.yaml", o)
        self.netns, self.fabric = [None, None], "verbs"
        self.pando = cl.find_program(self.build, "pando")


def with_nodes(test, build):
    with Nodes(build) as nodes:
        wrong = test(nodes)
        if wrong:
            print("\n".join("       " + line for line in nodes.lines[-20:]))
        return wrong


def commands(o, nodes):
    """Questions, messages of all sizes, pages; the far end killed, and started again, while it is asked."""
    nodes.setup_rdma(o)
    nodes.echo()
    wrong = ping_tests.ping(nodes)
    if wrong:
        return wrong
    r = nodes.json("bench rtt", 0, 1, "--seconds", 0.3, "--sizes", ",".join(map(str, ping_tests.SIZES)))
    if r["status"] or any(s["unanswered"] or not s["n"] for s in r["sizes"]):
        return f"bench rtt: {r}"
    r = nodes.json("bench stream", 0, 1, "--seconds", 1)
    if r["status"] or r["pages"] < 100:
        return f"bench stream: {r}"
    asking = nodes.start("ping", *nodes.argv("ping", 0, "n1", "--count", 40, "--interval", 0.25))
    answered = lambda: sum(bool(re.match(r"ping: \d+: .*message and answer", line)) for line in nodes.lines)
    nodes.group.wait_until(lambda: answered() >= 4, time.monotonic() + 20)
    for p in nodes.group.alive():
        if p is not asking:
            p.send(signal.SIGKILL)
    nodes.group.wait_until(lambda: False, time.monotonic() + 1)
    before = answered()
    nodes.start("echo", *nodes.argv("echo", 1))
    nodes.group.wait_until(lambda: answered() >= before + 4 or asking.status is not None, time.monotonic() + 30)
    if answered() < before + 4:
        return f"{before} answers before the far end was killed, {answered() - before} after it came again"
    nodes.stop()
    return None


def no_device(nodes):
    """What a user reads who has none of that name, or none with that address."""
    for o, words in ((RdmaOptions(devices=("mlx5_7", "")), "no RDMA device mlx5_7 here; there are:.* rxe9"),
                     (RdmaOptions(addresses=("198.51.100.1", "198.51.100.2")), "has no GID .* for 198.51.100.1"),
                     (RdmaOptions(devices=("rxe9", ""), addresses=("198.51.100.1", "198.51.100.2")),
                      "rxe9 has no GID .* for 198.51.100.1")):
        nodes.setup_rdma(o)
        status, _, err = nodes.run("ping", 0, "n1", "--count", 1)
        if status != 2 or not re.search(words, err):
            return f"status {status}: {err}"
    return None


# ---- guests ----------------------------------------------------------------------------------------------------------

def guest_options(**more):
    """As in the lab's other tests: a page has to stay for many exits."""
    o = RdmaOptions(**({"nodes": 2, "vcpus": 2, "fabric": "udp", "ram": 64, "timeout": kvm_tests.CASE_SECONDS} | more))
    return dataclasses.replace(kvm_tests.in_lab(o), dead_ms=DEAD_MS)


def verbs_counters(result):
    return {k: summary.total(result.summaries, "port", "verbs", k)
            for k in ("placed_tx", "placed_rx", "not_open", "settle_waits", "tx_ud", "tx_rc")}


def copies(result):
    """How often each byte of a page is copied by us, going out and coming in, on the worse node."""
    return tuple(max(summary.get(s, "copies", way, "ours", default=9.0) for s in result.summaries)
                 for way in ("per_page_out", "per_page_in"))


def run_guest(o, build, look):
    """A guest whose work is verified; again, as in kvm_tests.py, if the emulator broke it."""
    for left in (2, 1, 0):
        lines, vmm = [], {"out": "", "err": ""}

        def on_line(process, stream, text, lines=lines, vmm=vmm):
            lines.append(f"{process.name}: {text[:200]}")
            if process.name == "vmm":
                vmm[stream] += text + "\n"
        with cl.Cluster(o, build, on_line=on_line) as c:
            result = c.run()
        wrong = kvm_tests.judge({"guest": o.guest}, o, result, vmm["out"], vmm["err"])
        if not wrong or not left or not kvm_tests.EMULATOR_FAULT.search(vmm["err"]):
            break
        print("     the emulator left the lab kernel's own state in the guest's registers; again")
    note = ""
    if not wrong:
        wrong, note = look(result)
    if wrong:
        print("\n".join("       " + line for line in lines[-30:]))
    return wrong, note


def guest(name, faults, device, build):
    """Pages arrive in place; those that the fault filter has spoiled, and come again, as copies."""
    o = guest_options(guest=name, **device(), **({"loss": 1.0, "dup": 1.0, "reorder": 1.0} if faults else {}))
    o.cmdline = f"{kvm_tests.GUESTS[name][0]} {o.cmdline}"

    def look(result):
        c, (out, into) = verbs_counters(result), copies(result)
        note = f"{c['placed_rx']} of {c['placed_tx']} pages in place; copies a page: {out:.2f} out, {into:.2f} in; {c}"
        return (note if c["placed_rx"] == 0 or (not faults and into > 0.5) else None), note
    return run_guest(o, build, look)


def lead_roce(interface):
    """RDMA's packets that leave there, and nothing else, pass a queue of their own. Before there are any: while queues
    are put in, packets are dropped, and rxe takes that for the end of a queue pair."""
    sh("tc", "qdisc", "add", "dev", interface, "root", "handle", "1:", "prio")
    roce(interface, "add", ("delay", "0"))
    sh("tc", "filter", "add", "dev", interface, "parent", "1:", "protocol", "ipv6", "flower", "ip_proto", "udp",
       "dst_port", str(ROCE_PORT), "classid", "1:3")


def roce(interface, verb, how):
    """What is done to them from now on."""
    sh("tc", "qdisc", verb, "dev", interface, "parent", "1:3", "handle", "30:", "netem", *how, "limit", "100000")


def backlog(interface):
    text = sh("tc", "-s", "qdisc", "show", "dev", interface).stdout
    return int(re.search(r"qdisc netem 30:.*?backlog \S+ (\d+)p", text, re.S).group(1))


def falls(how, build):
    """RDMA's packets are lost, or take so long that connections are given up, under a running guest: both nodes go on
    by af_packet, and nothing is lost. What is late arrives seconds after its page has come in the other way."""
    late = how[0] == "delay"
    o = guest_options(addresses=two_devices(), devices=("rdma0", "rdma1"), ladder="verbs, af_packet", mtu=LINK_MTU,
                      guest="counters")
    o = dataclasses.replace(o, cmdline="contended=300 nap_us=5000 wait_s=380", timeout=400)
    held = {"packets": 0}
    for n in range(2):
        lead_roce(f"rdma{n}")

    def disturb(c, lines):
        fell = lambda: all(fabric_tests.said(lines, f"dataplane{n}", "fabric: af_packet on rdma") for n in range(2))
        for n in range(2):
            if not fabric_tests.said(lines, f"dataplane{n}", "fabric: verbs on .*rxe"):
                return f"node {n} is not on verbs"
        c.group.wait_until(c.ended, time.monotonic() + STARTED_SECONDS)
        for n in range(2):
            roce(f"rdma{n}", "change", how)
        c.group.wait_until(lambda: fell() or c.ended(), time.monotonic() + FALL_SECONDS)
        held["packets"] = sum(backlog(f"rdma{n}") for n in range(2))
        return None if fell() else f"after {FALL_SECONDS} s not both nodes are on af_packet"

    def judge(c, result, lines):
        wrong, _ = fabric_tests.guest_passed(c, result, lines)
        for n in range(2):
            port = (c.read_json(f"summary{n}.json") or {}).get("port", {})
            if not wrong and (port.get("fabric_changes") != 1 or not port["fabric"].startswith("af_packet on rdma")):
                wrong = f"node {n}: {port}"
        if not wrong and late and not held["packets"]:
            wrong = "no packet was on the wire when the nodes left it"
        why = [re.sub(r".*not (verbs: .*)", r"\1", line) for line in lines if "fabric: af_packet on rdma" in line]
        return wrong, f"{held['packets']} packets late; " * late + "; ".join(why)
    return fabric_tests.disturbed(o, build, disturb, judge)


# ---- which --------------------------------------------------------------------------------------------------------

def on_one():
    one_device()
    return {}


def on_two():
    return {"addresses": two_devices(), "devices": ("rxe0", "rxe1"), "mtu": LINK_MTU}


def inside(args):
    bad_tests.JOIN_MS = DEAD_MS
    ping_tests.COMMAND_SECONDS = 120

    def nodes_on(device):
        return lambda: with_nodes(functools.partial(commands, RdmaOptions(**device(), dead_ms=5000)), args.build)
    tests = {
        "verbs/commands/one_device": nodes_on(on_one),
        "verbs/commands/two_devices": nodes_on(on_two),
        "verbs/no_device": lambda: with_nodes(no_device, args.build),
        "verbs/path_breaks": functools.partial(falls, ("loss", "100%"), args.build),
        "verbs/late_write": functools.partial(falls, ("delay", f"{LATE_SECONDS}s"), args.build),
    }
    for name, faults, device in (("counters", False, on_one), ("matrix", False, on_two), ("counters", True, on_two),
                                 ("matrix", True, on_one)):
        tests[f"verbs/guest/{name}{'/faults' if faults else ''}/{device.__name__}"] = functools.partial(
            guest, name, faults, device, args.build)
    chosen = [(name, test) for name, test in tests.items() if re.search(args.only, name)]
    return outcome.status(outcome.run(args.tally, name, test) for name, test in chosen)


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--only", default="", help="tests whose names this regular expression finds")
    parser.add_argument("--inside", action="store_true", help="on this machine, whose devices are changed: in the lab")
    parser.add_argument("--before", default="", help="shell words that the lab runs first")
    args = parser.parse_args()
    if args.inside:
        return inside(args)
    job = JOB.format(build=args.build, only=args.only, before=args.before)
    return in_lab.run("verbs", job, SECONDS, args, modules=MODULES)


if __name__ == "__main__":
    sys.exit(main())
