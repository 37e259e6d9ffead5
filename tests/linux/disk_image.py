#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A raw disk for the guest's job disk, whose first MiB is a pattern that the guest checks.

    disk_image.py FILE [--mib N] [--seed S]
"""
import argparse
import struct

PATTERN_BYTES = 1 << 20
MASK = (1 << 64) - 1


def pattern(seed):
    """xorshift64 from a seed, which is the first word; guest/lib.c has the same."""
    words, x = [], seed or 1
    for _ in range(PATTERN_BYTES // 8):
        words.append(x)
        x ^= x << 13 & MASK
        x ^= x >> 7
        x ^= x << 17 & MASK
    return struct.pack(f"<{len(words)}Q", *words)


def make(path, mib=16, seed=1):
    with open(path, "wb") as f:
        f.write(pattern(seed))
        f.truncate(mib << 20)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--mib", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    make(args.file, args.mib, args.seed)


if __name__ == "__main__":
    main()
