# SPDX-License-Identifier: BSD-3-Clause
"""Is one side faster, or was it the machine? Statistics of benches, standard library only.

    mann_whitney(a, b)    do values of one side tend to be larger? U of a, and the two-sided p-value
    ratios(a, b)          round by round a[i] / b[i] of neighbours in time: median, lowest, highest

What is compared are rounds (one number a round), never samples of one round: those are not independent.
"""
import functools
import math
import statistics

# Up to here the exact distribution: C(32, 16) arrangements, counted by recursion.
EXACT_MAX = 16


def ranks(values):
    """Ranks from 1, equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    out, i = [0.0] * len(values), 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and values[order[j + 1]] == values[order[i]]:
            j += 1
        for k in range(i, j + 1):
            out[order[k]] = (i + j) / 2 + 1
        i = j + 1
    return out


@functools.lru_cache(maxsize=None)
def arrangements(n, m, u):
    """In how many orders of n and m values without ties the first side's U is u."""
    if u < 0 or u > n * m:
        return 0
    if n == 0 or m == 0:
        return 1 if u == 0 else 0
    return arrangements(n - 1, m, u - m) + arrangements(n, m - 1, u)


def exact_p(n, m, u):
    at_most = sum(arrangements(n, m, k) for k in range(int(min(u, n * m - u)) + 1))
    return min(1.0, 2 * at_most / math.comb(n + m, n))


def normal_p(n, m, u, values):
    """With the correction for ties, and for continuity."""
    total = n + m
    ties = sum(t**3 - t for t in (values.count(v) for v in set(values)))
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0  # all values are equal
    z = max(abs(u - n * m / 2) - 0.5, 0) / math.sqrt(variance)
    return min(1.0, math.erfc(z / math.sqrt(2)))


def mann_whitney(a, b):
    """(U of a, p): U counts the pairs in which a's value is larger, ties by half; p is the probability that two
    sides without a difference are at least as far apart. Exact for at most 16 values a side without ties, else by
    the normal distribution. (None, None) where a side has no value."""
    a, b = list(a), list(b)
    if not a or not b:
        return None, None
    values = a + b
    if any(not math.isfinite(v) for v in values):
        raise ValueError("a value is not a finite number")
    n, m = len(a), len(b)
    u = sum(ranks(values)[:n]) - n * (n + 1) / 2
    exact = max(n, m) <= EXACT_MAX and len(set(values)) == len(values)
    return u, exact_p(n, m, u) if exact else normal_p(n, m, u, values)


def ratios(a, b):
    """(median, lowest, highest) of a[i] / b[i], rounds whose b is not above 0 left out; None if none is left."""
    each = [x / y for x, y in zip(a, b) if y > 0]
    return (statistics.median(each), min(each), max(each)) if each else None
