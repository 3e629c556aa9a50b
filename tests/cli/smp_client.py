# SPDX-License-Identifier: AGPL-3.0-or-later
"""Queues and messages for tests of the command line, by the client of the conformance tests."""

from smp import Address, Connection, Queue
from smp.commands import send_command
from smp.transport import decode_fingerprint

VERSION = 18


def connect(program, password=None):
    """A client of the server that runs."""
    identity = decode_fingerprint((program.config / "fingerprint").read_text())
    return Connection(Address("127.0.0.1", program.port, identity, password), VERSION)


def fill(program, bodies, password=None):
    """A new queue with messages."""
    with connect(program, password) as conn:
        queue = Queue.create(conn, subscribe=False)
        for body in bodies:
            assert queue.send(conn, body).raw == b"OK"
    return queue


def drain(program, queue):
    """Takes all messages out of a queue."""
    bodies = []
    with connect(program) as conn:
        while True:
            answer = queue.get(conn)
            if answer.raw == b"OK":
                return bodies
            message = queue.open(answer)
            bodies.append(message.body)
            assert queue.ack(conn, message.msg_id).raw == b"OK"


def send_to(program, snd_id):
    """What the server answers to a message for this sender id."""
    with connect(program) as conn:
        return conn.request(send_command(b"hello"), snd_id).raw.decode()
