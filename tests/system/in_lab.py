# SPDX-License-Identifier: BSD-3-Clause
"""A suite's cases in the lab VM: the job writes a tally there, which is added to ours."""
import os
import sys
import time

import outcome

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
import lab  # noqa: E402


def place(suite):
    """What the job sees as $OUT."""
    return os.path.join(lab.CACHE, suite)


def run(suite, job, seconds, args, **options):
    """Runs shell words that write $OUT/tally.tsv; options: of lab.run_job. Exit status; 0 and a skip where what the lab
    needs is not installed."""
    start = time.monotonic()
    try:
        lab.check_programs()
    except lab.LabError as e:
        outcome.report(args.tally, suite, "skip", 0, str(e))
        return 0
    # What is there is of a boot that crashed, or of another day.
    job = "rm -f $OUT/tally.tsv\n" + job
    try:
        status = lab.run_job(job, place(suite), seconds, build=args.build, **options)
        with open(os.path.join(place(suite), "tally.tsv"), encoding="utf-8") as f:
            lines = f.read()
    except (lab.LabError, OSError) as e:
        print(f"FAIL {suite}: {e}")
        status, lines = 3, f"fail\t{suite}\t{e}\n"
    print(f"     {suite}: {time.monotonic() - start:.0f} s")
    if args.tally:
        with open(args.tally, "a", encoding="utf-8") as f:
            f.write(lines)
    return status
