# SPDX-License-Identifier: AGPL-3.0-or-later
"""SMP over WebSocket: an ordinary session behind its framing, and what is refused there, each with
the code for it, while others are served."""

import base64
import contextlib
import os
import time

import pytest
from smp.connection import Connection
from smp.crypto import BLOCK_SIZE
from smp.encoding import unpad
from smp.keys import make_key
from smp.queue import Queue
from smp.transmissions import batch
from smp.transport import Closed, HandshakeRefused, ServerHello
from smp.websocket import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, ClosedWith, NoUpgrade,
                           WebLink, challenge_text, close_payload, frame,
                           upgrade_request)

VERSION = 18
PATIENCE = 20
GOING_AWAY, PROTOCOL_ERROR, NOT_BINARY, WRONG_LENGTH, TOO_OFTEN, TOO_LONG = (
    1001, 1002, 1003, 1007, 1008, 1009)
PINGS_PER_SECOND = 10
SLOW = 65536, 1 << 20
HELLO = bytes(BLOCK_SIZE)


@pytest.fixture
def web(own_server):
    """Function: starts a server with a port for WebSocket; gives it and the address of that."""

    def start(ini=None):
        server = own_server(ini, has_websocket=True)
        return server, server.web_address()

    return start


@pytest.fixture
def address(shared_server):
    """A port for WebSocket, whose server serves a client that was there before, after each test."""
    if shared_server is None:
        pytest.skip("where it has WebSocket is not known")
    found = shared_server.web_address()
    with connect(found) as conn:
        yield found
        conn.ping()
    shared_server.check()


def connect(address, version=VERSION, **options):
    """A session over WebSocket."""
    return Connection(address, version, link=WebLink(address, **options))


# ---- an ordinary session ----

@pytest.mark.parametrize("version", [6, 7, 11, 14, 18, 19, 20])
def test_life_of_a_queue(address, server_versions, version):
    """NEW, KEY, SEND, MSG, ACK, SUB and DEL, between two clients that came by WebSocket."""
    if version > server_versions[1]:
        pytest.skip("the server offers less")
    with connect(address, version) as recipient, connect(address, version) as sender:
        queue = Queue.create(recipient)
        assert queue.key(recipient, make_key("ed25519")).raw == b"OK"
        assert queue.send(sender, b"first").raw == b"OK"
        message = queue.next_message(recipient)
        assert message.body == b"first"
        assert queue.ack(recipient, message.msg_id).raw == b"OK"
    with connect(address, version) as again, connect(address, version) as sender:
        assert queue.sub(again).tag in ("OK", "SOK")
        assert queue.send(sender, bytes(range(256)) * 40).raw == b"OK"
        message = queue.next_message(again)
        assert message.body == bytes(range(256)) * 40
        assert queue.ack(again, message.msg_id).raw == b"OK"
        assert queue.recipient(again, b"DEL").raw == b"OK"
        assert queue.sub(again).raw == b"ERR AUTH"


def test_with_plain_clients(address, shared_server):
    """It is one server: who came by WebSocket gets what others send, and the other way round."""
    with connect(address) as one, Connection(shared_server.address, VERSION) as other:
        for recipient, sender in ((one, other), (other, one)):
            queue = Queue.create(recipient)
            assert queue.send(sender, b"across").raw == b"OK"
            assert queue.next_message(recipient).body == b"across"


def test_many_blocks_in_both_directions(address):
    """Blocks that are sent without waiting are answered in their order."""
    with connect(address) as conn:
        sent = [conn.make(b"PING") for _ in range(300)]
        conn.link.write(b"".join(conn.session.seal(batch([item.data])) for item in sent))
        for item in sent:
            assert conn.wait(item).raw == b"PONG"


def test_no_alpn_is_version_6(address):
    """As without WebSocket: who agrees on no protocol is offered version 6 alone; it has no proof."""
    with WebLink(address, alpn=(), challenge=os.urandom(32)) as link:
        hello = ServerHello.parse(unpad(link.read_block()))
        assert (hello.min_version, hello.max_version, hello.rest) == (6, 6, b"")


def test_http_1_whatever_alpn_says(address):
    """The names of ALPN are those of SMP there; HTTP/2 is not spoken."""
    with connect(address, alpn=("h2", "http/1.1")) as conn, connect(address, alpn=("smp/1",)) as other:
        conn.ping()
        other.ping()


# ---- the proof ----

@pytest.mark.parametrize("target", ["/", "/any/path", "/?x=1&challenge={}", "/?challenge={}&y"])
def test_challenge_is_signed(address, target):
    """The hello ends with the signature (Session checks it); on any path, beside anything else."""
    challenge = os.urandom(32)
    if "{}" in target:
        link = WebLink(address, target=target.format(challenge_text(challenge)))
        link.challenge = challenge
    else:
        link = WebLink(address, target=target, challenge=challenge)
    with Connection(address, VERSION, link=link) as conn:
        assert len(conn.session.hello.rest) == 1 + 64
        conn.ping()


@pytest.mark.parametrize("query", [
    "", "?challenge=", "?challenge=" + challenge_text(bytes(31)),
    "?challenge=" + challenge_text(bytes(33)), "?challenge=" + challenge_text(bytes(32)) + "=",
    "?challenge=" + "A" * 42 + "B", "?challenge=" + "+" * 43, "?Challenge=" + "A" * 43,
    "?xchallenge=" + "A" * 43, "?challenge=" + "A" * 42 + "%41"])
def test_no_challenge_no_proof(address, query):
    """What is no challenge is none: the hello is as ever."""
    with connect(address, target="/" + query) as conn:
        assert conn.session.hello.rest == b""
        conn.ping()


# ---- messages ----

def cut(data, *sizes):
    """Fragments of a message of these sizes, and the rest."""
    out, at = [], 0
    for size in sizes:
        out.append(data[at:at + size])
        at += size
    out.append(data[at:])
    return [frame(BINARY if n == 0 else CONTINUATION, part, final=n == len(out) - 1)
            for n, part in enumerate(out)]


@pytest.mark.parametrize("sizes", [(1,), (0, 0, 16383), (5000, 5000), (16384,), (125, 126, 127)])
def test_fragments_are_joined(address, sizes):
    """A block may come in any number of frames, and pings between them."""
    with connect(address) as conn:
        for _ in range(3):
            sent = conn.make(b"PING")
            parts = cut(conn.session.seal(batch([sent.data])), *sizes)
            conn.link.write_bytes(frame(PING, b"between").join(parts))
            assert conn.wait(sent).raw == b"PONG"
        assert conn.link.pongs == [b"between"] * len(conn.link.pongs) != []


def test_byte_by_byte(address):
    """A frame that comes a byte at a time."""
    with connect(address) as conn:
        sent = conn.make(b"PING")
        data = frame(BINARY, conn.session.seal(batch([sent.data])))
        for at in range(30):
            conn.link.write_bytes(data[at:at + 1])
        conn.link.write_bytes(data[30:-1])
        conn.link.write_bytes(data[-1:])
        assert conn.wait(sent).raw == b"PONG"


WRONG = {
    "text": (frame(TEXT, HELLO), NOT_BINARY),
    "empty text": (frame(TEXT), NOT_BINARY),
    "unmasked": (frame(BINARY, HELLO, mask=False), PROTOCOL_ERROR),
    "unmasked ping": (frame(PING, mask=False), PROTOCOL_ERROR),
    "short": (frame(BINARY, HELLO[1:]), WRONG_LENGTH),
    "empty": (frame(BINARY), WRONG_LENGTH),
    "short fragments": (b"".join(cut(bytes(100), 10, 20)), WRONG_LENGTH),
    "long": (frame(BINARY, HELLO + b"x"), TOO_LONG),
    "long fragments": (frame(BINARY, HELLO, final=False) + frame(CONTINUATION, b"x"), TOO_LONG),
    "huge": (frame(BINARY, b"x", length=1 << 40), TOO_LONG),
    "impossible": (frame(BINARY, b"x", length=1 << 63), PROTOCOL_ERROR),
    "length in a longer form": (frame(BINARY, b"x", length=1), PROTOCOL_ERROR),
    "reserved bit": (frame(BINARY, HELLO, reserved=4), PROTOCOL_ERROR),
    "reserved bit of a ping": (frame(PING, b"x", reserved=1), PROTOCOL_ERROR),
    "unknown": (frame(3, HELLO), PROTOCOL_ERROR),
    "unknown control": (frame(11, b"x"), PROTOCOL_ERROR),
    "continues nothing": (frame(CONTINUATION, HELLO), PROTOCOL_ERROR),
    "begins twice": (frame(BINARY, b"x", final=False) + frame(BINARY, HELLO), PROTOCOL_ERROR),
    "text in between": (frame(BINARY, b"x", final=False) + frame(TEXT, b"x"), NOT_BINARY),
    "long ping": (frame(PING, bytes(126)), PROTOCOL_ERROR),
    "fragment of a ping": (frame(PING, b"x", final=False), PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_frames(address, name):
    """Each ends its connection with the code for it, at once, whatever the session waits for."""
    data, code = WRONG[name]
    with connect(address) as conn:
        conn.link.write_bytes(data)
        assert conn.link.end(PATIENCE) == code
    with WebLink(address) as link:
        link.write_bytes(data)
        assert link.end(PATIENCE) == code


def test_wrong_hello(address):
    """What is wrong with SMP, not with its framing, ends the connection as it ends others."""
    with WebLink(address) as link:
        link.read_block()
        link.write_bytes(frame(BINARY, HELLO))
        with pytest.raises(Closed) as caught:
            link.read_block()
        assert not isinstance(caught.value, ClosedWith)


# ---- control frames ----

def test_pings(address):
    """A pong with the same bytes; pongs that nobody asked for are taken."""
    with connect(address) as conn:
        for payload in (b"", b"x", bytes(range(125))):
            conn.link.write_bytes(frame(PING, payload) + frame(PONG, payload))
            conn.ping()
            assert conn.link.pongs.pop() == payload


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_too_many_pings(address, opcode):
    """More than ten in a second end the connection."""
    with connect(address) as conn:
        conn.link.write_bytes(frame(opcode, b"x") * (2 * PINGS_PER_SECOND + 2))
        assert conn.link.end(PATIENCE) == TOO_OFTEN
        assert len(conn.link.pongs) <= 2 * PINGS_PER_SECOND


CLOSES = [
    (b"", None), (close_payload(1000), 1000), (close_payload(1001, b"going"), 1001),
    (close_payload(3000), 3000), (close_payload(4999, b"x" * 123), 4999), (b"x", PROTOCOL_ERROR),
    (close_payload(999), PROTOCOL_ERROR), (close_payload(1004), PROTOCOL_ERROR),
    (close_payload(1005), PROTOCOL_ERROR), (close_payload(1006), PROTOCOL_ERROR),
    (close_payload(1012), PROTOCOL_ERROR), (close_payload(5000), PROTOCOL_ERROR)]


@pytest.mark.parametrize("payload, code", CLOSES)
def test_close_is_answered(address, payload, code):
    """With its own code, if it is one, and what comes after it is not looked at."""
    with connect(address) as conn:
        conn.link.write_bytes(frame(CLOSE, payload) + frame(TEXT, b"x"))
        assert conn.link.end(PATIENCE) == code


def test_close_inside_of_a_message(address):
    """It may come between two fragments."""
    with connect(address) as conn:
        conn.link.write_bytes(frame(BINARY, b"x", final=False) + frame(CLOSE, close_payload(1000)))
        assert conn.link.end(PATIENCE) == 1000


def test_stop_is_told(web):
    """Clients of a server that stops get what is due to them, and are told."""
    server, address = web()
    with connect(address) as conn, WebLink(address) as link:
        link.read_block()
        sent = conn.make(b"PING")
        conn.write([sent])
        assert conn.wait(sent).raw == b"PONG"
        server.stop()
        assert conn.link.end(PATIENCE) == GOING_AWAY
        assert link.end(PATIENCE) == GOING_AWAY


# ---- the upgrade ----

REFUSED = {
    "an old version": ({"Sec_WebSocket_Version": "8"}, 426),
    "two versions": ({"Sec_WebSocket_Version": "13, 8"}, 426),
    "no version": ({"Sec_WebSocket_Version": None}, 426),
    "no key": ({"Sec_WebSocket_Key": None}, 400),
    "a short key": ({"Sec_WebSocket_Key": base64.b64encode(bytes(15)).decode()}, 400),
    "a long key": ({"Sec_WebSocket_Key": base64.b64encode(bytes(17)).decode()}, 400),
    "another alphabet": ({"Sec_WebSocket_Key": "-" * 21 + "A=="}, 400),
    "a key that is none": ({"Sec_WebSocket_Key": "!" * 24}, 400),
    "no connection": ({"Connection": None}, 400),
    "another connection": ({"Connection": "keep-alive"}, 400),
    "a body": ({"Content_Length": "1"}, 413),
    "chunks": ({"Transfer_Encoding": "chunked"}, 400),
    "another upgrade": ({"Upgrade": "h2c"}, 404),
    "no upgrade": ({"Upgrade": None}, 404),
    "no host": ({"Host": None}, 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_upgrades(address, name):
    """The status says why; nothing else is served there."""
    changed, status = REFUSED[name]
    with WebLink(address, raw=True) as link:
        changed = dict(changed)
        with pytest.raises(NoUpgrade) as caught:
            link.write_bytes(upgrade_request(**changed))
            raise NoUpgrade(*link.read_head())
        assert caught.value.status == status
        assert (caught.value.fields.get("sec-websocket-version") == "13") == (status == 426)


HOSTILE = {
    "HEAD": b"HEAD" + upgrade_request()[3:],
    "POST": b"POST" + upgrade_request()[3:],
    "HTTP/1.0": upgrade_request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "bare LF": upgrade_request().replace(b"\r\n", b"\n"),
    "space": upgrade_request().replace(b"Upgrade: ", b"Upgrade : "),
    "twice": upgrade_request() + upgrade_request(),
    "a frame behind": upgrade_request() + frame(PING),
    "TLS": b"\x16\x03\x01" + bytes(100),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_upgrades(address, name):
    """Refused, and cut off; frames do not begin."""
    data = HOSTILE[name]
    with WebLink(address, raw=True) as link:
        link.write_bytes(data)
        status, _ = link.read_head()
        assert status in (400, 405)
        assert link.closed_within(PATIENCE)


@pytest.mark.parametrize("changed", [
    {"Connection": "keep-alive, Upgrade"}, {"Connection": "UPGRADE"}, {"Upgrade": "WebSocket"},
    {"Upgrade": "foo, websocket"}, {"Origin": "https://example.org"},
    {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"},
    {"Sec_WebSocket_Protocol": "chat, superchat"}])
def test_upgrades_of_browsers(address, changed):
    """As browsers ask: nothing more is agreed on (upgrade() looks at that)."""
    with WebLink(address, raw=True) as link:
        link.upgrade("/", **changed)
        with Connection(address, VERSION, link=link) as conn:
            conn.ping()


def test_upgrade_in_pieces(address):
    """The request may come a byte at a time, and after another one that found nothing."""
    with WebLink(address, raw=True) as link:
        link.write_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert link.read_head()[0] == 404
        for byte in upgrade_request():
            link.write_bytes(bytes([byte]))
        assert link.read_head()[0] == 101
        with Connection(address, VERSION, link=link) as conn:
            conn.ping()


def test_nothing_else_there(address):
    """SMP without HTTP is not spoken on such a port."""
    with WebLink(address, raw=True, alpn=("smp/1",)) as link:
        with pytest.raises(TimeoutError):
            link.read_frame(0.3)
        link.write_bytes(bytes(BLOCK_SIZE))
        assert link.read_head()[0] == 400
        assert link.closed_within(PATIENCE)


# ---- limits ----

def test_slow_handshakes(web):
    """Whoever does not go on is let go: before the upgrade, after it, and inside of a frame."""
    _, address = web({("LIMITS", "handshake_timeout"): 2})
    begun = time.monotonic()
    with WebLink(address) as silent, WebLink(address) as begins:
        silent.read_block()
        begins.read_block()
        begins.write_bytes(frame(BINARY, HELLO)[:5])
        assert silent.closed_within(PATIENCE)
        assert begins.closed_within(PATIENCE)
        assert time.monotonic() - begun < PATIENCE


def test_slow_reader(web):
    """A client that asks for 47 MB and reads nothing costs bounded memory, disturbs nobody, its
    pings are not kept, and it gets every answer in order once it reads."""
    server, address = web({("LIMITS", "pending_bytes_per_client"): 262144})
    with connect(address, buffers=SLOW) as slow, connect(address) as other:
        queue = Queue.create(slow, mode="C", link=(os.urandom(24), b"", os.urandom(15000)))
        for _ in range(20):
            other.ping()
        before = server.rss_kib()
        sent = [[slow.make(b"LGET", queue.ids.link_id) for _ in range(255)] for _ in range(12)]
        blocks = [slow.session.seal(batch([item.data for item in part])) for part in sent]
        slow.link.write(b"".join(blocks))
        slow.link.write_bytes(frame(PING, b"1") + frame(PING, b"2"))
        for _ in range(100):
            other.ping()
        assert server.rss_kib() - before < 16 * 1024 or server.is_sanitized()
        for part in sent:
            for item in part:
                assert slow.wait(item).tag == "LNK"
        slow.ping()
        assert slow.link.pongs and slow.link.pongs[-1] == b"2"


def test_counted_per_address(web):
    """Connections over WebSocket are connections of their address."""
    server, address = web({("LIMITS", "connections_per_address"): 3,
                           ("LIMITS", "limit_localhost"): "on"})
    links = [WebLink(address) for _ in range(3)]
    for refused in (lambda: WebLink(address), lambda: Connection(server.address, VERSION)):
        with pytest.raises((OSError, Closed, HandshakeRefused)):
            refused()
    for link in links:
        link.close()


def test_ends_of_peers(address):
    """Connections that end anywhere, by TLS or without it, do no harm."""
    request, data = upgrade_request(), frame(BINARY, HELLO)
    for at in (0, 1, len(request) - 1):
        with WebLink(address, raw=True) as link:
            link.write_bytes(request[:at])
    for at in (0, 1, 5, 9, 1000, len(data)):
        with WebLink(address) as link:
            link.write_bytes(data[:at])
        with WebLink(address) as link:
            link.read_block()
            link.write_bytes(data[:at])
            with contextlib.suppress(OSError):
                link.tls.unwrap().close()
    with WebLink(address) as link:
        link.write_bytes(frame(CLOSE, close_payload(1000)))
