# SPDX-License-Identifier: AGPL-3.0-or-later
"""Starting, stopping and starting again: operations, sections 1 and 4."""

import signal
import subprocess

import pytest
from smp import Link, Queue
from smp.connection import Connection


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_orderly_stop(own_server, number):
    """SIGINT and SIGTERM end the server with status 0, also while clients are connected."""
    server = own_server()
    conns = [Connection(server.address, 18) for _ in range(20)]
    for conn in conns[:10]:
        Queue.create(conn)
    half = Link(server.address)
    conns[0].link.write(bytes(1000))
    server.stop(number)
    for conn in conns[1:]:
        assert conn.closed_within(10)
        conn.close()
    conns[0].close()
    half.close()
    with pytest.raises(OSError):
        Link(server.address)


def test_stop_with_a_slow_reader(own_server):
    """A client that reads nothing does not hold up the stop."""
    server = own_server({("LIMITS", "pending_bytes_per_client"): 262144})
    with Connection(server.address, 18, buffers=(65536, 65536)) as conn:
        queue = Queue.create(conn, mode="C", link=(bytes(24), b"", bytes(15000)))
        conn.write([conn.make(b"LGET", queue.ids.link_id) for _ in range(500)])
        server.stop()


def test_accepted_commands_are_answered_before_the_end(own_server):
    """What was answered happened; a client sees whole blocks up to the end of the stream."""
    server = own_server()
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn)
        assert queue.send(conn, b"hello").raw == b"OK"
        assert queue.next_message(conn).body == b"hello"
        server.stop()
        assert conn.closed_within(10)
        assert not conn.link.buffer


def test_start_again_keeps_the_identity(own_server):
    """The same directories give the same server on the same port."""
    server = own_server()
    with Connection(server.address, 18) as conn:
        conn.ping()
        server.stop()
    server.start()
    with Connection(server.address, 18) as conn:
        conn.ping()


def test_init_does_not_overwrite(own_server):
    """init refuses when there is an ini, and changes nothing."""
    server = own_server()
    before = {path.name: path.read_bytes() for path in server.config.iterdir() if path.is_file()}
    done = subprocess.run([server.binary, "init", "-y", "--ip", "127.0.0.1", "--no-password"],
                          env=server.environment, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    after = {path.name: path.read_bytes() for path in server.config.iterdir() if path.is_file()}
    assert after == before
