# SPDX-License-Identifier: AGPL-3.0-or-later
"""Primitive encodings of SMP: small writers, and a reader that refuses to run past the end."""

import struct


class DecodeError(ValueError):
    """Bytes that do not follow the encoding asked for."""


def word16(value):
    """Two bytes, big endian."""
    return struct.pack(">H", value)


def int64(value):
    """Eight bytes, big endian, signed."""
    return struct.pack(">q", value)


def short(data):
    """One length byte and at most 255 bytes."""
    if len(data) > 255:
        raise ValueError("a short string holds at most 255 bytes")
    return bytes((len(data),)) + data


def large(data):
    """A word16 length and the bytes."""
    return word16(len(data)) + data


def boolean(value):
    """`T` or `F`."""
    return b"T" if value else b"F"


def maybe(data):
    """`0` for None, otherwise `1` and the bytes, which are already encoded."""
    return b"0" if data is None else b"1" + data


def items(encoded):
    """A count byte and the items, which are already encoded."""
    return bytes((len(encoded),)) + b"".join(encoded)


def pad(content, size):
    """Word16 length, content, and `#` up to `size` bytes in all."""
    if len(content) > size - 2:
        raise ValueError(f"{len(content)} bytes do not fit {size} with padding")
    return word16(len(content)) + content + b"#" * (size - 2 - len(content))


def unpad(padded):
    """The content of a padded string; what follows the stated length is ignored."""
    if len(padded) < 2:
        raise DecodeError("padded string without a length")
    (length,) = struct.unpack_from(">H", padded)
    if length > len(padded) - 2:
        raise DecodeError("padded string shorter than its stated length")
    return padded[2:2 + length]


class Reader:
    """Takes values off the front of a byte string."""

    def __init__(self, data):
        self.data = bytes(data)
        self.at = 0

    def left(self):
        """How many bytes were not read."""
        return len(self.data) - self.at

    def take(self, count):
        """The next `count` raw bytes."""
        if count > self.left():
            raise DecodeError(f"{count} bytes wanted, {self.left()} left")
        self.at += count
        return self.data[self.at - count:self.at]

    def tail(self):
        """All the remaining bytes."""
        return self.take(self.left())

    def byte(self):
        """One byte as a number."""
        return self.take(1)[0]

    def word16(self):
        """Two bytes, big endian."""
        return struct.unpack(">H", self.take(2))[0]

    def int64(self):
        """Eight bytes, big endian, signed."""
        return struct.unpack(">q", self.take(8))[0]

    def short(self):
        """A short string."""
        return self.take(self.byte())

    def large(self):
        """A large string."""
        return self.take(self.word16())

    def boolean(self):
        """`T` or `F`."""
        char = self.take(1)
        if char not in (b"T", b"F"):
            raise DecodeError(f"{char!r} is not T or F")
        return char == b"T"

    def maybe(self, read):
        """None for `0`, what `read` gives for `1`."""
        char = self.take(1)
        if char not in (b"0", b"1"):
            raise DecodeError(f"{char!r} is not 0 or 1")
        return read() if char == b"1" else None

    def literal(self, expected):
        """Exactly these bytes."""
        found = self.take(len(expected))
        if found != expected:
            raise DecodeError(f"{found!r} in the place of {expected!r}")

    def end(self):
        """Nothing may be left."""
        if self.left():
            raise DecodeError(f"{self.left()} bytes left over: {self.data[self.at:][:40]!r}")
