# SPDX-License-Identifier: AGPL-3.0-or-later
"""A relay that follows a script: TLS, handshake and RFWD as they should be, or wrong at any step."""

import datetime
import hashlib
import os
import socket
import ssl
import tempfile
import threading

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from .crypto import BLOCK_SIZE, box, dh, public_of, unbox
from .encoding import Reader, items, large, pad, short, unpad, word16
from .keys import x25519_der
from .proxied import reverse
from .transmissions import batch, unbatch
from .transport import ALPN, Address

ED25519_ALGORITHM = bytes.fromhex("300506032b6570")
DAY = datetime.timedelta(days=1)


def name(text):
    """A subject."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Identity:
    """CA and leaf certificates; `leaf_days` is how long the leaf is valid from yesterday on."""

    def __init__(self, leaf_days=100):
        self.ca_key, self.key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        start = datetime.datetime.now(datetime.timezone.utc) - DAY * 10
        self.ca = self.issue(name("CA"), self.ca_key, start, 100, ca=True)
        self.leaf = self.issue(name("localhost"), self.key, start, leaf_days)
        self.chain = [cert.public_bytes(Encoding.DER) for cert in (self.leaf, self.ca)]
        self.fingerprint = hashlib.sha256(self.chain[1]).digest()

    def issue(self, subject, key, start, days, ca=False):
        """A certificate by the CA."""
        builder = x509.CertificateBuilder(
            issuer_name=name("CA"), subject_name=subject, public_key=key.public_key(),
            serial_number=x509.random_serial_number(), not_valid_before=start,
            not_valid_after=start + DAY * days)
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        return builder.sign(self.ca_key, None)

    def context(self, chain_length=2, alpn=True):
        """TLS of a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            for cert in (self.leaf, self.ca)[:chain_length]:
                file.write(cert.public_bytes(Encoding.PEM))
            file.flush()
            context.load_cert_chain(file.name)
        if alpn:
            context.set_alpn_protocols([ALPN])
        return context

    def sign(self, public):
        """A signed session key."""
        spki = x25519_der(public)
        inner = b"\x30" + bytes((len(spki),)) + spki
        bits = b"\x03\x41\x00" + self.key.sign(inner)
        content = inner + ED25519_ALGORITHM + bits
        return b"\x30" + bytes((len(content),)) + content


class Peer:
    """One connection of the proxy at the fake relay."""

    def __init__(self, relay, raw):
        self.relay, self.raw, self.tls = relay, raw, None
        self.private = os.urandom(32)
        self.secret = None

    def start_tls(self, identity=None, **options):
        """TLS; the handshake fails when the proxy does not like it."""
        identity = identity or self.relay.identity
        self.tls = identity.context(**options).wrap_socket(self.raw, server_side=True)
        self.tls.settimeout(30)

    def cut(self):
        """From another thread: ends the connection."""
        try:
            socket.socket.shutdown(self.tls or self.raw, socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended

    def read(self):
        """Content of the next block."""
        block = b""
        while len(block) < BLOCK_SIZE:
            piece = self.tls.recv(BLOCK_SIZE - len(block))
            if not piece:
                raise ConnectionError("the proxy closed")
            block += piece
        return unpad(block)

    def write(self, content):
        """One block."""
        self.tls.sendall(pad(content, BLOCK_SIZE))

    def hello(self, versions=(6, 18), session_id=None, identity=None, signer=None):
        """The server's hello."""
        identity = identity or self.relay.identity
        session_id = session_id or self.tls.get_channel_binding("tls-unique")
        content = word16(versions[0]) + word16(versions[1]) + short(session_id)
        if versions[1] >= 7:
            content += items([large(der) for der in identity.chain])
            content += large((signer or identity).sign(public_of(self.private)))
        self.write(content)

    def open(self, **options):
        """All of the handshake, as it should be."""
        self.start_tls()
        self.hello(**options)
        reader = Reader(self.read())
        version, identity = reader.word16(), reader.short()
        assert identity == self.relay.identity.fingerprint
        key = reader.short()
        assert version < 14 or reader.boolean(), "a proxy says that it is one"
        self.secret = dh(key[12:], self.private)
        self.relay.opened.release()

    def requests(self):
        """The transmissions of the next block as (corrId, text)."""
        out = []
        for data in unbatch(self.read()):
            reader = Reader(data)
            assert reader.short() == b""
            corr_id, entity = reader.short(), reader.short()
            assert entity == b""
            out.append((corr_id, reader.tail()))
        return out

    def answer(self, corr_id, text):
        """One transmission."""
        self.write(batch([short(b"") + short(corr_id) + short(b"") + text]))

    def sealed(self, corr_id, text):
        """A good RRES to an RFWD; the client's layer is made up."""
        assert text.startswith(b"RFWD ")
        reader = Reader(unbox(self.secret, corr_id, text[5:]))
        client_corr_id = reader.short()
        inner = bytes(16242)
        return b"RRES " + box(self.secret, reverse(corr_id), short(client_corr_id) + inner)

    def serve(self):
        """Answers all as it should, until the proxy leaves."""
        while True:
            for corr_id, text in self.requests():
                self.answer(corr_id, b"PONG" if text == b"PING" else self.sealed(corr_id, text))

    def linger(self):
        """Does nothing until the proxy closes; says when it does."""
        while (self.tls or self.raw).recv(BLOCK_SIZE):
            pass


class FakeRelay:
    """Listens and runs `script(peer)` in a thread for each connection."""

    def __init__(self, script=Peer.serve, identity=None, fingerprint=None):
        self.script = script
        self.identity = identity or Identity()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self.listener.getsockname()[1],
                               fingerprint or self.identity.fingerprint)
        self.count, self.failures, self.peers = 0, [], []
        self.opened, self.closed = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for peer in self.peers:
            peer.cut()
        assert not self.failures, self.failures[0]

    def accept(self):
        """Thread."""
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            raw.settimeout(60)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.count += 1
            peer = Peer(self, raw)
            self.peers.append(peer)
            threading.Thread(target=self.run, args=(peer,), daemon=True).start()

    def run(self, peer):
        """Thread of one connection."""
        try:
            self.script(peer)
        except AssertionError as error:
            self.failures.append(error)
        except (OSError, ValueError):
            pass  # the proxy closed, or the relay is no longer needed
        finally:
            for sock in (peer.tls, peer.raw):
                if sock is not None:
                    sock.close()
            self.closed.release()
