#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a server does in a second, and what it costs: smp-bench's workloads against a server of its
own (journal, synced), beside the bound that cryptography sets on this machine. Or messages among
more and more connections (scale), or the memory of many idle connections (idle).

The server has one thread and one processor, smp-bench the other ones. Compare CPU and the share of
the bound: on a machine that others use too, rates and latencies tell little. Exit status 1 when a
run failed, or an idle connection takes more than IDLE_LIMIT_KIB; other figures are not judged.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from smp.server import Server, bench_beside, default_binary, find_binary  # noqa: E402

NOFILE = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
ONE_THREAD = {("TRANSPORT", "threads"): 1}
PROXY = {**ONE_THREAD, ("PROXY", "allow_private_relays"): "on"}

# Name, workload, options, the latency that is shown, the bound; half: of the rate of "relay".
ROWS = [
    ("idle", "idle", ["--connections", "2000"], None, None),  # first, while memory is fresh
    ("relay", "relay", ["--pairs", "100"], "deliver", "relay"),
    ("relay, version 10", "relay", ["--pairs", "100", "--version", "10"], "deliver", "relay_plain"),
    ("relay, version 6", "relay", ["--pairs", "100", "--version", "6"], "deliver", "relay_signed"),
    ("relay, one at a time", "relay", ["--pairs", "1", "--connections", "1"], "deliver", "relay"),
    ("relay, half load", "relay", ["--pairs", "100", "--rate", "half"], "deliver", "relay"),
    ("relay through proxy", "relay", ["--pairs", "100", "--proxy", "proxy"], "deliver", None),
    ("subscribe", "subscribe", [], "sub", "sub"),
    ("connect", "connect", [], "connect", "connect"),
    ("create", "create", [], "new", None),
    ("backlog", "backlog", ["--pairs", "200"], None, None),
    ("mixed", "mixed", [], "deliver", None),
]
SCALE = [(f"relay, {2 * n} connections", "relay", ["--pairs", str(n), "--connections", str(n)],
          "deliver", "relay") for n in (5, 100, 1000, 9000)]
IDLE = [("idle", "idle", ["--connections", "5000"], None, None)]
SETS = {"all": ROWS, "scale": SCALE, "idle": IDLE}
IDLE_LIMIT_KIB = 16
TIMED = {"relay", "subscribe", "connect", "create", "mixed"}


def processors():
    """(of the server, of smp-bench); the same where there is only one."""
    found = sorted(os.sched_getaffinity(0))
    return {found[0]}, set(found[1:]) or {found[0]}


def start_pinned(server, cpus):
    """Its threads inherit where it may run."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        return server.start()
    finally:
        os.sched_setaffinity(0, before)


def address_of(server):
    """As smp-bench wants it."""
    return server.printed_address.replace("<hostnames>", "127.0.0.1").split("@")[0] + \
        f"@127.0.0.1:{server.ports[0]}"


class Runner:
    """Runs smp-bench on its processors."""

    def __init__(self, binary, cpus):
        self.binary, self.cpus = binary, cpus

    def run(self, *words):
        """Its JSON; a run that failed ends all."""
        done = subprocess.run([self.binary, *words, "--json"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, check=False,
                              preexec_fn=lambda: os.sched_setaffinity(0, self.cpus))
        if done.returncode != 0:
            raise SystemExit(f"FAILED: smp-bench {' '.join(words)}\n{done.stdout}")
        return json.loads(done.stdout)


def line_of(name, stage, latency, bound):
    """One line of the table."""
    found = stage["latency_us"].get(latency, {})
    cpu = stage["server"]["cpu_us_per_op"]
    values = [f"{stage['ops_per_second']:.0f}",
              f"{found['p50'] / 1000:.2f}" if found else "",
              f"{found['p99'] / 1000:.2f}" if found else "",
              f"{cpu:.1f}", f"{stage['own_cpu_us_per_op']:.1f}",
              f"{bound:.1f}" if bound else "",
              f"{100 * bound / cpu:.0f} %" if bound else "",
              f"{stage['server']['rss_after_bytes'] / 2 ** 20:.1f}"]
    return f"{name:<28}" + "".join(f" {value:>9}" for value in values)


HEAD = f"{'':<28}" + "".join(f" {word:>9}" for word in (
    "per s", "p50 ms", "p99 ms", "CPU us", "own us", "bound us", "of bound", "RSS MiB"))


def measure(rows, runner, server, proxy, options):
    """Runs all rows and prints them; gives what was found, by name."""
    bounds = runner.run("crypto")["bound_us"]
    print("bound, microseconds: " + ", ".join(f"{k} {v:.1f}" for k, v in bounds.items()))
    print(HEAD, flush=True)
    found, rate = {"bound_us": bounds}, None
    for name, workload, words, latency, bound in rows:
        words = [{"half": f"{(rate or 1000) / 2:.0f}", "proxy": address_of(proxy)}.get(word, word)
                 for word in words]
        if workload in TIMED:
            words += ["--seconds", str(options.seconds)]
        result = runner.run(workload, address_of(server), "--pid", str(server.process.pid), *words)
        if name == "relay":
            rate = result["stages"][0]["ops_per_second"]
        for stage in result["stages"]:
            title = name if len(result["stages"]) == 1 else f"{name}, {stage['name']}"
            print(line_of(title, stage, latency, bounds.get(bound)), flush=True)
            found[title] = stage
        server.check()
    return found


def idle_is_small(found):
    """Memory of a connection, against the limit."""
    stage = found["idle"]
    grown = stage["server"]["rss_after_bytes"] - stage["server"]["rss_before_bytes"]
    kib = grown / stage["ops"] / 1024
    print(f"an idle connection with one subscription: {kib:.1f} KiB (limit {IDLE_LIMIT_KIB} KiB)")
    return kib <= IDLE_LIMIT_KIB


def main():
    """Exit status 0 when all runs went well and idle connections are small."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", nargs="?", default="all", choices=tuple(SETS))
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--store", default="journal", choices=("journal", "memory", "off"))
    parser.add_argument("--json", action="store_true", help="print all figures at the end")
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    binary = find_binary(options.server_binary)
    server_cpus, bench_cpus = processors()
    runner = Runner(bench_beside(binary), bench_cpus)
    server = Server(binary, store=options.store, ini=ONE_THREAD, nofile=NOFILE)
    proxy = Server(binary, ini=PROXY)
    try:
        start_pinned(server, server_cpus)
        start_pinned(proxy, bench_cpus)
        found = measure(SETS[options.set], runner, server, proxy, options)
        good = "idle" not in found or idle_is_small(found)
        if options.json:
            print(json.dumps(found, indent=2))
        server.stop()
        proxy.stop()
    finally:
        server.remove()
        proxy.remove()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
