# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages that are answered when they are acknowledged, [STORE_LOG] hold_ms: docs/adr/0023."""

import pytest
from smp import Queue
from smp.commands import ack_command, send_command
from smp.connection import Connection

HELD = {("STORE_LOG", "hold_ms"): 10000}


@pytest.fixture(name="held")
def fixture_held(own_server):
    """A server that holds messages for long."""
    return own_server(store="journal", ini=HELD)


def open_one(server):
    """A client of the newest version."""
    return Connection(server.address, version=18)


def acknowledge(conn, queue, body):
    """The next message is this one; it is acknowledged."""
    message = conn.event()
    assert queue.open(message).body == body
    answer = conn.request(ack_command(message.msg_id), queue.rcv_id, queue.rcv_key)
    assert answer.raw == b"OK"


def test_two_who_send_to_each_other(held):
    """Neither waits for the other's OK: their messages pass the answers that wait for ACKs."""
    with open_one(held) as one, open_one(held) as other:
        of_one, of_other = Queue.create(one), Queue.create(other)
        to_other = one.make(send_command(b"to the other"), of_other.snd_id)
        to_one = other.make(send_command(b"to the one"), of_one.snd_id)
        one.write([to_other])
        other.write([to_one])
        one_got, other_got = one.event(), other.event()
        assert of_one.open(one_got).body == b"to the one"
        assert of_other.open(other_got).body == b"to the other"
        assert to_other.corr_id not in one.answers and to_one.corr_id not in other.answers
        for conn, queue, got in ((one, of_one, one_got), (other, of_other, other_got)):
            acked = conn.request(ack_command(got.msg_id), queue.rcv_id, queue.rcv_key)
            assert acked.raw == b"OK"
        assert one.wait(to_other).raw == b"OK" and other.wait(to_one).raw == b"OK"


def test_nothing_waits_behind_it(held):
    """What is asked behind a SEND whose recipient does not acknowledge is answered at once."""
    with open_one(held) as sender, open_one(held) as recipient:
        queue = Queue.create(recipient)
        sent = sender.make(send_command(b"slow"), queue.snd_id)
        ping = sender.make(b"PING")
        sender.write([sent, ping])
        assert sender.wait(ping).raw == b"PONG"
        assert sent.corr_id not in sender.answers
        acknowledge(recipient, queue, b"slow")
        assert sender.wait(sent).raw == b"OK"
