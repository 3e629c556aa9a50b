#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What it costs when all clients come back at once, as after a restart or a lost network: each connects
and subscribes to all its queues (journal, one thread). Processor time of the server beside what its
signatures and handshakes take, and memory: before any client came, at the height of it, and when
all have gone and the next look at memory is past. Exit status 1 above the limits.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from bench import NOFILE, ONE_THREAD, Runner, address_of, processors, start_pinned  # noqa: E402
from smp.server import Server, bench_beside, default_binary, find_binary  # noqa: E402
from start import status_kib  # noqa: E402

GIVEN_BACK_S = 150  # the server looks each minute at what it could give back (app/server/memory.c)


def lowest_kib(pid):
    """The least memory of a server whose clients have gone."""
    least, deadline = status_kib(pid, "VmRSS"), time.monotonic() + GIVEN_BACK_S
    while time.monotonic() < deadline:
        time.sleep(1)
        least = min(least, status_kib(pid, "VmRSS"))
    return least


def report(options, bound, stage, before, after):
    """Prints what was found; whether the limits were kept."""
    subs, server = stage["ops"], stage["server"]
    clients = subs / options.queues  # some come back twice until the last has all
    cost, least = server["cpu_s"], (clients * bound["connect"] + subs * bound["sub"]) / 1e6
    peak = server["rss_peak_bytes"] / 1024
    print(f"{clients:.0f} clients come back to {options.queues} queues each: {stage['seconds']:.1f} s; CPU of the server"
          f" {cost:.2f} s, of its cryptography alone {least:.2f} s: {cost / least:.2f} times"
          f" (limit {options.limit_cpu})")
    kept = (after - before) / (peak - before)
    print(f"memory: {before / 1024:.1f} MiB before, {peak / 1024:.1f} at the height, {after / 1024:.1f} when all"
          f" have gone: {100 * kept:.0f} % of what they took is kept (limit {100 * options.limit_kept:.0f} %)")
    return cost <= least * options.limit_cpu and kept <= options.limit_kept


def main():
    """0 within the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--queues", type=int, default=100, help="of each")
    parser.add_argument("--limit-cpu", type=float, default=1.15)
    parser.add_argument("--limit-kept", type=float, default=0.10)
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    binary = find_binary(options.server_binary)
    server_cpus, bench_cpus = processors()
    runner = Runner(bench_beside(binary), bench_cpus)
    server = Server(binary, store="journal", ini=ONE_THREAD, nofile=NOFILE)
    words = ["--pid", "", "--connections", str(options.connections), "--queues", str(options.queues),
             "--count", str(options.connections * options.queues), "--warm-up", "0", "--timeout", "300"]
    try:
        start_pinned(server, server_cpus)
        pid = words[1] = str(server.process.pid)
        bound = runner.run("crypto")["bound_us"]
        # What the first clients leave for good, tables and pools, is no matter of storms.
        runner.run("idle", address_of(server), "--connections", "10")
        before = status_kib(pid, "VmRSS")
        stage = runner.run("subscribe", address_of(server), *words)["stages"][0]
        after = lowest_kib(pid)
        server.stop()
    finally:
        server.remove()
    return 0 if report(options, bound, stage, before, after) else 1


if __name__ == "__main__":
    sys.exit(main())
