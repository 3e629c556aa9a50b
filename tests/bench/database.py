#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A server on PostgreSQL beside one on the journal: what a message costs the server and, apart, the database; what
a SUB costs that finds nothing loaded; a start among many queues. Or how long a standby takes to take over (takeover).

PostgreSQL is one of our own with its defaults, but for 512 MB of buffers; it syncs. Compare CPU, and the two stores
with each other: on a machine that others use too, rates and latencies tell little.
"""

import argparse
import os
import re
import statistics
import sys
import time
from pathlib import Path

for folder in ("conformance", "cli"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / folder))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench import Runner, address_of, processors, start_pinned  # noqa: E402
from smp import server as smp_server  # noqa: E402
from smp.postgres import Postgres  # noqa: E402
from smp.server import Server, bench_beside, default_binary, find_binary  # noqa: E402

DEFAULTS = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "512MB",
            "max_wal_size": "4GB", "autovacuum": "on", "max_connections": "100"}
ONE_THREAD = {("TRANSPORT", "threads"): 1}
TICKS = os.sysconf("SC_CLK_TCK")
FILL = """INSERT INTO smp_server.msg_queues (recipient_id, recipient_keys, rcv_dh_secret, sender_id, status, updated_at, queue_mode)
  SELECT substr(sha256(('r' || i)::bytea), 1, 24), '\\x012c302a300506032b6570032100'::bytea || sha256(('k' || i)::bytea),
  sha256(('d' || i)::bytea), substr(sha256(('s' || i)::bytea), 1, 24), 'active', 1795737600, 'M' FROM generate_series({}, {}) i"""
PIECE = 20000  # rows in one statement
HEAD = ("", "per s", "p50 ms", "p99 ms", "server us", "database us", "WAL KB", "RSS MiB")


class Figures:
    """What PostgreSQL has used, all its processes together, those that have ended too."""

    def __init__(self, postgres):
        self.postgres = postgres

    def cpu_us(self):
        """Microseconds."""
        own, total = self.postgres.process.pid, 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(path.parent.name) == own:
                total += sum(map(int, fields[11:15]))
            elif int(fields[1]) == own:
                total += sum(map(int, fields[11:13]))
        return total * 1_000_000 / TICKS

    def wal_bytes(self):
        """Since ever."""
        return int(self.postgres.sql("postgres", "SELECT pg_current_wal_lsn() - '0/0'")[0])


def show(name, values):
    """A line of the table."""
    print(f"{name:<34}" + "".join(f" {value:>11}" for value in values), flush=True)


def measure(runner, server, figures, name, words, latency):
    """One workload; the database's part is what it used from begin to end."""
    cpu, wal = (figures.cpu_us(), figures.wal_bytes()) if figures else (0, 0)
    stage = runner.run(words[0], address_of(server), "--pid", str(server.process.pid), *words[1:])["stages"][-1]
    found = stage["latency_us"].get(latency, {})
    n = stage["ops"]
    show(name, [f"{stage['ops_per_second']:.0f}", f"{found['p50'] / 1000:.2f}" if found else "",
                f"{found['p99'] / 1000:.2f}" if found else "", f"{stage['server']['cpu_us_per_op']:.0f}",
                f"{(figures.cpu_us() - cpu) / n:.0f}" if figures else "", f"{(figures.wal_bytes() - wal) / n / 1000:.1f}" if figures else "",
                f"{stage['server']['rss_after_bytes'] / 2 ** 20:.1f}"])
    server.check()
    return stage


def messages(runner, server, figures, store, seconds):
    """At full load, and at half of it."""
    words = ["relay", "--pairs", "100", "--seconds", str(seconds)]
    full = measure(runner, server, figures, f"{store}: relay", words, "deliver")
    measure(runner, server, figures, f"{store}: relay, half load", [*words, "--rate", f"{full['ops_per_second'] / 2:.0f}"], "send")


def bench(options):
    """Both stores, in turn."""
    binary = find_binary(options.server_binary)
    server_cpus, bench_cpus = processors()
    runner = Runner(bench_beside(binary), bench_cpus)
    show(*HEAD[:1], HEAD[1:])
    for store, ini in (("journal", {}), ("database", {}), ("database, nothing loaded", {("STORE_LOG", "db_cache_mb"): 0})):
        kind = "journal" if store == "journal" else "database"
        server = Server(binary, store=kind, ini={**ONE_THREAD, **ini})
        figures = Figures(server.postgres) if server.postgres else None
        if figures:
            start_pinned(server, server_cpus).stop()
            name = database_of(server)
            for first in range(1, options.queues + 1, PIECE):
                server.postgres.sql(name, FILL.format(first, min(first + PIECE - 1, options.queues)))
            server.postgres.sql(name, "ANALYZE")
            server.postgres.sql(name, "CHECKPOINT")
        began = time.monotonic()
        start_pinned(server, server_cpus)
        if figures:
            print(f"start among {options.queues} queues: {time.monotonic() - began:.2f} s, {server.rss_kib() / 1024:.1f} MiB")
        if store != "database, nothing loaded":
            messages(runner, server, figures, store, options.seconds)
        # Its queues are made within the same run: what the database takes for that would count as well.
        measure(runner, server, None, f"{store}: subscribe", ["subscribe", "--seconds", str(options.seconds)], "sub")
        server.remove()


def database_of(server):
    """Its name."""
    return re.search(r"@/(\w+)\?", (server.config / "smp-server.ini").read_text()).group(1)


def takeover(options):
    """From the end of the active server to the port of the one that waited."""
    from test_standby import Standing, serves
    found = {"terminate": [], "kill": []}
    for how in [*found] * options.rounds:
        pair = Standing(find_binary(options.server_binary))
        pair.begin()
        began = time.monotonic()
        getattr(pair, how)()
        serves(pair.second)
        found[how].append(time.monotonic() - began)
        pair.second.stop()
        pair.remove()
    for how, values in found.items():
        print(f"{how}: median {statistics.median(values):.2f} s, longest {max(values):.2f} s, of {len(values)}")


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("bench", "takeover"), default="bench")
    parser.add_argument("--server-binary", default=default_binary())
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--queues", type=int, default=1_000_000, help="others in the database")
    parser.add_argument("--rounds", type=int, default=3, help="of takeover, each way")
    options = parser.parse_args()
    smp_server.own_postgres = lambda: own
    own = Postgres(**DEFAULTS)
    try:
        takeover(options) if options.what == "takeover" else bench(options)
    finally:
        own.end()


if __name__ == "__main__":
    main()
