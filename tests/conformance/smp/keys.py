# SPDX-License-Identifier: AGPL-3.0-or-later
"""Key pairs that authorize commands, and the DER of public keys."""

import os

import nacl.signing
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .crypto import authenticator, dh, public_of

X25519_HEAD = bytes.fromhex("302a300506032b656e032100")
X448_HEAD = bytes.fromhex("3042300506032b656f033900")
ED25519_HEAD = bytes.fromhex("302a300506032b6570032100")
ED448_HEAD = bytes.fromhex("3043300506032b6571033a00")


def x25519_der(raw):
    """SubjectPublicKeyInfo of a raw X25519 public key."""
    return X25519_HEAD + raw


def x25519_raw(der):
    """Raw public key out of its SubjectPublicKeyInfo."""
    if len(der) != 44 or not der.startswith(X25519_HEAD):
        raise ValueError(f"not the DER of an X25519 public key: {der.hex()}")
    return der[12:]


class Ed25519Key:
    """Authorizes by a 64-byte signature."""

    name = "ed25519"

    def __init__(self, seed=None):
        self.signing = nacl.signing.SigningKey(seed or os.urandom(32))
        self.der = ED25519_HEAD + bytes(self.signing.verify_key)

    def authorize(self, server_key, corr_id, signed):
        """The authorization of a command."""
        return self.signing.sign(signed).signature


class Ed448Key:
    """Authorizes by a 114-byte signature."""

    name = "ed448"

    def __init__(self, private=None):
        self.signing = Ed448PrivateKey.from_private_bytes(private) if private else Ed448PrivateKey.generate()
        public = self.signing.public_key()
        self.der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def authorize(self, server_key, corr_id, signed):
        """The authorization of a command."""
        return self.signing.sign(signed)


class X25519Key:
    """Authorizes by an 80-byte authenticator, with the server's session key."""

    name = "x25519"

    def __init__(self, private=None):
        self.private = private or os.urandom(32)
        self.public = public_of(self.private)
        self.der = x25519_der(self.public)

    def authorize(self, server_key, corr_id, signed):
        """The authorization of a command."""
        return authenticator(dh(server_key, self.private), corr_id, signed)


class FixedAuth:
    """An authorization of given bytes, whatever is signed: for wrong ones."""

    name = "fixed"

    def __init__(self, data):
        self.data = data

    def authorize(self, server_key, corr_id, signed):
        """The given bytes."""
        return self.data


KEY_TYPES = {"ed25519": Ed25519Key, "ed448": Ed448Key, "x25519": X25519Key}


def make_key(name):
    """A new key pair of the named type."""
    return KEY_TYPES[name]()
