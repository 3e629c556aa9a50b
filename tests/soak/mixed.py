#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Soak with mixed load and faults: nothing that was acknowledged is lost, and memory and
descriptors are at the end what they were after the first tenth.

Clients send, get and acknowledge; others come, make a queue, use it, delete it and go; others are
rude. Every few seconds something fails for a second: the disk, descriptors, memory, the clock (the
faults of tests/torture). Before each of the two measurements all clients leave. With a sanitizer
memory is not judged, since its own hides the server's. Exit status 0 when all holds.
"""

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "torture"))

from torture import GONE, VERSION, Broken, Client, World, memory_library  # noqa: E402

from smp import Connection  # noqa: E402
from smp.server import default_binary  # noqa: E402

CLIENTS, GUESTS = 4, 2
FAULT_S, PAUSE_S = 1, 6
QUIET_S = 10          # without clients, before a measurement
GROWTH, GROWTH_KIB = 1.2, 16384


class Guest(threading.Thread):
    """Comes and goes: a client with a queue of its own, or somebody who speaks no SMP."""

    def __init__(self, world, seed):
        super().__init__(daemon=True)
        self.world, self.rng, self.error = world, random.Random(seed), None

    def run(self):
        """The thread."""
        while not self.world.ended.is_set():
            try:
                self.rng.choice((self.rude, self.visit, self.visit))()
            except GONE:
                self.world.ended.wait(0.05)
            except AssertionError:  # refused because of a fault
                self.world.count("refused")

    def visit(self):
        """Makes a queue, uses it, deletes it."""
        with Connection(self.world.address, VERSION, timeout=10) as conn:
            conn.ping()
            self.world.serves(conn)
        self.world.count("visits")

    def rude(self):
        """A few bytes, perhaps, and no goodbye."""
        with socket.create_connection((self.world.address.host, self.world.address.port), 5) as s:
            s.sendall(self.rng.randbytes(self.rng.randrange(300)))
            self.world.ended.wait(self.rng.random() * 0.2)
        self.world.count("rude")


def squeeze(world):
    """No more descriptors than there are."""
    pid = world.server.process.pid
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), hard))
    time.sleep(FAULT_S)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))


def disk_fault(name, value):
    """A fault of the disk's, for a while."""
    def fault(world):
        world.disk.set(name, value)
        time.sleep(FAULT_S)
        world.disk.clear()
    fault.__name__ = name
    return fault


def reload(world):
    """SIGHUP."""
    world.server.process.send_signal(signal.SIGHUP)


FAULTS = [squeeze, reload, disk_fault("full", 1), disk_fault("sync_ms", 300),
          disk_fault("read_ms", 100), disk_fault("clock_s", 1_000_003_600),
          disk_fault("clock_s", 999_996_400)]


def work(world, seconds, faults):
    """Clients and faults for so long; raises what a client found."""
    world.ended.clear()
    crew = [Client(world, world.queues[i::CLIENTS], world.rng.random()) for i in range(CLIENTS)]
    crew += [Guest(world, world.rng.random()) for _ in range(GUESTS)]
    for thread in crew:
        thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(PAUSE_S, max(0, end - time.monotonic())))
        if time.monotonic() + 2 * FAULT_S < end:
            fault = world.rng.choice(faults)
            world.count(f"faults {fault.__name__}")
            fault(world)
        world.server.check()
    world.ended.set()
    for thread in crew:
        thread.join(60)
    for thread in crew:
        if thread.error or thread.is_alive():
            raise Broken(thread.error or "a client waits for ever")


def measure(world):
    """(descriptors, KiB) when nobody is there."""
    time.sleep(QUIET_S)
    pid = world.server.process.pid
    return len(os.listdir(f"/proc/{pid}/fd")), world.server.rss_kib()


def soak(world, seconds):
    """The whole; gives whether it held."""
    is_sanitized = world.server.is_sanitized()
    faults = list(FAULTS)
    if not is_sanitized:
        world.preload(memory_library()[1])
        faults.append(disk_fault("fail_malloc", 101))
    world.begin(CLIENTS)
    work(world, seconds / 10, faults)
    first = measure(world)
    work(world, seconds * 9 / 10, faults)
    last = measure(world)
    world.verify()
    print(f"descriptors {first[0]} and {last[0]}, resident {first[1]} and {last[1]} KiB")
    is_flat = last[0] <= first[0] and (
        is_sanitized or last[1] <= first[1] * GROWTH + GROWTH_KIB)
    if not is_flat:
        print("FAILED: it has grown")
    return is_flat


def main():
    """Exit status 0 when all holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    options.seconds = FAULT_S
    world = World(options, "soak")
    print(f"seed {options.seed}, files in {world.directory}", flush=True)
    held = False
    try:
        held = soak(world, options.minutes * 60)
    except (AssertionError, OSError, ValueError, EOFError) as error:
        print(f"FAILED: {type(error).__name__}: {error}\n{world.server.output()}")
    with contextlib.suppress(AttributeError):
        world.server.process.kill()
    print(", ".join(f"{n} {what}" for what, n in sorted(world.counts.items())))
    if held:
        shutil.rmtree(world.directory)
    print("passed" if held else "failed")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
