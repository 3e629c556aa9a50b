#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What WebSocket costs: CPU time of the server for a block in and a block out, plain and over
WebSocket, in turns, so that what else the machine does is the same for both. Prints the medians and the
median of the differences. Exit status 1 when that is above --bound."""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from smp import Connection  # noqa: E402
from smp.server import Server, default_binary, find_binary  # noqa: E402
from smp.transmissions import batch  # noqa: E402
from smp.websocket import WebLink  # noqa: E402

VERSION, WINDOW = 18, 16


def ping(conn, count):
    """So many PINGs, each in a block of its own, and their answers."""
    for _ in range(count // WINDOW):
        sent = [conn.make(b"PING") for _ in range(WINDOW)]
        conn.link.write(b"".join(conn.session.seal(batch([item.data])) for item in sent))
        for item in sent:
            if conn.wait(item, 60).raw != b"PONG":
                raise SystemExit("FAILED: no PONG")


def cost(server, conn, count):
    """CPU of the server for each of them, in microseconds."""
    before = server.cpu_ns()
    ping(conn, count)
    return (server.cpu_ns() - before) / count / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server-binary", default=default_binary())
    parser.add_argument("--blocks", type=int, default=2000, help="of a round, each way")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--bound", type=float, help="microseconds")
    args = parser.parse_args()
    server = Server(find_binary(args.server_binary), ini={("TRANSPORT", "threads"): 1},
                    has_websocket=True)
    try:
        server.start()
        address = server.web_address()
        with Connection(server.address, VERSION) as plain, \
                Connection(address, VERSION, link=WebLink(address)) as web:
            for conn in (plain, web):
                ping(conn, args.blocks)
            pairs = [(cost(server, plain, args.blocks), cost(server, web, args.blocks))
                     for _ in range(args.rounds)]
    finally:
        server.remove()
    more = statistics.median(b - a for a, b in pairs)
    print(f"a block in and one out: plain {statistics.median(a for a, _ in pairs):.2f} us, "
          f"WebSocket {statistics.median(b for _, b in pairs):.2f} us, {more:.2f} us more")
    if args.bound is not None and more > args.bound:
        sys.exit("FAILED: more than the bound")


if __name__ == "__main__":
    main()
