# SPDX-License-Identifier: BSD-3-Clause
"""The report's page: from checked objects (schema.read()) to one HTML text. No file, no clock, no network.

The page needs nothing but itself: style inside, no script, and a policy that forbids both to it. What is not there is
named. Every text of a result is escaped; numbers are numbers, since the schema said so.
"""
import charts
import figures
from charts import esc, number, time_words, whole

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
SHORT_SHA = 10


def machine_words(out):
    h = out["host"]
    under = f", under {h['hypervisor']}" if h["hypervisor"] else ""
    governor = f", governor {h['governor']}" if h["governor"] else ""
    return f"{h['cpus']} CPUs, {h['cpu']}{under}; Linux {h['kernel']}, clock {h['clocksource']}{governor}"


def revision_words(out):
    return out["revision"][:SHORT_SHA] + (" with changes" if out["dirty"] else "")


def stolen_ppm(noise):
    return noise.get("counts", {}).get("stolen_ppm", 0)


def noise_words(out):
    """The machine's noise floor, of the CPU where it is worst."""
    if not out["noise"]:
        return "noise floor not measured"
    worst = max(out["noise"], key=lambda h: stolen_ppm(h))
    return (f"noise floor: an empty loop lost up to {stolen_ppm(worst) / 1e4:.2g} % of a CPU in "
            f"gaps over 1 µs, the longest {time_words(max(h['max'] for h in out['noise']))}")  # fmt: skip


def label_of(out):
    """What stands below every figure, so that a picture cut out of the page still says where it is from."""
    return (f"{out['bench']}, {out['when'][:10]}, revision {revision_words(out)}. {machine_words(out)}; "
            f"{noise_words(out)}.")  # fmt: skip


def tile(value, text):
    return f'<div class="tile"><b>{esc(value)}</b><span>{esc(text)}</span></div>'


def find(benches, bench, name):
    return next((r for r in benches.get(bench, {"results": []})["results"] if r["name"] == name), None)


def least(rows):
    return min((r for r in rows if r), key=lambda r: r["p50"], default=None)


def tiles_of(benches):
    """What somebody who sees the page first wants to know."""
    out = []
    ours = least(find(benches, "rtt", f"rtt/{n}/64") for n in ("af_xdp", "af_packet"))
    peer = find(benches, "rtt", "rtt/tcp_spin/64")
    if ours and peer:
        by = figures.words_of([ours["name"].split("/")[1]])
        out.append(tile(time_words(ours["p50"]), f"64 bytes there and back by {by}; "
                        f"spinning TCP on the same link {time_words(peer['p50'])}"))  # fmt: skip
    fault = find(benches, "fault", "fault/read")
    if fault:
        out.append(tile(time_words(fault["p50"]), f"a guest waits for a page that another node has modified; 99\u00a0%: "
                        f"{time_words(fault['p99'])}"))  # fmt: skip
    pages = [find(benches, "stream", f"stream/{n}/9000") for n in ("shm", "memif", "af_packet", "af_xdp")]
    best = max((r for r in pages if r), key=lambda r: r["median"], default=None)
    if best:
        out.append(tile(f"{number(best['median'] * 4096 / 1e9)} GB/s",
                        f"pages one after the other, {figures.words_of([best['name'].split('/')[1]])}"))  # fmt: skip
    goals = every_goal(benches)
    if goals:
        met = sum(g["met"] for g in goals)
        out.append(tile(f"{met} of {len(goals)}", "goals met; the rest with what they lack below"))
    first = benches.get("noise") or next(iter(benches.values()))
    if first["noise"]:
        out.append(tile(time_words(max(h["max"] for h in first["noise"])), "longest gap of an empty loop on this "
                        "machine: its noise floor"))  # fmt: skip
    return f'<div class="tiles">{"".join(out)}</div>' if out else ""


def take_of(f, rows):
    """One sentence: the fastest of ours beside the fastest peer."""
    ours = least(r for r in rows if figures.role_of(r) == charts.OURS)
    peer = least(r for r in rows if figures.role_of(r) == charts.PEER)
    if not ours or not peer or not ours["p50"] or not peer["p50"]:
        return ""
    part = ours["p50"] / peer["p50"]
    return (f'<p class="take">{esc(f.label(ours))}: {time_words(ours["p50"])}. {esc(f.label(peer))}, the fastest of '
            f'the others: {time_words(peer["p50"])}. Medians; a ratio of {part:.2f}.</p>')  # fmt: skip


def figure(ident, title, text, take, body, out):
    return (f'<figure id="{esc(ident)}"><h3>{esc(title)}</h3>{take}<p>{esc(text)}</p>{body}'
            f'<figcaption>{esc(label_of(out))}</figcaption></figure>')  # fmt: skip


CURVES = "How to read it: a curve shows which share of the samples took no longer; further left is faster, and what " \
         "climbs late has a tail. Curves end where fewer than ten samples are left."


def figures_of(benches):
    out, explained = [], False
    for name, o in benches.items():
        if name == "all":
            continue
        out += [waterfall_of(o, w) for w in o.get("waterfalls", [])]
        drawn = {n for w in o.get("waterfalls", []) for n in w["stages"]}  # the wholes are drawn beside each other
        for f, rows in figures.of_bench(name, [r for r in o["results"] if r["name"] not in drawn]):
            text = f.text
            if f.kind == "distribution" and not explained:
                text, explained = f"{text} {CURVES}", True
            take = take_of(f, rows) if f.kind == "distribution" else ""
            out.append(figure("fig-" + f.key, f.title, text, take, figures.draw(f, rows), o))
    return "".join(out)


APART = 0.8  # the stages' medians add up to less than this of the whole's: said


def waterfall_of(out, w):
    rows = {r["name"]: r for r in out["results"]}
    total, stages = rows[w["total"]], [rows[n] for n in w["stages"]]
    kind, sum_of = w["name"].split("/")[1:], sum(s["p50"] for s in stages)
    text = (f"{whole(total['n'])} samples. A bar is the median time until what its line says; they add up to "
            f"{time_words(sum_of)}.")  # fmt: skip
    if sum_of < APART * total["p50"]:
        text += " The median of the whole is longer: many samples wait in one stage or another, as 99 % shows."
    title = "Where the time goes: " + figures.words_of(kind or [w["name"]], figures.SPANS)
    body = charts.waterfall(total, stages, figures.stage_words)
    return figure("fig-" + w["name"].replace("/", "-"), title, f"{text} {w.get('note', '')}", "", body, out)


def every_goal(benches):
    """Of all benches but all, which repeats them; (bench, goal) would be the same twice where two benches ask it."""
    seen = {}
    for name, o in benches.items():
        if name != "all":
            seen |= {(g["name"], name): g for g in o["goals"]}
    return list(seen.values())


def goal_row(g):
    unit = f" {g['unit']}" if "unit" in g else ""
    sides = "<span>" + "</span> : <span>".join(esc(s) for s in g["name"].split(" : ")) + "</span>"
    verdict = "✓ met" if g["met"] else f"✗ short by {number(g['short_by'])}"
    why = f'<small>{esc(g["why"])}</small>' if "why" in g else ""
    p = "–" if g["p"] is None else f"{g['p']:.2g}"
    sense, kind = {"<=": "≤", ">=": "≥"}.get(g["sense"], g["sense"]), "met" if g["met"] else "short"
    return (f'<tr><td class="name compared"><code>{sides}</code>{why}</td>'
            f'<td class="wide">{charts.against_goal(g)}</td>'
            f'<td class="strong" data-is="value">{number(g["value"])}{esc(unit)}</td>'
            f'<td class="wide">{number(g["low"])}…{number(g["high"])}</td><td class="wide">{p}</td>'
            f'<td data-is="goal">{esc(sense)} {number(g["goal"])}</td>'
            f'<td class="verdict {kind}">{verdict}</td></tr>')  # fmt: skip


def goal_table(goals):
    heads = (("", "what : beside what"), ("wide", "on a log scale, the goal in the middle"), ("", "value"),
             ("wide", "spread"), ("wide", "p, both alike"), ("", "goal"), ("", ""))  # fmt: skip
    cells = "".join(f'<th scope="col" class="{kind}">{words}</th>' for kind, words in heads)
    rows = "".join(goal_row(g) for g in goals)
    return f'<table class="named"><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>'


def goals_of(benches):
    goals = every_goal(benches)
    short, kept = [g for g in goals if not g["met"]], [g for g in goals if g["met"]]
    if not goals:
        return '<h2 id="goals">Goals</h2><p>No bench that is here has goals.</p>'
    out = (f'<h2 id="goals">Goals: {len(kept)} met, {len(short)} short</h2><p class="soft">Ratios of medians, round by '
           "round in the same run; spread over the rounds; p that both sides are alike, by Mann-Whitney U over the rounds "
           "of both (not that the goal is met; – : too few rounds, or no two sides).</p>")  # fmt: skip
    if short:
        out += f"<details open><summary>Short of the goal ({len(short)})</summary>{goal_table(short)}</details>"
    if kept:
        out += f"<details open><summary>Met ({len(kept)})</summary>{goal_table(kept)}</details>"
    return out


def listed(sentences):
    return f"<ul>{''.join(f'<li>{esc(s)}</li>' for s in sentences)}</ul>"


def missing_of(benches, absent, refused):
    """absent: {bench: why}; refused: [(file, why)]"""
    out = ['<h2 id="missing">What was not measured</h2>']
    if absent:
        out.append("<h3>Benches that are not here</h3>" + listed(f"{n}: {why}" for n, why in absent.items()))
    if refused:
        out.append("<h3>Files that were not taken</h3>" + listed(f"{n}: {why}" for n, why in refused))
    for name, o in benches.items():
        if name != "all" and o["not_measured"]:
            out.append(f"<h3>{esc(name)}</h3>" + listed(o["not_measured"]))
    if len(out) == 1:
        out.append("<p>All benches are here, and none of them lacks anything.</p>")
    remarks = [f"{n}: {t}" for n, o in benches.items() if n != "all" for t in o["remarks"]]
    return "".join(out) + ("<h2>Remarks</h2>" + listed(remarks) if remarks else "")


def result_row(r):
    if "buckets" in r:
        show = time_words if r["unit"] == "us" else number
        spread = f"{show(r['p50_low'])}…{show(r['p50_high'])}"
        cells = [show(r["p50"]), spread, show(r["p99"]), show(r["max"]), whole(r["n"])]
    else:
        spread = f"{number(r['low'])}…{number(r['high'])}"
        cells = [f"{number(r['median'])} {r['unit']}", spread, "", "", whole(r["rounds"])]
    more = [f"{k} {number(v)}" for k, v in r.get("counts", {}).items()] + [r[k] for k in ("note",) if k in r]
    more += [f"modelled, not measured: {r['modelled']}"] if "modelled" in r else []
    small = f"<small>{esc('; '.join(more))}</small>" if more else ""
    kinds = (' data-is="median"', ' class="wide"', ' data-is="99 %"', ' data-is="longest"', ' class="wide"')
    return (f'<tr><td class="name"><code>{esc(r["name"])}</code>{small}</td>'
            + "".join(f"<td{k}>{esc(c)}</td>" for k, c in zip(kinds, cells)) + "</tr>")  # fmt: skip


def ratio_row(r):
    p = "" if r["p"] is None else f"p alike {r['p']:.2g}"
    return (f'<tr><td class="name"><code>{esc(r["name"])}</code></td><td>{number(r["value"])}</td>'
            f'<td class="wide">{number(r["low"])}…{number(r["high"])}</td><td>{p}</td><td></td><td class="wide"></td>'
            "</tr>")  # fmt: skip


def all_results(benches):
    out = []
    for name, o in benches.items():
        if not o["results"] and not o["ratios"]:
            continue
        rows = "".join(result_row(r) for r in o["results"])
        rows += "".join(ratio_row(r) for r in o["ratios"])
        out.append(f"<details><summary>{esc(name)}: {len(o['results'])} results</summary>"
                   '<table class="named"><thead><tr><th></th><th>median</th><th class="wide">spread</th>'
                   '<th>99 %</th><th>longest</th>'
                   '<th class="wide">samples, or rounds</th></tr></thead>'
                   f"<tbody>{rows}</tbody></table></details>")  # fmt: skip
    return '<h2 id="results">All results</h2>' + "".join(out)


def differences(benches):
    """Results of several machines or revisions side by side are not one measurement."""
    said = []
    for what, words in (("machines", machine_words), ("revisions", revision_words)):
        different = sorted({words(o) for o in benches.values()})
        if len(different) > 1:
            said.append(f'<p class="warn">These results are of {len(different)} {what}, and comparing them across '
                        f"benches says little: {esc(' | '.join(different))}</p>")  # fmt: skip
    return "".join(said)


def page(benches, absent, refused, style):
    """benches: {name: object}, at least one; in the order in which they are shown."""
    first = benches.get("rtt") or next(iter(benches.values()))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Pando, measured</title>
<style>{style}</style></head><body><main>
<header id="top"><h1>Pando, measured</h1>
<p class="machine">{esc(machine_words(first))}<br>{esc(noise_words(benches.get("noise", first)))}<br>
revision {esc(revision_words(first))}, {esc(first["when"].replace("T", " ").replace("Z", " UTC"))}</p>
{differences(benches)}{tiles_of(benches)}</header>
<h2 id="figures">Figures</h2>{figures_of(benches)}
{goals_of(benches)}
{missing_of(benches, absent, refused)}
{all_results(benches)}
</main></body></html>
"""
