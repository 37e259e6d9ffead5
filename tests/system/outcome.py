# SPDX-License-Identifier: BSD-3-Clause
"""One test's result: a line for people, a line for the tally of `./dev test`."""
import argparse
import time

from cluster import SetupError

MARKS = {"pass": "ok  ", "fail": "FAIL", "skip": "SKIP"}


class Skipped(Exception):
    """The test cannot be run on this machine; the text says why."""


def parser(words):
    """The arguments of every script that runs tests."""
    p = argparse.ArgumentParser(description=words)
    p.add_argument("--build", default="build")
    p.add_argument("--tally", help="file to add the results to")
    return p


def report(tally, name, word, seconds, words=""):
    """word: pass, fail or skip; words: what is wrong, or a note."""
    print(f"{MARKS[word]} {name} ({seconds:.1f} s)" + (f": {words}" if words else ""), flush=True)
    if tally:
        with open(tally, "a", encoding="utf-8") as f:
            f.write(f"{word}\t{name}\t{'' if word == 'pass' else words}\n")


def run(tally, name, test):
    """test() returns what is wrong or None, or that and a note. False: it failed."""
    start = time.monotonic()
    try:
        result = test()
        wrong, note = result if isinstance(result, tuple) else (result, "")
        word = "fail" if wrong else "pass"
    except SetupError as e:
        wrong, note, word = str(e), "", "fail"
    except Skipped as e:
        wrong, note, word = str(e), "", "skip"
    report(tally, name, word, time.monotonic() - start, wrong or note)
    return word != "fail"


def status(results):
    """Exit status of a script: 3, as the suites expect, if any test failed, or none was run."""
    results = list(results)
    if not results:
        print("no test of that name")
    return 0 if results and all(results) else 3
