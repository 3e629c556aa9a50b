# SPDX-License-Identifier: AGPL-3.0-or-later
"""TLS to the server, 16384-byte blocks, and the SMP handshake with all its checks."""

import base64
import functools
import hashlib
import os
import re
import socket
import ssl
import time
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from .crypto import BLOCK_SIZE, Chain, chain_init, dh, public_of
from .encoding import Reader, boolean, maybe, pad, short, unpad, word16
from .keys import x25519_der, x25519_raw

TIMEOUT = 10.0
PROOF_VERSION = 19
ALPN = "smp/1"
# What clients offer where a test says nothing of it: SMP_TEST_ALPN=http/1.1 are apps on the web port.
OFFERED = tuple(os.environ.get("SMP_TEST_ALPN", ALPN).split(","))
CIPHERS = "ECDHE-ECDSA-CHACHA20-POLY1305"


class HandshakeRefused(Exception):
    """The server closed during the SMP handshake."""


class Closed(ConnectionError):
    """The server closed the connection."""


@dataclass(frozen=True)
class Address:
    """Where a server is, its identity (32 bytes) and the password for new queues."""

    host: str
    port: int
    identity: bytes
    password: bytes = None

    @classmethod
    def parse(cls, text, port):
        """`smp://fingerprint[:password]@host[:port]`."""
        found = re.fullmatch(r"smp://([^:@]+)(?::([^@]+))?@([^:]+)(?::(\d+))?", text.strip())
        if not found:
            raise ValueError(f"not a server address: {text!r}")
        fingerprint, password, host, stated = found.groups()
        return cls(host, int(stated or port), decode_fingerprint(fingerprint),
                   password.encode() if password else None)


def decode_fingerprint(text):
    """32 bytes out of base64url, with or without its padding."""
    identity = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
    if len(identity) != 32:
        raise ValueError(f"a fingerprint has 32 bytes: {text!r}")
    return identity


@functools.lru_cache(maxsize=None)
def tls_context(alpn=(ALPN,), tls="1.3", ciphers=CIPHERS, group=None, certificate=None):
    """A client context of exactly one TLS version; SMP checks identities itself. `certificate` is
    a PEM file with the client's key and certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    wanted = {"1.3": ssl.TLSVersion.TLSv1_3, "1.2": ssl.TLSVersion.TLSv1_2}[tls]
    context.minimum_version = context.maximum_version = wanted
    if ciphers:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if group:
        context.set_ecdh_curve(group)
    if certificate:
        context.load_cert_chain(certificate)
    return context


def verify_signature(public_key, signature, data):
    """Ed25519 or Ed448, by the certificate's key; raises when wrong."""
    if not isinstance(public_key, (Ed25519PublicKey, Ed448PublicKey)):
        raise ValueError("the certificate's key is neither Ed25519 nor Ed448")
    public_key.verify(signature, data)


def der_item(data, at):
    """(tag, start of contents, end) of the DER item at this offset."""
    tag, length = data[at], data[at + 1]
    at += 2
    if length >= 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[at:at + count], "big")
        at += count
    if at + length > len(data):
        raise ValueError("DER item runs past the end")
    return tag, at, at + length


def read_signed_key(der, verify_key):
    """Raw X25519 key of a signed key, whose signature by `verify_key` is checked."""
    tag, start, end = der_item(der, 0)
    if tag != 0x30 or end != len(der):
        raise ValueError("signed key is not one SEQUENCE")
    tag, inner, inner_end = der_item(der, start)
    if tag != 0x30:
        raise ValueError("signed part is not a SEQUENCE")
    signed, spki = der[start:inner_end], der[inner:inner_end]
    _, _, algorithm_end = der_item(der, inner_end)
    tag, bits, bits_end = der_item(der, algorithm_end)
    if tag != 0x03 or bits_end != end or der[bits] != 0:
        raise ValueError("signature is not a whole BIT STRING at the end")
    verify_signature(verify_key, der[bits + 1:bits_end], signed)
    return x25519_raw(spki)


def check_chain(chain, identity, leaf_der):
    """Fingerprint, signatures and order of the server's chain; gives the leaf certificate.
    `leaf_der`: that of TLS, None where TLS shows one for browsers."""
    if not 2 <= len(chain) <= 4:
        raise ValueError(f"chain of {len(chain)} certificates")
    if leaf_der is not None and chain[0] != leaf_der:
        raise ValueError("the leaf differs from the TLS peer certificate")
    if hashlib.sha256(chain[1]).digest() != identity:
        raise ValueError("the identity certificate has another fingerprint")
    certs = [x509.load_der_x509_certificate(der) for der in chain]
    for cert, issuer in zip(certs, certs[1:] + certs[-1:]):
        if cert.issuer != issuer.subject:
            raise ValueError("a certificate names another issuer")
        verify_signature(issuer.public_key(), cert.signature, cert.tbs_certificate_bytes)
    return certs[0]


@dataclass
class ServerHello:
    """First handshake block, read without any check of its signatures."""

    min_version: int
    max_version: int
    session_id: bytes
    chain: list
    signed_key: bytes
    rest: bytes = b""

    @classmethod
    def parse(cls, content):
        """Reads the content; bytes after it are allowed."""
        reader = Reader(content)
        hello = cls(reader.word16(), reader.word16(), reader.short(), [], b"")
        if hello.max_version >= 7:
            hello.chain = [reader.large() for _ in range(reader.byte())]
            hello.signed_key = reader.large()
        hello.rest = reader.tail()
        return hello


def client_hello(version, identity, key_der=None, proxy=False, service=None):
    """Content of the client's handshake block, in the form of the version."""
    out = word16(version) + short(identity)
    if version >= 7 and key_der is not None:
        out += short(key_der)
    if version >= 14:
        out += boolean(proxy)
    if version >= 16:
        out += maybe(None) if service is None else service
    return out


class Link:
    """A TLS connection to the server that moves bytes and 16384-byte blocks, under time limits.
    `buffers` are the socket's receive and send buffer sizes."""

    def __init__(self, address, *, alpn=OFFERED, tls="1.3", ciphers=CIPHERS, group=None,
                 certificate=None, timeout=TIMEOUT, source=None, server_name=None, buffers=None):
        self.address = address
        self.timeout = timeout
        self.buffer = bytearray()
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            raw.settimeout(timeout)
            if buffers:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers[0])
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers[1])
            if source:
                raw.bind((source, 0))
            raw.connect((address.host, address.port))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = tls_context(tuple(alpn), tls, ciphers, group, certificate)
            self.tls = context.wrap_socket(raw, server_hostname=server_name)
        except BaseException:
            raw.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes without waiting for the server."""
        self.tls.close()

    def leaf(self):
        """DER of the server's leaf certificate in this TLS session."""
        return self.tls.getpeercert(binary_form=True)

    def tls_unique(self):
        """The client's first Finished message."""
        return self.tls.get_channel_binding("tls-unique")

    def write(self, data, timeout=None):
        """Raw bytes into TLS."""
        self.tls.settimeout(timeout or self.timeout)
        try:
            self.tls.sendall(data)
        except (BrokenPipeError, ConnectionError, ssl.SSLError) as error:
            raise Closed(str(error)) from error

    def read_block(self, timeout=None):
        """The next 16384 bytes; Closed at the end of the stream, TimeoutError when late."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while len(self.buffer) < BLOCK_SIZE:
            self.tls.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                piece = self.tls.recv(BLOCK_SIZE)
            except (ConnectionError, ssl.SSLError) as error:
                if isinstance(error, (ssl.SSLWantReadError, TimeoutError)):
                    raise TimeoutError("no block in time") from error
                raise Closed(str(error)) from error
            if not piece:
                raise Closed(f"end of stream after {len(self.buffer)} bytes of a block")
            self.buffer += piece
        block = bytes(self.buffer[:BLOCK_SIZE])
        del self.buffer[:BLOCK_SIZE]
        return block

    def closed_within(self, timeout):
        """Whether the server ends the stream in this time; blocks that still come are dropped."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                self.read_block(deadline - time.monotonic())
            except Closed:
                return True
            except TimeoutError:
                return False
        return False


class Session:
    """A link after the SMP handshake: content of blocks goes through padding and block keys."""

    def __init__(self, link, version=None, *, private=None, send_key=True, proxy=False,
                 identity=None, service=None):
        self.link = link
        self.service = service
        try:
            self.hello = ServerHello.parse(unpad(link.read_block()))
        except Closed as error:
            raise HandshakeRefused(str(error)) from error
        self.session_id = self.hello.session_id
        if self.session_id != link.tls_unique():
            raise ValueError("session identifier is not the tls-unique of the connection")
        self.version = min(self.hello.max_version, 20) if version is None else version
        self.server_key = self.check_server()
        self.send_chain = self.receive_chain = None
        self.start(private or os.urandom(32), send_key, proxy, identity)

    def check_server(self):
        """The server's session key, after all checks of its chain and signature."""
        if not self.hello.chain:
            return None
        leaf = check_chain(self.hello.chain, self.link.address.identity, self.link.leaf())
        self.check_proof(leaf.public_key())
        return read_signed_key(self.hello.signed_key, leaf.public_key())

    def check_proof(self, key):
        """What follows in the hello: the proof of who asked for it, and nothing else."""
        reader = Reader(self.hello.rest)
        challenge = getattr(self.link, "challenge", None)
        if challenge is not None and self.hello.max_version >= PROOF_VERSION:
            verify_signature(key, reader.short(), challenge + self.session_id)
        reader.end()

    def start(self, private, send_key, proxy, identity):
        """Sends the client's handshake and starts block encryption from version 11."""
        key_der = x25519_der(public_of(private)) if send_key else None
        identity = self.link.address.identity if identity is None else identity
        service = self.service.hello() if self.service else None
        hello = client_hello(self.version, identity, key_der, proxy, service)
        self.link.write(pad(hello, BLOCK_SIZE))
        if self.service:
            self.service.accept(unpad(self.link.read_block()))
        if self.version >= 11 and send_key and not proxy:
            shared = dh(self.server_key, private)
            server_sends, server_receives = chain_init(self.session_id, shared)
            self.send_chain, self.receive_chain = Chain(server_receives), Chain(server_sends)

    def seal(self, content):
        """The block of this content."""
        return self.send_chain.seal(content) if self.send_chain else pad(content, BLOCK_SIZE)

    def unseal(self, block):
        """The content of a block of the server."""
        return self.receive_chain.open(block) if self.receive_chain else unpad(block)


def pem_to_der(path):
    """DER of the first certificate of a PEM file."""
    with open(path, "rb") as file:
        return x509.load_pem_x509_certificate(file.read()).public_bytes(Encoding.DER)
