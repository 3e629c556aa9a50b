# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stops while something waits for the disk: what is answered, and how long a stop can take."""

import signal
import time

import pytest
from smp import Connection, Queue, new_command
from smp.commands import ack_command, send_command
from smp.crypto import public_of
from smp.keys import make_key, x25519_der
from smp.server import check_sanitizers

GRACE = 5  # seconds for slow clients and a slow disk
SPARE = 4  # for a busy machine


@pytest.fixture(name="server")
def fixture_server(own_server):
    """One with messages on a disk."""
    return own_server({("TRANSPORT", "threads"): 2}, disk=True, store="journal")


def stop(server):
    """Begins a stop."""
    server.process.send_signal(signal.SIGTERM)


def ended(server, within):
    """Waits for the orderly end of a stop; gives its duration from now on."""
    begun = time.monotonic()
    assert server.process.wait(within) == 0
    server.process = None
    for thread in server.readers:
        thread.join(10)
    check_sanitizers("".join(server.stderr))
    return time.monotonic() - begun


def stored(server, n):
    """Queues with a message each whose body is on disk only, after a restart."""
    with Connection(server.address) as conn:
        queues = [Queue.create(conn, subscribe=False) for _ in range(n)]
        for queue in queues:
            assert queue.send(conn, b"stored").raw == b"OK"
    server.stop()
    server.start()
    return queues


def commands(conn, queue, message):
    """One of each kind of command that waits for a sync."""
    key, new_key = make_key("x25519"), make_key("ed25519")
    new = new_command(conn.version, new_key.der, x25519_der(public_of(bytes(32))))
    return [conn.make(send_command(b"two", b"F"), queue.snd_id),
            conn.make(ack_command(message.msg_id), queue.rcv_id, queue.rcv_key),
            conn.make(b"KEY " + bytes((len(key.der),)) + key.der, queue.rcv_id, queue.rcv_key),
            conn.make(new, b"", new_key)]


def test_answers_that_wait_for_a_sync_are_sent(server):
    """What was stored is acknowledged before the connection is closed."""
    with Connection(server.address) as conn:
        queue = Queue.create(conn)
        assert queue.send(conn, b"one").raw == b"OK"
        message = queue.next_message(conn)
        sent = commands(conn, queue, message)
        server.disk.set("sync_ms", 500)
        conn.write(sent)
        time.sleep(0.1)
        stop(server)
        tags = [conn.wait(item).tag for item in sent]
        assert tags == ["OK", "MSG", "OK", "IDS"]
        assert conn.closed_within(GRACE)
    ended(server, 30)
    server.disk.clear()
    server.start()
    with Connection(server.address) as conn:
        queue.sub(conn)
        assert queue.next_message(conn).body == b"two"


def test_a_new_segment_costs_few_syncs(server):
    """The first message after a start may have to make its own file: nobody waits for more than
    that, at a stop either."""
    with Connection(server.address) as conn:
        queue = Queue.create(conn)
    server.stop()
    for spare in server.state.glob("journal/*.spare"):
        spare.unlink()
    server.disk.set("sync_ms", 300)
    server.start()
    with Connection(server.address) as conn:
        sent = conn.make(send_command(b"one", b"F"), queue.snd_id)
        conn.write([sent])
        time.sleep(0.1)
        stop(server)
        assert conn.wait(sent, GRACE).raw == b"OK"
    ended(server, 60)


def test_bodies_that_are_being_read_are_sent(server):
    """SUB and its message, when the body comes in time."""
    queue, = stored(server, 1)
    server.disk.set("read_ms", 1000)
    with Connection(server.address) as conn:
        conn.write([conn.make(b"SUB", queue.rcv_id, queue.rcv_key)])
        time.sleep(0.2)
        stop(server)
        assert [answer.tag for answer in conn.read()] == ["SOK", "MSG"]
        assert conn.closed_within(GRACE)
    ended(server, 30)


def test_bodies_that_come_too_late_harm_nobody(server):
    """They arrive when their sessions, and soon the loops, are gone. Those that nobody has begun to
    read are not read any more."""
    queues = stored(server, 60)
    server.disk.set("read_ms", (GRACE + 2) * 1000)
    with Connection(server.address) as conn:
        for queue in queues:
            conn.write([conn.make(b"SUB", queue.rcv_id, queue.rcv_key)])
        time.sleep(0.3)
        stop(server)
        begun = time.monotonic()
        assert conn.closed_within(GRACE + SPARE)
        assert time.monotonic() - begun > GRACE - 1
    assert ended(server, 60) < GRACE + 2 + SPARE


def test_bodies_of_clients_that_left(server):
    """A reader has a body for a session that closed; then the server stops at once."""
    queues = stored(server, 8)
    server.disk.set("read_ms", 1500)
    for queue in queues:
        with Connection(server.address) as conn:
            conn.write([conn.make(b"SUB", queue.rcv_id, queue.rcv_key)])
            time.sleep(0.05)
    stop(server)
    ended(server, 30)


def test_a_slow_sync_does_not_hold_the_stop_for_ever(server):
    """The client is let go without its answer; what was accepted is still written."""
    with Connection(server.address) as conn:
        queue = Queue.create(conn)
        server.disk.set("sync_ms", (GRACE + 3) * 1000)
        conn.write([conn.make(send_command(b"late", b"F"), queue.snd_id)])
        time.sleep(0.2)
        stop(server)
        begun = time.monotonic()
        assert conn.closed_within(GRACE + SPARE)
        assert time.monotonic() - begun > GRACE - 1
    server.disk.clear()
    ended(server, 60)
    server.start()
    with Connection(server.address) as conn:
        queue.sub(conn)
        assert queue.next_message(conn).body == b"late"


def test_a_client_that_does_not_read(server):
    """It is given the same time as the disk, and no more."""
    with Connection(server.address, buffers=(4096, 4096)) as conn, Connection(server.address) as other:
        queues = [Queue.create(conn) for _ in range(200)]
        for queue in queues:
            assert queue.send(other, bytes(16000)).raw == b"OK"
        stop(server)
        assert ended(server, 60) < GRACE + SPARE


def test_a_full_disk_at_a_stop(server):
    """What failed before is no reason for the stop to fail, when there is room again."""
    with Connection(server.address, 20) as conn:
        queue = Queue.create(conn)
        server.disk.set("full")
        assert queue.send(conn, b"x").raw == b"ERR STORE storage"
        server.disk.clear()
        stop(server)
        assert conn.closed_within(GRACE)
    ended(server, 30)
