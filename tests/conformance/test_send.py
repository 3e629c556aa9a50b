# SPDX-License-Identifier: AGPL-3.0-or-later
"""SEND and what the recipient gets of it: wire sections 5 and 6."""

import os
import time

import pytest
from smp import Queue, make_key
from smp.commands import send_command

LARGEST = {6: 16088, 7: 16088, 8: 16064, 9: 16064, 10: 16064}


def largest(version):
    """Largest SEND body of a version."""
    return LARGEST.get(version, 16048)


def exchange(conn, queue, body, flags=b"F"):
    """Sends, receives, acknowledges; gives the message."""
    assert queue.send(conn, body, flags).raw == b"OK"
    message = queue.next_message(conn)
    assert queue.ack(conn, message.msg_id).raw == b"OK"
    return message


def test_body_arrives_unchanged(connect, version):
    """Bodies of many sizes, arbitrary bytes, encrypted to one constant size (wire 6)."""
    conn = connect()
    queue = Queue.create(conn)
    for size in (1, 2, 100, 255, 256, 15000, largest(version)):
        body = os.urandom(size)
        assert exchange(conn, queue, body).body == body


def test_largest_body_by_version(connect, version):
    """16088 below version 8, 16064 for 8 to 10, 16048 from 11; one more is LARGE_MSG."""
    conn = connect()
    queue = Queue.create(conn)
    body = os.urandom(largest(version))
    assert exchange(conn, queue, body).body == body
    assert queue.send(conn, body + b"x").raw == b"ERR LARGE_MSG"
    assert conn.quiet(0.05)


def test_largest_body_with_longest_authorization(connect, version):
    """The largest body fits with a signature of Ed25519 and with an authenticator."""
    for kind in ("ed25519", "x25519"):
        conn = connect()
        queue = Queue.create(conn)
        assert queue.key(conn, make_key(kind)).raw == b"OK"
        body = os.urandom(largest(version))
        assert exchange(conn, queue, body).body == body


@pytest.mark.parametrize("receiver", [6, 7, 8, 11, 18])
def test_large_body_between_versions(connect, receiver):
    """The largest body of version 6 reaches recipients of every version."""
    sender, conn = connect(6), connect(receiver)
    queue = Queue.create(conn)
    body = os.urandom(16088)
    assert queue.send(sender, body).raw == b"OK"
    assert queue.next_message(conn).body == body


def test_empty_body(connect, version):
    """A SEND without body is a message of zero bytes."""
    conn = connect()
    queue = Queue.create(conn)
    assert exchange(conn, queue, b"").body == b""


@pytest.mark.parametrize("flags", [b"T", b"F"])
def test_notification_flag_is_kept(connect, version, flags):
    """The recipient sees the flag as sent (wire 6)."""
    conn = connect()
    queue = Queue.create(conn)
    assert exchange(conn, queue, b"hello", flags).flags == flags


@pytest.mark.parametrize("flags", [b"Tx", b"F1234567", b"Tabcdef", b"F" + b"x" * 200])
def test_more_flags_are_ignored(connect, flags):
    """Further characters up to the space are ignored, and not passed on (wire 5)."""
    conn = connect()
    queue = Queue.create(conn)
    message = exchange(conn, queue, b"hello", flags)
    assert (message.flags, message.body) == (flags[:1], b"hello")


@pytest.mark.parametrize("command", [
    b"SEND", b"SEND ", b"SEND T", b"SEND  body", b"SEND X body", b"SEND t body", b"SEND 1 body",
    b"SEND Tbody"])
def test_bad_flags_are_syntax_errors(connect, command):
    """Flags start with T or F and end with a space (wire 5)."""
    conn = connect()
    queue = Queue.create(conn)
    assert conn.request(command, queue.snd_id).raw == b"ERR CMD SYNTAX"


def test_body_may_hold_anything(connect):
    """Spaces, tags and padding characters in a body mean nothing."""
    conn = connect()
    queue = Queue.create(conn)
    for body in (b" ", b"  x", b"QUOTA 12345678", b"####", b"\0" * 100, b"ERR AUTH", b"T x"):
        assert exchange(conn, queue, body).body == body


def test_timestamp_is_now_in_seconds(connect, version):
    """A message carries the server's time in whole seconds (behaviour "Messages")."""
    conn = connect()
    queue = Queue.create(conn)
    before = int(time.time())
    message = exchange(conn, queue, b"hello")
    assert before - 1 <= message.timestamp <= int(time.time()) + 1


def test_message_ids_are_new(connect):
    """Each message has a random id of 24 bytes (behaviour "Messages")."""
    conn = connect()
    queue = Queue.create(conn)
    ids = {exchange(conn, queue, b"hello").msg_id for _ in range(20)}
    assert len(ids) == 20
    assert len({msg_id[:8] for msg_id in ids}) == 20


def test_send_to_unknown_queue(connect, version):
    """SEND to an unknown id answers AUTH, with and without authorization."""
    conn = connect()
    assert conn.request(send_command(b"hello"), os.urandom(24)).raw == b"ERR AUTH"
    for kind in ("ed25519", "x25519"):
        answer = conn.request(send_command(b"hello"), os.urandom(24), make_key(kind))
        assert answer.raw == b"ERR AUTH"


def test_large_body_to_unknown_queue(connect):
    """An oversized body to an unknown queue answers AUTH: nothing else is looked at before."""
    conn = connect()
    command = send_command(bytes(16049))
    assert conn.request(command, os.urandom(24)).raw == b"ERR AUTH"


def test_large_body_to_suspended_queue(connect):
    """The size is judged before the state of the queue."""
    conn = connect()
    queue = Queue.create(conn)
    assert queue.off(conn).raw == b"OK"
    assert queue.send(conn, bytes(16049)).raw == b"ERR LARGE_MSG"
    assert queue.send(conn, b"hello").raw == b"ERR AUTH"


def test_many_senders(connect):
    """Several connections send to one unsecured queue."""
    conn = connect()
    queue = Queue.create(conn, mode="C", subscribe=False)
    bodies = [os.urandom(50) for _ in range(5)]
    for body in bodies:
        assert queue.send(connect(), body).raw == b"OK"
    queue.sub(conn)
    message = queue.next_message(conn)
    found = [message.body]
    while len(found) < len(bodies):
        message = queue.open(queue.ack(conn, message.msg_id))
        found.append(message.body)
    assert found == bodies
