# SPDX-License-Identifier: BSD-3-Clause
"""./dev doctor: what a newcomer will hit on this machine, each with its remedy.

A check returns (state, text, remedy). OK: fine. NOTE: works, with a cost that the text names.
MISSING: the demo or the tests on real KVM cannot run here. Exit status 1 if anything is MISSING.
"""
import ctypes
import fcntl
import os
import re
import resource
import shutil
import sys

import uffd_probe
import workspace
import xdp_probe

OK, NOTE, MISSING = "ok", "note", "missing"
KVM_GET_API_VERSION, KVM_CREATE_VM = 0xAE00, 0xAE01


def read(path, default=""):
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return default


def check_root():
    if os.geteuid() == 0:
        return OK, "root", ""
    return (
        MISSING,
        f"user {os.geteuid()} is not root",
        "run as root (sudo ./dev doctor): namespaces, memlock, kernel page faults",
    )


def check_packages():
    missing = os.environ.get("PANDO_MISSING_PACKAGES", "").split()
    if missing:
        return MISSING, "packages missing: " + " ".join(missing), "./dev setup"
    return OK, "all packages for building and testing are installed", ""


def check_cpu():
    if os.uname().machine != "x86_64":
        return MISSING, f"machine {os.uname().machine}", "an x86_64 host"
    return OK, "x86_64", ""


def check_kernel():
    release = os.uname().release
    m = re.match(r"(\d+)\.(\d+)", release)
    if m and (int(m[1]), int(m[2])) >= (6, 8):
        return OK, f"kernel {release}", ""
    return MISSING, f"kernel {release} is older than 6.8", uffd_probe.NEW_KERNEL


def check_uffd():
    try:
        return OK, "userfaultfd: " + uffd_probe.run(), ""
    except uffd_probe.Missing as e:
        return MISSING, str(e.args[0]), e.args[1]
    except OSError as e:
        return MISSING, f"userfaultfd: {e}", uffd_probe.NEW_KERNEL


def check_xdp_tools():
    missing = [t for t in ("clang", "bpftool") if not shutil.which(t, path=os.environ.get("PATH", "") + ":/usr/sbin")]
    if missing:
        return (
            NOTE,
            f"{' and '.join(missing)} not installed: Pando is built without the AF_XDP fabric",
            "./dev setup",
        )
    return OK, "clang and bpftool: the XDP programs can be built", ""


def check_xdp():
    try:
        return OK, "XDP: " + xdp_probe.run(), ""
    except xdp_probe.Missing as e:
        return NOTE, f"no AF_XDP fabric here: {e.args[0]}", e.args[1]


def check_kvm():
    if not os.path.exists("/dev/kvm"):
        return (
            MISSING,
            "there is no /dev/kvm",
            "modprobe kvm_intel or kvm_amd; in a VM, turn nested virtualisation on at its host; "
            "in a container, pass the device in",
        )
    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as e:
        return MISSING, f"/dev/kvm cannot be opened: {e.strerror}", "run as root, or join group kvm"
    try:
        version = fcntl.ioctl(fd, KVM_GET_API_VERSION)
        vm = fcntl.ioctl(fd, KVM_CREATE_VM, 0)
        os.close(vm)
    except OSError as e:
        return (
            MISSING,
            f"/dev/kvm opens, but a VM cannot be created: {e.strerror}",
            "turn virtualisation on in the firmware; see dmesg | grep -i kvm",
        )
    finally:
        os.close(fd)
    return OK, f"/dev/kvm, API version {version}, a VM can be created", ""


def check_virtualisation():
    flags = re.search(r"^flags\s*:(.*)$", read("/proc/cpuinfo"), re.M)
    words = flags[1].split() if flags else []
    for word, name in (("vmx", "Intel VT-x"), ("svm", "AMD-V")):
        if word in words:
            npt = (
                read("/sys/module/kvm_amd/parameters/npt", "Y")
                if word == "svm"
                else read("/sys/module/kvm_intel/parameters/ept", "Y")
            )
            if npt in ("Y", "1"):
                return OK, f"{name} with nested paging", ""
            return (
                NOTE,
                f"{name} without nested paging: shadow page tables",
                "load kvm_amd with npt=1 or kvm_intel with ept=1",
            )
    if os.path.isdir("/sys/module/kvm_pvm"):
        return (
            NOTE,
            "/dev/kvm is PVM (no vmx or svm): shadow paging, slow supervisor code, so only guests "
            "with static page tables (those in tests/kvm/guests) run here; stock Linux does not",
            "a host with VT-x or AMD-V for other guests",
        )
    if os.path.exists("/dev/kvm"):
        return (
            NOTE,
            "the CPU shows neither vmx nor svm, yet there is a /dev/kvm",
            "a host with VT-x or AMD-V",
        )
    return (
        MISSING,
        "the CPU shows neither vmx nor svm",
        "turn virtualisation on in the firmware, or use another host",
    )


def check_eptad():
    value = read("/sys/module/kvm_intel/parameters/eptad")
    if value in ("Y", "1"):
        return (
            NOTE,
            "kvm_intel.eptad=1: the CPU's walks of guest page tables count as writes, so shared "
            "page tables move between nodes",
            "modprobe -r kvm_intel; modprobe kvm_intel eptad=0 (compare both)",
        )
    return OK, "kvm_intel.eptad is off" if value else "kvm_intel is not in use (eptad)", ""


def check_hugepages():
    total, free = int(read("/proc/sys/vm/nr_hugepages", "0") or 0), 0
    m = re.search(r"HugePages_Free:\s+(\d+)", read("/proc/meminfo"))
    free = int(m[1]) if m else 0
    mounted = " hugetlbfs " in read("/proc/mounts")
    if free and mounted:
        return OK, f"{free} of {total} hugepages free, hugetlbfs mounted", ""
    return (
        NOTE,
        f"hugepages: {free} free, hugetlbfs {'mounted' if mounted else 'not mounted'}: memif and "
        "af_packet do without (--no-huge: more TLB misses); shm needs none",
        "sysctl vm.nr_hugepages=128; mount -t hugetlbfs none /dev/hugepages",
    )


def check_cores():
    cores = len(os.sched_getaffinity(0))
    if cores >= 6:
        return OK, f"{cores} CPUs", ""
    return (
        NOTE,
        f"{cores} CPUs: the demo's dataplanes and vCPUs take turns; keep poll.mode: sleep, and do "
        "not read latencies as those of a cluster",
        "a machine with a CPU for each dataplane and vCPU",
    )


def check_netns():
    if not shutil.which("ip"):
        return MISSING, "ip (iproute2) is not installed", "./dev setup"
    name = f"{workspace.PREFIX}{os.getpid()}-{workspace.start_time(os.getpid())}-doctor"
    steps = (
        ("netns", "add", name),
        ("-n", name, "link", "add", "br0", "type", "bridge"),
        ("-n", name, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"),
    )
    try:
        for step in steps:
            r = workspace.ip(*step, check=False)
            if r.returncode:
                return (
                    NOTE,
                    f"ip {' '.join(step)}: {r.stderr.strip()}: no demo with --fabric af_packet "
                    "here; shm and memif work",
                    "root, and a kernel with network namespaces, veth and bridge",
                )
    finally:
        workspace.remove_namespace(name)
    return OK, "network namespaces, veth and bridge can be made", ""


def network_cards():
    """(address, driver, whether it has an IOMMU group) of each PCI device that is one."""
    top = "/sys/bus/pci/devices"
    for address in sorted(os.listdir(top)) if os.path.isdir(top) else []:
        if read(f"{top}/{address}/class").startswith("0x02"):
            driver = os.path.basename(os.path.realpath(f"{top}/{address}/driver"))
            has_driver = os.path.exists(f"{top}/{address}/driver")
            yield address, driver if has_driver else "no driver", os.path.exists(f"{top}/{address}/iommu_group")


def check_nics():
    cards = list(network_cards())
    words = ", ".join(f"{a} ({d})" for a, d, _ in cards)
    ready = [a for a, d, group in cards if d == "mlx5_core" or (d == "vfio-pci" and group)]
    if ready:
        return OK, "network cards that DPDK can have (fabric.type dpdk): " + ", ".join(ready), ""
    if not cards:
        return NOTE, "no network card on PCI: fabric.type dpdk has only virtual devices here", ""
    if not any(group for _, _, group in cards):
        return (
            NOTE,
            f"network cards: {words}; without IOMMU groups DPDK gets none (fabric.type dpdk)",
            "switch the IOMMU on in the firmware, and by intel_iommu=on or amd_iommu=on for the kernel",
        )
    return (
        NOTE,
        f"network cards: {words}; none is DPDK's (fabric.type dpdk)",
        "modprobe vfio-pci; dpdk-devbind.py --bind=vfio-pci ADDRESS takes one from the kernel",
    )


def rdma_ports():
    """(device, port, its state, the kernel's interface of its first GID) of each RDMA port."""
    top = "/sys/class/infiniband"
    for device in sorted(os.listdir(top)) if os.path.isdir(top) else []:
        for port in sorted(os.listdir(f"{top}/{device}/ports")):
            at = f"{top}/{device}/ports/{port}"
            yield device, port, read(f"{at}/state").split(": ")[-1], read(f"{at}/gid_attrs/ndevs/0", "no interface")


def check_rdma():
    ports = list(rdma_ports())
    if not ports:
        return (
            NOTE,
            "no RDMA device: no fabric.type verbs here",
            "an RDMA NIC and its kernel driver; to try it: modprobe rdma_rxe; rdma link add rxe0 type rxe netdev INTERFACE",
        )
    words = ", ".join(f"{d} port {p} {s} ({n})" for d, p, s, n in ports)
    if not os.access("/dev/infiniband", os.X_OK):
        return NOTE, f"RDMA: {words}, but there is no /dev/infiniband", "modprobe ib_uverbs"
    try:
        ctypes.CDLL("libibverbs.so.1")
    except OSError:
        return NOTE, f"RDMA: {words}, but libibverbs.so.1 is missing", "apt-get install libibverbs1 ibverbs-providers"
    active = any(s == "ACTIVE" for _, _, s, _ in ports)
    return (OK if active else NOTE), f"RDMA: {words}", "" if active else "ip link set the interface up"


def check_memlock():
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if os.geteuid() == 0 or hard == resource.RLIM_INFINITY:
        return OK, "locked memory is not limited", ""
    return (
        NOTE,
        f"locked memory is limited to {hard >> 20} MiB; fabric.type verbs pins guest RAM, once for each peer",
        "ulimit -l unlimited, or run as root",
    )


def check_swap():
    if len(read("/proc/swaps").split("\n")) > 1:
        return (
            NOTE,
            "there is swap: guest memory that the kernel swaps out makes a page fault slow",
            "swapoff -a while Pando runs",
        )
    return OK, "no swap", ""


def check_shm():
    free = shutil.disk_usage("/run").free >> 20 if os.path.isdir("/run") else 0
    tmpfs = any(line.split()[1:3] == ["/run", "tmpfs"] for line in read("/proc/mounts").split("\n"))
    if free < 64:
        return (
            MISSING,
            f"{free} MiB free in /run",
            "free space there, or set run_dir to another tmpfs",
        )
    if not tmpfs:
        return (
            NOTE,
            "/run is not a tmpfs: the kernel writes the rings of the shared-memory fabric to a disk",
            "mount -t tmpfs tmpfs /run/pando, or set run_dir to a directory in /dev/shm",
        )
    return OK, f"{free} MiB free in /run for the shared-memory fabric", ""


def check_leftovers():
    stale = [
        n for n in workspace.namespaces() if not workspace.owner_lives(n[len(workspace.PREFIX) :])
    ]
    if os.path.isdir(workspace.BASE):
        stale += [n for n in os.listdir(workspace.BASE) if not workspace.owner_lives(n)]
    if stale:
        return NOTE, "left by killed runs: " + ", ".join(stale), "the next ./dev demo removes them"
    return OK, "nothing was left behind by earlier runs", ""


CHECKS = (
    check_root,
    check_packages,
    check_cpu,
    check_kernel,
    check_uffd,
    check_xdp_tools,
    check_xdp,
    check_kvm,
    check_virtualisation,
    check_eptad,
    check_hugepages,
    check_cores,
    check_netns,
    check_nics,
    check_rdma,
    check_memlock,
    check_swap,
    check_shm,
    check_leftovers,
)


def main():
    if sys.argv[1:] == ["--uffd"]:  # for scripts: the last line says why not
        state, text, _ = check_uffd()
        print(text)
        return 0 if state == OK else 1
    colour = {OK: "\033[32m", NOTE: "\033[33m", MISSING: "\033[31m"} if sys.stdout.isatty() else {}
    plain = "\033[0m" if colour else ""
    count = {OK: 0, NOTE: 0, MISSING: 0}
    for check in CHECKS:
        state, text, remedy = check()
        count[state] += 1
        print(f"{colour.get(state, '')}{state:8}{plain} {text}")
        if remedy:
            print(f"         remedy: {remedy}")
    ready = count[MISSING] == 0
    print(
        ("ready" if ready else "not ready")
        + f": {count[OK]} ok, {count[NOTE]} notes, {count[MISSING]} missing"
    )
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
