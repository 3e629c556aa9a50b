#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What clients cost whose handshake is not done: silent ones, half of a ClientHello, a whole one that was answered; and what
is kept when they have gone. Resident memory of the server, for each. Exit status 1 when an answered one costs more than
--bound."""

import argparse
import socket
import ssl
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from smp import Connection  # noqa: E402
from smp.server import Server, default_binary, find_binary  # noqa: E402

GIVEN_BACK_S = 20


def client_hello():
    """That of an app."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["smp/1"])
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def cost(server, other, count, data, is_answered):
    """KiB of each of so many that have sent this; KiB in all that are kept after they have gone."""
    other.ping()
    before = server.rss_kib()
    socks = [socket.create_connection((server.address.host, server.address.port)) for _ in range(count)]
    for sock in socks:
        sock.sendall(data)
    for sock in socks if is_answered else ():
        sock.recv(1)
    for _ in range(20):
        other.ping()
    each = (server.rss_kib() - before) / count
    for sock in socks:
        sock.close()
    time.sleep(GIVEN_BACK_S)
    return each, server.rss_kib() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server-binary", default=default_binary())
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--bound", type=float, help="KiB")
    args = parser.parse_args()
    hello = client_hello()
    each = 0
    for name, data, is_answered in (("silent", b"", False), ("half a ClientHello", hello[:100], False),
                                    ("a ClientHello, answered", hello, True)):
        server = Server(find_binary(args.server_binary))  # a new one: free memory of the one before would be used
        try:
            server.start()
            with Connection(server.address, 18) as other:
                each, kept = cost(server, other, args.n, data, is_answered)
        finally:
            server.remove()
        print(f"{name}: {each:.1f} KiB each, {kept} KiB kept {GIVEN_BACK_S} s after")
    return int(args.bound is not None and each > args.bound)


if __name__ == "__main__":
    sys.exit(main())
