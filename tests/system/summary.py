# SPDX-License-Identifier: BSD-3-Clause
"""The dataplanes' summaries: read, checked, printed.

`pando-dataplane --summary FILE` writes one JSON object when it ends:

    {"schema": 1, "node": 0, "name": "n0", "cluster": "...", "seconds": 1.5, "vcpus": [0, 1], "vmm": true,
     "phase": "running",                          or joining, leaving
     "stop": "",                                  why it stopped; "" after an orderly end
     "faults": {"read": {"n": 10, "p50_us": 1.0, "p90_us": 2.0, "p99_us": 3.0, "max_us": 4.0, "sum_ns": 12345,
                         "buckets": [[1023, 2], ...]},         used buckets of the latency: largest value in ns, samples
                "write": ..., "upgrade": ..., "spurious": {"n": 0, ...}},
     "messages": {"gets": {"tx": 1, "rx": 1}, ...},            by kind
     "classes": {"urgent": {"tx_frames": 1, "rx_frames": 1, "tx_bytes": 60, "rx_bytes": 60, "tx_messages": 1,
                 "rx_messages": 1, "retransmit": 0, "retransmit_probe": 0, "retransmit_timeout": 0,
                 "credit_stall": 0}, ...},
     "peers": {"n1": {"node": 1, "up": 1, "rtt_ns": 23400,     by name; see "By peer" below
                      "tx_messages": 1, "rx_messages": 1, "tx_bytes": 60, "rx_bytes": 60, "retransmit": 0,
                      "group_tx": 0, "group_bytes": 0, ...}},  of what was sent, what left in frames for several
     "drops": {"rrdp.duplicate": 3, "coherence.state": 0, ...}, by reason; zero may be left out
     "fault_filter": {"dropped": 0, "duplicated": 0, "reordered": 0, "corrupted": 0, "delayed": 0},
     "port": {"tx_frames": 1, ..., "rx_refused": {"length": 1},   by verdict on the link header
              "udp_failed": {"too_long": 0, ...},              on udp
              "xdp": {"steered": {"control": 5, "other": 1}, "rx_control": 5, "ring_full": 0, ...},    on af_xdp
              "verbs": {"tx_ud": 1, "placed_rx": 1, "dropped": {"place": 1},                           on verbs
                        "hellos_refused": {"stale": 1}, ...}},
     "copies": {"page_out_bytes": 4096, "page_out_copied": 0,  bytes of pages that left (again ones included), and of them
                                                               those that we copied into the port's frame
                "page_in_bytes": 4096, "page_in_copied": 4096, the same from frames into guest pages
                "thawed_bytes": 0,                             pages copied because they were wanted while in flight
                "parked_bytes": 0,                             of frames that came before their turn
                "by_reference": "taken", ...                   or why the port takes no bytes by reference
                "per_page_out": {"ours": 0.0, "driver": 1.0},  how often each byte of a page is copied: by us (engine
                "per_page_in": {"ours": 1.0, "driver": 1.0}},  and port), and by driver and kernel, by their sources
     "clock": {"state": "locked", "offset_ticks": -5, "rate_ppb": 12, "error_ticks": 900, "refused": {"offset": 0, ...}, ...},
     "loop": {"rounds": 9, "useful": 4, "empty": 5, "found": {"frames": 3, ...},   rounds in which a step found work
              "useful_ns": 1, "empty_ns": 1, "yield_ns": 1, "sleep_ns": 1,         where its time went (engine/loop_time.h)
              "cpu_ns": 3, "core": 1, ...},                    CPU time of its thread, and the CPU that it is on
     "transitions": {"IS_D>IS_P": 10, ...},                    of pages' states, those that were seen
     "config": {"hash": "...", "vm.ram_mib": "64", ...},       the keys that are not the default
     "hot_pages": {"0x12": {"faults": 5, "over": 0}, ...},     at least so many faults, "over" more at most
     "channels": {"capacity": 128,                             entries that wait now in the rings of the VM's process:
                  "to_dp": {"0": 2, "1": 0, "vm": 0},          for the dataplane, by vCPU, and the VM's own channel
                  "to_glue": {"0": 0, "1": 0, "vm": 0},        for the VM's process
                  "unmap": 3, "unmap_capacity": 256,           for the agent
                  "implausible": {"1": 2}},                    rings whose indices are impossible, which are left out above
     "threads": {"agent": {"cpu_ns": 5, "core": 1},            of the VM's process: CPU time, up to 20 ms less; {}: not
                 "vcpu0": {...}, "proxy1": {...}},             known. proxy: stands for a vCPU of another node
     "processes": {"dataplane": {"cpu_ns": 9}, "vm": {"cpu_ns": 9}},       of all their threads; vm: while it is connected
     "spans": {"sample": 64, "cost_ticks": 115, "khz": 2100000, "epoch": ..., "newest": 7,   cost of one stamp; guest TSC =
               "messages_sent": 1, "messages_unsent": 0, "messages_taken": 1,             cluster clock - epoch; records
               "pieces": 1, "pieces_replaced": 0,                                         so far
               "refused": {"not_open": 1}, "open": {"fault": 0, "ipi": 0, "io": 0},
               "kinds": {"read": {"n": 7, "incomplete": {"joined": 1}, "negative": 0, "beyond": 0, "excess_ns": 0,
                                  "total": H, "stages": {"asked": H, ...}}, ...}},        by span.h's names
                                  H: {"n", "p50_ns", "p90_ns", "p99_ns", "max_ns", "buckets": [[upper_ns, n], ...]}
     "coherence": {"checks": 100, "violations": 0, "resident": 10, "resident_high": 20, "evict_puts": 0, ...}}

By peer: tx_messages are those that the transport has accepted for the peer, rx_messages those of the peer that it has
delivered, complete and in order; kinds are counted by who writes and who reads them. So, at the end,

    messages[*].tx = peers[*].tx_messages + rings.backlog + drops["engine.message_peer_down"]
    peers[*].rx_messages = messages[*].rx + drops["engine.message_after_end"]    if no other engine.message_* is counted

tx_bytes and rx_bytes are those of frames of the connection with the peer, from RRDP's header on, without what the
fabric puts around them: those sent again, acknowledgements and heartbeats included, SYN and HOST-PING not. Received are
those that belong to the connection, repeated ones included. A frame for several peers counts for each, as if it had
come alone; classes[*].tx_bytes lack these:

    peers[*].tx_bytes = classes[*].tx_bytes + peers[*].group_bytes,    peers[*].rx_bytes = classes[*].rx_bytes
"""

KINDS = ("read", "write", "upgrade", "spurious")
CLASSES = ("urgent", "request", "data", "bulk")
IN_FLIGHT = 1024  # messages of a node to another that may be lost when the VM is ended: four queues (RRDP_QUEUE)


def get(d, *path, default=0):
    """d[path[0]][path[1]]..., or default where something is not there."""
    for key in path:
        if not isinstance(d, dict) or key not in d:
            return default
        d = d[key]
    return d


def total(summaries, *path):
    return sum(get(s, *path) for s in summaries)


def merged_counts(summaries, *path):
    """Sum of a table of counters over the nodes, the zeros left out."""
    sums = {}
    for s in summaries:
        for key, value in get(s, *path, default={}).items():
            sums[key] = sums.get(key, 0) + value
    return {k: v for k, v in sorted(sums.items()) if v}


def count_words(counts, nothing="none"):
    return ", ".join(f"{k} {v}" for k, v in counts.items()) or nothing


def table(rows):
    """Left-aligned first column, right-aligned others."""
    width = [max(len(str(r[i])) for r in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(r, width))
        )
        for r in rows
    ]


def us(value):
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def fault_rows(summaries):
    rows = [("page faults", "node", "count", "p50 us", "p99 us", "max us", "of page tables")]
    for kind in KINDS:
        for s in summaries:
            f = get(s, "faults", kind, default={})
            if get(f, "n"):
                rows.append(
                    (
                        kind,
                        s.get("node", "?"),
                        f["n"],
                        us(get(f, "p50_us")),
                        us(get(f, "p99_us")),
                        us(get(f, "max_us")),
                        get(f, "page_tables"),
                    )
                )
    return rows


def class_rows(summaries):
    rows = [("class", "messages", "frames", "bytes", "sent again")]
    for cls in CLASSES:
        rows.append(
            (
                cls,
                total(summaries, "classes", cls, "tx_messages"),
                total(summaries, "classes", cls, "tx_frames"),
                total(summaries, "classes", cls, "tx_bytes"),
                total(summaries, "classes", cls, "retransmit"),
            )
        )
    return rows


def copy_rows(summaries):
    rows = [("copies of a page", "out: ours", "driver's", "in: ours", "driver's", "thawed", "parked KiB")]
    for s in summaries:
        c = get(s, "copies", default={})
        rows.append(
            (
                f"node {s.get('node', '?')}, {get(s, 'port', 'name', default='?')}",
                *(
                    f"{get(c, way, whose):.2f}"
                    for way in ("per_page_out", "per_page_in")
                    for whose in ("ours", "driver")
                ),
                get(c, "thawed_bytes") // 4096,
                get(c, "parked_bytes") // 1024,
            )
        )
    return rows


def text(result, o):
    """The summary that a person reads, as lines."""
    if o.plain:
        return [
            f"vCPUs: {o.vcpus}, all on this host's KVM; exits: {count_words(exits(result.vmm))}"
        ]
    summaries = [s for s in result.summaries if s]
    lines = []
    for n in range(o.nodes):
        vcpus = " ".join(str(v) for v in range(o.vcpus) if o.home(v) == n)
        s = result.summaries[n] if n < len(result.summaries) else {}
        if s:
            high = get(s, "coherence", "resident_high") / 256
            tail = f"held at most {high:.1f} MiB"
            tail += f", {o.resident_mib()} allowed" if o.resident_pct else ""
        else:
            tail = "wrote no summary"
        lines.append(f"node {n}: vCPU {vcpus}; {tail}")
    if not summaries:
        return lines
    lines += table(fault_rows(summaries)) + table(class_rows(summaries)) + table(copy_rows(summaries))
    lines.append(
        f"retransmissions {total_classes(summaries, 'retransmit')} (by time-out "
        f"{total_classes(summaries, 'retransmit_timeout')}); evictions "
        f"{sum(total(summaries, 'coherence', 'evict_' + p) for p in ('puts', 'putm', 'puto'))}"
    )
    injected = merged_counts(summaries, "fault_filter")
    if injected:
        lines.append("injected: " + count_words(injected))
    lines.append("frames and messages refused: " + count_words(merged_counts(summaries, "drops")))
    steered = merged_counts(summaries, "port", "xdp", "steered")
    if steered:
        lines.append("frames by the XDP program: " + count_words(steered))
    lines.append(
        f"invariant checks {total(summaries, 'coherence', 'checks')}, violations "
        f"{total(summaries, 'coherence', 'violations')}"
    )
    return lines


def total_classes(summaries, counter):
    return sum(total(summaries, "classes", cls, counter) for cls in CLASSES)


def exits(vmm):
    counts = {}
    for v in get(vmm, "vcpus", default=[]):
        for kind, n in get(v, "exits", default={}).items():
            counts[kind] = counts.get(kind, 0) + n
    return {k: v for k, v in counts.items() if v}


def problem(result, o):
    """What the summaries of a passed run must show, or what is wrong. A distributed run that moved
    no page, or a lossy one that lost nothing, has tested nothing."""
    if o.plain:
        return None
    for n, s in enumerate(result.summaries):
        if not s:
            return f"node {n} wrote no summary"
        if get(s, "coherence", "violations"):
            return f"node {n}: {get(s, 'coherence', 'violations')} invariant violations"
        if o.check and not get(s, "coherence", "checks"):
            return f"node {n}: no invariant was checked"
        limit = o.resident_mib() * 256
        if (
            limit and get(s, "coherence", "resident_high") > limit + 1024
        ):  # soft by what is in flight
            return (
                f"node {n}: held {get(s, 'coherence', 'resident_high')} pages, {limit} are allowed"
            )
    if o.nodes == 1:
        return None
    s = result.summaries
    if wrong := next(totals_by_peer(s), None):
        return wrong
    if not sum(total(s, "faults", kind, "n") for kind in KINDS[:3]):
        return "no page fault was served: nothing was distributed"
    if not total_classes(s, "tx_messages"):
        return "no message was sent between the nodes"
    if o.loss and total_classes(s, "tx_frames") > 2000 / o.loss:
        if not total(s, "fault_filter", "dropped"):
            return f"{o.loss:g} % loss was asked for and no frame was lost"
        if not total_classes(s, "retransmit"):
            return "frames were lost and none was sent again"
    return None


def summed(s, table, *members):
    return sum(sum(entry[m] for m in members) for entry in s[table].values())


def totals_by_peer(summaries):
    """What is wrong with what is said above: the totals by peer are those by kind and class, to the last message."""
    for s in summaries:
        drops, node = s["drops"], f"node {s['node']}"
        bad = {k: v for k, v in drops.items() if k.startswith("engine.message_")}
        gone, late = (bad.pop(f"engine.message_{why}", 0) for why in ("peer_down", "after_end"))
        unsent = s["rings"]["backlog"] + gone
        pairs = (("sent", summed(s, "messages", "tx"), summed(s, "peers", "tx_messages") + unsent),
                 ("received", summed(s, "messages", "rx") + late, summed(s, "peers", "rx_messages")),
                 ("bytes sent", summed(s, "classes", "tx_bytes") + summed(s, "peers", "group_bytes"),
                  summed(s, "peers", "tx_bytes")),
                 ("bytes received", summed(s, "classes", "rx_bytes"), summed(s, "peers", "rx_bytes")),
                 ("sent again", summed(s, "classes", "retransmit"), summed(s, "peers", "retransmit")))
        for what, by_kind, by_peers in pairs:
            if by_kind != by_peers:
                yield f"{node}: {what}: {by_kind} by kind or class, {by_peers} by peer; {drops}"
        if bad:
            yield f"{node}: {bad}"


def by_peer(summaries):
    """The same; and who received what was sent to him, where the fabric loses little and repeats nothing."""
    yield from totals_by_peer(summaries)
    for a in summaries:
        for b in summaries:
            if a is b:
                continue
            way, back = a["peers"][b["name"]], b["peers"][a["name"]]
            sent, received = way["tx_messages"], back["rx_messages"]
            if not 0 < received <= sent <= received + IN_FLIGHT:
                yield f"{a['name']} to {b['name']}: {sent} messages sent, {received} received"
            sent, received = way["tx_bytes"], back["rx_bytes"]
            if not 30 * way["tx_messages"] < received <= sent or received < 0.9 * sent - 65536:
                yield f"{a['name']} to {b['name']}: {sent} bytes sent, {received} received"


def record(name, o, result, wrong):
    """One run for --json."""
    return {
        "guest": name,
        "result": "pass" if wrong is None else "fail",
        "reason": wrong or "",
        "status": result.status,
        "seconds": round(result.seconds, 3),
        "nodes": result.summaries,
        "vmm": result.vmm,
        "command": o.command(),
    }
