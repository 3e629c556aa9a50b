# SPDX-License-Identifier: AGPL-3.0-or-later
"""Service clients: their certificates, the proof in the handshake, and the service signature."""

import datetime
import hashlib
import os
from pathlib import Path

import nacl.signing
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (Encoding, NoEncryption, PrivateFormat,
                                                          load_pem_private_key)
from cryptography.x509.oid import NameOID

from .encoding import Reader, items, large, maybe
from .keys import ED25519_HEAD

ED25519_ALGORITHM = bytes.fromhex("300506032b6570")
IDS_HASH_SIZE = 16


def der_sequence(content):
    """A DER SEQUENCE of this content."""
    size = len(content)
    head = bytes((size,)) if size < 0x80 else bytes((0x81, size)) if size < 0x100 else (
        bytes((0x82,)) + size.to_bytes(2, "big"))
    return b"\x30" + head + content


def make_certificate(name, key, issuer=None, issuer_key=None, authority=False):
    """A certificate of `key`, signed by `issuer_key`, or by itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (x509.CertificateBuilder().subject_name(subject)
               .issuer_name(issuer.subject if issuer else subject).public_key(key.public_key())
               .serial_number(x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=10)))
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    return builder.sign(issuer_key or key, None)


class Service:
    """A service client: its chain of certificates, leaf first, kept in a PEM file for TLS."""

    def __init__(self, folder, role="N", length=2):
        self.role = role
        keys = [Ed25519PrivateKey.generate() for _ in range(length)]
        certs = []
        for depth in reversed(range(length)):
            issuer = certs[0] if certs else None
            issuer_key = keys[depth + 1] if certs else None
            certs.insert(0, make_certificate(f"service {depth}", keys[depth], issuer, issuer_key,
                                             authority=depth > 0))
        pem = keys[0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem += b"".join(cert.public_bytes(Encoding.PEM) for cert in certs)
        self.keep(folder, keys[0], [cert.public_bytes(Encoding.DER) for cert in certs], pem)

    def keep(self, folder, leaf_key, chain, pem):
        """Takes what the service is made of."""
        self.leaf_key, self.chain = leaf_key, chain
        self.cert_hash = hashlib.sha256(chain[1 if len(chain) > 1 else 0]).digest()
        path = Path(folder, f"service-{os.urandom(6).hex()}.pem")
        path.write_bytes(pem)
        self.pem = str(path)

    @classmethod
    def known(cls, folder, *, role, chain, pem):
        """A service that was made elsewhere; `pem` is text."""
        service = cls.__new__(cls)
        service.role = role
        service.keep(folder, load_pem_private_key(pem.encode(), None), chain, pem.encode())
        return service

    def signed_key(self, public, signer=None):
        """The session key, signed by the leaf: see 'signed key' in section 2."""
        inner = der_sequence(ED25519_HEAD + public)
        signature = (signer or self.leaf_key).sign(inner)
        return der_sequence(inner + ED25519_ALGORITHM + b"\x03\x41\x00" + signature)

    def hello(self, signing, *, role=None, chain=None, signer=None):
        """The service field of the client's handshake."""
        certificates = items([large(der) for der in (chain or self.chain)])
        signed = self.signed_key(bytes(signing.verify_key), signer)
        return (role or self.role).encode() + certificates + large(signed)


class ServiceSession:
    """What a session has of its service: the key that signs, and the id that the server gave."""

    def __init__(self, service, **changes):
        self.service = service
        self.changes = changes
        self.signing = nacl.signing.SigningKey(os.urandom(32))
        self.service_id = None
        self.error = None

    def hello(self):
        """The service field of the handshake, as a maybe."""
        return maybe(self.service.hello(self.signing, **self.changes))

    def accept(self, content):
        """Reads the third handshake message."""
        reader = Reader(content)
        if reader.take(1) == b"R":
            self.service_id = reader.short()
        else:
            self.error = reader.tail()

    def sign(self, signed):
        """The service signature."""
        return self.signing.sign(signed).signature


def ids_sum(ids):
    """(count, hash) of these ids."""
    total = bytes(IDS_HASH_SIZE)
    for item in ids:
        digest = hashlib.md5(item, usedforsecurity=False).digest()
        total = bytes(a ^ b for a, b in zip(total, digest))
    return len(ids), total
