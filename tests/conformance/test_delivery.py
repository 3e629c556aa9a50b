# SPDX-License-Identifier: AGPL-3.0-or-later
"""Delivery, acknowledgement, quota, GET, subscriptions that move: behaviour "Messages"."""

import json
import os
import time

import pytest
from smp import Queue, make_key, new_command
from smp.commands import ack_command, send_command
from smp.connection import Connection
from smp.crypto import public_of
from smp.keys import x25519_der
from smp.transmissions import batch

QUOTA = 128
END_TIMEOUT = 20


def subscribed(answer, version):
    """SUB is answered by SOK from version 16, by OK below."""
    return answer.raw == (b"SOK 0" if version >= 16 else b"OK")


def send_all(conn, queue, bodies):
    """Sends every body; all are accepted."""
    for body in bodies:
        assert queue.send(conn, body).raw == b"OK"


def read_all(conn, queue, message):
    """Acknowledges from `message` on until the queue is empty; gives all messages."""
    found = [message]
    while True:
        answer = queue.ack(conn, found[-1].msg_id)
        if answer.raw == b"OK":
            return found
        found.append(queue.open(answer))


def numbered(count):
    """Distinct bodies in a known order."""
    return [b"message %d" % i for i in range(count)]


def test_order_is_kept(connect, version):
    """Messages come in the order in which they were accepted, each once."""
    sender, conn = connect(), connect()
    queue = Queue.create(conn)
    send_all(sender, queue, numbered(30))
    found = read_all(conn, queue, queue.next_message(conn))
    assert [m.body for m in found] == numbered(30)


def test_one_at_a_time(connect, version):
    """Nothing more is delivered while a message is unacknowledged."""
    conn = connect()
    queue = Queue.create(conn)
    send_all(conn, queue, numbered(3))
    assert queue.next_message(conn).body == b"message 0"
    assert conn.quiet()


def test_next_message_answers_the_ack(connect, version):
    """The next message has the corrId of the ACK, the last ACK answers OK."""
    conn = connect()
    queue = Queue.create(conn)
    send_all(conn, queue, numbered(2))
    first = queue.next_message(conn)
    second = queue.ack(conn, first.msg_id)
    assert second.tag == "MSG" and second.corr_id
    assert queue.ack(conn, queue.open(second).msg_id).raw == b"OK"


def test_delivery_resumes_after_the_queue_was_empty(connect):
    """A message sent to an emptied queue is delivered without a new SUB."""
    conn = connect()
    queue = Queue.create(conn)
    for body in numbered(5):
        send_all(conn, queue, [body])
        message = queue.next_message(conn)
        assert message.body == body
        assert queue.ack(conn, message.msg_id).raw == b"OK"
    assert conn.quiet()


def test_sub_delivers_what_waits(connect, version):
    """SUB answers and delivers the waiting message, with an empty corrId."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    send_all(conn, queue, numbered(2))
    assert subscribed(queue.sub(conn), version)
    event = conn.event()
    assert event.corr_id == b""
    assert queue.open(event).body == b"message 0"


def test_sub_and_its_message_share_a_block(connect, version):
    """With few answers the first message is in the block of the answer."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    send_all(conn, queue, numbered(1))
    conn.write([conn.make(b"SUB", queue.rcv_id, queue.rcv_key)])
    answers = conn.read()
    assert [a.tag for a in answers] == ["SOK" if version >= 16 else "OK", "MSG"]


@pytest.mark.parametrize("n", [1, 3, 5])
def test_sub_and_a_message_from_disk_share_a_block(own_server, n):
    """After a restart too, when the bodies are on disk; but the answers of many SUBs do not wait."""
    server = own_server(store="journal", disk=True)
    with Connection(server.address) as conn:
        queues = [Queue.create(conn, subscribe=False) for _ in range(n)]
        for queue in queues:
            assert queue.send(conn, b"stored").raw == b"OK"
    server.stop()
    server.disk.set("read_ms", 100)
    server.start()
    with Connection(server.address) as conn:
        conn.write([conn.make(b"SUB", queue.rcv_id, queue.rcv_key) for queue in queues])
        tags = [[answer.tag for answer in conn.read()] for _ in range(n if n < 5 else n + 1)]
        first = ["SOK"] * n + (["MSG"] if n < 5 else [])
        assert tags == [first] + [["MSG"]] * (len(tags) - 1)


def test_message_to_oneself_comes_before_the_answer(connect, version):
    """In a block of its own, before all answers of the block that sent it."""
    conn = connect()
    one, other = Queue.create(conn), Queue.create(conn)
    sends = [conn.make(send_command(b"x", b"F"), queue.snd_id) for queue in (one, one, other)]
    conn.write([conn.make(b"PING"), *sends])
    blocks = [[answer.tag for answer in conn.read()] for _ in range(3)]
    assert blocks == [["MSG"], ["MSG"], ["PONG", "OK", "OK", "OK"]]


def test_sub_of_empty_queue(connect, version):
    """SUB of an empty queue answers and delivers nothing."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    assert subscribed(queue.sub(conn), version)
    assert conn.quiet()


def test_sub_again_redelivers(connect, version):
    """SUB again in the same connection delivers the unacknowledged message again."""
    conn = connect()
    queue = Queue.create(conn)
    send_all(conn, queue, numbered(2))
    first = queue.next_message(conn)
    assert subscribed(queue.sub(conn), version)
    assert queue.next_message(conn) == first
    found = read_all(conn, queue, first)
    assert [m.body for m in found] == numbered(2)


def test_sub_again_after_everything_was_read(connect):
    """SUB again when nothing waits answers and sends nothing; delivery goes on."""
    conn = connect()
    queue = Queue.create(conn)
    assert queue.sub(conn).tag == "SOK"
    assert conn.quiet()
    send_all(conn, queue, [b"hello"])
    assert queue.next_message(conn).body == b"hello"


def test_unacknowledged_message_survives_the_connection(connect, version):
    """A message that was delivered and not acknowledged is delivered again elsewhere."""
    sender, first = connect(), connect()
    queue = Queue.create(first)
    send_all(sender, queue, numbered(2))
    message = queue.next_message(first)
    first.close()
    second = connect()
    assert subscribed(queue.sub(second), version)
    assert queue.next_message(second) == message


@pytest.mark.parametrize("again", [b"SUB", b"GET"])
def test_ack_right_behind_what_delivers_again(connect, again):
    """SUB and GET deliver when they are run, not when their answer is written: an ACK of that
    message in the next block is not too early, though both blocks come at once."""
    conn, sender = connect(), connect()
    for _ in range(60):
        queue = Queue.create(conn, subscribe=False)
        assert queue.send(sender, b"one").raw == queue.send(sender, b"two").raw == b"OK"
        first = conn.wait(send_alone(conn, queue, again))
        message = queue.open(first if again == b"GET" else conn.event())
        once_more = conn.make(again, queue.rcv_id, queue.rcv_key)
        ack = conn.make(ack_command(message.msg_id), queue.rcv_id, queue.rcv_key)
        blocks = [conn.session.seal(batch([part.data])) for part in (once_more, ack)]
        conn.link.write(b"".join(blocks))
        assert conn.wait(once_more).tag == ("SOK" if again == b"SUB" else "MSG")
        assert conn.wait(ack).tag == ("MSG" if again == b"SUB" else "OK")
        conn.events.clear()


def send_alone(conn, queue, command):
    """A command of the recipient in a block of its own."""
    sent = conn.make(command, queue.rcv_id, queue.rcv_key)
    conn.write([sent])
    return sent


def test_ack_of_another_id(connect, version):
    """ACK only for the message that was delivered: else NO_MSG, and nothing is lost."""
    conn = connect()
    queue = Queue.create(conn)
    send_all(conn, queue, numbered(2))
    message = queue.next_message(conn)
    for msg_id in (os.urandom(24), message.msg_id[:-1], message.msg_id + b"x"):
        assert queue.ack(conn, msg_id).raw == b"ERR NO_MSG"
    assert [m.body for m in read_all(conn, queue, message)] == numbered(2)


def test_ack_twice(connect, version):
    """The second ACK of a message answers NO_MSG and deletes nothing."""
    conn = connect()
    queue = Queue.create(conn)
    send_all(conn, queue, numbered(2))
    first = queue.next_message(conn)
    second = queue.open(queue.ack(conn, first.msg_id))
    assert queue.ack(conn, first.msg_id).raw == b"ERR NO_MSG"
    assert queue.ack(conn, second.msg_id).raw == b"OK"
    assert queue.ack(conn, second.msg_id).raw == b"ERR NO_MSG"


def test_ack_without_delivery(connect, version):
    """ACK in a connection that got no message answers NO_MSG."""
    conn, other = connect(), connect()
    queue = Queue.create(conn)
    assert queue.ack(conn, os.urandom(24)).raw == b"ERR NO_MSG"
    send_all(conn, queue, numbered(1))
    message = queue.next_message(conn)
    assert queue.ack(other, message.msg_id).raw == b"ERR NO_MSG"
    assert queue.ack(conn, message.msg_id).raw == b"OK"


def test_ack_after_the_subscription_moved(connect):
    """The earlier connection can no longer acknowledge what it got."""
    first, second = connect(), connect()
    queue = Queue.create(first)
    send_all(first, queue, numbered(1))
    message = queue.next_message(first)
    assert queue.sub(second).tag == "SOK"
    assert first.event(END_TIMEOUT).raw == b"END"
    assert queue.ack(first, message.msg_id).raw == b"ERR NO_MSG"
    assert queue.ack(second, queue.next_message(second).msg_id).raw == b"OK"


@pytest.mark.parametrize("command", [
    b"ACK", b"ACK ", b"ACK \x18short", ack_command(bytes(24)) + b"x"])
def test_ack_syntax(connect, command):
    """ACK has one short string and nothing after it (wire 5)."""
    conn = connect()
    queue = Queue.create(conn)
    assert queue.recipient(conn, command).raw == b"ERR CMD SYNTAX"


def fill(conn, queue, count=QUOTA):
    """Sends until the quota answers QUOTA, which must be after `count` messages."""
    send_all(conn, queue, numbered(count))
    assert queue.send(conn, b"one too many").raw == b"ERR QUOTA"


def test_quota(connect):
    """128 messages are taken; the next SENDs answer QUOTA and leave one marker."""
    sender, conn = connect(), connect()
    queue = Queue.create(conn)
    fill(sender, queue)
    for _ in range(3):
        assert queue.send(sender, b"still too many").raw == b"ERR QUOTA"
    found = read_all(conn, queue, queue.next_message(conn))
    assert [m.body for m in found] == numbered(QUOTA) + [None]
    assert abs(found[-1].timestamp - found[0].timestamp) < 60


def test_quota_until_read_empty(connect):
    """SEND answers QUOTA until the queue was read empty, the marker included."""
    sender, conn = connect(), connect()
    queue = Queue.create(conn)
    fill(sender, queue)
    message = queue.next_message(conn)
    for _ in range(QUOTA):
        assert queue.send(sender, b"not yet").raw == b"ERR QUOTA"
        message = queue.open(queue.ack(conn, message.msg_id))
    assert message.body is None
    assert queue.send(sender, b"not yet").raw == b"ERR QUOTA"
    assert queue.ack(conn, message.msg_id).raw == b"OK"
    assert queue.send(sender, b"at last").raw == b"OK"
    assert queue.next_message(conn).body == b"at last"


def test_quota_can_be_reached_again(own_server):
    """After the queue was read empty the whole quota is there again; each time one marker."""
    server = own_server({("LIMITS", "message_queue_quota"): 5})
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn)
        for _ in range(3):
            fill(conn, queue, 5)
            found = read_all(conn, queue, queue.next_message(conn))
            assert [m.body for m in found] == numbered(5) + [None]
        assert conn.quiet()


def test_quota_marker_in_each_version(own_server):
    """The marker is a message like any other, in the encryption of every version (wire 6)."""
    server = own_server({("LIMITS", "message_queue_quota"): 1})
    for version in (6, 8, 11, 16, 19):
        with Connection(server.address, version) as conn:
            queue = Queue.create(conn)
            fill(conn, queue, 1)
            found = read_all(conn, queue, queue.next_message(conn))
            assert [m.body for m in found] == [b"message 0", None]


def test_quota_is_per_queue(own_server):
    """A full queue does not touch another one, nor another command."""
    server = own_server({("LIMITS", "message_queue_quota"): 2})
    with Connection(server.address, 18) as conn:
        full, other = Queue.create(conn), Queue.create(conn)
        fill(conn, full, 2)
        assert other.send(conn, b"hello").raw == b"OK"
        assert full.skey(conn, make_key("x25519")).raw == b"OK"


def test_quota_marker_shows_in_info(own_server):
    """QUE counts the marker and names its type (wire 6)."""
    server = own_server({("LIMITS", "message_queue_quota"): 1})
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn)
        fill(conn, queue, 1)
        message = queue.open(queue.ack(conn, queue.next_message(conn).msg_id))
        assert message.body is None
        found = json.loads(queue.recipient(conn, b"QUE").text)
        assert found["qiSize"] == 1
        assert found["qiMsg"]["msgType"] == "quota"


def test_get_answers_message_or_ok(connect, version):
    """GET answers MSG with its own corrId, or OK when the queue is empty."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    assert queue.get(conn).raw == b"OK"
    send_all(conn, queue, numbered(1))
    assert conn.quiet(0.05)
    answer = queue.get(conn)
    assert answer.corr_id
    assert queue.open(answer).body == b"message 0"


def test_get_again_gives_the_same_message(connect):
    """Until it is acknowledged GET gives the same message."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    send_all(conn, queue, numbered(2))
    first = queue.open(queue.get(conn))
    assert queue.open(queue.get(conn)) == first


def test_ack_after_get_gives_no_next_message(connect, version):
    """ACK after GET answers OK also when more waits."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    send_all(conn, queue, numbered(3))
    for body in numbered(3):
        message = queue.open(queue.get(conn))
        assert message.body == body
        assert queue.ack(conn, message.msg_id).raw == b"OK"
        assert queue.ack(conn, message.msg_id).raw == b"ERR NO_MSG"
    assert queue.get(conn).raw == b"OK"


def test_get_then_sub_is_prohibited(connect, version):
    """A connection that used GET for a queue cannot SUB to it."""
    conn, other = connect(), connect()
    queue = Queue.create(conn, subscribe=False)
    assert queue.get(conn).raw == b"OK"
    assert queue.sub(conn).raw == b"ERR CMD PROHIBITED"
    assert subscribed(queue.sub(other), version)


def test_sub_then_get_is_prohibited(connect, version):
    """A subscribed connection cannot GET, whether it subscribed by SUB or by NEW."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    queue.sub(conn)
    assert queue.get(conn).raw == b"ERR CMD PROHIBITED"
    assert Queue.create(conn, subscribe=True).get(conn).raw == b"ERR CMD PROHIBITED"


def test_get_does_not_end_the_subscription_of_others(connect):
    """GET in another connection leaves the subscriber subscribed."""
    conn, other = connect(), connect()
    queue = Queue.create(conn)
    assert queue.get(other).raw == b"OK"
    send_all(other, queue, numbered(1))
    assert queue.next_message(conn).body == b"message 0"
    assert other.quiet(0.05)


def test_message_acknowledged_elsewhere(connect):
    """A message that GET took and acknowledged in another connection: the subscriber's ACK of it
    gives the next message, and nothing is lost."""
    conn, other = connect(), connect()
    queue = Queue.create(conn)
    send_all(conn, queue, numbered(3))
    message = queue.next_message(conn)
    assert queue.open(queue.get(other)) == message
    assert queue.ack(other, message.msg_id).raw == b"OK"
    found = read_all(conn, queue, message)
    assert [m.body for m in found] == numbered(3)


def test_message_acknowledged_elsewhere_before_it_was_written(own_server):
    """A message whose body is on disk only is acknowledged in another connection while it waits
    behind the unread answers of its subscriber, who then gets the next one."""
    server = own_server({("LIMITS", "pending_bytes_per_client"): 64 << 20,
                         ("LIMITS", "end_interval_ms"): 50}, store="journal")
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn, subscribe=False)
        send_all(conn, queue, numbered(2))
    server.stop()
    server.start()
    with Connection(server.address, 18, buffers=(65536, 1 << 20)) as slow, \
            Connection(server.address, 18) as other:
        big = Queue.create(slow, mode="C", link=(os.urandom(24), b"", os.urandom(15000)))
        assert queue.sub(other).tag == "SOK"
        assert queue.next_message(other).body == b"message 0"
        for _ in range(2):
            slow.write([slow.make(b"LGET", big.ids.link_id) for _ in range(200)])
        slow.write([slow.make(b"SUB", queue.rcv_id, queue.rcv_key)])
        assert other.event(END_TIMEOUT).raw == b"END"
        message = queue.open(queue.get(other))
        assert queue.ack(other, message.msg_id).raw == b"OK"
        found = read_all(slow, queue, queue.next_message(slow))
        assert [m.body for m in found] == [b"message 1"]


def test_end_comes_within_15_seconds_by_default(own_server):
    """With the default settings END comes within 15 s (behaviour "Messages")."""
    server = own_server()
    with Connection(server.address, 18) as first, Connection(server.address, 18) as second:
        queue = Queue.create(first)
        assert queue.sub(second).tag == "SOK"
        assert first.event(16).raw == b"END"


def test_ends_are_collected(own_server):
    """What ends within end_interval_ms is told together (ours)."""
    server = own_server({("LIMITS", "end_interval_ms"): 1000})
    with Connection(server.address, 18) as first, Connection(server.address, 18) as second:
        queues = [Queue.create(first) for _ in range(20)]
        first.blocks = 0
        for queue in queues:
            assert queue.sub(second).tag == "SOK"
        ended = {first.event(END_TIMEOUT).entity for _ in queues}
        assert ended == {queue.rcv_id for queue in queues}
        assert first.blocks < 5


def test_ends_go_with_answers(own_server):
    """Nobody waits for END while there is something else to tell."""
    server = own_server({("LIMITS", "end_interval_ms"): 15000})
    with Connection(server.address, 18) as first, Connection(server.address, 18) as second:
        queue = Queue.create(first)
        assert queue.sub(second).tag == "SOK"
        began = time.monotonic()
        while not first.events:
            first.ping()
        assert first.event().raw == b"END" and time.monotonic() - began < 15


def test_subscription_moves(connect, version):
    """SUB elsewhere: the earlier connection gets END, the later one the messages."""
    first, second = connect(), connect()
    queue = Queue.create(first)
    assert subscribed(queue.sub(second), version)
    end = first.event(END_TIMEOUT)
    assert (end.raw, end.entity, end.corr_id) == (b"END", queue.rcv_id, b"")
    send_all(first, queue, numbered(1))
    assert queue.next_message(second).body == b"message 0"
    assert first.quiet(0.05)


def test_subscription_moves_back(connect):
    """The earlier connection can take the subscription back; the other gets END."""
    first, second = connect(), connect()
    queue = Queue.create(first)
    queue.sub(second)
    assert first.event(END_TIMEOUT).raw == b"END"
    queue.sub(first)
    assert second.event(END_TIMEOUT).raw == b"END"
    send_all(second, queue, numbered(1))
    assert queue.next_message(first).body == b"message 0"


def test_many_subscriptions_move_at_once(connect):
    """Each moved queue gets its END, batched into few blocks."""
    first, second = connect(), connect()
    queues = [Queue.create(first) for _ in range(60)]
    second.write([second.make(b"SUB", q.rcv_id, q.rcv_key) for q in queues])
    ended = set()
    first.blocks = 0
    while len(ended) < len(queues):
        end = first.event(END_TIMEOUT)
        assert end.raw == b"END"
        ended.add(end.entity)
    assert ended == {q.rcv_id for q in queues}
    assert first.blocks < len(queues)


def test_unacknowledged_message_moves_with_the_subscription(connect):
    """What the earlier connection did not acknowledge is delivered to the later one."""
    first, second = connect(), connect()
    queue = Queue.create(first)
    send_all(first, queue, numbered(2))
    message = queue.next_message(first)
    queue.sub(second)
    assert queue.next_message(second) == message


def test_deleted_elsewhere(connect, version):
    """DEL in another connection ends the subscription: DELD from version 10, below it END."""
    first, second = connect(), connect()
    queue = Queue.create(first)
    assert queue.delete(second).raw == b"OK"
    event = first.event(END_TIMEOUT)
    assert event.raw == (b"DELD" if version >= 10 else b"END")
    assert (event.entity, event.corr_id) == (queue.rcv_id, b"")


@pytest.mark.parametrize("count", [4, 5, 40])
def test_batched_subs_answer_first(connect, count):
    """Of more than four SUBs all answers come before any message; with up to four, one message
    may share their block and the others follow, one block each."""
    conn = connect()
    queues = [Queue.create(conn, subscribe=False) for _ in range(count)]
    for queue in queues:
        send_all(conn, queue, [b"for " + queue.rcv_id])
    conn.write([conn.make(b"SUB", q.rcv_id, q.rcv_key) for q in queues])
    blocks = []
    while sum(map(len, blocks)) < 2 * count:
        blocks.append(conn.read())
    order = [a.tag for block in blocks for a in block]
    assert order == ["SOK"] * count + ["MSG"] * count
    assert all(sum(a.tag == "MSG" for a in block) <= 1 for block in blocks)
    by_id = {q.rcv_id: q for q in queues}
    answers = [a for block in blocks for a in block]
    assert [a.entity for a in answers[:count]] == [q.rcv_id for q in queues]
    for answer in answers[count:]:
        assert by_id.pop(answer.entity).open(answer).body == b"for " + answer.entity
    assert not by_id
    if count > 4:
        assert not any({"SOK", "MSG"} <= {a.tag for a in block} for block in blocks)


def test_thousands_of_subscriptions(connect):
    """A client that subscribes to thousands of queues gets each answer and each message."""
    maker, conn = connect(), connect()
    kept = create_many(maker, 3000)
    waiting = {queue.rcv_id: queue for queue in kept[::100]}
    for queue in waiting.values():
        send_all(maker, queue, [b"for " + queue.rcv_id])
    sent = [conn.make(b"SUB", q.rcv_id, q.rcv_key) for q in kept]
    conn.write(sent)
    assert {conn.wait(item, 60).raw for item in sent} == {b"SOK 0"}
    while waiting:
        event = conn.event()
        assert waiting.pop(event.entity).open(event).body == b"for " + event.entity
    assert conn.quiet(0.05)


def create_many(conn, count):
    """Queues made by NEWs in full blocks."""
    made = []
    for _ in range(count):
        key, private = make_key("ed25519"), os.urandom(32)
        command = new_command(conn.version, key.der, x25519_der(public_of(private)),
                              password=conn.address.password, subscribe=False)
        made.append((conn.make(command, b"", key), key, private))
    conn.write([item for item, _, _ in made])
    return [Queue(conn.wait(item, 60), key, private, "M") for item, key, private in made]


def test_subscribers_do_not_see_other_queues(connect):
    """A message goes to the subscriber of its queue only."""
    one, two = connect(), connect()
    first, second = Queue.create(one), Queue.create(two)
    send_all(two, first, [b"for one"])
    assert first.next_message(one).body == b"for one"
    assert two.quiet(0.05)
    send_all(one, second, [b"for two"])
    assert second.next_message(two).body == b"for two"


def test_versions_of_subscribers_decide_their_messages(connect):
    """END and DELD have the form of the subscriber's version, whoever causes them."""
    old, new = connect(9), connect(18)
    for subscriber, other, event in ((old, new, b"END"), (new, old, b"DELD")):
        queue = Queue.create(subscriber)
        assert queue.delete(other).raw == b"OK"
        assert subscriber.event(END_TIMEOUT).raw == event
