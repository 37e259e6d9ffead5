# SPDX-License-Identifier: BSD-3-Clause
"""Where the Linux guest runs: on this machine's own KVM if that is nested paging by hardware, else
in the lab VM. over_nodes.py does the work at either place."""
import json
import os
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
for part in ("lab", "system"):
    sys.path.insert(0, os.path.join(ROOT, "tests", part))
import doctor  # noqa: E402
import image  # noqa: E402
import lab  # noqa: E402
import smoke  # noqa: E402

LAB_START_SECONDS = 60  # until its job begins, with what it needs to end


class Place:
    """lab: in the lab VM; why: in words, with what would change that."""

    def __init__(self):
        (state, self.why, _), = doctor.machine(["virtualisation"])
        self.lab = state != doctor.OK
        for state, text, remedy in doctor.machine(["root", "kvm", "uffd"]):
            if not self.lab and state != doctor.OK:
                self.lab, self.why = True, f"{text}; to have it on this machine's own KVM: {remedy}"


def prepare(build, kind="small"):
    """Downloads and makes the guest's files; image.ImageError if that is not possible. Inside the lab VM it
    is not: what is here can only be read there."""
    image.kernel(image.META)
    image.initrd(kind, image.META, build)


def missing(place):
    """What the lab VM lacks to run guests; None: nothing, or it is not needed. Downloads what it can."""
    if not place.lab:
        return None
    try:
        lab.check_programs()
        lab.fetch_kernel(lab.META)
        words, _ = lab.emulator()
    except lab.LabError as e:
        return str(e)
    if len(words) == 1:
        return f"no QEMU of {lab.SUITES[-1]} to be had: the installed one loses interrupts under nested virtualisation"
    return None


def run(place, words, out, seconds, build, on_line):
    """over_nodes.py with these arguments; returns (its result or None, what is wrong or None)."""
    os.makedirs(out, exist_ok=True)
    result_file = os.path.join(out, "result.json")
    if os.path.exists(result_file):
        os.unlink(result_file)
    words = [*words, "--build", build, f"--seconds={seconds - (LAB_START_SECONDS if place.lab else 0)}"]
    try:
        status = (in_lab if place.lab else here)(words, out, seconds, build, on_line)
    except lab.LabError as e:
        return None, str(e)
    try:
        with open(result_file, encoding="utf-8") as f:
            result = json.load(f)
    except (OSError, ValueError) as e:
        return None, f"status {status} and no result: {e}"
    return result, result["problem"] or (f"status {status}" if status else None)


def in_lab(words, out, seconds, build, on_line):
    job = f"rm -f $OUT/result.json; export PANDO_LINUX_CACHE={shlex.quote(image.CACHE)}\n"
    job += f"python3 tests/linux/over_nodes.py {shlex.join([*words, '--pin', '--result', '/run/out/result.json'])}\n"
    return lab.run_job(job, out, seconds, on_line=on_line, build=build)


def here(words, out, seconds, build, on_line):
    argv = [sys.executable, os.path.join(HERE, "over_nodes.py"), *words, "--result", os.path.join(out, "result.json")]
    p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", preexec_fn=smoke.in_child)
    with p:
        for line in p.stdout:
            on_line(line.rstrip("\n"))
    return p.returncode
