# SPDX-License-Identifier: AGPL-3.0-or-later
"""A client of TLS 1.3 that says what a TLS library would not: records of any size, key updates in
numbers, messages in the wrong place. X25519 and ChaCha20-Poly1305, certificates unchecked."""

import hashlib
import hmac
import os
import socket

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from .crypto import BLOCK_SIZE, dh, public_of
from .encoding import Reader
from .rawtls import ALERT, HANDSHAKE, extension, read_record, sized
from .transport import TIMEOUT, Closed

CHANGE_CIPHER_SPEC, APPLICATION_DATA, HEARTBEAT = 20, 23, 24
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, CERTIFICATE_REQUEST, FINISHED, KEY_UPDATE = (
    1, 2, 11, 13, 20, 24)
RECORD_MAX = 16384
SUITE = b"\x13\x03"


def message(kind, body):
    """A handshake message."""
    return bytes((kind,)) + sized(body, 3)


def plain_record(kind, payload, version=b"\x03\x03"):
    """A record without encryption."""
    return bytes((kind,)) + version + sized(payload, 2)


def hello_extensions(public, alpn=(b"smp/1",), groups=b"\0\x1d"):
    """What a hello has to have, by number."""
    share = groups[:2] + sized(public, 2)
    return [(10, sized(groups, 2)), (13, sized(b"\x08\x07\x08\x08", 2)),
            (16, sized(b"".join(sized(name, 1) for name in alpn), 2)), (43, b"\x02\x03\x04"),
            (51, sized(share, 2))]


def client_hello(extensions, suites=SUITE, session_id=b""):
    """A ClientHello message."""
    body = (b"\x03\x03" + os.urandom(32) + sized(session_id, 1) + sized(suites, 2) + b"\x01\0"
            + sized(b"".join(extension(kind, content) for kind, content in extensions), 2))
    return message(CLIENT_HELLO, body)


def expand(secret, label, context=b"", size=32):
    """HKDF-Expand-Label, for at most 32 bytes."""
    info = size.to_bytes(2, "big") + sized(b"tls13 " + label, 1) + sized(context, 1)
    return hmac.digest(secret, info + b"\x01", "sha256")[:size]


class Keys:
    """One direction of a connection."""

    def __init__(self, secret):
        self.secret = secret
        self.aead = ChaCha20Poly1305(expand(secret, b"key"))
        self.start = int.from_bytes(expand(secret, b"iv", size=12), "big")
        self.count = 0

    def nonce(self):
        """That of the next record."""
        self.count += 1
        return (self.start ^ (self.count - 1)).to_bytes(12, "big")

    def seal(self, kind, payload, padding=0):
        """A record."""
        inner = payload + bytes((kind,)) + bytes(padding)
        head = bytes((APPLICATION_DATA,)) + b"\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        return head + self.aead.encrypt(self.nonce(), inner, head)

    def open(self, sealed):
        """(content type, payload)."""
        head = bytes((APPLICATION_DATA,)) + b"\x03\x03" + len(sealed).to_bytes(2, "big")
        try:
            inner = self.aead.decrypt(self.nonce(), sealed, head).rstrip(b"\0")
        except InvalidTag as error:
            raise Closed("a record with the wrong key") from error
        return inner[-1], inner[:-1]

    def next(self):
        """After a key update."""
        return Keys(expand(self.secret, b"traffic upd"))


class RawTls:
    """A connection without TLS yet; after shake_hands() it can stand in the place of a Link."""

    def __init__(self, address, timeout=TIMEOUT):
        self.address, self.timeout = address, timeout
        self.buffer, self.messages = bytearray(), bytearray()
        self.heard = hashlib.sha256()
        self.reading = self.writing = None
        self.certificate = self.finished = None
        self.sock = socket.create_connection((address.host, address.port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Without goodbye."""
        self.sock.close()

    def send_message(self, whole, size=RECORD_MAX):
        """A handshake message of any kind, without encryption, in records of this size."""
        self.send(b"".join(plain_record(HANDSHAKE, whole[at:at + size])
                           for at in range(0, len(whole), size)))

    def shake_hands(self, *, extra=(), last=(), suites=SUITE, size=RECORD_MAX,
                    certificates=(), early=b""):
        """The whole handshake. `extra`, `last`: more extensions; `size`: of the records of the hello;
        `certificates`: shown, without proof; `early`: records right behind the hello."""
        private = os.urandom(32)
        hello = client_hello([*extra, *hello_extensions(public_of(private)), *last],
                             suites)
        self.heard.update(hello)
        self.send_message(hello, size)
        self.send(early)
        base = self.derive(hmac.digest(bytes(32), bytes(32), "sha256"), b"derived", b"")
        shared = dh(self.server_share(), private)
        secret = hmac.digest(base, shared, "sha256")
        client, server = (self.derive(secret, label) for label in (b"c hs traffic",
                                                                   b"s hs traffic"))
        self.reading, self.writing = Keys(server), Keys(client)
        context = self.server_flight()
        master = hmac.digest(self.derive(secret, b"derived", b""), bytes(32), "sha256")
        self.reading = Keys(self.derive(master, b"s ap traffic"))
        application = Keys(self.derive(master, b"c ap traffic"))
        flight = b""
        if context is not None:
            entries = b"".join(sized(der, 3) + sized(b"", 2) for der in certificates)
            flight = message(CERTIFICATE, sized(context, 1) + sized(entries, 3))
            self.heard.update(flight)
        self.finished = hmac.digest(expand(client, b"finished"), self.heard.digest(), "sha256")
        flight += message(FINISHED, self.finished)
        for at in range(0, len(flight), RECORD_MAX):
            self.send(self.writing.seal(HANDSHAKE, flight[at:at + RECORD_MAX]))
        self.writing = application
        return self

    def derive(self, secret, label, heard=None):
        """Derive-Secret."""
        digest = self.heard.digest() if heard is None else hashlib.sha256(heard).digest()
        return expand(secret, label, digest)

    def server_share(self):
        """The server's public key, out of its hello."""
        kind, body = self.next_message()
        if kind != SERVER_HELLO:
            raise Closed(f"message {kind} in place of a hello")
        reader = Reader(body)
        reader.take(2 + 32)
        reader.short()
        reader.take(3)
        found = Reader(reader.large())
        while found.left():
            number, content = found.word16(), found.large()
            if number == 51:
                return content[4:]
        raise Closed("a hello without a key")

    def server_flight(self):
        """Until its Finished; gives the context of its request for certificates, or None."""
        context = None
        while True:
            kind, body = self.next_message()
            if kind == CERTIFICATE_REQUEST:
                context = Reader(body).short()
            elif kind == CERTIFICATE:
                reader = Reader(body)
                reader.short()
                reader.take(3)
                self.certificate = reader.take(int.from_bytes(reader.take(3), "big"))
            elif kind == FINISHED:
                return context

    def next_message(self):
        """(type, body) of a handshake message, which is taken into the transcript."""
        while len(self.messages) < 4 or len(self.messages) < self.message_size():
            kind, payload = self.read()
            if kind == HANDSHAKE:
                self.messages += payload
            elif kind != CHANGE_CIPHER_SPEC:
                raise Closed(f"record {kind}: {payload[:10].hex()}")
        size = self.message_size()
        whole = bytes(self.messages[:size])
        del self.messages[:size]
        self.heard.update(whole)
        return whole[0], whole[4:]

    def message_size(self):
        """That of the message at the front."""
        return 4 + int.from_bytes(self.messages[1:4], "big")

    def send(self, data):
        """Bytes onto the socket."""
        self.sock.settimeout(self.timeout)
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionError) as error:
            raise Closed(str(error)) from error

    def read(self, timeout=None):
        """(content type, payload) of the next record; Closed at the end of the stream."""
        self.sock.settimeout(timeout or self.timeout)
        try:
            record = read_record(self.sock)
        except ConnectionError as error:
            raise Closed(str(error)) from error
        if record is None:
            raise Closed("end of stream")
        if record[0] != APPLICATION_DATA or self.reading is None:
            return record
        return self.reading.open(record[1])

    # ---- as a Link ----

    def write(self, data, size=RECORD_MAX, padding=0):
        """Data in records of this size."""
        self.send(b"".join(self.writing.seal(APPLICATION_DATA, data[at:at + size], padding)
                           for at in range(0, len(data), size)))

    def read_block(self, timeout=None):
        """The next 16384 bytes."""
        while len(self.buffer) < BLOCK_SIZE:
            kind, payload = self.read(timeout)
            if kind == APPLICATION_DATA:
                self.buffer += payload
            elif kind == ALERT:
                raise Closed(f"alert {payload[1]}")
            elif payload[0] == KEY_UPDATE:
                self.reading = self.reading.next()
        block = bytes(self.buffer[:BLOCK_SIZE])
        del self.buffer[:BLOCK_SIZE]
        return block

    def ask_key_update(self, answer=True):
        """A KeyUpdate that asks for one, or not, as a record."""
        record = self.writing.seal(HANDSHAKE, message(KEY_UPDATE, bytes((answer,))))
        self.writing = self.writing.next()
        return record

    def end(self, timeout=TIMEOUT):
        """The number of the alert that the server ends with; None: it ends without one."""
        try:
            while True:
                kind, payload = self.read(timeout)
                if kind == ALERT:
                    return payload[1]
        except Closed:
            return None

    def leaf(self):
        """DER of the server's leaf certificate."""
        return self.certificate

    def tls_unique(self):
        """The client's Finished."""
        return self.finished
