# SPDX-License-Identifier: BSD-3-Clause
"""A page as Chromium shows it: its pictures and its measures. For ./dev bench report and for the tests that look at
its pages. A page comes from a file of ours; nothing here goes to the network.
"""
import html
import io
import json
import os
import re
import shutil
import subprocess
import tempfile

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120
SLICE = 6000  # pixels of height that are taken at once: a window has a highest
HEIGHT_MAX = 120000  # of a picture; longer pages are cut
# The frame is as wide as wanted: a window is at least 500 pixels wide. What it shows is measured from outside, so
# that the page itself needs, and has, no script.
FRAME = """<!doctype html><meta charset="utf-8">
<style>html,body{{margin:0;overflow:hidden}}iframe{{border:0;display:block;margin-top:-{top}px}}</style>
<iframe id="f" width="{width}" height="{height}" srcdoc="{page}"></iframe>{script}"""
MEASURE = """<pre id="measured"></pre><script>
addEventListener("load", () => {
  const d = document.getElementById("f").contentDocument, r = d.documentElement, boxes = {};
  for (const e of d.querySelectorAll("[id]")) {
    const b = e.getBoundingClientRect();
    boxes[e.id] = [b.left, b.top, b.right, b.bottom];
  }
  document.getElementById("measured").textContent =
    JSON.stringify({width: r.scrollWidth, height: r.scrollHeight, text: d.body.innerText, boxes: boxes});
});
</script>"""


class NoBrowser(Exception):
    """There is none, or it did not do what it was asked; the text says what to do."""


def program():
    for name in PROGRAMS:
        path = shutil.which(name)
        if path:
            return path
    raise NoBrowser(f"no {PROGRAMS[0]}: ./dev setup look installs it")


def run(url, *words, width=1280, height=900):
    """What it prints. A profile of its own, which is removed."""
    with tempfile.TemporaryDirectory(prefix="pando-look-") as profile:
        line = [program(), "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pings",
                "--disable-dev-shm-usage", "--force-device-scale-factor=1", f"--user-data-dir={profile}",
                f"--window-size={max(width, 500)},{height}", *words, url]  # fmt: skip
        if os.geteuid() == 0:
            line.insert(1, "--no-sandbox")  # Chromium refuses to start as root with it
        try:
            done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise NoBrowser(f"{line[0]} did not end within {SECONDS} s") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise NoBrowser(f"{line[0]} ended with {done.returncode}: {said[-1][:200] if said else 'it said nothing'}")
        return done.stdout.decode("utf-8", "replace")


def framed(page, width, height, script, *words, top=0, window=None):
    """Runs it on a page (text) in a frame of this size, in a window of that height which shows it from `top` on."""
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as f:
        f.write(FRAME.format(width=width, height=height, page=html.escape(page, quote=True), script=script, top=top))
        f.flush()
        return run("file://" + f.name, *words, width=width, height=(window or height) + 200)


def measure(page, width):
    """{"width", "height": of what it shows; "text"; "boxes": {id: [left, top, right, bottom]}}, in pixels."""
    said = framed(page, width, 900, MEASURE, "--virtual-time-budget=5000", "--dump-dom")
    found = re.search(r'<pre id="measured">(.*?)</pre>', said, re.S)
    if not found or not found[1]:
        raise NoBrowser("the page was not measured")
    return json.loads(html.unescape(found[1]))


def picture(page, width, height):
    """A PIL image of the page's first pixels."""
    try:
        from PIL import Image
    except ImportError:
        raise NoBrowser("no python3-pil: ./dev setup look installs it") from None
    height = min(int(height), HEIGHT_MAX)
    whole = Image.new("RGB", (width, height), "white")
    with tempfile.TemporaryDirectory(prefix="pando-look-") as folder:
        file = os.path.join(folder, "page.png")
        for top in range(0, height, SLICE):
            here = min(SLICE, height - top)
            framed(page, width, height, "", f"--screenshot={file}", top=top, window=here)
            with open(file, "rb") as f:
                whole.paste(Image.open(io.BytesIO(f.read())).convert("RGB").crop((0, 0, width, here)), (0, top))
    return whole
