#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What browsers on the port of the clients cost those: the time from SEND to the message at its
recipient, alone, beside 500 browsers that send and take nothing or next to nothing, and beside
h2load. And what a first visit of a browser is made of, in requests and bytes.

Exit status 0 when half of the messages beside the 500 take at most `--limit` times as long as alone,
and the visits are within their budgets.
"""

import argparse
import contextlib
import re
import shutil
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("conformance", "cli")]

from smp import Connection, Queue  # noqa: E402
from smp.server import Server, default_binary, find_binary  # noqa: E402
from web_client import (END_HEADERS, END_STREAM, HEAD, HEADERS, HOST, PING, PREFACE, SETTINGS, Load,  # noqa: E402
                        browser_context, frame, make_pair)

SIZE = 16000
BUDGETS = {"/": (3, 12 * 1024), "/contact": (4, 20 * 1024)}
PAUSE_S = 0.02  # between two messages of a phase, so that it lasts as long as browsers do
BEGIN = PREFACE + frame(SETTINGS)
NO_WINDOW = PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
ASK = frame(HEADERS, END_STREAM | END_HEADERS, 1, HEAD)
# ALPN; what is sent at once; what again and again.
KINDS = [
    (None, b"", b""),                                               # not even TLS
    ("http/1.1", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x"),          # a head that does not end
    ("http/1.1", b"", b""),                                         # no request
    ("h2", NO_WINDOW + ASK, b""),                                   # an answer that is not taken
    ("h2", BEGIN + frame(HEADERS, END_STREAM, 1, HEAD), b""),       # a head that does not end
    ("h2", BEGIN, frame(PING, 0, 0, bytes(8))),                        # nothing but PING
]


class Slow:
    """Browsers that are as slow as can be; one that is closed comes again."""

    def __init__(self, port, count):
        self.port, self.over, self.n_again = port, threading.Event(), 0
        with ThreadPoolExecutor(20) as pool:
            self.browsers = list(pool.map(self.come, range(count)))
        self.thread = threading.Thread(target=self.keep_on)
        self.thread.start()

    def come(self, i):
        """One more, from an address that it shares with a few."""
        alpn, first, _ = KINDS[i % len(KINDS)]
        sock = socket.create_connection(("127.0.0.1", self.port), 30,
                                        source_address=(f"127.0.1.{1 + i % 100}", 0))
        if alpn is not None:
            context = browser_context()
            context.set_alpn_protocols([alpn])
            sock = context.wrap_socket(sock, server_hostname=HOST)
        sock.setblocking(False)
        sock.send(first)
        return sock

    def keep_on(self):
        """Thread: they send a byte or a frame, and come again."""
        while not self.over.wait(1):
            for i, sock in enumerate(self.browsers):
                more = KINDS[i % len(KINDS)][2]
                try:
                    if more:
                        sock.send(more)
                    elif not sock.recv(4096):
                        raise ConnectionError
                except (BlockingIOError, ssl.SSLWantReadError):
                    pass
                except OSError:
                    self.n_again += 1
                    sock.close()
                    with contextlib.suppress(OSError):
                        self.browsers[i] = self.come(i)

    def end(self):
        """All are closed."""
        self.over.set()
        self.thread.join()
        for sock in self.browsers:
            sock.close()


def latencies(address, count):
    """Milliseconds from SEND to MSG at another connection, sorted."""
    out = []
    options = {"alpn": ("http/1.1",)}
    with Connection(address, **options) as rcv, Connection(address, **options) as snd:
        queue = Queue.create(rcv)
        for _ in range(count):
            began = time.perf_counter()
            assert queue.send(snd, bytes(SIZE)).raw == b"OK"
            message = queue.open(rcv.event())
            out.append((time.perf_counter() - began) * 1e3)
            assert queue.ack(rcv, message.msg_id).raw == b"OK"
            time.sleep(PAUSE_S)
    return sorted(out)


def tell(name, values):
    """One line of a phase; gives the median."""
    p99 = values[int(len(values) * 0.99)]
    print(f"{name:<28} {statistics.median(values):8.2f} {p99:8.2f} {values[-1]:8.2f}")
    return statistics.median(values)


def visit(port, crt, path):
    """(requests, bytes of heads and bodies) of a browser that has nothing yet, by HTTP/2."""
    to_do, n_bytes, seen = [path], 0, set()
    while to_do:
        one = to_do.pop()
        if one in seen:
            continue
        seen.add(one)
        done = subprocess.run(
            ["curl", "--silent", "--http2", "--cacert", crt, "--compressed", "--connect-to",
             f"{HOST}:443:127.0.0.1:{port}", "--header", "Accept-Encoding: gzip, br",
             "--write-out", "\n%{http_code} %{size_header} %{size_download}", f"https://{HOST}{one}"],
            capture_output=True, check=True)
        body, _, figures = done.stdout.rpartition(b"\n")
        status, head, size = map(int, figures.split())
        assert status == 200, one
        n_bytes += head + size
        to_do += [found.decode() for found in re.findall(rb'(?:src|href)="(/media/[^"]+)"', body)]
        to_do += [f"/media/{found.decode()}" for found in re.findall(rb'from"\./([^"]+)"', body)]
    return len(seen), n_bytes


def look_at_visits(port, crt):
    """Tells of each; false where one is over its budget."""
    good = True
    print(f"{'first visit by HTTP/2':<28} {'requests':>8} {'bytes':>8} {'budget':>8}")
    for path, (requests, size) in BUDGETS.items():
        n, n_bytes = visit(port, crt, path)
        print(f"{path:<28} {n:>8} {n_bytes:>8} {size:>8}")
        good = good and n <= requests and n_bytes <= size
    return good


def main():
    """Measures all and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--messages", type=int, default=500)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--limit", type=float, default=3.0)
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    server = Server(find_binary(options.server_binary), nofile=8192)
    try:
        port, crt, key = server.ports[0], server.config / "web.crt", server.config / "web.key"
        make_pair(crt, key)
        server.configure({("WEB", "https"): port, ("WEB", "cert"): crt, ("WEB", "key"): key,
                          ("TRANSPORT", "host"): HOST})
        server.start()
        is_small = look_at_visits(port, crt)
        print(f"\n{'SEND to MSG, milliseconds':<28} {'half':>8} {'99 %':>8} {'most':>8}")
        latencies(server.address, options.messages // 5)
        alone = tell("alone", latencies(server.address, options.messages))
        slow = Slow(port, options.slow)
        beside = tell(f"beside {options.slow} slow browsers", latencies(server.address, options.messages))
        slow.end()
        if shutil.which("h2load"):
            with Load(port):
                tell("beside h2load", latencies(server.address, options.messages))
        tell("alone again", latencies(server.address, options.messages))
        server.stop()
    finally:
        server.remove()
    print(f"beside slow browsers {beside / alone:.2f} times as long (limit {options.limit}); "
          f"{slow.n_again} of them were closed and came again")
    sys.exit(0 if is_small and beside <= options.limit * alone else 1)


if __name__ == "__main__":
    main()
