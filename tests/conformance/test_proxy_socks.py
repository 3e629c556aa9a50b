# SPDX-License-Identifier: AGPL-3.0-or-later
"""The proxy's own way out through SOCKS5: which hosts, with which names and credentials, and what
becomes of a SOCKS proxy that refuses, hangs or talks nonsense."""

import os
import time

import pytest
from smp import Connection, Queue
from smp.commands import send_command
from smp.proxied import connect_relay
from smp.server import free_ports
from smp.socks import GRANTED, GRANTED_NAME, GRANTED_V6, SocksServer

ONION = b"relayrelayrelayrelayrelayrelayrelayrelayrelayrelayrelay2.onion"
OTHER = b"otherotherotherotherotherotherotherotherotherotherothera.onion"
NETWORK, HOST = b"ERR PROXY BROKER NETWORK", b"ERR PROXY BROKER HOST"
CONNECT = 2


@pytest.fixture(name="relay")
def fixture_relay(own_server):
    """The relay behind the SOCKS proxy."""
    return own_server({})


@pytest.fixture(name="start")
def fixture_start(own_server):
    """Function: a proxy that uses this SOCKS server."""
    def start(socks, credentials="", **settings):
        ini = {("PROXY", "socks_proxy"): f"{credentials}127.0.0.1:{socks.port}",
               ("PROXY", "connect_timeout"): CONNECT, ("PROXY", "retry_after_error"): 0}
        return own_server({**ini, **{("PROXY", key): value for key, value in settings.items()}})
    return start


def to(relay):
    """All destinations lead to this relay."""
    return lambda host, port: (relay.address.host, relay.ports[0])


@pytest.mark.parametrize("reply", [GRANTED, GRANTED_NAME, GRANTED_V6])
@pytest.mark.parametrize("slowly", [False, True])
def test_onion(relay, start, reply, slowly):
    """An onion host goes through SOCKS, by name, and messages with it; answers come in any
    pieces, and not one byte too much is taken."""
    with SocksServer(to(relay), reply=reply, slowly=slowly) as socks:
        proxy = start(socks)
        with Connection(proxy.address) as snd, Connection(relay.address) as rcv:
            queue = Queue.create(rcv)
            through = connect_relay(snd, relay.address, hosts=[ONION])
            assert through.request(snd, send_command(b"x"), queue.snd_id).raw == b"OK"
            assert queue.next_message(rcv).body == b"x"
        assert socks.asked == [(3, ONION, relay.ports[0])]
        assert socks.offered == [b"\2"], "a proxy that could choose would not isolate"


def test_isolation(relay, start):
    """Each destination gets credentials of its own, which cannot be guessed."""
    with SocksServer(to(relay)) as socks:
        proxy = start(socks)
        with Connection(proxy.address) as snd:
            for host in (ONION, OTHER, ONION):
                assert connect_relay(snd, relay.address, hosts=[host]).versions == (8, 17)
        assert len(socks.asked) == 2, "a connection is shared through SOCKS too"
        assert len(set(socks.credentials)) == 2
        assert all(len(word) >= 16 for pair in socks.credentials for word in pair)


def test_password_and_none(relay, start):
    """Credentials of the operator's own, or none."""
    with SocksServer(to(relay)) as socks:
        proxy = start(socks, "user:secret@")
        with Connection(proxy.address) as snd:
            assert connect_relay(snd, relay.address, hosts=[ONION]).versions == (8, 17)
        assert socks.credentials == [(b"user", b"secret")]
        assert "secret" not in proxy.output()
    with SocksServer(to(relay), method=0) as socks:
        proxy = start(socks, "@")
        with Connection(proxy.address) as snd:
            assert connect_relay(snd, relay.address, hosts=[ONION]).versions == (8, 17)
        assert socks.offered == [b"\0"]


def test_modes(relay, start):
    """`onion` leaves other hosts alone; `always` sends all there, names by name, addresses as
    such, and private ones nowhere."""
    with SocksServer(to(relay)) as socks:
        proxy = start(socks, allow_private_relays="on")
        with Connection(proxy.address) as snd:
            assert connect_relay(snd, relay.address).versions == (8, 17)
        assert not socks.asked
        proxy = start(socks, socks_mode="always")
        hosts = [b"relay.example", b"192.0.2.9", b"9.9.9.9", b"2620:fe::9", b"[2620:fe::fe]"]
        with Connection(proxy.address) as snd:
            answers = [connect_relay(snd, relay.address, hosts=[host]) for host in hosts]
            for host in (b"localhost", b"a.localhost", b"127.0.0.1", b"10.0.0.1", b"::1", b"127.1"):
                assert connect_relay(snd, relay.address, hosts=[host]).raw == HOST
        assert [getattr(each, "versions", None) if hasattr(each, "make") else each.raw
                for each in answers] == [(8, 17), HOST, (8, 17), (8, 17), (8, 17)]
        assert [each[:2] for each in socks.asked] == [
            (3, b"relay.example"), (1, b"9.9.9.9"), (4, b"2620:fe::9"), (4, b"2620:fe::fe")]


def test_host_mode_onion(relay, start):
    """With `host_mode: onion` the onion host of two is taken."""
    with SocksServer(to(relay)) as socks:
        proxy = start(socks, host_mode="onion", allow_private_relays="on")
        with Connection(proxy.address) as snd:
            connect_relay(snd, relay.address, hosts=[b"127.0.0.1", ONION])
            assert [each[1] for each in socks.asked] == [ONION]
            assert connect_relay(snd, relay.address).versions == (8, 17)
            assert len(socks.asked) == 1


def hang(sock):
    """Says nothing."""
    while sock.recv(4096):
        pass


def says(*parts):
    """Answers each message with the next of these, then hangs."""
    def script(sock):
        for part in parts:
            sock.recv(4096)
            sock.sendall(part)
        hang(sock)
    return script


FAULTS = {
    "hangs": hang, "closes": lambda sock: None, "noise": says(b"HTTP/1.0 400\r\n\r\n"),
    "half a method": says(b"\5"), "no method": says(b"\5\xff"), "other method": says(b"\5\0"),
    "bad credentials": says(b"\5\2", b"\1\1"), "half a verdict": says(b"\5\2", b"\1"),
    "refused": says(b"\5\2", b"\1\0", b"\5\5\0\1" + bytes(6)),
    "not allowed": says(b"\5\2", b"\1\0", b"\5\2\0\1" + bytes(6)),
    "half a reply": says(b"\5\2", b"\1\0", b"\5\0\0\1\0\0"),
    "unknown address": says(b"\5\2", b"\1\0", b"\5\0\0\x09" + bytes(6)),
    "long name": says(b"\5\2", b"\1\0", b"\5\0\0\3\xff" + bytes(100)),
    "granted, then noise": says(b"\5\2", b"\1\0", GRANTED + b"noise" * 100),
}


def test_socks_proxy_misbehaves(start, relay):
    """The sender gets NETWORK in time, whatever the SOCKS proxy does; others wait for nothing."""
    with SocksServer(to(relay)) as socks:
        proxy = start(socks, allow_private_relays="on")
        with Connection(proxy.address) as snd:
            for number, script in enumerate(FAULTS.values()):
                socks.script = script
                host = b"x%02d" % number + ONION[3:]
                start_time = time.monotonic()
                assert connect_relay(snd, relay.address, hosts=[host]).raw == NETWORK
                assert time.monotonic() - start_time < CONNECT + 5
                assert connect_relay(snd, relay.address).versions == (8, 17)
            socks.script = None
            assert connect_relay(snd, relay.address, hosts=[ONION]).versions == (8, 17)


def test_no_socks_proxy_there(own_server, relay):
    """Nobody listens where the SOCKS proxy should be."""
    (port,) = free_ports()
    proxy = own_server({("PROXY", "socks_proxy"): f"127.0.0.1:{port}"})
    with Connection(proxy.address) as snd:
        assert connect_relay(snd, relay.address, hosts=[ONION]).raw == NETWORK
        assert connect_relay(snd, relay.address, hosts=[os.urandom(4).hex().encode() + b".onion"]
                             ).raw == NETWORK
