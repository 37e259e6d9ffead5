# SPDX-License-Identifier: BSD-3-Clause
"""What is wrong with a cluster is refused in words that name it, and quickly; what is wrong with
frames changes nothing and is counted."""
import argparse
import functools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

import cluster as cl
import outcome
import procs
import summary
import workspace
from options import Options

REFUSAL_SECONDS = 15
JOIN_MS = 1500
ETHERTYPE = 0x88B5


class Lab:
    """A workspace and a group of processes with everything they said."""

    def __init__(self, build):
        self.build, self.lines = build, []

    def __enter__(self):
        workspace.clean_stale()
        self.space, self.group = workspace.Workspace(), procs.Group()
        os.mkdir(self.space.path("run"), 0o700)
        return self

    def __exit__(self, *exc):
        self.group.end_all()
        self.group.close()
        self.space.remove()

    def config(self, name, text):
        path = self.space.path(name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def standard(self, name, o, extra=""):
        text = o.config(self.space.path("run"), "bad", workspace.INTERFACE)
        text = text.replace("dead_ms:", f"join_timeout_ms: {JOIN_MS}, dead_ms:")
        return self.config(name, text + extra)

    def start(self, name, *argv, env=None, netns=None):
        on_line = lambda p, s, text: self.lines.append(f"{p.name}: {text}")
        return procs.Process(self.group, name, list(argv), env=env, netns=netns, on_line=on_line)

    def dataplane(self, config, node, netns=None):
        program = cl.find_program(self.build, "pando-dataplane")
        return self.start(
            f"dataplane{node}", program, "--config", config, "--node", str(node), netns=netns
        )

    def wait_all(self, seconds=REFUSAL_SECONDS):
        return self.group.wait_until(lambda: not self.group.alive(), time.monotonic() + seconds)

    def refused(self, *patterns):
        """All ended by themselves, none well, and together they said all of this; or what is
        wrong.
        """
        if not self.wait_all():
            return f"still alive after {REFUSAL_SECONDS} s: " + ", ".join(
                p.name for p in self.group.alive()
            )
        for p in self.group.processes:
            if p.status == 0:
                return f"{p.name} ended with status 0"
            if p.status < 0:
                return f"{p.name} {procs.exit_words(p.status)}"
        text = "\n".join(self.lines)
        for pattern in patterns:
            if not re.search(pattern, text, re.I):
                return f"nobody said '{pattern}'"
        return None


def unknown_key(lab):
    lab.dataplane(lab.standard("c.yaml", Options(), "colour: red\n"), 0)
    return lab.refused(r"c\.yaml.*unknown key 'colour'")


def out_of_range(lab):
    lab.dataplane(lab.standard("c.yaml", Options(mtu=100)), 0)
    return lab.refused(r"fabric\.mtu.*'100'.*576")


def no_such_cpu(lab):
    text = Options().config(lab.space.path("run"), "bad", workspace.INTERFACE)
    text = text.replace("name: n0", "name: n0, vcpu_cores: [0, 1023]")
    lab.dataplane(lab.config("c.yaml", text), 0)
    return lab.refused(r"vcpu_cores: CPU 1023: this host has \d+")


def no_config(lab):
    lab.dataplane(lab.space.path("nothing.yaml"), 0)
    return lab.refused(r"nothing\.yaml.*no such file")


def no_such_node(lab):
    lab.dataplane(lab.standard("c.yaml", Options()), 7)
    return lab.refused(r"node '7'.*0\.\.1")


def node_never_comes(lab):
    lab.dataplane(lab.standard("c.yaml", Options()), 0)
    return lab.refused(r"n1|node 1")


def stopped_while_joining(lab):
    """Who waits for the others obeys a signal at once, and leaves nothing."""
    lab.dataplane(lab.standard("c.yaml", Options()), 0)
    there = lambda: os.path.exists(lab.space.path("run", "node0.sock")) or not lab.group.alive()
    lab.group.wait_until(there, time.monotonic() + REFUSAL_SECONDS)
    lab.group.wait_until(lambda: False, time.monotonic() + 0.3)  # it joins
    lab.group.processes[0].send(signal.SIGTERM)
    left = os.listdir(lab.space.path("run")) if lab.wait_all(JOIN_MS / 2000) else ["process"]
    return f"left: {left}" if left else lab.refused(r"stopped by a signal")


def different_configuration(lab):
    lab.dataplane(lab.standard("a.yaml", Options(ram=64)), 0)
    lab.dataplane(lab.standard("b.yaml", Options(ram=65)), 1)
    return lab.refused(r"configuration")


def same_node_twice(lab):
    config = lab.standard("c.yaml", Options())
    lab.dataplane(config, 0)
    time.sleep(0.3)
    lab.dataplane(config, 0)
    return lab.refused(r"already|in use|running")


def no_device(lab):
    text = lab.standard("c.yaml", Options(fabric="af_packet"))
    lab.dataplane(text, 0)  # the host itself has no pando0
    return lab.refused(r"pando0")


def interface_has_a_program(lab):
    """A second cluster on the interface: af_xdp says who has it, auto takes the next rung and says why."""
    namespaces = lab.space.make_segment(2, 9000)
    for i, fabric in enumerate(("af_xdp", "af_xdp", "auto")):
        with open(lab.standard(f"{i}.yaml", Options(fabric=fabric)), encoding="utf-8") as f:
            text = f.read().replace(lab.space.path("run"), lab.space.path(f"run{i}"))
        os.mkdir(lab.space.path(f"run{i}"), 0o700)
        lab.dataplane(lab.config(f"{i}.yaml", text.replace("cluster: bad", f"cluster: bad{i}")), 0, namespaces[0])
        time.sleep(0.4)
        if any("not in this build" in line for line in lab.lines):
            raise outcome.Skipped("this build has no AF_XDP")
    return lab.refused(
        rf"af_xdp fabric: {workspace.INTERFACE} has .*XDP program",
        rf"fabric: af_packet on {workspace.INTERFACE}; not af_xdp fabric: {workspace.INTERFACE} has .*XDP program",
        r"did not come within transport\.join_timeout_ms",
    )


def without_dataplane(lab):
    lab.start(
        "vcpud",
        cl.find_program(lab.build, "pando-vcpud"),
        "--socket",
        lab.space.path("run", "node1.sock"),
    )
    return lab.refused(r"node1\.sock")


def vmm_without_dataplane(lab):
    env = dict(
        os.environ,
        LD_PRELOAD=cl.find_program(lab.build, "libpando-kvm.so"),
        PANDO_SOCKET=lab.space.path("run", "node0.sock"),
    )
    lab.start(
        "vmm",
        cl.find_program(lab.build, "pando-testvmm"),
        "--ram",
        "16",
        cl.find_guest(lab.build, "hello"),
        env=env,
    )
    return lab.refused(r"node0\.sock")


def no_kvm(lab):
    """/dev/kvm is hidden from the VMM by a mount namespace of its own."""
    if not os.path.exists("/dev/kvm"):
        raise outcome.Skipped("there is no /dev/kvm to hide")
    script = 'mount --bind /dev/null /dev/kvm && exec "$@"'
    lab.start(
        "vmm",
        "unshare",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        cl.find_program(lab.build, "pando-testvmm"),
        "--ram",
        "16",
        cl.find_guest(lab.build, "hello"),
    )
    return lab.refused(r"/dev/kvm")


def hugepages_demanded(lab):
    with open("/proc/meminfo", encoding="ascii") as f:
        if not re.search(r"HugePages_Free:\s+0$", f.read(), re.M):
            raise outcome.Skipped("there are free hugepages")
    config = lab.standard("c.yaml", Options(fabric="memif"))
    with open(config, encoding="utf-8") as f:
        text = f.read().replace("fabric:\n", "fabric:\n  hugepages: on\n")
    lab.dataplane(lab.config("h.yaml", text), 0)
    return lab.refused(r"hugepages")


def nic_without_hugepages(lab):
    """Nothing demands them but the NIC, which is said before anything is opened, and by pando doctor in the same words."""
    with open(lab.standard("c.yaml", Options(fabric="memif")), encoding="utf-8") as f:
        text = f.read().replace("type: memif", "type: dpdk\n  hugepages: 'off'")
    config = lab.config("h.yaml", re.sub(r"name: n(\d)", r"name: n\1, device: '0000:ff:1f.\1'", text))
    lab.dataplane(config, 0)
    words = r"a NIC on PCI \(0000:ff:1f\.0\) needs 64 MiB of free hugepages: .*, and fabric\.hugepages is off"
    wrong = lab.refused(words + r"; remedy: fabric\.hugepages: auto")
    doctor = subprocess.run([cl.find_program(lab.build, "pando-doctor"), "--config", config, "--node", "0"],
                            capture_output=True, text=True, check=False)
    if doctor.returncode != 1 or not re.search("missing +" + words + "\n +remedy: fabric", doctor.stdout):
        wrong = wrong or f"pando doctor, status {doctor.returncode}, does not say it: {doctor.stdout[-400:]}"
    return wrong


def noise(rng):
    """A frame that must change nothing: random, cut off, of another version, or nearly a good
    one.
    """
    body = bytearray(rng.randbytes(rng.choice((0, 1, 23, 24, 46, 60, 200, 1400))))
    if len(body) >= 24 and rng.random() < 0.7:
        body[0] = 1 | rng.choice((0, 4, 8, 24, 32, 64))
        body[1] = 6 | 0x60
        body[2], body[3] = rng.randrange(3), rng.randrange(3)
        body[4:6] = (len(body) - 24 << 2 | rng.randrange(4)).to_bytes(2, "little")
    return b"\xff" * 6 + b"\x02\0\0\0\0\x66" + ETHERTYPE.to_bytes(2, "big") + bytes(body)


def send_noise(seed, seconds):
    """In a child, inside the first node's namespace: everything goes to the second node."""
    rng = random.Random(seed)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind((workspace.INTERFACE, 0))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            s.send(noise(rng))
        time.sleep(0.01)


def noisy_segment(build):
    """A guest runs correctly while a stranger on the segment sends garbage, which is counted by
    reason.
    """
    o = Options(fabric="af_packet", guest="counters", cmdline="iters=2000", ram=64)
    lines = []
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        make, c.noise = c.space.make_segment, None

        def make_and_disturb(nodes, mtu):
            names = make(nodes, mtu)
            argv = [
                "ip",
                "netns",
                "exec",
                names[0],
                sys.executable,
                os.path.abspath(__file__),
                "--noise",
            ]
            parent = os.getpid()
            c.noise = subprocess.Popen(argv, preexec_fn=lambda: procs.in_child(parent, -1))
            return names

        c.space.make_segment = make_and_disturb
        try:
            result = c.run()
        finally:
            if c.noise:
                c.noise.kill()
                c.noise.wait()
    if not result.passed:
        return f"{result.died or result.status}; " + "; ".join(lines[-5:])
    drops = summary.merged_counts(result.summaries[1:], "drops")
    return None if sum(drops.values()) > 20 else f"the garbage was not counted: {drops}"


CASES = (
    unknown_key,
    out_of_range,
    no_such_cpu,
    no_config,
    no_such_node,
    node_never_comes,
    stopped_while_joining,
    different_configuration,
    same_node_twice,
    no_device,
    interface_has_a_program,
    without_dataplane,
    vmm_without_dataplane,
    no_kvm,
    hugepages_demanded,
    nic_without_hugepages,
    noisy_segment,
)


def run_case(case, build):
    if case is noisy_segment:
        return noisy_segment(build)
    with Lab(build) as lab:
        wrong = case(lab)
        if wrong:
            print("\n".join("       " + line for line in lab.lines[-20:]))
        return wrong


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--only", default="", help="a part of a case's name")
    parser.add_argument("--noise", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.noise:
        send_noise(1, 60)
        return 0
    tests = {f"bad/{c.__name__}": functools.partial(run_case, c, args.build) for c in CASES}
    return outcome.status(
        [outcome.run(args.tally, *test) for test in tests.items() if args.only in test[0]]
    )


if __name__ == "__main__":
    sys.exit(main())
