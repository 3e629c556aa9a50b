# SPDX-License-Identifier: AGPL-3.0-or-later
"""Creating, suspending, inspecting and deleting queues: behaviour "Queues"."""

import base64
import json
import os
import re
import time
from datetime import datetime, timezone

import pytest
from smp import Notifier, Queue, X25519Key, make_key, new_command
from smp.connection import Connection
from smp.keys import KEY_TYPES, X448_HEAD, FixedAuth, x25519_der
from smp.transport import Address


def new(conn, key=None, **options):
    """NEW as it goes out, with any choice of authorizing key; gives the answer."""
    rcv_key = make_key("ed25519")
    options.setdefault("password", conn.address.password)
    command = new_command(conn.version, rcv_key.der, X25519Key().der, **options)
    return conn.request(command, b"", key or rcv_key)


def info(queue, conn):
    """The JSON of QUE."""
    answer = queue.recipient(conn, b"QUE")
    assert answer.tag == "INFO", answer
    return json.loads(answer.text)


def test_new_gives_ids(connect, version):
    """IDS has two different ids of 24 bytes and a DH key; its entity is empty (wire 6)."""
    conn = connect()
    queue = Queue.create(conn)
    assert len(queue.rcv_id) == len(queue.snd_id) == 24
    assert queue.rcv_id != queue.snd_id
    assert queue.ids.entity == b""


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_recipient_key_of_each_type(connect, version, kind):
    """A recipient may authorize by Ed25519, Ed448 or X25519 (wire 2 and 4)."""
    conn = connect()
    queue = Queue.create(conn, key=kind, subscribe=False)
    assert queue.sub(conn).tag in ("SOK", "OK")
    assert queue.delete(conn).raw == b"OK"


def test_new_must_be_signed_by_its_own_key(connect, version):
    """NEW is verified with the key inside it (behaviour: authorization)."""
    conn = connect()
    assert new(conn, make_key("ed25519")).raw == b"ERR AUTH"
    assert new(conn, make_key("ed448")).raw == b"ERR AUTH"
    assert new(conn, make_key("x25519")).raw == b"ERR AUTH"


def test_ids_are_unpredictable_and_distinct(connect):
    """All ids are random and never collide across namespaces."""
    conn = connect()
    queues = [Queue.create(conn) for _ in range(20)]
    ids = {q.rcv_id for q in queues} | {q.snd_id for q in queues}
    keys = {q.ids.server_dh for q in queues}
    assert len(ids) == 40 and len(keys) == 20


def test_namespaces_are_separate(connect):
    """A sender id is no recipient id and the reverse: AUTH."""
    conn = connect()
    queue = Queue.create(conn)
    assert conn.request(b"SUB", queue.snd_id, queue.rcv_key).raw == b"ERR AUTH"
    assert conn.request(b"SEND F hello", queue.rcv_id).raw == b"ERR AUTH"


def test_create_subscribes_with_s(connect, version):
    """subMode S subscribes the connection that creates."""
    conn = connect()
    queue = Queue.create(conn, subscribe=True)
    assert queue.send(conn, b"hello").raw == b"OK"
    assert queue.next_message(conn).body == b"hello"


def test_create_only_does_not_subscribe(connect, version):
    """subMode C creates only."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    assert queue.send(conn, b"hello").raw == b"OK"
    assert conn.quiet()
    assert queue.sub(conn).tag in ("SOK", "OK")
    assert queue.next_message(conn).body == b"hello"


@pytest.mark.parametrize("mode", [b"s", b"X", b"", b"SS"])
def test_bad_sub_mode_is_syntax_error(connect, mode):
    """subMode is S or C (wire 5)."""
    conn = connect(8)
    key = make_key("ed25519")
    command = new_command(8, key.der, X25519Key().der)[:-1] + mode
    assert conn.request(command, b"", key).raw == b"ERR CMD SYNTAX"


def test_new_queues_off(own_server):
    """With new_queues off NEW answers AUTH."""
    server = own_server({("AUTH", "new_queues"): "off"})
    for version in (6, 18):
        with Connection(server.address, version) as conn:
            assert new(conn).raw == b"ERR AUTH"
            conn.ping()


def test_password_for_new_queues(own_server):
    """A wrong or missing basic auth answers AUTH, the right one IDS, in each form of NEW."""
    server = own_server(password="right-password")
    for version in (6, 8, 9, 14, 15, 17, 18):
        with Connection(server.address, version) as conn:
            assert new(conn, password=b"right-password").tag == "IDS"
            for wrong in (None, b"", b"right", b"right-password2", b"Right-password"):
                assert new(conn, password=wrong).raw == b"ERR AUTH", (version, wrong)


def test_password_is_in_the_printed_address(own_server):
    """The address of init carries the password."""
    server = own_server(password="right-password")
    printed = Address.parse(server.printed_address, server.ports[0])
    assert printed.password == b"right-password"


def test_password_is_ignored_when_none_is_set(connect, version):
    """A server without password takes any."""
    conn = connect()
    if conn.address.password:
        pytest.skip("the server has a password")
    assert new(conn, password=b"anything").tag == "IDS"


@pytest.mark.parametrize("name,der", [
    ("Ed25519", make_key("ed25519").der), ("X448", X448_HEAD + bytes(range(56))),
    ("garbage", bytes(range(44))), ("empty", b""), ("short", X25519Key().der[:-1])],
    ids=("Ed25519", "X448", "garbage", "empty", "short"))
def test_dh_key_must_be_x25519(connect, name, der):
    """rcvDhKey is an X25519 key: anything else is a syntax error (wire 5)."""
    conn = connect()
    key = make_key("ed25519")
    assert conn.request(new_command(18, key.der, der), b"", key).raw == b"ERR CMD SYNTAX"


def test_low_order_dh_key_makes_no_queue(connect):
    """The all-zero DH result is refused (wire 2): no IDS."""
    conn = connect()
    key = make_key("ed25519")
    for point in (bytes(32), bytes((1,)) + bytes(31)):
        command = new_command(18, key.der, x25519_der(point), password=conn.address.password)
        assert conn.request(command, b"", key).tag == "ERR"


def test_x448_cannot_authorize(connect):
    """Recipient keys are Ed25519, Ed448 or X25519 (wire 4)."""
    conn = connect()
    key = make_key("ed25519")
    command = new_command(18, X448_HEAD + bytes(range(56)), X25519Key().der)
    assert conn.request(command, b"", key).raw == b"ERR CMD SYNTAX"


def test_off_stops_senders_but_not_the_recipient(connect, version):
    """OFF: SEND answers AUTH, the recipient still reads."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    assert queue.send(conn, b"before").raw == b"OK"
    assert queue.off(conn).raw == b"OK"
    assert queue.send(conn, b"after").raw == b"ERR AUTH"
    assert queue.sub(conn).tag in ("SOK", "OK")
    message = queue.next_message(conn)
    assert message.body == b"before"
    assert queue.ack(conn, message.msg_id).raw == b"OK"


def test_get_works_on_a_suspended_queue(connect):
    """OFF leaves GET to the recipient too."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    assert queue.send(conn, b"before").raw == b"OK"
    assert queue.off(conn).raw == b"OK"
    message = queue.open(queue.get(conn))
    assert message.body == b"before"
    assert queue.ack(conn, message.msg_id).raw == b"OK"


def test_off_twice(connect):
    """OFF again answers OK."""
    conn = connect()
    queue = Queue.create(conn)
    assert queue.off(conn).raw == b"OK"
    assert queue.off(conn).raw == b"OK"


def test_delete_removes_queue_and_messages(connect, version):
    """After DEL every command on the queue answers AUTH."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    queue.send(conn, b"hello")
    assert queue.delete(conn).raw == b"OK"
    assert queue.send(conn, b"hello").raw == b"ERR AUTH"
    for command in (b"SUB", b"GET", b"DEL", b"OFF", b"QUE"):
        assert queue.recipient(conn, command).raw == b"ERR AUTH", command


def test_delete_of_own_subscription_sends_nothing(connect, version):
    """DELD goes to others, not to the connection that deletes."""
    conn = connect()
    queue = Queue.create(conn)
    assert queue.delete(conn).raw == b"OK"
    assert conn.quiet()


def test_empty_queue_info(connect, version):
    """INFO of a new queue: counts, flags, and absent values left out (wire 6)."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    assert info(queue, conn) == {"qiSnd": False, "qiNtf": False, "qiSize": 0}


def test_info_shows_sender_key_and_subscription(connect):
    """qiSnd after securing; qiSub while this connection is subscribed."""
    conn, other = connect(), connect()
    queue = Queue.create(conn)
    queue.skey(conn, make_key("x25519"))
    found = info(queue, conn)
    assert found == {"qiSnd": True, "qiNtf": False, "qiSize": 0,
                     "qiSub": {"qSubThread": "noSub"}}
    assert "qiSub" not in info(queue, other)


def test_info_shows_delivered_message(connect):
    """qDelivered and qiMsg name the waiting message in base64, with time and type."""
    conn = connect()
    queue = Queue.create(conn)
    queue.send(conn, b"one")
    message = queue.next_message(conn)
    queue.send(conn, b"two")
    found = info(queue, conn)
    text = base64.b64encode(message.msg_id).decode()
    assert found["qiSize"] == 2
    assert base64.b64decode(found["qiSub"]["qDelivered"].translate(
        str.maketrans("-_", "+/"))) == message.msg_id
    assert found["qiMsg"]["msgId"].translate(str.maketrans("-_", "+/")) == text
    assert found["qiMsg"]["msgType"] == "message"
    assert found["qiMsg"]["msgTs"].endswith("Z")
    stamp = datetime.fromisoformat(found["qiMsg"]["msgTs"].split(".")[0].rstrip("Z"))
    assert int(stamp.replace(tzinfo=timezone.utc).timestamp()) == message.timestamp


def test_info_after_get(connect):
    """A connection that used GET shows prohibitSub."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    assert queue.get(conn).raw == b"OK"
    assert info(queue, conn)["qiSub"] == {"qSubThread": "prohibitSub"}


def test_que_needs_the_recipient_key(connect):
    """QUE with a wrong key answers AUTH."""
    conn = connect()
    queue = Queue.create(conn)
    assert conn.request(b"QUE", queue.rcv_id, make_key("ed25519")).raw == b"ERR AUTH"
    assert conn.request(b"QUE", queue.rcv_id, FixedAuth(bytes(64))).raw == b"ERR AUTH"


def test_queue_outlives_its_connection(connect, version):
    """A queue made in one connection is used from others."""
    first = connect()
    queue = Queue.create(first)
    first.close()
    second, third = connect(), connect()
    assert queue.send(second, b"hello").raw == b"OK"
    assert queue.sub(third).tag in ("SOK", "OK")
    assert queue.next_message(third).body == b"hello"


def test_versions_mix_on_one_queue(connect, version):
    """A queue made in one version is used from the newest and the oldest."""
    made, oldest, newest = connect(), connect(6), connect(18)
    queue = Queue.create(made, subscribe=False)
    assert queue.send(newest, os.urandom(100)).raw == b"OK"
    assert queue.sub(oldest).raw == b"OK"
    assert queue.next_message(oldest).body


# ---- the date of the last use ----


OLD_DAY = 86400  # in 1970


def set_dates(server, day):
    """Stops the server, gives all queues in its store log this date, and starts it."""
    server.stop()
    path = server.state / "smp-server-store.log"
    path.write_text(re.sub(r"updated_at=\d+", f"updated_at={day}", path.read_text()))
    server.start()


def logged_dates(server, queue, *, since):
    """The dates after `since` that the store log has for a queue: each of a line of its own, or of the
    line with all that the queue has, which follows when something of it was replaced."""
    rid = re.escape(base64.urlsafe_b64encode(queue.rcv_id).decode())
    lines = re.findall(f"^(?:TIME {rid} |CREATE rid={rid} .*updated_at=)(\\d+)",
                       (server.state / "smp-server-store.log").read_text(), re.M)
    return [date for date in lines if int(date) > since]


USES = {
    "SUB": lambda conn, queue, _: queue.sub(conn), "GET": lambda conn, queue, _: queue.get(conn),
    "QUE": lambda conn, queue, _: queue.recipient(conn, b"QUE"),
    "OFF": lambda conn, queue, _: queue.off(conn),
    "NDEL": lambda conn, queue, _: queue.recipient(conn, b"NDEL"),
    "SEND": lambda conn, queue, _: queue.send(conn, b"x"),
    "NSUB": lambda conn, _, notifier: notifier.sub(conn),
}


def test_use_changes_the_date(own_server):
    """A day, not a time, once a day, and not for what is only asked about (behaviour, "Queues")."""
    server = own_server({("STORE_LOG", "enable"): "on"}, store="off")
    with Connection(server.address, 18) as conn:
        queues = {name: Queue.create(conn, subscribe=False) for name in USES}
        notifiers = {name: Notifier.of(conn, queue) for name, queue in queues.items()}
    set_dates(server, OLD_DAY)
    before = int(time.time()) // 86400 * 86400
    with Connection(server.address, 18) as conn:
        for name, use in USES.items():
            for _ in range(2):
                assert not use(conn, queues[name], notifiers[name]).raw.startswith(b"ERR AUTH")
        stranger = conn.request(b"SUB", queues["NSUB"].rcv_id, make_key("ed25519"))
        assert stranger.raw == b"ERR AUTH"
    server.stop()
    days = {str(before), str(int(time.time()) // 86400 * 86400)}
    for name, queue in queues.items():
        dates = logged_dates(server, queue, since=OLD_DAY)
        assert dates == [] if name == "NSUB" else len(set(dates)) == len(dates) >= 1, name
        assert set(dates) <= days, name
