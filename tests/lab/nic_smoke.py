#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""In the lab VM, started with PAIRS of cards and MODULES: the cards are on their wires and behind the
IOMMU, vfio-pci takes them, and RDMA devices are there. Prints what is wrong; exit status 1 then."""
import os
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PAIRS = ("e1000e", "igb", "virtio-net-pci")
MODULES = ("rdma_rxe", "ib_uverbs")
MARK = "nic_smoke: "  # begins a line that says what is wrong
ETHERTYPE = 0x88B5  # for local experiments
WAIT_SECONDS = 20


def script(name, *words):
    done = subprocess.run([os.path.join(HERE, name), *words], capture_output=True, text=True, check=False)
    return f"{name} {' '.join(words)}: {(done.stdout + done.stderr).strip()}" if done.returncode else None


def device(pci, *names):
    return os.path.join("/sys/bus/pci/devices", pci, *names)


def interface(pci):
    """The kernel's name of a card: a virtio device's is a level further down."""
    for below in ("", *(name for name in os.listdir(device(pci)) if name.startswith("virtio"))):
        if os.path.isdir(device(pci, below, "net")):
            return os.listdir(device(pci, below, "net"))[0]
    raise OSError(f"{pci} has no network interface")


def listener(name):
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
    s.bind((name, ETHERTYPE))
    s.settimeout(1)
    return s


def frame_passes(one, other):
    """From one card to the other; the links take a while to come up."""
    with listener(interface(one)) as a, listener(interface(other)) as b:
        source, target = a.getsockname()[4], b.getsockname()[4]
        frame = target + source + ETHERTYPE.to_bytes(2, "big") + os.urandom(50)
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            try:
                a.send(frame)
                if b.recv(2048) == frame:
                    return True
            except OSError:  # the link is down, or nothing came
                time.sleep(0.2)
    return False


def pair(number):
    """What is wrong with a pair of cards, as they are at boot."""
    one, other = (f"0000:{2 * number + i:02x}:00.0" for i in (1, 2))
    wrong = script("nic_bind.sh", "vfio-pci", one)
    if wrong:
        return wrong
    group = os.path.basename(os.readlink(device(one, "iommu_group")))
    if os.listdir(device(one, "iommu_group", "devices")) != [one]:
        return f"{one} shares its IOMMU group"
    if not os.path.exists("/dev/vfio/" + group):
        return f"{one}: no /dev/vfio/{group}"
    wrong = script("nic_bind.sh", "kernel", one, other)
    if wrong:
        return wrong
    return None if frame_passes(one, other) else f"no frame from {one} to {other}"


def rdma():
    wrong = script("nic_rxe.sh", "2", "4500")
    if wrong:
        return wrong
    for name in ("rxe0", "rxe1"):
        with open(f"/sys/class/infiniband/{name}/ports/1/state", encoding="ascii") as f:
            state = f.read().strip()
        if not state.endswith("ACTIVE"):
            return f"{name}: state {state}"
    return None


def main():
    wrong = [f"{kind}: {words}" for i, kind in enumerate(PAIRS) for words in [pair(i)] if words]
    words = rdma()
    wrong += [f"rdma_rxe: {words}"] if words else []
    for line in wrong:
        print(MARK + line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
