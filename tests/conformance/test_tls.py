# SPDX-License-Identifier: AGPL-3.0-or-later
"""TLS 1.3 as no library speaks it: each oddity is taken or ends its own connection, with an alert,
in bounded time and memory, while others are served."""

import os
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from smp.connection import Connection
from smp.crypto import BLOCK_SIZE, public_of
from smp.rawtls import ALERT, HANDSHAKE, extension, sized
from smp.service import make_certificate
from smp.tls13 import (APPLICATION_DATA, CERTIFICATE, CERTIFICATE_REQUEST, CHANGE_CIPHER_SPEC,
                       CLIENT_HELLO, FINISHED, HEARTBEAT, KEY_UPDATE, RECORD_MAX, RawTls,
                       client_hello, hello_extensions, message, plain_record)
from smp.transmissions import batch
from smp.transport import Closed, HandshakeRefused

UNEXPECTED_MESSAGE, BAD_RECORD_MAC, RECORD_OVERFLOW, ILLEGAL_PARAMETER, DECODE_ERROR = (
    10, 20, 22, 47, 50)
PATIENCE = 30
GROWTH_KIB = 20000
pytestmark = pytest.mark.tls_only("about TLS, which is the same; what the port of pages has is in tests/cli/test_https.py and test_web_limits.py")
GREASE = [b"\x0a\x0a", b"\x1a\x1a", b"\xfa\xfa"]


@pytest.fixture(autouse=True)
def bystander(request):
    """A client that was there before, and is served after each test, as is one that comes then."""
    if "address" not in request.fixturenames:
        yield
        return
    address = request.getfixturevalue("address")
    with Connection(address, 18) as conn:
        yield
        conn.ping()
        with Connection(address, 18) as other:
            other.ping()


def is_served(address, **options):
    """Whether SMP is spoken on a connection of this kind; Closed when TLS refuses it."""
    with RawTls(address) as link:
        Connection(address, 18, link=link.shake_hands(**options)).ping()
    return True


def alert_to(address, records):
    """The alert that a connection ends with after these records."""
    with RawTls(address) as link:
        link.shake_hands().read_block()
        link.send(records(link))
        return link.end(PATIENCE)


# ---- records ----

def test_plain_client(address):
    """The client of these tests is an ordinary one, when it wants to be."""
    assert is_served(address)


@pytest.mark.parametrize("size, padding", [
    (1, 0), (100, 1000), (RECORD_MAX - 1, 0), (RECORD_MAX, 0)])
def test_records_of_any_size(address, size, padding):
    """A block in records of one byte, in padded ones, and in the largest."""
    with RawTls(address) as link:
        conn = Connection(address, 18, link=link.shake_hands())
        sent = conn.make(b"PING")
        link.write(conn.session.seal(batch([sent.data])), size, padding)
        assert conn.wait(sent).raw == b"PONG"


def test_empty_records_between_blocks(address):
    """Some empty records are no harm; only padding is in them."""
    with RawTls(address) as link:
        conn = Connection(address, 18, link=link.shake_hands())
        for padding in (0, 1, RECORD_MAX - 1):
            link.send(link.writing.seal(APPLICATION_DATA, b"", padding))
            conn.ping()


OVERSIZED = {
    "content": lambda link: link.writing.seal(APPLICATION_DATA, bytes(RECORD_MAX + 1)),
    "padding": lambda link: link.writing.seal(APPLICATION_DATA, b"a", RECORD_MAX + 256),
    "sealed": lambda link: link.writing.seal(APPLICATION_DATA, bytes(RECORD_MAX + 256)),
    "length": lambda link: b"\x17\x03\x03\xff\xff" + bytes(0xffff),
}


@pytest.mark.parametrize("what", OVERSIZED)
def test_oversized_records(address, what):
    """More than a record may hold ends the connection with that alert."""
    assert alert_to(address, OVERSIZED[what]) == RECORD_OVERFLOW


MISPLACED = {
    "heartbeat": lambda link: link.writing.seal(HEARTBEAT, b"\x01\x40\0" + bytes(16)),
    "type 0": lambda link: link.writing.seal(1, b"a")[:5] + os.urandom(18),
    "only padding": lambda link: link.writing.seal(0, b"", 100),
    "cipher spec": lambda link: link.writing.seal(CHANGE_CIPHER_SPEC, b"\x01"),
    "plain heartbeat": lambda link: plain_record(HEARTBEAT, b"\x01\x40\0" + bytes(16)),
    "plain data": lambda link: plain_record(APPLICATION_DATA, bytes(17)),
    "plain handshake": lambda link: plain_record(HANDSHAKE, message(KEY_UPDATE, b"\x01")),
    "empty handshake": lambda link: link.writing.seal(HANDSHAKE, b""),
    "empty alert": lambda link: link.writing.seal(ALERT, b""),
    "long alert": lambda link: link.writing.seal(ALERT, b"\x02\0\0"),
}


@pytest.mark.parametrize("what", MISPLACED)
def test_misplaced_records(address, what):
    """Records of a kind that has no place there, heartbeats among them, end the connection."""
    assert alert_to(address, MISPLACED[what]) in (UNEXPECTED_MESSAGE, BAD_RECORD_MAC, DECODE_ERROR)


# ---- messages after the handshake ----

def test_key_updates_are_answered(address):
    """Each with one, and SMP goes on in both directions."""
    with RawTls(address) as link:
        conn = Connection(address, 18, link=link.shake_hands())
        for answer in (True, False, True):
            link.send(link.ask_key_update(answer))
            conn.ping()


FLOODS = {
    "key updates": lambda link: link.ask_key_update(False),
    "key updates that ask for one": lambda link: link.ask_key_update(True),
    "empty records": lambda link: link.writing.seal(APPLICATION_DATA, b""),
    "padding": lambda link: link.writing.seal(APPLICATION_DATA, b"", 1000),
}


def test_floods(own_server):
    """Records that carry nothing, in numbers, by somebody who reads no answers: it may go on or be
    ended, but is no more than a client's share of the only thread, and nothing of it is kept."""
    server = own_server({("TRANSPORT", "threads"): 1})
    with Connection(server.address, 18) as other:
        for flood in FLOODS.values():
            other.ping()
            before = server.rss_kib()
            with RawTls(server.address) as link:
                link.shake_hands().read_block()
                try:
                    for _ in range(10):
                        link.send(b"".join(flood(link) for _ in range(200)))
                        other.ping()
                except Closed:
                    pass
                assert server.rss_kib() - before < GROWTH_KIB or server.is_sanitized()
    assert is_served(server.address)


LATER_MESSAGES = {
    "hello": client_hello(hello_extensions(public_of(bytes(31) + b"\x01"))),
    "certificate": message(CERTIFICATE, b"\0" + sized(b"", 3)),
    "request": message(CERTIFICATE_REQUEST, b"\0" + sized(extension(13, sized(b"\x08\x07", 2)), 2)),
    "finished": message(FINISHED, bytes(32)),
    "ticket": message(4, bytes(8) + sized(b"", 1) + sized(b"x", 2) + sized(b"", 2)),
    "end of early data": message(5, b""),
    "unknown": message(77, b"hello"),
    "key update of 2": message(KEY_UPDATE, b"\x02"),
    "long key update": message(KEY_UPDATE, bytes(1000)),
    "huge length": bytes((KEY_UPDATE,)) + b"\xff\xff\xff" + bytes(100),
    "two in a record": message(KEY_UPDATE, b"\0") * 2,
}


@pytest.mark.parametrize("what", LATER_MESSAGES)
def test_messages_after_the_handshake(address, what):
    """Nothing but a key update has a place there, alone in its record: no second handshake, no
    certificate that was not asked for."""
    def sent(link):
        return link.writing.seal(HANDSHAKE, LATER_MESSAGES[what])
    assert alert_to(address, sent) in (UNEXPECTED_MESSAGE, DECODE_ERROR, ILLEGAL_PARAMETER)


def test_half_a_key_update_between_data(address):
    """A message that is cut by data ends the connection."""
    def sent(link):
        return (link.writing.seal(HANDSHAKE, b"\x18\0\0")
                + link.writing.seal(APPLICATION_DATA, bytes(BLOCK_SIZE)))
    assert alert_to(address, sent) == UNEXPECTED_MESSAGE


def test_authentication_after_the_handshake_is_not_asked_for(address):
    """The offer is taken notice of by nobody."""
    assert is_served(address, extra=[(49, b"")])


# ---- the hello ----

def grease():
    """Extensions as browsers mix them in."""
    return [(0x0a0a, b""), (0xfafa, b"\0")]


def test_grease(address):
    """Values that mean nothing are passed over, among suites and extensions."""
    assert is_served(address, extra=grease(), suites=b"".join(GREASE) + b"\x13\x03")


def test_ticket_of_nobody(address):
    """A hello that goes on from a session that never was has an ordinary handshake."""
    identity = sized(os.urandom(200), 2) + bytes(4)
    offer = sized(identity, 2) + sized(sized(os.urandom(32), 1), 2)
    assert is_served(address, extra=[(45, b"\x01\x01")], last=[(41, offer)])


@pytest.mark.parametrize("size", [1, 3, 100])
def test_hello_in_pieces(address, size):
    """A hello may be cut into records anywhere."""
    assert is_served(address, size=size)


def test_hello_with_many_extensions(address):
    """Thousands of unknown ones."""
    assert is_served(address, extra=[(0x4000 + n, b"") for n in range(3000)])


def test_hello_with_large_extensions(address):
    """As large as hellos of keys to come, and larger."""
    assert is_served(address, extra=[(0x4000 + n, bytes(12000)) for n in range(5)])


def test_repeated_extension_is_refused(address):
    """A hello says nothing twice."""
    with pytest.raises(Closed, match="record 21"):
        is_served(address, extra=[(16, sized(sized(b"smp/1", 1), 2))])


HELLOS = {
    "length of 16 MB": b"\x01\xff\xff\xff" + bytes(RECORD_MAX - 4),
    "many suites": client_hello(hello_extensions(bytes(32)), suites=b"\x0a\x0a" * 30000),
    "cut": client_hello(hello_extensions(bytes(32)))[:-20] + b"",
    "no extensions": message(CLIENT_HELLO, b"\x03\x03" + bytes(32) + b"\0\0\2\x13\x03\1\0"),
    "long session id": client_hello(hello_extensions(bytes(32)), session_id=bytes(200)),
    "low order key": client_hello(hello_extensions(bytes(32))),
    "finished first": message(FINISHED, bytes(32)),
    "key update first": message(KEY_UPDATE, b"\0"),
}


def test_bad_hellos(own_server):
    """A hello that is none ends with an alert, or by the time limit when more has to come."""
    server = own_server({("LIMITS", "handshake_timeout"): 1})
    for hello in HELLOS.values():
        with RawTls(server.address) as link:
            link.send_message(hello)
            began = time.monotonic()
            link.end(PATIENCE)
            assert time.monotonic() - began < PATIENCE
    assert is_served(server.address)


def test_early_data_is_skipped(address):
    """A hello that announces it has an ordinary handshake, and the data is never SMP; more than a
    record's worth is refused."""
    hello = [(45, b"\x01\x01"), (42, b"")]
    assert is_served(address, extra=hello, early=plain_record(APPLICATION_DATA, os.urandom(500)))
    much = plain_record(APPLICATION_DATA, os.urandom(RECORD_MAX)) * 2
    with pytest.raises((Closed, HandshakeRefused)):
        is_served(address, extra=hello, early=much)


# ---- certificates of clients ----

def der_of(certificate):
    """Bytes of a certificate."""
    return certificate.public_bytes(Encoding.DER)


def ed25519_chain(length):
    """Certificates that sign each other, the last one itself."""
    keys = [Ed25519PrivateKey.generate() for _ in range(length)]
    chain = [make_certificate("root", keys[0], authority=True)]
    for key, signer in zip(keys[1:], keys):
        chain.insert(0, make_certificate("below", key, chain[0], signer, authority=True))
    return [der_of(cert) for cert in chain]


def odd_chains():
    """What no client shows."""
    one = ed25519_chain(1)[0]
    two = ed25519_chain(2)
    return {
        "empty": [b""], "garbage": [os.urandom(300)], "cut": [one[:-1]], "longer": [one + b"\0"],
        "length that lies": [b"\x30\x84\xff\xff\xff\xff" + one],
        "deep": [b"\x30\x80" * 4000], "same again": [one] * 30, "long": ed25519_chain(12),
        "many empty": [b""] * 3000, "beyond the limit": [one] * 200,
        "reversed": two[::-1], "leaf twice": [two[0], two[0], two[1]],
        "good but unproved": two,
    }


ODD_CHAINS = odd_chains()


@pytest.mark.parametrize("what", ODD_CHAINS)
def test_odd_chains_are_refused(address, what):
    """Chains of odd shapes, and a good one without proof of its key, end with an alert."""
    with RawTls(address) as link:
        try:
            link.shake_hands(certificates=ODD_CHAINS[what])
        except Closed:
            return
        assert link.end(PATIENCE) is not None


# ---- memory ----

def test_memory_is_bounded(own_server):
    """A hundred connections, each in the middle of a large hello, cost a hundred hellos, and give
    them back."""
    server = own_server()
    before = server.rss_kib()
    hello = b"\x01" + (100000).to_bytes(3, "big") + bytes(60000)
    links = [RawTls(server.address) for _ in range(100)]
    for link in links:
        link.send_message(hello)
    assert is_served(server.address)
    assert server.rss_kib() - before < 100 * 300 + GROWTH_KIB or server.is_sanitized()
    for link in links:
        link.close()
    assert is_served(server.address)
