#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The client of the guest's job net: random payloads over many connections at once, every answer
verified; then the server is told how many were wrong, and quits.

    net_client.py --port N [--connections C] [--messages M] [--max-bytes B] [--wait S] [--seed S]
"""
import argparse
import random
import socket
import struct
import sys
import threading
import time
import zlib

MAX_PAYLOAD = 1 << 20
TIMEOUT = 60  # of one answer


class WrongAnswer(Exception):
    """The server answered something else than what was sent."""


def read_exactly(sock, n):
    data = bytearray()
    while len(data) < n:
        part = sock.recv(n - len(data))
        if not part:
            raise OSError("the server closed the connection")
        data += part
    return bytes(data)


def ask(sock, payload):
    """Sends one message and verifies its answer."""
    sock.sendall(struct.pack(">I", len(payload)) + payload)
    (n,) = struct.unpack(">I", read_exactly(sock, 4))
    if n != len(payload):
        raise WrongAnswer(f"{len(payload)} bytes were sent and {n} came back")
    answer = read_exactly(sock, n)
    (checksum,) = struct.unpack(">I", read_exactly(sock, 4))
    if answer != payload:
        at = next(i for i, (a, b) in enumerate(zip(answer, payload)) if a != b)
        raise WrongAnswer(f"byte {at} of {n} differs")
    if checksum != zlib.crc32(payload):
        raise WrongAnswer(f"the checksum of {n} bytes is {checksum:08x}, not {zlib.crc32(payload):08x}")


def wait_for_server(host, port, seconds):
    """QEMU's forwarding accepts before the guest listens: only an answer counts."""
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((host, port), timeout=5) as sock:
                ask(sock, b"")
                return
        except WrongAnswer:
            return  # that it is wrong will be seen again
        except OSError as e:
            if time.monotonic() > end:
                raise OSError(f"no server on port {port} within {seconds} s: {e}") from e
        time.sleep(0.2)


class Client:
    """All connections of one run, and what went wrong on them."""

    def __init__(self, host, port, max_bytes=20000, seed=1):
        self.host, self.port, self.max_bytes, self.seed = host, port, max_bytes, seed
        self.lock, self.errors, self.messages, self.bytes = threading.Lock(), [], 0, 0

    def connection(self, number, messages):
        rng = random.Random(f"{self.seed} {number}")
        try:
            with socket.create_connection((self.host, self.port), timeout=TIMEOUT) as sock:
                for _ in range(messages):
                    payload = rng.randbytes(rng.randrange(self.max_bytes + 1))
                    try:
                        ask(sock, payload)
                    except WrongAnswer as e:
                        with self.lock:
                            self.errors.append(f"connection {number}: {e}")
                    with self.lock:
                        self.messages += 1
                        self.bytes += len(payload)
        except OSError as e:
            with self.lock:
                self.errors.append(f"connection {number}: {e}")

    def run(self, connections, messages):
        threads = [threading.Thread(target=self.connection, args=(n, messages)) for n in range(connections)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def quit(self):
        with socket.create_connection((self.host, self.port), timeout=TIMEOUT) as sock:
            ask(sock, b"quit %d" % min(len(self.errors), 9999))


def run(host, port, connections=4, messages=10, max_bytes=20000, wait=60, seed=1):
    """Returns the client when all is done; OSError if there was no server."""
    client = Client(host, port, min(max_bytes, MAX_PAYLOAD), seed)
    wait_for_server(host, port, wait)
    client.run(connections, messages)
    try:
        client.quit()
    except (OSError, WrongAnswer) as e:
        client.errors.append(f"the last message: {e}")
    return client


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--messages", type=int, default=10)
    parser.add_argument("--max-bytes", type=int, default=20000)
    parser.add_argument("--wait", type=float, default=60, help="seconds until the server must answer")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    start = time.monotonic()
    try:
        client = run(**vars(args))
    except OSError as e:
        print(f"net: FAIL: {e}")
        return 1
    for error in client.errors[:10]:
        print(f"net: FAIL: {error}")
    print(
        f"net: {client.messages} messages, {client.bytes} bytes over {args.connections} connections in "
        f"{time.monotonic() - start:.1f} s, {len(client.errors)} errors"
    )
    return 1 if client.errors else 0


if __name__ == "__main__":
    sys.exit(main())
