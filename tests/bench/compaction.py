#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What messages wait for while the store log is compacted.

Starts the server on a store log of N queues in which there is something to remove, so that it is
compacted once the ports are open, and relays messages at a fixed rate: first meanwhile, then again
when that is done. Prints the latencies of both, in turns, and by how much a compaction delays. Each
latency counts from when its message was due, so a pause is seen by all that fall into it. Exit status 1
when the compaction adds more than the limit to the 99th percentile of the middle round, or was over
before the messages were.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading

from start import set_port, write_log

FIGURES = ("p50", "p99", "p99.9", "max")


class Compacting:
    """A server that compacts its log after it has opened its port."""

    def __init__(self, binary, env):
        self.process = subprocess.Popen([binary, "start"], env=env, text=True, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.serves, self.compacted = threading.Event(), threading.Event()
        self.compact_ms = None
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if line.startswith("Serving SMP protocol"):
                self.serves.set()
            if "store-log-compacted" in line:
                self.compact_ms = int(line.rpartition("ms=")[2])
                self.compacted.set()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.reader.join()


def relay(args, address, pid):
    """Quantiles of the time from SEND to MSG in ms, by name."""
    words = ["relay", address, "--pid", str(pid), "--rate", str(args.rate), "--seconds", str(args.seconds),
             "--pairs", "20", "--warm-up", "0", "--json"]
    done = subprocess.run([args.bench_binary, *words], check=True, stdout=subprocess.PIPE, text=True)
    latency = json.loads(done.stdout)["stages"][0]["latency_us"]["deliver"]
    return {name: latency[name] / 1000 for name in FIGURES}


def address_of(args, env):
    done = subprocess.run([args.server_binary, "address"], env=env, check=True, text=True,
                          stdout=subprocess.PIPE)
    return done.stdout.split()[0]


def measure(args, env):
    """(latencies meanwhile, latencies after it, how long it took in ms, whether it outlasted the
    messages)."""
    server = Compacting(args.server_binary, env)
    try:
        if not server.serves.wait(60):
            sys.exit("the server does not serve")
        during = relay(args, address_of(args, env), server.process.pid)
        outlasted = not server.compacted.is_set()
        if not server.compacted.wait(120):
            sys.exit("the log is not compacted")
        return during, relay(args, address_of(args, env), server.process.pid), server.compact_ms, outlasted
    finally:
        server.stop()


def replace_log(directory, full):
    """The log is as large as before the last round, and what that left beside it is gone."""
    for name in os.listdir(directory):
        if name.startswith("smp-server-store.log"):
            os.remove(os.path.join(directory, name))
    shutil.copyfile(full, os.path.join(directory, "smp-server-store.log"))


def table(latencies):
    return "".join(f"{latencies[name]:8.2f}" for name in FIGURES)


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1_000_000, help="queues")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rate", type=int, default=300, help="messages a second")
    parser.add_argument("--seconds", type=float, default=3.0, help="of messages, each time")
    parser.add_argument("--server-binary", type=os.path.abspath, default="build/smp-server")
    parser.add_argument("--bench-binary", type=os.path.abspath, default="build/smp-bench")
    parser.add_argument("--port", type=int, default=15230)
    parser.add_argument("--limit-ms", type=float, default=5.0)
    return parser.parse_args()


def main() -> int:
    args = options()
    added, all_outlasted = [], True
    with tempfile.TemporaryDirectory(prefix="bench-compaction-") as root:
        env = dict(os.environ, SMP_SERVER_CFG_PATH=root + "/etc", SMP_SERVER_LOG_PATH=root + "/var")
        subprocess.run([args.server_binary, "init", "-y", "--ip", "127.0.0.1", "--no-password"], env=env,
                       check=True, stdout=subprocess.DEVNULL)
        set_port(root + "/etc/smp-server.ini", args.port)
        write_log(root + "/full", args.n)
        print("ms from SEND to MSG" + "".join(f"{name:>8}" for name in FIGURES))
        for nth in range(args.rounds):
            replace_log(root + "/var", root + "/full")
            during, after, took, outlasted = measure(args, env)
            print(f"{nth + 1}: compacting    {table(during)}   (for {took / 1000:.1f} s)")
            print(f"   not compacting{table(after)}", flush=True)
            added.append(during["p99"] - after["p99"])
            all_outlasted = all_outlasted and outlasted
    ok = all_outlasted and statistics.median(added) <= args.limit_ms
    print(f"p99 is {statistics.median(added):.2f} ms more while it compacts (middle round; limit {args.limit_ms} ms)"
          + ("" if all_outlasted else "; a compaction was over before the messages were: more queues, or fewer --seconds"))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
