#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seed inputs of the fuzz targets (corpus/TARGET/) from the golden files."""
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


if __name__ == "__main__":
    main()
