# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clients that keep a server busy until it dies; what it answered goes into the model."""

import threading
import time

from model import BODY_MAX, HEADER, Broken, Tracked
from smp import Connection, Queue, X25519Key
from smp.commands import ack_command, send_command

VERSION = 18
BACKLOG_MAX = 110  # the quota is 128
WINDOWS = (1, 4, 16, 48)


class Client(threading.Thread):
    """A connection and what it does until the server is gone. An error before that is `error`."""

    def __init__(self, world, rng):
        super().__init__(daemon=True)
        self.world, self.rng = world, rng
        self.error = None
        self.conn = Connection(world.address, VERSION)

    def run(self):
        """The thread."""
        try:
            while not self.world.ended.is_set():
                self.step()
        except (OSError, EOFError) as error:
            if not self.world.ended.is_set():
                self.error = f"{type(self).__name__}: {type(error).__name__}: {error}"
        except Exception as error:  # whatever it is, the round has to fail
            self.error = f"{type(self).__name__}: {type(error).__name__}: {error}"
        finally:
            self.conn.close()

    def step(self):
        """A piece of work."""
        raise NotImplementedError


class Sender(Client):
    """Sends to its queues, a window of messages ahead of the answers."""

    def __init__(self, world, rng, queues):
        super().__init__(world, rng)
        self.queues = queues
        self.window = rng.choice(WINDOWS)
        self.flight = {}

    def pick(self):
        """A queue that has room, or None."""
        tracked = self.rng.choice(self.queues)
        if len(tracked.messages) < BACKLOG_MAX and not tracked.deleted:
            return tracked
        return None

    def make(self, tracked):
        """The next SEND to a queue."""
        small = self.rng.random() < 0.5
        size = self.rng.randint(HEADER.size, 200 if small else BODY_MAX)
        number = tracked.add(size)
        body = self.world.bodies.make(tracked.number, number, size)
        sent = self.conn.make(send_command(body), tracked.queue.snd_id, tracked.key)
        self.flight[sent.corr_id] = tracked, number
        return sent

    def step(self):
        """Fills the window and takes answers."""
        out = []
        for _ in range(self.window - len(self.flight)):
            tracked = self.pick()
            if tracked:
                out.append(self.make(tracked))
        if out:
            self.conn.write(out)
        if not self.flight:
            time.sleep(0.002)
            return
        for answer in self.conn.read():
            self.take(answer)

    def take(self, answer):
        """The answer to a SEND."""
        tracked, number = self.flight.pop(answer.corr_id)
        if answer.raw == b"OK":
            tracked.was_stored(number)
            self.world.count("sent")
        elif answer.raw == b"ERR AUTH" and (tracked.deleted or "DEL" in tracked.unsure):
            tracked.messages.pop(number, None)
        else:
            raise Broken(f"queue {tracked.number}: answer to SEND: {answer.raw[:60]!r}")


class Receiver(Client):
    """Subscribes to queues; acknowledges in some of them, and deletes one now and then."""

    def __init__(self, world, rng, queues):
        super().__init__(world, rng)
        self.queues = {tracked.queue.rcv_id: tracked for tracked in queues}
        self.acking = {tracked for tracked in queues if rng.random() < 0.6}
        self.acks = {}
        self.out = [self.command(tracked, b"SUB") for tracked in queues]
        self.doomed = rng.choice(queues) if rng.random() < 0.2 else None
        self.lifetime = time.monotonic() + rng.random() * 0.3

    def command(self, tracked, text):
        """A command of the recipient."""
        return self.conn.make(text, tracked.queue.rcv_id, tracked.queue.rcv_key)

    def step(self):
        """Writes what has collected, takes a block."""
        if self.doomed and time.monotonic() > self.lifetime:
            self.doomed.unsure.add("DEL")
            self.out.append(self.command(self.doomed, b"DEL"))
            self.doomed = None
        if self.out:
            self.conn.write(self.out)
            self.out = []
        try:
            answers = self.conn.read(0.05)
        except TimeoutError:
            return
        for answer in answers:
            self.take(answer)

    def take(self, answer):
        """Messages, and what was answered to SUB, ACK and DEL."""
        tracked = self.queues[answer.entity]
        number = self.acks.pop(answer.corr_id, None)
        if number is not None and answer.tag in ("OK", "MSG"):
            tracked.was_acked(number)
            self.world.count("acked")
        if answer.tag == "MSG":
            self.message(tracked, answer)
        elif answer.raw == b"OK" and number is None and "DEL" in tracked.unsure:
            tracked.is_gone()
            self.world.count("deleted")
        elif answer.tag not in ("OK", "SOK"):
            what = "SUB or DEL" if number is None else f"ACK of {number}"
            raise Broken(f"queue {tracked.number}: answer to {what}: {answer.raw[:60]!r}")

    def message(self, tracked, answer):
        """A message, which is checked and in some queues acknowledged."""
        number = tracked.delivered(tracked.queue.open(answer), self.world.bodies)
        if tracked not in self.acking or "DEL" in tracked.unsure:
            return
        tracked.messages[number].acked = True
        sent = self.command(tracked, ack_command(answer.msg_id))
        self.acks[sent.corr_id] = number
        self.out.append(sent)


class Owner(Client):
    """Makes queues, secures them by KEY and SKEY, deletes them."""

    def step(self):
        """One operation."""
        live = [t for t in self.world.extra if not t.deleted]
        action = self.rng.choice((self.create, self.secure, self.secure, self.delete))
        if not live or (action == self.create and len(live) < 100):
            self.create(None)
        else:
            action(self.rng.choice(live))

    def create(self, _):
        """NEW. Without an answer nobody knows the queue."""
        mode = self.rng.choice("MC")
        tracked = self.world.track(Queue.create(self.conn, mode=mode, subscribe=False))
        self.world.extra.append(tracked)
        self.world.count("created")

    def secure(self, tracked):
        """KEY or SKEY."""
        if tracked.key is not None:
            return
        tracked.key = X25519Key()
        tracked.unsure.add("KEY")
        queue = tracked.queue
        by_sender = queue.mode == "M" and self.rng.random() < 0.5
        answer = (queue.skey if by_sender else queue.key)(self.conn, tracked.key)
        if answer.raw != b"OK":
            raise Broken(f"queue {tracked.number}: answer to KEY: {answer.raw[:60]!r}")
        tracked.unsure.discard("KEY")
        self.world.count("secured")

    def delete(self, tracked):
        """DEL."""
        tracked.unsure.add("DEL")
        answer = tracked.queue.delete(self.conn)
        if answer.raw != b"OK":
            raise Broken(f"queue {tracked.number}: answer to DEL: {answer.raw[:60]!r}")
        tracked.is_gone()
        self.world.count("deleted")
