# SPDX-License-Identifier: AGPL-3.0-or-later
"""The model of the crash and torture tests: what a restart may bring back, and what not."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "crash"))

from model import Bodies, Broken, Tracked  # noqa: E402
from random import Random  # noqa: E402

BODIES = Bodies(Random(1))


class Delivered:
    """What a connection makes of MSG."""

    def __init__(self, number):
        self.body = BODIES.make(0, number, 64)


@pytest.fixture
def tracked():
    """Queue 0 with three stored messages, of which the first was delivered and its ACK sent."""
    queue = Tracked(0, None)
    for number in range(3):
        queue.add(64)
        queue.was_stored(number)
    queue.delivered(Delivered(0), BODIES)
    queue.messages[0].acked = True
    return queue


def test_an_ack_that_failed_may_come_back(tracked):
    """The group of the ACK is lost, but the next message was delivered: all that is possible is one
    of both, after a restart."""
    tracked.delivered(Delivered(1), BODIES)
    tracked.messages[1].acked = True
    tracked.delivered(Delivered(2), BODIES)
    assert list(tracked.doubtful) == [0, 1]
    assert tracked.delivered(Delivered(0), BODIES) == 0
    assert list(tracked.messages) == [0, 1, 2] and tracked.must_have() == [2]


def test_a_later_ack_settles_the_doubt(tracked):
    """What is committed after it cannot be there without it."""
    tracked.delivered(Delivered(1), BODIES)
    tracked.was_acked(1)
    with pytest.raises(Broken, match="message 0 came back"):
        tracked.delivered(Delivered(0), BODIES)


def test_a_restart_settles_the_doubt(tracked):
    """The next message was the oldest after it."""
    tracked.delivered(Delivered(1), BODIES)
    tracked.is_settled()
    with pytest.raises(Broken, match="message 0 came back"):
        tracked.delivered(Delivered(0), BODIES)


def test_an_acknowledged_message_does_not_come_back(tracked):
    """ACK was answered OK."""
    tracked.was_acked(0)
    with pytest.raises(Broken, match="message 0 came back"):
        tracked.delivered(Delivered(0), BODIES)


def test_a_stored_message_is_missed(tracked):
    """SEND was answered OK, and a later one is delivered in its place."""
    tracked.was_acked(0)
    with pytest.raises(Broken, match="answered OK and not acknowledged"):
        tracked.delivered(Delivered(2), BODIES)
