# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever a client sends, the answer is an error or the end of its connection, and the server
goes on serving others: wire sections 1 to 5."""

import os
import random
import shutil
import socket
import struct
import subprocess
import time

import pytest
from smp import Link, Queue, X25519Key, make_key, new_command
from smp.commands import lset_command, pfwd_command, prxy_command, rkey_command, send_command
from smp.connection import Connection
from smp.crypto import BLOCK_SIZE
from smp.encoding import items, large, pad, short, word16
from smp.keys import FixedAuth
from smp.rawtls import (ALERT, FATAL, HANDSHAKE, client_hello_record, compression_of, exchange,
                        first_flight, sized)
from smp.transmissions import batch
from smp.transport import Closed, client_hello

PATIENCE = 15
HANDSHAKE_TIMEOUT = 2
BROKER_TAGS = ["IDS", "SOK", "SOKS", "ENDS", "ALLS", "MSG", "NID", "NMSG", "LNK", "PKEY", "PRES",
               "RRES", "INFO", "END", "DELD", "OK", "PONG", "ERR"]


@pytest.fixture(autouse=True)
def still_serving(request):
    """After each test a fresh client is served."""
    target = None
    if "address" in request.fixturenames:
        target = request.getfixturevalue("address")
    yield
    if target:
        with Connection(target, 18) as conn:
            conn.ping()


def block_error(conn, content):
    """Sends content that cannot be split into transmissions; the answer is BLOCK."""
    conn.write_content(content)
    event = conn.event()
    assert event.raw == b"ERR BLOCK"
    assert event.entity == b""
    conn.ping()


def test_empty_content(connect, version):
    """A block without a count byte: ERR BLOCK with an empty corrId, and the session goes on."""
    block_error(connect(), b"")


def test_block_of_no_transmissions(connect, version):
    """A count of zero: the list must not be empty (wire 2 and 4)."""
    block_error(connect(), b"\0")
    block_error(connect(), b"\0" + large(b"anything"))


def test_count_larger_than_the_transmissions(connect, version):
    """A count that promises more than there is."""
    conn = connect()
    ping = batch([conn.make(b"PING").data])
    for count in (2, 3, 255):
        block_error(conn, bytes((count,)) + ping[1:])


def test_count_smaller_than_the_transmissions(connect, version):
    """A count that leaves bytes over."""
    conn = connect()
    pings = batch([conn.make(b"PING").data for _ in range(3)])
    for count in (1, 2):
        block_error(conn, bytes((count,)) + pings[1:])


def test_bytes_after_the_transmissions(connect):
    """Bytes between the last transmission and the end of the content."""
    conn = connect()
    block_error(conn, batch([conn.make(b"PING").data]) + b"x")


@pytest.mark.parametrize("length", [0xFFFF, 0x4000, 0x3FFF, 100])
def test_transmission_longer_than_the_block(connect, length):
    """A transmission whose length runs past the content."""
    conn = connect()
    block_error(conn, b"\1" + word16(length) + conn.make(b"PING").data)


def test_length_cut_short(connect):
    """A transmission length of one byte."""
    block_error(connect(), b"\1\0")


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\x18", b"\0\x18abc", b"\0\0", b"\0\0\x05abc",
                                  b"\xff", b"\x40" + bytes(20)], ids=range(8))
def test_cut_transmission(connect, data):
    """A transmission that ends inside its fields: ERR BLOCK in its place, others are answered."""
    conn = connect()
    one, two = conn.make(b"PING"), conn.make(b"PING")
    conn.write_content(batch([one.data, data, two.data]))
    answers = conn.read()
    assert [a.raw for a in answers] == [b"PONG", b"ERR BLOCK", b"PONG"]
    assert [a.corr_id for a in answers] == [one.corr_id, b"", two.corr_id]


def test_garbage_transmission_version_6(connect):
    """The session identifier may be cut too."""
    conn = connect(6)
    for data in (b"\0\x20" + bytes(31), b"\0" + short(conn.session.session_id) + b"\x01"):
        block_error(conn, batch([data]))


@pytest.mark.parametrize("size", [1, 16, 63, 65, 79, 81, 113, 115, 255])
def test_authorization_of_another_size(connect, version, size):
    """An authorization that is neither signature nor authenticator: ERR BLOCK (wire 4)."""
    conn = connect()
    conn.write([conn.make(b"SUB", bytes(24), FixedAuth(bytes(size)))])
    (answer,) = conn.read()
    assert answer.raw == b"ERR BLOCK"
    conn.ping()


def test_wrong_session_identifier(connect):
    """Version 6: a transmission of another session answers SESSION (wire 4)."""
    conn = connect(6)
    ping = conn.make(b"PING").data
    at = 2
    size = len(conn.session.session_id)
    for wrong in (os.urandom(size), bytes(size)):
        conn.write_content(batch([ping[:at] + wrong + ping[at + size:]]))
        (answer,) = conn.read()
        assert answer.raw == b"ERR SESSION"
    for short_id in (b"", conn.session.session_id[:-1]):
        conn.write_content(batch([b"\0" + short(short_id) + ping[at + size:]]))
        (answer,) = conn.read()
        assert answer.raw == b"ERR SESSION"
    conn.ping()


@pytest.mark.parametrize("flag", [b"2", b"1", b"1\x3f", b"1\x40" + bytes(10), b"x", b"\0"],
                         ids=range(6))
def test_bad_service_signature_field(connect, flag):
    """A service signature that cannot be read (wire 4)."""
    conn = connect(18)
    data = short(bytes(64)) + flag + b"\0\0PING"
    conn.write_content(batch([data if flag != b"1" else short(bytes(64)) + flag]))
    (answer,) = conn.read()
    assert answer.raw == b"ERR BLOCK"
    conn.ping()


def error_or_end(conn, block):
    """Sends a whole block; the server answers ERR BLOCK or closes."""
    conn.link.write(block)
    try:
        assert conn.event().raw == b"ERR BLOCK"
    except Closed:
        pass


@pytest.mark.parametrize("version", [6, 8, 10])
@pytest.mark.parametrize("length", [BLOCK_SIZE - 1, BLOCK_SIZE, 0xFFFF])
def test_plain_block_with_bad_padding(connect, version, length):
    """A padding length past the end of the block (wire 2)."""
    error_or_end(connect(), word16(length) + bytes(BLOCK_SIZE - 2))


@pytest.mark.parametrize("version", range(11, 20))
def test_sealed_block_that_was_changed(connect, version):
    """A block whose tag is wrong (wire 2)."""
    conn = connect()
    block = bytearray(conn.session.seal(batch([conn.make(b"PING").data])))
    block[5000] ^= 1
    error_or_end(conn, bytes(block))


def test_sealed_block_repeated(connect):
    """A block that is sent twice is refused: its key was used (wire 2)."""
    conn = connect()
    block = conn.session.seal(batch([conn.make(b"PING").data]))
    conn.link.write(block)
    assert conn.read()[0].raw == b"PONG"
    error_or_end(conn, block)


def test_plain_block_in_a_sealed_session(connect):
    """Version 18 without block encryption is not read."""
    conn = connect()
    error_or_end(conn, pad(batch([conn.make(b"PING").data]), BLOCK_SIZE))


@pytest.mark.parametrize("version", [6, 8, 10])
def test_any_padding_bytes(connect, version):
    """What follows the stated length is ignored, whatever it is (wire 2)."""
    conn = connect()
    ping = conn.make(b"PING")
    content = batch([ping.data])
    block = word16(len(content)) + content
    conn.link.write(block + os.urandom(BLOCK_SIZE - len(block)))
    assert conn.wait(ping).raw == b"PONG"


@pytest.mark.parametrize("tag", BROKER_TAGS)
def test_broker_tags_are_unknown_commands(connect, tag):
    """Tags of server messages are no commands: CMD UNKNOWN (wire 5)."""
    conn = connect()
    for command in (tag.encode(), tag.encode() + b" x"):
        assert conn.request(command).raw == b"ERR CMD UNKNOWN"
        answer = conn.request(command, bytes(24), make_key("ed25519"))
        assert answer.raw == b"ERR CMD UNKNOWN"


@pytest.mark.parametrize("command", [
    b"", b" ", b"ping", b"PINGS", b"PIN", b"PING\n", b"SUB=", b"\0", b"\xff\xfe", b"HELLO",
    b"SUBSCRIBE", b"NEW\0", b" PING", b"KEYS x", b"A" * 300, b"SEND\tF x", b"SUB\r\n"])
def test_unknown_commands(connect, version, command):
    """A tag that is no command: CMD UNKNOWN (wire 5)."""
    conn = connect()
    assert conn.request(command).raw == b"ERR CMD UNKNOWN"


BARE = ["SUB", "LDEL", "NDEL", "GET", "OFF", "DEL", "QUE", "PING", "LGET", "NSUB"]


@pytest.mark.parametrize("tag", BARE)
@pytest.mark.parametrize("rest", [b" ", b" x", b"  ", b" \0", b" \x01x"])
def test_bytes_after_a_command_without_parameters(connect, tag, rest):
    """Bytes left over: CMD SYNTAX (wire 5)."""
    conn = connect()
    queue = Queue.create(conn)
    command = tag.encode() + rest
    assert queue.recipient(conn, command).raw == b"ERR CMD SYNTAX"
    assert queue.recipient(conn, b"QUE").tag == "INFO"


ED, DH = make_key("ed25519").der, X25519Key().der
FULL = {
    "KEY": b"KEY " + short(ED), "SKEY": b"SKEY " + short(ED), "LKEY": b"LKEY " + short(ED),
    "RKEY": rkey_command([ED, make_key("ed448").der]), "ACK": b"ACK " + short(bytes(24)),
    "NKEY": b"NKEY " + short(ED) + short(DH), "LSET": lset_command(bytes(24), b"fix", b"user"),
    "PRXY": prxy_command(b"relay.example", b"5223", bytes(32), b"word"),
    "NEW": new_command(18, ED, DH, password=b"word", mode="C",
                       link=(bytes(24), bytes(24), b"fixed", b"user")),
}


@pytest.mark.parametrize("name", FULL)
def test_commands_cut_anywhere(connect, name):
    """A command that ends anywhere inside its parameters: CMD SYNTAX; within its tag: UNKNOWN."""
    conn = connect(18)
    command = FULL[name]
    cuts = [command[:size] for size in range(len(name), len(command))]
    for start in range(0, len(cuts), 60):
        sent = [conn.make(cut, bytes(24)) for cut in cuts[start:start + 60]]
        conn.write(sent)
        answers = {conn.wait(item).raw for item in sent}
        assert answers == {b"ERR CMD SYNTAX"}


@pytest.mark.parametrize("name", FULL)
def test_bytes_after_a_command(connect, name):
    """A command with a byte too much: CMD SYNTAX (wire 5)."""
    conn = connect(18)
    for extra in (b"\0", b" ", b"x" * 100):
        assert conn.request(FULL[name] + extra, bytes(24)).raw == b"ERR CMD SYNTAX"


@pytest.mark.parametrize("command", [
    b"PFWD", b"PFWD ", b"PFWD \0", b"PFWD \0\x12" + short(ED), b"RFWD", b"PRXY",
    b"PRXY " + items([]) + short(b"5223") + short(bytes(32)) + b"0",
    pfwd_command(18, DH[:-1], bytes(10))], ids=range(8))
def test_proxy_command_syntax(connect, command):
    """Malformed proxy commands: CMD SYNTAX, also where no entity was sent."""
    assert connect().request(command).raw == b"ERR CMD SYNTAX"


@pytest.mark.parametrize("command", [
    b"LSET " + short(bytes(24)) + b"\xff\xff" + b"data", b"LSET \xff" + bytes(100),
    b"KEY \xff" + ED, b"KEY \x2d" + ED, b"ACK \xff", b"RKEY \xff" + short(ED)], ids=range(6))
def test_lengths_that_lie(connect, command):
    """A length inside a command that runs past its end: CMD SYNTAX."""
    conn = connect()
    queue = Queue.create(conn)
    assert queue.recipient(conn, command).raw == b"ERR CMD SYNTAX"


def survive(address, version, contents):
    """Sends contents of any kind; whatever comes back must be errors, or the connection ends."""
    conn = Connection(address, version)
    try:
        for content in contents:
            conn.write_content(content)
            for answer in conn.read():
                assert answer.tag in ("ERR", "OK", "SOK", "PONG", "INFO", "MSG", "IDS", "NID")
    except Closed:
        pass
    finally:
        conn.close()


@pytest.mark.parametrize("seed", range(6))
def test_random_contents(address, seed):
    """Random bytes in well-formed blocks."""
    source = random.Random(seed)
    version = source.choice([6, 7, 10, 11, 16, 18])
    survive(address, version, [source.randbytes(source.choice([1, 5, 40, 300, 16000]))
                               for _ in range(60)])


@pytest.mark.parametrize("seed", range(6))
def test_random_changes_of_good_commands(address, seed):
    """Good transmissions with a few bytes changed."""
    source = random.Random(1000 + seed)
    version = source.choice([7, 9, 15, 16, 17, 18])
    with Connection(address, version) as conn:
        queue = Queue.create(conn, mode="C")
        texts = [*FULL.values(), send_command(b"hello"), b"SUB", b"QUE", b"GET", b"PING"]
        contents = []
        for _ in range(150):
            command = source.choice(texts)
            entity = source.choice([queue.rcv_id, queue.snd_id, b""])
            data = bytearray(conn.make(command, entity, queue.rcv_key).data)
            for _ in range(source.choice([1, 1, 2, 5])):
                data[source.randrange(len(data))] = source.randrange(256)
            contents.append(batch([bytes(data)]))
    survive(address, version, contents)


# Below: what happens before, beside and instead of the SMP handshake.


def plain(address, data=b""):
    """A TCP connection that sent these bytes."""
    sock = socket.create_connection((address.host, address.port), PATIENCE)
    if data:
        sock.sendall(data)
    return sock


def ends(sock):
    """Whether the server ends a plain TCP connection."""
    sock.settimeout(PATIENCE)
    try:
        while sock.recv(65536):
            pass
        return True
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    finally:
        sock.close()


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(100),
    b"\x16\x03\x01\xff\xff" + bytes(100), b"\x16\x03\x01\0\0" * 3, b"\x15\x03\x01\0\2\2\0",
    b"\x17\x03\x03\0\x20" + bytes(32), os.urandom(1000)],
    ids=["HTTP", "SSH", "zeros", "huge record", "empty records", "alert", "data", "random"])
def test_what_is_not_tls(own_server, data):
    """Bytes that are no TLS handshake end the connection, at once or by the time limit."""
    server = own_server({("LIMITS", "handshake_timeout"): HANDSHAKE_TIMEOUT})
    assert ends(plain(server.address, data))
    with Connection(server.address, 18) as conn:
        conn.ping()


def test_plain_http_is_closed_at_once(address):
    """HTTP without TLS does not wait for the time limit (60 s by default)."""
    assert ends(plain(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))


def test_connection_that_is_reset(address):
    """TCP connections that are reset at once, in numbers."""
    for _ in range(50):
        sock = plain(address, b"\x16\x03\x01")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def test_client_that_leaves_in_the_handshake(address):
    """Clients that close after TLS, after the server's hello, after half of theirs."""
    content = pad(client_hello(18, address.identity, DH), BLOCK_SIZE)
    for part in (b"", content[:100], content[:-1]):
        with Link(address) as link:
            if part:
                link.read_block()
                link.write(part)


def test_client_that_leaves_in_a_block(connect):
    """A client that closes within a block."""
    conn = connect()
    conn.link.write(conn.session.seal(batch([conn.make(b"PING").data]))[:5000])
    conn.close()


@pytest.fixture
def strict(own_server):
    """A server with a short time limit for handshakes."""
    return own_server({("LIMITS", "handshake_timeout"): HANDSHAKE_TIMEOUT}).address


@pytest.mark.parametrize("data", [b"", b"\x16", first_flight(("smp/1",), "1.3")[:100]],
                         ids=["silence", "a byte", "half a hello"])
def test_silence_in_tcp_is_closed(strict, data):
    """TLS that does not begin or go on is closed by the time limit (wire 1)."""
    assert ends(plain(strict, data))


def test_silence_after_tls_is_closed(strict):
    """TLS without a client's handshake block is closed by the time limit (wire 1)."""
    with Link(strict) as link:
        assert link.closed_within(PATIENCE)


def test_half_a_handshake_block_is_closed(strict):
    """Half a handshake block and silence is closed by the time limit (wire 1)."""
    with Link(strict) as link:
        link.read_block()
        link.write(pad(client_hello(18, strict.identity, DH), BLOCK_SIZE)[:8000])
        assert link.closed_within(PATIENCE)


def drip(link, block):
    """Writes byte after byte until the server closes; False when it does not in time."""
    deadline = time.monotonic() + PATIENCE
    for at, _ in enumerate(block):
        if time.monotonic() > deadline:
            return False
        try:
            link.write(block[at:at + 1])
        except Closed:
            return True
        if link.closed_within(0.1):
            return True
    return False


def test_dripping_handshake_is_closed(strict):
    """A handshake that comes byte by byte does not get more time (wire 1)."""
    with Link(strict) as link:
        link.read_block()
        assert drip(link, pad(client_hello(18, strict.identity, DH), BLOCK_SIZE))


def test_silence_after_the_handshake_is_no_reason_to_close(strict):
    """The time limit of the handshake ends with it."""
    with Connection(strict, 18) as conn:
        assert not conn.closed_within(HANDSHAKE_TIMEOUT + 1.5)
        conn.ping()


def test_others_are_served_beside_silent_connections(strict):
    """Unfinished handshakes hold nobody up."""
    silent = [plain(strict) for _ in range(50)]
    half = [Link(strict) for _ in range(10)]
    for _ in range(5):
        with Connection(strict, 18) as conn:
            conn.ping()
    for link in half:
        assert link.closed_within(PATIENCE)
    for sock in silent:
        assert ends(sock)


def test_compression_is_not_chosen(address):
    """A client that offers TLS compression gets none."""
    kind, payload = exchange(address, client_hello_record(methods=b"\1\0"))
    assert kind == HANDSHAKE
    assert compression_of(payload) == (b"\xcc\xa9", 0)


def test_compression_alone_is_refused(address):
    """A client that offers compression and nothing else is refused with an alert."""
    kind, payload = exchange(address, client_hello_record(methods=b"\1"))
    assert kind == ALERT and payload[0] == FATAL


@pytest.mark.parametrize("version", [b"\x03\x02", b"\x03\x01", b"\x03\x00"])
def test_old_tls_versions_are_refused(address, version):
    """TLS 1.1, 1.0 and SSL 3 are refused with an alert (wire 1)."""
    kind, payload = exchange(address, client_hello_record(version=version))
    assert kind == ALERT and payload[0] == FATAL


@pytest.mark.parametrize("suites", [b"\x13\x01", b"\xc0\x2b", b"\x00\x2f\xcc\xa8"])
def test_other_suites_are_refused(address, suites):
    """Without a ChaCha20 suite for Ed25519 or Ed448 there is no handshake (wire 1)."""
    kind, payload = exchange(address, client_hello_record(suites=suites))
    assert kind == ALERT and payload[0] == FATAL


def test_cut_client_hello_is_refused(address):
    """A ClientHello whose inner lengths lie is refused, not waited for."""
    record = bytearray(client_hello_record())
    record[43] = 200
    answer = exchange(address, bytes(record))
    assert answer is None or answer[0] == ALERT


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
def test_renegotiation_is_refused(address):
    """A client of TLS 1.2 that asks for renegotiation gets no second handshake (wire 1)."""
    command = ["openssl", "s_client", "-connect", f"{address.host}:{address.port}", "-tls1_2",
               "-alpn", "smp/1", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305", "-msg"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as client:
        client.stdin.write(b"R\n")
        client.stdin.flush()
        try:
            output, _ = client.communicate(timeout=4)
        except subprocess.TimeoutExpired:
            client.kill()
            output, _ = client.communicate()
    assert b"RENEGOTIATING" in output
    assert output.count(b", ServerHello\n") == 1


def test_tls_ends_in_a_record(address):
    """A TLS connection that is cut within a record."""
    link = Link(address)
    link.read_block()
    raw = socket.socket(fileno=os.dup(link.tls.fileno()))
    raw.settimeout(PATIENCE)
    raw.sendall(b"\x17\x03\x03" + sized(bytes(10), 2)[:5])
    raw.close()
    link.close()


def test_changed_tls_record_ends_the_connection(address):
    """A TLS record that does not authenticate ends the connection."""
    link = Link(address)
    link.read_block()
    raw = socket.socket(fileno=os.dup(link.tls.fileno()))
    raw.settimeout(PATIENCE)
    raw.sendall(b"\x17\x03\x03" + sized(os.urandom(100), 2))
    raw.close()
    with link:
        assert link.closed_within(PATIENCE)
