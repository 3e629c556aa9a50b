#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small machine: one processor and 512 MB (a memory cgroup; needs root), many queues in the store, many
clients that are connected, and messages. Prints the memory of the server, how long a message takes and
what it costs. Exit status 1 when the server was refused memory, a client could not be served, or a
message was lost.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from bench import NOFILE, ONE_THREAD, address_of, processors, start_pinned  # noqa: E402
from smp.server import Server, bench_beside, default_binary, find_binary  # noqa: E402
from start import status_kib, write_log  # noqa: E402

LOG = "smp-server-store.log"


class MemoryGroup:
    """A cgroup with a limit of memory, of version 2 or 1."""

    def __init__(self, limit):
        second = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        self.above = Path("/sys/fs/cgroup" if second else "/sys/fs/cgroup/memory")
        self.path = self.above / f"smp-bench-{os.getpid()}"
        self.path.mkdir()
        (self.path / ("memory.max" if second else "memory.limit_in_bytes")).write_text(str(limit))
        self.failures = self.path / ("memory.events" if second else "memory.oom_control")

    def start(self, server, cpus):
        """Starts a server that is born in it."""
        me = str(os.getpid())
        (self.path / "cgroup.procs").write_text(me)
        try:
            start_pinned(server, cpus)
        finally:
            (self.above / "cgroup.procs").write_text(me)

    def killed(self):
        """How many processes were ended for want of memory."""
        return next(int(line.split()[1]) for line in self.failures.read_text().splitlines()
                    if line.startswith("oom_kill "))

    def remove(self):
        """When it is empty."""
        self.path.rmdir()


def measure(server, bench, cpus, options):
    """Messages while idle clients are connected; gives the stage of smp-bench, and the memory."""
    address, pid = address_of(server), server.process.pid

    def run(*words):
        return subprocess.Popen([bench, *words, "--json"], stdout=subprocess.PIPE, text=True,
                                preexec_fn=lambda: os.sched_setaffinity(0, cpus))

    idle = run("idle", address, "--connections", str(options.clients), "--seconds", str(options.seconds + 60))
    time.sleep(options.settle)
    relay = run("relay", address, "--pid", str(pid), "--pairs", "100", "--rate", str(options.rate),
                "--seconds", str(options.seconds))
    result = json.loads(relay.communicate()[0])
    memory = status_kib(pid, "VmRSS"), status_kib(pid, "VmHWM")
    idle.communicate()
    return result, memory, relay.returncode == 0 and idle.returncode == 0


def main():
    """0 when all were served."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=512, help="memory of the machine")
    parser.add_argument("--queues", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--rate", type=int, default=100, help="messages a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--settle", type=int, default=20, help="seconds until the clients are there")
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    binary = find_binary(options.server_binary)
    server_cpus, bench_cpus = processors()
    server, group = Server(binary, store="journal", ini=ONE_THREAD, nofile=NOFILE), MemoryGroup(options.mb * 1000 * 1000)
    try:
        write_log(str(server.state / LOG), options.queues)
        group.start(server, server_cpus)
        result, (rss, peak), served = measure(server, bench_beside(binary), bench_cpus, options)
        killed, checks = group.killed(), result["checks"]
        server.stop()
    finally:
        server.remove()
        group.remove()
    stage = result["stages"][0]
    latency = stage["latency_us"]["deliver"]
    print(f"{options.mb} MB, one processor, {options.queues} queues, {options.clients} clients,"
          f" {options.rate} messages a second: {rss / 1024:.0f} MiB (peak {peak / 1024:.0f}); SEND to MSG"
          f" p50 {latency['p50'] / 1000:.1f} ms, p99 {latency['p99'] / 1000:.1f} ms;"
          f" CPU {stage['server']['cpu_us_per_op']:.0f} us a message")
    bad = killed or not served or checks["lost"] or checks["damaged"]
    print("NOT SERVED" if bad else "all were served")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
