# SPDX-License-Identifier: BSD-3-Clause
"""Charts of the report as HTML: SVG for lines and bars, HTML for every word, so that both fit any width.

A chart's SVG has no text and is stretched to its box; labels are HTML placed by per cent. Whose a line is shows in
three ways, since one in twelve men does not tell some colours apart: hue, dashes, and the order of the legend. All
texts that come from results go through esc().
"""
import html
import math

OURS, PEER, FLOOR = "ours", "peer", "floor"
# Okabe and Ito's hues, darkened until they are readable on white. Ours are solid, or have long dashes; peers have
# short ones, floors are grey.
STYLES = {
    OURS: (("#0072b2", ""), ("#00795a", ""), ("#4b3f9e", "14 4"), ("#3a86b8", "14 4 3 4"),
           ("#1b2f57", "22 4 3 4 3 4")),
    PEER: (("#c24e00", "7 4"), ("#8f6400", "2 3"), ("#a23b72", "10 3 2 3"), ("#7a4a1e", "4 2"), ("#b3261e", "1 2")),
    FLOOR: (("#5f6368", "3 3"), ("#888c91", "1 3"), ("#3c4043", "6 2"), ("#6b6f75", "10 3 2 3")),
}
NINES = ((0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %"))
FEW = 10  # samples beyond a percentile below which a curve stops, but not before 90 %: single events, no distribution


def esc(text):
    return html.escape(str(text), quote=True)


def number(value):
    """Three digits that count."""
    if value == 0:
        return "0"
    value = float(f"{value:.3g}") if abs(value) < 1000 else round(value)
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(digits, 4)}f}"
    return text.replace(",", "\u202f")


def whole(n):
    """A count, all of it."""
    return f"{n:,}".replace(",", "\u202f")


def round_number(value):
    """A tick's: no digits that say nothing."""
    return f"{value:g}"


def time_words(us, words=number):
    """A time in the unit that people say."""
    for limit, scale, unit in ((0.9995, 1e-3, "ns"), (999.5, 1, "µs"), (999500, 1e3, "ms")):
        if us < limit:
            return f"{words(us / scale)}\u00a0{unit}"
    return f"{words(us / 1e6)}\u00a0s"


class Styles:
    """The next style of a role; after the last one the first again."""

    def __init__(self):
        self.used = {}

    def next(self, role):
        i = self.used[role] = self.used.get(role, -1) + 1
        return STYLES[role][i % len(STYLES[role])]


class LogAxis:
    """From 1, 2 or 5 times a power of ten below the least to one above the greatest; places in per cent."""

    def __init__(self, low, high):
        self.low, self.high = below(low), above(high)
        if self.low == self.high:
            self.high *= 10

    def at(self, value):
        part = math.log(max(value, 1e-12) / self.low) / math.log(self.high / self.low)
        return 100 * min(max(part, 0), 1)

    def ticks(self):
        """[(value, whether it is a major one)]: decades, 2 and 5 times them; all are major within one decade."""
        decades, out = math.log10(self.high / self.low), []
        for exponent in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1):
            for step in (1, 2, 5):
                value = step * 10.0**exponent
                if self.low * 0.999 <= value <= self.high * 1.001:
                    out.append((value, step == 1 or decades < 1))
        return out


LEAST = 1e-3  # a nanosecond, where values are µs: zeroes have no place on a log axis


def below(value):
    value = max(value, LEAST)
    power = 10.0 ** math.floor(math.log10(value))
    return max(step for step in (power, 2 * power, 5 * power) if step <= value * 1.000001)


def above(value):
    value = max(value, LEAST)
    power = 10.0 ** math.floor(math.log10(value))
    return min(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= value * 0.999999)


def places_of(row):
    """[(µs, share of the samples that took no longer)], ascending; of a histogram's buckets."""
    out, seen = [], 0
    scale = 1e3 if row["unit"] == "us" else 1
    for top, n in row["buckets"]:
        seen += n
        out.append((min(top / scale, row["max"]), seen / row["n"]))
    return out


def at_share(row, share):
    return next((us for us, part in places_of(row) if part >= share), row["max"])


def last_share(row):
    """Up to where a curve says something: a few samples lie beyond."""
    n = row["n"]
    return max(1 - FEW / n, min(0.9, 1 - 1 / n)) if n > 1 else 0.5


def height_of(share, top):
    """Of a share on the axis of nines: 50 %, 90 %, 99 % ... get equal room for an equal part of what is left."""
    return -math.log10(max(1 - share, 1e-9)) / top * 100


def svg(inner, klass):
    return (f'<svg class="{klass}" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true" '
            f'focusable="false">{inner}</svg>')  # fmt: skip


def line(x1, y1, x2, y2, klass):
    return f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" class="{klass}"/>'


def curve(row, axis, top, style):
    """The cumulative share over time."""
    points, last = [], last_share(row)
    for us, share in places_of(row):
        share = min(share, last)
        points.append((axis.at(us), 100 - min(height_of(share, top), 100)))
        if share >= last:
            break
    path = f"M{points[0][0]:.2f} 100" + "".join(f"L{x:.2f} {y:.2f}" for x, y in thinned(points))
    dash = f' stroke-dasharray="{style[1]}"' if style[1] else ""
    return f'<path d="{path}" class="curve" stroke="{style[0]}"{dash}/>'


def thinned(points):
    """Without those that nobody can see beside the one before."""
    out = points[:1]
    for p in points[1:-1]:
        if abs(p[0] - out[-1][0]) + abs(p[1] - out[-1][1]) >= 0.35:
            out.append(p)
    return out + points[-1:] if len(points) > 1 else out


def distribution(rows, label_of, role_of):
    """Curves of all rows over a log axis of time, and a table of them that is the legend."""
    span = [at_share(r, 0.001) for r in rows], [at_share(r, last_share(r)) for r in rows]
    axis = LogAxis(min(span[0]), max(span[1]))
    last = max(last_share(r) for r in rows)
    shares = [s for s in NINES if s[0] <= last]
    top = -math.log10(1 - last) * 1.02
    styles, drawn = Styles(), []
    for r in rows:
        drawn.append((r, styles.next(role_of(r))))
    grid = "".join(line(axis.at(v), 0, axis.at(v), 100, "grid" if major else "grid faint") for v, major in axis.ticks())
    grid += "".join(line(0, 100 - height_of(s, top), 100, 100 - height_of(s, top), "grid") for s, _ in shares)
    curves = "".join(curve(r, axis, top, style) for r, style in reversed(drawn))
    ylabels = "".join(f'<span class="y" style="bottom:{height_of(s, top):.2f}%">{words}</span>' for s, words in shares)
    few = len(axis.ticks()) <= 10
    xlabels = "".join(f'<span class="x{"" if major else " minor"}" style="left:{axis.at(v):.2f}%">'
                      f'{time_words(v, round_number)}</span>' for v, major in axis.ticks() if major or few)  # fmt: skip
    plot = (f'<div class="plot" role="img" aria-label="cumulative share of samples over time, log axis">'
            f'<div class="ys">{ylabels}</div><div class="area">{svg(grid + curves, "curves")}</div>'
            f'<div class="xs">{xlabels}</div></div>')  # fmt: skip
    return plot + legend(drawn, axis, label_of)


def swatch(style):
    dash = f' stroke-dasharray="{style[1]}"' if style[1] else ""
    return (f'<svg class="swatch" viewBox="0 0 28 10" aria-hidden="true"><line x1="0" y1="5" x2="28" y2="5" '
            f'stroke="{style[0]}" stroke-width="3"{dash}/></svg>')  # fmt: skip


def strip(row, axis, style):
    """From the median, a dot, to 99 %."""
    a, b = axis.at(row["p50"]), axis.at(row["p99"])
    return (f'<div class="strip"><i style="left:{a:.2f}%;width:{max(b - a, 0.3):.2f}%;background:{style[0]}"></i>'
            f'<b style="left:{a:.2f}%;background:{style[0]}"></b></div>')  # fmt: skip


def legend(drawn, axis, label_of):
    body = "".join(
        f'<tr><th scope="row">{swatch(style)}{esc(label_of(r))}</th><td class="wide">{strip(r, axis, style)}</td>'
        f'<td class="strong">{time_words(r["p50"])}</td><td>{time_words(r["p99"])}</td>'
        f'<td class="wide">{time_words(r["p999"]) if "p999" in r else "–"}</td><td>{time_words(r["max"])}</td>'
        f'<td class="wide">{whole(r["n"])}</td></tr>'
        for r, style in drawn)  # fmt: skip
    return ('<table class="legend"><thead><tr><th scope="col"></th>'
            '<th scope="col" class="wide left">median to 99 %</th>'
            '<th scope="col">median</th><th scope="col">99 %</th><th scope="col" class="wide">99.9 %</th>'
            '<th scope="col">longest</th><th scope="col" class="wide">samples</th></tr></thead>'
            f"<tbody>{body}</tbody></table>")  # fmt: skip


def bars(rows, label_of, role_of, words=None, spread=True):
    """Values from 0, with the spread over the rounds; rows: results of one unit that are no histograms."""
    words = words or (lambda r: number(r["median"]))
    most = max((r["high"] for r in rows), default=0) or 1
    styles, out = {}, []
    for r in rows:
        color = styles.setdefault(role_of(r), STYLES[role_of(r)][0][0])
        a, low, high = (100 * max(r[k], 0) / most for k in ("median", "low", "high"))
        whisker = f'<u style="left:{low:.2f}%;width:{max(high - low, 0.2):.2f}%"></u>'
        whisker = whisker if spread and r["rounds"] > 1 else ""
        hatch = " modelled" if "modelled" in r else ""
        out.append(f'<div class="bar"><span class="what">{esc(label_of(r))}</span><div class="track">'
                   f'<i class="fill{hatch}" style="width:{a:.2f}%;background-color:{color}"></i>{whisker}</div>'
                   f'<span class="value">{esc(words(r))}</span></div>')  # fmt: skip
    return f'<div class="bars">{"".join(out)}</div>'


def waterfall(total, stages, label_of):
    """Stages one after the other, each as long as its median; what a stage takes at 99 % is told beside it."""
    length = max(sum(s["p50"] for s in stages), total["p50"]) or 1
    begin, out = 0.0, []
    for i, s in enumerate(stages):
        share = 100 * s["p50"] / length
        out.append(f'<div class="bar"><span class="what">{esc(label_of(s))}</span><div class="track">'
                   f'<i class="fill" style="left:{100 * begin / length:.2f}%;width:{max(share, 0.25):.2f}%;'
                   f'background-color:{STYLES[OURS][i % 2][0]}"></i></div><span class="value">{time_words(s["p50"])}'
                   f'<small> 99 %: {time_words(s["p99"])}</small></span></div>')  # fmt: skip
        begin += s["p50"]
    out.append(f'<div class="bar sum"><span class="what">the whole</span><div class="track"><i class="fill" style="'
               f'width:{100 * total["p50"] / length:.2f}%;background-color:{STYLES[FLOOR][2][0]}"></i></div>'
               f'<span class="value">{time_words(total["p50"])}<small> 99 %: {time_words(total["p99"])}</small></span>'
               "</div>")  # fmt: skip
    return f'<div class="bars fall">{"".join(out)}</div>'


def against_goal(g):
    """A value and its spread on a log axis whose middle is the goal; where the limit is kept is shaded."""
    if g["goal"] <= 0 or g["low"] <= 0:
        return ""
    at = lambda v: 50 + 50 * min(max(math.log(v / g["goal"]) / math.log(8), -1), 1)
    low, mid, high = at(g["low"]), at(g["value"]), at(g["high"])
    good = "left:0" if g["sense"] != ">=" else "left:50%"
    kind = "met" if g["met"] else "short"
    return (f'<div class="goal {kind}"><s style="{good}"></s>'
            f'<u style="left:{low:.1f}%;width:{max(high - low, 0.6):.1f}%"></u>'
            f'<b style="left:{mid:.1f}%"></b></div>')  # fmt: skip
