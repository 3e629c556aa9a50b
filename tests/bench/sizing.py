#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A row of the guide's page "sizing", tried: so many queues, clients and messages at once on one processor.

The server (one thread, one processor, journal, synced) starts on a store log of N queues; smp-bench holds CLIENTS
connections, each subscribed to a queue of its own, and relays messages at the rate of so many a day. Prints the server's
memory, the processor's time and the latencies. Exit status 1 when it takes more than half of MEMORY, or a message was
lost. With --enforce MEMORY is all that the server may have (a memory cgroup; needs root), and it is a failure too
if it was ended for want of it. On a machine that others use, memory tells more than time.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from bench import NOFILE, ONE_THREAD, Runner, address_of, processors, start_pinned  # noqa: E402
from smp.server import Server, bench_beside, default_binary, find_binary  # noqa: E402
from start import DAY_S, status_kib, write_log  # noqa: E402

CONNECT_TIMEOUT_S = 600


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


def hold(runner, server, clients, seconds):
    """smp-bench that holds so many; returns when they are connected."""
    words = [runner.binary, "idle", address_of(server), "--connections", str(clients), "--seconds", str(seconds)]
    holder = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              preexec_fn=lambda: os.sched_setaffinity(0, runner.cpus))
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while len(os.listdir(f"/proc/{server.process.pid}/fd")) < clients:
        if holder.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("FAILED: the clients did not come")
        time.sleep(0.2)
    return holder


def measure(args, runner, server):
    """Prints what it takes; whether that is at most half of the memory."""
    pid = server.process.pid
    started = status_kib(pid, "VmRSS")
    holder = hold(runner, server, args.clients, args.seconds + 30)
    rate = args.messages_a_day / DAY_S
    stage = runner.run("relay", address_of(server), "--pid", str(pid), "--rate", f"{rate:.0f}",
                       "--seconds", str(args.seconds))["stages"][0]
    used, peak = status_kib(pid, "VmRSS"), status_kib(pid, "VmHWM")
    if holder.wait(timeout=CONNECT_TIMEOUT_S) != 0:
        raise SystemExit("FAILED: a client lost its connection, or a message")
    latency = stage["latency_us"]["deliver"]
    share = stage["server"]["cpu_us_per_op"] * rate / 1e6
    print(f"{args.queues} queues: {started / 1024:.0f} MiB; with {args.clients} clients and {rate:.0f} messages a second"
          f" {used / 1024:.0f} MiB, at most {peak / 1024:.0f} MiB since the start (of {args.memory_mib})")
    print(f"{100 * share:.0f} % of one processor; SEND to MSG p50 {latency['p50'] / 1000:.1f} ms, p99 {latency['p99'] / 1000:.1f} ms")
    return peak / 1024 <= args.memory_mib / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory-mib", type=int, default=512, help="of the machine")
    parser.add_argument("--queues", type=int, default=300_000)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--messages-a-day", type=int, default=20_000_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--enforce", action="store_true", help="the server may have no more memory (needs root)")
    parser.add_argument("--server-binary", default=default_binary())
    args = parser.parse_args()
    binary = find_binary(args.server_binary)
    server_cpus, bench_cpus = processors()
    runner = Runner(bench_beside(binary), bench_cpus)
    server = Server(binary, store="journal", ini=ONE_THREAD, nofile=NOFILE)
    group = MemoryGroup(args.memory_mib << 20) if args.enforce else None
    try:
        write_log(str(server.state / "smp-server-store.log"), args.queues)
        (group.start if group else start_pinned)(server, server_cpus)
        good = measure(args, runner, server) and not (group and group.killed())
        server.stop()
    finally:
        server.remove()
        if group:
            group.remove()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
