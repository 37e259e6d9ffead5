#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seed inputs of the fuzz targets (corpus/TARGET/): frames and messages from the golden files, the
runnable configurations, the coherence traces as each of their nodes saw them, and a few steps, ring operations and
control packets by hand. What the fuzzer found beyond these was added with -merge=1, as files named by their hash."""
import pathlib
import re

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "wire"
TRACES = HERE.parent / "golden" / "coherence"
CLASS = {"gets": 1, "getm": 1, "puts": 1, "io_exit": 1, "io_done": 1, "data": 2, "putm": 2, "puto": 2,
         "vcpu_cmd": 3, "vcpu_rep": 3, "vm_cmd": 3, "vm_rep": 3, "span": 3}
PAGES = {"data", "putm", "puto"}


def record(op, data=b""):
    return bytes([op]) + len(data).to_bytes(2, "little") + data


def main():
    files = {f.stem: bytes.fromhex(f.read_text()) for f in sorted(GOLDEN.glob("*.hex"))}
    msg, frame = HERE / "corpus" / "fuzz_msg", HERE / "corpus" / "fuzz_frame"
    msg.mkdir(parents=True, exist_ok=True)
    frame.mkdir(parents=True, exist_ok=True)
    links = {name: data for name, data in files.items() if name.startswith("link_")}
    by_hand("fuzz_link", {name: bytes([i]) + data for i, (name, data) in enumerate(sorted(links.items()))})
    for name, data in files.items():
        if name in links:
            continue
        if not name.startswith("rrdp_"):
            payload = 4096 if name in PAGES else len(data) - 22
            (msg / name).write_bytes(
                bytes([CLASS.get(name, 0)]) + payload.to_bytes(2, "little") + data)
            continue
        near = bytearray(data)
        near[8], near[12] = 9, 8  # op 2: the next sequence number, all acknowledged
        (frame / name).write_bytes(
            record(0, data) + record(3, bytes([1, 2, 6, 3])) + record(2, bytes(near)) + record(4)
            + record(1, data) + record(5, b"\x05") + record(4) + record(5, b"\xff") + record(4))

    group = bytes([1, 0x66, 1, 0xFF]) + bytes(20) + bytes([1]) + bytes(7) + bytes([9]) + bytes(7) + files["inv"]
    (frame / "group_for_0").write_bytes(record(2, group) + record(3) + record(4) + record(2, group) + record(4))
    part = bytearray(files["rrdp_part"][:28])
    part[8], part[12], part[27] = 9, 8, 1  # op 2 and whole in shape: see forged_part()
    ahead, other = bytearray(part), bytearray(part)
    ahead[8] += 1
    other[24] ^= 1
    (frame / "parts").write_bytes(
        record(2, ahead) + record(2, part) + record(2, part) + record(4) + record(2, other) + record(4)
        + record(2, other) + record(5, b"\xff") + record(4))
    data = bytearray(files["rrdp_message"])
    data[8], data[12] = 9, 8
    (frame / "halved").write_bytes(
        record(0x82, bytes(data)) + record(0x84) + record(0x82, group) + record(0x80, bytes(data)) + record(3, b"\1")
        + record(0x84) + record(4))
    by_hand("fuzz_step", STEPS)
    by_hand("fuzz_giantvm", GIANTVM)
    by_hand("fuzz_hello", hellos())
    by_hand("fuzz_span", SPANS)
    for f in sorted(TRACES.glob("*.txt")):
        try:
            seeds = trace_seeds(f.read_text())
        except NotExpressible as e:
            print(f"{f.name}: no seed: {e}")
            continue
        by_hand("fuzz_step", {f"trace_{f.stem}_{node}": data for node, data in seeds.items()})
    by_hand("fuzz_ring", RINGS)
    by_hand("fuzz_control", CONTROLS)
    config = HERE / "corpus" / "fuzz_config"
    config.mkdir(parents=True, exist_ok=True)
    for f in sorted((HERE.parent.parent / "configs").glob("*.yaml")):
        (config / f.stem).write_bytes(f.read_bytes())


# fuzz_step.c: nodes - 2, self, shift, txn_max - 1, resident, hold; then operations.
STEPS = {
    "home_writes_and_reads": [0, 0, 0, 7, 0, 0, 8, 0, 5, 0, 0, 2, 5, 2, 8, 2],
    "asks_another": [1, 0, 0, 7, 0, 0, 0, 1, 2, 7, 1, 1, 0x40, 5, 1, 8, 1, 2, 6, 0x25, 1, 0x40],
    "limited": [2, 1, 0, 3, 4, 0x21] + [n for p in range(12) for n in (8, p, 5, p, 6, 9, 7)],
    "held": [1, 0, 0, 7, 0, 0x48, 8, 0, 5, 0, 2, 1, 5, 0, 6, 200, 2, 0, 4, 0, 6, 255, 7],
}
def op(number, *args, later=1):
    return [n + later * 16 if i == 0 else n for i, n in enumerate([number, *args, *[0] * (12 - len(args))])]


# fuzz_span.c: operation and later << 4, then 12 bytes. Home 2, owner 3.
SPANS = {
    "three_hops": op(0, 9, 0, 0, 1, 2) + op(1, 9, 0, 0, 1, 0, 2) + op(9, 9, 0, 0, 2, 0, 0x18, 0, 1)
    + op(2, 9, 0, 0, 1, 3, 1) + op(3, 9, 0, 0, 1, 0, 3, 0, 2, 1) + op(9, 9, 0, 0, 3, 0, 0xE0, 0, 1, 2, 1),
    "grant_last": op(0, 9, 0, 0, 1, 2) + op(1, 9, 0, 0, 1, 0, 2) + op(2, 9, 0, 0, 1, 2)
    + op(3, 9, 0, 0, 1, 1, 3, 0, 2, 1) + op(9, 9, 0, 0, 2, 0, 0x18, 0, 1, 2, 1),
    "interrupt": op(0, 7, 1, 3, 1, 2) + op(1, 7, 1, 3, 1, 0, 1) + op(1, 7, 1, 3, 1, 0, 2)
    + op(9, 7, 1, 3, 2, 0, 0x38, 0, 1, 0, 1),
    "merged": op(0, 7, 1, 3, 1, 2) + op(9, 7, 1, 3, 2, 2, 0x18, 0, 1, 0, 1),
    "piece": op(6, 5, 0, 0, 2, 0, 3) + op(7, 5, 0, 0, 2, 0, 4) + op(8, 5, 0, 0, 2),
    "local_prefetch_joined": op(3, 3, 0, 0, 1, 0, 3, 1, 1, 1) + op(0, 4, 0, 0, 1, 2) + op(3, 4, 0, 0, 1, 0, 9, 0, 2, 0)
    + op(0, 5, 0, 0, 1, 2) + op(3, 5, 0, 0, 1, 0, 9, 0, 2, 1),
}
# fuzz_ring.c: operation, u16, u8.
RINGS = {
    "honest": [n for i in range(40) for n in (0, i * 7 & 0xFF, i >> 5, i, 5, 0, 0, 0)],
    "side": [n for i in range(8) for n in (0, 0, 2, i)] + [5, 0, 0, 0] * 9,
    "bad_head": [0, 4, 0, 1, 2, 0xFF, 0xFF, 1, 5, 0, 0, 0],
    "bad_length": [0, 4, 0, 1, 3, 2, 0, 0xFF, 3, 3, 0, 0xFF, 5, 0, 0, 0],
}
# fuzz_control.c: node and VMM's node, vCPUs, whether all are here; then operations.
CONNECT, HELLO, RAM, BYE, CLOSE = [0, 0], [2, 0, 0], [2, 3, 0], [2, 8, 0], [1]
LATER = 0x80  # the dataplane does not look yet
CONTROLS = {
    "honest": [0] + CONNECT + HELLO + RAM + RAM + BYE + CLOSE,
    "vcpud_waits": [0x21] + CONNECT + HELLO + [4, 2] + RAM + CLOSE,
    "other_abi": [0] + CONNECT + [2, 0, 1, 0, 1],
    "other_role": [0] + CONNECT + [2, 0, 1, 1, 3],
    "second": [0] + CONNECT + HELLO + RAM + [LATER | 8, 0, 10, 0, 0, 22] + BYE,
    "bye_first": [0] + CONNECT + BYE + CLOSE + CONNECT + HELLO + RAM + HELLO,
    "empty_with_fds": [0] + CONNECT + [2, 3, 1, 6, 0] + CLOSE + CONNECT + HELLO + [2, 3, 1, 6, 0],
    "too_long": [0] + CONNECT + [2, 0, 1, 6, 4] + CLOSE + CONNECT + HELLO + [2, 3, 1, 6, 4],
    "too_many_fds": [0] + CONNECT + HELLO + [2, 3, 2, 7, 3, 11, 1],
    "one_fd_less": [0] + CONNECT + HELLO + [LATER | 2, 3, 0, 2, 3, 1, 7, 1],
    "block_again": [0] + CONNECT + HELLO + RAM + [2, 3, 1, 2, 0x41],
    "small_file": [0] + CONNECT + HELLO + [2, 3, 1, 8, 2],
    "other_fds": [0] + CONNECT + HELLO + [2, 3, 2, 8, 2, 9, 5],
    "beyond": [0] + CONNECT + HELLO + ([2, 3, 1, 4, 3]) * 3,
    "table_full": [0] + CONNECT + HELLO + [LATER | 2, 3, 0, 4, 0x15],
    "unread": [0, 0, 1] + HELLO + [LATER | 2, 8, 0, LATER | 1, 4, 1],
    "no_room": [0] + CONNECT + HELLO + [LATER | 7] + RAM + [8, 0],
}


# ---- traces of tests/unit/test_coherence_trace.c -> fuzz_step.c

STEP_PAGES, NODES_MIN, NODES_MAX = 24, 2, 4
OP_LIMIT, OP_DOWN, OP_EVICT, OP_TIME, OP_EXACT = 0xA7, 0xB7, 0xC7, 0xD7, 0xE7
KINDS = ("gets", "getm", "fwd_gets", "fwd_getm", "inv", "inv_ack", "grant", "data", "puts", "putm", "puto", "put_ack")
# What these cause is in the events that follow them.
SPOKEN = {"read", "write", "deliver", "done", "settle", "tick", "evict", "load", "store", "state", "copies", "crash",
          "lost", "expect"}
MESSAGE = re.compile(r"MESSAGE from (\d+): (\w+) p=0x([0-9a-f]+) r=(\d+) txn=(\d+) v=(\d+)(?: acks=(\d+))?"
                     r"( exclusive)?( zero)?$")


class NotExpressible(Exception):
    """A trace with something that fuzz_step has no operation for: no seed is made of it."""


def hello(phase=1, epoch=3, heard=7, generation=1, number=9, joined=0, blocks=()):
    """An operation of fuzz_hello.c: op 7, then what rdma.h lays out from `phase` on."""
    words = lambda size, *values: b"".join(v.to_bytes(size, "little") for v in values)
    fields = words(8, epoch, heard) + words(4, generation, generation, 5, 6, number, 8, joined) + bytes([0, 0, 3, 0])
    fields += bytes(16 + 16)
    for base, pages in blocks:
        fields += words(8, base, pages, 4096) + words(4, 1, 0)
    return bytes([7, len(blocks), phase]) + fields


def hellos():
    """Lives of a connection, on and off a ladder: up, memory, ends of each kind."""
    up = hello(heard=0, number=0) + hello(generation=2) + hello(generation=3, joined=1)
    memory = hello(generation=4, joined=1, blocks=((0, 100), (200, 1 << 29)))
    ends = {"ticks": bytes([0xF8, 0xF8]), "broke": b"\1" + hello(generation=9, number=0) + b"\xF8" * 3, "refused": b"\2",
            "closed": hello(phase=2, generation=9), "broken": hello(phase=3, generation=9), "elsewhere": b"\4",
            "restart": hello(epoch=4, heard=0, number=0), "forgotten": hello(generation=9, heard=0, number=0)}
    return {f"{name}{ladder}": bytes([ladder]) + up + memory + b"\3" + end + hello(epoch=5, heard=0, number=0)
            for name, end in ends.items() for ladder in (0, 1)}


def need(condition, what):
    if not condition:
        raise NotExpressible(what)


def word(value):
    need(0 <= value < 1 << 16, f"{value} in 16 bits")
    return list(value.to_bytes(2, "little"))


def world(nodes, pages, hold=0, hold_max=0, txn_max=8):
    """Configuration bytes but for the first two. Only the bound on a page set may be lower than the trace's."""
    need(NODES_MIN <= nodes <= NODES_MAX and pages <= STEP_PAGES, f"a world of {nodes} nodes, {pages} pages")
    need(hold % 100 == 0 and hold < 1600, f"a hold of {hold}")
    need(1 <= txn_max <= 8, f"{txn_max} transactions")
    times = min(hold_max // hold - 1, 15) if hold else 0
    return [0x80, txn_max - 1, 0, hold // 100 | times << 4]


def message(event):
    m = MESSAGE.match(event)
    need(m and m.group(2) in KINDS, event)
    src, page, requester, txn, version = (int(m.group(i), 16 if i == 3 else 10) for i in (1, 3, 4, 5, 6))
    acks = int(m.group(7) or 0)
    need(page <= STEP_PAGES and acks < 64, event)
    flags = acks | (128 if m.group(8) else 0) | (64 if m.group(9) else 0)
    age = word(0)  # a trace does not show it
    return [OP_EXACT, src, KINDS.index(m.group(2)), page, requester, flags] + word(txn) + word(version) + age


def fault(event, page):
    vcpu = int(re.search(r"vcpu=(\d+)", event).group(1))
    none = vcpu == 255
    need(page <= STEP_PAGES and (vcpu < 8 or none), event)
    first = 0 if none else vcpu << 5
    arg = next(a for a in range(first, first + 32) if a % (STEP_PAGES + 1) == page)
    return [(8 if event.startswith("WRITE") else 0) | (16 if none else 0), arg]


def event_operation(event, evicted):
    kind = event.split()[0]
    at = re.search(r" p=0x([0-9a-f]+)", event)
    page = int(at.group(1), 16) if at else 0
    if kind == "MESSAGE":
        return message(event)
    if kind in ("READ_FAULT", "WRITE_FAULT"):
        return fault(event, page)
    if kind in ("MAPPED", "PROTECTED", "UNMAPPED"):
        need(page < STEP_PAGES, event)
        return [5, page]
    if kind == "TICK":
        need(evicted is None or evicted < STEP_PAGES, event)
        return [7] if evicted is None else [OP_EVICT, evicted]
    if kind == "PEER_DOWN":
        return [OP_DOWN, int(event.split()[1])]
    if kind == "IDLE":
        vcpu = int(event.split("vcpu=")[1])
        need(vcpu < 16, event)
        return [15 | vcpu << 4]
    raise NotExpressible(event)


def trace_seeds(text):
    """The inputs that make each node of a trace see what it saw there: {node: bytes}."""
    config, seen, passed, now, evicted = None, {}, {}, 0, None
    for line in text.splitlines():
        if line.startswith("> "):
            verb, *args = line[2:].split()
            evicted = int(args[1]) if verb == "evict" else None
            if verb == "world":
                need(config is None, "a second world")
                config = [int(args[0])] + world(*map(int, args))
            elif verb == "time":
                now += int(args[0])
            elif verb == "limit":
                seen.setdefault(int(args[0]), []).extend([OP_LIMIT, int(args[1])])
            elif verb == "life":  # another world
                break
            else:
                need(verb in SPOKEN, f"command {verb}")
        elif m := re.match(r"(\d+): (.*)$", line):
            node = int(m.group(1))
            ops = seen.setdefault(node, [])
            if now > passed.get(node, 0):
                ops += [OP_TIME] + word(now - passed.get(node, 0))
                passed[node] = now
            ops += event_operation(m.group(2), evicted)
    need(config, "no world")
    return {n: [config[0] - NODES_MIN, n] + config[1:] + ops for n, ops in seen.items()}


def dsm(kind, page, txn, requester=0, copyset=0, exclusive=False, src=0):
    """A message of the GiantVM-style baseline's from src; transaction 255: the one that the node has asked with."""
    return (bytes([0x40 | src, kind, requester | exclusive << 7]) + copyset.to_bytes(2, "little") + bytes(2)
            + page.to_bytes(4, "little") + txn.to_bytes(4, "little"))  # fmt: skip


# Of node 1 of three. 0x00 page, 0x08 page: read, write fault; 0x10 page: the change of its mapping is done; 0x2n: time.
GIANTVM = {
    "read": bytes([0x01]) + dsm(8, 1, 255, requester=1) + bytes([0x11]),
    "write": bytes([0x0A]) + dsm(8, 4, 255, requester=1, exclusive=True, copyset=0b100) + dsm(6, 4, 255) + bytes([0x14]),
    "serve": bytes([0x0A]) + dsm(8, 4, 255, requester=1, exclusive=True) + bytes([0x14, 0x2F])
    + dsm(1, 4, 7, requester=2, src=2) + bytes([0x14]) + dsm(5, 4, 8, requester=2, src=2) + bytes([0x14]),
    "give": bytes([0x0A]) + dsm(8, 4, 255, requester=1, exclusive=True) + bytes([0x14, 0x2F])
    + dsm(2, 4, 7, requester=0) + bytes([0x14]) + bytes([0x04]) + dsm(8, 4, 255, requester=1),
    "relay": dsm(1, 2, 9, requester=2, src=2) + dsm(8, 2, 255, requester=2),
    "stream": bytes([0x34, 0x23, 0, 5, 0]) + bytes([0x31, 0x70]) + bytes([0x32, 0x71, 0]) + bytes([0x34, 0x23, 0, 0xFF, 0xFF]),
}


def by_hand(target, inputs):
    out = HERE / "corpus" / target
    out.mkdir(parents=True, exist_ok=True)
    for name, data in inputs.items():
        (out / name).write_bytes(bytes(data))


if __name__ == "__main__":
    main()
