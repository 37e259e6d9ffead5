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
    "raw_af_xdp": "AF_XDP alone", "tcp_spin": "TCP, spinning", "tcp_block": "TCP, blocking",
    "udp_spin": "UDP, spinning", "ucx_tcp": "UCX over TCP", "ucx_shm": "UCX, shared memory",
    "giantvm": "GiantVM-style, sleeping",
    "giantvm_spin": "GiantVM-style, spinning", "read": "read", "write_modified": "write of a modified page",
    "write_shared": "write of what others share", "first_touch": "first touch, far home",
    "handover": "handed to and fro", "uffd_spin": "local fault, polled", "uffd_yield": "local fault, yielding",
    "minor_shared": "read", "minor_modified": "write", "wp_upgrade": "upgrade", "one_way": "one way",
}  # fmt: skip
PEERS = re.compile(r"/(tcp_\w+|udp_\w+|ucx_\w+|giantvm\w*|giantvm-\w+)(/|$)")
FLOORS = re.compile(r"^floor/|/raw_\w+(/|$)|^noise/|^io/local/")


class Figure:
    """bench: whose results; names: patterns of theirs, in order; title and text for people; parts: which parts of the
    name make the label, with `after` behind it, said in `words` before WORDS; kind: distribution, of times, or bars, of
    results of one unit."""

    def __init__(self, key, bench, names, title, text, parts=slice(1, 2), kind="distribution", unit=None,
                 after="", words=None):
        self.key, self.bench, self.title, self.text, self.parts, self.kind = key, bench, title, text, parts, kind
        self.patterns = [re.compile(n + r"$") for n in names]
        self.unit, self.after, self.words = unit, after, words or {}

    def rows(self, results):
        """Those results that belong to it, in order."""
        want = [r for r in results if ("buckets" in r) == (self.kind == "distribution")
                and (self.unit is None or r["unit"] == self.unit)]  # fmt: skip
        out = []
        for pattern in self.patterns:
            out += [r for r in want if pattern.match(r["name"]) and r not in out]
        return out

    def label(self, row):
        return words_of(row["name"].split("/")[self.parts], self.words) + self.after


def words_of(parts, words=None):
    """A part that is key=number is said as both: nodes=2, 2 nodes; nodes=1, 1 node."""
    words = {**WORDS, **(words or {})}
    turned = (re.sub(r"^vcpus=", "vCPUs=", p) for p in parts)
    turned = (re.sub(r"^(\w+?)s?=1$", r"1 \1", p) for p in turned)
    turned = (re.sub(r"^(\w+)=([\d.]+)$", r"\2 \1", p) for p in turned)
    return ", ".join(words.get(p, p.replace("_", " ")) for p in turned) or "all"


# What ends a stage of a span (dataplane/span/span.h), for people.
STAGES = {
    "read": "read by the dataplane", "asked": "step: whom to ask",
    "request_tx": "request given to the port", "home_rx": "request at its home", "home_tx": "home has forwarded it",
    "owner_rx": "forward at the owner", "owner_done": "owner's page protected or unmapped",
    "owner_tx": "data given to the port", "data_rx": "data here",
    "sharer_rx": "invalidation at the last sharer", "sharer_done": "last sharer's page unmapped",
    "sharer_tx": "acknowledgement given to the port", "acked": "last acknowledgement here",
    "mapped": "page mapped", "resumed": "the vCPU runs again", "icr": "vCPU has left the guest",
    "tx": "given to the port", "rx": "at the other node", "posted": "posted to the vCPU",
    "taken": "taken by its thread",
    "exit": "vCPU has left the guest", "exit_tx": "given to the port", "given": "given to the VMM's thread",
    "handled": "VMM has handled it", "done_read": "read by the dataplane", "done_tx": "answer given to the port",
    "done_rx": "answer here", "back": "given to the vCPU's thread", "entered": "vCPU in the guest again",
}  # fmt: skip


SPANS = {
    "read": "a remote read fault", "read_three_nodes": "a remote read fault over three nodes",
    "write": "a remote write fault", "upgrade": "an upgrade of a shared page",
    "upgrade_two_sharers": "an upgrade of a page of two other nodes", "ipi": "an interrupt between nodes",
    "pio": "port I/O far from the VMM", "mmio": "memory-mapped I/O far from the VMM",
}  # fmt: skip


def stage_words(row):
    part = row["name"].split("/")[-1]
    return STAGES.get(part, part.replace("_", " "))


def role_of(row):
    if PEERS.search(row["name"]):
        return PEER
    return FLOOR if FLOORS.search(row["name"]) else OURS


WIRE = ("af_xdp", "af_packet", "udp_spin", "tcp_spin", "ucx_tcp", "tcp_block")
SIDES = ("af_xdp", "af_packet", "giantvm_spin", "giantvm")
STORMS = {"alone": "alone", "spin": "beside spinning vCPUs", "page": "under a storm of pages",
          "mmio": "under a storm of device reads"}  # fmt: skip
BASELINE = ("Same guests, same link. The baseline is a re-implementation of published behaviour in Pando's engine, not "
            "GiantVM: perf/giantvm/README.md says what it copies.")  # fmt: skip
# What lies under: a local fault of the kind with no network, and the fastest of our ports by itself, on two nodes' link.
UNDER_ALL = {**dict.fromkeys(("minor_shared", "minor_modified", "wp_upgrade"), "local fault, no network"),
             "64": "AF_XDP alone, there and back"}  # fmt: skip


def under_all(kind):
    return [f"floor/uffd_spin/{kind}", "rtt/raw_af_xdp/64"]


MEMORY = ("shm", "memif", "raw_shm", "ucx_shm")
FIGURES = (
    Figure("rtt-wire", "rtt", [f"rtt/{v}/64" for v in WIRE], "64 bytes there and back, over one kernel network link",
           "Two processes in two network namespaces, one veth pair; all variants take turns in the same run."),
    Figure("rtt-memory", "rtt", [f"rtt/{v}/64" for v in MEMORY], "64 bytes there and back, in shared memory",
           "Two processes on one machine. “Alone” is the fabric without Pando's transport."),
    *(Figure(f"class-{n}", "rtt", [f"class/{n}/.*"], f"32 bytes there and back, by class, {title}",
             "Classes have windows and acknowledgements of their own; urgent leaves first where several wait.", slice(2, 3))
      for n, title in (("shm", "in shared memory"), ("af_xdp", "over AF_XDP"), ("af_packet", "over af_packet"))),
    Figure("fetch", "rtt", [f"fetch/{v}/4096/9000" for v in ("shm", *WIRE)], "A page of 4 KiB fetched",
           "64 bytes ask, 4096 bytes answer; MTU 9000."),
    Figure("fault", "fault", [r"fault/.*", r"floor/uffd_spin/.*"], "What a guest waits for a page of another node",
           "Time stamps inside the guest, around one access. “Local fault” is userfaultfd with no network: the floor.",
           slice(1, None)),
    Figure("span-total", "span", [r"span/\w+/total"], "The whole of each, from its first stage to its last",
           "", words=SPANS),
    *(Figure(f"giantvm-{key}", "giantvm", [*(f"giantvm/{what}/{v}" for v in SIDES), *floors],
             f"Beside a GiantVM-style baseline: {title}", BASELINE, slice(-1, None), words=UNDER_ALL)
      for key, what, title, floors in (
          ("read", "read", "a page that another node has modified is read", under_all("minor_shared")),
          ("write", "write", "a page that another node has modified is written", under_all("minor_modified")),
          ("upgrade-1", "upgrade/1", "a page that one other node has read is written", under_all("wp_upgrade")),
          ("upgrade-3", "upgrade/3", "a page that three other nodes have read is written", under_all("wp_upgrade")),
          ("ipi", "ipi", "an interrupt one way", []))),
    Figure("upgrade", "upgrade", [r"upgrade/sharers=\d+"], "A page that others have read is written",
           "Every sharer must give its copy up; as many nodes as there are CPUs for.", slice(1, None)),
    Figure("upgrade-messages", "upgrade", [r"upgrade/messages/.*"], "Messages for one upgrade, by sharers",
           "As the dataplanes count them.", slice(2, None), "bars", "messages"),
    Figure("upgrade-modelled", "upgrade", [r"upgrade/modelled/.*"], "Where CPUs run out: an upgrade's time, modelled",
           "Hatched: computed from measured parts, not measured.", slice(2, None), "bars", "us"),
    Figure("ipi", "ipi", [r"ipi/alone", r"ipi/.*"], "An interrupt from a vCPU of one node to one of another",
           "One way, by the guest's clock; calm and stormy blocks take turns.", slice(1, None), words=STORMS),
    Figure("io", "io", [r"io/.*"], "A device access from a node that has no device",
           "There and back to the node of the VMM, as the guest sees it.", slice(1, None)),
    *(Figure(f"scale-{mix}", "scale", [f"scale/{mix}/.*"], f"Page faults a second as vCPUs are added: {title}",
             "Four vCPUs on two nodes, from both in turns; more than CPUs share them.", slice(2, None), "bars", "faults/s")
      for mix, title in (("read", "reading"), ("mixed", "half of them writes"),
                         ("steal", "writes of each other's pages"))),
    *(Figure(f"kernels-{k}", "kernels", [f"kernels/{k}/.*/ops"], f"An application over nodes: {title}",
             "Results are verified.", slice(2, 3), "bars", "ops/s")
      for k, title in (("matrix", "matrix product"), ("sort", "sort"), ("join", "hash join"), ("stencil", "stencil"))),
    Figure("loss", "rtt", [r"loss/(af_xdp|af_packet|tcp_spin)/0", r"loss/(af_xdp|af_packet|tcp_spin)/[1-9]\d*"],
           "Small messages when frames are lost", "An open loop over a wire that loses none, and one in a hundred.",
           slice(1, None), after=" ppm lost"),
    Figure("wire", "rtt", [r"wire/.*"], "Bytes of a frame at the device",
           "The shortest Ethernet frame has 60, without FCS.", kind="bars", unit="bytes"),
    Figure("stream", "stream", [r"stream/\w+/9000"], "Pages one after the other, MTU 9000",
           "4 KiB pages a second; TCP is the kernel's.", kind="bars", unit="pages/s"),
    Figure("stream-core", "stream", [r"stream/\w+/9000/core"], "The same for a second of CPU time of both sides",
           "A side that polls uses its core up even while it waits.", kind="bars", unit="pages/core_s"),
    Figure("capture-frames", "capture", [r"capture/frame/.*"], "Bytes of each message on the wire",
           "As a capture between two nodes has them: bars up to the median, whiskers over all.", slice(2, None),
           "bars", "bytes"),
    Figure("capture", "capture", [r"capture/(?!frame/).*"], "Bytes of whole transactions on the wire",
           "With and without the page, by MTU.", slice(1, None), "bars", "bytes"),
    Figure("noise", "noise", [r"noise/.*"], "The noise floor of this machine",
           "Gaps of a loop that only looks at the clock, a line for each CPU: a tail that is here is not Pando's."),
)  # fmt: skip


def draw(figure, rows):
    if figure.kind == "distribution":
        return charts.distribution(rows, figure.label, role_of)
    rows = [as_value(r) for r in rows]
    return charts.bars(rows, figure.label, role_of, value_words)


def value_words(row):
    if row["unit"] == "us":
        return charts.time_words(row["median"])
    exact = row["median"] == int(row["median"])
    return f"{charts.whole(int(row['median'])) if exact else charts.number(row['median'])} {row['unit']}"


def as_value(row):
    """A histogram of what is no time (lengths, counts) is a bar up to its median; the whisker spans all samples."""
    if "buckets" not in row:
        return row
    low = row.get("min", row["buckets"][0][0])
    return {**row, "median": row["p50"], "low": min(low, row["p50"]), "high": row["max"], "rounds": 2}


DRAWN_MAX = 9  # curves that can be told apart


BARS_MAX = 24


def others(bench, results, taken):
    """Figures of what no line above wants: by the first part of the name, and by unit."""
    groups = {}
    for r in (r for r in results if r["name"] not in taken):
        curves = "buckets" in r and r["unit"] == "us"
        groups.setdefault((r["name"].split("/")[0], curves, r["unit"]), []).append(r)
    out = []
    for (head, curves, unit), rows in groups.items():
        most = DRAWN_MAX if curves else BARS_MAX
        title = head.replace("_", " ") if curves else f"{head.replace('_', ' ')}, {unit}"
        for i in range(0, len(rows), most):
            f = Figure(f"{bench}-{len(out)}", bench, [], title, "", slice(1, None),
                       "distribution" if curves else "bars", unit)  # fmt: skip
            out.append((f, rows[i:i + most]))
    return out


# What benches measure beside their own, to compare: drawn with the bench that it is of.
CONTEXT = ("rtt", "fetch", "floor", "cycles")


def of_bench(bench, results):
    """[(figure, rows)] of a bench's results: those above in their order, then what is left."""
    out, taken = [], set()
    for f in FIGURES:
        rows = f.rows(results) if f.bench == bench else []
        floors = [r for r in rows if role_of(r) is FLOOR and r["name"].split("/")[0] != bench]
        if len(rows) > len(floors):  # what lies under a bench says nothing by itself
            out.append((f, rows))
            taken |= {r["name"] for r in rows}
    heads = {n.split("/")[0] for n in taken} | ({*CONTEXT} - {bench})
    # Further sizes and shapes of what is drawn are in the table of all results.
    taken |= {r["name"] for r in results if r["name"].split("/")[0] in heads}
    return out + others(bench, [r for r in results if drawable(r)], taken)


def drawable(row):
    return row.get("n", 1) > 0
