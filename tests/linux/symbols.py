#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a page of a Linux guest is, by the guest's System.map or /proc/kallsyms (as root in the guest).

    symbols.py FILE PAGE...     page numbers as in the dataplanes' summaries, such as 0x2a15

Right for a kernel that runs with nokaslr, and for its image: what it allocates has no symbol.
"""
import bisect
import re
import sys

IMAGE = 0xFFFFFFFF80000000  # __START_KERNEL_map: where physical address 0 is in the image's mapping
IMAGE_END = IMAGE + (1 << 30)
PAGE = 4096


class Symbols:
    def __init__(self, lines):
        found = []
        for line in lines:
            m = re.match(r"([0-9a-f]{16}) ([A-Za-z]) (\S+)(?:\s|$)", line)
            if m and IMAGE < int(m[1], 16) < IMAGE_END and "[" not in line:
                found.append((int(m[1], 16) - IMAGE, m[3]))
        found.sort()
        self.at, self.name = [a for a, _ in found], [n for _, n in found]
        self.end = dict(zip(self.name, self.at)).get("_end", IMAGE_END)

    def of_page(self, page):
        """The symbols that begin on the page, or the one that it is part of; "" if there is none."""
        if page * PAGE >= self.end:
            return ""
        first, last = bisect.bisect_left(self.at, page * PAGE), bisect.bisect_left(self.at, (page + 1) * PAGE)
        if first == last:
            return f"{self.name[first - 1]}+" if 0 < first < len(self.at) else ""
        return self.name[first] + (f" and {last - first - 1} more" if last - first > 1 else "")


def load(path):
    with open(path, encoding="ascii", errors="replace") as f:
        symbols = Symbols(f)
    if not symbols.at:
        raise ValueError(f"{path}: no symbol of a kernel's image in it; needed: System.map, or root's /proc/kallsyms")
    return symbols


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        symbols, pages = load(sys.argv[1]), [int(word, 0) for word in sys.argv[2:]]
    except (OSError, ValueError) as e:
        print(f"symbols: {e}", file=sys.stderr)
        return 1
    for page in pages:
        print(f"{page:#x} {symbols.of_page(page) or '-'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
