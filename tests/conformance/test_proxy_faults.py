# SPDX-License-Identifier: AGPL-3.0-or-later
"""Relays that misbehave, at each step: the sender gets the right error in bounded time, and nobody
else notices."""

import os
import socket
import threading
import time

import pytest
from smp import Address, Connection, Queue
from smp.commands import send_command
from smp.encoding import large, pad, short
from smp.fake_relay import FakeRelay, Identity
from smp.proxied import connect_relay, prxy
from smp.server import REPO, check_counted, over
from smp.transmissions import batch

CONNECT, REQUEST, SPARE = 2, 2, 5
PROXY = {("PROXY", "allow_private_relays"): "on", ("PROXY", "retry_after_error"): 0,
         ("PROXY", "connect_timeout"): CONNECT, ("PROXY", "request_timeout"): REQUEST,
         ("TRANSPORT", "threads"): 2}
NETWORK, TIMEOUT = b"PROXY BROKER NETWORK", b"PROXY BROKER TIMEOUT"
TRANSPORT = b"PROXY BROKER TRANSPORT "


@pytest.fixture(scope="module", name="servers")
def fixture_servers(request):
    """A proxy with short time limits, and a good relay."""
    from conftest import external_address
    from smp.server import Server, find_binary
    if external_address(request.config):
        pytest.skip("needs its own server with special settings")
    binary = find_binary(request.config.getoption("--server-binary"))
    proxy, relay = Server(binary, ini=PROXY), Server(binary)
    try:
        yield proxy.start(), relay.start()
        proxy.check()
        proxy.stop()
    finally:
        proxy.remove()
        relay.remove()


@pytest.fixture(name="good")
def fixture_good(servers):
    """(client of the proxy, good relay through it, a queue there)."""
    proxy, relay = servers
    with Connection(relay.address) as rcv, Connection(proxy.address) as snd:
        yield snd, connect_relay(snd, relay.address), Queue.create(rcv)
    proxy.check()


def undisturbed(good, duration=0.5):
    """For a while, other commands of this client are answered at once."""
    snd, relay, queue = good
    slowest, end = 0.0, time.monotonic() + duration
    while time.monotonic() < end:
        start = time.monotonic()
        snd.ping()
        assert relay.request(snd, send_command(b"x"), queue.snd_id).raw in (b"OK", b"ERR QUOTA")
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < REQUEST, f"another command took {slowest:.2f} s"


# ---- connecting ----

def silent(peer):
    """Accepts and says nothing."""
    peer.linger()


def drops(peer):
    """Accepts and closes."""


def no_tls(peer):
    """Something else than TLS."""
    peer.raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
    peer.linger()


def tls_and_drop(peer):
    """Closes after TLS."""
    peer.start_tls()


def tls_and_silent(peer):
    """Sends no hello."""
    peer.start_tls()
    peer.linger()


def garbage_hello(peer):
    """A block of noise."""
    peer.start_tls()
    peer.tls.sendall(b"\xff" * 16384)
    peer.linger()


def short_hello(peer):
    """A hello without its key."""
    peer.start_tls()
    peer.write(b"\0\6\0\x12" + short(b"x" * 32))
    peer.linger()


def half_hello(peer):
    """Half a block, and nothing more."""
    peer.start_tls()
    peer.tls.sendall(bytes(5000))
    peer.linger()


def half_hello_and_drop(peer):
    """Half a block, and the end."""
    peer.start_tls()
    peer.tls.sendall(bytes(5000))


def other_session(peer):
    """Another connection's session identifier."""
    peer.start_tls()
    peer.hello(session_id=os.urandom(32))
    peer.linger()


def hello(**options):
    """A hello with something special."""
    def script(peer):
        peer.start_tls()
        peer.hello(**options)
        peer.linger()
    return script


def tls(then=silent, **options):
    """TLS with something special."""
    def script(peer):
        peer.start_tls(**options)
        peer.hello()
        then(peer)
    return script


STRANGER = Identity()
CONNECTING = {
    "silent": (silent, NETWORK), "drops": (drops, NETWORK), "no tls": (no_tls, NETWORK),
    "tls, drops": (tls_and_drop, NETWORK), "tls, silent": (tls_and_silent, NETWORK),
    "garbage hello": (garbage_hello, TRANSPORT + b"HANDSHAKE PARSE"),
    "short hello": (short_hello, TRANSPORT + b"HANDSHAKE PARSE"),
    "half a hello": (half_hello, NETWORK), "half a hello, drops": (half_hello_and_drop, NETWORK),
    "other session": (other_session, TRANSPORT + b"SESSION"),
    "too old": (hello(versions=(6, 7)), TRANSPORT + b"VERSION"),
    "too new": (hello(versions=(100, 200)), TRANSPORT + b"VERSION"),
    "no versions": (hello(versions=(18, 6)), TRANSPORT + b"VERSION"),
    "legacy": (hello(versions=(6, 6)), TRANSPORT + b"VERSION"),
    "other certificates in hello": (hello(identity=STRANGER), TRANSPORT + b"HANDSHAKE BAD_AUTH"),
    "key of a stranger": (hello(signer=STRANGER), TRANSPORT + b"HANDSHAKE BAD_AUTH"),
    "other certificates in TLS": (tls(identity=STRANGER), NETWORK),
    "one certificate": (tls(chain_length=1), NETWORK),
    "expired": (tls(identity=Identity(leaf_days=1)), NETWORK),
}


@pytest.mark.parametrize("fault", CONNECTING)
def test_connecting(servers, good, fault):
    """PRXY to such a relay."""
    script, expected = CONNECTING[fault]
    with FakeRelay(script) as bad:
        start = time.monotonic()
        sent = prxy(good[0], bad.address)
        good[0].write([sent])
        undisturbed(good, 0.3)
        assert good[0].wait(sent).raw == b"ERR " + expected
        assert time.monotonic() - start < CONNECT + SPARE
        assert bad.closed.acquire(timeout=3), "the proxy must not keep the connection"
        assert bad.count == 1


def test_error_is_remembered_and_forgotten(own_server):
    """The error of an attempt is the answer to all that wait for it and come soon after it."""
    proxy = own_server({**PROXY, ("PROXY", "retry_after_error"): 2})
    with FakeRelay(garbage_hello) as bad, Connection(proxy.address) as snd:
        asked = [prxy(snd, bad.address) for _ in range(20)]
        snd.write(asked)
        answers = {snd.wait(sent).raw for sent in asked}
        assert answers == {b"ERR PROXY BROKER TRANSPORT HANDSHAKE PARSE"}
        assert connect_relay(snd, bad.address).raw in answers
        assert bad.count == 1
        bad.script = lambda peer: (peer.open(), peer.serve())
        time.sleep(2.2)
        assert connect_relay(snd, bad.address).versions == (8, 17)
        assert bad.count == 2


# ---- forwarding ----

def opened(then):
    """A good handshake, and then something for the first request."""
    def script(peer):
        peer.open()
        for corr_id, text in peer.requests():
            then(peer, corr_id, text)
        peer.linger()
    return script


def answers(text):
    """Answers with this text."""
    return opened(lambda peer, corr_id, _: peer.answer(corr_id, text))


def late(peer, corr_id, text):
    """Answers after the time limit."""
    time.sleep(REQUEST + 0.5)
    peer.answer(corr_id, peer.sealed(corr_id, text))


def half_answer(peer, corr_id, text):
    """Half of an answer's block."""
    block = pad(batch([short(b"") + short(corr_id) + short(b"") + peer.sealed(corr_id, text)]),
                16384)
    peer.tls.sendall(block[:9000])


def half_and_drop(peer, corr_id, text):
    """The same and the end."""
    half_answer(peer, corr_id, text)
    peer.tls.close()


def raw_noise(peer, corr_id, text):
    """Bytes that are not TLS, in the middle of it."""
    os.write(peer.tls.fileno(), b"\x17\x03\x03\x00\x20" + os.urandom(32))


def changed(peer, corr_id, text):
    """An answer with a bit changed."""
    good_answer = bytearray(peer.sealed(corr_id, text))
    good_answer[100] ^= 1
    peer.answer(corr_id, bytes(good_answer))


def for_another(peer, corr_id, text):
    """An answer for a request that nobody made."""
    peer.answer(os.urandom(24), peer.sealed(corr_id, text))


def to_nobody(peer, corr_id, text):
    """Things said without being asked, and then the answer."""
    peer.answer(b"", b"END")
    peer.answer(os.urandom(24), b"PONG")
    peer.answer(b"short", b"PONG")
    peer.answer(corr_id, peer.sealed(corr_id, text))


FORWARDING = {
    "silent": (opened(lambda *_: None), TIMEOUT), "late": (opened(late), TIMEOUT),
    "drops": (opened(lambda peer, *_: peer.tls.close()), NETWORK),
    "half an answer": (opened(half_answer), TIMEOUT),
    "half an answer, drops": (opened(half_and_drop), NETWORK),
    "noise": (opened(raw_noise), NETWORK),
    "garbage block": (opened(lambda peer, *_: peer.tls.sendall(b"\xff" * 16384)),
                      b"PROXY BROKER RESPONSE \x05BLOCK"),
    "empty block": (opened(lambda peer, *_: peer.write(b"")), b"PROXY BROKER RESPONSE \x05BLOCK"),
    "bad transmission": (opened(lambda peer, *_: peer.write(b"\1" + large(b"\x40"))),
                         b"PROXY BROKER RESPONSE \x05BLOCK"),
    "changed": (opened(changed), b"CRYPTO"),
    "for another": (opened(for_another), TIMEOUT),
    "auth": (answers(b"ERR AUTH"), b"PROXY PROTOCOL AUTH"),
    "cmd": (answers(b"ERR CMD SYNTAX"), b"PROXY PROTOCOL CMD SYNTAX"),
    "internal": (answers(b"ERR INTERNAL"), b"PROXY PROTOCOL INTERNAL"),
    "unknown error": (answers(b"ERR SOMETHING"), b"PROXY BROKER RESPONSE \nCMD SYNTAX"),
    "binary error": (answers(b"ERR AUTH\0\xff"), b"PROXY BROKER RESPONSE \nCMD SYNTAX"),
    "endless error": (answers(b"ERR STORE " + b"x" * 5000), b"PROXY BROKER RESPONSE \nCMD SYNTAX"),
    "pong": (answers(b"PONG"), b"PROXY BROKER UNEXPECTED \x04PONG"),
    "nothing": (answers(b""), b"PROXY BROKER UNEXPECTED \0"),
    "noise as text": (answers(b"\0\xff" * 100), b"PROXY BROKER UNEXPECTED \x20" + b"?" * 32),
    "short sealed": (answers(b"RRES x"), b"CRYPTO"), "not sealed": (answers(b"RRES "), b"CRYPTO"),
}


@pytest.mark.parametrize("fault", FORWARDING)
def test_forwarding(good, fault):
    """PFWD to such a relay; afterwards it can be connected to again and works."""
    script, expected = FORWARDING[fault]
    snd = good[0]
    with FakeRelay(script) as bad:
        relay = connect_relay(snd, bad.address)
        forwarded = relay.make(snd, send_command(b"x"), os.urandom(24))
        start = time.monotonic()
        snd.write([forwarded.sent])
        undisturbed(good, 0.3)
        assert snd.wait(forwarded.sent).raw == b"ERR " + expected
        assert time.monotonic() - start < REQUEST + SPARE
        bad.script = lambda peer: (peer.open(), peer.serve())
        for peer in bad.peers:
            peer.cut()
        again = reconnected(snd, bad.address, relay.session_id)
        last = again.make(snd, send_command(b"x"), os.urandom(24))
        snd.write([last.sent])
        assert snd.wait(last.sent).tag == "PRES"


def reconnected(snd, address, old_session_id):
    """The relay in another session, as soon as the proxy has noticed the end of the old one."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        relay = connect_relay(snd, address)
        if getattr(relay, "session_id", old_session_id) != old_session_id:
            return relay
        time.sleep(0.02)
    raise AssertionError("the proxy did not connect again")


def test_unasked_answers_are_ignored(good):
    """What nobody asked for does not disturb what was asked for."""
    with FakeRelay(opened(to_nobody)) as bad:
        relay = connect_relay(good[0], bad.address)
        forwarded = relay.make(good[0], send_command(b"x"), os.urandom(24))
        good[0].write([forwarded.sent])
        assert good[0].wait(forwarded.sent).tag == "PRES"


def test_silent_relay_is_given_up(good):
    """A relay that is silent after a time limit is disconnected; its session is then unknown."""
    with FakeRelay(opened(lambda *_: None)) as bad:
        relay = connect_relay(good[0], bad.address)
        waiting = [relay.make(good[0], send_command(b"x"), os.urandom(24)) for _ in range(20)]
        start = time.monotonic()
        good[0].write([each.sent for each in waiting])
        undisturbed(good, 1)
        assert {good[0].wait(each.sent).raw for each in waiting} == {b"ERR " + TIMEOUT}
        assert time.monotonic() - start < REQUEST + SPARE
        assert bad.closed.acquire(timeout=3)
        last = relay.make(good[0], send_command(b"x"), os.urandom(24))
        good[0].write([last.sent])
        assert good[0].wait(last.sent).raw == b"ERR PROXY NO_SESSION"


def test_more_than_may_be_under_way(servers, good):
    """Beyond client_concurrency commands wait for others of the same client; all are answered."""
    with FakeRelay(opened(lambda *_: None)) as bad:
        relay = connect_relay(good[0], bad.address)
        waiting = [relay.make(good[0], send_command(b"x"), os.urandom(24)) for _ in range(40)]
        good[0].write([each.sent for each in waiting])
        start = time.monotonic()
        good[0].ping()
        assert time.monotonic() - start < REQUEST, "the commands that wait hold up others"
        with Connection(servers[0].address) as other:
            connect_relay(other, servers[1].address)
        allowed = {b"ERR " + TIMEOUT, b"ERR PROXY NO_SESSION"}
        assert {good[0].wait(each.sent).raw for each in waiting} <= allowed
        undisturbed(good, 0.2)


def test_relay_that_does_not_read(servers, good):
    """Its share of memory is bounded, its senders get an error in time, nobody else waits."""
    def script(peer):
        peer.open()
        time.sleep(REQUEST + 2)
    clients = [Connection(servers[0].address) for _ in range(8)]
    with FakeRelay(script) as bad:
        relay = connect_relay(good[0], bad.address)
        start = time.monotonic()
        waiting = []
        for conn in clients:
            sent = [relay.make(conn, send_command(b"x"), os.urandom(24)) for _ in range(30)]
            conn.write([each.sent for each in sent])
            waiting += [(conn, each) for each in sent]
        undisturbed(good, 1)
        assert {conn.wait(each.sent).raw for conn, each in waiting} == {b"ERR " + TIMEOUT}
        assert time.monotonic() - start < REQUEST + 2 * SPARE
    for conn in clients:
        conn.close()


def test_many_bad_relays_at_once(servers, good):
    """Relays that hang do not hold up one another, nor good ones."""
    relays = [FakeRelay(silent) for _ in range(24)]
    asked = [prxy(good[0], bad.address) for bad in relays]
    start = time.monotonic()
    good[0].write(asked)
    undisturbed(good, 1)
    with Connection(servers[0].address) as other:
        assert connect_relay(other, servers[1].address).versions == (8, 17)
    assert {good[0].wait(sent).raw for sent in asked} == {b"ERR " + NETWORK}
    assert time.monotonic() - start < CONNECT + SPARE
    for bad in relays:
        bad.__exit__()


class Silent:
    """A port of which the kernel accepts connections, and nobody answers."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.listener.setblocking(False)
        self.taken = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in (self.listener, *self.taken):
            sock.close()

    def another(self):
        """The address of one more relay, which is there."""
        return Address("127.0.0.1", self.listener.getsockname()[1], os.urandom(32))

    def count(self):
        """Connections so far that have not ended."""
        try:
            while True:
                self.taken.append(self.listener.accept()[0])
                self.taken[-1].setblocking(False)
        except BlockingIOError:
            pass
        return sum(not self.has_ended(sock) for sock in self.taken)

    @staticmethod
    def has_ended(sock):
        """Whether the proxy has closed it."""
        try:
            while sock.recv(4096):
                pass
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        return True

    def wait_count(self, wanted):
        """Waits until that many are there, and for more to come."""
        deadline = time.monotonic() + 10
        while self.count() != wanted:
            assert time.monotonic() < deadline, f"{self.count()} instead of {wanted}"
            time.sleep(0.02)


LONG = {**PROXY, ("PROXY", "connect_timeout"): 60}


def test_share_of_an_address(own_server, servers):
    """One address connects to so many relays at a time, with all its sessions together; the rest
    waits for its turn, and others are not held up."""
    proxy = own_server({**LONG, ("LIMITS", "relays_underway"): 4,
                        ("LIMITS", "limit_localhost"): "on"})
    with Silent() as silent_relay, Connection(proxy.address, source="127.0.0.2") as one, \
            Connection(proxy.address, source="127.0.0.2") as same, \
            Connection(proxy.address, source="127.0.0.3") as other:
        for conn in (one, same):
            conn.write([prxy(conn, silent_relay.another()) for _ in range(10)])
            conn.ping()
        silent_relay.wait_count(4)
        assert connect_relay(other, servers[1].address).versions == (8, 17)
        time.sleep(0.5)
        assert silent_relay.count() == 4
        for sock in silent_relay.taken[:3]:
            sock.close()
        del silent_relay.taken[:3]
        silent_relay.wait_count(4)  # those whose turn it is now


def test_attempts_end_with_who_waits(own_server):
    """Attempts that a client began end soon after it has left, but for one that another waits for;
    what waited for its turn is gone too."""
    proxy = own_server({**LONG, ("LIMITS", "relays_underway"): 4,
                        ("LIMITS", "limit_localhost"): "on"})
    with Silent() as silent_relay, Connection(proxy.address) as other:
        shared = silent_relay.another()
        with Connection(proxy.address) as one:
            one.write([prxy(one, shared)])
            one.ping()
            other.write([prxy(other, shared)])
            other.ping()
            one.write([prxy(one, silent_relay.another()) for _ in range(9)])
            one.ping()
            silent_relay.wait_count(4)
        silent_relay.wait_count(1)
        time.sleep(0.5)
        assert silent_relay.count() == 1


def test_forwards_of_an_address(own_server, servers):
    """One address has so many commands at other relays; more are refused, others are not."""
    proxy = own_server({**PROXY, ("LIMITS", "forwards_underway"): 3,
                        ("LIMITS", "limit_localhost"): "on"})
    with FakeRelay(opened(lambda *_: None)) as bad, \
            Connection(proxy.address, source="127.0.0.2") as one, \
            Connection(proxy.address, source="127.0.0.3") as other:
        relay = connect_relay(one, bad.address)
        sent = [relay.make(one, send_command(b"x"), os.urandom(24)) for _ in range(4)]
        start = time.monotonic()
        one.write([each.sent for each in sent])
        assert one.wait(sent[3].sent).raw == b"ERR " + TIMEOUT
        assert time.monotonic() - start < REQUEST
        good = connect_relay(other, servers[1].address)
        assert good.request(other, send_command(b"x"), os.urandom(24)).raw == b"ERR AUTH"
        assert {one.wait(each.sent).raw for each in sent[:3]} == {b"ERR " + TIMEOUT}


class SilentNames:
    """A name server that answers nobody, and notes the names."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.sock.bind(("127.0.0.1", 53))
        except OSError:
            self.sock.close()
            pytest.skip("needs port 53 of this machine")
        self.sock.setblocking(False)
        self.names = set()

    def count(self):
        """Different names so far."""
        try:
            while True:
                query = self.sock.recv(512)
                self.names.add(query[13:13 + query[12]])
        except BlockingIOError:
            return len(self.names)


def asks_here(request, tmp_path):
    """The program, which asks this machine for names."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:5 attempts:1\n")
    binary = REPO / request.config.getoption("--server-binary")
    return over(tmp_path / "smp-server", binary, resolv, "/etc/resolv.conf")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
def test_names_of_an_address(request, own_server, servers, tmp_path):
    """All sessions of an address together have so many looked up at a time; another address is not
    among them, and it is counted."""
    names = SilentNames()
    with names.sock:
        proxy = own_server({**LONG, ("LIMITS", "lookups_underway"): 3,
                            ("LIMITS", "limit_localhost"): "on",
                            ("STORE_LOG", "prometheus_interval"): 1},
                           binary=asks_here(request, tmp_path))
        with Connection(proxy.address) as one, Connection(proxy.address) as two, \
                Connection(proxy.address, source="127.0.0.2") as other:
            address = servers[1].address
            for conn in (one, two):
                conn.write([prxy(conn, address, hosts=[b"silent%d%d.example" % (id(conn), i)])
                            for i in range(10)])
                conn.ping()
            deadline = time.monotonic() + 10
            while names.count() < 3:
                assert time.monotonic() < deadline, names.names
                time.sleep(0.02)
            assert connect_relay(other, address, hosts=[b"localhost"]).versions == (8, 17)
            assert names.count() == 3
        check_counted(proxy, "lookups_underway")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
def test_names_of_a_session(request, own_server, servers, tmp_path):
    """A client whose names nobody answers for has so many of them looked up at a time; those of
    others are found."""
    wrapper = asks_here(request, tmp_path)
    names = SilentNames()
    with names.sock:
        proxy = own_server({**LONG}, binary=wrapper)
        with Connection(proxy.address) as one, Connection(proxy.address) as other:
            address = servers[1].address
            one.write([prxy(one, address, hosts=[b"silent%d.example" % i]) for i in range(20)])
            one.ping()
            deadline = time.monotonic() + 10
            while names.count() < 4:
                assert time.monotonic() < deadline, names.names
                time.sleep(0.02)
            start = time.monotonic()
            found = connect_relay(other, address, hosts=[b"localhost"])
            assert found.versions == (8, 17)
            assert time.monotonic() - start < 3
            assert names.count() == 4


def test_stop_while_some_wait_for_their_turn(own_server):
    """An orderly stop: what waits is dropped."""
    proxy = own_server({**LONG, ("LIMITS", "relays_underway"): 2,
                        ("LIMITS", "limit_localhost"): "on"})
    with Silent() as silent_relay, Connection(proxy.address) as one:
        one.write([prxy(one, silent_relay.another()) for _ in range(20)])
        one.ping()
        silent_relay.wait_count(2)
        proxy.stop()


def test_stop_with_everything_under_way(own_server):
    """An orderly stop while the proxy connects, waits and forwards."""
    proxy = own_server({**PROXY, ("PROXY", "connect_timeout"): 60,
                        ("PROXY", "request_timeout"): 60, ("TRANSPORT", "threads"): 4})
    with FakeRelay(silent) as hanging, FakeRelay(opened(lambda *_: None)) as slow:
        clients = [Connection(proxy.address) for _ in range(8)]
        for conn in clients:
            relay = connect_relay(conn, slow.address)
            sent = [relay.make(conn, send_command(b"x"), os.urandom(24)).sent for _ in range(4)]
            conn.write(sent + [prxy(conn, hanging.address)])
            conn.ping()
        start = time.monotonic()
        proxy.stop()
        assert time.monotonic() - start < 10
        for conn in clients:
            conn.close()


def test_relay_that_comes_and_goes(good):
    """A relay that drops its connections again and again, under load of several clients."""
    def script(peer):
        peer.open()
        for _ in range(5):
            for corr_id, text in peer.requests():
                peer.answer(corr_id, peer.sealed(corr_id, text))
    stop, failures, answered = threading.Event(), [], []

    def client(address, to):
        with Connection(address) as conn:
            while not stop.is_set():
                relay = connect_relay(conn, to)
                if not hasattr(relay, "make"):
                    continue
                each = relay.make(conn, send_command(b"x"), os.urandom(24))
                conn.write([each.sent])
                answer = conn.wait(each.sent)
                answered.append(answer.tag)
                if answer.raw[:4] != b"PRES" and answer.raw not in (
                        b"ERR " + NETWORK, b"ERR PROXY NO_SESSION"):
                    failures.append(answer.raw)
    with FakeRelay(script) as bad:
        threads = [threading.Thread(target=client, args=(good[0].address, bad.address))
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        undisturbed(good, 2)
        deadline = time.monotonic() + 60  # far more than it takes where nothing else runs
        while answered.count("PRES") <= 50 and not failures and time.monotonic() < deadline:
            undisturbed(good, 0.1)
        stop.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
    assert not failures, failures[:3]
    assert answered.count("PRES") > 50


# ---- quiet connections ----

def counts_pings(peer):
    """Answers all as it should and says when a PING comes."""
    peer.relay.pinged = threading.Semaphore(0)
    peer.open()
    while True:
        for corr_id, text in peer.requests():
            if text == b"PING":
                peer.relay.pinged.release()
            peer.answer(corr_id, b"PONG" if text == b"PING" else peer.sealed(corr_id, text))


def ignores_pings(peer):
    """Is dead after the handshake, but its connection is not."""
    peer.open()
    peer.linger()


def quiet_proxy(own_server, **settings):
    """A client of a proxy with these settings."""
    ini = {**PROXY, **{("PROXY", key): value for key, value in settings.items()}}
    return Connection(own_server(ini).address)


def test_quiet_relay_is_asked_and_kept(own_server):
    """A relay that answers PING stays connected."""
    with FakeRelay(counts_pings) as relay, quiet_proxy(own_server, ping_after=1) as snd:
        connect_relay(snd, relay.address)
        for _ in range(3):
            assert relay.pinged.acquire(timeout=10)
        connect_relay(snd, relay.address)
        assert relay.count == 1


def test_quiet_relay_that_does_not_answer_is_left(own_server):
    """One that does not is disconnected after the time limit of a request."""
    with FakeRelay(ignores_pings) as relay, quiet_proxy(own_server, ping_after=1) as snd:
        connect_relay(snd, relay.address)
        assert relay.closed.acquire(timeout=10)
        connect_relay(snd, relay.address)
        assert relay.count == 2


def test_idle_relay_is_disconnected(own_server):
    """Pings do not count as use."""
    with FakeRelay(counts_pings) as relay:
        with quiet_proxy(own_server, ping_after=1, idle_close=3) as snd:
            connect_relay(snd, relay.address)
            assert relay.closed.acquire(timeout=15)
            connect_relay(snd, relay.address)
            assert relay.count == 2
