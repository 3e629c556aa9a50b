# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the server prints and writes about its clients: nothing (behaviour "Connections")."""

import base64
import os

import pytest
from smp import Queue, make_key
from smp.commands import send_command
from smp.connection import Connection
from smp.transport import Closed

SOURCE = "127.0.0.77"
BODY = b"the quick brown fox jumps over the lazy dog"


def spellings(secret):
    """A secret as bytes, in base64, base64url and hex, without padding."""
    yield secret
    yield base64.b64encode(secret).rstrip(b"=")
    yield base64.urlsafe_b64encode(secret).rstrip(b"=")
    yield secret.hex().encode()
    yield secret.hex().upper().encode()


def exercise(address):
    """Good and bad commands of a client; gives all that must stay unsaid."""
    with Connection(address, 18, source=SOURCE) as conn, \
            Connection(address, 18, source=SOURCE) as other:
        queue = Queue.create(conn, mode="M", link=(b"fixed " + BODY, b"user " + BODY))
        key = make_key("x25519")
        queue.skey(conn, key)
        queue.send(conn, BODY, b"T")
        message = queue.next_message(conn)
        queue.sub(other)
        conn.event(20)
        queue.ack(conn, message.msg_id)
        for command in (b"SUB x", b"HELLO", b"KEY " + BODY, b"QUE"):
            conn.request(command, queue.rcv_id, make_key("ed25519"))
        conn.request(send_command(bytes(16049)), queue.snd_id, key)
        unknown = os.urandom(24)
        conn.request(b"SUB", unknown, queue.rcv_key)
        conn.write_content(os.urandom(100))
        conn.event()
        queue.delete(conn)
        other.event(20)
        break_block(conn)
        return [queue.rcv_id, queue.snd_id, queue.ids.link_id, message.msg_id, unknown, BODY,
                key.public, queue.rcv_key.der[12:], queue.secret, queue.ids.server_dh,
                conn.session.session_id, conn.session.server_key, SOURCE.encode()]


def break_block(conn):
    """A block that cannot be opened, and what comes of it."""
    conn.link.write(os.urandom(16384))
    try:
        conn.event(5)
    except (Closed, TimeoutError):
        pass


def printed(server):
    """Everything that the server printed."""
    return ["".join(server.stdout).encode(), "".join(server.stderr).encode()]


def written(server):
    """All its files but those in which queues and messages are kept."""
    kept = {"smp-server-store.log", "journal"}
    return [path.read_bytes() for path in server.state.rglob("*")
            if path.is_file() and not kept & {path.name, path.parent.name}]


@pytest.mark.parametrize("store", ["off", "journal"])
def test_nothing_is_said_about_clients(own_server, store):
    """No id, key, address or content appears in what the server prints or writes."""
    server = own_server(store=store)
    secrets = exercise(server.address)
    server.stop()
    for text in printed(server) + written(server):
        for secret in secrets:
            for spelling in spellings(secret):
                assert spelling not in text, (spelling, text[-2000:])
