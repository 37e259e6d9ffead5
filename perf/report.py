#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench report: one page, and pictures, of what the benches found.

Reads DIR/*.json, as ./dev bench all leaves them there (or ./dev bench NAME --json | tail -n 1 >DIR/NAME.json), and
nothing else. Writes report.html, which needs no network, no script and no other file; report.png, the page; and
figures/NAME.png, each figure by itself, where Chromium is installed. A file that is not what perf/schema.json says is
named on the page and left out; benches that are missing are named, too.
"""
import argparse
import os
import sys

PERF = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [PERF, os.path.join(PERF, "common")]
import all as every  # noqa: E402
import browser  # noqa: E402
import page  # noqa: E402
import schema  # noqa: E402

ROOT = os.path.dirname(PERF)
ORDER = ("rtt", "fault", "span", "giantvm", "upgrade", "ipi", "io", "scale", "kernels", "stream", "capture", "cycles",
         "idle", "noise")  # fmt: skip
WIDTH, MARGIN = 1120, 10


def say(text):
    print(text, file=sys.stderr, flush=True)


def load(folder):
    """({bench: object} in the order of the page, [(file, why it was not taken)])"""
    found, refused = {}, []
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".json"):
            continue
        try:
            out = schema.read(os.path.join(folder, file))
            if out["bench"] in found:
                raise schema.BadResult(f"a second file of bench {out['bench']}")
            found[out["bench"]] = out
        except (schema.BadResult, OSError) as e:
            refused.append((file, str(e)[:500]))
    place = lambda name: ORDER.index(name) if name in ORDER else len(ORDER)
    return {n: found[n] for n in sorted(found, key=lambda n: (place(n), n))}, refused


def absent_of(found):
    """{bench: why it is not here}: what ./dev bench all says of it, else how to get it."""
    known = {r["name"]: r for r in found.get("all", {}).get("benches", [])}
    names = [*every.declared(), *(n for n in known if n not in every.declared())]
    out = {}
    for n in (n for n in names if n not in found):
        row = known.get(n)
        out[n] = f"{row['state']}: {row['why']}" if row and row["why"] else f"no result; ./dev bench {n} makes one"
    return out


def pictures(text, folder):
    """report.png and figures/NAME.png; how many."""
    facts = browser.measure(text, WIDTH)
    whole = browser.picture(text, WIDTH, facts["height"])
    os.makedirs(os.path.join(folder, "figures"), exist_ok=True)
    save(whole, os.path.join(folder, "report.png"))
    n = 1
    for ident, box in facts["boxes"].items():
        if ident != "top" and not ident.startswith("fig-"):
            continue
        left, upper, right, lower = (int(v) for v in box)
        if lower <= whole.height and right > left and lower > upper:
            around = (max(left - MARGIN, 0), max(upper - MARGIN, 0), right + MARGIN, min(lower + MARGIN, whole.height))
            save(whole.crop(around), os.path.join(folder, "figures", ident.removeprefix("fig-") + ".png"))
            n += 1
    return n


def save(image, path):
    """With 128 colours: of lines and text nobody sees the difference, and it is a third of the bytes."""
    image.quantize(128).save(path, optimize=True)


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench report", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--build", help=argparse.SUPPRESS)
    parser.add_argument("--from", dest="source", metavar="DIR", help="where results are (default out/bench)")
    parser.add_argument("--out", metavar="DIR", help="where the page goes (default: the same)")
    parser.add_argument("--no-pictures", action="store_true", help="the page alone")
    args = parser.parse_args()
    here = os.environ.get("PANDO_CWD", os.getcwd())
    args.source = os.path.join(here, args.source) if args.source else os.path.join(ROOT, "out", "bench")
    args.out = os.path.join(here, args.out) if args.out else args.source
    return args


def main():
    args = arguments()
    if schema.jsonschema is None:
        say(f"bench report: {schema.WITHOUT}")
        return 4
    try:
        found, refused = load(args.source)
        os.makedirs(args.out, exist_ok=True)
    except OSError as e:
        say(f"bench report: {e}; ./dev bench all puts results into out/bench")
        return 4
    for file, why in refused:
        say(f"bench report: {file} is left out: {why}")
    if not any(n != "all" for n in found):
        say(f"bench report: no result in {args.source}; ./dev bench all makes them")
        return 4
    with open(os.path.join(PERF, "common", "page.css"), encoding="utf-8") as f:
        text = page.page(found, absent_of(found), refused, f.read())
    path = os.path.join(args.out, "report.html")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    print(f"{path}: {len(found) - ('all' in found)} benches")
    if not args.no_pictures:
        try:
            print(f"{pictures(text, args.out)} pictures beside it")
        except browser.NoBrowser as e:
            say(f"bench report: no pictures: {e}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
