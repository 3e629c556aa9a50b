# SPDX-License-Identifier: AGPL-3.0-or-later
"""A disk that is full, fails or is slow: what is answered, and what goes on afterwards."""

import time

import pytest
from smp import Connection, Queue, Service, Unanswered, ids_sum, new_command
from smp.commands import ack_command, send_command, service_command
from smp.crypto import public_of
from smp.keys import make_key, x25519_der
from smp.proxied import connect_relay

ERR_STORE = b"ERR STORE storage"
CLOSED_AFTER = 15  # seconds, of a connection with a SEND that is not answered
PROXY = {("PROXY", "allow_private_relays"): "on", ("PROXY", "request_timeout"): 3}
NEW, OLD = 20, 18
REFUSED, LOST = "refused at once", "lost later"


@pytest.fixture(name="server")
def fixture_server(own_server):
    """One with messages on a disk, which is in order again when it stops."""
    server = own_server(PROXY, disk=True, store="journal")
    yield server
    server.disk.clear()


@pytest.fixture(name="clients")
def fixture_clients(server):
    """Function: opens connections, closed after the test."""
    opened = []

    def client(version=NEW):
        """One more."""
        opened.append(Connection(server.address, version))
        return opened[-1]

    yield client
    for conn in opened:
        conn.close()


def try_new(conn):
    """The answer to NEW."""
    key = make_key("ed25519")
    command = new_command(conn.version, key.der, x25519_der(public_of(bytes(32))))
    return conn.request(command, b"", key)


def fill_disk(server, conn, when):
    """From now on a SEND is refused at once, or taken first and lost then."""
    server.disk.set("full")
    if when == REFUSED:
        assert try_new(conn).raw == ERR_STORE


def empty_disk(server, conn, queue):
    """There is room again: waits until the server has seen it."""
    server.disk.clear()
    deadline = time.monotonic() + 10
    while (answer := queue.send(conn, b"room")).raw != b"OK":
        assert answer.raw == ERR_STORE and time.monotonic() < deadline
        time.sleep(0.1)


def bodies(queue, conn, message):
    """This message and those behind it, each acknowledged."""
    found = []
    while message.tag == "MSG":
        opened = queue.open(message)
        found.append(opened.body)
        message = queue.ack(conn, opened.msg_id)
    assert message.raw == b"OK"
    return found


# ---- SEND that could not be stored ----

@pytest.mark.parametrize("when", [REFUSED, LOST])
def test_new_clients_are_told(server, clients, when):
    """Version 20: ERR STORE, after which the connection is as good as before."""
    rcv, snd = clients(), clients()
    queue = Queue.create(rcv)
    assert queue.send(snd, b"before").raw == b"OK"
    fill_disk(server, rcv, when)
    assert queue.send(snd, b"not stored").raw == ERR_STORE
    empty_disk(server, snd, queue)
    assert bodies(queue, rcv, rcv.event()) == [b"before", b"room"]
    assert not snd.closed_within(CLOSED_AFTER + 2)


@pytest.mark.parametrize("when", [REFUSED, LOST])
def test_old_clients_are_left_without_an_answer(server, clients, when):
    """Before version 20: silence, then the end; what else the connection asks is answered."""
    rcv, snd = clients(), clients(OLD)
    queue = Queue.create(rcv)
    assert queue.send(snd, b"before").raw == b"OK"
    fill_disk(server, rcv, when)
    sent = snd.make(send_command(b"not stored", b"F"), queue.snd_id)
    begun = time.monotonic()
    snd.write([sent])
    with pytest.raises(Unanswered):
        snd.wait(sent, 3)
    snd.ping()
    assert try_new(snd).raw == ERR_STORE
    assert queue.key(rcv, make_key("x25519")).raw == ERR_STORE
    queue.snd_key = None
    empty_disk(server, clients(), queue)
    assert snd.closed_within(CLOSED_AFTER + 3)
    assert time.monotonic() - begun > CLOSED_AFTER - 0.5
    assert sent.corr_id not in snd.answers
    assert bodies(queue, rcv, rcv.event()) == [b"before", b"room"]


@pytest.mark.parametrize("when", [REFUSED, LOST])
def test_what_is_stored_beside_it_is_answered(server, clients, when):
    """In one block, and with answers behind it."""
    rcv, snd = clients(), clients(OLD)
    queue = Queue.create(rcv)
    fill_disk(server, rcv, when)
    sent = [snd.make(command, entity) for command, entity in
            [(b"PING", b""), (send_command(b"x", b"F"), queue.snd_id), (b"PING", b"")]]
    snd.write(sent)
    assert [snd.wait(sent[i], 3).raw for i in (0, 2)] == [b"PONG", b"PONG"]
    assert sent[1].corr_id not in snd.answers


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("when", [REFUSED, LOST])
def test_forwarded(server, clients, when, version):
    """Inside RFWD the client's version decides; the proxy's connection stays."""
    rcv, snd = clients(), clients()
    queue = Queue.create(rcv)
    relay = connect_relay(snd, server.address)
    send = (send_command(b"forwarded", b"F"), queue.snd_id)
    assert relay.request(snd, *send, version=version).raw == b"OK"
    fill_disk(server, rcv, when)
    answer = relay.request(snd, *send, version=version)
    assert answer.raw == (ERR_STORE if version == NEW else b"ERR PROXY BROKER TIMEOUT")
    empty_disk(server, clients(), queue)
    if version == NEW:
        assert relay.request(snd, *send, version=version).raw == b"OK"


def test_forwarded_keys_are_told_inside(server, clients):
    """Other commands whose change is lost are answered, inside the layers."""
    rcv, snd = clients(), clients()
    queue = Queue.create(rcv)
    relay = connect_relay(snd, server.address)
    fill_disk(server, rcv, LOST)
    key = make_key("x25519")
    command = b"SKEY " + bytes((len(key.der),)) + key.der
    assert relay.request(snd, command, queue.snd_id, key, version=OLD).raw == ERR_STORE


def test_failed_sync(server, clients):
    """After a failed sync nobody knows what is stored: as on a full disk, until the next start."""
    rcv, old, new = clients(), clients(OLD), clients()
    queue = Queue.create(rcv)
    server.disk.set("fail_sync")
    assert queue.send(new, b"lost").raw == ERR_STORE
    assert queue.send(new, b"refused").raw == ERR_STORE
    sent = old.make(send_command(b"refused", b"F"), queue.snd_id)
    old.write([sent])
    with pytest.raises(Unanswered):
        old.wait(sent, 1)
    server.kill()


def test_lost_quota_marker(own_server):
    """ERR QUOTA promises a marker; when that is lost, the SEND was not stored either."""
    server = own_server({("LIMITS", "message_queue_quota"): 2}, disk=True, store="journal")
    with Connection(server.address, NEW) as rcv, Connection(server.address, NEW) as snd:
        queue = Queue.create(rcv)
        assert [queue.send(snd, body).raw for body in (b"1", b"2")] == [b"OK", b"OK"]
        fill_disk(server, rcv, LOST)
        assert queue.send(snd, b"3").raw == ERR_STORE
        server.disk.clear()
        deadline = time.monotonic() + 10
        while (answer := queue.send(snd, b"3")).raw == ERR_STORE:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert answer.raw == b"ERR QUOTA"
        assert bodies(queue, rcv, rcv.event()) == [b"1", b"2", None]


# ---- what goes with the answer ----

def test_a_lost_queue_is_none_of_its_service(server, clients, tmp_path):
    """NEW whose group failed: neither the service nor its session has the queue."""
    service = Service(tmp_path, "M")
    with Connection(server.address, NEW, service=service) as first:
        queue = Queue.create(first)
        fill_disk(server, first, LOST)
        assert try_new(first).raw == ERR_STORE
        empty_disk(server, clients(), queue)
        assert queue.next_message(first).body == b"room"
        with Connection(server.address, NEW, service=service) as second:
            answer = second.as_service(service_command("SUBS", NEW, ids_sum([queue.rcv_id])))
            ended = first.event()
            assert [(a.tag, a.count, a.ids_hash) for a in (answer, ended)] == [
                (tag, *ids_sum([queue.rcv_id])) for tag in ("SOKS", "ENDS")]


# ---- ACK and SUB that failed ----

@pytest.mark.parametrize("when", [REFUSED, LOST])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_failed_ack_leaves_no_deaf_subscription(server, clients, when, n):
    """What waits behind the message is delivered without another SUB, whatever becomes of ACK."""
    rcv, snd = clients(), clients()
    queue = Queue.create(rcv)
    wanted = [b"%d" % i for i in range(n)]
    for body in wanted:
        assert queue.send(snd, body).raw == b"OK"
    first = queue.next_message(rcv)
    fill_disk(server, snd, when)
    assert queue.ack(rcv, first.msg_id).raw == ERR_STORE
    empty_disk(server, snd, queue)
    if when == REFUSED:  # nothing has changed: it can be acknowledged again
        message = queue.ack(rcv, first.msg_id)
    else:  # it is deleted, and will be on disk; what follows comes of itself
        message = rcv.event()
    assert bodies(queue, rcv, message) == wanted[1:] + [b"room"]
    assert queue.send(snd, b"after").raw == b"OK"
    assert queue.next_message(rcv).body == b"after"


def test_a_lost_ack_may_be_repeated(server, clients):
    """The message is gone: the client learns so, as after any ACK that it repeats."""
    rcv, snd = clients(), clients()
    queue = Queue.create(rcv)
    assert queue.send(snd, b"one").raw == b"OK"
    first = queue.next_message(rcv)
    fill_disk(server, snd, LOST)
    assert queue.ack(rcv, first.msg_id).raw == ERR_STORE
    assert queue.ack(rcv, first.msg_id).raw == b"ERR NO_MSG"


@pytest.mark.parametrize("when", [REFUSED, LOST])
def test_get_and_ack(server, clients, when):
    """GET has no subscription; its ACK can be repeated too, when it was refused."""
    rcv, snd = clients(), clients()
    queue = Queue.create(rcv, subscribe=False)
    for body in (b"one", b"two"):
        assert queue.send(snd, body).raw == b"OK"
    first = queue.open(queue.get(rcv))
    fill_disk(server, snd, when)
    assert queue.ack(rcv, first.msg_id).raw == ERR_STORE
    empty_disk(server, snd, queue)
    if when == REFUSED:
        assert queue.ack(rcv, first.msg_id).raw == b"OK"
    assert queue.open(queue.get(rcv)).body == b"two"
