# SPDX-License-Identifier: BSD-3-Clause
"""Processes of one run: started so that they cannot outlive us, watched together, ended together.

One thread, one event loop: every child has a pidfd and two pipes in one selector. A child dies
with this process (PR_SET_PDEATHSIG), also when this process is killed with SIGKILL.
"""
import ctypes
import os
import selectors
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def in_child(parent, netns_fd):
    """Between fork and exec: die with the parent, own process group, network namespace; signals as at a
    terminal, also if we were started in the background of a shell, which ignores SIGINT."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before prctl
        os._exit(127)
    os.setpgid(0, 0)
    if netns_fd >= 0 and libc.setns(netns_fd, CLONE_NEWNET):
        os.write(2, b"setns: " + os.strerror(ctypes.get_errno()).encode() + b"\n")
        os._exit(127)


def exit_words(status):
    """A subprocess return code in words."""
    if status < 0:
        try:
            return f"was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"was killed by signal {-status}"
    return f"exited with status {status}"


class Process:
    """One child. on_line(process, stream, text) is called for each complete line of its output."""

    def __init__(self, group, name, argv, env=None, netns=None, on_line=None):
        self.name, self.argv, self.status, self.ended_at = name, argv, None, None
        self.tail = []  # the last lines, for a report when it fails
        self.on_line = on_line
        netns_fd = os.open(f"/run/netns/{netns}", os.O_RDONLY | os.O_CLOEXEC) if netns else -1
        parent = os.getpid()
        try:
            self.child = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=lambda: in_child(parent, netns_fd),
            )
        finally:
            if netns_fd >= 0:
                os.close(netns_fd)
        self.pid = self.child.pid
        self.pidfd = os.pidfd_open(self.pid)
        self.buffers = {"out": b"", "err": b""}
        group.add(self)

    def feed(self, stream, data):
        """Takes output; hands on complete lines."""
        data = self.buffers[stream] + data
        *lines, rest = data.split(b"\n")
        if len(rest) > 65536:  # a child that never ends its line
            lines, rest = lines + [rest], b""
        self.buffers[stream] = rest
        for line in lines:
            self.line(stream, line)

    def line(self, stream, raw):
        text = raw.decode("utf-8", "replace").rstrip("\r")
        self.tail = (self.tail + [text])[-20:]
        if self.on_line:
            self.on_line(self, stream, text)

    def send(self, sig):
        if self.status is None:
            try:
                os.killpg(self.pid, sig)
            except ProcessLookupError:
                pass


class Group:
    """The children of one run and the loop that watches them."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.processes = []

    def add(self, process):
        self.processes.append(process)
        self.selector.register(process.pidfd, selectors.EVENT_READ, (process, "exit"))
        for stream, pipe in (("out", process.child.stdout), ("err", process.child.stderr)):
            os.set_blocking(pipe.fileno(), False)
            self.selector.register(pipe, selectors.EVENT_READ, (process, stream))

    def alive(self):
        return [p for p in self.processes if p.status is None]

    def drain(self, process, stream, pipe):
        """Reads what is there; unregisters the pipe at its end."""
        while True:
            try:
                data = os.read(pipe.fileno(), 65536)
            except BlockingIOError:
                return
            if not data:
                if process.buffers[stream]:
                    process.line(stream, process.buffers[stream])
                    process.buffers[stream] = b""
                self.selector.unregister(pipe)
                pipe.close()
                return
            process.feed(stream, data)

    def reap(self, process):
        process.status = process.child.wait()
        process.ended_at = time.monotonic()
        self.selector.unregister(process.pidfd)
        os.close(process.pidfd)
        for stream, pipe in (("out", process.child.stdout), ("err", process.child.stderr)):
            if not pipe.closed:
                self.drain(process, stream, pipe)

    def step(self, timeout):
        """Waits up to timeout seconds for something; returns the processes that ended."""
        ended = []
        for key, _ in self.selector.select(max(0, timeout)):
            process, what = key.data
            if what == "exit":
                self.reap(process)
                ended.append(process)
            elif not key.fileobj.closed:
                self.drain(process, what, key.fileobj)
        return ended

    def wait_until(self, done, deadline):
        """Steps until done() or the deadline; False if the deadline came first."""
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.step(min(left, 0.05))
        return True

    def end_all(self, grace=2.0):
        """SIGTERM, then SIGKILL; returns the names of those that had to be killed."""
        for p in self.alive():
            p.send(signal.SIGTERM)
        self.wait_until(lambda: not self.alive(), time.monotonic() + grace)
        killed = [p.name for p in self.alive()]
        for p in self.alive():
            p.send(signal.SIGKILL)
        self.wait_until(lambda: not self.alive(), time.monotonic() + 5)
        return killed

    def close(self):
        """After end_all: closes what is open (a grandchild may still hold a pipe)."""
        for p in self.processes:
            for pipe in (p.child.stdout, p.child.stderr):
                if not pipe.closed:
                    self.selector.unregister(pipe)
                    pipe.close()
        self.selector.close()
