# SPDX-License-Identifier: BSD-3-Clause
"""What a run is made of, as a value: from a command line, to a command line, to a configuration
file.
"""
import dataclasses
import os
import shlex
import zlib

import workspace

FABRICS = ("shm", "memif", "udp", "af_packet", "af_xdp", "auto")  # udp: on addresses of the loopback interface
IP4_UDP = 28  # bytes in front of a frame inside UDP
ON_THE_WIRE = FABRICS[3:]  # over network interfaces, each node in a namespace of its own
# Engines: the product, and the GiantVM-style baseline with its two receivers (perf/giantvm/README.md).
ENGINES = {"pando": "pando-dataplane", "giantvm": "pando-dataplane-giantvm", "giantvm-spin": "pando-dataplane-giantvm-spin"}
PPM = 10000  # one per cent


@dataclasses.dataclass
class Options:
    nodes: int = 2
    vcpus: int = 4
    engine: str = "pando"
    fabric: str = "shm"  # of a baseline: udp (the loopback interface), or the link of one of ON_THE_WIRE, over TCP
    encapsulation: str = "ethernet"  # or udp, over the interfaces of ON_THE_WIRE
    mtu: int = 9000
    loss: float = 0.0  # per cent, as are the next three
    dup: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    seed: int = 1
    ram: int = 128  # MiB
    resident_pct: int = 0  # of ram, per node; 0: no limit
    poll: str = "sleep"
    homes: str = "interleave"
    check: bool = True
    plain: bool = False  # plain KVM, without Pando: what the guest does on one host
    guest: str = ""  # file, or name of one of ours; "": the demonstration
    cmdline: str = ""
    timeout: int = 120  # seconds for the guest
    # A development machine has fewer cores than a demonstration has threads: seconds of silence
    # are possible there without anybody being dead.
    dead_ms: int = 5000
    sample: int = 64  # spans: one transaction in so many; 0: none
    spans: bool = False  # the dataplanes write their last spans, stamp by stamp
    clock_off_us: int = 0  # a node takes its TSC to be ahead of the one's before it by this, and 10 ppm faster
    pinned: bool = False  # for measuring: threads keep their CPUs, which cores() says
    hold_us: int = 0  # coherence.hold_us, and hold_max_us ten times that; 0: the defaults

    def words(self):
        """The same run as flags: only what differs from the default."""
        words = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            flag = "--" + field.name.replace("_", "-")
            if value == field.default:
                continue
            if field.name == "check":
                words.append("--no-check")
            elif isinstance(value, bool):
                words.append(flag)
            else:
                words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
        return words

    def command(self):
        """The same run as a command to type."""
        return shlex.join(["./dev", "demo", "--bare"] + self.words())

    def resident_mib(self):
        """The limit of each node; rounded up, and never so small that the nodes together cannot
        hold the RAM.
        """
        if not self.resident_pct:
            return 0
        return max(-(-self.ram * self.resident_pct // 100), -(-self.ram // self.nodes))

    @property
    def dataplane(self):
        """The program of the nodes."""
        return ENGINES[self.engine]

    def cores(self, node):
        """A node's CPUs for dataplane, agent and vCPUs: one each where there are as many, else all on one, so that at
        least the nodes do not move about between CPUs."""
        cpus = sorted(os.sched_getaffinity(0))
        vcpus = sum(self.home(v) == node for v in range(self.vcpus))
        each = 2 + -(-self.vcpus // self.nodes)
        if len(cpus) < each * self.nodes:
            one = cpus[node % len(cpus)]
            return one, one, [one]
        mine = cpus[each * node : each * (node + 1)]
        return mine[0], mine[1], mine[2 : 2 + vcpus]

    def home(self, vcpu):
        return vcpu * self.nodes // self.vcpus

    def config(self, run_dir, cluster, device):
        """The cluster's configuration file."""
        ppm = lambda pct: round(pct * PPM)
        tcp = self.engine != "pando"  # by the nodes' addresses, whatever the link
        lines = [
            f"cluster: {cluster}",
            f"run_dir: {run_dir}",
            f"vm: {{ram_mib: {self.ram}, vcpus: {self.vcpus}, homes: {self.homes}}}",
            "nodes:",
        ]
        hold = f", hold_us: {self.hold_us}, hold_max_us: {10 * self.hold_us}" if self.hold_us else ""
        base, extra = divmod(self.ram, self.nodes)
        for n in range(self.nodes):
            node = f"id: {n}, name: n{n}, resident_mib: {self.resident_mib()}"
            if self.clock_off_us and n:
                node += f", clock_offset_us: {n * self.clock_off_us}, clock_drift_ppb: {n * 10000}"
            if self.pinned:
                dataplane, agent, vcpus = self.cores(n)
                node += f", dataplane_core: {dataplane}, agent_core: {agent}, vcpu_cores: {vcpus}"
            if self.homes == "range":
                node += f", range_mib: {base + (n < extra)}"
            if self.fabric in ON_THE_WIRE and tcp:
                node += f", address: {workspace.ADDRESS}{n + 1}"
            elif self.fabric in ON_THE_WIRE:
                node += f", device: {device}"
                if self.encapsulation == "udp":
                    node += f", address: {workspace.ADDRESS}{n + 1}"
            if self.fabric == "udp":
                node += f", address: 127.0.0.{n + 1}"
            lines.append(f"- {{{node}}}")
        lines += [
            "fabric:",
            f"  type: {'udp' if tcp else self.fabric}",
            f"  mtu: {self.mtu - (IP4_UDP if self.encapsulation == 'udp' else 0)}",
            f"  encapsulation: {self.encapsulation}",
            f"  udp_port: {20000 + zlib.crc32(run_dir.encode()) % 10000}",  # two runs at a time do not meet
            f"  faults: {{seed: {self.seed}, "
            f"drop_ppm: {ppm(self.loss)}, duplicate_ppm: {ppm(self.dup)}, "
            f"reorder_ppm: {ppm(self.reorder)}, corrupt_ppm: {ppm(self.corrupt)}}}",
            f"transport: {{heartbeat_ms: 100, dead_ms: {self.dead_ms}}}",
            f"coherence: {{check: {'true' if self.check else 'false'}{hold}}}",
            f"poll: {{mode: {self.poll}}}",
            f"telemetry: {{sample: {self.sample}}}",
        ]
        return "\n".join(lines) + "\n"


def add_arguments(parser):
    """The flags of `./dev demo` that describe a run; dest names are the fields."""
    d = Options()
    add = parser.add_argument
    add(
        "--nodes", type=int, default=d.nodes, metavar="N", help="nodes, 1..64 (default %(default)s)"
    )
    add(
        "--vcpus",
        type=int,
        default=d.vcpus,
        metavar="N",
        help="vCPUs of the guest (default %(default)s)",
    )
    add(
        "--fabric",
        choices=FABRICS,
        default=d.fabric,
        help="what joins the nodes (default %(default)s)",
    )
    add(
        "--encapsulation",
        choices=("ethernet", "udp"),
        default=d.encapsulation,
        help="how interfaces carry frames (default %(default)s)",
    )
    add(
        "--engine",
        choices=tuple(ENGINES),
        default=d.engine,
        help="the product, or a baseline to compare with (default %(default)s)",
    )
    add("--mtu", type=int, default=d.mtu, help="frame size (default %(default)s)")
    for name, what in (
        ("loss", "lost"),
        ("dup", "sent twice"),
        ("reorder", "overtaken"),
        ("corrupt", "corrupted"),
    ):
        add(
            f"--{name}",
            type=float,
            default=0.0,
            metavar="PCT",
            help=f"per cent of the frames {what} (default 0)",
        )
    add(
        "--seed",
        type=int,
        default=d.seed,
        metavar="N",
        help="seed of the fault filter (default %(default)s)",
    )
    add(
        "--ram",
        type=int,
        default=d.ram,
        metavar="MIB",
        help="guest RAM in MiB (default %(default)s)",
    )
    add(
        "--resident-pct",
        type=int,
        default=0,
        metavar="PCT",
        help="what a node may hold, in per cent of the guest RAM (default 0: no limit)",
    )
    add(
        "--poll",
        choices=("busy", "yield", "adaptive", "interrupt", "sleep"),
        default=d.poll,
        help="poll mode (default %(default)s)",
    )
    add(
        "--homes",
        choices=("interleave", "range"),
        default=d.homes,
        help="placement of the directory",
    )
    add(
        "--no-check",
        dest="check",
        action="store_false",
        help="do not check invariants after each step",
    )
    add("--pinned", action="store_true", help="each thread on a CPU of its own, or each node on one where they are few")
    add("--plain", action="store_true", help="plain KVM, without Pando")
    add(
        "--guest",
        default="",
        metavar="FILE",
        help="a multiboot ELF32, or the name of a guest of tests/kvm/guests",
    )
    add("--cmdline", default="", metavar="S", help="the guest's command line")
    add(
        "--dead-ms",
        type=int,
        default=d.dead_ms,
        metavar="MS",
        help="a node that is silent for this long is dead, and the VM stops (default %(default)s)",
    )
    add(
        "--hold-us",
        type=int,
        default=d.hold_us,
        metavar="US",
        help="minimum residency of a granted page (default: the configuration's)",
    )
    add(
        "--sample",
        type=int,
        default=d.sample,
        metavar="N",
        help="one transaction in N is timed stage by stage; 0: none (default %(default)s)",
    )
    add(
        "--clock-off-us",
        type=int,
        default=d.clock_off_us,
        metavar="US",
        help="each node's TSC seems to be ahead of the one's before it by this, and 10 ppm faster (default 0)",
    )
    add("--spans", action="store_true", help="dataplanes write their last spans, stamp by stamp (for tests)")
    add(
        "--timeout",
        type=int,
        default=d.timeout,
        metavar="S",
        help="seconds for the guest (default %(default)s)",
    )


def from_arguments(args):
    names = [f.name for f in dataclasses.fields(Options)]
    return Options(**{n: getattr(args, n) for n in names})


def problem(o):
    """What is wrong with the options, or None."""
    checks = (
        (1 <= o.nodes <= 64, f"--nodes {o.nodes}; allowed: 1..64"),
        (1 <= o.vcpus <= 64, f"--vcpus {o.vcpus}; allowed: 1..64"),
        (
            o.nodes <= o.vcpus or o.plain,
            f"--nodes {o.nodes} with --vcpus {o.vcpus}; allowed: a vCPU on every node",
        ),
        (2 <= o.ram <= 65536, f"--ram {o.ram}; allowed: 2..65536 MiB"),
        (0 <= o.resident_pct <= 100, f"--resident-pct {o.resident_pct}; allowed: 0..100"),
        (576 <= o.mtu <= 9000, f"--mtu {o.mtu}; allowed: 576..9000"),
        (300 <= o.dead_ms <= 600000, f"--dead-ms {o.dead_ms}; allowed: 300..600000"),
        (1 <= o.timeout <= 86400, f"--timeout {o.timeout}; allowed: 1..86400 s"),
    )
    if o.engine != "pando":
        checks += (
            (o.fabric == "udp" or o.fabric in ON_THE_WIRE, f"--fabric {o.fabric} with --engine {o.engine}; allowed: udp, "
             + ", ".join(ON_THE_WIRE) + ": it speaks TCP"),
            (o.encapsulation == "ethernet", f"--encapsulation {o.encapsulation} with --engine {o.engine}; allowed: none"),
            (o.nodes <= 16, f"--nodes {o.nodes} with --engine {o.engine}; allowed: 1..16"),
            (not o.resident_pct, f"--resident-pct {o.resident_pct} with --engine {o.engine}; allowed: 0, it cannot evict"),
            (not (o.loss or o.dup or o.reorder or o.corrupt),
             f"--loss, --dup, --reorder, --corrupt with --engine {o.engine}; allowed: 0, TCP mends them"),
        )
    for ok, words in checks:
        if not ok:
            return words
    for name in ("loss", "dup", "reorder", "corrupt"):
        if not 0 <= getattr(o, name) <= 100:
            return f"--{name} {getattr(o, name):g}; allowed: 0..100 per cent"
    return None
