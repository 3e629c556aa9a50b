#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""CPU time of the servers for a message that is forwarded by a proxy and for a direct one.

Each message of 16,000 bytes is authorized by an X25519 key, sent, delivered and acknowledged; the
clients' own time is not counted. Exit status 0 when the ratio is within the limit.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from smp import Connection, Queue  # noqa: E402
from smp.keys import X25519Key  # noqa: E402
from smp.proxied import connect_relay, drain, push  # noqa: E402
from smp.server import Server, default_binary, find_binary  # noqa: E402

QUEUES, CLIENTS, UNDER_WAY, SIZE = 16, 4, 64, 16000
PROXY = {("PROXY", "allow_private_relays"): "on"}
RELAY = {("LIMITS", "message_queue_quota"): 10000}


def measure(proxy, relay, count, forwarded):
    """(CPU of sending, CPU of all with delivery) in microseconds per message."""
    servers = (proxy, relay)
    with Connection(relay.address) as rcv:
        queues = [Queue.create(rcv) for _ in range(QUEUES)]
        for queue in queues:
            queue.key(rcv, X25519Key())
        clients = [Connection((proxy if forwarded else relay).address) for _ in range(CLIENTS)]
        relays = [connect_relay(conn, relay.address) if forwarded else None for conn in clients]
        start = sum(server.cpu_seconds() for server in servers)
        push(clients, relays, queues, count, UNDER_WAY, SIZE)
        sent = sum(server.cpu_seconds() for server in servers)
        drain(rcv, queues, count)
        end = sum(server.cpu_seconds() for server in servers)
        for conn in clients:
            conn.close()
    return (sent - start) / count * 1e6, (end - start) / count * 1e6


def main():
    """Measures both and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--messages", type=int, default=8000)
    parser.add_argument("--limit", type=float, default=2.5)
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    binary = find_binary(options.server_binary)
    proxy, relay = Server(binary, ini=PROXY), Server(binary, ini=RELAY)
    try:
        proxy.start()
        relay.start()
        for forwarded in (False, True):
            measure(proxy, relay, 1000, forwarded)
        direct = measure(proxy, relay, options.messages, False)
        through = measure(proxy, relay, options.messages, True)
        proxy.stop()
        relay.stop()
    finally:
        proxy.remove()
        relay.remove()
    ratios = [b / a for a, b in zip(direct, through)]
    print(f"sending: direct {direct[0]:.0f} us, forwarded {through[0]:.0f} us: {ratios[0]:.2f}")
    print(f"with delivery: direct {direct[1]:.0f} us, forwarded {through[1]:.0f} us: "
          f"{ratios[1]:.2f} (limit {options.limit:g})")
    return 0 if ratios[1] <= options.limit else 1


if __name__ == "__main__":
    sys.exit(main())
