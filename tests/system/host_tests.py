#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""configs/host/prepare and restore: what was changed is undone byte for byte, after a crash at any moment, twice in a
row, after a reboot; what others changed or made is left alone. On machines made of files, and with sysctls of this one
that matter to nobody. And the units of systemd beside them, held against what they start.

usage: host_tests.py [--build DIR] [NAME...]    without a build the units' programs are not asked
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

import cluster as cl

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
HOST = os.path.join(ROOT, "configs", "host")
BUILD = None
CPU = "sys/devices/system/cpu"
FILES = {
    "proc/sys/kernel/random/boot_id": "boot-one",
    "proc/sys/kernel/watchdog": "1",
    "proc/sys/kernel/numa_balancing": "1",
    "proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456",
    "sys/kernel/mm/ksm/run": "1",
    "sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages": "3",
    "sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages": "4",
    **{f"{CPU}/cpu{c}/cpufreq/scaling_governor": "powersave" for c in range(8)},
    **{f"{CPU}/cpu{c}/cpuidle/state{s}/latency": str(us) for c in range(8) for s, us in enumerate((0, 2, 133))},
    **{f"{CPU}/cpu{c}/cpuidle/state{s}/disable": "0" for c in range(8) for s in range(3)},
    "proc/irq/10/smp_affinity_list": "0-7",
    "proc/irq/11/smp_affinity_list": "2",
    "proc/irq/12/smp_affinity_list": "1,5",
    "run/systemd/system/nothing": "",
    "etc/systemd/system/irqbalance.service.d/other.conf": "[Service]",
}
ALL = ["--sysctl", "kernel.watchdog=0", "--set", "/sys/kernel/mm/ksm/run=0", "--governor", "2-3", "--shallow-idle", "2-3",
       "--hugepages", "0:2M:64", "--irqs-away", "2-3", "--unit", "irqbalance.service:0-1", "--unit", "cron.service:0",
       "--sysctl", "net.ipv4.tcp_rmem=4096 65536 1048576"]


class Case(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="pando-host-")
        self.addCleanup(shutil.rmtree, self.root)
        for path, text in FILES.items():
            self.put(path, text)
        self.before = self.tree()

    def put(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="ascii") as f:
            f.write(text + "\n")

    def get(self, path):
        with open(os.path.join(self.root, path), encoding="ascii") as f:
            return f.read().rstrip("\n")

    def tree(self):
        """{path: bytes} of all files, and folders as None, but for /var, which is the state's"""
        out = {}
        for at, dirs, files in os.walk(self.root):
            rel = os.path.relpath(at, self.root)
            if rel.split("/")[0] == "var":
                continue
            out[rel] = None
            for name in files:
                with open(os.path.join(at, name), "rb") as f:
                    out[os.path.join(rel, name)] = f.read()
        return out

    def run_one(self, name, *words, status=0, timeout=60, env=None):
        p = subprocess.run([os.path.join(HOST, name), "--root", self.root, *words], capture_output=True, text=True,
                           timeout=timeout, check=False, env={**os.environ, **(env or {})})
        if status is not None:
            self.assertEqual(p.returncode, status, p.stdout + p.stderr)
        return p.stdout + p.stderr

    def prepare(self, *words, **more):
        return self.run_one("prepare", *words, **more)

    def restore(self, *words, **more):
        return self.run_one("restore", *words, **more)

    def state(self):
        return os.path.join(self.root, "var/lib/pando/host-state")


class Undo(Case):
    def test_all_of_it(self):
        self.prepare(*ALL)
        self.assertEqual(self.get("proc/sys/kernel/watchdog"), "0")
        self.assertEqual(self.get("sys/kernel/mm/ksm/run"), "0")
        self.assertEqual([self.get(f"{CPU}/cpu{c}/cpufreq/scaling_governor") for c in (1, 2, 3, 4)],
                         ["powersave", "performance", "performance", "powersave"])
        self.assertEqual([self.get(f"{CPU}/cpu2/cpuidle/state{s}/disable") for s in range(3)], ["0", "0", "1"])
        self.assertEqual(self.get("sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"), "64")
        self.assertEqual(self.get("proc/irq/10/smp_affinity_list"), "0,1,4,5,6,7")
        self.assertEqual(self.get("proc/irq/11/smp_affinity_list"), "2")  # it can be nowhere else
        self.assertEqual(self.get("proc/irq/12/smp_affinity_list"), "1,5")
        self.assertEqual(self.get("etc/systemd/system/cron.service.d/50-pando.conf"), "[Service]\nCPUAffinity=0")
        untouched = {p: b for p, b in self.before.items() if b is not None and "numa_balancing" in p or "cpu5" in p}
        self.assertTrue(untouched.items() <= self.tree().items())
        self.restore()
        self.assertEqual(self.tree(), self.before)
        self.assertFalse(os.path.exists(os.path.dirname(self.state())))

    def test_dry_run(self):
        said = self.prepare("--dry-run", *ALL)
        self.assertIn("/proc/sys/kernel/watchdog: 1 -> 0", said)
        self.assertIn("cron.service.d/50-pando.conf", said)
        self.assertEqual(self.tree(), self.before)
        self.assertFalse(os.path.exists(self.state()))
        self.prepare(*ALL)
        prepared = self.tree()
        self.assertIn("/proc/sys/kernel/watchdog: 0 -> 1", self.restore("--dry-run"))
        self.assertEqual(self.tree(), prepared)
        self.restore()
        self.assertEqual(self.tree(), self.before)

    def test_twice(self):
        self.prepare(*ALL)
        self.assertNotIn("->", self.prepare(*ALL))
        self.prepare("--sysctl", "kernel.watchdog=7", "--sysctl", "kernel.numa_balancing=0")
        self.assertEqual(self.get("proc/sys/kernel/watchdog"), "7")
        self.restore()
        self.assertEqual(self.tree(), self.before)
        self.assertIn("nothing to undo", self.restore())
        self.assertEqual(self.tree(), self.before)

    def test_killed(self):
        """At many moments; what is half done is undone, and so is what a second prepare adds to it."""
        seen = set()
        for i in range(24):
            p = subprocess.Popen([os.path.join(HOST, "prepare"), "--root", self.root, *ALL], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                p.wait(0.02 + i * 0.02)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, 9)
                p.wait()
            changed = sum(self.before.get(k) != v for k, v in self.tree().items())
            seen.add(changed)
            if i % 3 == 0:
                self.prepare("--sysctl", "kernel.numa_balancing=0")
            self.restore()
            self.assertEqual(self.tree(), self.before, f"killed after {changed} changes")
        self.assertGreater(len(seen), 2, f"all were killed at the same point: {seen}")

    def test_killed_before_a_file(self):
        self.prepare("--unit", "cron.service:0")
        os.remove(os.path.join(self.root, "etc/systemd/system/cron.service.d/50-pando.conf"))
        self.restore()
        self.assertEqual(self.tree(), self.before)

    def test_torn_line(self):
        self.prepare("--sysctl", "kernel.watchdog=0")
        with open(self.state(), "a", encoding="ascii") as f:
            f.write("was\t/sys/kernel/mm/ksm/run")
        self.prepare("--sysctl", "kernel.numa_balancing=0")
        self.restore()
        self.assertEqual(self.tree(), self.before)

    @unittest.skipUnless(os.geteuid() == 0, "not root")
    def test_state_that_cannot_be_written(self):
        """What cannot be written down is not done: the state file's directory is read-only, all else is not."""
        self.put("var/lib/pando/host-state", "pando-host-state 1\nboot boot-one")
        script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 77; shift; exec "$@"'
        for words in (["--sysctl", "kernel.watchdog=0"], ["--irqs-away", "2"], ["--unit", "cron.service:0"]):
            p = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", os.path.dirname(self.state()),
                                os.path.join(HOST, "prepare"), "--root", self.root, *words],
                               capture_output=True, text=True, timeout=60, check=False)
            if p.returncode in (1, 77) and "mount" in p.stderr:
                self.skipTest(p.stderr.strip())
            self.assertEqual(p.returncode, 2, p.stdout + p.stderr)
            self.assertIn("cannot be written", p.stderr)
            self.assertEqual(self.tree(), self.before)

    def test_reboot(self):
        self.prepare("--sysctl", "kernel.watchdog=0", "--unit", "cron.service:0")
        self.put("proc/sys/kernel/random/boot_id", "boot-two")
        self.put("proc/sys/kernel/watchdog", "5")  # as the new boot has it
        said = self.restore()
        self.assertIn("was booted since prepare", said)
        self.assertEqual(self.get("proc/sys/kernel/watchdog"), "5")
        self.assertFalse(os.path.exists(os.path.join(self.root, "etc/systemd/system/cron.service.d")))

    def test_prepare_after_reboot(self):
        self.prepare("--sysctl", "kernel.watchdog=0", "--unit", "cron.service:0")
        self.put("proc/sys/kernel/random/boot_id", "boot-two")
        self.put("proc/sys/kernel/watchdog", "5")
        self.assertIn("was booted", self.prepare("--sysctl", "kernel.watchdog=0"))
        self.restore()
        self.assertEqual(self.get("proc/sys/kernel/watchdog"), "5")
        self.assertFalse(os.path.exists(os.path.join(self.root, "etc/systemd/system/cron.service.d")))


class Others(Case):
    def test_changed_since(self):
        self.prepare("--sysctl", "kernel.watchdog=0", "--sysctl", "kernel.numa_balancing=0")
        self.put("proc/sys/kernel/watchdog", "9")
        self.assertIn("somebody else", self.restore(status=1))
        self.assertEqual(self.get("proc/sys/kernel/watchdog"), "9")
        self.assertEqual(self.get("proc/sys/kernel/numa_balancing"), "1")

    def test_changed_since_and_forced(self):
        self.prepare("--sysctl", "kernel.watchdog=0")
        self.put("proc/sys/kernel/watchdog", "9")
        self.restore("--force")
        self.assertEqual(self.tree(), self.before)

    def test_changed_since_is_kept_until_forced(self):
        self.prepare("--sysctl", "kernel.watchdog=0")
        self.put("proc/sys/kernel/watchdog", "9")
        for _ in range(2):
            self.assertIn("somebody else has changed it", self.restore(status=1))
            self.assertEqual(self.get("proc/sys/kernel/watchdog"), "9")
        self.restore("--force")
        self.assertEqual(self.tree(), self.before)

    def test_the_environment_is_no_option(self):
        self.prepare("--sysctl", "kernel.watchdog=0", env={"STATE": "/elsewhere"})
        self.assertTrue(os.path.exists(self.state()))

    def test_a_drop_in_of_that_name(self):
        self.put("etc/systemd/system/cron.service.d/50-pando.conf", "mine")
        self.assertIn("not of ours", self.prepare("--unit", "cron.service:0", status=1))
        self.restore()
        self.assertEqual(self.get("etc/systemd/system/cron.service.d/50-pando.conf"), "mine")

    def test_enough_hugepages(self):
        self.assertNotIn("->", self.prepare("--hugepages", "1:1G:2"))
        self.assertFalse(os.path.exists(self.state()))

    def test_no_systemd(self):
        shutil.rmtree(os.path.join(self.root, "run"))
        self.assertIn("systemd does not run here", self.prepare("--unit", "cron.service:0", status=1))
        self.assertFalse(os.path.exists(os.path.join(self.root, "etc/systemd/system/cron.service.d")))

    def test_no_such_setting(self):
        """The rest is done."""
        self.assertIn("no such setting", self.prepare("--sysctl", "kernel.nothing=1", "--sysctl", "kernel.watchdog=0", status=1))
        self.assertEqual(self.get("proc/sys/kernel/watchdog"), "0")

    def test_not_a_state_file(self):
        os.makedirs(os.path.dirname(self.state()))
        with open(self.state(), "w", encoding="ascii") as f:
            f.write("something else\n")
        self.prepare("--sysctl", "kernel.watchdog=0", status=2)
        self.restore(status=2)
        self.assertEqual(self.tree(), self.before)


class Usage(Case):
    def test_refused(self):
        """Before anything is done, though good options come first."""
        for words in (["--sysctl", "watchdog"], ["--sysctl", "../x=1"], ["--sysctl", "a./../etc=1"], ["--set", "/etc/passwd=x"],
                      ["--set", "/sys/../etc/passwd=x"], ["--governor", "a"], ["--governor", "3-1"], ["--governor", "1024"],
                      ["--hugepages", "0:4M:1"], ["--hugepages", "0:2M"], ["--queues", "eth0"], ["--queues", "eth0:4"],
                      ["--unit", "a/b.service:0"], ["--unit", "cron.timer:0"], ["--unit", "cron.service:x"], ["--bogus"],
                      ["--governor"], []):
            good = ["--sysctl", "kernel.watchdog=0"] if words else []
            with self.subTest(words=words):
                self.prepare(*good, *words, status=2)
                self.assertEqual(self.tree(), self.before)
        self.restore("--bogus", status=2)

    def test_help(self):
        self.assertIn("--irqs-away", self.prepare("--help"))
        self.assertIn("--force", self.restore("--help"))


@unittest.skipUnless(os.geteuid() == 0, "not root")
class Real(unittest.TestCase):
    """This machine's own kernel, by settings that nothing depends on for a moment: limits of the kernel's log, and the
    governor and hugepages where there are some are not touched."""
    NAMES = {"kernel.printk_ratelimit_burst": "11", "kernel.printk_ratelimit": "6", "vm.stat_interval": "2"}

    def test_sysctls(self):
        path = lambda name: "/proc/sys/" + name.replace(".", "/")

        def read(name):
            with open(path(name), "rb") as f:
                return f.read()

        before = {n: read(n) for n in self.NAMES}
        for name in self.NAMES:
            try:
                with open(path(name), "ab"):
                    pass
            except OSError as e:
                self.skipTest(str(e))
        with tempfile.TemporaryDirectory() as space:
            state = ["--state", os.path.join(space, "state")]
            words = [w for n, v in self.NAMES.items() for w in ("--sysctl", f"{n}={v}")]
            try:
                subprocess.run([os.path.join(HOST, "prepare"), *state, *words], check=True, capture_output=True)
                self.assertEqual({n: read(n).decode().strip() for n in self.NAMES}, self.NAMES)
            finally:
                subprocess.run([os.path.join(HOST, "restore"), *state], check=True, capture_output=True)
        self.assertEqual({n: read(n) for n in self.NAMES}, before)


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


class Units(unittest.TestCase):
    """pando-dataplane@.service, pando-vcpud@.service: that systemd takes them, and that what they start takes its words."""
    NAMES = ("pando-dataplane@.service", "pando-vcpud@.service")

    def values(self, name, key, text=None):
        """Of a key, in order; those in comments, which a user may switch on, as well."""
        return re.findall(rf"^#?{key}=(.*)$", text or read("configs/host", name), re.M)

    def command(self, name):
        (line,) = self.values(name, "ExecStart")
        return shlex.split(line.replace("%i", "1"))

    def program(self, name):
        """The built program that ExecStart names."""
        if BUILD is None:
            self.skipTest("no --build: the programs are not asked")
        base = os.path.basename(self.command(name)[0])
        self.assertEqual(base, name.split("@")[0])
        try:
            return cl.find_program(BUILD, base)
        except cl.SetupError as e:
            self.skipTest(str(e))

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed (package systemd)")
    def test_systemd_takes_them(self):
        """What it does not know it ignores with a word, and ends well: each word is an error. Comments of settings are
        switched on for it. The programs need not be installed here."""
        with tempfile.TemporaryDirectory(prefix="pando-units-") as space:
            for name in self.NAMES:
                text = re.sub(r"^#(?=[A-Z]\w+=)", "", read("configs/host", name), flags=re.M)
                with open(os.path.join(space, name), "w", encoding="ascii") as f:
                    f.write(re.sub(r"/usr/local/\S+", "/bin/true", text))
            p = subprocess.run(["systemd-analyze", "verify", "--man=no", *(os.path.join(space, n) for n in self.NAMES)],
                               capture_output=True, text=True, timeout=60, check=False)
        ours = [line for line in p.stderr.splitlines() if "pando" in line]
        self.assertEqual((ours, p.returncode), ([], 0), p.stderr)

    def test_programs_take_the_options(self):
        for name in self.NAMES:
            with self.subTest(name):
                said = subprocess.run([self.program(name), "--help"], capture_output=True, text=True, check=True).stdout
                options = [w.split("=")[0] for w in self.command(name)[1:] if w.startswith("-")]
                self.assertTrue(options)
                for option in options:
                    self.assertRegex(said, rf"(?m)(^|[\s,]){re.escape(option)}($|[\s=,])")

    def test_dataplane_takes_the_line(self):
        """All of it, but with a configuration that is there."""
        words = [self.program(self.NAMES[0])] + self.command(self.NAMES[0])[1:]
        words[words.index("--config") + 1] = os.path.join(ROOT, "configs", "cluster-template.yaml")
        p = subprocess.run([*words, "--print-config"], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertIn("node 1 (host-b)", p.stdout)

    def test_programs_are_where_they_are_installed(self):
        if BUILD is None:
            self.skipTest("no --build: nobody says where programs are installed")
        with open(os.path.join(BUILD, "meson-info", "intro-installed.json"), encoding="utf-8") as f:
            installed = set(json.load(f).values())
        with open(os.path.join(BUILD, "meson-info", "intro-buildoptions.json"), encoding="utf-8") as f:
            if next(o["value"] for o in json.load(f) if o["name"] == "prefix") != "/usr/local":
                self.skipTest("the build has another prefix than /usr/local")
        for name in self.NAMES:
            self.program(name)
            self.assertIn(self.command(name)[0], installed)
            self.assertIn("/usr/local/share/pando/host/" + name, installed)
        for line in self.values(self.NAMES[0], "ExecStartPre"):
            self.assertIn(shlex.split(line)[0].lstrip("-"), installed)

    def test_prepare_takes_its_line(self):
        (line,) = self.values(self.NAMES[0], "ExecStartPre")
        with tempfile.TemporaryDirectory() as root:
            p = subprocess.run([os.path.join(HOST, "prepare"), "--dry-run", "--root", root, *shlex.split(line)[1:]],
                               capture_output=True, text=True, timeout=60, check=False)
        self.assertIn(p.returncode, (0, 1), p.stderr)  # 2: wrong usage; there is nothing to be set below an empty root

    def test_run_dir(self):
        """The sockets are where the dataplane makes them, in a directory that it takes."""
        default = re.search(r"`run_dir`.*?(/run/\w+)", read("configs/REFERENCE.md"))[1]
        self.assertEqual(["/run/" + d for d in self.values(self.NAMES[0], "RuntimeDirectory")], [default])
        self.assertEqual(self.values(self.NAMES[0], "RuntimeDirectoryMode"), ["0700"])
        socket = f"{default}/node1.sock"
        self.assertEqual(self.command(self.NAMES[1])[2], socket)
        (wait,) = self.values(self.NAMES[1], "ExecStartPre")
        self.assertIn(f"[ -S {socket} ]", wait.replace("%i", "1"))

    def test_cpus(self):
        """Where the example's housekeeping is, and where a prepare with the same CPUs puts other services."""
        example = read("configs/two-nodes-pinned.yaml")
        (cpus,) = set(re.findall(r"housekeeping_cores: \[(.*?)\]", example))
        isolated = re.search(r"isolcpus=(\d+)", example)
        for name in self.NAMES:
            (affinity,) = self.values(name, "CPUAffinity")
            first, last = map(int, affinity.split("-"))
            self.assertEqual(list(range(first, last + 1)), [int(c) for c in cpus.split(",")])
            self.assertLess(last, int(isolated[1]))
            self.assertEqual(self.values(name, "Slice"), ["pando.slice"])
            with tempfile.TemporaryDirectory() as root:
                os.makedirs(os.path.join(root, "run/systemd/system"))
                subprocess.run([os.path.join(HOST, "prepare"), "--root", root, "--unit", f"{name}:{affinity}"], check=True,
                               capture_output=True)
                with open(os.path.join(root, f"etc/systemd/system/{name}.d/50-pando.conf"), encoding="ascii") as f:
                    self.assertEqual(self.values(name, "CPUAffinity", f.read()), [affinity])

    def test_nobody_wakes_a_dataplane(self):
        """What a unit wants is started by its restart: one that was stopped, too, or given up."""
        vcpud, dataplane = self.NAMES[1], self.NAMES[0].replace("@", "@%i")
        for key in ("Wants", "Requires", "Requisite", "BindsTo", "Upholds"):
            self.assertNotIn(dataplane, self.values(vcpud, key))
        for key in ("PartOf", "After"):
            self.assertEqual(self.values(vcpud, key), [dataplane])

    def test_limits(self):
        """What the fabrics and real-time classes ask for in words of systemd's."""
        self.assertIn("LimitMEMLOCK=infinity", read("dataplane/port/verbs_memory.c"))
        self.assertEqual(self.values(self.NAMES[0], "LimitMEMLOCK"), ["infinity"])
        for name in self.NAMES:
            self.assertEqual(self.values(name, "LimitRTPRIO"), ["99"])
            self.assertEqual(self.values(name, "Restart"), ["on-failure"])


@unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is not installed")
class Lint(unittest.TestCase):
    def test_shellcheck(self):
        files = [os.path.join(HOST, f) for f in ("prepare", "restore", "state.sh")]
        p = subprocess.run(["shellcheck", "-x", "-P", os.path.dirname(os.path.dirname(HOST)), "-s", "sh", *files],
                           capture_output=True, text=True, check=False)
        self.assertEqual(p.returncode, 0, p.stdout)


if __name__ == "__main__":
    if "--build" in sys.argv:
        at = sys.argv.index("--build")
        BUILD = os.path.abspath(sys.argv[at + 1])
        del sys.argv[at:at + 2]
    unittest.main()
