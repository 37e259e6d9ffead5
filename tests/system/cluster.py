# SPDX-License-Identifier: BSD-3-Clause
"""A cluster on this machine: per node a dataplane and a vCPU process, nothing shared but the
fabric.

    with Cluster(options, build) as cluster:
        result = cluster.run()

Starts the dataplanes, waits for their glue sockets, starts pando-vcpud on the nodes without VMM
and the VMM on node 0; then watches all of them. The death of any ends all: the product's own job,
which gets a second for it; who is alive after that is ended from here and named in the result.
"""
import dataclasses
import json
import os
import time

import options
import procs
import workspace

PROGRAMS = ("pando-dataplane", "pando-vcpud", "pando-testvmm", "libpando-kvm.so")
START_SECONDS = 30.0  # until every dataplane has its socket
END_SECONDS = 1.0  # until all are gone after one has died
FINISH_SECONDS = 10.0  # for the dataplanes' summaries after the guest ended well


class SetupError(Exception):
    """The run could not be started; the text says why and what to do."""


def find_program(build, name):
    """A built program by name."""
    for directory, subdirs, files in os.walk(build):
        subdirs[:] = [d for d in subdirs if not d.endswith(".p") and not d.startswith("meson-")]
        if name in files:
            return os.path.join(directory, name)
    raise SetupError(
        f"{name} is not in {build}: run ./dev build (and see what its summary says is left out)"
    )


def find_guest(build, guest):
    """A guest by file name, or one of ours by its short name."""
    if "/" in guest or os.path.isfile(guest):
        if not os.path.isfile(guest):
            raise SetupError(f"guest {guest}: no such file")
        return os.path.abspath(guest)
    return find_program(build, guest.removesuffix(".elf") + ".elf")


@dataclasses.dataclass
class Result:
    status: int | None = None  # the VMM's exit status; None: it never ended by itself
    seconds: float = 0.0  # from the first process to the last
    died: str = ""  # who died first, and how, when that was not the guest's end
    slow: list = dataclasses.field(default_factory=list)  # alive END_SECONDS after that
    ended_after: float = 0.0  # seconds from the first death to the last
    left: list = dataclasses.field(
        default_factory=list
    )  # files of the run directory that nobody removed
    summaries: list = dataclasses.field(default_factory=list)  # the dataplanes', by node
    spans: list = dataclasses.field(default_factory=list)  # with Options.spans: records, by node
    vmm: dict = dataclasses.field(default_factory=dict)  # the VMM's own account

    @property
    def passed(self):
        """Guest verification passed: v = 0 by isa-debug-exit is status 1, and nobody failed."""
        return self.status == 1 and not self.died


class Cluster:
    def __init__(self, options, build, on_line=None, trace=None):
        self.o, self.build, self.on_line = options, build, on_line
        self.trace = trace or (lambda words: None)
        self.space = self.group = None
        self.vmm = None
        self.stopping = ""
        self.end_seconds = END_SECONDS

    def __enter__(self):
        if os.geteuid() != 0:
            raise SetupError(
                "not root: namespaces, /dev/kvm and userfaultfd of kernel faults need root"
            )
        for words in workspace.clean_stale():
            self.trace(f"removed what a killed run left: {words}")
        self.space = workspace.Workspace()
        self.group = procs.Group()
        return self

    def __exit__(self, *exc):
        self.group.end_all()
        self.group.close()
        self.space.remove()

    # ---- start -----------------------------------------------------------------------------

    def spawn(self, name, argv, netns=None, env=None):
        p = procs.Process(self.group, name, argv, env=env, netns=netns, on_line=self.on_line)
        self.space.record(p.pid)
        return p

    def vcpud_words(self, node):
        """More for a node's pando-vcpud."""
        return []

    def vmm_argv(self, guest):
        argv = [
            find_program(self.build, "pando-testvmm"),
            "--ram",
            str(self.o.ram),
            "--vcpus",
            str(self.o.vcpus),
            "--timeout",
            str(self.o.timeout),
            "--json-exit",
            self.space.path("vmm.json"),
        ]
        if self.o.cmdline:
            argv += ["--cmdline", self.o.cmdline]
        return argv + [guest]

    def start_plain(self, guest):
        self.vmm = self.spawn("vmm", self.vmm_argv(guest))

    def start_dataplanes(self):
        run_dir = self.space.path("run")
        os.mkdir(run_dir, 0o700)
        netns = [None] * self.o.nodes
        if self.o.fabric in options.ON_THE_WIRE:
            netns = self.space.make_segment(self.o.nodes, self.o.mtu)
        config = self.space.path("cluster.yaml")
        with open(config, "w", encoding="ascii") as f:
            f.write(self.o.config(run_dir, f"demo-{self.space.tag}"[:31], workspace.INTERFACE))
        program = find_program(self.build, self.o.dataplane)
        for n in range(self.o.nodes):
            self.spawn(
                f"dataplane{n}",
                [
                    program,
                    "--config",
                    config,
                    "--node",
                    str(n),
                    "--summary",
                    self.space.path(f"summary{n}.json"),
                    *(["--spans", self.space.path(f"spans{n}")] if self.o.spans else []),
                ],
                netns=netns[n],
            )
        sockets = [os.path.join(run_dir, f"node{n}.sock") for n in range(self.o.nodes)]
        ready = lambda: all(os.path.exists(s) for s in sockets) or self.ended() or self.stopping
        if not self.group.wait_until(ready, time.monotonic() + START_SECONDS):
            missing = [f"dataplane{n}" for n, s in enumerate(sockets) if not os.path.exists(s)]
            raise SetupError(f"no socket of {', '.join(missing)} after {START_SECONDS:g} s")
        return sockets, netns

    def start(self, guest):
        if self.o.plain:
            self.start_plain(guest)
            return
        sockets, netns = self.start_dataplanes()
        if self.ended() or self.stopping:
            return
        for n in range(1, self.o.nodes):
            self.spawn(
                f"vcpud{n}",
                [find_program(self.build, "pando-vcpud"), "--socket", sockets[n], *self.vcpud_words(n)],
                netns=netns[n],
            )
        env = dict(
            os.environ,
            LD_PRELOAD=find_program(self.build, "libpando-kvm.so"),
            PANDO_SOCKET=sockets[0],
        )
        self.vmm = self.spawn("vmm", self.vmm_argv(guest), netns=netns[0], env=env)

    # ---- watch -----------------------------------------------------------------------------

    def ended(self):
        return [p for p in self.group.processes if p.status is not None]

    def first_to_end(self):
        """Who ended first. A killed process is seen to end only when its memory is gone, which can be
        after others have noticed its closed sockets: among those who end together it is the cause."""
        if not any(p is self.vmm for p in self.ended()):
            self.group.wait_until(lambda: False, time.monotonic() + 0.1)
        killed = [p for p in self.ended() if p.status < 0]
        return min(killed or self.ended(), key=lambda p: p.ended_at)

    def watch(self, result):
        """Until the guest has ended, somebody has died, or the time is over."""
        deadline = time.monotonic() + self.o.timeout + 10  # the VMM's own time-out comes first
        ok = self.group.wait_until(lambda: self.ended() or self.stopping, deadline)
        if self.stopping:
            result.died = self.stopping
            self.group.end_all()
            return
        if not ok:
            result.died = f"nothing: no end after {self.o.timeout + 10} s"
            return
        first = self.first_to_end()
        if first is not self.vmm and first.status == 0 and self.vmm:
            # The VM's end travels through the dataplanes and may reach one before the VMM has
            # exited.
            self.group.wait_until(lambda: self.vmm.status is not None, time.monotonic() + 2)
            failed = [p for p in self.ended() if p is not self.vmm and p.status != 0]
            if self.vmm.status is not None and not failed:
                return
        if first is not self.vmm:
            result.died = f"{first.name} (process {first.pid}) {procs.exit_words(first.status)}"

    def finish(self, result):
        """Everybody has to end by himself now: quickly after a death, with a summary after a good
        end.
        """
        start = time.monotonic()
        bad = result.died or (self.vmm and self.vmm.status is not None and self.vmm.status < 0)
        if bad and not result.died:
            result.died = f"vmm (process {self.vmm.pid}) {procs.exit_words(self.vmm.status)}"
        self.group.wait_until(
            lambda: not self.group.alive(), start + (self.end_seconds if bad else FINISH_SECONDS)
        )
        result.slow = [] if self.stopping else [p.name for p in self.group.alive()]
        result.ended_after = time.monotonic() - start
        self.group.end_all()
        if self.vmm:
            result.status = self.vmm.status
        if not result.died:
            failed = [p for p in self.group.processes if p is not self.vmm and p.status != 0]
            if failed:
                result.died = (
                    f"{failed[0].name} {procs.exit_words(failed[0].status)} after the guest's end"
                )

    def read_json(self, name):
        try:
            with open(self.space.path(name), encoding="utf-8") as f:
                return json.load(f)
        except (OSError, ValueError):
            return {}

    def read_lines(self, name):
        try:
            with open(self.space.path(name), encoding="utf-8") as f:
                return [json.loads(line) for line in f]
        except (OSError, ValueError):
            return []

    def run(self):
        guest = find_guest(self.build, self.o.guest)
        result, start = Result(), time.monotonic()
        self.start(guest)
        self.watch(result)
        self.finish(result)
        result.seconds = time.monotonic() - start
        if not self.o.plain:
            run_dir = self.space.path("run")
            result.left = sorted(os.listdir(run_dir)) if os.path.isdir(run_dir) else []
            result.summaries = [self.read_json(f"summary{n}.json") for n in range(self.o.nodes)]
            if self.o.spans:
                result.spans = [self.read_lines(f"spans{n}") for n in range(self.o.nodes)]
        result.vmm = self.read_json("vmm.json")
        return result
