#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench rtt: round trips of small messages and of pages, raw and through the transport, beside TCP, UDP and UCX.

All variants in interleaved rounds between two processes: 32 to 512 bytes there and back; 32 bytes in each of the
transport's classes, in shared memory and over the wire (class/...); 64 bytes there and a page back at MTU 9000 and 1500
(fetch/...); small messages of an open loop over a wire without loss and with 1 %; lengths
of frames as captured. Times of the open loop are less the time that one of the two processes did not run; .../all is
with it. raw_FABRIC is the fabric alone, FABRIC the same through RRDP. tcp_spin, tcp_block and udp_spin are the
kernel's sockets (TCP_NODELAY), ucx_tcp and ucx_shm UCX's tagged messages over TCP and over shared memory, spinning.
perf/schema.json says what comes out.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import measured  # noqa: E402
from measured import judged, value  # noqa: E402

SIZES = (32, 64, 128, 256, 512)
FABRICS = ("shm", "memif", "af_packet", "af_xdp")
CLASSES = [f"class/{n}/{c}/32" for n in ("shm", "af_packet", "af_xdp") for c in ("urgent", "request", "data", "bulk")]
IN_ALL = {"seconds": 90, "args": ["--passes", "2", "--rounds", "3"]}
UCX = ("ucx_tcp", "ucx_shm")
KERNEL = ("af_packet", "af_xdp")  # through a kernel's interface, as TCP
PPM = 10000
MINIMUM = 60  # bytes of the shortest Ethernet frame, without FCS


def runs_of(args):
    samples = ("--samples", args.samples)
    loss = ("--ppm", PPM, "--samples", args.samples * 3)
    return (
        ("round trips and pages, MTU 9000", "pando-rtt", (*samples, "--mtu", 9000, "--classes", "--wire"), "fetch/", "/9000"),
        ("pages, MTU 1500", "pando-rtt", (*samples, "--mtu", 1500, "--sizes", "none"), "fetch/", "/1500"),
        (f"an open loop with {PPM / 1e4:g} % loss", "pando-loss", loss, "loss/", ""),
    )


def cost(rounds, what, fabric, tail, peer=None):
    """Of the medians that were measured: what the port by itself takes of a round trip, what the transport adds."""
    own, raw = f"{what}/{fabric}/{tail}", f"{what}/raw_{fabric}/{tail}"
    if own not in rounds or raw not in rounds:
        return ""
    whole, port = rounds.median(own), rounds.median(raw)
    text = (f"of the {whole:.2f} us of {own} the port by itself takes {port:.2f} ({100 * port / whole:.0f} %), the "
            f"transport adds {whole - port:.2f}")  # fmt: skip
    if peer in rounds:
        text += f"; {peer} takes {rounds.median(peer):.2f} us, and the port by itself is {port / rounds.median(peer):.2f} of that"
    return text


def cost_of_loss(rounds, name):
    """What was counted of the open loop: whether it is the loss, or the CPUs, that its tail is of."""
    lossy, clean = f"loss/{name}/{PPM}", f"loss/{name}/0"
    if lossy not in rounds or clean not in rounds:
        return ""
    text = (f"p50 is {rounds.quantile(lossy, 0.5):.0f} us with loss and {rounds.quantile(clean, 0.5):.0f} without, p99 "
            f"{rounds.quantile(lossy, 0.99):.0f} and {rounds.quantile(clean, 0.99):.0f}")  # fmt: skip
    for of, key in (("with", lossy), ("without", clean)):
        n, stalls, excused = (rounds.get(key, k) for k in ("n", "stalls", "stalls_excused"))
        text += f"; {of} loss {stalls} of {n} messages stalled, {excused} of them of a side that did not run"
    if "loss/wire" in rounds:
        text += f"; the wire lost {rounds.get('loss/wire', 'lost')} of {rounds.get('loss/wire', 'forwarded')} frames"
    return text


def better(rounds, names, size, peer, limit):
    """The best of several fabrics against a peer."""
    beside = f"rtt/{peer}/{size}"
    each = [rounds.goal(f"rtt/{n}/{size}", beside, limit, why=cost(rounds, "rtt", n, size, beside)) for n in names]
    return min((g for g in each if g), key=lambda g: g["value"], default=None)


def goals_of(rounds):
    out = []
    for size in SIZES:
        out.append(better(rounds, KERNEL, size, "tcp_spin", 0.55))
        out.append(better(rounds, KERNEL, size, "tcp_block", 0.12))
        out += [better(rounds, [n], size, "tcp_spin", 0.1) for n in ("shm", "memif")]
        out += [rounds.goal(f"rtt/{n}/{size}", f"rtt/raw_{n}/{size}", 1.25, why=cost(rounds, "rtt", n, size)) for n in FABRICS]
    tcp = "fetch/tcp_spin/4096/9000"
    out += [rounds.goal(f"fetch/{n}/4096/9000", tcp, 0.65, why=cost(rounds, "fetch", n, "4096/9000", tcp)) for n in FABRICS]
    out += [rounds.goal(f"loss/{n}/{PPM}", f"loss/{n}/0", 5, key="round_p99", why=cost_of_loss(rounds, n)) for n in KERNEL]
    for name in rounds.names("wire/"):
        if rounds.get(name, "n"):
            most = rounds.get(name, "max")
            out.append(judged(f"{name} : minimum frame", [max(most, MINIMUM) / MINIMUM], 1,
                              why=f"the longest has {most} bytes, {most - MINIMUM} more than fit"))  # fmt: skip
    return [g for g in out if g]


def ratios_of(rounds):
    """Beside UCX, which nothing was asked of: over the same veth, and in the same memory."""
    pairs = (("af_packet", "ucx_tcp"), ("af_xdp", "ucx_tcp"), ("shm", "ucx_shm"))
    names = [(f"rtt/{a}/{n}", f"rtt/{b}/{n}") for a, b in pairs for n in SIZES]
    names += [(f"fetch/{a}/4096/9000", f"fetch/{b}/4096/9000") for a, b in pairs]
    return [r for r in (rounds.ratio(a, b) for a, b in names) if r]


def results_of(rounds):
    out = []
    for name in sorted(rounds.names("rtt/") + rounds.names("fetch/")):
        out.append(rounds.time_row(name, lost=rounds.get(name, "lost")))
    for name in rounds.names("class/"):
        out.append(rounds.time_row(name, lost=rounds.get(name, "lost"), sent=rounds.get(name, "sent")))
    for name in rounds.names("loss/"):
        if name == "loss/wire":
            lost, forwarded = rounds.get(name, "lost"), rounds.get(name, "forwarded")
            out.append(value(name, "frames", [lost], counts={"forwarded": forwarded}))
        elif name.endswith("/all"):
            out.append(rounds.time_row(name))
        else:
            counts = ("unanswered", "stalls", "stalls_excused", "poll_gap_max")
            out.append(rounds.time_row(name, **{key: rounds.get(name, key) for key in counts}))
    for name in rounds.names("wire/"):
        n, low, high = (rounds.get(name, k) for k in ("n", "min", "max"))
        out.append(value(name, "bytes", [low, high] if n else [0], counts={"frames": n}))
    return out


def look_twice(rounds, missing):
    """What makes a number worth nothing, whatever it is."""
    for name in rounds.names("class/"):
        n, sent = rounds.get(name, "n"), rounds.get(name, "sent")
        if sent < n:
            missing.append(f"{name}: {sent} messages left in this class, of {n} questions")
    for name in rounds.names("rtt/") + rounds.names("fetch/") + rounds.names("class/"):
        n, lost = rounds.get(name, "n"), rounds.get(name, "lost")
        if lost * 100 > n + lost:
            missing.append(f"{name}: {lost} of {n + lost} questions had no answer")
    for name in rounds.names("wire/"):
        if rounds.get(name, "n") == 0:
            missing.append(f"{name}: no such frame was captured")
    for name in (n for n in rounds.names("loss/") if n != "loss/wire" and not n.endswith("/all")):
        if rounds.get(name, "unanswered"):
            missing.append(f"{name}: {rounds.get(name, 'unanswered')} messages had no answer")
    if "loss/wire" in rounds and rounds.get("loss/wire", "lost") == 0:
        missing.append("loss: the wire lost nothing")


def remarks_on(rounds):
    """Where the tail is the scheduler's, a ratio of tails says little."""
    out = []
    for name in (f"loss/{n}/0" for n in FABRICS):
        if name not in rounds:
            continue
        p50, p99 = rounds.quantile(name, 0.5), rounds.quantile(name, 0.99)
        stalls = rounds.get(name, "stalls")
        if p99 > 10 * p50 or stalls:
            out.append(f"{name}: without any loss p99 is {p99 / p50:.0f} times p50, and {stalls} messages stalled: the "
                       "CPUs were not these processes' own, so a comparison of tails proves nothing")  # fmt: skip
    return out


def table(results):
    print(f"{'result':<30}{'n':>9}{'p50':>10}{'spread of p50':>22}{'p99':>11}  us")
    for r in (r for r in results if r["unit"] == "us"):
        spread, counts = f"{r['p50_low']:.2f}..{r['p50_high']:.2f}", r.get("counts", {})
        more = f"  p99.9 {r['p999']:.1f}" if "p999" in r and r["name"].startswith("loss/") else ""
        if "stalls" in counts:
            more += f"; {counts['stalls']} stalls, {counts['stalls_excused']} of a side that did not run"
        print(f"{r['name']:<30}{r['n']:>9}{r['p50']:>10.2f}{spread:>22}{r['p99']:>11.2f}{more}")
    for r in (r for r in results if r["unit"] == "frames"):
        print(f"{r['name']:<30} {r['median']:g} of {r['counts']['forwarded']} frames lost, in all rounds together")
    for r in (r for r in results if r["unit"] == "bytes"):
        ether = max(r["high"], MINIMUM)
        print(f"{r['name']:<30}{r['counts']['frames']:>9} frames of {r['low']}..{r['high']} bytes at the device, "
              f"{ether} on Ethernet")  # fmt: skip


def main():
    args = measured.arguments("rtt", __doc__, "samples", 1000, 100, 300000, "of a variant a round")
    rounds, missing, start = measured.Rounds(), [], time.monotonic()
    measured.run_passes("rtt", args, runs_of(args), rounds, missing)
    for name in FABRICS:
        if f"rtt/{name}/64" not in rounds:
            missing.append(f"{name}: left out; standard error says why")
    missing += [f"{n}: left out; standard error says why" for n in CLASSES if n not in rounds]
    missing += [f"{n}: left out: libucx-dev was not there when it was built, or standard error says why"
                for n in UCX if f"rtt/{n}/64" not in rounds]  # fmt: skip
    look_twice(rounds, missing)
    measured.report("rtt", args, start, results_of(rounds), goals_of(rounds), missing, table, remarks_on(rounds),
                    ratios=ratios_of(rounds))  # fmt: skip
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
