#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a relayed message costs at moderate rates: processor time, wake-ups, syncs, bytes written, and
how long it takes, beside what it costs at full load in the same rounds (journal, synced always).

With --vs another program is measured in turn, round by round, so that the ratio holds where others
use the machine too. Medians of the rounds are printed. Nothing is judged.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from bench import address_of  # noqa: E402
from smp.server import Server, bench_beside, default_binary, find_binary, free_ports  # noqa: E402

FULL = "full"
COLUMNS = {
    "CPU us": lambda s: s["server"]["cpu_us_per_op"],
    "wakes": lambda s: s["server"]["wake_ups_per_op"],
    "loops": lambda s: s["server"]["wake_ups_by_thread"]["loops"],
    "commit": lambda s: s["server"]["wake_ups_by_thread"]["commit"],
    "syncs": lambda s: s["storage"]["syncs_per_op"] if "storage" in s else float("nan"),
    "bytes": lambda s: s["server"]["file_bytes_per_op"],
    "OK p50": lambda s: s["latency_us"]["send"]["p50"] / 1000,
    "OK p99": lambda s: s["latency_us"]["send"]["p99"] / 1000,
    "MSG p50": lambda s: s["latency_us"]["deliver"]["p50"] / 1000,
    "MSG p99": lambda s: s["latency_us"]["deliver"]["p99"] / 1000,
}


class Side:
    """A server that is measured, and what was found of it: column to rounds, by rate."""

    def __init__(self, name, binary, options):
        self.name, self.port = name, free_ports()[0]
        ini = {("TRANSPORT", "threads"): options.threads}
        if not options.no_metrics:
            ini["TRANSPORT", "metrics"] = f"127.0.0.1:{self.port}"
        for text in options.set if name != "other" else options.vs_set:
            place, value = text.split("=", 1)
            ini[tuple(place.split(".", 1))] = value
        self.server = Server(binary, store="journal", ini=ini)
        self.server.start()
        self.found = {}

    def relay(self, rate, options):
        """One measurement."""
        words = ["relay", address_of(self.server), "--pid", str(self.server.process.pid), "--json",
                 "--pairs", str(options.pairs), "--connections", str(options.connections),
                 "--seconds", str(options.seconds), "--warm-up", "1", *options.option]
        words += ["--rate", rate] if rate != FULL else []
        words += ["--metrics", str(self.port)] if not options.no_metrics else []
        done = subprocess.run([options.bench, *words], stdout=subprocess.PIPE, text=True, check=True)
        stage = json.loads(done.stdout)["stages"][0]
        rows = self.found.setdefault(rate, {name: [] for name in COLUMNS})
        for name, value in COLUMNS.items():
            rows[name].append(value(stage))


def line(title, values):
    """Of the table."""
    return f"{title:<24}" + "".join(f"{value:>9.2f}" for value in values)


def report(sides, rates):
    """Medians of the rounds; of two sides also the ratio, pair by pair."""
    print(f"{'':<24}" + "".join(f"{name:>9}" for name in COLUMNS) + "  of full")
    for rate in rates:
        for side in sides:
            rows = side.found[rate]
            middle = [statistics.median(rows[name]) for name in COLUMNS]
            text = line(f"{side.name}, {rate}/s", middle)
            if FULL in side.found:
                text += f"{middle[0] / statistics.median(side.found[FULL]['CPU us']):>9.2f}"
            print(text)
        if len(sides) == 2:
            pairs = [(sides[0].found[rate][name], sides[1].found[rate][name]) for name in COLUMNS]
            print(line("  ratio", [statistics.median(a / b if b else 1 for a, b in zip(*p)) for p in pairs]))


def main():
    """Always 0, unless a run fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", default="300,1500,full", help="messages a second, or full")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2, help="loops of the server")
    parser.add_argument("--option", action="append", default=[], help="more for smp-bench: --option=--window=10")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting")
    parser.add_argument("--vs", help="another smp-server, measured in turn")
    parser.add_argument("--vs-set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="its setting")
    parser.add_argument("--no-metrics", action="store_true", help="for programs without these figures")
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    binary = find_binary(options.server_binary)
    options.bench = bench_beside(binary)
    sides = [Side("this", binary, options)]
    try:
        if options.vs:
            sides.append(Side("other", options.vs, options))
        rates = options.rates.split(",")
        for nth in range(options.rounds):
            for rate in rates:
                for side in sides if nth % 2 == 0 else sides[::-1]:
                    side.relay(rate, options)
        report(sides, rates)
        for side in sides:
            side.server.stop()
    finally:
        for side in sides:
            side.server.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
