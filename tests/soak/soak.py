#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Soak test: many messages through many queues, sender and receiver in their own processes.

Checks order, content and completeness, that the server's memory does not grow after warm-up, and
prints throughput and the server's CPU time per message. Exit status 0 only when all of it holds.
"""

import argparse
import hashlib
import json
import mmap
import multiprocessing
import os
import select
import ssl
import struct
import sys
import time
from collections import deque
from pathlib import Path
from queue import Empty

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from smp import Address, Connection, Queue  # noqa: E402
from smp.commands import ack_command  # noqa: E402
from smp.crypto import box_subkey, dh, nonce_of, subkey, unbox_subkey  # noqa: E402
from smp.encoding import large, short  # noqa: E402
from smp.keys import X25519Key  # noqa: E402
from smp.server import (STORES, Server, cpu_seconds, default_binary, find_binary,  # noqa: E402
                        rss_kib)
from smp.transport import decode_fingerprint  # noqa: E402

VERSION = 18
IN_FLIGHT = 48
PER_QUEUE = 4
ACKS_PER_BLOCK = 60
STALL = 30
HEADER = struct.Struct(">IQ")
COUNTER = struct.Struct("=Q")
MSG_HEAD = b"MSG \x18"


class SoakFailed(Exception):
    """A message lost, changed, repeated or out of order; or no progress."""


class Counters:
    """Shared between the processes: messages received, for each queue and in all."""

    def __init__(self, queues):
        self.queues = queues
        self.memory = mmap.mmap(-1, COUNTER.size * (queues + 1))

    def received(self, queue):
        """Messages received from one queue."""
        return COUNTER.unpack_from(self.memory, COUNTER.size * queue)[0]

    def set(self, queue, count):
        """Notes how many messages one queue gave so far."""
        COUNTER.pack_into(self.memory, COUNTER.size * queue, count)

    def total(self):
        """Messages received from all queues."""
        return self.received(self.queues)


class Pump:
    """Moves whole blocks both ways without blocking, so that neither side waits for the other."""

    def __init__(self, conn):
        self.session = conn.session
        self.tls = conn.link.tls
        self.tls.setblocking(False)
        self.out = deque()
        self.buffer = bytearray()

    def put(self, transmissions):
        """Queues one block."""
        content = bytes((len(transmissions),)) + b"".join(map(large, transmissions))
        self.out.append(self.session.seal(content))

    def flush(self):
        """Writes what the socket takes; True when nothing is left."""
        while self.out:
            try:
                self.tls.send(self.out[0])
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            self.out.popleft()
        return True

    def blocks(self):
        """Contents of the blocks that are there now."""
        found = []
        while len(found) < 64:
            try:
                piece = self.tls.recv(16384)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            if not piece:
                raise SoakFailed("the server closed the connection")
            if not self.buffer and len(piece) == 16384:
                found.append(self.session.unseal(piece))
                continue
            self.buffer += piece
            while len(self.buffer) >= 16384:
                found.append(self.session.unseal(bytes(self.buffer[:16384])))
                del self.buffer[:16384]
        return found

    def wait(self, timeout):
        """Waits until something can be read, or written when something waits to be."""
        writers = [self.tls] if self.out else []
        select.select([self.tls], writers, [], timeout)


def transmissions(content):
    """(corrId, entity, text) of each transmission of a block, version 7 and later."""
    at = 1
    for _ in range(content[0]):
        length = (content[at] << 8) | content[at + 1]
        data = content[at + 2:at + 2 + length]
        at += 2 + length
        corr_end = 2 + data[1]
        entity_end = corr_end + 1 + data[corr_end]
        yield data[2:corr_end], data[corr_end + 1:entity_end], data[entity_end:]


class Bodies:
    """Bodies that both processes can make: a header and a piece of the same random bytes."""

    def __init__(self, seed, size):
        self.size = size - HEADER.size
        self.random = hashlib.shake_256(seed).digest(self.size + 4096)

    def body(self, queue, number):
        """The body of one message."""
        start = (queue * 31 + number * 7) % 4096
        return HEADER.pack(queue, number) + self.random[start:start + self.size]


class Sender:
    """Sends to all queues in turn, a few messages ahead of the receiver in each."""

    def __init__(self, address, plan, targets, counters):
        conn = Connection(address, VERSION)
        self.conn = conn
        self.prefix = short(conn.session.session_id)
        self.plan, self.counters = plan, counters
        self.targets = targets
        self.subkeys = [subkey(dh(conn.session.server_key, key)) for _, key in targets]
        self.bodies = Bodies(plan.seed, plan.size)
        self.sent = [0] * plan.queues
        self.run_id = os.urandom(24 - HEADER.size)
        self.unanswered = set()

    def transmission(self, queue):
        """The next SEND of a queue, with its authenticator."""
        number = self.sent[queue]
        corr_id = self.run_id + HEADER.pack(queue, number)
        text = short(corr_id) + short(self.targets[queue][0])
        text += b"SEND F " + self.bodies.body(queue, number)
        digest = hashlib.sha512(self.prefix)
        digest.update(text)
        auth = box_subkey(self.subkeys[queue], nonce_of(corr_id), digest.digest())
        self.sent[queue] = number + 1
        self.unanswered.add(corr_id)
        return short(auth) + b"0" + text

    def may_send(self, queue):
        """Whether this queue is not too far ahead of the receiver, nor done."""
        ahead = self.sent[queue] - self.counters.received(queue)
        return self.sent[queue] < self.plan.per_queue and ahead < PER_QUEUE

    def check(self, content):
        """Every answer is OK, to a SEND that waits for it."""
        for corr_id, _, text in transmissions(content):
            if text != b"OK" or corr_id not in self.unanswered:
                raise SoakFailed(f"answer to SEND: {text[:60]!r}")
            self.unanswered.remove(corr_id)

    def run(self):
        """Until everything was sent and answered."""
        pump = Pump(self.conn)
        remaining, queue, last = self.plan.total, 0, time.monotonic()
        while remaining or self.unanswered:
            skipped = 0
            while remaining and len(self.unanswered) < IN_FLIGHT and skipped < self.plan.queues:
                if self.may_send(queue):
                    pump.put([self.transmission(queue)])
                    remaining -= 1
                    skipped = 0
                else:
                    skipped += 1
                queue = (queue + 1) % self.plan.queues
            pump.flush()
            contents = pump.blocks()
            for content in contents:
                self.check(content)
            if contents:
                last = time.monotonic()
            else:
                pump.wait(0.002 if remaining and not self.unanswered else 0.05)
            if time.monotonic() - last > STALL:
                raise SoakFailed(f"sender: nothing moved for {STALL} s")


class Receiver:
    """Takes, checks and acknowledges every message."""

    def __init__(self, conn, queues, plan, counters):
        self.conn, self.plan, self.counters = conn, plan, counters
        self.prefix = short(conn.session.session_id)
        self.index = {q.rcv_id: number for number, q in enumerate(queues)}
        self.queues = queues
        self.subkeys = [subkey(q.secret) for q in queues]
        self.expected = [0] * len(queues)
        self.bodies = Bodies(plan.seed, plan.size)
        self.done = 0
        self.open_acks = 0

    def message(self, entity, text):
        """Checks one MSG and gives the ACK's transmission."""
        if text[:5] != MSG_HEAD:
            raise SoakFailed(f"in the place of a message: {text[:60]!r}")
        queue = self.index[entity]
        msg_id = text[5:29]
        padded = unbox_subkey(self.subkeys[queue], msg_id, text[29:])
        length = (padded[0] << 8) | padded[1]
        number = self.expected[queue]
        if padded[10:12] != b"F " or padded[12:2 + length] != self.bodies.body(queue, number):
            raise SoakFailed(f"queue {queue}, message {number}: wrong content or order")
        self.expected[queue] = number + 1
        self.counters.set(queue, number + 1)
        self.done += 1
        corr_id = os.urandom(24)
        text = short(corr_id) + short(entity) + ack_command(msg_id)
        auth = self.queues[queue].rcv_key.authorize(None, corr_id, self.prefix + text)
        return short(auth) + b"0" + text

    def take(self, content, acks):
        """Handles the transmissions of one block."""
        for corr_id, entity, text in transmissions(content):
            if corr_id:
                self.open_acks -= 1
            if not corr_id or text != b"OK":
                acks.append(self.message(entity, text))
                self.open_acks += 1

    def run(self):
        """Until every message was received and acknowledged, and nothing more is there."""
        pump = Pump(self.conn)
        last = time.monotonic()
        while self.done < self.plan.total or self.open_acks:
            acks = []
            for content in pump.blocks():
                self.take(content, acks)
            for start in range(0, len(acks), ACKS_PER_BLOCK):
                pump.put(acks[start:start + ACKS_PER_BLOCK])
            self.counters.set(self.plan.queues, self.done)
            pump.flush()
            if acks:
                last = time.monotonic()
            else:
                pump.wait(0.05)
            if time.monotonic() - last > STALL:
                raise SoakFailed(f"receiver: {self.done} messages, then nothing for {STALL} s")
        if self.expected != [self.plan.per_queue] * self.plan.queues:
            raise SoakFailed(f"messages by queue: {self.expected}")

    def check_empty(self):
        """Afterwards no queue holds anything; all are deleted."""
        self.conn.link.tls.settimeout(STALL)
        for queue in self.queues:
            size = json.loads(queue.recipient(self.conn, b"QUE").text)["qiSize"]
            if size or queue.delete(self.conn).raw != b"OK":
                raise SoakFailed(f"{size} messages left over")
        if self.conn.events:
            raise SoakFailed("a message too many")


class Plan:
    """What is to be sent."""

    def __init__(self, total, queues, size):
        self.queues = queues
        self.per_queue = total // queues
        self.total = self.per_queue * queues
        self.size = size
        self.seed = os.urandom(32)


def report(results, name, action):
    """Runs a process's work; its outcome goes to `results`."""
    try:
        action()
        results.put((name, None))
    except Exception as error:  # whatever it is, the parent must hear of it
        results.put((name, f"{type(error).__name__}: {error}"))


def receiver_process(address, plan, counters, results, targets):
    """Creates the queues, hands them to the sender, receives."""
    def work():
        """The receiver from its connection to its last check."""
        conn = Connection(address, VERSION)
        queues, out = [], []
        for _ in range(plan.queues):
            queue, key = Queue.create(conn), X25519Key()
            if queue.skey(conn, key).raw != b"OK":
                raise SoakFailed("SKEY was refused")
            queues.append(queue)
            out.append((queue.snd_id, key.private))
        targets.put(out)
        receiver = Receiver(conn, queues, plan, counters)
        receiver.run()
        receiver.check_empty()
    report(results, "receiver", work)


def sender_process(address, plan, counters, results, targets):
    """Waits for the queues and sends."""
    report(results, "sender",
           lambda: Sender(address, plan, targets.get(timeout=60), counters).run())


class Memory:
    """Samples of the server's memory after warm-up."""

    def __init__(self, pid, warm):
        self.pid, self.warm = pid, warm
        self.base = self.peak = None

    def sample(self, received):
        """Takes a sample when warm-up is over."""
        if self.pid is None or received < self.warm:
            return
        now = rss_kib(self.pid)
        self.base = now if self.base is None else self.base
        self.peak = now if self.peak is None else max(self.peak, now)

    def growth(self):
        """KiB above the first sample."""
        return 0 if self.base is None else self.peak - self.base


def soak(address, plan, memory):
    """Runs both processes to their end; gives (failures, seconds)."""
    context = multiprocessing.get_context("fork")
    counters, results, targets = Counters(plan.queues), context.Queue(), context.Queue()
    arguments = (address, plan, counters, results, targets)
    workers = [context.Process(target=work, args=arguments, daemon=True)
               for work in (receiver_process, sender_process)]
    for worker in workers:
        worker.start()
    while counters.total() == 0 and all(worker.is_alive() for worker in workers):
        time.sleep(0.01)
    start = time.monotonic()
    shown, outcomes = start, {}
    while len(outcomes) < len(workers) and not any(outcomes.values()):
        try:
            name, error = results.get(timeout=0.2)
            outcomes[name] = error
        except Empty:
            if not any(worker.is_alive() for worker in workers):
                break
        memory.sample(counters.total())
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            print(f"  {counters.total()} received", flush=True)
    seconds = time.monotonic() - start
    failures = [f"{name}: {error}" for name, error in outcomes.items() if error]
    if counters.total() != plan.total:
        failures.append(f"{counters.total()} of {plan.total} messages received")
    for worker in workers:
        worker.terminate()
        worker.join(10)
    return failures, seconds


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--messages", type=int, default=100000)
    parser.add_argument("--queues", type=int, default=100)
    parser.add_argument("--size", type=int, default=16000, help="bytes of a message")
    parser.add_argument("--growth-kib", type=int, default=16384,
                        help="largest growth of the server's memory after warm-up")
    parser.add_argument("--server-binary", default=default_binary())
    parser.add_argument("--store", choices=list(STORES), default="off", help="where messages are")
    parser.add_argument("--smp-host")
    parser.add_argument("--smp-port", type=int, default=5223)
    parser.add_argument("--smp-fingerprint")
    parser.add_argument("--smp-password")
    parser.add_argument("--server-pid", type=int, help="to measure a server given by --smp-host")
    return parser.parse_args()


def main():
    """Exit status 0 when every message arrived in order and the memory stayed bounded."""
    options = parse_arguments()
    plan = Plan(options.messages, options.queues, options.size)
    server = None
    if options.smp_host:
        password = options.smp_password.encode() if options.smp_password else None
        address = Address(options.smp_host, options.smp_port,
                          decode_fingerprint(options.smp_fingerprint), password)
        pid = options.server_pid
    else:
        server = Server(find_binary(options.server_binary), store=options.store).start()
        address, pid = server.address, server.process.pid
    try:
        failures = run(address, plan, pid, options.growth_kib)
        if server:
            server.check()
            server.stop()
    finally:
        if server:
            server.remove()
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


def run(address, plan, pid, bound):
    """The soak with its figures; gives the failures."""
    memory = Memory(pid, plan.total // 5)
    before = cpu_seconds(pid) if pid else 0
    failures, seconds = soak(address, plan, memory)
    print(f"{plan.total} messages of {plan.size} bytes over {plan.queues} queues in "
          f"{seconds:.1f} s: {plan.total / seconds:.0f} messages/s")
    if pid and not failures:
        used = (cpu_seconds(pid) - before) / plan.total
        print(f"server CPU: {used * 1e6:.0f} us per message")
        print(f"server memory after warm-up: {memory.base} KiB, growth {memory.growth()} KiB "
              f"(bound {bound} KiB)")
        if memory.growth() > bound:
            failures.append("the server's memory grew")
    return failures


if __name__ == "__main__":
    sys.exit(main())
