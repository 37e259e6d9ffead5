# SPDX-License-Identifier: BSD-3-Clause
"""./dev demo --bare: bare-metal guests over several nodes on this machine, each one VM, their
console live, a summary at the end. (Without --bare: linux_demo.py.)
"""
import argparse
import json
import os
import signal
import sys
import time

import cluster as cl
import options
import summary

# The demonstration: start-up of all vCPUs, exact totals on contended pages, a verified product,
# interrupts in every form. Each is a guest of tests/kvm/guests; one VM after the other.
SEQUENCE = ("smoke", "counters", "matrix", "ipi")


class Screen:
    """Where people read: standard output, or standard error when the last line of output is to be
    JSON.
    """

    def __init__(self, stream):
        self.stream = stream
        colour = stream.isatty()
        self.bold, self.dim, self.red, self.green, self.plain = (
            ("\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[0m") if colour else ("",) * 5
        )

    def say(self, text=""):
        print(text, file=self.stream, flush=True)

    def line(self, process, stream, text):
        """Live output of a child: the guest's console stands out, the rest is named."""
        if process.name == "vmm" and stream == "out":
            self.say(f"{self.bold}guest |{self.plain} {text}")
        else:
            self.say(f"{self.dim}{process.name:>10} | {text}{self.plain}")


def picture(o):
    """Which vCPU lives where, and what joins the nodes."""
    if o.plain:
        return [f"one KVM on this host, without Pando: vCPUs 0..{o.vcpus - 1}, {o.ram} MiB"]
    boxes = []
    for n in range(o.nodes):
        vcpus = [str(v) for v in range(o.vcpus) if o.home(v) == n]
        limit = f"holds <= {o.resident_mib()} MiB" if o.resident_pct else "holds any page"
        boxes.append(
            [f"node {n}: " + ("VMM" if n == 0 else "pando-vcpud"), "vCPU " + " ".join(vcpus), limit]
        )
    if o.nodes > 6:
        return [
            f"{o.nodes} nodes over {o.fabric}, {o.vcpus} vCPUs dealt out in equal runs, {o.ram} MiB"
        ]
    width = max(len(t) for b in boxes for t in b)
    edge = "   ".join("+" + "-" * (width + 2) + "+" for _ in boxes)
    lines = [edge]
    for row in range(3):
        lines.append("   ".join(f"| {b[row]:{width}} |" for b in boxes))
    lines.append(edge)
    joint = (width + 4) // 2
    lines.append("   ".join(" " * joint + "|" + " " * (width + 3 - joint) for _ in boxes))
    faults = [
        f"{name} {getattr(o, name):g} %"
        for name in ("loss", "dup", "reorder", "corrupt")
        if getattr(o, name)
    ]
    text = (
        f" {o.fabric}, frames of {o.mtu} bytes" + (": " + ", ".join(faults) if faults else "") + " "
    )
    lines.append(text.center((width + 7) * len(boxes) - 3, "="))
    return lines


def run_guest(o, build, screen):
    """One VM. Returns (Result, words for what is wrong or None)."""
    with cl.Cluster(
        o, build, on_line=screen.line, trace=lambda w: screen.say(f"{screen.dim}{w}{screen.plain}")
    ) as c:

        def stop(signum, frame):
            c.stopping = f"the demonstration was stopped by {signal.Signals(signum).name}"

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        result = c.run()
        tails = [(p.name, p.tail) for p in c.group.processes]
    return result, verdict(result, tails)


def verdict(result, tails):
    if result.died:
        return f"{result.died}; the rest ended after {result.ended_after:.2f} s" + (
            f" but for {', '.join(result.slow)}, which had to be killed" if result.slow else ""
        )
    if result.status == 1:
        return None
    if result.status == 124:
        return "the guest crashed (see vmm's report above)"
    if result.status == 125:
        return "the guest did not end in time"
    if result.status == 123:
        return "the VMM could not set the VM up: " + next(
            (t[-1] for n, t in tails if n == "vmm" and t), ""
        )
    if result.status is not None and result.status & 1:
        return f"the guest reported failure {result.status >> 1} (status {result.status})"
    return f"the VMM exited with status {result.status}"


def show(name, o, result, wrong, screen):
    screen.say()
    for line in summary.text(result, o):
        screen.say("  " + line)
    mark = (
        f"{screen.green}PASS{screen.plain}" if wrong is None else f"{screen.red}FAIL{screen.plain}"
    )
    screen.say(f"{mark} {name} in {result.seconds:.1f} s" + ("" if wrong is None else f": {wrong}"))
    screen.say()


def main():
    parser = argparse.ArgumentParser(prog="./dev demo --bare", description=__doc__)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)  # who asked for it
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object as the last line of standard output"
    )
    options.add_arguments(parser)
    args = parser.parse_args()
    o = options.from_arguments(args)
    given = os.path.join(os.environ.get("PANDO_CWD", ""), o.guest)
    if o.guest and os.path.isfile(given):
        o.guest = given
    screen = Screen(sys.stderr if args.json else sys.stdout)
    wrong_options = options.problem(o)
    if wrong_options:
        parser.error(wrong_options)

    screen.say(
        screen.bold
        + ("One guest on plain KVM" if o.plain else "One guest over several nodes")
        + f"{screen.plain}: {o.vcpus} vCPUs, {o.ram} MiB"
    )
    for line in picture(o):
        screen.say("  " + line)
    screen.say()
    start, runs, ok = time.monotonic(), [], True
    for guest in (o.guest,) if o.guest else SEQUENCE:
        o.guest = guest
        name = os.path.basename(guest)
        screen.say(f"{screen.bold}-- {name}{screen.plain}")
        try:
            result, wrong = run_guest(o, args.build, screen)
        except cl.SetupError as e:
            screen.say(f"{screen.red}FAIL{screen.plain} {name}: {e}")
            runs.append({"guest": name, "result": "fail", "error": str(e)})
            ok = False
            break
        show(name, o, result, wrong, screen)
        runs.append(summary.record(name, o, result, wrong))
        ok = ok and wrong is None
        if not ok:
            break
    seconds = time.monotonic() - start
    screen.say(
        f"{'every guest verified its work' if ok else 'FAILED'}: {len(runs)} run in {seconds:.1f} s"
    )
    if args.json:
        print(
            json.dumps(
                {
                    "schema": 1,
                    "command": "demo",
                    "result": "pass" if ok else "fail",
                    "seconds": round(seconds, 3),
                    "nodes": o.nodes,
                    "vcpus": o.vcpus,
                    "fabric": o.fabric,
                    "runs": runs,
                }
            )
        )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
