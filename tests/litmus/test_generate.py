#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""generate.py: the machine against what is published about x86-TSO, and what it must refuse."""
import os
import re
import unittest

import generate as g

SHAPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shapes.txt")


def allowed(body, asked, mode="plain"):
    """Whether the machine reaches this outcome of these threads."""
    s = g.Shape(f"T {body} : {asked} : forbidden : 0")
    return bool(g.asked_outcomes(s) & g.outcomes(s, s.in_mode(mode)))


class Machine(unittest.TestCase):
    """The examples of Owens, Sarkar, Sewell (2009) and of Intel's and AMD's manuals, by their names there."""

    def test_store_buffering(self):
        self.assertTrue(allowed("x=1 a=y | y=1 b=x", "a=0 b=0"))
        self.assertFalse(allowed("x=1 a=y | y=1 b=x", "a=0 b=0", "mfence"))
        self.assertFalse(allowed("x=1 a=y | y=1 b=x", "a=0 b=0", "lock"))

    def test_own_stores_are_seen_early(self):  # iwp2.4
        self.assertTrue(allowed("x=1 a=x b=y | y=1 c=y d=x", "a=1 b=0 c=1 d=0"))

    def test_n6(self):
        self.assertTrue(allowed("x=1 a=x b=y | y=2 x=2", "a=1 b=0 x=1"))

    def test_n5(self):
        self.assertFalse(allowed("x=1 a=x | x=2 b=x", "a=2 b=1"))

    def test_n4b(self):
        self.assertFalse(allowed("a=x x=1 | b=x x=2", "a=2 b=1"))

    def test_stores_are_not_seen_before_older_stores(self):
        self.assertFalse(allowed("x=1 y=1 | a=y b=x", "a=1 b=0"))

    def test_all_agree_on_the_order_of_stores(self):
        self.assertFalse(allowed("x=1 | y=1 | a=x b=y | c=y d=x", "a=1 b=0 c=1 d=0"))

    def test_interrupt_waits_for_the_store(self):
        self.assertFalse(allowed("x=1 irq | handler:a=x", "a=0"))
        self.assertTrue(allowed("irq x=1 | handler:a=x", "a=0"))
        self.assertTrue(allowed("irq x=1 | handler:a=x", "a=1"))


class Refusals(unittest.TestCase):
    def refused(self, line, words):
        with self.assertRaisesRegex(g.Wrong, words):
            g.check(g.Shape(line))

    def test_every_verdict_matters(self):
        """shapes.txt is accepted as it is, and with no verdict turned."""
        for s in g.read_shapes(SHAPES):
            for mode in g.MODES:
                s.verdict ^= {mode}
                with self.assertRaisesRegex(g.Wrong, re.escape(f"{s.name}, {mode}")):
                    g.check(s)
                s.verdict ^= {mode}

    def test_words(self):
        self.refused("SB x=1 a=y | y=1 b=x : a=0 b=0 : forbidden : 0", "SB, plain: the machine reaches")
        self.refused("SB x=1 a=y", "four parts")
        self.refused("SB x=4 a=y | y=1 : a=0 : forbidden : 0", "not an access: 'x=4'")
        self.refused("SB x=1 a=z | y=1 : a=0 : forbidden : 0", "not an access: 'a=z'")
        self.refused("SB x=1 a=y | y=1 a=x : a=0 : forbidden : 0", "one of them twice")
        self.refused("SB x=3 a=y | y=1 : a=0 : forbidden : 0", "not an access: 'x=3'")
        self.refused("SB x=1 a=y | y=1 : a=0 : forbiden : 0", "verdict 'forbiden'")
        self.refused("SB x=1 a=y | y=1 : a=0 : forbidden : 2", "turned thread '2'; allowed: 0..1")
        self.refused("SB x=1 a=y : a=0 : forbidden : 0", "1 threads; allowed: 2..4")
        self.refused("SB x=1 a=y | y=1 : b=0 : forbidden : 0", "does not have")


class Code(unittest.TestCase):
    def test_turned_threads_can_be_noticed(self):
        """The turned variant of each shape reaches an outcome that the shape forbids."""
        for s in g.read_shapes(SHAPES):
            mode = next(m for m in g.MODES if m in s.verdict)
            turned = g.outcomes(s, s.in_mode(mode, s.turned))
            self.assertTrue(turned - g.outcomes(s, s.in_mode(mode)), s.name)

    def test_table(self):
        text = g.emit(g.read_shapes(SHAPES))
        self.assertEqual(text.count(".name = "), 3 * len(g.read_shapes(SHAPES)))
        self.assertEqual(text.count("#ifdef LITMUS_IRQ"), 2 * 6)  # functions and entries of the two with interrupts


if __name__ == "__main__":
    unittest.main()
