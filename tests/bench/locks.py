#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which lock becomes the limit first where there are many processors. Relays messages as fast as they
go through a server with a clock at its locks (tests/bench/lock_times.c; journal, synced always),
and prints for each kind of lock how often a message takes it, how long it is held, how often somebody
waited, and how many messages a second would keep it taken all the time; and the same for the threads
of which there is one. On a machine that others use a holder may lose its processor: so what is held is
the middle of the times, not their mean.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from bench import address_of  # noqa: E402
from smp.server import Server, bench_beside, default_binary, find_binary  # noqa: E402

LINE = "lock-times "
LEAST_TIMES = 0.05  # for a message: what is taken less often limits nothing
ONE_OF = ("commit", "journal")  # threads of which there is one, by name


def middle(steps):
    """Median of a histogram, ns."""
    half = sum(times for _, times in steps) / 2
    for ns, times in steps:
        half -= times
        if half <= 0:
            return ns
    return steps[-1][0]


def cpu_of_threads(pid):
    """Seconds of processor time of the threads, by name."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        found[name] = found.get(name, 0) + int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


def relay(server, bench, options):
    """How many messages, and processor seconds of the threads."""
    before = cpu_of_threads(server.process.pid)
    done = subprocess.run([bench, "relay", address_of(server), "--pairs", str(options.pairs), "--connections",
                           str(options.connections), "--count", str(options.count), "--warm-up", "0", "--json"],
                          stdout=subprocess.PIPE, text=True, check=True)
    after = cpu_of_threads(server.process.pid)
    spent = {name: after[name] - before.get(name, 0) for name in after}
    return json.loads(done.stdout)["stages"][0]["ops"], spent


def lock_rows(kinds, ops):
    """(kind, locks, times a message, ns held, share that waited, limit a second), the lowest limit first."""
    rows = []
    for kind in kinds:
        times, ns = kind["taken"] / ops, middle(kind["held_ns"])
        if times >= LEAST_TIMES:
            limit = kind["locks"] * 1e9 / (times * ns)
            rows.append((kind["kind"], kind["locks"], times, ns, kind["waited"] / kind["taken"], limit))
    return sorted(rows, key=lambda row: row[-1])


def report(rows, ops, spent):
    """Prints the tables."""
    print(f"{'lock':<14}{'of them':>8}{'a message':>11}{'held, ns':>10}{'waited':>9}{'limit, messages/s':>20}")
    for kind, locks, times, ns, waited, limit in rows:
        print(f"{kind:<14}{locks:>8}{times:>11.2f}{ns:>10.0f}{100 * waited:>8.2f}%{limit:>20,.0f}")
    print(f"\n{'thread':<14}{'CPU us a message':>19}{'limit, messages/s':>38}")
    for name in ONE_OF:
        print(f"{name:<14}{spent[name] / ops * 1e6:>19.1f}{ops / spent[name]:>38,.0f}")
    loops = sum(seconds for name, seconds in spent.items() if name.startswith("loop-"))
    print(f"{'loops':<14}{loops / ops * 1e6:>19.1f}{'as many as there are processors':>38}")


def main():
    """Always 0, unless a run fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60_000, help="messages")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2, help="loops of the server")
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    binary = find_binary(options.server_binary)
    measured = os.path.join(os.path.dirname(binary), "tests", "bench", "smp-server-locks")
    server = Server(find_binary(measured), store="journal", ini={("TRANSPORT", "threads"): options.threads})
    try:
        server.start()
        ops, spent = relay(server, bench_beside(binary), options)
        server.stop()
        kinds = [json.loads(line[len(LINE):]) for line in server.stderr if line.startswith(LINE)]
    finally:
        server.remove()
    report(lock_rows(kinds, ops), ops, spent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
