# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages that grow old: behaviour "Messages". Times are whole seconds, so tests use 1 and 2."""

import json
import time

import pytest
from smp import Queue
from smp.connection import Connection

PATIENCE = 30


def size_of(queue, conn):
    """How many messages wait, by QUE."""
    return json.loads(queue.recipient(conn, b"QUE").text)["qiSize"]


def wait_empty(queue, conn):
    """Waits until no message waits."""
    deadline = time.monotonic() + PATIENCE
    while size_of(queue, conn):
        assert time.monotonic() < deadline, "messages do not expire"
        time.sleep(0.1)


@pytest.fixture
def expiring(own_server):
    """A connection to a server where messages live two seconds."""
    server = own_server({("LIMITS", "message_ttl"): 2, ("LIMITS", "expiry_interval"): 1})
    with Connection(server.address, 18) as conn:
        yield conn


def test_old_messages_expire(expiring):
    """Messages older than their time are deleted by the periodic check."""
    queue = Queue.create(expiring, subscribe=False)
    for number in range(3):
        assert queue.send(expiring, b"message %d" % number).raw == b"OK"
    assert size_of(queue, expiring) == 3
    wait_empty(queue, expiring)
    assert queue.sub(expiring).tag == "SOK"
    assert expiring.quiet()


def test_queue_works_after_expiry(expiring):
    """An emptied queue takes and delivers new messages."""
    queue = Queue.create(expiring, subscribe=False)
    assert queue.send(expiring, b"old").raw == b"OK"
    wait_empty(queue, expiring)
    assert queue.sub(expiring).tag == "SOK"
    assert queue.send(expiring, b"new").raw == b"OK"
    message = queue.next_message(expiring)
    assert message.body == b"new"
    assert queue.ack(expiring, message.msg_id).raw == b"OK"


def test_ack_of_an_expired_message(expiring):
    """A delivered message that expires leaves nothing behind: its ACK gives the next message."""
    queue = Queue.create(expiring)
    assert queue.send(expiring, b"old").raw == b"OK"
    old = queue.next_message(expiring)
    wait_empty(queue, expiring)
    assert queue.send(expiring, b"new").raw == b"OK"
    new = queue.open(queue.ack(expiring, old.msg_id))
    assert new.body == b"new"
    assert queue.ack(expiring, new.msg_id).raw == b"OK"


def test_young_messages_stay(own_server):
    """The periodic check leaves messages that are not old enough."""
    server = own_server({("LIMITS", "message_ttl"): 3600, ("LIMITS", "expiry_interval"): 1})
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn, subscribe=False)
        assert queue.send(conn, b"hello").raw == b"OK"
        time.sleep(2.5)
        assert size_of(queue, conn) == 1


def test_messages_expire_on_send(own_server):
    """With expire_messages_on_send a SEND removes old messages of its queue first."""
    server = own_server({("LIMITS", "message_ttl"): 1, ("LIMITS", "expiry_interval"): 3600,
                         ("STORE_LOG", "expire_messages_on_send"): "on"})
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn, subscribe=False)
        assert queue.send(conn, b"old").raw == b"OK"
        time.sleep(2.5)
        assert size_of(queue, conn) == 1
        assert queue.send(conn, b"new").raw == b"OK"
        assert size_of(queue, conn) == 1
        assert queue.sub(conn).tag == "SOK"
        assert queue.next_message(conn).body == b"new"


def test_messages_do_not_expire_on_send_by_default(own_server):
    """Without expire_messages_on_send only the periodic check removes messages."""
    server = own_server({("LIMITS", "message_ttl"): 1, ("LIMITS", "expiry_interval"): 3600})
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn, subscribe=False)
        assert queue.send(conn, b"old").raw == b"OK"
        time.sleep(2.5)
        assert queue.send(conn, b"new").raw == b"OK"
        assert size_of(queue, conn) == 2
