# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one client sends does not make another one wait. Compared is the order in which one loop
answers, not time, so that a busy machine does no harm."""

import os
import select
import time

import pytest
from smp import Queue, make_key
from smp.commands import rkey_command
from smp.transmissions import batch, split

PINGS = 3  # few: on a busy machine each of them waits for this process
REFUSED_MAX, FORGIVEN_PER_S = 10000, 100


@pytest.fixture
def one_loop(own_server):
    """A server whose clients share a thread."""
    return own_server({("TRANSPORT", "threads"): 1})


def write(conn, sent):
    """Sends the first block of these, and returns how many it took."""
    part = split(sent)[0]
    conn.write_content(batch([item.data for item in part]))
    return len(part)


def test_a_queue_with_many_keys(one_loop, connect):
    """A block of 90 refusals by 32 Ed448 keys costs most of a second, during which others are
    answered."""
    flooder, other = connect(to=one_loop.address), connect(to=one_loop.address)
    queue = Queue.create(flooder, mode="C", subscribe=False)
    keys = [make_key("ed448") for _ in range(32)]
    assert queue.recipient(flooder, rkey_command([key.der for key in keys])).raw == b"OK"
    stranger = make_key("ed448")
    other.ping()
    write(flooder, [flooder.make(b"SUB", queue.rcv_id, stranger) for _ in range(120)])
    for _ in range(PINGS):
        other.ping()
    assert not select.select([flooder.link.tls], [], [], 0)[0]
    assert {answer.raw for answer in flooder.read()} == {b"ERR AUTH"}


def test_refusals_are_slowed(one_loop, connect):
    """Who is refused more than any app could be waits until some are forgiven."""
    conn, n = connect(to=one_loop.address), 0
    key = make_key("ed25519")
    begin = time.monotonic()
    while n < REFUSED_MAX + 4 * FORGIVEN_PER_S:
        n += write(conn, [conn.make(b"SUB", os.urandom(24), key) for _ in range(140)])
        assert {answer.raw for answer in conn.read()} == {b"ERR AUTH"}
    assert time.monotonic() - begin > 3
    assert conn.request(b"PING").raw == b"PONG"
