# SPDX-License-Identifier: BSD-3-Clause
"""Adds the results of `meson test` in a build directory to the tally of `./dev test`; prints a
line each.
"""
import json
import sys

WORDS = {"OK": "pass", "EXPECTEDFAIL": "pass", "SKIP": "skip"}


def main():
    build, tally = sys.argv[1:]
    try:
        with open(f"{build}/meson-logs/testlog.json", encoding="utf-8") as f:
            results = [json.loads(line) for line in f if line.strip()]
    except OSError as e:
        print(f"tally.py: {e}", file=sys.stderr)
        return 1
    with open(tally, "a", encoding="utf-8") as out:
        for r in results:
            word = WORDS.get(r["result"], "fail")
            name = f"{build}/{r['name']}"
            reason = ""
            if word == "skip":
                reason = " ".join(
                    (r.get("stdout") or r.get("stderr") or "the test says so").split()
                )[-160:]
            elif word == "fail":
                reason = f"{r['result']}; again: meson test -C {build} '{r['name']}'"
            out.write(f"{word}\t{name}\t{reason}\n")
            mark = {"pass": "ok  ", "skip": "SKIP", "fail": "FAIL"}[word]
            print(f"{mark} {name} ({r['duration']:.1f} s) {reason}")
    return 0 if results else 1


if __name__ == "__main__":
    sys.exit(main())
