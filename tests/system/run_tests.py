# SPDX-License-Identifier: BSD-3-Clause
"""`pando run`: what it composes is accepted by the real QEMU; it starts, watches and ends the
processes of all nodes; any death ends all, is named, and nothing is left."""
import functools
import os
import pty
import re
import select
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time

import cluster as cl
import kill_tests
import outcome
import procs
import workspace
from bad_tests import Lab
from options import Options

DIED, REFUSED = 70, 2
GONE_SECONDS = 2.0
RUNNING_SECONDS = 30
SMOKE_SECONDS = 60
FOREVER = ("counters", "iters=100000000")
COUNTS_INT = """import os, signal, time
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"int\\n"))
os.write(1, b"up\\n")
time.sleep(1.5)
os.write(1, b"done\\n")
os._exit(4)
"""
UP_FOREVER = "echo up\nwhile :; do sleep 0.05; done\n"


class RunLab(Lab):
    """A workspace with a cluster's configuration, and the processes that a pando run has."""

    def __enter__(self):
        super().__enter__()
        self.out, self.pando = [], None
        return self

    def write_config(self, o=Options()):
        run_dir = self.space.path("run")
        text = o.config(run_dir, f"run-{self.space.tag}"[:31], workspace.INTERFACE)
        return self.config("cluster.yaml", text)

    def run(self, *argv, config=True, env=None):
        """Starts `pando run ARGV`, with the workspace's configuration."""
        program = cl.find_program(self.build, "pando")
        first = [program, "run"] + (["--config", self.space.path("cluster.yaml")] if config else [])

        def on_line(p, stream, text):
            (self.out if stream == "out" else self.lines).append(text)

        argv = first + list(argv)
        self.pando = procs.Process(self.group, "pando", argv, env=env, on_line=on_line)
        self.space.record(self.pando.pid)
        return self.pando

    def testvmm(self, guest="smoke", cmdline=""):
        words = [cl.find_program(self.build, "pando-testvmm"), "--ram", "64", "--vcpus", "4"]
        words += ["--cmdline", cmdline] if cmdline else []
        return words + [cl.find_guest(self.build, guest)]

    def script(self, name, text):
        path = self.config(name, "#!/bin/sh\n" + text)
        os.chmod(path, stat.S_IRWXU)
        return path

    def wait(self, seconds=RUNNING_SECONDS):
        """Until pando has ended; its status, or None."""
        self.group.wait_until(lambda: self.pando.status is not None, time.monotonic() + seconds)
        return self.pando.status

    def wait_said(self, pattern, seconds=RUNNING_SECONDS):
        said = lambda: any(re.search(pattern, t) for t in self.out + self.lines)
        done = lambda: said() or self.pando.status is not None
        self.group.wait_until(done, time.monotonic() + seconds)
        return said()

    def children(self):
        """Process ids by name."""
        found = {}
        try:
            path = f"/proc/{self.pando.pid}/task/{self.pando.pid}/children"
            with open(path, encoding="ascii") as f:
                pids = [int(n) for n in f.read().split()]
        except OSError:
            return found
        for pid in pids:
            words = kill_tests.read(f"/proc/{pid}/cmdline").split("\0")
            program = os.path.basename(words[0])
            node = re.search(r"--node\0(\d+)|node(\d+)\.sock", "\0".join(words))
            number = (node.group(1) or node.group(2)) if node else ""
            found[program.removeprefix("pando-") + number] = pid
        return found

    def wrong_end(self, status, *patterns):
        """What is wrong with the end of the run, or None."""
        if self.pando.status != status:
            return f"pando run ended with {self.pando.status}, not {status}"
        text = "\n".join(self.lines)
        for pattern in patterns:
            if not re.search(pattern, text, re.M):
                return f"nobody said '{pattern}'"
        return None

    def wrong_left(self, killed=""):
        """What is left in the run directory, or None; a killed dataplane leaves its socket and its claim,
        which the next one takes over, and the fabric's files.
        """
        left = set(os.listdir(self.space.path("run")))
        if killed.startswith("dataplane"):
            left -= {f"node{killed[-1]}.sock", f"node{killed[-1]}.claim", "dpdk", "ring"}
        return f"left in the run directory: {', '.join(sorted(left))}" if left else None


def wait_gone(pids, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(map(kill_tests.gone, pids)):
        time.sleep(0.02)
    return [pid for pid in pids if not kill_tests.gone(pid)]


# ---- composition ---------------------------------------------------------------------------------

QEMU = "qemu-system-x86_64"


def composed(lab, o, *words):
    """The composed line as words, or what is wrong."""
    lab.write_config(o)
    lab.run("--print", "--", QEMU, *words)
    if lab.wait() != 0 or len(lab.out) != 1:
        return None, f"--print ended with {lab.pando.status}: {lab.lines[-3:]}"
    return shlex.split(lab.out[0]), None


def accepted(o, words, lab):
    """The real QEMU takes the line; but for the accelerator, which is not tested here."""
    if not shutil.which(QEMU):
        raise outcome.Skipped(f"there is no {QEMU}; remedy: apt-get install qemu-system-x86")
    argv, wrong = composed(lab, o, *words)
    if wrong:
        return wrong
    argv = [w.replace("kernel_irqchip=split", "usb=off") for w in argv]
    argv[argv.index("-accel") + 1] = "tcg"
    argv += ["-S", "-display", "none", "-monitor", "stdio"]
    p = subprocess.run(
        argv,
        input="info numa\ninfo memdev\nquit\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    bad = [t for t in p.stderr.splitlines() if "TCG doesn't support requested feature" not in t]
    if p.returncode != 0 or bad:
        return f"{QEMU} ended with {p.returncode}: {'; '.join(bad)}"
    if "share: true" not in p.stdout:
        return f"no shared memory backend: {p.stdout}"
    if o.homes == "range" and "microvm" not in words and f"{o.nodes} nodes" not in p.stdout:
        return f"not {o.nodes} NUMA nodes: {p.stdout}"
    return None


def ranges_in_order(machine, lab):
    """On the plain KVM, unchanged: the RAM blocks come in the nodes' order, by which the ranges of
    vm.homes are counted.
    """
    if not shutil.which(QEMU):
        raise outcome.Skipped(f"there is no {QEMU}; remedy: apt-get install qemu-system-x86")
    o = Options(nodes=3, vcpus=3, ram=128, homes="range")
    options = ["-nodefaults", "-S", "-display", "none", "-monitor", "stdio"]
    trace = ["-trace", "kvm_set_user_memory"]
    argv, wrong = composed(lab, o, "-M", machine, *options, *trace)
    if wrong:
        return wrong
    p = subprocess.run(
        argv, input="quit\n", capture_output=True, text=True, timeout=60, check=False
    )
    slots = re.findall(r"flags=0x0 gpa=(\w+) size=(\w+) ", p.stdout + p.stderr)[:3]
    slots = [(int(gpa, 16) >> 20, int(size, 16) >> 20) for gpa, size in slots]
    return None if slots == [(0, 43), (43, 43), (86, 42)] else f"{slots}: {p.stderr[-200:]}"


def refusals(lab):
    lab.write_config()
    lab.run("--print", "--", QEMU, "-cpu", "host", "-device", "vfio-pci,host=01:00.0", "-m", "64G")
    lab.wait()
    said = (
        "^pando run: refused: -cpu host: .*remedy",
        "refused: -device vfio-pci,host=01:00.0: ",
        "refused: -m 64G: 65536 MiB is more than vm.ram_mib, 128",
    )
    if lab.out:
        return f"a line was printed: {lab.out}"
    return lab.wrong_end(REFUSED, *said)


def print_starts_nothing(lab):
    """--print needs neither QEMU nor a cluster, and leaves nothing."""
    lab.write_config()
    lab.run("--print", "--", "/nowhere/qemu", "-append", "a b'c")
    lab.wait()
    if lab.wrong_end(0) or shlex.split(lab.out[0])[:3] != ["/nowhere/qemu", "-append", "a b'c"]:
        return f"{lab.pando.status}: {lab.out}"
    return lab.wrong_left()


def no_qemu(lab):
    lab.write_config()
    lab.run("--", "qemu-system-nowhere")
    lab.wait()
    return lab.wrong_end(REFUSED, "qemu-system-nowhere cannot be started: No such file.*remedy")


def qemu_version(lab):
    """Another version is said; QEMU's own status comes out; the line reaches it."""
    lab.write_config()
    answer = '[ "$1" = --version ] && echo "QEMU emulator version 9.9.1 (x)" && exit\n'
    qemu = lab.script("qemu", answer + 'printf "<%s>" "$@"; echo; exit 7\n')
    lab.run("--", qemu, "-append", "a b")
    lab.wait()
    if "<-append><a b><-m><128M>" not in "".join(lab.out):
        return f"QEMU was given {lab.out}"
    return lab.wrong_end(7, "warning: QEMU 9.9.1: not tried") or lab.wrong_left()


def broken_qemu(lab):
    lab.write_config()
    lab.run("--", lab.script("qemu", "echo no library; exit 127\n"))
    lab.wait()
    return lab.wrong_end(REFUSED, "--version exited with status 127: no library")


def usage(lab):
    program = cl.find_program(lab.build, "pando")
    for argv, status, part in (
        (["--help"], 0, "run        start"),
        ([], 2, "usage: pando COMMAND"),
        (["dance"], 2, "there is no command 'dance'"),
        (["run", "--help"], 0, "--on=NODE=COMMAND"),
        (["run", "--rules"], 0, "| `-machine` |"),
        (["run"], 2, "--config FILE and a command line"),
        (["run", "--config", "/nowhere.yaml", "--", "qemu"], 2, "/nowhere.yaml"),
        (["run", "--colour"], 2, "--colour"),
    ):
        p = subprocess.run([program] + argv, capture_output=True, text=True, check=False)
        if p.returncode != status or part not in p.stdout + p.stderr:
            return f"pando {' '.join(argv)}: {p.returncode}: {p.stdout + p.stderr}"
    return None


def wrong_on(lab):
    lab.write_config()
    for text, part in (("7=ssh x", "node '7'"), ("ssh x", "NODE=COMMAND")):
        lab.run("--on", text, "--vmm-raw", "--", "true")
        lab.wait()
        wrong = lab.wrong_end(REFUSED, re.escape(part))
        if wrong:
            return f"--on {text}: {wrong}"
    return None


# ---- processes -----------------------------------------------------------------------------------


def smoke(lab):
    """A guest's vCPUs on two nodes; its status, its console, the summaries."""
    lab.write_config()
    lab.run("--summary-dir", lab.space.path("sum"), "--vmm-raw", "--", *lab.testvmm())
    lab.wait(SMOKE_SECONDS)
    if "PASS smoke" not in lab.out:
        return f"the guest did not pass: {lab.pando.status}"
    if sorted(os.listdir(lab.space.path("sum"))) != ["summary0.json", "summary1.json"]:
        return f"summaries: {os.listdir(lab.space.path('sum'))}"
    return lab.wrong_end(1, r"^dataplane1 \| .*ended") or lab.wrong_left()


def namespaces(lab):
    """--on: each node in a network namespace of its own."""
    lab.write_config(Options(fabric="af_packet"))
    words = []
    for n, name in enumerate(lab.space.make_segment(2, 9000)):
        words += ["--on", f"{n}=ip netns exec {name}"]
    lab.run(*words, "--vmm-raw", "--", *lab.testvmm())
    lab.wait(SMOKE_SECONDS)
    if "PASS smoke" not in lab.out:
        return f"the guest did not pass: {lab.pando.status}"
    return lab.wrong_end(1) or lab.wrong_left()


def shell_between(lab):
    """Behind ssh a shell takes the words apart again: they arrive as they were. A script stands for
    ssh here.
    """
    lab.write_config()
    ssh = lab.script("ssh", 'shift\nexec sh -c "$*"\n')
    vmm = lab.script("vmm", "printf '<%s>' \"$@\"; echo; exit 9\n")
    on = [f"--on=n{n}={ssh} host-{n}" for n in range(2)]
    lab.run(*on, "--vmm-raw", "--", vmm, "a  b", "$HOME", "it's", "")
    lab.wait()
    if lab.out != ["<a  b><$HOME><it's><>"]:
        return f"the VMM was given {lab.out}"
    return lab.wrong_end(9) or lab.wrong_left()


def start_forever(lab, *words):
    lab.write_config()
    lab.run(*words, "--vmm-raw", "--", *lab.testvmm(*FOREVER))
    if not lab.wait_said("counters"):
        return "the guest said nothing"
    lab.group.wait_until(lambda: False, time.monotonic() + 0.3)
    lab.kids = lab.children()
    names = ["dataplane0", "dataplane1", "testvmm", "vcpud1"]
    return None if sorted(lab.kids) == names else f"the processes are {sorted(lab.kids)}"


def kill_one(victim, lab):
    wrong = start_forever(lab)
    if wrong:
        return wrong
    start = time.monotonic()
    os.kill(lab.kids[victim], signal.SIGKILL)
    lab.wait(10)
    seconds = time.monotonic() - start
    left = wait_gone(lab.kids.values(), 0.1)
    name = "pando-testvmm" if victim == "testvmm" else victim
    line = rf"^pando run: {name} \(process {lab.kids[victim]}\) was killed by SIGKILL$"
    wrong = lab.wrong_end(DIED, line)
    if not wrong and len([t for t in lab.lines if t.startswith("pando run:")]) != 1:
        wrong = "more than one line"
    if not wrong and seconds > GONE_SECONDS:
        wrong = f"it took {seconds:.1f} s"
    if not wrong and left:
        wrong = f"still alive: {left}"
    return wrong or lab.wrong_left(victim), f"{seconds:.2f} s"


def kill_pando(lab):
    """The kernel ends the children; what they leave does not stop the next run."""
    wrong = start_forever(lab)
    if wrong:
        return wrong
    os.kill(lab.pando.pid, signal.SIGKILL)
    left = wait_gone(lab.kids.values(), GONE_SECONDS)
    if left:
        return f"still alive: {left}"
    if not os.listdir(lab.space.path("run")):
        return "no stale socket, so that this shows nothing"
    lab.wait(1)
    lab.run("--vmm-raw", "--", *lab.testvmm())
    lab.wait(SMOKE_SECONDS)
    return lab.wrong_end(1) or lab.wrong_left()


def end_by(number, lab):
    wrong = start_forever(lab)
    if wrong:
        return wrong
    os.kill(lab.pando.pid, number)
    lab.wait(5)
    left = wait_gone(lab.kids.values(), 0.1)
    wrong = lab.wrong_end(128 + number, f"^pando run: ended by {number.name}$")
    return wrong or (f"still alive: {left}" if left else None) or lab.wrong_left()


def graceful(lab):
    """The VMM is asked first, and its status is the answer."""
    lab.write_config()
    vmm = lab.script("vmm", "trap 'echo asked; exit 5' TERM\n" + UP_FOREVER)
    lab.run("--vmm-raw", "--", vmm)
    if not lab.wait_said("^up$"):
        return "the VMM did not start"
    os.kill(lab.pando.pid, signal.SIGTERM)
    lab.wait(10)
    asked = None if "asked" in lab.out else "it was not asked"
    return lab.wrong_end(5) or asked or lab.wrong_left()


def stubborn(lab):
    """A VMM that does not listen: a second signal does not wait for it."""
    lab.write_config()
    vmm = lab.script("vmm", "trap '' TERM INT HUP\n" + UP_FOREVER)
    lab.run("--vmm-raw", "--", vmm)
    if not lab.wait_said("^up$"):
        return "the VMM did not start"
    kids = lab.children()
    os.kill(lab.pando.pid, signal.SIGTERM)
    time.sleep(0.2)
    os.kill(lab.pando.pid, signal.SIGINT)
    start = time.monotonic()
    lab.wait(15)
    left = wait_gone(kids.values(), 0.1)
    seconds = time.monotonic() - start
    wrong = lab.wrong_end(128 + signal.SIGTERM)
    return wrong or (f"still alive: {left}" if left or seconds > 4 else None), f"{seconds:.1f} s"


def slow_start(lab):
    """Who is waited for is said; a signal ends that as well."""
    lab.write_config()
    lab.run("--on", "1=" + lab.script("slow", "exec sleep 100\n"), "--vmm-raw", "--", "true")
    if not lab.wait_said(r"^pando run: waiting for dataplane1 \(n1\)$", 5):
        return "nothing was said about the wait"
    kids = lab.children()
    os.kill(lab.pando.pid, signal.SIGHUP)
    lab.wait(5)
    left = wait_gone(kids.values(), 0.1)
    wrong = lab.wrong_end(128 + signal.SIGHUP) or (f"still alive: {left}" if left else None)
    return wrong or lab.wrong_left()


def refused_dataplane(lab):
    """A dataplane that cannot start is named, and nobody waits."""
    lab.write_config(Options(fabric="af_packet"))  # the host itself has no pando0
    start = time.monotonic()
    lab.run("--vmm-raw", "--", "true")
    lab.wait()
    seconds = time.monotonic() - start
    line = r"^pando run: dataplane[01] \(process \d+\) exited with status 1 before the VM was"
    return lab.wrong_end(DIED, line, r"^dataplane\d \| .*pando0") or (
        f"it took {seconds:.1f} s" if seconds > 5 else None
    )


# What dataplane 1 and the VMM do; the exit status, the line. $up is there once the VMM runs, $end
# is made by who acts first.
AFTER = "while [ ! -e $end ]; do sleep 0.01; done; sleep 0.07\n"
DEATHS = {
    "helper_then_vmm": (
        "touch $end; exit 4\n",
        AFTER + "exit 5\n",
        (DIED, r"^pando run: dataplane1 \(process \d+\) exited with status 4$"),
    ),
    "vmm_then_helper": (AFTER + "exit 4\n", "touch $end; exit 5\n", (5,)),
    "vmm_well_then_helper": (  # what a dataplane finds at the end is not lost
        AFTER + "sleep 0.3; exit 4\n",
        "touch $end; exit 0\n",
        (DIED, r"^pando run: dataplane1 \(process \d+\) exited with status 4 after the VM's end$"),
    ),
    "vmm_stopped_then_killed": (  # the cause is seen after its consequence
        AFTER + "kill -9 $$\n",
        f"touch $end; exit {DIED}\n",
        (DIED, r"^pando run: dataplane1 \(process \d+\) was killed by SIGKILL$"),
    ),
    "vmm_stopped": (  # and nobody else: it is named itself
        "sleep 100\n",
        f"exit {DIED}\n",
        (DIED, rf"^pando run: vmm \(process \d+\) exited with status {DIED}$"),
    ),
}


def first_death(case, lab):
    """Of those who end together the cause is named."""
    helper, vmm, expected = DEATHS[case]
    lab.write_config()
    names = f"up={lab.space.path('up')} end={lab.space.path('end')}\n"
    until_up = "while [ ! -e $up ]; do sleep 0.01; done\n"
    ready = "echo 'pando-dataplane: node 1: ready'\n"
    ready = f'case "$*" in *--announce*) {ready};; *) sleep 100;; esac\n'
    helper = lab.script("helper", names + ready + until_up + helper)
    vmm = lab.script("vmm", names + "touch $up\n" + vmm)
    lab.run("--on", f"1={helper}", "--vmm-raw", "--", vmm)
    lab.wait()
    return lab.wrong_end(*expected)


def ignored_children(lab):
    """SIGCHLD ignored, as it may be inherited: the children's ends are seen all the same."""
    lab.write_config()
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        lab.run("--vmm-raw", "--", "sh", "-c", "exit 6")
    finally:
        signal.signal(signal.SIGCHLD, old)
    lab.wait()
    return lab.wrong_end(6)


def failing_dataplane(lab):
    """One that ends by itself is named, and ends the VM, whatever the VMM says to that."""
    lab.write_config()
    fail = lab.script("fail", "echo 'pando-dataplane: node 1: ready'\nsleep 1\nexit 4\n")
    vmm = lab.script("vmm", "trap 'exit 5' TERM\n" + UP_FOREVER)
    lab.run("--on", f"1={fail}", "--vmm-raw", "--", vmm)
    lab.wait()
    line = r"^pando run: (dataplane|vcpud)1 \(process \d+\) exited with status 4"
    return lab.wrong_end(DIED, line) or lab.wrong_left()


def environment(lab):
    lab.write_config()
    vmm = lab.script("vmm", 'echo "$LD_PRELOAD $PANDO_SOCKET"\n')
    for words in ([], ["--on", "0=env"]):
        lab.out.clear()
        lab.run(*words, "--vmm-raw", "--", vmm, env=dict(os.environ, LD_PRELOAD="libm.so.6"))
        lab.wait()
        library = os.path.realpath(cl.find_program(lab.build, "libpando-kvm.so"))
        if lab.out != [f"libm.so.6:{library} {lab.space.path('run', 'node0.sock')}"]:
            return f"{words}: {lab.out}"
        if lab.wrong_end(0):
            return lab.wrong_end(0)
    return None


def on_terminal(lab, vmm, typed, until):
    """Runs a VMM on a terminal of its own; (exit status, everything that was shown)."""
    program = cl.find_program(lab.build, "pando")
    lab.write_config()
    argv = [program, "run", "--config", lab.space.path("cluster.yaml"), "--vmm-raw", "--", vmm]
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(program, argv)
    lab.space.record(pid)
    shown, end = b"", time.monotonic() + RUNNING_SECONDS
    while time.monotonic() < end:
        if not select.select([fd], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(fd, 4096)
        except OSError:  # nobody has the terminal any more
            break
        shown += data
        if until in shown and typed:
            os.write(fd, typed)
            typed = b""
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def terminal(lab):
    """The VMM has the terminal: it reads what is typed, and Ctrl-C reaches it once."""
    vmm = lab.script("vmm", "echo up\nread x\necho \"got <$x>\"\nexit 3\n")
    status, shown = on_terminal(lab, vmm, b"hello\n", b"up")
    if status != 3 or "got <hello>" not in shown:
        return f"{status}: {shown}"
    lab.config("vmm.py", COUNTS_INT)
    vmm = lab.script("vmm2", f"exec {sys.executable} {lab.space.path('vmm.py')}\n")
    status, shown = on_terminal(lab, vmm, b"\x03", b"up")
    if status != 4 or shown.count("int") != 1:
        return f"Ctrl-C: {status}: {shown}"
    if "signal" in shown[: shown.index("done")]:
        return f"Ctrl-C reached not the VMM alone: {shown}"
    return lab.wrong_left()


CASES = {
    "accepted/interleave": functools.partial(accepted, Options(), []),
    "accepted/range": functools.partial(accepted, Options(homes="range"), ["-M", "q35", "-usb"]),
    "accepted/range_3": functools.partial(accepted, Options(nodes=3, vcpus=5, homes="range"), []),
    "accepted/pc": functools.partial(accepted, Options(homes="range"), ["-M", "pc", "-m", "128"]),
    "accepted/microvm": functools.partial(accepted, Options(homes="range"), ["-M", "microvm"]),
    "accepted/cpu": functools.partial(accepted, Options(), ["-cpu", "EPYC,-x2apic", "-smp", "4"]),
}
CASES |= {f"order/{m}": functools.partial(ranges_in_order, m) for m in ("q35", "pc")}
CASES |= {
    f.__name__: f
    for f in (
        refusals,
        print_starts_nothing,
        no_qemu,
        qemu_version,
        broken_qemu,
        usage,
        wrong_on,
        refused_dataplane,
        smoke,
        namespaces,
        shell_between,
        failing_dataplane,
        environment,
        ignored_children,
        graceful,
        stubborn,
        slow_start,
        terminal,
        kill_pando,
    )
}
CASES |= {
    f"kill/{victim}": functools.partial(kill_one, victim)
    for victim in ("dataplane0", "dataplane1", "vcpud1", "testvmm")
}
CASES |= {f"first/{case}": functools.partial(first_death, case) for case in DEATHS}
CASES |= {f"signal/{s.name}": functools.partial(end_by, s) for s in (signal.SIGINT, signal.SIGTERM)}


def run_case(case, build):
    with RunLab(build) as lab:
        result = case(lab)
        if result[0] if isinstance(result, tuple) else result:
            print("\n".join("       " + line for line in (lab.out + lab.lines)[-20:]))
        return result


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--only", default="", help="a part of a case's name")
    args = parser.parse_args()
    tests = {f"run/{name}": functools.partial(run_case, c, args.build) for name, c in CASES.items()}
    return outcome.status(
        [outcome.run(args.tally, *test) for test in tests.items() if args.only in test[0]]
    )


if __name__ == "__main__":
    sys.exit(main())
