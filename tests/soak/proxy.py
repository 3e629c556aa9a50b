#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Soak test of private message routing: many messages from clients through a proxy to a relay.

For each number of commands under way at once: all messages arrive once, and the memory of neither
server grows after warm-up. Exit status 0 only when all of it holds.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from smp import Connection, Queue  # noqa: E402
from smp.proxied import connect_relay, drain, push  # noqa: E402
from smp.server import Server, default_binary, find_binary  # noqa: E402

QUEUES = 8
PER_CLIENT = 32
PROXY = {("PROXY", "allow_private_relays"): "on"}
RELAY = {("LIMITS", "message_queue_quota"): 10000}


def run(proxy, relay, count, concurrency):
    """Messages per second."""
    with Connection(relay.address) as rcv:
        queues = [Queue.create(rcv) for _ in range(QUEUES)]
        clients = [Connection(proxy.address) for _ in range(max(1, concurrency // PER_CLIENT))]
        relays = [connect_relay(conn, relay.address) for conn in clients]
        start = time.monotonic()
        push(clients, relays, queues, count, concurrency)
        seconds = time.monotonic() - start
        for number, got in enumerate(drain(rcv, queues, count)):
            if sorted(got) != list(range(number, count, QUEUES)):
                raise SystemExit(f"FAILED: queue {number} got {len(got)} messages, or others")
        for queue in queues:
            queue.delete(rcv)
        for conn in clients:
            conn.close()
    return count / seconds


def main():
    """Runs all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--messages", type=int, default=10000)
    parser.add_argument("--concurrency", default="1,16,256")
    parser.add_argument("--growth-kib", type=int, default=8192)
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    binary = find_binary(options.server_binary)
    proxy, relay = Server(binary, ini=PROXY), Server(binary, ini=RELAY)
    grown = 0
    try:
        proxy.start()
        relay.start()
        run(proxy, relay, min(2000, options.messages), 256)
        for concurrency in map(int, options.concurrency.split(",")):
            before = proxy.rss_kib(), relay.rss_kib()
            rate = run(proxy, relay, options.messages, concurrency)
            after = proxy.rss_kib(), relay.rss_kib()
            growth = [b - a for a, b in zip(before, after)]
            grown = max(grown, *growth)
            print(f"{options.messages} messages, {concurrency} at once: {rate:.0f} per second, "
                  f"none lost; memory: proxy {before[0]} to {after[0]} KiB, relay {before[1]} to "
                  f"{after[1]} KiB", flush=True)
        proxy.check()
        relay.check()
        proxy.stop()
        relay.stop()
    finally:
        proxy.remove()
        relay.remove()
    if grown > options.growth_kib:
        print(f"FAILED: memory grew by {grown} KiB")
    return 0 if grown <= options.growth_kib else 1


if __name__ == "__main__":
    sys.exit(main())
