# SPDX-License-Identifier: BSD-3-Clause
"""NICs and what they do for Pando: the dpdk fabric, one conformance test for all who serve an intent, what drivers take
of our rules, and who does what in a running cluster.

On the host as far as its kernel goes (TAP without rules, virtual devices of DPDK's); then all of it in the lab VM, on
emulated cards behind an IOMMU and on a TAP whose rules the kernel carries out. The table of what was taken where, with
the drivers' words, is printed and goes to out/offload-table.json."""
import argparse
import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import cluster as cl
import in_lab
import outcome
import workspace
from bad_tests import Lab
from fabric_tests import ask, telemetry
from options import Options

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = 77
COMMAND_SECONDS, START_SECONDS = 60, 20
LAB_SECONDS, LAB_SECONDS_FULL = 400, 900
# Cards in pairs: an address of either is the node's.
CARDS = {"e1000e": ("0000:01:00.0", "0000:02:00.0"), "igb": ("0000:03:00.0", "0000:04:00.0"),
         "virtio-net-pci": ("0000:05:00.0", "0000:06:00.0")}
LAB_NICS = tuple(kind for kind in CARDS for _ in range(2))
LAB_MODULES = ("cls_flower", "sch_ingress", "sch_multiq", "act_mirred", "act_gact", "act_skbedit", "tun", "veth")
LAB_JOB = """
rm -f $OUT/table.json # of a boot that crashed, or of another day
python3 tests/system/offload_tests.py --in-lab --build {build} --tally $OUT/tally.tsv --table $OUT/table.json {more}
"""
BACKENDS = ("software", "xdp", "hardware")
LAB_BACKENDS = ("software", "hardware")  # the kernel's XDP is the host's to test
VIRTUAL = ("net_null0", "net_ring0", "net_memif0,role=server,socket=pando-probe,socket-abstract=yes",
           "net_af_packet0,iface=veth0", "net_tap0,iface=ptap0")


# ---- what is served alike -----------------------------------------------------------------------


def conform(build, *words):
    p = subprocess.run([os.path.join(build, "tests/offload/pando-offload-conformance"), *words], capture_output=True,
                       text=True, timeout=COMMAND_SECONDS, check=False)
    if p.returncode == SKIPPED:
        raise outcome.Skipped(p.stderr.strip().splitlines()[-1])
    if p.returncode:
        return None, f"{' '.join(words)}: status {p.returncode}: {p.stderr[-600:]}"
    return json.loads(p.stdout), None


def conformance(build, link, backends, rules=False):
    """Poll loop, XDP and rules: the same frames come through, in the same order; each other one was dropped once."""
    seen = {}
    for backend in backends:
        must = ["--rules"] if rules and backend == "hardware" else []
        try:
            seen[backend], wrong = conform(build, backend, link, *must)
        except outcome.Skipped as e:
            if backend == "software":
                raise
            print(f"     {backend} is left out: {e}")
            continue
        if wrong:
            return wrong
    sums = {s["sum"] for s in seen.values()}
    note = ", ".join(f"{b}: {s['rules']} rules, dropped {s['dropped_above']} above and {s['dropped_below']} below"
                     + (f", slowest call {s['slowest_call_us']} us" if s["rules"] else "") for b, s in seen.items())
    if len(sums) != 1 or len({s["dropped_above"] + s["dropped_below"] for s in seen.values()}) != 1:
        return f"they differ: {seen}"
    if seen["software"]["dropped_below"] or ("xdp" in seen and not seen["xdp"]["dropped_below"]):
        return f"dropped by somebody else: {seen}"
    return None, note


# ---- what drivers take --------------------------------------------------------------------------


def probe(build, device):
    """One driver's answers, or what is wrong."""
    words = [os.path.abspath(os.path.join(build, "tests/offload/pando-pmd-probe")), device]
    if "veth0" in device:
        make = "ip link add veth0 type veth peer name veth1; ip link set veth0 up; exec "
        words = ["sh", "-c", make + " ".join(words)]
    if device.startswith("net_"):
        words = ["unshare", "-n", *words]
    p = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    try:
        return json.loads(p.stdout), None
    except ValueError:
        return None, f"{device}: status {p.returncode}: {p.stderr[-400:]}"


def verdict(rule):
    """In a cell of the table."""
    if rule["created"]:
        return "not removable" if rule["remove_error"] else "yes"
    return "validated only" if rule["validated"] else "no"


def merge(path, found):
    """Adds drivers to a table in a file."""
    old = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            old = json.load(f)
    names = {d["driver"] for d in found}
    with open(path, "w", encoding="utf-8") as f:
        json.dump([d for d in old if d["driver"] not in names] + found, f, indent=1)


def table(build, path, devices, takes):
    """Probes each, and compares with what is known: takes, rules that a driver must have created, by driver."""
    found, wrong = [], []
    for device in devices:
        answers, bad = probe(build, device)
        if bad:
            wrong.append(bad)
            continue
        found.append(answers)
        created = sum(r["created"] for r in answers["rules"])
        if created != takes.get(answers["driver"], 0):
            wrong.append(f"{answers['driver']} took {created} rules, {takes.get(answers['driver'], 0)} were expected")
        unexplained = [r["by"] for r in answers["rules"] if not r["created"] and not r["create_error"]]
        if unexplained:
            wrong.append(f"{answers['driver']} gave no reason for {unexplained}")
    if path:
        merge(path, found)
    return "; ".join(wrong) or None, ", ".join(f"{d['driver']}: {sum(r['created'] for r in d['rules'])} of"
                                               f" {len(d['rules'])}" for d in found)


def print_table(path):
    """Intents down, drivers across; then each driver's reasons."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as f:
        drivers = json.load(f)
    names = [d["driver"].removeprefix("net_") for d in drivers]
    print("     " + f"{'intent, by what (link)':<52}" + " ".join(f"{n:<14}" for n in names))
    for k, rule in enumerate(drivers[0]["rules"] if drivers else []):
        title = f"{rule['intent']}: {rule['by']} ({rule['link']})"
        print("     " + f"{title:<52}" + " ".join(f"{verdict(d['rules'][k]):<14}" for d in drivers))
    rows = (("receive queues", "rx_queues_max"), ("MTU at most", "mtu_max"), ("group frames", "group_frames"))
    for title, key in rows:
        cells = (str(d[key]).removeprefix("as ").replace(" group", "") for d in drivers)
        print("     " + f"{title:<52}" + " ".join(f"{c:<14}" for c in cells))
    for d in drivers:
        reasons = {}
        for r in d["rules"]:
            if not r["created"]:
                reasons.setdefault(r["validate_error"] or r["create_error"], []).append(f"{r['intent']} by {r['by']}")
            elif r["remove_error"]:
                reasons.setdefault(r["remove_error"], []).append(f"{r['intent']} by {r['by']}")
        for words, rules in reasons.items():
            print(f"     {d['driver']}: \"{words}\": {'all' if len(rules) == len(d['rules']) else '; '.join(rules)}")
    print(f"     {path}")


# ---- the dpdk fabric ----------------------------------------------------------------------------


class Pair(Lab):
    """Two nodes with a device each, and `pando` on them."""

    def setup(self, devices, mtu=1500, more="", fabric=""):
        lines = ["cluster: nics", f"run_dir: {self.space.path('run')}", "vm: {ram_mib: 16, vcpus: 2}", "nodes:"]
        for n, device in enumerate(devices):
            lines.append(f"- {{id: {n}, name: n{n}, device: '{device}'{more.format(n + 1)}}}")
        lines.append(f"fabric: {{type: dpdk, mtu: {mtu}{fabric}}}")
        lines.append("transport: {rto_min_us: 20000, rto_max_us: 400000, dead_ms: 5000}")
        self.path = self.config("c.yaml", "\n".join(lines) + "\n")
        self.pando = cl.find_program(self.build, "pando")

    def argv(self, command, node, *rest):
        return [self.pando, *command.split(), "--config", self.path, "--node", str(node), *map(str, rest)]

    def echo(self, node=1):
        self.start("echo", *self.argv("echo", node))
        there = lambda: any("answers over" in line for line in self.lines) or not self.group.alive()
        self.group.wait_until(there, time.monotonic() + START_SECONDS)

    def json(self, command, node, *rest):
        p = subprocess.run(self.argv(command, node, *rest, "--json"), capture_output=True, text=True,
                           timeout=COMMAND_SECONDS, check=False)
        self.lines += [f"{command}: {line}" for line in p.stderr.splitlines()]
        return (json.loads(p.stdout) if p.stdout else {}) | {"status": p.returncode}

    def there_and_back(self, pings, sizes):
        """Questions, messages and their answers."""
        self.echo()
        r = self.json("ping", 0, 1, "--count", pings, "--interval", 0.2)
        if r["status"] or r["host"]["n"] < pings - 1 or r["message"]["n"] < pings - 1:
            return f"ping: {r}", ""
        note = f"ping {r['host']['p50_us']:.0f} us" if "p50_us" in r.get("host", {}) else ""
        r = self.json("bench rtt", 0, 1, "--seconds", 0.1, "--sizes", ",".join(map(str, sizes)))
        if r["status"] or any(s["unanswered"] or not s["n"] for s in r["sizes"]):
            return f"bench rtt: {r}", ""
        for p in self.group.alive():
            p.send(signal.SIGTERM)
        bad = not self.wait_all() or [p.name for p in self.group.processes if p.status != 0]
        return (f"ended badly: {bad}" if bad else None), note

    def refuses(self, pattern):
        """`pando ping` of node 0 ends with this in its words."""
        p = subprocess.run(self.argv("ping", 0, 1), capture_output=True, text=True, timeout=COMMAND_SECONDS,
                           check=False)
        good = p.returncode == 2 and re.search(pattern, p.stderr)
        return None if good else f"status {p.returncode}, not {pattern!r}: {p.stderr[-400:]}"


def nic_pair(kind, build):
    """Two processes on two cards, back to back: a page is one frame, where the card carries it."""
    with Pair(build) as p:
        p.setup(CARDS[kind], mtu=9000)
        return shown(p, p.there_and_back(4, (8, 62, 1400, 9000)))


def shown(p, result):
    if result[0]:
        print("\n".join("       " + line for line in p.lines[-20:]))
    return result


def interface_address(name):
    """The MAC address of an interface, None if there is none of the name."""
    try:
        with open(f"/sys/class/net/{name}/address", encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return None


def bridge_taps(stop):
    """The far ends of two TAPs into a bridge, with other addresses than the ports have, as soon as they come; again
    when one is made anew."""
    for name in ("ptap0", "ptap1"):
        workspace.ip("link", "del", name, check=False)
    workspace.ip("link", "del", "pbr", check=False)
    workspace.ip("link", "add", "pbr", "type", "bridge", "mcast_snooping", "0")
    workspace.ip("link", "set", "pbr", "up")
    while not stop.wait(0.05):
        for n in (0, 1):
            name, address = f"ptap{n}", f"06:00:00:00:00:0{n}"
            # Looked at each time: a driver that is still starting gives the interface the port's own address after us,
            # and a bridge keeps for itself what comes to an address of its ports.
            if interface_address(name) not in (None, address):
                workspace.ip("link", "set", name, "address", address, check=False)
            if os.path.isdir(f"/sys/class/net/{name}") and not os.path.exists(f"/sys/class/net/{name}/master"):
                workspace.ip("link", "set", name, "master", "pbr", check=False)
    workspace.ip("link", "del", "pbr", check=False)


def tap_pair(build):
    """The same on TAPs, joined by a bridge; no hardware, no hugepages."""
    if not os.path.exists("/dev/net/tun"):
        raise outcome.Skipped("this kernel has no TAP")
    stop = threading.Event()
    joiner = threading.Thread(target=bridge_taps, args=(stop,))
    with Pair(build) as p:
        p.setup(("net_tap0,iface=ptap0", "net_tap1,iface=ptap1"))
        joiner.start()
        try:
            return shown(p, p.there_and_back(6, (8, 62, 1400, 9000)))
        finally:
            stop.set()
            joiner.join()


def words_for_newcomers(build):
    """Devices that cannot be had, each with what to do."""
    cases = [
        (("0000:ff:1f.7", "0000:ff:1f.6"), {}, r"there is no PCI device 0000:ff:1f\.7 here"),
        (("net_nonsense0", "net_nonsense1"), {}, r"device net_nonsense0: DPDK cannot make it .*librte-net"),
        (("net_null0", "net_null1"), {"mtu": 1400, "more": ", address: 192.0.2.{}", "fabric": ", encapsulation: udp"},
         r"device net_null0 has no interface of the kernel's \(driver net_null\).*encapsulation: ethernet"),
        (("eth0", "eth1"), {}, r"nodes\[0\]\.device: 'eth0'.*PCI address"),
    ]
    wrong = []
    for devices, more, pattern in cases:
        with Pair(build) as p:
            p.setup(devices, **more)
            wrong.append(p.refuses(pattern))
    return "; ".join(filter(None, wrong)) or None


def words_for_cards(build):
    """The same where there are cards: one that the kernel drives; no hugepages."""
    first, second = CARDS["e1000e"]
    bind = os.path.join(ROOT, "tests/lab/nic_bind.sh")
    wrong = []
    with Pair(build) as p:
        p.setup((first, second))
        subprocess.run([bind, "kernel", first], check=True)
        wrong.append(p.refuses(rf"device {first} has the kernel's driver e1000e and is interface \w+, DPDK needs vfio"))
        subprocess.run([bind, "vfio-pci", first], check=True)
    with Pair(build) as p:
        p.setup((first, second))
        with open("/proc/sys/vm/nr_hugepages", "r+", encoding="ascii") as f:
            pages = f.read()
            f.seek(0)
            f.write("0")
            f.flush()
            wrong.append(p.refuses(rf"a NIC on PCI \({first}\) needs 64 MiB of free hugepages"))
            f.seek(0)
            f.write(pages)
    return "; ".join(filter(None, wrong)) or None


@dataclasses.dataclass
class OnCards(Options):
    """A run over two cards."""

    def config(self, run_dir, cluster, device):
        text = super().config(run_dir, cluster, device).replace("type: shm", "type: dpdk")
        for n, card in enumerate(CARDS["e1000e"]):
            text = text.replace(f"name: n{n},", f"name: n{n}, device: '{card}',")
        return text


def guest_on_cards(build):
    """A bare-metal guest over two nodes whose frames pass through emulated cards, by DMA."""
    lines = []
    # As the lab's other guests (kvm_tests.py): a page stays for many exits' time, and so does who waits.
    o = OnCards(guest="counters", cmdline="iters=100 nap_us=5000 wait_s=360", vcpus=2, ram=32, hold_us=5000,
                dead_ms=20000, timeout=400)
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        result = c.run()
        port = c.read_json("summary0.json").get("port", {})
    if result.passed:
        return None, f"{port.get('tx_frames')} frames sent, {port.get('rx_frames')} received by node 0"
    print("\n".join("       " + line for line in lines[-20:]))
    return f"the guest did not pass: status {result.status}, {result.died}"


# ---- who does what in a running cluster ---------------------------------------------------------


def show(fabric, build):
    """`pando offload show` of a cluster that runs: counts in software what comes over a wire, and says so."""
    text, asked = {}, {}

    def look(c):
        # From this side, as `pando offload show` does; and as the parameter of a telemetry command.
        p = subprocess.run([cl.find_program(build, "pando"), "offload", "show", "--run-dir", c.space.path("run")],
                           capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        text.update(out=p.stdout, err=p.stderr, status=p.returncode)
        asked.update(json.loads(ask(telemetry(c, 0), "/pando/offload")))

    lines, result = [], cl.Result()
    with cl.Cluster(Options(fabric=fabric, nodes=2, vcpus=2, ram=32), build,
                    on_line=lambda p, s, line: lines.append(f"{p.name}: {line}")) as c:
        c.start(cl.find_guest(build, "pingpong"))
        seen = lambda: result.status is not None or any("guest |" in line or "pingpong" in line for line in lines)
        c.group.wait_until(seen, time.monotonic() + START_SECONDS)
        if any("not in this build" in line for line in lines):
            raise outcome.Skipped("this build has no AF_XDP")
        time.sleep(0.3)
        look(c)
    counts = {i["intent"]: i for i in asked.get("intents", []) if i["intent"].startswith("count")}
    wire = fabric not in ("shm", "memif")
    bad = []
    if text.get("status") or "node 0" not in text.get("out", ""):
        bad.append(f"show: {text}")
    if asked.get("rules") != [] or any(i["by"] == "hardware" and i["intent"] != "group" for i in asked["intents"]):
        bad.append("rules without a NIC")
    if wire != bool(counts) or any(i["by"] != "software" or not i["reason"] for i in counts.values()):
        bad.append(f"counts: {counts}")
    if wire and not sum(i["frames"] for i in counts.values()):
        bad.append(f"nothing was counted: {counts}")
    return f"{bad}: {asked}" if bad else None


# ---- all of it ----------------------------------------------------------------------------------


def host_cases(args):
    build = args.build
    yield "offload/conformance ethernet", functools.partial(conformance, build, "ethernet", BACKENDS)
    yield "offload/conformance udp4", functools.partial(conformance, build, "udp4", BACKENDS)
    yield "offload/table virtual", functools.partial(table, build, args.table, VIRTUAL, {})
    yield "offload/tap pair", functools.partial(tap_pair, build)
    yield "offload/words", functools.partial(words_for_newcomers, build)
    for fabric in ("shm", "af_packet", "af_xdp"):
        yield f"offload/show {fabric}", functools.partial(show, fabric, build)


def lab_cases(args):
    build = args.build
    takes = {"net_tap": 12, "net_e1000_igb": 4}
    yield "offload/lab words", functools.partial(words_for_cards, build)
    yield "offload/lab conformance ethernet", functools.partial(conformance, build, "ethernet", LAB_BACKENDS, True)
    yield "offload/lab conformance udp4", functools.partial(conformance, build, "udp4", LAB_BACKENDS, True)
    devices = [cards[0] for cards in CARDS.values()] + ["net_tap0,iface=ptap0"]
    yield "offload/lab table", functools.partial(table, build, args.table, devices, takes)
    for kind in CARDS:
        yield f"offload/lab {kind} pair", functools.partial(nic_pair, kind, build)
    if args.full:
        yield "offload/lab guest on e1000e", functools.partial(guest_on_cards, build)


def lab_half(args):
    """The lab's cases, run there; their table is merged into ours."""
    more = ("--full " if args.full else "") + (f"--only '{args.only}'" if args.only else "")
    status = in_lab.run("offload", LAB_JOB.format(build=args.build, more=more),
                        LAB_SECONDS_FULL if args.full else LAB_SECONDS, args, nics=LAB_NICS, modules=LAB_MODULES)
    found = os.path.join(in_lab.place("offload"), "table.json")
    if os.path.exists(found):
        with open(found, encoding="utf-8") as f:
            merge(args.table, json.load(f))
    if not args.full:
        outcome.report(args.tally, "offload/lab guest on e1000e", "skip", 0, "with --full: minutes under emulation")
    return status


def left_out():
    raise outcome.Skipped("only by name or with --full: ./dev test offload")


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--only", default="", help="a part of a case's name")
    parser.add_argument("--full", action="store_true", help="a guest over two cards as well")
    parser.add_argument("--host", action="store_true", help="not the part in the lab VM: it is said to be skipped")
    parser.add_argument("--table", help="file for what drivers take")
    parser.add_argument("--in-lab", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.table = args.table or os.path.join(ROOT, "out", "offload-table.json")
    if args.in_lab:
        for cards in CARDS.values():
            subprocess.run([os.path.join(ROOT, "tests/lab/nic_bind.sh"), "vfio-pci", *cards], check=True)
    cases = [(n, t) for n, t in (lab_cases if args.in_lab else host_cases)(args) if args.only in n]
    results = [outcome.run(args.tally, *case) for case in cases]
    if args.in_lab:
        return outcome.status(results)
    if args.host:
        outcome.run(args.tally, "offload/lab", left_out)
        return 0 if all(results) else 3
    status = lab_half(args) if not args.only or "lab" in args.only else 0
    if not args.only or "table" in args.only:
        print_table(args.table)
    return status or (0 if all(results) else 3)


if __name__ == "__main__":
    sys.exit(main())
