# SPDX-License-Identifier: BSD-3-Clause
"""./dev doctor: what a newcomer will hit on this machine, each with its remedy.

What only development needs is looked at here: packages, tools, network namespaces, leftovers of killed runs. The
machine itself is `pando doctor`'s, which users have without python; it is called once it is built.

A check returns (state, text, remedy). OK: fine. NOTE: works, with a cost that the text names.
MISSING: the demo or the tests on real KVM cannot run here. Exit status 1 if anything is MISSING.
"""
import json
import os
import shutil
import subprocess
import sys

import workspace

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OK, NOTE, MISSING = "ok", "note", "missing"


def program(build=None):
    """pando-doctor, or None where it is not built (yet)."""
    path = os.path.join(build or os.path.join(ROOT, "build"), "dataplane", "doctor", "pando-doctor")
    return path if os.access(path, os.X_OK) else None


def machine(only=None, build=None):
    """What pando doctor says: a list of (state, text, remedy)."""
    doctor = program(build)
    if doctor is None:
        return [(NOTE, "pando doctor is not built: this machine's KVM, kernel, memory and devices were not looked at",
                 "./dev build gcc, then ./dev doctor again")]
    words = [doctor, "--json"] + (["--only", ",".join(only)] if only else [])
    p = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        return [(c["state"], c["text"], c["remedy"]) for c in json.loads(p.stdout)["checks"]]
    except (ValueError, KeyError, TypeError):
        return [(MISSING, f"{doctor} said nothing that can be read: {p.stderr.strip()[-200:]}", "./dev build gcc")]


def check_packages():
    missing = os.environ.get("PANDO_MISSING_PACKAGES", "").split()
    if missing:
        return MISSING, "packages missing: " + " ".join(missing), "./dev setup"
    return OK, "all packages for building and testing are installed", ""


def check_xdp_tools():
    missing = [t for t in ("clang", "bpftool") if not shutil.which(t, path=os.environ.get("PATH", "") + ":/usr/sbin")]
    if missing:
        return (
            NOTE,
            f"{' and '.join(missing)} not installed: Pando is built without the AF_XDP fabric",
            "./dev setup",
        )
    return OK, "clang and bpftool: the XDP programs can be built", ""


def check_netns():
    if not shutil.which("ip"):
        return MISSING, "ip (iproute2) is not installed", "./dev setup"
    name = f"{workspace.PREFIX}{os.getpid()}-{workspace.start_time(os.getpid())}-doctor"
    steps = (
        ("netns", "add", name),
        ("-n", name, "link", "add", "br0", "type", "bridge"),
        ("-n", name, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"),
    )
    try:
        for step in steps:
            r = workspace.ip(*step, check=False)
            if r.returncode:
                return (
                    NOTE,
                    f"ip {' '.join(step)}: {r.stderr.strip()}: no demo with --fabric af_packet "
                    "here; shm and memif work",
                    "root, and a kernel with network namespaces, veth and bridge",
                )
    finally:
        workspace.remove_namespace(name)
    return OK, "network namespaces, veth and bridge can be made", ""


def check_leftovers():
    stale = [
        n for n in workspace.namespaces() if not workspace.owner_lives(n[len(workspace.PREFIX) :])
    ]
    if os.path.isdir(workspace.BASE):
        stale += [n for n in os.listdir(workspace.BASE) if not workspace.owner_lives(n)]
    if stale:
        return NOTE, "left by killed runs: " + ", ".join(stale), "the next ./dev demo removes them"
    return OK, "nothing was left behind by earlier runs", ""


CHECKS = (check_packages, check_xdp_tools, check_netns, check_leftovers)


def main():
    colour = {OK: "\033[32m", NOTE: "\033[33m", MISSING: "\033[31m"} if sys.stdout.isatty() else {}
    plain = "\033[0m" if colour else ""
    count = {OK: 0, NOTE: 0, MISSING: 0}
    for state, text, remedy in [check() for check in CHECKS] + machine():
        count[state] += 1
        print(f"{colour.get(state, '')}{state:8}{plain} {text}")
        if remedy:
            print(f"         remedy: {remedy}")
    ready = count[MISSING] == 0
    print(
        ("ready" if ready else "not ready")
        + f": {count[OK]} ok, {count[NOTE]} notes, {count[MISSING]} missing"
    )
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
