# SPDX-License-Identifier: AGPL-3.0-or-later
"""The client's side of private message routing: a relay reached through a proxy, and the layers of
what is forwarded (section 7 of the wire facts)."""

import os
from collections import deque
from dataclasses import dataclass

from cryptography import x509

from .commands import ack_command, parse_answer, pfwd_command, prxy_command, send_command
from .crypto import box, dh, nonce_of, public_of, unbox
from .encoding import pad, unpad
from .keys import x25519_der
from .transmissions import batch, decode, encode, signed_text, unbatch
from .transport import check_chain, read_signed_key

PADDED = 16226
RELAY_PORTS = {}  # of servers that are tested by WebSocket, by their port of that: relays come by TLS alone


def reverse(nonce):
    """The nonce of an answer."""
    return nonce[::-1]


def prxy(conn, address, *, hosts=None, password=None):
    """The transmission that asks for a relay."""
    hosts = hosts or [address.host.encode()]
    port = str(RELAY_PORTS.get(address.port, address.port)).encode()
    return conn.make(prxy_command(hosts, port, address.identity, password or address.password))


def connect_relay(conn, address, timeout=None, **options):
    """Asks the proxy for a relay; gives the Relay, or the error's Answer."""
    sent = prxy(conn, address, **options)
    conn.write([sent])
    answer = conn.wait(sent, timeout)
    return Relay.check(answer, address) if answer.tag == "PKEY" else answer


@dataclass
class Forwarded:
    """A forwarded command that waits for its answer."""

    sent: object
    secret: bytes
    version: int


class Relay:
    """A relay behind a proxy, as its PKEY presents it."""

    def __init__(self, session_id, versions, server_key):
        self.session_id, self.versions, self.server_key = session_id, versions, server_key

    @classmethod
    def check(cls, pkey, address):
        """Verifies what only the relay of this address can have signed."""
        leaf = check_chain(pkey.chain, address.identity, pkey.chain[0])
        assert leaf == x509.load_der_x509_certificate(pkey.chain[0])
        key = read_signed_key(pkey.signed_key, leaf.public_key())
        return cls(pkey.session_id, (pkey.min_version, pkey.max_version), key)

    def seal(self, conn, content, version, *, secret=None, corr_id=None):
        """PFWD with any content inside the layers."""
        private = os.urandom(32)
        secret = secret or dh(self.server_key, private)
        corr_id = os.urandom(24) if corr_id is None else corr_id
        body = box(secret, nonce_of(corr_id), pad(content, PADDED))
        command = pfwd_command(version, x25519_der(public_of(private)), body)
        return Forwarded(conn.make(command, self.session_id, None, corr_id), secret, version)

    def make(self, conn, command, entity=b"", key=None, version=None):
        """A command to be forwarded, authorized for the relay when there is a key."""
        version = version or self.versions[1]
        corr_id = os.urandom(24)
        auth = b""
        if key is not None:
            signed = signed_text(self.session_id, corr_id, entity, command)
            auth = key.authorize(self.server_key, corr_id, signed)
        data = encode(version, self.session_id, corr_id, entity, command, auth)
        return self.seal(conn, batch([data]), version, corr_id=corr_id)

    def open(self, forwarded, answer):
        """What the relay says, out of PRES; an answer of the proxy itself as it is."""
        if answer.tag != "PRES":
            return answer
        assert len(answer.body) == PADDED + 16, "what is forwarded has one length"
        nonce = reverse(nonce_of(forwarded.sent.corr_id))
        (data,) = unbatch(unpad(unbox(forwarded.secret, nonce, answer.body)))
        item = decode(forwarded.version, self.session_id, data)
        return parse_answer(forwarded.version, *item)

    def request(self, conn, command, entity=b"", key=None, version=None, timeout=None):
        """Forwards one command and gives its answer."""
        forwarded = self.make(conn, command, entity, key, version)
        conn.write([forwarded.sent])
        return self.open(forwarded, conn.wait(forwarded.sent, timeout))


def push(clients, relays, queues, count, concurrency, size=8):
    """Sends `count` numbered messages in turns to the queues, each client with its share of
    `concurrency` under way; every answer must be OK. `relays`: of each client, or None for a
    direct SEND."""
    share = max(1, concurrency // len(clients))
    under_way = [deque() for _ in clients]
    for number in range(count):
        index = number // len(queues) % len(clients)
        conn, relay, waiting = clients[index], relays[index], under_way[index]
        if len(waiting) >= share:
            finish(conn, relay, waiting.popleft())
        queue = queues[number % len(queues)]
        command = send_command(number.to_bytes(8, "big").ljust(size, b"\0"))
        if relay is None:
            waiting.append(conn.make(command, queue.snd_id, queue.snd_key))
            conn.write([waiting[-1]])
        else:
            waiting.append(relay.make(conn, command, queue.snd_id, queue.snd_key))
            conn.write([waiting[-1].sent])
    for conn, relay, waiting in zip(clients, relays, under_way):
        while waiting:
            finish(conn, relay, waiting.popleft())


def finish(conn, relay, waiting):
    """Takes one answer."""
    answer = conn.wait(waiting, 60) if relay is None else relay.open(
        waiting, conn.wait(waiting.sent, 60))
    if answer.raw != b"OK":
        raise ValueError(f"answer to SEND: {answer.raw!r}")


def drain(conn, queues, count):
    """Receives and acknowledges `count` messages of these queues, some of which have events
    waiting at `conn`; gives the numbers for each queue, in their order."""
    numbers = {queue.rcv_id: [] for queue in queues}
    by_id = {queue.rcv_id: queue for queue in queues}
    acks, left = deque(), count

    def take(answer):
        queue = by_id[answer.entity]
        message = queue.open(answer)
        numbers[queue.rcv_id].append(int.from_bytes(message.body[:8], "big"))
        return conn.make(ack_command(message.msg_id), queue.rcv_id, queue.rcv_key)
    while left:
        while not acks or conn.events:
            made = [take(conn.event(30))]
            conn.write(made)
            acks += made
            left -= 1
        answer = conn.wait(acks.popleft(), 30)
        if answer.tag == "MSG":
            acks.append(take(answer))
            conn.write([acks[-1]])
            left -= 1
    return [numbers[queue.rcv_id] for queue in queues]
