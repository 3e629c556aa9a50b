# SPDX-License-Identifier: AGPL-3.0-or-later
"""TLS records by hand: first flights, alerts, and offers that a TLS library does not make."""

import os
import socket
import ssl
import struct

from .encoding import Reader
from .transport import tls_context

ALERT, HANDSHAKE = 21, 22
FATAL = 2
NO_APPLICATION_PROTOCOL = 120
CERTIFICATE, KEY_EXCHANGE, CERTIFICATE_REQUEST, SERVER_HELLO_DONE = 11, 12, 13, 14
ECDSA_CHACHA20 = b"\xcc\xa9"


def first_flight(alpn, tls, server_name=None):
    """Bytes of a ClientHello record, made by the TLS library."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls_context(tuple(alpn), tls).wrap_bio(incoming, outgoing,
                                                   server_hostname=server_name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def read_exactly(sock, count):
    """This many bytes, or fewer at the end of the stream."""
    out = b""
    while len(out) < count:
        piece = sock.recv(count - len(out))
        if not piece:
            break
        out += piece
    return out


def read_record(sock):
    """(content type, payload) of the next plain TLS record, or None at the end of the stream."""
    head = read_exactly(sock, 5)
    if len(head) < 5:
        return None
    kind, _, length = struct.unpack(">BHH", head)
    return kind, read_exactly(sock, length)


def exchange(address, data, timeout=10):
    """Sends bytes over TCP and gives the first TLS record that comes back."""
    with socket.create_connection((address.host, address.port), timeout) as sock:
        sock.sendall(data)
        try:
            return read_record(sock)
        except ConnectionResetError:
            return None


def sized(data, width):
    """A TLS vector with a length of `width` bytes."""
    return len(data).to_bytes(width, "big") + data


def extension(kind, body):
    """One TLS extension."""
    return kind.to_bytes(2, "big") + sized(body, 2)


def client_hello_record(*, version=b"\x03\x03", suites=ECDSA_CHACHA20, methods=b"\0",
                        groups=b"\0\x1d\0\x1e"):
    """A ClientHello record of TLS 1.2 or older, with any offer of suites, compression, groups."""
    extensions = (extension(10, sized(groups, 2)) + extension(11, b"\x01\x00")
                  + extension(13, sized(b"\x08\x07\x08\x08", 2))
                  + extension(16, sized(sized(b"smp/1", 1), 2)) + extension(23, b""))
    body = (version + os.urandom(32) + sized(b"", 1) + sized(suites, 2) + sized(methods, 1)
            + sized(extensions, 2))
    message = b"\x01" + sized(body, 3)
    return bytes((HANDSHAKE,)) + b"\x03\x01" + sized(message, 2)


def compression_of(server_hello):
    """The compression method in the first ServerHello of a handshake record."""
    reader = Reader(server_hello)
    reader.literal(b"\x02")
    reader.take(3 + 2 + 32)
    reader.short()
    suite = reader.take(2)
    return suite, reader.byte()


def server_flight(address, timeout=10, **offer):
    """(type, body) of the messages in the server's first flight of TLS 1.2."""
    found, data = [], b""
    with socket.create_connection((address.host, address.port), timeout) as sock:
        sock.sendall(client_hello_record(**offer))
        while not found or found[-1][0] != SERVER_HELLO_DONE:
            record = read_record(sock)
            if record is None or record[0] != HANDSHAKE:
                raise ConnectionError(f"no handshake record: {record!r}")
            data += record[1]
            while len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[1:4], "big"):
                size = 4 + int.from_bytes(data[1:4], "big")
                found.append((data[0], data[4:size]))
                data = data[size:]
    return found
