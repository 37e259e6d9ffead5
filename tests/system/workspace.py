# SPDX-License-Identifier: BSD-3-Clause
"""What a run leaves on the machine while it lives: a directory (BASE) and network namespaces.

Both carry the owner's process id and start time, so that the next run can tell what a killed run
left behind and remove it.
"""
import os
import shutil
import signal
import subprocess
import time


def choose_base():
    """Under /run where that is a tmpfs, as nearly everywhere, so that the shared-memory fabric
    never meets a disk.
    """
    with open("/proc/mounts", encoding="utf-8") as f:
        mounts = [line.split()[1:3] for line in f]
    on_disk = ["/run", "tmpfs"] not in mounts and ["/dev/shm", "tmpfs"] in mounts
    return "/dev/shm/pando-test" if on_disk else "/run/pando-test"


BASE = choose_base()
PREFIX = "pando-t"
INTERFACE = "pando0"  # in every node's namespace
ADDRESS = "10.99.0."  # of its interface, and the node's number from 1 on


def start_time(pid):
    """Start time of a process in clock ticks since boot, or None: pid and start time name it for
    good.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return int(f.read().rsplit(b")", 1)[1].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def ip(*args, check=True):
    return subprocess.run(("ip",) + args, check=check, capture_output=True, text=True)


def namespaces():
    try:
        return [n for n in os.listdir("/run/netns") if n.startswith(PREFIX)]
    except FileNotFoundError:
        return []


def parse_owner(name):
    """'<pid>-<start>-<n>' to (pid, start), or None."""
    parts = name.split("-")
    return (
        (int(parts[0]), int(parts[1]))
        if len(parts) >= 3 and parts[0].isdigit() and parts[1].isdigit()
        else None
    )


def owner_lives(name):
    owner = parse_owner(name)
    return owner is not None and start_time(owner[0]) == owner[1]


def remove_namespace(name):
    ip("netns", "del", name, check=False)


def kill_leftovers(directory):
    """Ends processes that a dead run recorded in its directory and that still are the same
    processes.
    """
    try:
        with open(os.path.join(directory, "processes"), encoding="ascii") as f:
            lines = f.read().split("\n")
    except OSError:
        return []
    killed = []
    for line in lines:
        fields = line.split()
        if len(fields) == 2 and start_time(fields[0]) == int(fields[1]):
            os.kill(int(fields[0]), signal.SIGKILL)
            killed.append(int(fields[0]))
    return killed


def clean_stale():
    """Removes what dead runs left behind; returns what was removed, in words."""
    removed = []
    for name in os.listdir(BASE) if os.path.isdir(BASE) else []:
        if not owner_lives(name):
            directory = os.path.join(BASE, name)
            removed += [f"process {pid}" for pid in kill_leftovers(directory)]
            shutil.rmtree(directory, ignore_errors=True)
            removed.append(directory)
    for name in namespaces():
        if not owner_lives(name[len(PREFIX) :]):
            remove_namespace(name)
            removed.append(f"namespace {name}")
    return removed


class Workspace:
    """Directory and namespaces of one run."""

    count = 0

    def __init__(self):
        Workspace.count += 1
        pid = os.getpid()
        self.tag = f"{pid}-{start_time(pid)}-{Workspace.count}"
        self.directory = os.path.join(BASE, self.tag)
        os.makedirs(self.directory, mode=0o700)
        self.netns = []

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def record(self, pid):
        with open(self.path("processes"), "a", encoding="ascii") as f:
            f.write(f"{pid} {start_time(pid)}\n")

    def add_namespace(self, what):
        name = f"{PREFIX}{self.tag}-{what}"
        ip("netns", "add", name)
        self.netns.append(name)
        ip("-n", name, "link", "set", "lo", "up")
        return name

    def make_segment(self, nodes, mtu):
        """One namespace a node with interface pando0, all on one Ethernet segment: a veth pair for
        two nodes, a bridge in a namespace of its own for more. Returns the nodes' namespaces."""
        names = [self.add_namespace(f"n{n}") for n in range(nodes)]
        mtu = str(mtu)
        if nodes == 2:
            ip(
                "-n",
                names[0],
                "link",
                "add",
                INTERFACE,
                "mtu",
                mtu,
                "type",
                "veth",
                "peer",
                "name",
                INTERFACE,
                "mtu",
                mtu,
                "netns",
                names[1],
            )
        elif nodes == 1:  # a node alone still opens its interface: the other end goes nowhere
            ip(
                "-n",
                names[0],
                "link",
                "add",
                INTERFACE,
                "mtu",
                mtu,
                "type",
                "veth",
                "peer",
                "name",
                "far",
                "mtu",
                mtu,
            )
            ip("-n", names[0], "link", "set", "far", "up")
        else:
            hub = self.add_namespace("br")
            ip("-n", hub, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
            ip("-n", hub, "link", "set", "br0", "up")
            for n, name in enumerate(names):
                ip(
                    "-n",
                    hub,
                    "link",
                    "add",
                    f"port{n}",
                    "mtu",
                    mtu,
                    "type",
                    "veth",
                    "peer",
                    "name",
                    INTERFACE,
                    "mtu",
                    mtu,
                    "netns",
                    name,
                )
                ip("-n", hub, "link", "set", f"port{n}", "master", "br0", "up")
        for n, name in enumerate(names):
            ip("-n", name, "addr", "add", f"{ADDRESS}{n + 1}/24", "dev", INTERFACE)
            ip("-n", name, "link", "set", INTERFACE, "up")
        self.wait_carrier(names)
        return names

    @staticmethod
    def wait_carrier(names):
        deadline = time.monotonic() + 5
        for name in names:
            while "LOWER_UP" not in ip("-n", name, "link", "show", INTERFACE).stdout:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{INTERFACE} in namespace {name} has no carrier after 5 s")
                time.sleep(0.02)

    def remove(self):
        for name in self.netns:
            remove_namespace(name)
        self.netns = []
        shutil.rmtree(self.directory, ignore_errors=True)
        try:
            os.rmdir(BASE)  # the last one
        except OSError:
            pass
