# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many connections that use the same queues at the same time: nothing lost, nothing doubled."""

import random
import struct
import threading
import time

from smp import Queue, make_key
from smp.connection import Connection, Unanswered

SENDERS, RECEIVERS, QUEUES, MESSAGES = 3, 3, 8, 250
TAKEN_AT_ONCE = 3
PATIENCE = 60
LABEL = struct.Struct(">BBI")


class Shared:
    """What the threads know together."""

    def __init__(self, queues):
        self.queues = queues
        self.lock = threading.Lock()
        self.accepted = []
        self.acknowledged = []
        self.sending = SENDERS
        self.failures = []

    def complete(self):
        """Whether everything that was accepted was acknowledged."""
        with self.lock:
            return self.sending == 0 and len(set(self.acknowledged)) >= len(self.accepted)


def by_id(shared):
    """Queues by recipient id."""
    return {queue.rcv_id: queue for queue in shared.queues}


def guarded(shared, work, *arguments):
    """A thread's work; its failure is kept."""
    try:
        work(shared, *arguments)
    except Exception as error:  # whatever it is, the test must hear of it
        shared.failures.append(f"{work.__name__}: {type(error).__name__}: {error}")


def send_some(shared, address, number):
    """Sends numbered messages to random queues; full queues are tried again later."""
    source = random.Random(number)
    with Connection(address, 18) as conn:
        for count in range(MESSAGES):
            which = source.randrange(QUEUES)
            body = LABEL.pack(number, which, count)
            while True:
                answer = shared.queues[which].send(conn, body)
                if answer.raw == b"OK":
                    break
                assert answer.raw == b"ERR QUOTA", answer
                time.sleep(0.01)
            with shared.lock:
                shared.accepted.append(body)
    with shared.lock:
        shared.sending -= 1


def take(shared, conn, queue, message):
    """Acknowledges some from this message on, while the subscription is here."""
    for _ in range(TAKEN_AT_ONCE):
        answer = queue.ack(conn, message.msg_id)
        if answer.raw == b"ERR NO_MSG":
            return
        if message.body is not None:
            with shared.lock:
                shared.acknowledged.append(message.body)
        if answer.raw == b"OK":
            return
        message = queue.open(answer)


def take_events(shared, conn, queues, patience):
    """Handles what has come, waiting only for the first event: one SUB may bring two events, and
    what is left for later is about subscriptions that others have by then."""
    try:
        event = conn.event(patience)
        while True:
            if event.tag == "MSG":
                queue = queues[event.entity]
                take(shared, conn, queue, queue.open(event))
            else:
                assert event.raw == b"END"
            if not conn.events:
                return
            event = conn.event()
    except Unanswered:
        return


def receive_some(shared, address, version, number):
    """Takes subscriptions of random queues from the others and reads what comes."""
    source = random.Random(100 + number)
    queues = by_id(shared)
    deadline = time.monotonic() + PATIENCE
    with Connection(address, version) as conn:
        while not shared.complete():
            assert time.monotonic() < deadline, "messages are missing"
            assert source.choice(shared.queues).sub(conn).tag in ("SOK", "OK")
            take_events(shared, conn, queues, 0.02)


def run(threads):
    """Starts and joins threads."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
        assert not thread.is_alive()


def test_subscriptions_that_move_lose_nothing(address):
    """While receivers take the subscriptions from each other, every accepted message is
    acknowledged, and none that was not accepted. (A message may have been delivered to two
    connections while its subscription moved, and each may acknowledge it.)"""
    with Connection(address, 18) as maker:
        shared = Shared([Queue.create(maker, subscribe=False) for _ in range(QUEUES)])
    threads = [threading.Thread(target=guarded, args=(shared, send_some, address, number))
               for number in range(SENDERS)]
    threads += [threading.Thread(target=guarded, args=(
        shared, receive_some, address, (18, 8, 16)[number], number))
        for number in range(RECEIVERS)]
    run(threads)
    assert not shared.failures
    assert len(shared.accepted) == SENDERS * MESSAGES
    assert len(set(shared.accepted)) == SENDERS * MESSAGES
    assert set(shared.acknowledged) == set(shared.accepted)
    with Connection(address, 18) as last:
        for queue in shared.queues:
            assert queue.sub(last).tag == "SOK"
        while not last.quiet():
            event = last.event()
            assert by_id(shared)[event.entity].open(event).body is None, "a message was left"


ANSWERS = {"OK", "SOK", "MSG", "INFO", "ERR", "LNK"}


def disturb(shared, address, number):
    """Random commands on shared queues, deletions and new queues among them."""
    source = random.Random(200 + number)
    with Connection(address, source.choice((9, 12, 18))) as conn:
        for _ in range(250):
            which = source.randrange(QUEUES)
            queue = shared.queues[which]
            action = source.choice([
                lambda: queue.send(conn, bytes(source.randrange(2000))),
                lambda: queue.sub(conn), lambda: queue.get(conn), lambda: queue.off(conn),
                lambda: queue.ack(conn, bytes(24)), lambda: queue.recipient(conn, b"QUE"),
                lambda: queue.key(conn, make_key("ed25519")),
                lambda: queue.recipient(conn, b"LDEL"), lambda: queue.delete(conn)])
            answer = action()
            assert answer.tag in ANSWERS, answer
            if answer.raw == b"ERR AUTH" and source.random() < 0.5:
                shared.queues[which] = Queue.create(conn)
        conn.ping()


def test_commands_that_race(address):
    """Queues are deleted, secured, suspended and moved while others use them; every command is
    answered, and the server goes on."""
    with Connection(address, 18) as maker:
        shared = Shared([Queue.create(maker) for _ in range(QUEUES)])
    run([threading.Thread(target=guarded, args=(shared, disturb, address, number))
         for number in range(6)])
    assert not shared.failures
    with Connection(address, 18) as conn:
        conn.ping()
