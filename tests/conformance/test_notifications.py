# SPDX-License-Identifier: AGPL-3.0-or-later
"""Notifiers and notifications (sections 5 and 6; behaviour, "Notifications")."""

import os
import signal
import time

import pytest
from smp import Connection, Notifier, Queue
from smp.commands import nkey_command, send_command
from smp.keys import x25519_der
from smp.transmissions import batch

PATIENCE = 10
INTERVAL = {("LIMITS", "notification_interval_ms"): 50}


@pytest.fixture
def quick(own_server):
    """Address of a server that sends notifications almost at once."""
    return own_server(INTERVAL).address


def next_ntf(conn, notifier):
    """The next event, a notification of this notifier: (msgId, timestamp)."""
    return notifier.open(conn.event(PATIENCE))


def test_notification_tells_the_message(connect, version):
    """NMSG carries id and time of the message, in every version."""
    recipient, sender, server = connect(version), connect(version), connect(version)
    queue = Queue.create(recipient)
    notifier = Notifier.of(recipient, queue)
    answer = notifier.sub(server)
    assert answer.tag == ("SOK" if version >= 16 else "OK") and answer.entity == notifier.notifier_id
    if version >= 16:
        assert answer.service_id is None
    before = time.monotonic()
    assert queue.send(sender, b"hello", b"T").raw == b"OK"
    message = queue.next_message(recipient)
    msg_id, timestamp = next_ntf(server, notifier)
    assert (msg_id, timestamp) == (message.msg_id, message.timestamp)
    assert time.monotonic() - before < PATIENCE
    assert server.quiet()


@pytest.mark.parametrize("key", ["ed25519", "ed448", "x25519"])
def test_notifier_keys(connect, key):
    """A notifier may have a key of each type."""
    conn = connect()
    queue = Queue.create(conn)
    notifier = Notifier(key)
    answer = queue.recipient(conn, nkey_command(*notifier.credentials()))
    notifier.accept(answer.notifier_id, answer.server_dh)
    assert notifier.sub(conn).tag == "SOK"
    notifier.key = Notifier(key).key
    assert notifier.sub(conn).raw == b"ERR AUTH"


def test_credentials_with_new(connect):
    """From version 17 NEW may bring the notifier's credentials."""
    conn, sender = connect(), connect()
    notifier = Notifier()
    queue = Queue.create(conn, notifier=notifier)
    assert len(notifier.notifier_id) == 24 and notifier.sub(conn).tag == "SOK"
    assert queue.send(sender, b"hello", b"T").raw == b"OK"
    message = queue.next_message(conn)
    assert next_ntf(conn, notifier)[0] == message.msg_id


def test_only_flagged_messages_notify(connect, quick):
    """SEND without the flag stores no notification."""
    recipient, sender, server = (connect(to=quick) for _ in range(3))
    queue = Queue.create(recipient)
    notifier = Notifier.of(recipient, queue)
    notifier.sub(server)
    assert queue.send(sender, b"silent").raw == b"OK"
    assert server.quiet(0.3)
    assert queue.send(sender, b"loud", b"T").raw == b"OK"
    next_ntf(server, notifier)


def test_all_pending_are_delivered_in_order(connect, quick):
    """What came before NSUB waits, all of it, also when the messages are gone."""
    recipient, sender, server = (connect(to=quick) for _ in range(3))
    queue = Queue.create(recipient)
    notifier = Notifier.of(recipient, queue)
    expected = []
    for number in range(40):
        assert queue.send(sender, b"%d" % number, b"T").raw == b"OK"
        message = queue.next_message(recipient)
        expected.append(message.msg_id)
        assert queue.ack(recipient, message.msg_id).raw == b"OK"
    assert notifier.sub(server).tag == "SOK"
    assert [next_ntf(server, notifier)[0] for _ in expected] == expected
    assert server.quiet()


def test_more_than_is_kept(connect, quick):
    """Of too many for one notifier the oldest are dropped."""
    recipient, sender, server = (connect(to=quick) for _ in range(3))
    queue = Queue.create(recipient)
    notifier = Notifier.of(recipient, queue)
    sent = []
    for number in range(300):
        assert queue.send(sender, b"%d" % number, b"T").raw == b"OK"
        message = queue.next_message(recipient)
        sent.append(message.msg_id)
        assert queue.ack(recipient, message.msg_id).raw == b"OK"
    assert notifier.sub(server).tag == "SOK"
    assert [next_ntf(server, notifier)[0] for _ in range(256)] == sent[-256:]
    assert server.quiet()


def test_refused_message_does_not_notify(connect, own_server):
    """A message over the quota has no notification, nor has the marker."""
    address = own_server({**INTERVAL, ("LIMITS", "message_queue_quota"): 1}).address
    recipient, sender, server = (connect(to=address) for _ in range(3))
    queue = Queue.create(recipient, subscribe=False)
    notifier = Notifier.of(recipient, queue)
    assert queue.send(sender, b"one", b"T").raw == b"OK"
    assert queue.send(sender, b"two", b"T").raw == b"ERR QUOTA"
    assert notifier.sub(server).tag == "SOK"
    next_ntf(server, notifier)
    assert server.quiet(0.3)


def test_batched_in_one_block(connect, own_server):
    """What comes within the interval is sent together."""
    address = own_server({("LIMITS", "notification_interval_ms"): 1000}).address
    recipient, sender, server = (connect(to=address) for _ in range(3))
    pairs = [(queue, Notifier.of(recipient, queue))
             for queue in [Queue.create(recipient) for _ in range(30)]]
    for _, notifier in pairs:
        notifier.sub(server)
    sends = [sender.make(send_command(b"hello", b"T"), queue.snd_id) for queue, _ in pairs]
    sender.write_content(batch([sent.data for sent in sends]))
    assert [sender.wait(sent).raw for sent in sends] == [b"OK"] * len(sends)
    before = server.blocks
    entities = {server.event(PATIENCE).entity for _ in pairs}
    assert entities == {notifier.notifier_id for _, notifier in pairs}
    assert server.blocks - before == 1


def test_default_interval(connect):
    """Delivered soon, without anything else happening."""
    recipient, sender, server = connect(), connect(), connect()
    queue = Queue.create(recipient)
    notifier = Notifier.of(recipient, queue)
    notifier.sub(server)
    before = time.monotonic()
    assert queue.send(sender, b"hello", b"T").raw == b"OK"
    next_ntf(server, notifier)
    assert time.monotonic() - before < PATIENCE


def test_subscription_moves(connect, quick, version):
    """NSUB elsewhere: the earlier connection gets END, the later one the notifications."""
    recipient, sender, one, two = (connect(version, to=quick) for _ in range(4))
    queue = Queue.create(recipient)
    notifier = Notifier.of(recipient, queue)
    notifier.sub(one)
    notifier.sub(two)
    end = one.event(PATIENCE)
    assert (end.raw, end.entity) == (b"END", notifier.notifier_id)
    assert queue.send(sender, b"hello", b"T").raw == b"OK"
    next_ntf(two, notifier)
    assert one.quiet() and two.quiet()


def test_again_in_the_same_connection(connect, quick):
    """NSUB again changes nothing and ends nothing."""
    recipient, sender, server = (connect(to=quick) for _ in range(3))
    queue = Queue.create(recipient)
    notifier = Notifier.of(recipient, queue)
    assert notifier.sub(server).tag == notifier.sub(server).tag == "SOK"
    assert queue.send(sender, b"hello", b"T").raw == b"OK"
    next_ntf(server, notifier)
    assert server.quiet()


@pytest.mark.parametrize("how", ["NDEL", "NKEY", "DEL"])
def test_end_of_a_notifier(connect, quick, version, how):
    """NDEL, another NKEY and DEL end the subscription with DELD; the old credentials are nothing."""
    recipient, sender, server = (connect(version, to=quick) for _ in range(3))
    queue = Queue.create(recipient)
    notifier = Notifier.of(recipient, queue)
    notifier.sub(server)
    if how == "NKEY":
        other = Notifier.of(recipient, queue)
        assert other.notifier_id != notifier.notifier_id
    else:
        assert queue.recipient(recipient, how.encode()).raw == b"OK"
    event = server.event(PATIENCE)
    assert event.entity == notifier.notifier_id
    assert event.raw == (b"DELD" if version >= 10 else b"END")
    assert notifier.sub(server).raw == b"ERR AUTH"
    if how == "NKEY":
        assert other.sub(server).tag in ("OK", "SOK")
        assert queue.send(sender, b"hello", b"T").raw == b"OK"
        next_ntf(server, other)


def test_pending_go_with_their_notifier(connect, quick):
    """Notifications of a replaced notifier are not delivered to the new one."""
    recipient, sender, server = (connect(to=quick) for _ in range(3))
    queue = Queue.create(recipient, subscribe=False)
    Notifier.of(recipient, queue)
    assert queue.send(sender, b"hello", b"T").raw == b"OK"
    other = Notifier.of(recipient, queue)
    assert other.sub(server).tag == "SOK"
    assert server.quiet(0.3)


def test_ndel_without_notifier(connect):
    """NDEL is fine when there is nothing to delete."""
    conn = connect()
    queue = Queue.create(conn)
    assert queue.recipient(conn, b"NDEL").raw == b"OK"
    Notifier.of(conn, queue)
    assert queue.recipient(conn, b"NDEL").raw == b"OK"
    assert queue.recipient(conn, b"NDEL").raw == b"OK"


def test_nsub_needs_the_notifier(connect):
    """NSUB with another id or another queue's key: AUTH."""
    conn = connect()
    one, two = (Notifier.of(conn, Queue.create(conn)) for _ in range(2))
    assert conn.request(b"NSUB", one.notifier_id, two.key).raw == b"ERR AUTH"
    assert conn.request(b"NSUB", os.urandom(24), one.key).raw == b"ERR AUTH"


def test_nkey_refuses_low_order_keys(connect):
    """A DH key of low order agrees on what everybody knows."""
    conn = connect()
    queue = Queue.create(conn)
    command = nkey_command(Notifier().key.der, x25519_der(bytes(32)))
    assert queue.recipient(conn, command).raw == b"ERR CRYPTO"


def test_que_tells_the_notifier(connect):
    """QUE says whether the queue has a notifier."""
    conn = connect()
    queue = Queue.create(conn)
    assert '"qiNtf":false' in queue.recipient(conn, b"QUE").text
    Notifier.of(conn, queue)
    assert '"qiNtf":true' in queue.recipient(conn, b"QUE").text


def test_batched_nsub(connect, quick):
    """Hundreds of NSUB in batches; each has its answer and its notification."""
    recipient, sender, server = (connect(to=quick) for _ in range(3))
    queues = [Queue.create(recipient, subscribe=False) for _ in range(300)]
    notifiers = [Notifier.of(recipient, queue) for queue in queues]
    sent = [server.make(b"NSUB", n.notifier_id, n.key) for n in notifiers]
    server.write(sent)
    assert {server.wait(item).tag for item in sent} == {"SOK"}
    sends = [sender.make(b"SEND T x", queue.snd_id) for queue in queues]
    sender.write(sends)
    assert {sender.wait(item).raw for item in sends} == {b"OK"}
    assert {server.event(PATIENCE).entity for _ in queues} == {n.notifier_id for n in notifiers}


def test_expiry(connect, own_server):
    """Notifications that nobody fetched expire; the message stays."""
    address = own_server({**INTERVAL, ("LIMITS", "notification_ttl"): 1,
                          ("LIMITS", "expiry_interval"): 1}).address
    recipient, sender, server = (connect(to=address) for _ in range(3))
    queue = Queue.create(recipient, subscribe=False)
    notifier = Notifier.of(recipient, queue)
    assert queue.send(sender, b"hello", b"T").raw == b"OK"
    time.sleep(3.5)
    assert notifier.sub(server).tag == "SOK"
    assert server.quiet(0.3)
    assert queue.sub(recipient).tag == "SOK"
    queue.next_message(recipient)


@pytest.mark.parametrize("store", ["memory", "journal", "database"])
def test_restart(own_server, store):
    """Notifiers survive any stop, their notifications an orderly one."""
    server = own_server({**INTERVAL, ("STORE_LOG", "enable"): "on"}, store=store)
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn, subscribe=False)
        notifier = Notifier.of(conn, queue)
        replaced = Queue.create(conn, subscribe=False)
        old, new = Notifier.of(conn, replaced), Notifier.of(conn, replaced)
        deleted = Queue.create(conn, subscribe=False)
        gone = Notifier.of(conn, deleted)
        deleted.recipient(conn, b"NDEL")
        assert queue.send(conn, b"hello", b"T").raw == b"OK"
        expected = queue.open(queue.get(conn)).msg_id
    server.stop()
    server.start()
    with Connection(server.address, 18) as conn:
        assert notifier.sub(conn).tag == new.sub(conn).tag == "SOK"
        assert next_ntf(conn, notifier)[0] == expected
        assert conn.quiet()
        assert old.sub(conn).raw == gone.sub(conn).raw == b"ERR AUTH"
    server.process.kill()
    server.process.wait()
    server.process = None
    server.start()
    with Connection(server.address, 18) as conn:
        assert notifier.sub(conn).tag == "SOK"
        assert queue.send(conn, b"again", b"T").raw == b"OK"
        next_ntf(conn, notifier)
        assert conn.quiet()
    server.stop(signal.SIGTERM)
    server.start()


@pytest.mark.parametrize("version", [6, 18, 19, 20])
def test_names_are_not_resolved(connect, version):
    """RSLV, at whatever version it comes, is told that there is no resolver; bad names are bad
    syntax."""
    conn = connect(version)
    assert conn.request(b"RSLV alice.simplex").raw == b"ERR NAME NO_RESOLVER"
    assert conn.request(b"RSLV a-b.example.com later").raw == b"ERR NAME NO_RESOLVER"
    for name in (b"", b" ", b" alice", b" -a.simplex", b" a..simplex", b" a_b.simplex"):
        assert conn.request(b"RSLV" + name).raw == b"ERR CMD SYNTAX"
    assert conn.request(b"RSLV alice.simplex", os.urandom(24)).raw == b"ERR CMD HAS_AUTH"
