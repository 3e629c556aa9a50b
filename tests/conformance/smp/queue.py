# SPDX-License-Identifier: AGPL-3.0-or-later
"""A queue with all its keys, and the commands of its recipient and its sender."""

import os
from dataclasses import dataclass

from .commands import (ack_command, key_command, lset_command, new_command, rkey_command,
                       send_command)
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
    def create(cls, conn, *, mode="M", subscribe=True, key="ed25519", link=None):
        """NEW. `link` is (fixed, user) data for a messaging queue, (linkId, fixed, user) for a
        contact queue; the sender ID is then made from the corrId."""
        rcv_key, dh_private, corr_id = make_key(key), os.urandom(32), os.urandom(24)
        if link is not None:
            sender = client_sender_id(corr_id)
            link = (sender, *link) if mode == "M" else (link[0], sender, *link[1:])
        command = new_command(conn.version, rcv_key.der, x25519_der(public_of(dh_private)),
                              password=conn.address.password, subscribe=subscribe, mode=mode,
                              link=link)
        ids = conn.request(command, b"", rcv_key, corr_id)
        if ids.tag != "IDS":
            raise ValueError(f"answer to NEW: {ids.raw!r}")
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
