# SPDX-License-Identifier: BSD-3-Clause
"""Messages between the nodes while a job of the guest runs, from the dataplanes' telemetry below their run_dir."""
import glob
import json
import os
import re
import socket
import time

BEGIN, END = re.compile(r"pando-guest: begin (\S+)"), re.compile(r"pando-guest: (?:pass|FAIL) (\S+?):? ")
ANSWER_MAX = 1 << 20


def ask(path, command):
    """One telemetry command's answer. OSError if the dataplane is not there (any more)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(5)
        s.connect(path)
        s.recv(ANSWER_MAX)  # who it is
        s.send(command.encode())
        return json.loads(s.recv(ANSWER_MAX))[command]


class Traffic:
    """Fed with the console's lines; jobs[name] = {seconds, messages, faults}."""

    def __init__(self, run_dir):
        self.run_dir, self.start, self.jobs = run_dir, None, {}

    def total(self):
        """Messages sent and faults ended, of all nodes so far."""
        messages = faults = 0
        paths = glob.glob(os.path.join(self.run_dir, "dpdk", "*", "dpdk_telemetry.v2"))
        if not paths:
            raise OSError(f"no dataplane's telemetry below {self.run_dir}")
        for path in paths:
            classes, kinds = ask(path, "/pando/classes"), ask(path, "/pando/faults")
            messages += sum(n for key, n in classes.items() if key.endswith("/tx_messages"))
            faults += sum(n for key, n in kinds.items() if key.endswith("/n"))
        return time.monotonic(), messages, faults

    def feed(self, line):
        try:
            if BEGIN.search(line):
                self.start = self.total()
            elif (found := END.search(line)) and self.start:
                now = self.total()
                seconds, messages, faults = (b - a for a, b in zip(self.start, now))
                self.jobs[found[1]] = {"seconds": round(seconds, 2), "messages": messages, "faults": faults}
        except (OSError, ValueError, KeyError) as e:
            print(f"traffic: {e}", flush=True)  # the job has no numbers
            self.start = None
