# SPDX-License-Identifier: BSD-3-Clause
"""Whether an object is what a bench may print: perf/schema.json, and what a JSON Schema cannot say.

A result is foreign to whoever reads it: it may come from another machine. read() and check() are the border; behind
them names, numbers and lengths are as the schema says, and only sentences can hold any character but control codes.
"""
import functools
import json
import math
import os

try:
    import jsonschema
except ImportError:  # said by whoever needs it; the rules below are checked all the same
    jsonschema = None

FILE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "schema.json")
BYTES_MAX = 32 << 20
DEPTH_MAX = 16  # the schema's own is 7
WITHOUT = "python3-jsonschema is not installed (./dev setup): not checked against perf/schema.json"


class BadResult(Exception):
    """Not a bench's object: which member, what it is, and what is allowed."""


def refuse_constant(text):
    raise BadResult(f"{text} is not a number of JSON")


def once(pairs):
    """JSON allows a member twice; which of them counts is then the reader's guess."""
    out = dict(pairs)
    if len(out) != len(pairs):
        raise BadResult(f"a member occurs twice in {{{', '.join(k for k, _ in pairs)[:80]}}}")
    return out


def parse(text):
    """The object in a text; BadResult says why there is none."""
    if len(text) > BYTES_MAX:
        raise BadResult(f"{len(text)} bytes; at most {BYTES_MAX} are read")
    try:
        return json.loads(text, parse_constant=refuse_constant, object_pairs_hook=once)
    except (ValueError, RecursionError) as e:
        raise BadResult(f"not JSON: {e}") from None


def read(path):
    """The object in a file, checked. BadResult, OSError."""
    with open(path, "rb") as f:
        text = f.read(BYTES_MAX + 1)
    try:
        out = parse(text.decode("utf-8"))
    except UnicodeDecodeError as e:
        raise BadResult(f"not UTF-8: {e}") from None
    wrong = check(out)
    if wrong:
        raise BadResult("; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""))
    return out


def check(out):
    """What is wrong with it, in sentences; none: nothing is."""
    wrong = list(plain(out, "the object", 0))
    if wrong:
        return wrong
    if jsonschema is not None:
        errors = sorted(validator().iter_errors(out), key=lambda e: list(map(str, e.absolute_path)))
        wrong = [in_words(e) for e in errors]
    return wrong or [*rules(out)]


@functools.lru_cache
def validator():
    with open(FILE, encoding="utf-8") as f:
        return jsonschema.Draft202012Validator(json.load(f))


def in_words(e):
    where = "/".join(map(str, e.absolute_path)) or "the object"
    return f"{where}: {e.message[:300]}"


def plain(value, where, depth):
    """Numbers are finite, strings are text: what holds wherever they stand."""
    if depth > DEPTH_MAX:
        yield f"{where}: deeper than {DEPTH_MAX} levels"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where}: {value} is not finite"
    elif isinstance(value, str) and any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in value):
        yield f"{where}: {value[:60]!a} has a control code or half of a surrogate pair"
    elif isinstance(value, (list, dict)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str):
                yield from plain(key, f"a member's name in {where}", depth)
            yield from plain(each, f"{where}/{str(key)[:60]}" if depth else str(key)[:60], depth + 1)


def rules(out):
    """What members must be to each other. The object has the schema's form, or there is no package to see that."""
    try:
        yield from named_once(out)
        for h in [*out["noise"], *(r for r in out["results"] if "buckets" in r)]:
            yield from histogram(h)
        for v in (r for r in out["results"] if "buckets" not in r):
            yield from ordered(v["name"], v, ("low", "median", "high"))
            if (v["rounds"] == 0) != ("modelled" in v):
                yield f"{v['name']}: {v['rounds']} rounds; 0 where it is modelled, and only there"
        for r in [*out["ratios"], *out["goals"]]:
            yield from ordered(r["name"], r, ("low", "value", "high"))
        for g in out["goals"]:
            yield from goal(g)
        known = {r["name"] for r in out["results"] if "buckets" in r}
        for w in out.get("waterfalls", []):
            yield from (f"{w['name']}: no histogram {n} is among the results"
                        for n in [w["total"], *w["stages"]] if n not in known)  # fmt: skip
    except (KeyError, TypeError, ValueError) as e:
        yield f"not a bench's object: {e!r:.200}"


def named_once(out):
    for kind in ("results", "ratios", "goals"):
        names = [r["name"] for r in out[kind]]
        yield from (f"{kind}: {n} occurs {names.count(n)} times" for n in sorted(set(names)) if names.count(n) > 1)


def ordered(name, row, keys):
    values = [row[k] for k in keys if k in row]
    if values != sorted(values):
        yield f"{name}: {', '.join(f'{k} {row[k]}' for k in keys if k in row)}: not ascending"


def histogram(h):
    tops = [top for top, _ in h["buckets"]]
    if any(a >= b for a, b in zip(tops, tops[1:])):
        yield f"{h['name']}: buckets do not ascend"
    if sum(n for _, n in h["buckets"]) != h["n"]:
        yield f"{h['name']}: n is {h['n']}, and the buckets hold {sum(n for _, n in h['buckets'])}"
    yield from ordered(h["name"], h, ("p50_low", "p50", "p50_high"))
    yield from ordered(h["name"], h, ("min", "p90", "p99", "p999", "max"))


def over(value, limit, sense):
    """By how much a value misses its goal; negative: by how much it keeps it."""
    return limit - value if sense == ">=" else value - limit


def met(value, limit, sense):
    return over(value, limit, sense) < 0 or (sense != "<" and value == limit)


def goal(g):
    if g["met"] != met(g["value"], g["goal"], g["sense"]):
        yield f"{g['name']}: {g['value']} {g['sense']} {g['goal']} is {not g['met']}, and met says otherwise"
    short = 0 if g["met"] else over(g["value"], g["goal"], g["sense"])
    if abs(g["short_by"] - short) > 1e-3 * max(1, abs(g["goal"])):
        yield f"{g['name']}: short_by is {g['short_by']}, and should be {round(short, 3)}"
