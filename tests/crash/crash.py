#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Crash test: a server under load is killed at random moments and started again on its files.

What it had answered must hold: messages whose SEND was answered OK are delivered, in order and as
they were sent, unless their ACK was sent; those whose ACK was answered do not come back; queues,
keys and deletions are what was answered. What was not answered may have happened or not.

With `--store database` PostgreSQL is killed too, or its connections, while the server runs: that no client
may notice but by waiting.

The first round that fails ends the test; its files are kept, as they were before the last start
and as they are. Exit status 0 when all rounds passed.
"""

import argparse
import collections
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from load import VERSION, Owner, Receiver, Sender  # noqa: E402
from model import Bodies, Broken, Tracked  # noqa: E402
from smp import Connection, Queue, X25519Key  # noqa: E402
from smp.server import Server, default_binary, find_binary  # noqa: E402
from verify import OLD_DELETED, Verifier  # noqa: E402

QUEUES = 20
SENDERS, RECEIVERS = 3, 2
LOAD_MAX_S = 0.4
KILL_AT_START = 0.15  # share of rounds in which the next start is killed too
ORDERLY = 0.1         # share of rounds that end with an orderly stop
DRAINED = 0.5         # share of queues that are read empty after a round
DISTURBED = 0.5       # share of rounds with a database in which something happens to that
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'smp-server'"


class World:
    """Server, queues and figures."""

    def __init__(self, server, rng):
        self.server, self.rng = server, rng
        self.address = server.address
        self.bodies = Bodies(rng)
        self.ended = threading.Event()
        self.main, self.extra, self.deleted = [], [], []
        self.n_queues = 0
        self.counts = collections.Counter()
        self.lock = threading.Lock()

    def count(self, what):
        """One more."""
        with self.lock:
            self.counts[what] += 1

    def track(self, queue):
        """A new queue in the model."""
        with self.lock:
            self.n_queues += 1
            return Tracked(self.n_queues, queue)

    def fill(self):
        """Makes queues for messages until there are enough; half of them secured."""
        with Connection(self.address, VERSION) as conn:
            while len(self.main) < QUEUES:
                tracked = self.track(Queue.create(conn, subscribe=False))
                if self.rng.random() < 0.5:
                    tracked.key = X25519Key()
                    if tracked.queue.skey(conn, tracked.key).raw != b"OK":
                        raise Broken("SKEY was refused")
                self.main.append(tracked)

    def load(self):
        """Clients work until the server is gone; gives what they found wrong."""
        self.ended.clear()
        mixed = self.rng.sample(self.main, len(self.main))
        seeds = iter(self.rng.randbytes(8) for _ in range(SENDERS + RECEIVERS + 1))
        clients = [Sender(self, random.Random(next(seeds)), mixed[i::SENDERS])
                   for i in range(SENDERS)]
        clients += [Receiver(self, random.Random(next(seeds)), mixed[i::RECEIVERS])
                    for i in range(RECEIVERS)]
        clients.append(Owner(self, random.Random(next(seeds))))
        for client in clients:
            client.start()
        time.sleep(self.rng.random() * LOAD_MAX_S)
        self.disturb()
        self.end_server()
        for client in clients:
            client.join(30)
        errors = [client.error for client in clients if client.error]
        if errors or any(client.is_alive() for client in clients):
            raise Broken(errors[0] if errors else "a client did not end")

    def disturb(self):
        """What may happen to a database under a server."""
        postgres = self.server.postgres
        if postgres is None or self.rng.random() >= DISTURBED:
            return
        if self.rng.random() < 0.5:
            postgres.sql("postgres", CUT)
        else:
            postgres.stop(signal.SIGQUIT)
            postgres.start()
        self.count("disturbances")
        time.sleep(self.rng.random() * LOAD_MAX_S)

    def end_server(self):
        """Mostly without warning."""
        self.server.check()
        self.ended.set()
        if self.rng.random() < ORDERLY:
            self.server.stop()
        else:
            self.server.kill()

    def start_again(self):
        """Starts the server, perhaps not at the first attempt."""
        while self.rng.random() < KILL_AT_START:
            self.server.launch()
            time.sleep(self.rng.random() * 0.05)
            self.server.kill()
        self.server.start()

    def verify(self, share):
        """Compares the server with the model; a share of the queues is read empty."""
        drained = {tracked for tracked in self.main if self.rng.random() < share}
        old = self.rng.sample(self.deleted, min(OLD_DELETED, len(self.deleted)))
        fresh = [t for t in self.main + self.extra if t.deleted]
        main = [t for t in self.main if not t.deleted]
        extra = [t for t in self.extra if not t.deleted]
        Verifier(self, drained).run(main, extra, fresh + old)
        for tracked in main:
            tracked.is_settled()
        self.deleted += [t for t in self.main + self.extra if t.deleted]
        self.main = [t for t in self.main if not t.deleted]
        self.extra = [t for t in self.extra if not t.deleted]


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--server-binary", default=default_binary())
    parser.add_argument("--store", choices=("journal", "journal-holds", "database", "database-evicts"), default="journal")
    parser.add_argument("--directory", help="for files; removed when all rounds passed")
    return parser.parse_args()


def rounds(world, directory, count):
    """Runs them all; raises in the first that fails."""
    before = directory / "state-before-start"
    world.server.start()
    world.fill()
    for number in range(1, count + 1):
        world.round = number
        world.load()
        shutil.rmtree(before, ignore_errors=True)
        subprocess.run(["cp", "-r", "--reflink=auto", world.server.state, before], check=True)
        world.start_again()
        world.verify(1 if number == count else DRAINED)
        world.fill()
        if number % 50 == 0:
            print(f"  {number} rounds", flush=True)
    world.server.stop()


def main():
    """Exit status 0 when what was answered held in every round."""
    options = parse_arguments()
    directory = Path(options.directory or tempfile.mkdtemp(prefix="smp-crash-"))
    print(f"seed {options.seed}, files in {directory}", flush=True)
    Tracked.delivered_is_stored = options.store != "journal-holds"
    server = Server(find_binary(options.server_binary), store=options.store, directory=directory,
                    ini={("TRANSPORT", "threads"): 2})
    world = World(server, random.Random(options.seed))
    world.round = 0
    began = time.monotonic()
    try:
        rounds(world, directory, options.rounds)
    except (AssertionError, OSError, ValueError) as error:
        print(f"FAILED: round {world.round}, seed {options.seed}: {type(error).__name__}: {error}")
        print(server.output())
        print(f"files of this round are kept in {directory}: state-before-start, state")
        if server.process is not None:
            server.process.kill()
        return 1
    seconds = (time.monotonic() - began) / options.rounds
    figures = ", ".join(f"{n} {what}" for what, n in sorted(world.counts.items()))
    print(f"{options.rounds} rounds of {seconds:.2f} s passed: {figures}")
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
