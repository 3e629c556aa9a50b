# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cryptography of SMP over libsodium (by ctypes: it is also what makes the soak test fast)."""

import ctypes
import ctypes.util
import hashlib
import hmac

from .encoding import pad, unpad

BLOCK_SIZE = 16384
TAG_SIZE = 16
AUTHENTICATOR_SIZE = 80
MESSAGE_SIZE = 16106
CHAIN_INIT = b"SimpleXSbChainInit"
CHAIN_STEP = b"SimpleXSbChain"


def load_sodium():
    """libsodium by its Debian name, or whichever the system has."""
    try:
        return ctypes.CDLL("libsodium.so.23")
    except OSError:
        return ctypes.CDLL(ctypes.util.find_library("sodium"))


SODIUM = load_sodium()
SODIUM.sodium_init()
SIXTEEN_ZEROS = bytes(16)


class CryptoError(ValueError):
    """A tag, a signature or a shared point that must not be accepted."""


def public_of(private):
    """X25519 public key of a private one, raw bytes."""
    out = ctypes.create_string_buffer(32)
    SODIUM.crypto_scalarmult_base(out, bytes(private))
    return out.raw


def dh(public, private):
    """Raw X25519 shared point; the all-zero result of a low-order point is refused."""
    out = ctypes.create_string_buffer(32)
    if SODIUM.crypto_scalarmult(out, bytes(private), bytes(public)) != 0 or out.raw == bytes(32):
        raise CryptoError("shared point of a low-order public key")
    return out.raw


def subkey(key):
    """HSalsa20(key, 16 zero bytes): the first half of `box`, worth keeping for many boxes."""
    out = ctypes.create_string_buffer(32)
    SODIUM.crypto_core_hsalsa20(out, SIXTEEN_ZEROS, bytes(key), None)
    return out.raw


def box_subkey(sub, nonce, message):
    """`box` under a subkey that `subkey` made."""
    out = ctypes.create_string_buffer(len(message) + TAG_SIZE)
    SODIUM.crypto_secretbox_easy(out, bytes(message), ctypes.c_ulonglong(len(message)), nonce, sub)
    return out.raw


def unbox_subkey(sub, nonce, boxed):
    """Opens what `box_subkey` made."""
    if len(boxed) < TAG_SIZE:
        raise CryptoError("box shorter than its tag")
    size = len(boxed) - TAG_SIZE
    out = ctypes.create_string_buffer(max(size, 1))
    length = ctypes.c_ulonglong(len(boxed))
    if SODIUM.crypto_secretbox_open_easy(out, bytes(boxed), length, nonce, sub) != 0:
        raise CryptoError("the tag of the box is wrong")
    return out.raw[:size]


def box(key, nonce, message):
    """XSalsa20-Poly1305 under HSalsa20(key), tag first: see section 2 of the wire facts."""
    return box_subkey(subkey(key), nonce, message)


def unbox(key, nonce, boxed):
    """Opens what `box` made; CryptoError when it was changed."""
    return unbox_subkey(subkey(key), nonce, boxed)


def nonce_of(corr_id):
    """The correlation ID cut or zero-extended to 24 bytes."""
    return corr_id[:24].ljust(24, b"\0")


def hkdf(salt, ikm, info, size):
    """RFC 5869 with SHA-512."""
    secret = hmac.digest(salt or bytes(64), ikm, "sha512")
    out, part, counter = b"", b"", 1
    while len(out) < size:
        part = hmac.digest(secret, part + info + bytes((counter,)), "sha512")
        out += part
        counter += 1
    return out[:size]


def chain_init(session_id, shared):
    """The two chain keys: the server sends with the first and receives with the second."""
    keys = hkdf(session_id, shared, CHAIN_INIT, 64)
    return keys[:32], keys[32:]


def chain_step(chain_key):
    """(next chain key, block key, nonce)."""
    out = hkdf(b"", chain_key, CHAIN_STEP, 88)
    return out[:32], out[32:64], out[64:]


class Chain:
    """One direction of block encryption; every block advances it."""

    def __init__(self, key):
        self.key = key

    def seal(self, content):
        """A 16384-byte block of this content."""
        self.key, block_key, nonce = chain_step(self.key)
        return box(block_key, nonce, pad(content, BLOCK_SIZE - TAG_SIZE))

    def open(self, block):
        """The content of a block."""
        self.key, block_key, nonce = chain_step(self.key)
        return unpad(unbox(block_key, nonce, block))


def authenticator(shared, corr_id, signed):
    """16 + 64 bytes: the box of SHA-512 of what is signed, with the nonce of the corrId."""
    return box(shared, nonce_of(corr_id), hashlib.sha512(signed).digest())


def client_sender_id(corr_id):
    """The only sender ID that a client may ask for in the NEW with this corrId."""
    return hashlib.sha3_384(corr_id).digest()[:24]
