#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Does the time of `ERR AUTH` tell whether a queue exists, and of what type its key is?

A client asks about queues that it has no key of: the key is wrong, it is of another type, there is
no such queue. In each round every case gets one block of commands, in random order; what counts are
the differences between cases within a round, of the reply's time and of the server's processor
time, a command. For each pair of cases: the median difference with a confidence interval (of order
statistics, so it assumes nothing about the distribution), and in how many of 100 rounds the sign of
the difference would be guessed (50: it tells nothing).

A difference is clear when its interval, at 1 in 1,000 over all intervals together, excludes zero,
and the median is above --limit, a share of the command's own time. Beside them stands a difference
that must be found, or the measurement is worth nothing: a queue with two keys of the right type is
verified twice (docs/SECURITY.md). Exit status 1 when a difference is clear, or that one is not.
"""

import argparse
import itertools
import os
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from smp import Connection, Queue  # noqa: E402
from smp.commands import send_command  # noqa: E402
from smp.keys import KEY_TYPES, make_key  # noqa: E402
from smp.server import NO_LIMITS, Server, default_binary, find_binary  # noqa: E402

CASES = ("wrong key", "wrong type", "no queue")
CONTROL = "two keys"
BLOCK = 16      # commands of a case in a round
QUEUES = 48     # of each case; which of them is asked about is random
REFUSALS = 8000  # of one connection; the server slows it at 10,000
ALPHA = 0.001
INI = {**NO_LIMITS, ("TRANSPORT", "threads"): 1}


class Target:
    """What is asked about: the ids of each case for one type of key, and the command."""

    def __init__(self, conn, kind, command, count):
        self.kind, self.command = kind, command
        others = [name for name in KEY_TYPES if name != kind]
        self.ids = {"wrong key": [self.make(conn, [kind]) for _ in range(count)],
                    "wrong type": [self.make(conn, [others[i % 2]]) for i in range(count)],
                    "no queue": [os.urandom(24) for _ in range(count)]}
        if command == b"SUB":
            self.ids[CONTROL] = [self.make(conn, [kind, kind]) for _ in range(count)]
        self.key = make_key(kind)

    def make(self, conn, kinds):
        """The id of a queue that is secured with such keys, of its recipient or its sender."""
        queue = Queue.create(conn, subscribe=False, key=kinds[0], mode="C" if kinds[1:] else "M")
        if self.command != b"SUB":
            if queue.key(conn, make_key(kinds[0])).raw != b"OK":
                raise SystemExit("KEY was refused")
            return queue.snd_id
        if len(kinds) > 1:
            if queue.rkey(conn, queue.rcv_key, *map(make_key, kinds[1:])).raw != b"OK":
                raise SystemExit("RKEY was refused")
        return queue.rcv_id

    @property
    def name(self):
        """For the table."""
        return f"{self.kind} {self.command.split(b' ')[0].decode()}"


class Meter:
    """Asks, and takes the times."""

    def __init__(self, server):
        self.server = server
        self.conn, self.refused = None, REFUSALS

    def ask(self, target, case):
        """(time of the reply, processor time of the server) of a command, in microseconds."""
        if self.refused + BLOCK > REFUSALS:
            if self.conn is not None:
                self.conn.close()
            self.conn, self.refused = Connection(self.server.address), 0
        conn = self.conn
        sent = [conn.make(target.command, entity, target.key)
                for entity in random.choices(target.ids[case], k=BLOCK)]
        used = self.server.cpu_ns()
        began = time.perf_counter_ns()
        conn.write(sent)
        n = 0
        while n < BLOCK:
            for answer in conn.read():
                n += answer.raw == b"ERR AUTH"
        took = time.perf_counter_ns() - began
        used = self.server.cpu_ns() - used
        self.refused += BLOCK
        return took / BLOCK / 1000, used / BLOCK / 1000


def interval(differences, alpha):
    """The median and its confidence interval: between two order statistics, as many of the
    differences as chance puts on one side of the true median."""
    ordered = sorted(differences)
    n = len(ordered)
    reach = statistics.NormalDist().inv_cdf(1 - alpha / 2) * n ** 0.5 / 2
    low = max(0, int(n / 2 - reach) - 1)
    high = min(n - 1, int(n / 2 + reach) + 1)
    return statistics.median(ordered), ordered[low], ordered[high]


def guessed(differences):
    """Of 100 rounds: how often the sign is that of most."""
    positive = sum(d > 0 for d in differences) + sum(d == 0 for d in differences) / 2
    share = positive / len(differences)
    return 100 * max(share, 1 - share)


def compare(samples, pairs, alpha, limit):
    """Prints the differences of a target and gives how many are clear, for each pair."""
    clear = {}
    for a, b in pairs:
        clear[a, b] = 0
        for which, name in enumerate(("reply", "processor")):
            base = statistics.median(s[which] for s in samples[a])
            differences = [y[which] - x[which] for x, y in zip(samples[a], samples[b])]
            middle, low, high = interval(differences, alpha)
            is_clear = low * high > 0 and abs(middle) > limit * base
            clear[a, b] += is_clear
            print(f"  {b} - {a}, {name}: {middle:+.2f} us of {base:.1f} "
                  f"[{low:+.2f}, {high:+.2f}], guessed {guessed(differences):.1f} of 100"
                  f"{'  CLEAR' if is_clear else ''}", flush=True)
    return clear


def measure(server, options):
    """Asks in rounds: samples by target and case."""
    with Connection(server.address) as conn:
        targets = [Target(conn, kind, command, QUEUES)
                   for kind in KEY_TYPES for command in (b"SUB", send_command(b"x"))]
    meter = Meter(server)
    samples = {target: {case: [] for case in target.ids} for target in targets}
    work = [(target, case) for target in targets for case in target.ids]
    for number in range(-options.warm_up, options.rounds):
        random.shuffle(work)
        for target, case in work:
            sample = meter.ask(target, case)
            if number >= 0:
                samples[target][case].append(sample)
    return samples


def main():
    """Measures, compares, and says what is clear."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--rounds", type=int, default=1000)
    parser.add_argument("--warm-up", type=int, default=20, help="rounds that do not count")
    parser.add_argument("--limit", type=float, default=0.03, help="share of a command's time")
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    server = Server(find_binary(options.server_binary), ini=INI)
    try:
        server.start()
        samples = measure(server, options)
        server.stop()
    finally:
        server.remove()
    pairs = list(itertools.combinations(CASES, 2))
    alpha = ALPHA / (len(samples) * (len(pairs) + 1) * 2)
    n_clear = n_missed = 0
    print(f"{options.rounds} rounds of {BLOCK} commands a case, load {os.getloadavg()[0]:.1f}")
    for target, by_case in samples.items():
        print(target.name)
        n_clear += sum(compare(by_case, pairs, alpha, options.limit).values())
        if CONTROL in by_case:
            found = compare(by_case, [("wrong key", CONTROL)], alpha, options.limit)
            n_missed += sum(n == 0 for n in found.values())
    print(f"{n_clear} clear differences; {n_missed} of those that must be found were not")
    return 1 if n_clear or n_missed else 0


if __name__ == "__main__":
    sys.exit(main())
