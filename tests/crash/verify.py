# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a server that was started again still has, against the model."""

import json

from load import VERSION
from model import Broken
from smp import Connection, X25519Key
from smp.commands import ack_command, key_command

OLD_DELETED = 10  # deleted queues that are looked for again


class Verifier:
    """One connection that looks at all queues; `drained` are read empty."""

    def __init__(self, world, drained):
        self.world, self.drained = world, drained
        self.conn = Connection(world.address, VERSION)
        self.out = []
        self.waiting = {}
        self.begun = set()    # queues that gave their oldest message
        self.awaited = set()  # queues that have to

    def ask(self, tracked, command, check):
        """A command of the recipient, and what takes its answer."""
        sent = self.conn.make(command, tracked.queue.rcv_id, tracked.queue.rcv_key)
        self.waiting[sent.corr_id] = tracked, check
        self.out.append(sent)

    def finish(self):
        """Until all is answered, the commands that follow from answers too."""
        while self.waiting or self.awaited:
            if self.out:
                self.conn.write(self.out)
                self.out = []
            for answer in self.conn.read():
                if answer.corr_id:
                    tracked, check = self.waiting.pop(answer.corr_id)
                    check(tracked, answer)
                else:
                    self.oldest(answer)

    def run(self, main, extra, deleted):
        """The whole."""
        with self.conn:
            self.main = {tracked.queue.rcv_id: tracked for tracked in main}
            for tracked in main:
                self.ask(tracked, b"SUB", self.subscribed)
            for tracked in extra:
                self.ask(tracked, b"QUE", self.exists)
            for tracked in deleted:
                self.ask(tracked, b"SUB", self.no_queue)
            self.finish()
            for tracked in main:
                if not tracked.deleted:
                    self.ask(tracked, b"QUE", self.size)
            self.finish()

    # what takes answers

    def no_queue(self, tracked, answer):
        """Of a deleted queue."""
        if answer.raw != b"ERR AUTH":
            raise Broken(f"queue {tracked.number} was deleted: {answer.raw[:60]!r}")

    def is_absent(self, tracked, answer):
        """Whether the queue is not there, which must then be because of a DEL without an answer."""
        if answer.raw != b"ERR AUTH":
            tracked.is_there()
            return False
        if "DEL" not in tracked.unsure:
            raise Broken(f"queue {tracked.number} is lost")
        tracked.is_gone()
        return True

    def subscribed(self, tracked, answer):
        """Of SUB. The oldest message, if there is one, follows by itself."""
        if not self.is_absent(tracked, answer):
            self.ask(tracked, b"QUE", self.first_size)

    def first_size(self, tracked, answer):
        """Of QUE: is there an oldest message?"""
        if tracked in self.begun:
            return
        if json.loads(answer.text)["qiSize"] == 0:
            tracked.is_empty()
        else:
            self.awaited.add(tracked)

    def oldest(self, answer):
        """What the server sends of itself: the first message of a queue."""
        tracked = self.main.get(answer.entity)
        if tracked is None or tracked in self.begun:
            raise Broken(f"the server sent {answer.raw[:60]!r} of itself")
        self.begun.add(tracked)
        self.awaited.discard(tracked)
        self.message(tracked, answer)

    def message(self, tracked, answer):
        """The oldest message, or none."""
        if answer.tag == "OK":
            tracked.is_empty()
        elif answer.tag == "MSG":
            number = tracked.delivered(tracked.queue.open(answer), self.world.bodies)
            if tracked in self.drained:
                self.ask(tracked, ack_command(answer.msg_id),
                         lambda t, a: self.acknowledged(t, a, number))
        else:
            raise Broken(f"queue {tracked.number}: {answer.raw[:60]!r}")

    def acknowledged(self, tracked, answer, number):
        """Of ACK: the next message."""
        tracked.was_acked(number)
        self.world.count("verified")
        self.message(tracked, answer)

    def size(self, tracked, answer):
        """Of QUE: as many messages as there may be."""
        found = json.loads(answer.text)["qiSize"]
        least, most = len(tracked.must_have()), len(tracked.messages)
        if not least <= found <= most:
            raise Broken(f"queue {tracked.number} has {found} messages, not {least} to {most}")

    def exists(self, tracked, answer):
        """Of QUE, for a queue without messages: then its key is looked at."""
        if self.is_absent(tracked, answer) or tracked.key is None:
            return
        if "KEY" not in tracked.unsure:
            self.ask(tracked, key_command("KEY", X25519Key().der), self.other_key)
        self.ask(tracked, key_command("KEY", tracked.key.der), self.same_key)

    def other_key(self, tracked, answer):
        """Of KEY with another key than the one that was answered OK."""
        if answer.raw != b"ERR AUTH":
            raise Broken(f"queue {tracked.number} lost its key: {answer.raw[:60]!r}")

    def same_key(self, tracked, answer):
        """Of KEY again."""
        if answer.raw != b"OK":
            raise Broken(f"queue {tracked.number} has another key: {answer.raw[:60]!r}")
        tracked.unsure.discard("KEY")
