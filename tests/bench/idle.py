#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Memory of idle connections: opens many, each with one queue of its own that it subscribes to,
and prints the server's resident memory for each. Exit status 1 above the limit."""

import argparse
import multiprocessing
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from smp import Connection, Queue  # noqa: E402
from smp.server import Server, default_binary, find_binary  # noqa: E402

WORKERS = 2
SPARE_FILES = 500
PER_SOURCE = 20000
SETTLE = 20


def raise_files(count):
    """As many file descriptors as needed."""
    hard = max(count, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def open_one(address, version, number):
    """A connection with its queue; loopback sources are spread so that ports suffice."""
    source = f"127.0.0.{2 + number // PER_SOURCE}"
    conn = Connection(address, version, source=source, timeout=60)
    queue = Queue.create(conn, subscribe=True)
    return conn, queue


def worker(address, version, numbers, results, finish):
    """Process: opens its connections, holds them until told to end, proves that they live."""
    try:
        raise_files(len(numbers) + SPARE_FILES)
        held = [open_one(address, version, number) for number in numbers]
        results.put(("open", len(held)))
        finish.wait()
        for conn, queue in held[::max(1, len(held) // 50)]:
            if queue.send(conn, b"alive").raw != b"OK" or queue.next_message(conn).body != b"alive":
                raise ValueError("an idle connection does not work")
        results.put(("alive", len(held)))
    except Exception as error:  # whatever it is, the parent must hear of it
        results.put(("failed", f"{type(error).__name__}: {error}"))


def settled(server):
    """Resident memory once it has stopped changing."""
    deadline = time.monotonic() + SETTLE
    samples = [server.rss_kib()]
    while time.monotonic() < deadline:
        time.sleep(0.5)
        samples.append(server.rss_kib())
        last = samples[-4:]
        if len(last) == 4 and max(last) - min(last) <= max(64, max(last) // 1000):
            break
    return samples[-1]


def expect(results, kind, timeout):
    """The same outcome of every worker; raises on any other."""
    count = 0
    for _ in range(WORKERS):
        found, value = results.get(timeout=timeout)
        if found != kind:
            raise SystemExit(f"FAILED: {value}")
        count += value
    return count


def measure(server, options):
    """(memory before, memory with all connections), both in KiB."""
    for _ in range(20):
        conn, _ = open_one(server.address, options.version, 0)
        conn.close()
    before = settled(server)
    context = multiprocessing.get_context("fork")
    results, finish = context.Queue(), context.Event()
    shares = [range(start, options.connections, WORKERS) for start in range(WORKERS)]
    workers = [context.Process(target=worker, daemon=True, args=(
        server.address, options.version, share, results, finish)) for share in shares]
    start = time.monotonic()
    for process in workers:
        process.start()
    try:
        count = expect(results, "open", options.timeout)
        seconds = time.monotonic() - start
        print(f"{count} connections in {seconds:.1f} s ({count / seconds:.0f} per second)")
        after = settled(server)
        finish.set()
        expect(results, "alive", 60)
    finally:
        for process in workers:
            process.terminate()
            process.join(10)
    return before, after


def main():
    """Exit status 0 when the memory per connection is within the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--connections", type=int, default=5000)
    parser.add_argument("--limit-kib", type=float, default=16)
    parser.add_argument("--version", type=int, default=18)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    server = Server(find_binary(options.server_binary),
                    nofile=options.connections + SPARE_FILES).start()
    try:
        before, after = measure(server, options)
        server.check()
        server.stop()
    finally:
        server.remove()
    each = (after - before) / options.connections
    print(f"VmRSS before {before} KiB, with {options.connections} connections {after} KiB")
    print(f"{each:.2f} KiB per idle connection (limit {options.limit_kib:g} KiB)")
    return 0 if each <= options.limit_kib else 1


if __name__ == "__main__":
    sys.exit(main())
