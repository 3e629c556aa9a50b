# SPDX-License-Identifier: AGPL-3.0-or-later
"""Names: RSLV through a resolver on loopback, directly and inside RFWD (spec: names)."""

import json
import os
import threading
import time

import pytest
from smp import Connection, Queue
from smp.commands import send_command
from smp.proxied import connect_relay
from smp.resolver import (PATIENT_MS, Answer, Resolver, compact, padded, record, script,
                          settings)
from smp.server import REPO

NOT_FOUND = b"ERR NAME NOT_FOUND"
ERR = b"ERR NAME RESOLVER "
TOO_LARGE = ERR + b"response too large"
INVALID = ERR + b"invalid response"
SESSION = json.loads((REPO / "tests" / "vectors" / "session-v20.json").read_text())


@pytest.fixture(name="resolver")
def fixture_resolver():
    """The resolver of most tests."""
    with Resolver() as resolver:
        yield resolver


@pytest.fixture(name="server")
def fixture_server(own_server, resolver):
    """A server that asks it."""
    return own_server(settings(resolver))


@pytest.fixture(name="conn")
def fixture_conn(server):
    """A connection to that server."""
    with Connection(server.address, 20) as conn:
        yield conn


def recorded_steps(name):
    """The steps of a recorded session with one answer each."""
    (session,) = [s for s in SESSION["sessions"] if s["name"] == name]
    return [step for connection in session["connections"] for step in connection["steps"]]


def reordered(raw):
    """The record of a recorded answer as another program may write it."""
    known = json.loads(raw[len(b"RNAME "):])
    turned = {key: known[key] for key in reversed(known)}
    return json.dumps({"ttl": 7, **turned}, indent=1).encode()


def test_recorded(own_server):
    """Every recorded step is answered to the byte, whatever the resolver's form of the record."""
    steps = recorded_steps("names")
    known = {}
    for step in steps:
        raw = bytes.fromhex(step["answers"][0][2])
        if raw.startswith(b"RNAME "):
            known[json.loads(raw[6:])["name"]] = raw

    def answers(name):
        if name in known and not name.startswith(("big", "late", "chunked", "s201")):
            return Answer(reordered(known[name]))
        if name in known and name.startswith("big"):
            return Answer(known[name][len(b"RNAME "):])
        planned = script(name)
        if name in known:
            planned.body = reordered(known[name])
        if planned is not None and name.startswith("slow"):
            planned.delay = 3
        return planned

    with Resolver(answers=answers) as resolver:
        server = own_server(settings(resolver))
        with Connection(server.address, 20) as conn:
            for step in steps:
                got = conn.request(bytes.fromhex(step["command"]),
                                   bytes.fromhex(step["entityId"]))
                assert got.raw == bytes.fromhex(step["answers"][0][2]), step["step"]
    assert len(steps) > 50 and len(known) > 15


def test_request(own_server):
    """What the resolver is asked: the folded name, once, with what it wants to be shown."""
    with Resolver() as resolver:
        server = own_server(settings(resolver, resolver_auth="BASIC user:pa:ss"))
        with Connection(server.address, 20) as conn:
            assert conn.request(b"RSLV A-1.SIMPLEX later").tag == "RNAME"
        assert [path for path, _ in resolver.requests] == ["/health", "/resolve/a-1.simplex"]
        for _, headers in resolver.requests:
            assert headers["Accept"] == "application/json"
            assert headers["Authorization"] == "Basic dXNlcjpwYTpzcw=="


@pytest.mark.parametrize("version", [19, 20])
def test_versions(server, version):
    """Whatever version the command comes with, and nothing else may come with it."""
    with Connection(server.address, version) as conn:
        assert conn.request(b"RSLV a.simplex").raw == b"RNAME " + compact(record("a.simplex"))
        assert conn.request(b"RSLV a.simplex", os.urandom(24)).raw == b"ERR CMD HAS_AUTH"


def test_order(conn):
    """A resolution holds up nothing: the recorded order of three commands in one block."""
    sent = [conn.make(b"RSLV late.simplex"), conn.make(b"RSLV alice.simplex"), conn.make(b"PING")]
    conn.write(sent)
    order = []
    while len(order) < 3:
        order += [sent_index(sent, answer) for answer in conn.read(10)]
    assert order == [2, 1, 0]


def sent_index(sent, answer):
    """Which of the commands it answers."""
    return [item.corr_id for item in sent].index(answer.corr_id)


def test_grows(conn):
    """Written anew an answer may be three times as long; nobody waits for ever."""
    assert conn.request(b"RSLV expand7000.simplex").raw == TOO_LARGE
    assert conn.request(b"RSLV expand2000.simplex").tag == "RNAME"
    conn.ping()


# ---- forwarded ----

@pytest.fixture(name="proxied")
def fixture_proxied(own_server, server):
    """(client of a proxy, the server with the resolver behind it)."""
    proxy = own_server({("PROXY", "allow_private_relays"): "on"})
    with Connection(proxy.address) as conn:
        yield conn, connect_relay(conn, server.address)


@pytest.mark.parametrize("inner", [8, 11, 17])
def test_forwarded(proxied, inner):
    """Inside RFWD, of clients of any version."""
    conn, relay = proxied

    def ask(name):
        return relay.request(conn, b"RSLV " + name, version=inner).raw

    assert ask(b"alice.simplex") == b"RNAME " + compact(record("alice.simplex"))
    assert ask(b"e404.simplex") == NOT_FOUND
    assert ask(b"e502.simplex") == ERR + b"HTTP 502"
    assert ask(b"close.simplex") == ERR + b"transport failure"
    assert ask(b"slow.simplex") == ERR + b"timeout"
    assert ask(b"a--b.simplex") == b"ERR CMD SYNTAX"
    assert ask(b"big16000.simplex") == b"RNAME " + padded("big16000.simplex", 16000)
    assert ask(b"big16001.simplex") == TOO_LARGE
    assert ask(b"expand7000.simplex") == TOO_LARGE


def test_forwarded_is_late(proxied):
    """Names under way delay neither each other nor another forwarded command."""
    conn, relay = proxied
    late = relay.make(conn, b"RSLV late.simplex")
    soon = relay.make(conn, b"RSLV alice.simplex")
    conn.write([late.sent, soon.sent])
    begun = time.monotonic()
    assert relay.open(soon, conn.wait(soon.sent)).tag == "RNAME"
    assert relay.request(conn, send_command(b"x"), os.urandom(24)).raw == b"ERR AUTH"
    assert time.monotonic() - begun < 0.9
    assert relay.open(late, conn.wait(late.sent)).tag == "RNAME"


# ---- limits ----

def test_thousand_under_way(own_server):
    """SUB and SEND of the same connection go on beside a thousand names."""
    released = threading.Event()

    def answers(name):
        released.wait(60)
        return script(name)

    with Resolver(answers=answers) as resolver:
        server = own_server(settings(resolver, resolver_timeout_ms=PATIENT_MS))
        with Connection(server.address, 20) as conn:
            queue = Queue.create(conn)
            names = [conn.make(b"RSLV n%d.simplex" % n) for n in range(1000)]
            conn.write(names)
            resolver.wait_for(90)  # of 96: a quarter of the places is kept for others
            for n in range(20):
                assert conn.request(send_command(b"%d" % n), queue.snd_id,
                                    queue.snd_key).raw == b"OK"
                message = queue.next_message(conn)
                assert message.body == b"%d" % n
                assert queue.ack(conn, message.msg_id).raw == b"OK"
            assert queue.sub(conn).tag in ("OK", "SOK")
            assert not any(sent.corr_id in conn.answers for sent in names)
            released.set()
            assert {conn.wait(sent, 60).tag for sent in names} == {"RNAME"}
        assert server.rss_kib() < 200_000


def test_concurrency(own_server, resolver):
    """More than resolver_concurrency wait, and then the connection is not read."""
    server = own_server(settings(resolver, resolver_concurrency=2))
    with Connection(server.address, 20) as conn, Connection(server.address, 20) as other:
        names = [conn.make(b"RSLV wait300.n%d.simplex" % n) for n in range(6)]
        conn.write(names)
        ping = conn.make(b"PING")
        conn.write([ping])
        resolver.wait_for(3)  # with /health
        time.sleep(0.1)
        assert len(resolver.requests) == 3, "two at once"
        assert ping.corr_id not in conn.answers
        begun = time.monotonic()
        other.ping()
        assert other.request(b"RSLV alice.simplex").tag == "RNAME"
        assert time.monotonic() - begun < 0.3, "others are read and served"
        assert conn.wait(ping).raw == b"PONG"
        assert all(conn.wait(sent).tag == "RNAME" for sent in names)
        assert len(resolver.requests) == 8


def test_one_with_many_holds_up_its_own(own_server, resolver):
    """A thousand slow names of one client: another's are asked for at once, not behind them."""
    server = own_server({**settings(resolver, resolver_timeout_ms=PATIENT_MS),
                         ("TRANSPORT", "threads"): 1})
    with Connection(server.address, 20) as conn, Connection(server.address, 20) as other:
        conn.write([conn.make(b"RSLV slow.n%d.simplex" % n) for n in range(1000)])
        resolver.wait_for(80)
        for _ in range(10):
            assert other.request(b"RSLV alice.simplex").tag == "RNAME"


def test_few_descriptors(own_server, resolver):
    """Names have a share of the descriptors: clients and storage are served beside many of them."""
    server = own_server(settings(resolver), nofile=400)
    with Connection(server.address, 20) as conn, Connection(server.address, 20) as other:
        conn.write([conn.make(b"RSLV slow.n%d.simplex" % n) for n in range(900)])
        resolver.wait_for(8)
        queue = Queue.create(other)
        assert queue.send(other, b"x").raw == b"OK"
        for _ in range(20):
            with Connection(server.address, 20) as more:
                more.ping()


def test_client_goes(server, resolver):
    """Its names end with nobody waiting for them; others are served on."""
    with Connection(server.address, 20) as conn:
        conn.write([conn.make(b"RSLV wait500.n%d.simplex" % n) for n in range(300)])
        resolver.wait_for(50)
    with Connection(server.address, 20) as conn:
        assert conn.request(b"RSLV alice.simplex").tag == "RNAME"


def test_stop_under_way(server, resolver):
    """The server stops at once though names are under way, some of them waiting."""
    with Connection(server.address, 20) as conn:
        conn.write([conn.make(b"RSLV slow.n%d.simplex" % n) for n in range(300)])
        resolver.wait_for(50)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 8


# ---- settings, logs ----

def test_switched_off(own_server, resolver):
    """With `enable: off` the resolver is not asked, whatever else is set."""
    server = own_server(settings(resolver, enable="off"))
    with Connection(server.address, 20) as conn:
        assert conn.request(b"RSLV alice.simplex").raw == b"ERR NAME NO_RESOLVER"
    assert resolver.requests == []


def test_nothing_is_logged(own_server, resolver):
    """Names are what people look for: no line has one, nor what the resolver is shown."""
    resolver.health = Answer(b"", 503)
    server = own_server({**settings(resolver, resolver_auth="bearer s3cret"),
                         ("TRANSPORT", "log_level"): "debug"})
    with Connection(server.address, 20) as conn:
        for name in (b"alice.simplex", b"e502.simplex", b"close.simplex", b"notjson.simplex"):
            conn.request(b"RSLV " + name)
    text = "".join(server.stdout + server.stderr)
    assert "resolver-not-there" in text and "s3cret" not in text
    assert "alice" not in text and "simplex" not in text.replace("opt/simplex", "")
