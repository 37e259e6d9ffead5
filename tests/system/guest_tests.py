# SPDX-License-Identifier: BSD-3-Clause
"""`./dev test system`: Debian's kernel over several nodes under Debian's QEMU and `pando run`, on this
machine's KVM or, where that is none by hardware, each case in a fresh lab VM; tests/linux/over_nodes.py
does the work. In the lab VM the CPUs of other nodes come up from userspace (over_nodes.py --slow)."""
import dataclasses
import functools
import os
import sys
import time

import outcome

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "linux"))
import image  # noqa: E402
import over_nodes  # noqa: E402
import place as places  # noqa: E402


@dataclasses.dataclass
class Case:
    homes: str  # node of each vCPU
    jobs: str
    seconds: int  # in the lab VM
    full: bool = False  # only with --full
    nodes: int = 2
    cpu: str = "qemu64,+tsc-deadline"
    devices: bool = False  # a disk and a network interface
    more: tuple = ()  # further arguments of over_nodes.py
    fails: str = ""  # in the guest, which has to say this; the rest has to be as ever

    def words(self, place):
        words = [f"--nodes={self.nodes}", f"--homes={self.homes}", f"--jobs={self.jobs}", f"--qemu=-cpu {self.cpu}"]
        words += [] if self.devices else ["--bare"]
        return words + list(self.more) + (["--slow"] if place.lab else [])


UNDISCIPLINED = ("--skew=5000000:50000", "--undisciplined", "--words=tsc=reliable")
XAPIC = "qemu64,-x2apic,+tsc-deadline"
CASES = {
    "2-nodes": Case("0,0,1,1", "show,threads", 1200),
    "memory-elsewhere": Case("0", "show,threads,clock,smc,disk,net", 900, devices=True, more=("--ranges=0,256",)),
    "1-node": Case("0", "show,threads,clock,smc,disk,net", 300, full=True, nodes=1, devices=True),
    "4-nodes": Case("0,1,2,3", "show,threads", 1800, full=True, nodes=4, more=("--mem=512",)),
    "clock": Case("0,1", "clock", 600, full=True, more=("--skew=10000000:50000",)),
    "clock-off": Case("0,1", "clock", 600, full=True, more=UNDISCIPLINED, fails="job clock: steps back in"),
    "memory-order": Case("0,1", "litmus,smc", 900, full=True),
    "shootdown": Case("0,1", "ipi", 900, full=True),
    "hotplug": Case("0,1", "hotplug", 900, full=True),
    "devices": Case("0,1", "disk,net", 900, full=True, devices=True),
    "storm": Case("0,1", "storm", 900, full=True, devices=True),
    "microvm": Case("0,1", "show,threads", 600, full=True, more=("--machine=microvm",)),
    "xapic": Case("0,1", "show,threads", 600, full=True, cpu=XAPIC),
    "loss": Case("0,1", "show,threads", 900, full=True, more=("--loss=1",)),
    "af_xdp": Case("0,1", "show,threads", 900, full=True, more=("--fabric=af_xdp", "--loss=1")),
    "stress": Case("0,1", "stress", 1500, full=True, more=("--stress",)),
    "reboot": Case("0,1", "show", 900, full=True, more=("--reboot",)),
}


def console(line):
    """What people want to see live: everything but the two kernels' own lines."""
    if not line.removeprefix("guest| ").lstrip().startswith("["):
        print("     " + line, flush=True)


def traffic(result):
    """Faults and messages of all nodes, for the line of the result."""
    faults, messages = (over_nodes.total(result["nodes"], *what) for what in (("faults", "n"), ("messages", "tx")))
    return f"userspace after {result['userspace_s']} s of guest time, {faults} page faults, {messages} coherence messages"


def run_case(name, case, place, build):
    out = os.path.join(places.lab.CACHE, "linux-" + name)
    try:
        places.prepare(build, "stress" if "--stress" in case.more else "small")
    except image.ImageError as e:
        return str(e), ""
    result, wrong = places.run(place, case.words(place), out, case.seconds, build, console)
    if case.fails:
        if wrong and case.fails in wrong and result and not result["broken"]:
            return None, wrong
        return f"not '{case.fails}': {(result or {}).get('broken') or wrong or 'it passed'}", ""
    return wrong, traffic(result) if result and not wrong else ""


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--only", default="", help="a part of a case's name")
    parser.add_argument("--full", action="store_true", help="all of them")
    args = parser.parse_args()
    build, start, place = os.path.abspath(args.build), time.monotonic(), places.Place()
    print(f"     in the lab VM: {place.why}" if place.lab else f"     on this machine's KVM: {place.why}")
    try:
        places.prepare(build)
    except image.ImageError as e:
        outcome.report(args.tally, "system/image", "fail", time.monotonic() - start, str(e))
        return 3
    missing = places.missing(place)
    if missing:
        outcome.report(args.tally, "system", "skip", time.monotonic() - start, missing)
        return 0
    results = []
    for name, case in CASES.items():
        if args.only not in name:
            continue
        if case.full and not args.full and not args.only:
            outcome.report(args.tally, f"system/{name}", "skip", 0, "only with --full: it takes minutes")
            continue
        test = functools.partial(run_case, name, case, place, build)
        results.append(outcome.run(args.tally, f"system/{name}", test))
    return outcome.status(results)


if __name__ == "__main__":
    sys.exit(main())
