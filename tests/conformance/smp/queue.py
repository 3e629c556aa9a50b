# SPDX-License-Identifier: AGPL-3.0-or-later
"""A queue with all its keys, and the commands of its recipient and its sender."""

import os
from dataclasses import dataclass

from .commands import (ack_command, key_command, lset_command, new_command, nkey_command,
                       rkey_command, send_command)
from .crypto import MESSAGE_SIZE, TAG_SIZE, client_sender_id, dh, public_of, unbox
from .encoding import Reader, unpad
from .keys import make_key, x25519_der

QUOTA = b"QUOTA "


@dataclass
class Delivered:
    """A decrypted MSG; `body` is None for the quota marker."""

    msg_id: bytes
    timestamp: int
    flags: bytes
    body: bytes


class Queue:
    """One queue as its recipient and its sender know it together."""

    def __init__(self, ids, rcv_key, dh_private, mode):
        self.rcv_id = ids.rcv_id
        self.snd_id = ids.snd_id
        self.ids = ids
        self.mode = mode
        self.rcv_key = rcv_key
        self.snd_key = None
        self.secret = dh(ids.server_dh, dh_private)

    @classmethod
    def create(cls, conn, *, mode="M", subscribe=True, key="ed25519", link=None, notifier=None):
        """NEW. `link` is (fixed, user) data for a messaging queue, (linkId, fixed, user) for a
        contact queue; the sender ID is then made from the corrId. `notifier` is a Notifier whose
        credentials are given (version 17)."""
        rcv_key, dh_private, corr_id = make_key(key), os.urandom(32), os.urandom(24)
        if link is not None:
            sender = client_sender_id(corr_id)
            link = (sender, *link) if mode == "M" else (link[0], sender, *link[1:])
        command = new_command(conn.version, rcv_key.der, x25519_der(public_of(dh_private)),
                              password=conn.address.password, subscribe=subscribe, mode=mode,
                              link=link, notifier=notifier and notifier.credentials())
        ids = conn.request(command, b"", rcv_key, corr_id)
        if ids.tag != "IDS":
            raise ValueError(f"answer to NEW: {ids.raw!r}")
        if notifier is not None:
            notifier.accept(*ids.notifier)
        return cls(ids, rcv_key, dh_private, mode)

    def recipient(self, conn, command):
        """A command of the recipient."""
        return conn.request(command, self.rcv_id, self.rcv_key)

    def sender(self, conn, command):
        """A command of the sender."""
        return conn.request(command, self.snd_id, self.snd_key)

    def key(self, conn, snd_key):
        """KEY: the recipient secures the queue."""
        self.snd_key = snd_key
        return self.recipient(conn, key_command("KEY", snd_key.der))

    def skey(self, conn, snd_key):
        """SKEY: the sender secures the queue."""
        self.snd_key = snd_key
        return self.sender(conn, key_command("SKEY", snd_key.der))

    def rkey(self, conn, *keys):
        """RKEY."""
        return self.recipient(conn, rkey_command([key.der for key in keys]))

    def lset(self, conn, link_id, fixed, user):
        """LSET."""
        return self.recipient(conn, lset_command(link_id, fixed, user))

    def send(self, conn, body, flags=b"F"):
        """SEND, authorized when the queue was secured here."""
        return self.sender(conn, send_command(body, flags))

    def sub(self, conn):
        """SUB."""
        return self.recipient(conn, b"SUB")

    def get(self, conn):
        """GET."""
        return self.recipient(conn, b"GET")

    def ack(self, conn, msg_id):
        """ACK."""
        return self.recipient(conn, ack_command(msg_id))

    def off(self, conn):
        """OFF."""
        return self.recipient(conn, b"OFF")

    def delete(self, conn):
        """DEL."""
        return self.recipient(conn, b"DEL")

    def open(self, answer):
        """Decrypts a MSG of this queue, checking its constant size."""
        if answer.tag != "MSG" or answer.entity != self.rcv_id:
            raise ValueError(f"not a message of this queue: {answer.raw[:60]!r}")
        if len(answer.body) != MESSAGE_SIZE + TAG_SIZE:
            raise ValueError(f"encrypted message of {len(answer.body)} bytes")
        if len(answer.msg_id) != 24:
            raise ValueError("a message id has 24 bytes")
        return read_message(answer.msg_id, unbox(self.secret, answer.msg_id, answer.body))

    def next_message(self, conn, timeout=None):
        """The next message that the server sends of itself, which must be of this queue."""
        return self.open(conn.event(timeout))


class Notifier:
    """The credentials by which another client is notified of a queue's messages."""

    def __init__(self, key="ed25519"):
        self.key = make_key(key)
        self.dh_private = os.urandom(32)
        self.notifier_id = self.secret = None

    @classmethod
    def of(cls, conn, queue):
        """NKEY for this queue."""
        notifier = cls()
        answer = queue.recipient(conn, nkey_command(*notifier.credentials()))
        if answer.tag != "NID" or answer.entity != queue.rcv_id:
            raise ValueError(f"answer to NKEY: {answer.raw!r}")
        notifier.accept(answer.notifier_id, answer.server_dh)
        return notifier

    def credentials(self):
        """(key, dh key) as they are sent."""
        return self.key.der, x25519_der(public_of(self.dh_private))

    def accept(self, notifier_id, server_dh):
        """What the server answered."""
        self.notifier_id = notifier_id
        self.secret = dh(server_dh, self.dh_private)

    def sub(self, conn):
        """NSUB."""
        return conn.request(b"NSUB", self.notifier_id, self.key)

    def open(self, answer):
        """(msgId, timestamp) of an NMSG of this notifier, checking its constant size."""
        if answer.tag != "NMSG" or answer.entity != self.notifier_id:
            raise ValueError(f"not a notification of this queue: {answer.raw[:60]!r}")
        if len(answer.meta) != 128 + TAG_SIZE:
            raise ValueError(f"encrypted metadata of {len(answer.meta)} bytes")
        reader = Reader(unpad(unbox(self.secret, answer.nonce, answer.meta)))
        out = reader.short(), reader.int64()
        reader.end()
        return out


def read_message(msg_id, padded):
    """Content of a message: timestamp, flags, space, body; or the quota marker."""
    content = unpad(padded)
    if content.startswith(QUOTA):
        reader = Reader(content[len(QUOTA):])
        timestamp = reader.int64()
        reader.end()
        return Delivered(msg_id, timestamp, b"", None)
    reader = Reader(content)
    timestamp = reader.int64()
    flags, body = reader.tail().split(b" ", 1)
    return Delivered(msg_id, timestamp, flags, body)
