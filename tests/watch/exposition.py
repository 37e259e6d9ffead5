# SPDX-License-Identifier: BSD-3-Clause
"""Prometheus' text format, version 0.0.4, read strictly: parse(text) gives {(name, labels): value}, or raises
ValueError with the line. Stricter than Prometheus: HELP and TYPE for each family, in this order, samples of a family
together, each once, counters named _total, histograms complete and cumulative."""
import re
import shutil
import subprocess

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
NUMBER = re.compile(r"[+-]?Inf|NaN|[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")


def labels_of(text, line):
    labels, at = [], 0
    while at < len(text):
        m = LABEL.match(text, at)
        if not m:
            raise ValueError(f"labels: {line}")
        labels.append((m[1], re.sub(r"\\(.)", lambda e: "\n" if e[1] == "n" else e[1], m[2])))
        at = m.end()
    if text.endswith(",") or len({k for k, _ in labels}) != len(labels):
        raise ValueError(f"labels: {line}")
    return tuple(sorted(labels))


def histograms(samples, name):
    """Each histogram of a family: cumulative, with +Inf, _sum and _count."""
    found = {}
    for (n, labels), value in samples.items():
        if n == name + "_bucket":
            rest = tuple(p for p in labels if p[0] != "le")
            found.setdefault(rest, []).append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
    for labels, buckets in found.items():
        edges, counts = zip(*buckets)
        if list(edges) != sorted(set(edges)) or list(counts) != sorted(counts) or edges[-1] != float("inf"):
            raise ValueError(f"buckets of {name} {labels}: {buckets}")
        if samples.get((name + "_count", labels)) != counts[-1] or (name + "_sum", labels) not in samples:
            raise ValueError(f"{name} {labels}: _count or _sum")


def parse(text):
    if not text.endswith("\n") or not text.isascii():
        raise ValueError("it is ASCII here, and ends with a newline")
    samples, families, now, kind = {}, set(), None, None
    helped = None
    for line in text[:-1].split("\n"):
        if m := re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line):
            helped = m[1]
            if helped in families:
                raise ValueError(f"again: {line}")
        elif m := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line):
            now, kind = m[1], m[2]
            if now != helped or (kind == "counter") != now.endswith("_total"):
                raise ValueError(f"type: {line}")
            families.add(now)
        elif m := re.fullmatch(rf"({NAME})(?:\{{(.*)\}})? (\S+)", line):
            name, value = m[1], m[3]
            allowed = [now + s for s in ("_bucket", "_sum", "_count")] if kind == "histogram" else [now]
            if name not in allowed or not NUMBER.fullmatch(value):
                raise ValueError(f"sample: {line}")
            key = (name, labels_of(m[2] or "", line))
            if key in samples or (kind == "counter" and float(value) < 0):
                raise ValueError(f"sample: {line}")
            samples[key] = float(value)
        else:
            raise ValueError(f"line: {line!r}")
    for name in families:
        histograms(samples, name)
    return samples


def get(samples, name, **labels):
    """The sum over all samples of that name with these labels."""
    want = set(labels.items())
    return sum(v for (n, have), v in samples.items() if n == name and want <= set(have))


def promtool(text):
    """What Prometheus' own checker says, "" if nothing or where there is none."""
    program = shutil.which("promtool")
    if program is None:
        return ""
    p = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    return "" if p.returncode == 0 else p.stdout + p.stderr
