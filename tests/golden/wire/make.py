#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the golden frames of this folder from the layouts in the comments of wire.h and rrdp.h.

A second, independent implementation: it shares no code with wire.c or link.c, and its CRC goes bit by bit. Run it
only after a layout was changed on purpose, and review the difference. test_wire.c and test_link.c have the same
values. frames.pcap, for packet tools: each RRDP frame here over plain Ethernet, UDP/IPv4 and UDP/IPv6.
"""
import pathlib
import struct

HERE = pathlib.Path(__file__).parent


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def le(value, size):
    return value.to_bytes(size, "little")


def coh(kind, acks=0, zero=0, exclusive=0):
    age = 0x123 if kind <= 0x05 else 0  # requests and what they make the home demand of others
    return (bytes([kind, 3, 5, acks | zero << 6 | exclusive << 7]) + le(age << 36 | 0x456789ABC, 6)
            + le(0x0A0B0C0D0E0F, 6) + le(0xFEDCBA987654, 6))


def glue(kind, chan=7):
    return (bytes([kind, 3]) + le(chan, 2) + le(0xBEEF, 2) + le(0x01020304, 4)
            + le(0x1122334455667788, 8) + bytes(4))


def time_req():
    return (bytes([0x30, 3]) + le(0x01020304, 4) + le(2400000, 4) + le(-4295 % 2**32, 4)
            + le(0x1122334455667788, 8))


def time_rep():
    return (bytes([0x31]) + time_req()[1:] + le(0x2233445566778899, 8) + le(0x33445566778899AA, 8)
            + le(0x445566778899AABB, 8) + le(0x0A0B0C0D, 4) + bytes(4))


def span():
    return (bytes([0x32, 3, 0, 1]) + le(0xFFFF, 2) + le(0b01101000, 2) + le(0x01020304, 4)
            + le(0x1122334455667788, 8) + bytes(2) + le(0x2233445566778899, 8) + le(0x33445566778899AA, 8)
            + le(0x445566778899AABB, 8))


def rrdp(data=b"", eack=None, part=None, cls=1, syn=0, ack=1, rst=0, nul=0, first=0, last=0, credit=64):
    words = 8 if eack is not None else 7 if part is not None else 6
    head = bytearray(struct.pack(
        "<BBBBHBBIIII", 1 | syn << 2 | ack << 3 | (eack is not None) << 4 | rst << 5 | nul << 6,
        words | first << 5 | last << 6, 2, 9, cls | len(data) << 2, credit, 0x88,
        0xFFFFFFFE, 0x00000003, 0xCAFEF00D, 0))
    if eack is not None:
        head += le(eack, 8)
    if part is not None:
        head += le(part[0], 2) + le(part[1], 2)
    frame = head + data
    frame[20:24] = le(crc32c(bytes(frame)), 4)
    return bytes(frame)


def group(members, message):
    entries = b"".join(le(0xFFFFFF80 + n, 4) + le(0xCAFE0000 + n, 4) for n in members)
    data = le(sum(1 << n for n in members), 8) + entries + message
    head = struct.pack("<BBBBHBBIIII", 1, 6 | 1 << 5 | 1 << 6, 2, 0xFF, len(data) << 2, 0, 0x88, 0, 0, 0xCAFEF00D, 0)
    return head[:20] + le(crc32c(head + data), 4) + data


def syn_bytes(echo):
    return (le(2, 2) + bytes([3, 64]) + le(9000, 2) + bytes(2) + le(0x1122334455667788, 8)
            + le(0x1000, 8) + le(echo, 8) + le(0xC0FFEE, 8) + bytes(8))


page = bytes((i * 7 + 3) & 0xFF for i in range(100))
golden = {
    "gets": coh(0x01), "getm": coh(0x02), "fwd_gets": coh(0x03),
    "fwd_getm": coh(0x04, acks=2, exclusive=1), "inv": coh(0x05), "inv_ack": coh(0x06, exclusive=1),
    "grant": coh(0x07, acks=63, zero=1, exclusive=1), "data": coh(0x08, acks=1),
    "puts": coh(0x09), "putm": coh(0x0A), "puto": coh(0x0B), "put_ack": coh(0x0C),
    "irq": glue(0x20), "apic_set": glue(0x21), "apic_ack": glue(0x22), "io_exit": glue(0x23),
    "io_done": glue(0x24), "kick": glue(0x25), "vcpu_cmd": glue(0x26), "vcpu_rep": glue(0x27),
    "vm_cmd": glue(0x28, 0xFFFF), "vm_rep": glue(0x29, 0xFFFF),
    "time_req": time_req(), "time_rep": time_rep(), "span": span(),
    "rrdp_syn": rrdp(syn_bytes(0), cls=0, syn=1, ack=0, first=1, last=1),
    "rrdp_syn_ack": rrdp(syn_bytes(0x2000), cls=0, syn=1, first=1, last=1),
    "rrdp_ack": rrdp(), "rrdp_eack": rrdp(eack=0x8000000000000005),
    "rrdp_nul": rrdp(cls=0, nul=1), "rrdp_rst": rrdp(cls=0, rst=1, ack=0),
    "rrdp_closed": rrdp(cls=0, rst=1, nul=1, ack=0),
    "rrdp_ping": rrdp(cls=0, syn=1, nul=1, ack=0, credit=0), "rrdp_pong": rrdp(cls=0, syn=1, nul=1, credit=2),
    "rrdp_group": group([1, 9, 63], coh(0x05)),
    "rrdp_message": rrdp(coh(0x01), first=1, last=1), "rrdp_first": rrdp(coh(0x08) + page, cls=2, first=1),
    "rrdp_middle": rrdp(page, cls=2), "rrdp_last": rrdp(page, cls=2, last=1),
    "rrdp_last_eack": rrdp(page, eack=1, cls=3, last=1),
    "rrdp_part": rrdp(page, part=(0x0B18, 0x0B7C), cls=2, first=1, last=1),
}


# Link headers, as in link.h. Node n has the MAC 02:50:41:00:00:n and the addresses 192.0.2.n and 2001:db8::n.
UDP_PORT = 18514
GROUP_MAC = bytes.fromhex("035041667788")


def mac(node):
    return bytes([2, 0x50, 0x41, 0, 0, node])


def ether(frame, to=None):
    return ((to or mac(frame[3])) + mac(frame[2]) + bytes.fromhex("88b5") + frame).ljust(60, b"\0")


def udp(frame):
    h = 0x811C9DC5
    for byte in (frame[3], frame[4] & 3):
        h = (h ^ byte) * 0x01000193 % 2**32
    return struct.pack(">HHHH", 49152 + (h ^ h >> 14) % 16384, UDP_PORT, 8 + len(frame), 0) + frame


def udp4(frame):
    data = udp(frame)
    head = struct.pack(">BBHHHBBH4B4B", 0x45, 0, 20 + len(data), 0, 0x4000, 64, 17, 0, 192, 0, 2, frame[2],
                       192, 0, 2, frame[3])
    total = sum(struct.unpack(">10H", head))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", 0xFFFF - total) + head[12:]
    return mac(frame[3]) + mac(frame[2]) + b"\x08\x00" + head + data


def udp6(frame):
    data = udp(frame)
    net = bytes.fromhex("20010db8") + bytes(11)
    head = struct.pack(">IHBB", 6 << 28, len(data), 17, 64) + net + frame[2:3] + net + frame[3:4]
    return mac(frame[3]) + mac(frame[2]) + b"\x86\xdd" + head + data


def carried():
    """Each RRDP frame, in each encapsulation that it can have; a lone SYN goes to everybody."""
    for name, frame in golden.items():
        if name == "rrdp_group":
            yield ether(frame, GROUP_MAC)
        elif name.startswith("rrdp_"):
            yield ether(frame, b"\xff" * 6 if name == "rrdp_syn" else None)
            yield udp4(frame)
            yield udp6(frame)


def pcap(packets):
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for n, packet in enumerate(packets):
        out += struct.pack("<IIII", 0, n, len(packet), len(packet)) + packet
    return out


if __name__ == "__main__":
    (HERE / "frames.pcap").write_bytes(pcap(carried()))
    for kind, carry in ("ether", ether), ("udp4", udp4), ("udp6", udp6):
        golden["link_" + kind] = carry(golden["rrdp_middle"])
    for name, data in golden.items():
        lines = [data[i:i + 16].hex(" ") for i in range(0, len(data), 16)]
        (HERE / (name + ".hex")).write_text("\n".join(lines) + "\n")
