# SPDX-License-Identifier: BSD-3-Clause
"""Which results of which bench are drawn how. A new bench's results are drawn without a line here: histograms as
distributions, values as bars, a page section each; a line here gives them a title, an order and words.
"""
import re

import charts
from charts import FLOOR, OURS, PEER

# Words for parts of a result's name; what is not here is shown as it is, with spaces.
WORDS = {
    "shm": "Pando, shared memory", "memif": "Pando, memif", "af_packet": "Pando, af_packet", "af_xdp": "Pando, AF_XDP",
    "raw_shm": "shared memory alone", "raw_memif": "memif alone", "raw_af_packet": "af_packet alone",
    "raw_af_xdp": "AF_XDP alone", "tcp_spin": "TCP, spinning", "tcp_block": "TCP, blocking", "udp_spin": "UDP, spinning",
    "ucx_tcp": "UCX over TCP", "ucx_shm": "UCX, shared memory", "giantvm": "GiantVM-style, sleeping",
    "giantvm_spin": "GiantVM-style, spinning", "read": "read", "write_modified": "write of a modified page",
    "handover": "handed to and fro", "uffd_spin": "local fault, polled", "uffd_yield": "local fault, yielding",
    "minor_shared": "read", "minor_modified": "write", "wp_upgrade": "upgrade", "one_way": "one way",
}  # fmt: skip
PEERS = re.compile(r"/(tcp_\w+|udp_\w+|ucx_\w+|giantvm\w*|giantvm-\w+)(/|$)")
FLOORS = re.compile(r"^floor/|/raw_\w+(/|$)|^noise/")


class Figure:
    """bench: whose results; names: patterns of theirs, in order; title and text for people; parts: which parts of the
    name make the label, with `after` behind it; kind: distribution or bars, the latter of results of one unit."""

    def __init__(self, key, bench, names, title, text, parts=slice(1, 2), kind="distribution", unit=None,
                 after=""):
        self.key, self.bench, self.title, self.text, self.parts, self.kind = key, bench, title, text, parts, kind
        self.patterns = [re.compile(n + r"$") for n in names]
        self.unit, self.after = unit, after

    def rows(self, results):
        """Those results that belong to it, in order."""
        want = [r for r in results if ("buckets" in r) == (self.kind == "distribution")
                and (self.unit is None or r["unit"] == self.unit)]  # fmt: skip
        out = []
        for pattern in self.patterns:
            out += [r for r in want if pattern.match(r["name"]) and r not in out]
        return out

    def label(self, row):
        return words_of(row["name"].split("/")[self.parts]) + self.after


def words_of(parts):
    return ", ".join(WORDS.get(p, p.replace("_", " ")) for p in parts) or "all"


def role_of(row):
    if PEERS.search(row["name"]):
        return PEER
    return FLOOR if FLOORS.search(row["name"]) else OURS


WIRE = ("af_xdp", "af_packet", "udp_spin", "tcp_spin", "ucx_tcp", "tcp_block")
MEMORY = ("shm", "memif", "raw_shm", "ucx_shm")
FIGURES = (
    Figure("rtt-wire", "rtt", [f"rtt/{v}/64" for v in WIRE], "64 bytes there and back, over one link of the kernel's",
           "Two processes in two network namespaces, one veth pair; all variants take turns in the same run."),
    Figure("rtt-memory", "rtt", [f"rtt/{v}/64" for v in MEMORY], "64 bytes there and back, in shared memory",
           "Two processes on one machine. “Alone” is the fabric without Pando's transport."),
    Figure("fetch", "rtt", [f"fetch/{v}/4096/9000" for v in ("shm", *WIRE)], "A page of 4 KiB fetched",
           "64 bytes ask, 4096 bytes answer; MTU 9000."),
    Figure("fault", "fault", [r"fault/.*", r"floor/uffd_spin/.*"], "What a guest waits for a page of another node",
           "Time stamps inside the guest, around one access. “Local fault” is userfaultfd with no network: the floor.",
           slice(1, None)),
    Figure("ipi", "ipi", [r"ipi/.*"], "An interrupt from a vCPU of one node to one of another",
           "One way, by the guest's clock; alone, and while other vCPUs storm.", slice(1, None)),
    Figure("io", "io", [r"io/.*"], "A device access from a node that has no device",
           "There and back to the node of the VMM, as the guest sees it.", slice(1, None)),
    Figure("loss", "rtt", [r"loss/(af_xdp|af_packet|tcp_spin)/0", r"loss/(af_xdp|af_packet|tcp_spin)/[1-9]\d*"],
           "Small messages when frames are lost", "An open loop over a wire that loses none, and one in a hundred.",
           slice(1, None), after=" ppm lost"),
    Figure("wire", "rtt", [r"wire/.*"], "Bytes of a frame at the device", "The shortest Ethernet frame has 60, without FCS.",
           kind="bars", unit="bytes"),
    Figure("stream", "stream", [r"stream/\w+/9000"], "Pages one after the other, MTU 9000",
           "4 KiB pages a second; TCP is the kernel's.", kind="bars", unit="pages/s"),
    Figure("stream-core", "stream", [r"stream/\w+/9000/core"], "The same for a second of CPU time of both sides",
           "A side that polls uses its core up even while it waits.", kind="bars", unit="pages/core_s"),
    Figure("noise", "noise", [r"noise/.*"], "The noise floor of this machine",
           "Gaps of a loop that only looks at the clock, a line for each CPU: a tail that is here is not Pando's."),
)  # fmt: skip


def draw(figure, rows):
    if figure.kind == "distribution":
        return charts.distribution(rows, figure.label, role_of)
    return charts.bars(rows, figure.label, role_of, lambda r: f"{charts.number(r['median'])} {r['unit']}")


DRAWN_MAX = 9  # curves that can be told apart


def others(bench, results, taken):
    """Figures of what no line above wants: by the first part of the name, and by unit."""
    groups = {}
    for r in results:
        if r["name"] in taken:
            continue
        groups.setdefault((r["name"].split("/")[0], "buckets" in r, r["unit"]), []).append(r)
    out = []
    for (head, curves, unit), rows in groups.items():
        for i in range(0, len(rows), DRAWN_MAX if curves else 24):
            part = rows[i:i + (DRAWN_MAX if curves else 24)]
            names = [re.escape(r["name"]) for r in part]
            f = Figure(f"{bench}-{len(out)}", bench, names, f"{head.replace('_', ' ')}, {unit}", "",
                       slice(1, None), "distribution" if curves else "bars", unit)  # fmt: skip
            out.append((f, part))
    return out


def of_bench(bench, results):
    """[(figure, rows)] of a bench's results: those above in their order, then what is left."""
    out, taken = [], set()
    for f in FIGURES:
        rows = f.rows(results) if f.bench == bench else []
        if rows:
            out.append((f, rows))
            taken |= {r["name"] for r in rows}
    if any(f.bench == bench for f in FIGURES):
        # Further sizes and shapes of what is drawn are in the table of all results.
        heads = {n.split("/")[0] for n in taken}
        taken |= {r["name"] for r in results if r["name"].split("/")[0] in heads}
    return out + others(bench, [r for r in results if drawable(r)], taken)


def drawable(row):
    return row.get("n", 1) > 0
