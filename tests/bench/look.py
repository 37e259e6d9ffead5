#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The report's page as Chromium shows it, made by perf/report.py from samples/: results of a development machine, cut
down by cut.py. A page is not blank, says what it must, fits 1280 and 400 pixels, and asks nothing of the network; each
of these is also seen to fail on a page where it does not hold.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", "system"), os.path.join(ROOT, "perf", "common")]
import browser  # noqa: E402
import charts  # noqa: E402
import outcome  # noqa: E402
import schema  # noqa: E402

TEXTS = ("Pando, measured", "64 bytes there and back", "noise floor", "TCP, spinning", "99.9 %", "Goals:", "short by",
         "Where the time goes: an interrupt between nodes", "taken by its thread", "What was not measured",
         "local fault, polled, read",
         "All results", "µs", "Intel")  # fmt: skip
NASTY = "<script>document.title='owned'</script><img src=http://198.51.100.7/x.png>"
PLANTED = "<!doctype html><title>x</title><body><img src='http://198.51.100.7/x.png'>"
WIDE = "<!doctype html><meta name=viewport content='width=device-width'><body><div id='a' style='width:600px'>x</div>"
TALL = (f"<!doctype html><body style='margin:0'><div style='height:{browser.SLICE + 50}px'></div>"
        "<div style='height:40px;background:#123456'></div>")  # fmt: skip


class Listener:
    """Stands for the network: a proxy that answers nobody and keeps the first line of whoever comes."""

    def __enter__(self):
        self.said = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(2)
                try:
                    self.said.append(peer.recv(500).decode("latin-1").split("\r\n")[0])
                except OSError:
                    self.said.append("a connection")

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


# What Chromium asks for by itself, whatever it shows and whatever it is told: its clock, its components, its account.
ITS_OWN = re.compile(r"^\w+ (https?://)?(clients\d*\.google|update\.googleapis|optimizationguide-pa\.googleapis|"
                     r"accounts\.google|(edgedl|redirector)\.gvt1|safebrowsing\w*\.googleapis|content-autofill"
                     r"\.googleapis|android\.clients\.google|www\.google)\.com[:/]")  # fmt: skip


def seen_on_network(url):
    """(what the page asked for, its DOM)"""
    with Listener() as net:
        words = [f"--proxy-server=http://127.0.0.1:{net.port}", "--proxy-bypass-list=<-loopback>", "--dump-dom"]
        dom = browser.run(url, *words, "--virtual-time-budget=3000")
        return [line for line in net.said if not ITS_OWN.match(line)], dom


class Report:
    """The page and its pictures, made once."""

    def __init__(self, folder):
        self.folder = folder
        self.source = os.path.join(folder, "results")
        shutil.copytree(os.path.join(HERE, "samples"), self.source)
        self.spoil()
        words = [os.path.join(ROOT, "perf", "report.py"), "--from", self.source, "--out", folder]
        self.done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300)
        self.path = os.path.join(folder, "report.html")
        self.text = ""
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as f:
                self.text = f.read()

    def spoil(self):
        """Sentences with markup in a file that is taken, and a file that is not."""
        with open(os.path.join(self.source, "rtt.json"), encoding="utf-8") as f:
            out = json.load(f)
        out["not_measured"].append(NASTY)
        out["remarks"].append(NASTY)
        with open(os.path.join(self.source, "rtt.json"), "w", encoding="utf-8") as f:
            json.dump(out, f)
        out["bench"], out["results"][0]["name"] = "hostile", NASTY
        with open(os.path.join(self.source, "hostile.json"), "w", encoding="utf-8") as f:
            json.dump(out, f)

    def figures(self):
        folder = os.path.join(self.folder, "figures")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def made(report):
    if report.done.returncode != 1 or "hostile.json is left out" not in report.done.stderr:
        return f"status {report.done.returncode} where one file is to be refused: {report.done.stderr.strip()[-300:]}"
    wanted = {"top.png", "rtt-wire.png", "rtt-memory.png", "noise.png", "span-ipi.png", "fault.png"}
    lacking = wanted - set(report.figures())
    return f"no figures {sorted(lacking)}: {report.done.stderr.strip()[-300:]}" if lacking else None


def colors_of(image):
    return {c: n for n, c in image.getcolors(1 << 24)}


def near(colors, wanted):
    """Pixels of a colour, as far as 128 colours hold it."""
    want = tuple(int(wanted[i:i + 2], 16) for i in (1, 3, 5))
    return sum(n for c, n in colors.items() if max(abs(a - b) for a, b in zip(c, want)) <= 24)


def blank(path, *wanted):
    """What is wrong with a picture: it must be light, with dark text, and where a figure has its plot, between a
    third and half of its height, have lines of these colours."""
    from PIL import Image

    with Image.open(path) as opened:
        image = opened.convert("RGB")
    colors, total, name = colors_of(image), image.width * image.height, os.path.basename(path)
    light, dark = (sum(n for c, n in colors.items() if test(sum(c))) / total for test in
                   (lambda s: s > 690, lambda s: s < 240))  # fmt: skip
    if not 0.6 < light < 0.995 or dark < 0.002:
        return f"{name}: {light:.1%} of it is light and {dark:.2%} dark"
    plot = colors_of(image.crop((0, image.height // 3, image.width, image.height // 2)))
    few = [c for c in wanted if near(plot, c) < 50]
    return f"{name}: hardly a pixel of {', '.join(few)} in its plot" if few else None


def pictures(report):
    from PIL import Image

    ours, peer = (charts.STYLES[role][0][0] for role in (charts.OURS, charts.PEER))
    figures = os.path.join(report.folder, "figures")
    wrong = [blank(os.path.join(figures, "rtt-wire.png"), ours, peer),
             blank(os.path.join(figures, "rtt-memory.png"), ours),
             blank(os.path.join(report.folder, "report.png"))]  # fmt: skip
    wrong += [blank(os.path.join(figures, f)) for f in report.figures()]
    empty = os.path.join(report.folder, "empty.png")
    Image.new("RGB", (400, 300), "white").save(empty)
    if not blank(empty):
        return "an empty picture is taken for a page"
    tall = browser.picture(TALL, 500, browser.SLICE + 120)
    found = [tall.getpixel((9, browser.SLICE + y)) for y in (40, 60, 110)]
    if found != [(255, 255, 255), (0x12, 0x34, 0x56), (255, 255, 255)]:
        return f"a page of two slices is put together wrongly: {found}"
    return next((w for w in wrong if w), None), f"{len(report.figures())} figures"


def says(report):
    """The DOM, with a proxy in front of the network; and a page that does ask."""
    asked, dom = seen_on_network("file://" + report.path)
    if asked:
        return f"the page asked the network for {asked[:3]}"
    lacking = [t for t in TEXTS if t not in dom]
    if lacking:
        return f"not in the page: {lacking}"
    if "<title>Pando, measured</title>" not in dom or "&lt;script&gt;" not in dom or "<img" in dom:
        return "markup of a result became markup of the page"
    planted = os.path.join(report.folder, "planted.html")
    with open(planted, "w", encoding="utf-8") as f:
        f.write(PLANTED)
    if not seen_on_network("file://" + planted)[0]:
        return "a page that asks the network was not noticed"
    return None


def too_wide(facts, width):
    over = [i for i, (_, _, right, _) in facts["boxes"].items() if right > width + 0.5]
    if facts["width"] > width or over:
        return f"at {width} pixels the page is {facts['width']} wide; beyond the edge: {over[:3]}"
    return None


def fits(report):
    if not too_wide(browser.measure(WIDE, 400), 400):
        return "a page that is too wide was not noticed"
    narrow, broad = (browser.measure(report.text, w) for w in (400, 1280))
    if "TCP, spinning" not in narrow["text"]:
        return "at 400 pixels the legend is gone"
    return too_wide(narrow, 400) or too_wide(broad, 1280)


def main():
    args = outcome.parser(__doc__).parse_args()
    try:
        browser.program()
        import PIL  # noqa: F401

        lacking = "" if schema.jsonschema else schema.WITHOUT
    except (browser.NoBrowser, ImportError) as e:
        lacking = str(e)
    with tempfile.TemporaryDirectory() as folder:
        report = None if lacking else Report(folder)

        def guarded(test):
            if lacking:
                raise outcome.Skipped(lacking)
            try:
                return test(report)
            except (browser.NoBrowser, OSError) as e:
                return str(e)

        tests = {"bench/made": made, "bench/pictures": pictures, "bench/says": says, "bench/fits": fits}
        return outcome.status([outcome.run(args.tally, name, lambda t=t: guarded(t)) for name, t in tests.items()])


if __name__ == "__main__":
    sys.exit(main())
