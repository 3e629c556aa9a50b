# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a server that was killed must still have: kept by those who put load on it.

A queue's messages are numbered in the order in which they were sent. A message is in `messages`
from the moment it is sent until it is known to be gone, and says what was answered:

    sent, not answered          may be there
    stored: SEND answered OK,   must be there
      or it was delivered
    acked: ACK sent             may be there
    (taken out): ACK answered   must not be there

Each field is written by one thread only, and read by others under Python's own lock.
"""

import struct
from dataclasses import dataclass

from smp.queue import Queue

HEADER = struct.Struct(">QI")
BODY_MAX = 16000


class Broken(AssertionError):
    """The server lost, changed, repeated or disordered something."""


@dataclass
class Message:
    """One message on its way."""

    size: int
    stored: bool = False
    acked: bool = False


class Bodies:
    """Bodies that are told by queue and number: a header and a piece of the same random bytes."""

    def __init__(self, rng):
        self.random = rng.randbytes(2 * BODY_MAX)

    def make(self, queue, number, size):
        """The body of one message."""
        start = (queue * 31 + number * 7) % BODY_MAX
        return HEADER.pack(queue, number) + self.random[start:start + size - HEADER.size]


class Tracked:
    """A queue and what is known about it. `unsure` are operations without an answer, `skipped`
    messages without an answer that turned out not to be there, `doubtful` those whose ACK failed or
    was not answered and that a later message followed: a restart may bring them back."""

    delivered_is_stored = True

    def __init__(self, number, queue):
        self.number = number
        self.queue: Queue = queue
        self.next = 0
        self.messages = {}
        self.skipped = set()
        self.doubtful = {}
        self.key = None
        self.unsure = set()
        self.deleted = False

    def add(self, size):
        """A new message, which is about to be sent; gives its number."""
        number = self.next
        self.messages[number] = Message(size)
        self.next = number + 1
        return number

    def must_have(self, before=None):
        """Numbers of messages that must be there, of those below `before`."""
        known = list(self.messages.items())
        return [n for n, m in known
                if m.stored and not m.acked and (before is None or n < before)]

    def is_at(self, number):
        """Message `number` is the oldest: none before it may be one that must be there, and all
        before it are gone."""
        lost = self.must_have(number)
        if lost:
            raise Broken(f"queue {self.number}: message {number} before {lost[:5]}, which were "
                         "answered OK and not acknowledged")
        for old in [n for n in list(self.messages) if n < number]:
            self.forget(old)

    def forget(self, number):
        """A message that need not be there was not."""
        message = self.messages.pop(number)
        if message.acked:
            self.doubtful[number] = message
        else:
            self.skipped.add(number)

    def was_acked(self, number):
        """ACK was answered OK: the message is gone for good, and so are those before it."""
        self.messages.pop(number, None)
        for old in [n for n in self.doubtful if n < number]:
            del self.doubtful[old]

    def back_from(self, number):
        """Message `number` is there: if its ACK was doubtful, those after it may be there as well."""
        if number in self.doubtful:
            back = {n: m for n, m in self.doubtful.items() if n >= number}
            self.doubtful = {n: m for n, m in self.doubtful.items() if n < number}
            self.messages = dict(sorted((back | self.messages).items()))

    def is_settled(self):
        """All that a restart brought is known: nothing comes back from now on."""
        self.doubtful.clear()

    def was_stored(self, number):
        """SEND was answered OK. The message may have been received and acknowledged by now."""
        if number in self.skipped:
            raise Broken(f"queue {self.number}: message {number} was answered OK after a later one "
                         "was delivered in its place")
        message = self.messages.get(number)
        if message:
            message.stored = True

    def is_gone(self):
        """The queue was deleted, and that was answered or can be seen."""
        self.deleted = True
        self.unsure.discard("DEL")

    def is_there(self):
        """The queue answers: a deletion without an answer did not happen, or its messages are gone
        and it is not: they go first (docs/FORMATS.md, PURGE)."""
        if self.deleted:
            raise Broken(f"queue {self.number} came back")
        if "DEL" in self.unsure:
            for message in self.messages.values():
                message.acked = True
        self.unsure.discard("DEL")

    def is_empty(self):
        """The queue gave all that it has."""
        lost = self.must_have()
        if lost:
            raise Broken(f"queue {self.number}: {lost[:5]} are missing, which were answered OK and "
                         "not acknowledged")
        for number in list(self.messages):
            self.forget(number)

    def delivered(self, delivered, bodies):
        """Checks a message that the server gives; gives its number."""
        if delivered.body is None or len(delivered.body) < HEADER.size:
            raise Broken(f"queue {self.number}: a message that nobody sent")
        queue, number = HEADER.unpack_from(delivered.body)
        if queue != self.number or number >= self.next:
            raise Broken(f"queue {self.number}: a message that nobody sent to it")
        self.back_from(number)
        message = self.messages.get(number)
        if message is None:
            raise Broken(f"queue {self.number}: message {number} came back")
        if delivered.body != bodies.make(queue, number, message.size):
            raise Broken(f"queue {self.number}: message {number} was changed")
        self.is_at(number)
        message.stored = message.stored or self.delivered_is_stored
        return number
