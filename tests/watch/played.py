# SPDX-License-Identifier: BSD-3-Clause
"""Dataplanes that are played: DPDK's telemetry socket with answers of ours."""
import copy
import json
import os
import socket
import threading

GREETING = b'{"version":"DPDK 22.11","pid":1,"max_output_len":16384}'
OFFLOAD = {"v": 1, "node": 0, "nic": "none", "driver": "", "queues": 1, "link": "shm", "rules": [], "next": 0,
           "intents": [{"intent": "count urgent", "by": "software", "partly": False, "reason": "no NIC", "frames": 7}]}


def faults(**kinds):
    """kind: {largest value of a bucket in ns: samples}"""
    return {k: {"n": sum(b.values()), "max_us": max(b, default=0) / 1e3, "sum_ns": sum(v * n for v, n in b.items()),
                "buckets": [[v, n] for v, n in sorted(b.items())]} for k, b in kinds.items()}


def summary(node=0, **more):
    """What a dataplane answers, as far as anybody looks."""
    return {
        "schema": 1, "node": node, "name": f"n{node}", "cluster": "played", "seconds": 10.0, "vcpus": [node],
        "phase": "running", "vm": "vm0", "vmm_node": 0, "vmm": node == 0, "stop": "", "ended": "",
        "faults": faults(read={1023: 90, 32767: 10}, write={2047: 50}, upgrade={}, spurious={}),
        "messages": {"gets": {"tx": 100, "rx": 5}, "data": {"tx": 5, "rx": 100}},
        "classes": {"urgent": {"tx_messages": 40, "rx_messages": 60, "tx_bytes": 4000000, "tx_frames": 40},
                    "data": {"tx_messages": 60, "rx_messages": 40, "tx_bytes": 6000000, "tx_frames": 60}},
        "drops": {"rrdp.duplicate": 3, "coherence.state": 0},
        "port": {"name": "shm", "fabric": "shm", "tx_frames": 100, "rx_frames": 105},
        "coherence": {"resident": 512, "resident_high": 600, "checks": 0, "violations": 0},
        "transitions": {"I>IS_D": 10, "IS_D>IS_P": 10},
        "peers": {f"n{1 - node}": {"node": 1 - node, "up": 1, "rtt_ns": 23400, "tx_messages": 100, "rx_messages": 90,
                                   "tx_bytes": 10000000, "rx_bytes": 9000000, "retransmit": 7}},
        "loop": {"rounds": 1000, "useful": 400, "found": {"frames": 300, "glue": 20}, "useful_ns": 2500000000,
                 "empty_ns": 500000000, "yield_ns": 1000000000, "sleep_ns": 6000000000, "cpu_ns": 3000000000,
                 "core": 5},
        "rings": {"irqs": 4}, "copies": {"page_in_bytes": 4096},
        "clock": {"state": "locked", "khz": 2000000, "error_ticks": 3000},
        "config": {"hash": "0123456789abcdef"},
        "hot_pages": {"0x12": {"faults": 50, "over": 0}, hex(0x100 + node): {"faults": 9, "over": 1}},
        "channels": {"capacity": 128, "unmap_capacity": 256, "unmap": 6, "to_dp": {"0": 3, "1": 0, "vm": 0},
                     "to_glue": {"0": 0, "1": 128, "vm": 1}, "implausible": {}},
        "threads": {"agent": {"cpu_ns": 100000000, "core": 2}, f"vcpu{node}": {"cpu_ns": 9000000000, "core": 3},
                    f"proxy{1 - node}": {}},
        "processes": {"dataplane": {"cpu_ns": 3000000000}, "vm": {"cpu_ns": 9500000000 + node * 120000000000}},
        "spans": {"sample": 64, "kinds": {"read": {
            "n": 3, "incomplete": {"data": 2}, "total": {"n": 3, "sum_ns": 3000, "buckets": [[1023, 3]]},
            "stages": {"to_port": {"n": 3, "sum_ns": 300, "buckets": [[103, 3]]}}}}},
        **copy.deepcopy(more)}


class Dataplane:
    """answer(command, params) gives the bytes behind a command, None: it hangs up. Or a summary: served in pages."""

    def __init__(self, run_dir, node, answer, page=700):
        folder = os.path.join(run_dir, "dpdk", f"node{node}")
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "dpdk_telemetry.v2")
        self.answer, self.page, self.text, self.asked = answer, page, {}, 0
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.server.bind(self.path)
        self.server.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client = self.server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.client, args=(client,), daemon=True).start()

    def client(self, client):
        try:
            client.send(GREETING)
            while True:
                command, _, params = client.recv(1024).decode().partition(",")
                answer = self.served(command, params) if isinstance(self.answer, dict) else self.answer(command, params)
                if not command or answer is None:
                    break
                client.send(answer)
        except OSError:  # it asks no longer
            pass
        client.close()

    def served(self, command, params):
        if command == "/pando/offload":
            return packed(command, json.dumps(OFFLOAD))
        if command != "/pando/all":
            return b"null"
        if params:
            number, start = map(int, params.split(","))
        else:
            self.asked += 1
            number, start = self.asked, 0
            self.text[number] = json.dumps(self.answer)
        return packed(command, f"1 {number} {len(self.text[number])} {start} {self.text[number][start:start + self.page]}")

    def end(self, remove=True):
        self.server.shutdown(socket.SHUT_RDWR)  # who waits for a client ends
        self.server.close()
        if remove:
            os.unlink(self.path)


def packed(command, text):
    return json.dumps({command: text}).encode()
