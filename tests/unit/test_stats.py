#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""perf/common/stats.py against published values, and against counting all arrangements."""
import itertools
import math
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "perf", "common"))
import stats  # noqa: E402


def brute_force(a, b):
    """The definition: of all ways to deal out the values, the share that is at least as far from the middle."""
    values, n = a + b, len(a)
    u_of = lambda mine: sum(values[i] > values[j] for i in mine for j in range(len(values)) if j not in mine)
    middle = n * len(b) / 2
    far = abs(u_of(tuple(range(n))) - middle)
    each = [u_of(mine) for mine in itertools.combinations(range(len(values)), n)]
    return sum(abs(u - middle) >= far for u in each) / len(each)


class MannWhitney(unittest.TestCase):
    def test_published_exact(self):
        # Depression scores by sex (the example of SciPy's manual): U = 17, p = 0.1111.
        u, p = stats.mann_whitney([19, 22, 16, 29, 24], [20, 11, 17, 12])
        self.assertEqual(u, 17)
        self.assertAlmostEqual(p, 14 / 126, places=12)
        # Permeability of the amnion (Hollander and Wolfe; R's wilcox.test): W = 35, one-sided p = 0.1272.
        u, p = stats.mann_whitney([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46],
                                  [1.15, 0.88, 0.90, 0.74, 1.21])
        self.assertEqual(u, 35)
        self.assertAlmostEqual(p, 2 * 0.1272, places=4)

    def test_published_normal(self):
        # The same example by the normal distribution with continuity: p = 0.11134688653.
        values = [19, 22, 16, 29, 24, 20, 11, 17, 12]
        self.assertAlmostEqual(stats.normal_p(5, 4, 17, values), 0.11134688653, places=10)

    def test_against_the_definition(self):
        for a, b in (([1, 5, 9], [2, 3, 4]), ([1, 2, 3, 4], [5, 6, 7]), ([7], [1, 2, 3]), ([3, 1, 8, 6], [2, 4, 5, 7])):
            self.assertAlmostEqual(stats.mann_whitney(a, b)[1], brute_force(a, b), places=12)

    def test_ties(self):
        self.assertEqual(stats.ranks([3, 1, 3, 2]), [3.5, 1.0, 3.5, 2.0])
        # U by hand: 1 ties with 1 (half), 2 > 1, 2 = 2 (half), 3 > 1, 3 > 2.
        u, p = stats.mann_whitney([1, 2, 3], [1, 2, 4])
        self.assertEqual(u, 4.0)
        # Variance by hand: 9 / 12 * (7 - 12 / 30) = 4.95; |4 - 4.5| - 0.5 = 0.
        self.assertEqual(p, 1.0)
        # All equal: nothing is known.
        self.assertEqual(stats.mann_whitney([2, 2], [2, 2]), (2.0, 1.0))

    def test_symmetric(self):
        a, b = [5.0, 7.5, 3.1, 9.9], [4.0, 2.0, 8.8]
        self.assertAlmostEqual(stats.mann_whitney(a, b)[1], stats.mann_whitney(b, a)[1], places=12)
        self.assertEqual(stats.mann_whitney(a, b)[0] + stats.mann_whitney(b, a)[0], len(a) * len(b))

    def test_many(self):
        # More than the exact distribution takes, far apart: U is 0, p by the table of the normal distribution.
        u, p = stats.mann_whitney(range(20), range(100, 120))
        self.assertEqual(u, 0)
        self.assertAlmostEqual(p, math.erfc((200 - 0.5) / math.sqrt(400 / 12 * 41) / math.sqrt(2)), places=15)
        self.assertLess(p, 1e-6)

    def test_nothing_and_nonsense(self):
        self.assertEqual(stats.mann_whitney([], [1]), (None, None))
        with self.assertRaises(ValueError):
            stats.mann_whitney([1.0, float("nan")], [2.0])


class Ratios(unittest.TestCase):
    def test_ratios(self):
        self.assertEqual(stats.ratios([2, 9, 3], [1, 3, 3]), (2.0, 1.0, 3.0))
        self.assertEqual(stats.ratios([2, 9], [0, 3]), (3.0, 3.0, 3.0))
        self.assertIsNone(stats.ratios([1], [0]))


if __name__ == "__main__":
    unittest.main()
