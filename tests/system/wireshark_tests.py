#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The Wireshark dissector (perf/wireshark) in tshark: what it says of frames is what our own code says of them. And the
bench that counts bytes on the wire.

PANDO_GOLDEN_WRITE=1 writes the golden text anew: read what came out before it is committed."""
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

import outcome
from cluster import SetupError, find_program

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "perf/wireshark/pando.lua")
GOLDEN = os.path.join(ROOT, "tests/golden/wire")
GOLDEN_PORT = 18514
FRAMES = 800
# As pando-capture's columns: its head says more.
COLUMNS = ["pando.rrdp.verdict", "pando.rrdp.src", "pando.rrdp.dst", "pando.rrdp.cls", "pando.rrdp.data_len",
           "pando.rrdp.credit", "pando.rrdp.seq", "pando.rrdp.ack", "pando.rrdp.tag", "pando.rrdp.crc",
           "pando.message_verdict", "pando.kind", "pando.vm", "_ws.col.Info", "pando.segment.begins",
           "pando.segment.offset", "pando.again"]
INFO = COLUMNS.index("_ws.col.Info")


def tshark(*args):
    """Its lines. A failure of the script is one of tshark's words, not its exit status."""
    words = ["tshark", *args, "-n", "-X", f"lua_script:{SCRIPT}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, errors="replace",
                          env=dict(os.environ, LC_ALL="C.UTF-8"))
    for line in (done.stdout + done.stderr).splitlines():
        if ("Lua" in line and "pando.lua" in line or "Lua Error" in line) and args[0] != "-G":
            raise SetupError(f"the script failed: {line.strip()}")
    if done.returncode != 0:
        raise SetupError(f"tshark ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout.splitlines()


def fields(pcap, names, *args):
    """A list of values a frame."""
    words = [w for name in names for w in ("-e", name)]
    lines = tshark("-r", pcap, *args, "-T", "fields", "-E", "separator=/t", *words)
    return [line.split("\t") for line in lines]


def all_fields():
    return sorted({line.split("\t")[2] for line in tshark("-G", "fields") if "\tpando." in line})


def captured(build, space, how, seed, frames=FRAMES):
    """A capture of pando-capture, and its expectation a frame."""
    pcap, expected = os.path.join(space, "c.pcap"), os.path.join(space, "c.txt")
    subprocess.run([find_program(build, "pando-capture"), how, str(seed), str(frames), pcap, expected], check=True)
    with open(expected, encoding="ascii") as f:
        return pcap, [line.rstrip("\n").split("\t") for line in f]


def golden(build, space):
    names = [n for n in all_fields() if n not in ("pando.payload", "pando.padding")]
    rows = fields(os.path.join(GOLDEN, "frames.pcap"), [*names, "_ws.col.Info"],
                  "-o", f"pando.udp_port:{GOLDEN_PORT}")  # fmt: skip
    text = ""
    for number, row in enumerate(rows, 1):
        text += f"{number}  {row[-1]}\n"
        text += "".join(f"    {n} {v}\n" for n, v in zip(names, row) if v)
    path = os.path.join(GOLDEN, "frames.txt")
    if os.environ.get("PANDO_GOLDEN_WRITE"):
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
    with open(path, encoding="ascii") as f:
        want = f.read().splitlines()
    for n, (a, b) in enumerate(zip(text.splitlines() + [""], want + [""]), 1):
        if a != b:
            return f"frames.txt:{n}: {b!r} is golden, {a!r} was said"
    return None


def differs(rows, expected, whole):
    """Column by column; what production code does not say is not compared, but for the last three of `whole`."""
    if len(rows) != len(expected):
        return f"{len(rows)} frames, not {len(expected)}"
    for number, (row, want) in enumerate(zip(rows, expected), 1):
        for n, (name, value) in enumerate(zip(COLUMNS, want)):
            said = row[n].split(",")[0] if name == "pando.vm" else row[n]
            if name == "_ws.col.Info":  # a group's names its members behind; a first segment's has all
                said = said.split(" to {")[0]
            if name == "pando.kind" and value and said:
                said, value = str(int(said, 16)), value
            if (value or (whole and n > INFO)) and said != value:
                return f"frame {number}: {name} is {said!r}, not {value!r} ({row[INFO]})"
    return None


REASONS = {"crc", "length", "range", "version", "kind", "class", "reserved"}


def reasons(expected):
    return {row[0] for row in expected} | {row[10] for row in expected if row[10]}


def random_frames(how):
    def test(build, space):
        seed = random.SystemRandom().randrange(1 << 32)
        pcap, expected = captured(build, space, how, seed)
        wrong = differs(fields(pcap, COLUMNS), expected, how == "whole")
        seen, more = reasons(expected), 0
        while how == "damaged" and not REASONS <= seen and more < 20:  # a rare one may need another draw
            more += 1
            seen |= reasons(captured(build, space, how, (seed + more) % (1 << 32))[1])
        if how == "damaged" and not REASONS <= seen:
            wrong = wrong or f"too few reasons came up: {sorted(seen)}"
        if how == "whole" and not all(any(row[n] for row in expected) for n in (INFO + 1, INFO + 3)):
            wrong = wrong or "no continuation or repetition came up"
        return f"seed {seed}: {wrong}" if wrong else None

    return test


def preferences(build, space):
    """Other numbers than the configuration's find nothing."""
    pcap, expected = captured(build, space, "whole", 1, 300)
    for words, of in (["-o", "pando.udp_port:18514"], "ethernet"), (["-o", "pando.ethertype:4660"], "udp"):
        found = {row[0] for row in fields(pcap, ["pando.link"], *words)} - {""}
        if not found or not all(f.startswith(of) for f in found):
            return f"with {words[1]}: {sorted(found)}, and only {of} was expected"
    pcap, expected = captured(build, space, "damaged", 1, 300)
    bad = [n for n, row in enumerate(expected) if row[0] == "crc"]
    rows = fields(pcap, ["pando.rrdp.verdict", "pando.rrdp.crc_good"], "-o", "pando.check_crc:FALSE")
    if not bad or any(rows[n][0] == "crc" or rows[n][1] for n in bad):
        return "the CRC is looked at although that is turned off"
    pcap, expected = captured(build, space, "whole", 1, 300)
    found = {row[0] for row in fields(pcap, ["pando.link"])}
    if found != {"ethernet", "udp4", "udp6"}:
        return f"found {sorted(found)}"
    flows = {row[0] for row in fields(pcap, ["pando.flow_port"], "-Y", "udp && pando.rrdp.dst < 64")}
    return None if flows == {"1"} else f"UDP source ports are not as link.h says: {flows}"


def spoil(pcap, out, seed, cut):
    """Cuts each packet somewhere, as a short snap length does, or changes bytes of it, lengths and CRC not mended."""
    rng = random.Random(seed)
    with open(pcap, "rb") as f:
        data = f.read()
    parts, at = [data[:24]], 24
    while at < len(data):
        sec, usec, length, full = struct.unpack_from("<IIII", data, at)
        packet = bytearray(data[at + 16:at + 16 + length])
        at += 16 + length
        if cut:
            packet = packet[:rng.randrange(14, len(packet) + 1)]
        else:
            for _ in range(rng.randrange(1, 20)):
                packet[rng.randrange(min(len(packet), 128))] = rng.choice((0, 255, rng.randrange(256)))
        parts.append(struct.pack("<IIII", sec, usec, len(packet), full) + bytes(packet))
    with open(out, "wb") as f:
        f.write(b"".join(parts))


def hostile(cut):
    def test(build, space):
        seed = random.SystemRandom().randrange(1 << 32)
        pcap, expected = captured(build, space, "damaged", seed, 600)
        bad = os.path.join(space, "bad.pcap")
        spoil(pcap, bad, seed, cut)
        try:
            lines = tshark("-r", bad, "-V", "-O", "pando")
        except SetupError as e:
            return f"seed {seed}: {e}"
        seen = sum(line.startswith("Frame ") for line in lines)
        if seen != len(expected):
            return f"seed {seed}: {seen} of {len(expected)} frames came out"
        said = sum("Undecoded" in line or "verdict on the frame: cut" in line for line in lines)
        return None if said or not cut else f"seed {seed}: nothing is said of frames that were cut"

    return test


def bench(build, _space):
    """./dev bench capture: what it writes down is all that was sent (it looks itself), and adds up to frames."""
    if os.geteuid() != 0 or not os.path.exists("/dev/kvm"):
        raise outcome.Skipped("needs root and /dev/kvm")
    words = [sys.executable, os.path.join(ROOT, "perf/capture.py"), "--build", build, "--json", "--quick",
             "--samples", "20"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=150)
    if done.returncode != 0:
        return f"ended with {done.returncode}: {(done.stdout + done.stderr)[-400:]}"
    said = json.loads(done.stdout.splitlines()[-1])
    rows = {r["name"]: r for r in said["results"]}
    if not 128 <= rows["capture/inv_and_inv_ack"]["p50"] <= 192 or not said["goals"]:
        return f"two frames of at least 64 bytes are {rows['capture/inv_and_inv_ack']}"
    settings = hashlib.sha256(json.dumps(said["settings"], sort_keys=True).encode()).hexdigest()
    if said["config_sha256"] == settings:
        return "config_sha256 is of the bench's arguments, not of the cluster's configuration"
    page, rest = rows["capture/read/9000"]["p50"], rows["capture/read_without_page/9000"]["p50"]
    return None if page - rest == 4096 and rest >= 128 else f"a read takes {page} bytes, {rest} without its page"


TESTS = [("golden", golden), ("whole", random_frames("whole")), ("damaged", random_frames("damaged")),
         ("preferences", preferences), ("cut", hostile(True)), ("garbled", hostile(False))]
# Needs no tshark.
OTHERS = [("bench", bench)]


def main():
    args = outcome.parser(__doc__).parse_args()

    def in_space(test, with_tshark=True):
        def run():
            if with_tshark and shutil.which("tshark") is None:
                raise outcome.Skipped("tshark is not installed: ./dev setup look")
            with tempfile.TemporaryDirectory() as space:
                return test(args.build, space)

        return run

    results = [outcome.run(args.tally, f"trace/dissector/{name}", in_space(test)) for name, test in TESTS]
    results += [outcome.run(args.tally, f"trace/capture/{name}", in_space(test, False)) for name, test in OTHERS]
    return outcome.status(results)


if __name__ == "__main__":
    sys.exit(main())
