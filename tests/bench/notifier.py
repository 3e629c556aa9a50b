#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A notification server's load: many queues with notifiers, subscribed in batches, one notification
from each; as a plain connection or, with --service, as a service that subscribes to all at once. Prints
rates, the server's CPU time and memory. Exit status 1 when one is missing or there are too many."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from smp import Connection, Ed25519Key, Service, ids_sum  # noqa: E402
from smp.commands import new_command, service_command  # noqa: E402
from smp.crypto import public_of  # noqa: E402
from smp.keys import x25519_der  # noqa: E402
from smp.server import Server, default_binary, find_binary  # noqa: E402
from smp.transmissions import split  # noqa: E402

VERSION = 19
WINDOW = 2000  # commands on the way


class Timed:
    """Prints what a step took of the clock and of the server's CPU."""

    def __init__(self, server, count, what):
        self.server, self.count, self.what = server, count, what

    def __enter__(self):
        self.start, self.cpu = time.monotonic(), self.server.cpu_seconds()
        return self

    def __exit__(self, *_):
        cpu = self.server.cpu_seconds() - self.cpu
        print(f"{self.what}: {self.count} in {time.monotonic() - self.start:.1f} s, "
              f"{cpu:.2f} s of CPU ({1e6 * cpu / max(1, self.count):.1f} us each), "
              f"VmRSS {self.server.rss_kib()} KiB", flush=True)


def run_batches(conn, commands, expected):
    """Sends (command, entity, key) in full blocks; gives the answers, in their order."""
    out = []
    for start in range(0, len(commands), WINDOW):
        sent = [conn.make(*item) for item in commands[start:start + WINDOW]]
        for part in split(sent):
            conn.write(part)
            for item in part:
                answer = conn.wait(item, 60)
                if answer.tag != expected:
                    raise SystemExit(f"FAILED: {answer.raw!r}")
                out.append(answer)
    return out


def create(server, count):
    """[(sender id, notifier id)] of new queues, all with one recipient and one notifier key."""
    rcv_key, ntf_key, dh = Ed25519Key(), Ed25519Key(), x25519_der(public_of(bytes(range(32))))
    command = new_command(VERSION, rcv_key.der, dh, subscribe=False, notifier=(ntf_key.der, dh))
    with Connection(server.address, VERSION) as conn:
        answers = run_batches(conn, [(command, b"", rcv_key)] * count, "IDS")
    return [(answer.snd_id, answer.notifier[0]) for answer in answers], ntf_key


def send_all(server, queues):
    """One message with the flag to each queue."""
    with Connection(server.address, VERSION) as conn:
        run_batches(conn, [(b"SEND T x", snd_id) for snd_id, _ in queues], "OK")


def receive_all(conn, queues):
    """Reads until each notifier has had its notification; raises when one comes twice."""
    missing = {notifier_id for _, notifier_id in queues}
    while missing:
        event = conn.event(60)
        if event.tag != "NMSG":
            raise SystemExit(f"FAILED: {event.raw!r}")
        missing.remove(event.entity)


def measure(server, options, service):
    """All steps."""
    with Timed(server, options.queues, "NEW with a notifier"):
        queues, key = create(server, options.queues)
    with Connection(server.address, VERSION, service=service) as conn:
        with Timed(server, len(queues), "NSUB in batches"):
            run_batches(conn, [(b"NSUB", item[1], key) for item in queues], "SOK")
        with Timed(server, len(queues), "SEND, and NMSG"):
            send_all(server, queues)
            receive_all(conn, queues)
    with Timed(server, len(queues), "SEND without a subscriber"):
        send_all(server, queues)
    if service is None:
        return
    with Connection(server.address, VERSION, service=service) as conn:
        total = ids_sum([notifier_id for _, notifier_id in queues])
        with Timed(server, 1, "NSUBS"):
            answer = conn.as_service(service_command("NSUBS", VERSION, total))
            if (answer.count, answer.ids_hash) != total:
                raise SystemExit(f"FAILED: {answer.raw!r}")
        with Timed(server, len(queues), "NMSG of what had waited"):
            receive_all(conn, queues)


def main():
    """Exit status 0 when each notification came, once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--queues", type=int, default=100000)
    parser.add_argument("--service", action="store_true")
    parser.add_argument("--store", default="off", choices=["off", "memory", "journal"])
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    ini = {("STORE_LOG", "enable"): "off" if options.store == "off" else "on"}
    if options.store != "off":
        ini["STORE_LOG", "store_messages"] = options.store
    server = Server(find_binary(options.server_binary), ini=ini).start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(server, options, Service(folder) if options.service else None)
        server.check()
        server.stop()
    finally:
        server.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
