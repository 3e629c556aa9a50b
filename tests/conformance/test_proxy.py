# SPDX-License-Identifier: AGPL-3.0-or-later
"""Private message routing between servers of ours: PRXY, PFWD, RFWD."""

import dataclasses
import os
import time

import pytest
from smp import Connection, Queue
from smp.commands import key_command, lset_command, send_command
from smp.crypto import box, dh, nonce_of, public_of, unbox
from smp.encoding import Reader, pad, short, unpad, word16
from smp.keys import Ed25519Key, FixedAuth, X25519Key, x25519_der
from smp.proxied import PADDED, Relay, connect_relay, drain, prxy, push, reverse
from smp.server import free_ports
from smp.transmissions import batch, decode, encode, unbatch

PROXY = {("PROXY", "allow_private_relays"): "on", ("PROXY", "retry_after_error"): 2,
         ("TRANSPORT", "threads"): 3}
ERR_NETWORK = b"ERR PROXY BROKER NETWORK"


@pytest.fixture(name="two")
def fixture_two(own_server):
    """A proxy and a relay."""
    return own_server(PROXY), own_server({})


@pytest.fixture(name="linked")
def fixture_linked(two):
    """(client of the proxy, relay through it, queue at the relay, its recipient)."""
    proxy, relay = two
    with Connection(relay.address) as rcv, Connection(proxy.address) as snd:
        yield snd, connect_relay(snd, relay.address), Queue.create(rcv), rcv


# ---- what a client sees ----

def test_send(linked):
    """What is sent through the proxy is delivered by the relay."""
    snd, relay, queue, rcv = linked
    assert relay.versions == (8, 17)
    assert relay.request(snd, send_command(b"hello", b"T"), queue.snd_id).raw == b"OK"
    message = queue.next_message(rcv)
    assert (message.body, message.flags) == (b"hello", b"T")


@pytest.mark.parametrize("version", range(8, 20))
def test_versions_of_client_and_proxy(linked, two, version):
    """Whatever the client speaks with the proxy, and whatever is forwarded."""
    _, _, queue, rcv = linked
    inner = min(version, 17)
    with Connection(two[0].address, version) as snd:
        relay = connect_relay(snd, two[1].address)
        body = os.urandom(16048)
        assert relay.request(snd, send_command(body), queue.snd_id, version=inner).raw == b"OK"
    assert queue.next_message(rcv).body == body


@pytest.mark.parametrize("newest, agreed", [(8, 8), (10, 10), (11, 10), (13, 10), (14, 14),
                                            (19, 17)])
def test_versions_of_relay(own_server, newest, agreed):
    """Relays before 14 do not know of proxies and would encrypt blocks: at most 10 is agreed."""
    proxy = own_server(PROXY)
    relay = own_server({("LIMITS", "smp_version_max"): newest})
    with Connection(relay.address, newest) as rcv, Connection(proxy.address) as snd:
        queue = Queue.create(rcv)
        through = connect_relay(snd, relay.address)
        assert through.versions == (8, agreed)
        assert through.request(snd, send_command(b"x"), queue.snd_id).raw == b"OK"
        assert queue.next_message(rcv).body == b"x"


def test_relay_too_old(own_server):
    """A relay without forwarding is none."""
    proxy, relay = own_server(PROXY), own_server({("LIMITS", "smp_version_max"): 7})
    with Connection(proxy.address) as snd:
        answer = connect_relay(snd, relay.address)
        assert answer.raw == b"ERR PROXY BROKER TRANSPORT VERSION"


@pytest.mark.parametrize("key", ["ed25519", "ed448", "x25519"])
def test_secured_queue(linked, key):
    """SKEY and an authorized SEND, with keys of all kinds; the wrong key is refused inside."""
    snd, relay, queue, rcv = linked
    mine = {"ed25519": Ed25519Key, "x25519": X25519Key}.get(key)
    if mine is None:
        from smp.keys import Ed448Key as mine
    snd_key = mine()
    assert relay.request(snd, key_command("SKEY", snd_key.der), queue.snd_id, snd_key).raw == b"OK"
    assert relay.request(snd, send_command(b"a"), queue.snd_id, snd_key).raw == b"OK"
    assert relay.request(snd, send_command(b"a"), queue.snd_id, mine()).raw == b"ERR AUTH"
    assert relay.request(snd, send_command(b"a"), queue.snd_id).raw == b"ERR AUTH"
    assert queue.next_message(rcv).body == b"a"


def test_links(two):
    """LGET of a contact queue, LKEY of a messaging queue, with the largest data."""
    proxy, relay = two
    link_id, fixed, user = os.urandom(24), os.urandom(1500), os.urandom(13784)
    with Connection(relay.address) as rcv, Connection(proxy.address) as snd:
        through = connect_relay(snd, relay.address)
        contact = Queue.create(rcv, mode="C", link=(link_id, fixed, user))
        got = through.request(snd, b"LGET", link_id)
        assert (got.tag, got.snd_id, got.fixed, got.user) == ("LNK", contact.snd_id, fixed, user)
        invitation = Queue.create(rcv, link=(fixed, user))
        key = Ed25519Key()
        linked = invitation.ids.link_id
        got = through.request(snd, key_command("LKEY", key.der), linked, key)
        assert (got.tag, got.snd_id, got.user) == ("LNK", invitation.snd_id, user)
        assert through.request(snd, b"LGET", os.urandom(24)).raw == b"ERR AUTH"


@pytest.mark.parametrize("command", [b"PING", b"SUB", b"DEL", b"GET", b"QUE", b"NSUB"])
def test_other_commands_are_prohibited(linked, command):
    """Only what senders need is forwarded; the refusal is inside."""
    snd, relay, queue, _ = linked
    key, entity = (None, b"") if command == b"PING" else (queue.rcv_key, queue.rcv_id)
    assert relay.request(snd, command, entity, key).raw == b"ERR CMD PROHIBITED"


def test_errors_inside(linked):
    """Errors of the command itself come inside the layers."""
    snd, relay, queue, _ = linked
    send = send_command(b"x")
    assert relay.request(snd, b"WHAT", queue.snd_id).raw == b"ERR CMD UNKNOWN"
    assert relay.request(snd, b"SEND", queue.snd_id).raw == b"ERR CMD SYNTAX"
    assert relay.request(snd, send).raw == b"ERR CMD NO_ENTITY"
    assert relay.request(snd, send, os.urandom(24)).raw == b"ERR AUTH"
    large = send_command(bytes(16049))
    assert relay.request(snd, large, queue.snd_id, version=11).raw == b"ERR LARGE_MSG"
    bad = relay.make(snd, send, queue.snd_id, FixedAuth(bytes(7)))
    snd.write([bad.sent])
    assert relay.open(bad, snd.wait(bad.sent)).raw == b"ERR BLOCK"


def test_layers_that_do_not_open(linked):
    """Errors of the layers are the relay's, and the proxy says so."""
    snd, relay, queue, _ = linked
    one = encode(17, relay.session_id, os.urandom(24), queue.snd_id, send_command(b"x"))
    cases = [(relay.seal(snd, batch([one, one]), 17), b"BLOCK"),
             (relay.seal(snd, b"", 17), b"BLOCK"),
             (relay.seal(snd, batch([one]), 17, secret=os.urandom(32)), b"CRYPTO")]
    for forwarded, text in cases:
        snd.write([forwarded.sent])
        assert snd.wait(forwarded.sent).raw == b"ERR PROXY PROTOCOL " + text
    assert relay.request(snd, send_command(b"x"), queue.snd_id).raw == b"OK"


def test_no_session(linked):
    """A relay session that there is not."""
    snd, relay, _, _ = linked
    for session_id in (os.urandom(32), relay.session_id[:24] + os.urandom(8), b"short"):
        stranger = Relay(session_id, (8, 17), relay.server_key)
        answer = stranger.request(snd, send_command(b"x"), os.urandom(24))
        assert answer.raw == b"ERR PROXY NO_SESSION"


def test_shared_by_clients(linked, two):
    """All clients share one connection, whichever loop they are on."""
    _, relay, queue, rcv = linked
    for number in range(8):
        with Connection(two[0].address) as other:
            again = connect_relay(other, two[1].address)
            assert again.session_id == relay.session_id
            body = bytes((number,))
            assert again.request(other, send_command(body), queue.snd_id).raw == b"OK"
            message = queue.next_message(rcv)
            assert message.body == body
            queue.ack(rcv, message.msg_id)


def test_many_at_once_and_in_one_block(two):
    """PRXY of many clients and many times in one block share an attempt."""
    proxy, relay = two
    clients = [Connection(proxy.address) for _ in range(6)]
    waiting = []
    for conn in clients:
        asked = [prxy(conn, relay.address) for _ in range(100)]
        conn.write(asked)
        waiting.append((conn, asked))
    sessions = {conn.wait(sent).session_id for conn, asked in waiting for sent in asked}
    assert len(sessions) == 1
    for conn in clients:
        conn.ping()
        conn.close()


def test_name_with_several_addresses(two):
    """A name whose first address answers nobody (the relay listens on IPv4 alone)."""
    with Connection(two[0].address) as snd:
        start = time.monotonic()
        assert connect_relay(snd, two[1].address, hosts=[b"localhost"]).versions == (8, 17)
        assert time.monotonic() - start < 10


def test_three_servers(own_server):
    """Each is proxy and relay of the others, and of itself, all at the same time."""
    servers = [own_server(PROXY) for _ in range(3)]
    clients = [Connection(server.address) for server in servers]
    receivers = [Connection(server.address) for server in servers]
    queues = [Queue.create(rcv) for rcv in receivers]
    ways = [(snd, queue, connect_relay(snd, server.address))
            for snd in clients for server, queue in zip(servers, queues)]
    waiting = [(snd, way.make(snd, send_command(b"%d" % number), queue.snd_id), way)
               for number in range(5) for snd, queue, way in ways]
    for snd, each, _ in waiting:
        snd.write([each.sent])
    assert all(way.open(each, snd.wait(each.sent)).raw == b"OK" for snd, each, way in waiting)
    for rcv, queue in zip(receivers, queues):
        assert queue.sub(rcv).tag in ("OK", "SOK")
        (got,) = drain(rcv, [queue], 15)
        assert len(got) == 15
    for conn in clients + receivers:
        conn.close()


# ---- who may ----

def test_password(own_server):
    """PRXY needs the password that NEW needs; PFWD does not."""
    proxy, relay = own_server(PROXY, password="word"), own_server({})
    nobody = dataclasses.replace(relay.address)
    with Connection(proxy.address) as snd, Connection(relay.address) as rcv:
        for password in (None, b"wrong", b"wor", b"words"):
            answer = connect_relay(snd, nobody, password=password)
            assert answer.raw == b"ERR PROXY BASIC_AUTH"
        through = connect_relay(snd, nobody, password=b"word")
        queue = Queue.create(rcv)
        assert through.request(snd, send_command(b"x"), queue.snd_id).raw == b"OK"


def test_switched_off(own_server):
    """With `enable: off` nobody is forwarded for; being a relay goes on."""
    off = own_server({**PROXY, ("PROXY", "enable"): "off"})
    with Connection(off.address) as snd:
        assert connect_relay(snd, off.address).raw == b"ERR PROXY BASIC_AUTH"
        relay = Relay(os.urandom(32), (8, 17), public_of(os.urandom(32)))
        answer = relay.request(snd, send_command(b"x"), os.urandom(24))
        assert answer.raw == b"ERR PROXY NO_SESSION"
    proxy = own_server(PROXY)
    with Connection(off.address) as rcv, Connection(proxy.address) as snd:
        queue = Queue.create(rcv)
        through = connect_relay(snd, off.address)
        assert through.request(snd, send_command(b"x"), queue.snd_id).raw == b"OK"


PRIVATE = [b"127.0.0.1", b"127.8.8.8", b"::1", b"[::1]", b"localhost", b"LOCALHOST.", b"10.1.2.3",
           b"192.168.0.1", b"172.31.255.255", b"169.254.169.254", b"100.64.0.1", b"0.0.0.0", b"::",
           b"fe80::1", b"fd00::1", b"ff02::1", b"224.0.0.1", b"::ffff:127.0.0.1", b"2130706433",
           b"64:ff9b::7f00:1", b"2002:7f00:1::1", b"0x7f.1", b"127.1", b"a b", b"", b"a\0b",
           b"relayrelayrelayrelayrelayrelayrelayrelayrelayrelayrelay2.onion", b"x.ONION",
           b"x.onion."]


def test_private_relays_are_refused(own_server, two):
    """By default nothing is connected to that is not on the public network; onion hosts need a
    SOCKS proxy."""
    proxy = own_server({})
    with Connection(proxy.address) as snd:
        asked = [prxy(snd, two[1].address, hosts=[host]) for host in PRIVATE]
        snd.write(asked)
        answers = {host: snd.wait(sent).raw for host, sent in zip(PRIVATE, asked)}
    assert set(answers.values()) == {b"ERR PROXY BROKER HOST"}, answers


def test_host_modes(own_server, two):
    """The public host of several is taken; onion hosts alone, or required, cannot be reached."""
    onion = b"relayrelayrelayrelayrelayrelayrelayrelayrelayrelayrelay2.onion"
    required = own_server({**PROXY, ("PROXY", "required_host_mode"): "on"})
    onions = own_server({**PROXY, ("PROXY", "host_mode"): "onion"})
    address, host = two[1].address, b"127.0.0.1"
    with Connection(two[0].address) as snd:
        assert connect_relay(snd, address, hosts=[onion, host]).versions == (8, 17)
        assert connect_relay(snd, address, hosts=[onion]).raw == b"ERR PROXY BROKER HOST"
    with Connection(required.address) as snd:
        assert connect_relay(snd, address, hosts=[onion, host]).versions == (8, 17)
        assert connect_relay(snd, address, hosts=[onion]).raw == b"ERR PROXY BROKER HOST"
    with Connection(onions.address) as snd:
        assert connect_relay(snd, address, hosts=[onion, host]).raw == b"ERR PROXY BROKER HOST"
        assert connect_relay(snd, address, hosts=[host]).versions == (8, 17)


# ---- what goes wrong ----

def test_wrong_identity(two):
    """Who answers is not who the address names."""
    proxy, relay = two
    other = dataclasses.replace(relay.address, identity=os.urandom(32))
    with Connection(proxy.address) as snd:
        assert connect_relay(snd, other).raw == ERR_NETWORK
        assert connect_relay(snd, relay.address).versions == (8, 17)


@pytest.mark.parametrize("port", [b"0", b"65536", b"99999999999", b"-1", b"x", b"5223 "])
def test_bad_port(two, port):
    """A port that there is not."""
    address = dataclasses.replace(two[1].address, port=port.decode())
    with Connection(two[0].address) as snd:
        assert connect_relay(snd, address).raw == ERR_NETWORK


def test_failure_is_remembered(own_server, two):
    """A relay that failed is not tried again before its time, and then is."""
    proxy, relay = two
    (port,) = free_ports()
    nobody = dataclasses.replace(relay.address, port=port)
    late = own_server({})
    with Connection(proxy.address) as snd:
        assert connect_relay(snd, nobody).raw == ERR_NETWORK
        late.stop()
        late.ports = [port]
        late.configure({("TRANSPORT", "port"): port})
        late.start()
        there = dataclasses.replace(late.address, port=port)
        assert connect_relay(snd, there).versions == (8, 17), "another identity, another relay"
        start = time.monotonic()
        assert connect_relay(snd, nobody).raw == ERR_NETWORK
        assert time.monotonic() - start < 2


def test_relay_restarts(two):
    """After a restart of the relay its session is unknown, and a new one is to be had at once."""
    proxy, relay = two
    with Connection(proxy.address) as snd:
        with Connection(relay.address) as rcv:
            queue = Queue.create(rcv)
            before = connect_relay(snd, relay.address)
            assert before.request(snd, send_command(b"x"), queue.snd_id).raw == b"OK"
        for _ in range(3):
            relay.stop()
            relay.start()
            gone = before.request(snd, send_command(b"x"), queue.snd_id)
            assert gone.raw in (b"ERR PROXY NO_SESSION", ERR_NETWORK)
            gone = before.request(snd, send_command(b"x"), queue.snd_id)
            assert gone.raw == b"ERR PROXY NO_SESSION"
            after = connect_relay(snd, relay.address)
            assert after.session_id != before.session_id
            with Connection(relay.address) as rcv:
                fresh = Queue.create(rcv)
                assert after.request(snd, send_command(b"y"), fresh.snd_id).raw == b"OK"
                assert fresh.next_message(rcv).body == b"y"
            before = after


def test_client_leaves(two):
    """Answers for a client that has gone harm nobody."""
    proxy, relay = two
    with Connection(relay.address) as rcv:
        queue = Queue.create(rcv)
        for _ in range(10):
            snd = Connection(proxy.address)
            through = connect_relay(snd, relay.address)
            waiting = [through.make(snd, send_command(b"x"), queue.snd_id) for _ in range(8)]
            snd.write([each.sent for each in waiting])
            snd.close()
        with Connection(proxy.address) as snd:
            through = connect_relay(snd, relay.address)
            assert through.request(snd, b"LGET", os.urandom(24)).raw == b"ERR AUTH"


# ---- the relay's end alone ----

class ProxySession:
    """What a proxy does at a relay, by hand."""

    def __init__(self, conn, private):
        self.conn = conn
        self.secret = dh(conn.session.server_key, private)

    @classmethod
    def open(cls, address, version, proxy):
        """A connection with a key that is kept."""
        private = os.urandom(32)
        return cls(Connection(address, version, private=private, proxy=proxy), private)

    def forward(self, command, entity, version, tail=None):
        """RFWD of a command; gives the relay's answer, taken out of the layers if it is RRES."""
        conn, private, corr_id = self.conn, os.urandom(32), os.urandom(24)
        secret = dh(conn.session.server_key, private)
        data = encode(version, conn.session.session_id, corr_id, entity, command)
        inner = box(secret, nonce_of(corr_id), pad(batch([data]), PADDED))
        content = short(corr_id) + word16(version) + short(x25519_der(public_of(private))) + inner
        nonce = os.urandom(24)
        body = box(self.secret, nonce, content) if tail is None else tail
        answer = conn.request(b"RFWD " + body, b"", None, nonce)
        if answer.tag != "RRES":
            return answer.raw
        reader = Reader(unbox(self.secret, reverse(nonce), answer.body))
        assert reader.short() == corr_id
        opened = unbox(secret, reverse(nonce_of(corr_id)), reader.tail())
        assert len(opened) == PADDED
        (item,) = unbatch(unpad(opened))
        found = decode(version, conn.session.session_id, item)
        assert found[:2] == (corr_id, entity)
        return found[2]


@pytest.mark.parametrize("version, proxy", [(8, False), (10, False), (14, True), (19, True)])
def test_relay_end(connect, address, version, proxy):
    """A relay serves proxies of all versions, whatever its clients' is."""
    queue = Queue.create(connect(18))
    session = ProxySession.open(address, version, proxy)
    for inner in (8, 11, 17):
        assert session.forward(send_command(b"x"), queue.snd_id, inner) == b"OK"
    assert session.forward(b"x", b"", 17, tail=os.urandom(100)) == b"ERR CRYPTO"
    assert session.forward(b"x", b"", 17, tail=b"") == b"ERR CRYPTO"
    session.conn.ping()
    session.conn.close()


def test_relay_end_without_key(address):
    """Without a session key there is nothing to open layers with."""
    conn = Connection(address, 8, send_key=False)
    answer = conn.request(b"RFWD " + os.urandom(200))
    assert answer.raw == b"ERR PROXY BROKER TRANSPORT NO_AUTH"
    conn.close()


def test_bad_outer_layer(address):
    """What a proxy seals and is no forwarded command."""
    session = ProxySession.open(address, 19, True)
    for content in (b"", short(b"x"), short(b"x") + word16(17), short(b"x") + word16(17) + b"\x05",
                    short(b"x") + word16(17) + short(Ed25519Key().der) + bytes(100)):
        nonce = os.urandom(24)
        answer = session.conn.request(b"RFWD " + box(session.secret, nonce, content), b"", None,
                                      nonce)
        assert answer.raw == b"ERR CMD SYNTAX"
    session.conn.close()


def test_many_under_way(linked):
    """Several forwarded commands at once, each answered with its own, run in their order."""
    snd, relay, queue, rcv = linked
    waiting = [relay.make(snd, send_command(b"%d" % i), queue.snd_id) for i in range(60)]
    for each in waiting:
        snd.write([each.sent])
    for each in waiting:
        assert relay.open(each, snd.wait(each.sent)).raw == b"OK"
    message = queue.next_message(rcv)
    for i in range(60):
        assert message.body == b"%d" % i
        answer = queue.ack(rcv, message.msg_id)
        message = queue.open(answer) if i < 59 else None


def test_lset_is_not_forwarded(linked):
    """A command of the recipient with parameters."""
    snd, relay, queue, _ = linked
    command = lset_command(os.urandom(24), b"f", b"u")
    answer = relay.request(snd, command, queue.rcv_id, queue.rcv_key)
    assert answer.raw == b"ERR CMD PROHIBITED"


@pytest.mark.parametrize("concurrency", [1, 16, 256])
def test_many_messages(two, concurrency):
    """All arrive, once and in order of their queue, however many are under way. (In full:
    tests/soak/proxy.py.)"""
    proxy, relay = two
    count, queues = 400, 8
    with Connection(relay.address) as rcv:
        made = [Queue.create(rcv) for _ in range(queues)]
        clients = [Connection(proxy.address) for _ in range(max(1, concurrency // 32))]
        relays = [connect_relay(conn, relay.address) for conn in clients]
        push(clients, relays, made, count, concurrency)
        for number, got in enumerate(drain(rcv, made, count)):
            wanted = list(range(number, count, queues))
            assert sorted(got) == wanted
            assert got == wanted or len(clients) > 1
        for conn in clients:
            conn.close()
