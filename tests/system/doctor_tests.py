#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""pando doctor's command line, on a machine made of files: exit statuses, JSON, colours on terminals only.

usage: doctor_tests.py PROGRAM
"""
import json
import os
import pty
import subprocess
import sys
import tempfile
import unittest

import doctor

PROGRAM = ""
CPU = "sys/devices/system/cpu"
FILES = {
    f"{CPU}/online": "0-3", f"{CPU}/present": "0-3", f"{CPU}/isolated": "2", f"{CPU}/nohz_full": "2",
    "proc/cmdline": "isolcpus=2 nohz_full=2", "proc/self/cgroup": "0::/", "proc/swaps": "Filename",
    "proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu svm", "sys/devices/system/node/has_memory": "0",
    "sys/devices/system/node/node0/cpulist": "0-3",
}
CONFIG = """cluster: c
vm: {ram_mib: 8, vcpus: 2}
nodes:
- {id: 0, name: a, dataplane_core: %s, housekeeping_cores: [0, 1]}
- {id: 1, name: b}
"""


class Case(unittest.TestCase):
    def setUp(self):
        space = tempfile.TemporaryDirectory(prefix="pando-doctor-")
        self.addCleanup(space.cleanup)
        self.root = space.name
        for path, text in FILES.items():
            self.put(path, text)

    def put(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="ascii") as f:
            f.write(text + "\n")
        return full

    def config(self, core):
        return self.put("c.yaml", CONFIG % core)

    def run_it(self, *words, status=0):
        p = subprocess.run([PROGRAM, "--root", self.root, *words], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(p.returncode, status, p.stdout + p.stderr)
        return p.stdout if status != 2 else p.stderr

    def test_ready(self):
        said = self.run_it()
        self.assertRegex(said, r"\nready: \d+ ok, \d+ notes, 0 missing\n$")
        self.assertIn("AMD-V with nested paging", said)
        self.assertNotIn("role ", said)

    def test_table(self):
        said = self.run_it("--config", self.config(2), "--node", "a")
        self.assertRegex(said, r"\npoll loop +2 +other, nice -10, slice 100 us +0 +ok\n")
        self.assertRegex(said, r"\nhousekeeping +0-1 +as started +0 +ok\n")
        self.assertNotIn("node 1 (b)", said)
        self.assertIn("node 1 (b)", self.run_it("--config", self.config(2)))

    def test_missing(self):
        said = self.run_it("--config", self.config(7), "--node", "0", status=1)
        self.assertRegex(said, r"\npoll loop .* missing\n")
        self.assertIn("dataplane_core: CPU 7: this host has 4 CPUs; allowed: 0-3", said)
        self.assertIn("not ready:", said)
        self.run_it("--config", self.config(7), "--node", "1")  # the other node's machine has all it wants

    def test_notes_do_not_fail(self):
        said = self.run_it("--config", self.config(3), "--node", "0")
        self.assertRegex(said, r"\npoll loop .* 1 note\n")
        self.assertRegex(said, r"\nnote +CPUs 3 of the poll loop: not in isolcpus \([^)]*\), nohz_full \([^)]*\), rcu_nocbs \(")
        self.assertIn("remedy: isolcpus=2-3 nohz_full=2-3 rcu_nocbs=2-3 on the host's", said)
        self.put(f"{CPU}/cpu3/cpufreq/scaling_governor", "powersave")
        said = self.run_it("--config", self.config(3), "--node", "0")
        self.assertRegex(said, r"\npoll loop .* 2 notes\n")
        self.assertIn("remedy: configs/host/prepare --governor 3\n", said)

    def test_plain(self):
        """Without a configuration CPUs are looked at, too: all that there are."""
        names = ["governor", "idle", "isolation"]

        def states():
            out = json.loads(self.run_it("--json", "--only", ",".join(names)))
            self.assertEqual([c["check"] for c in out["checks"]], names)
            return [c["state"] for c in out["checks"]]

        self.assertEqual(states(), ["ok", "ok", "ok"])
        self.put(f"{CPU}/cpu1/cpufreq/scaling_governor", "powersave")
        self.assertEqual(states(), ["note", "ok", "ok"])
        self.put(f"{CPU}/cpu3/cpuidle/state0/latency", "200")
        self.assertEqual(states(), ["note", "note", "ok"])
        self.put(f"{CPU}/nohz_full", "")
        self.put("proc/cmdline", "isolcpus=2")
        self.assertEqual(states(), ["note", "note", "note"])
        self.assertRegex(self.run_it(), r"\nnote +CPUs 0-3 of this machine: not in nohz_full \([^)]*\), rcu_nocbs \(")

    def test_json(self):
        out = json.loads(self.run_it("--config", self.config(3), "--json"))
        self.assertEqual(out["result"], "ready")
        self.assertEqual([n["name"] for n in out["nodes"]], ["a", "b"])
        self.assertEqual([r["role"] for r in out["nodes"][0]["roles"]], ["poll loop", "agent", "vCPUs", "housekeeping", "registration"])
        all_of_it = out["checks"] + [f for n in out["nodes"] for r in n["roles"] for f in r["findings"]] + \
            [f for n in out["nodes"] for f in n["findings"]]
        for state in ("ok", "note", "missing"):
            self.assertEqual(out[state], sum(f["state"] == state for f in all_of_it))
        self.assertEqual({f["check"] for f in out["checks"]} >= {"virtualisation", "swap", "nics"}, True)
        self.assertEqual(json.loads(self.run_it("--config", self.config(9), "--json", status=1))["result"], "not ready")

    def test_only(self):
        self.assertEqual([c["check"] for c in json.loads(self.run_it("--json", "--only", "ksm,swap"))["checks"]], ["swap", "ksm"])
        self.assertIn("there is no such check", self.run_it("--only", "swaps", status=2))

    def test_wrong_usage(self):
        self.assertIn("--node needs --config", self.run_it("--node", "0", status=2))
        self.assertIn("node 'z' is not in cluster", self.run_it("--config", self.config(2), "--node", "z", status=2))
        self.assertIn("cannot be opened", self.run_it("--config", "/nowhere.yaml", status=2))
        self.assertIn("'x' is not allowed", self.run_it("--config", self.config("x"), status=2))
        self.assertIn("unexpected 'word'", self.run_it("word", status=2))
        os.unlink(os.path.join(self.root, CPU, "online"))
        self.assertIn("online: No such file", self.run_it(status=2))

    def on_a_terminal(self, **environment):
        master, slave = pty.openpty()
        with subprocess.Popen([PROGRAM, "--root", self.root], stdout=slave, env={**os.environ, **environment}) as p:
            os.close(slave)
            said = b""
            while True:
                try:
                    part = os.read(master, 65536)
                except OSError:  # Linux: the end
                    break
                said += part
            p.wait(30)
        os.close(master)
        return said

    def test_colours(self):
        self.assertNotIn("\033", self.run_it())
        self.assertIn(b"\033[32mok", self.on_a_terminal())
        self.assertNotIn(b"\033", self.on_a_terminal(NO_COLOR="1"))

    def test_as_a_command_of_pando(self):
        p = subprocess.run(["pando", "doctor", "--root", self.root], executable=PROGRAM, capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(p.returncode, 0, p.stderr)


class Development(unittest.TestCase):
    """./dev doctor's half: what it makes of pando doctor's."""

    def build(self, script):
        space = tempfile.TemporaryDirectory(prefix="pando-doctor-")
        self.addCleanup(space.cleanup)
        if script:
            path = os.path.join(space.name, "dataplane", "doctor", "pando-doctor")
            os.makedirs(os.path.dirname(path))
            with open(path, "w", encoding="ascii") as f:
                f.write("#!/bin/sh\n" + script)
            os.chmod(path, 0o755)
        return space.name

    def test_not_built(self):
        (state, text, remedy), = doctor.machine(build=self.build(None))
        self.assertEqual((state, remedy), (doctor.NOTE, "./dev build gcc, then ./dev doctor again"))

    def test_what_it_says(self):
        build = self.build("""echo '{"checks": [{"check": "kvm", "state": "missing", "text": "no", "remedy": "do"}]}'; exit 1""")
        self.assertEqual(doctor.machine(build=build), [("missing", "no", "do")])

    def test_says_nothing_that_can_be_read(self):
        for script in ("echo nonsense", "exit 139", "echo '[]'", "echo '{\"checks\": 3}'"):
            (state, _, _), = doctor.machine(build=self.build(script))
            self.assertEqual(state, doctor.MISSING, script)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
