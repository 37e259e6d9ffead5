#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seed inputs of the fuzz targets (corpus/TARGET/): frames and messages from the golden files, the
runnable configurations, and a few steps and ring operations by hand. What the fuzzer found beyond these was added
with -merge=1, as files named by their hash."""
import pathlib

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "wire"
CLASS = {"gets": 1, "getm": 1, "puts": 1, "io_exit": 1, "io_done": 1, "data": 2, "putm": 2, "puto": 2,
         "vcpu_cmd": 3, "vcpu_rep": 3, "vm_cmd": 3, "vm_rep": 3}
PAGES = {"data", "putm", "puto"}


def record(op, data=b""):
    return bytes([op]) + len(data).to_bytes(2, "little") + data


def main():
    files = {f.stem: bytes.fromhex(f.read_text()) for f in sorted(GOLDEN.glob("*.hex"))}
    msg, frame = HERE / "corpus" / "fuzz_msg", HERE / "corpus" / "fuzz_frame"
    msg.mkdir(parents=True, exist_ok=True)
    frame.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
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


    by_hand("fuzz_step", STEPS)
    by_hand("fuzz_ring", RINGS)
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
# fuzz_ring.c: operation, u16, u8.
RINGS = {
    "honest": [n for i in range(40) for n in (0, i * 7 & 0xFF, i >> 5, i, 5, 0, 0, 0)],
    "side": [n for i in range(8) for n in (0, 0, 2, i)] + [5, 0, 0, 0] * 9,
    "bad_head": [0, 4, 0, 1, 2, 0xFF, 0xFF, 1, 5, 0, 0, 0],
    "bad_length": [0, 4, 0, 1, 3, 2, 0, 0xFF, 3, 3, 0, 0xFF, 5, 0, 0, 0],
}


def by_hand(target, inputs):
    out = HERE / "corpus" / target
    out.mkdir(parents=True, exist_ok=True)
    for name, data in inputs.items():
        (out / name).write_bytes(bytes(data))


if __name__ == "__main__":
    main()
