# SPDX-License-Identifier: AGPL-3.0-or-later
"""Blocked queues (section 6, "Errors"; behaviour, "Queues"). The operator's order is written into the
store log between two runs, as another server would have left it there."""

import base64

import pytest
from smp import Connection, Notifier, Queue

PATIENCE = 10
NOTICE = '{"ttl":3600}'
ON = {("STORE_LOG", "enable"): "on"}


def order(server, words, *queues):
    """Stops the server, adds a line for each queue to its store log, and starts it."""
    server.stop()
    path = server.state / "smp-server-store.log"
    lines = [words.replace("ID", base64.urlsafe_b64encode(queue.rcv_id).decode(), 1)
             for queue in queues]
    with path.open("a", encoding="ascii") as log:
        log.write("".join(line + "\n" for line in lines))
    server.start()


def expected(version, reason, notice=""):
    """The error as this version gets it."""
    if version < 12:
        return b"ERR AUTH"
    return f"ERR BLOCKED reason={reason}{notice if version >= 18 else ''}".encode()


@pytest.mark.parametrize("reason,notice", [("spam", ""), ("content", ",notice=" + NOTICE)])
def test_blocked_queue(own_server, reason, notice):
    """Recipient and sender are told, as their version has it; a stop changes nothing."""
    server = own_server(ON, store="memory")
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn, subscribe=False)
        notifier = Notifier.of(conn, queue)
    order(server, f"BLOCK ID reason={reason}{notice}", queue)
    for _ in range(2):
        for version in range(6, 21):
            with Connection(server.address, version) as conn:
                error = expected(version, reason, notice)
                assert queue.sub(conn).raw == queue.send(conn, b"x").raw == error
                assert queue.get(conn).raw == queue.off(conn).raw == error
                assert queue.recipient(conn, b"QUE").raw == queue.delete(conn).raw == error
        server.stop()
        server.start()
    with Connection(server.address, 18) as conn:
        assert notifier.sub(conn).tag == "SOK"


def test_longest_message_first(own_server):
    """SEND looks at the size of the message before it looks at the queue's state."""
    server = own_server(ON, store="memory")
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn)
    order(server, "BLOCK ID reason=spam", queue)
    with Connection(server.address, 18) as conn:
        assert queue.send(conn, b"x" * 16049).raw == b"ERR LARGE_MSG"
        assert queue.send(conn, b"x").raw == b"ERR BLOCKED reason=spam"
        assert conn.request(b"SUB", queue.rcv_id, Notifier().key).raw == b"ERR AUTH"


def test_unblocked_queue(own_server):
    """UNBLOCK: everything is as before, with the messages that had waited."""
    server = own_server(ON, store="journal")
    with Connection(server.address, 18) as conn:
        queue, off = Queue.create(conn, subscribe=False), Queue.create(conn, subscribe=False)
        assert queue.send(conn, b"before").raw == off.off(conn).raw == b"OK"
    order(server, "BLOCK ID reason=spam", queue, off)
    with Connection(server.address, 18) as conn:
        assert queue.sub(conn).raw == off.send(conn, b"x").raw == b"ERR BLOCKED reason=spam"
    order(server, "UNBLOCK ID", queue, off)
    with Connection(server.address, 18) as conn:
        assert queue.sub(conn).tag == "SOK"
        assert queue.next_message(conn).body == b"before"
        assert off.send(conn, b"x").raw == b"OK"
