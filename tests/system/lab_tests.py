# SPDX-License-Identifier: BSD-3-Clause
"""Bare-metal guests over two nodes in the lab VM: nested paging instead of the shadow paging that
this machine may have. And the lab VM's own network cards and RDMA devices."""
import fnmatch
import os
import sys

import in_lab
import outcome

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
import lab  # noqa: E402
import nic_smoke  # noqa: E402

SECONDS = 900
JOB = """
python3 tests/system/kvm_tests.py --lab --build {build} --seed {seed} --only '{only}' \\
    --tally $OUT/tally.tsv --budget {budget}
"""


def nics():
    """What is wrong with the lab's network cards and RDMA devices."""
    kinds = [kind for kind in nic_smoke.PAIRS for _ in range(2)]
    out, said = os.path.join(lab.CACHE, "nics"), []
    try:
        status = lab.run_job("tests/lab/nic_smoke.py", out, 300, said.append, nics=kinds, modules=nic_smoke.MODULES)
    except lab.LabError as e:
        return str(e)
    wrong = [line for line in said if line.startswith(nic_smoke.MARK)]
    return "; ".join(wrong) or (f"exit status {status}; its log is in {out}" if status else None)


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="*", help="cases that match")
    args = parser.parse_args()
    nics_pass = not fnmatch.fnmatch("lab-nics", args.only) or outcome.run(args.tally, "lab-nics", nics)
    if args.only == "lab-nics":
        return outcome.status([nics_pass])
    job = JOB.format(build=args.build, seed=args.seed, only=args.only, budget=SECONDS - 60)
    status = in_lab.run("lab", job, SECONDS, args)
    return status or outcome.status([nics_pass])


if __name__ == "__main__":
    sys.exit(main())
