# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several transmissions in a block: wire section 4, behaviour "Connections"."""

import json
import os

import pytest
from smp import Queue, make_key
from smp.commands import key_command, send_command
from smp.crypto import BLOCK_SIZE
from smp.transmissions import BATCH_ROOM, batch, split


def answers_of(conn, sent):
    """Sends transmissions in one block; gives (answers in order of arrival, blocks used)."""
    conn.write_content(batch([item.data for item in sent]))
    found, blocks = [], 0
    while len(found) < len(sent):
        found += conn.read()
        blocks += 1
    return found, blocks


def check_order(answers, sent):
    """Answers have the order, the corrIds and the entities of the commands."""
    assert [a.corr_id for a in answers] == [s.corr_id for s in sent]


def test_answers_keep_the_order(connect, version):
    """Commands of one block are answered in order."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    sent = []
    for number in range(12):
        sent.append(conn.make(b"PING"))
        sent.append(conn.make(send_command(b"%d" % number), queue.snd_id))
        sent.append(conn.make(b"QUE", queue.rcv_id, queue.rcv_key))
    answers, _ = answers_of(conn, sent)
    check_order(answers, sent)
    assert [a.tag for a in answers] == ["PONG", "OK", "INFO"] * 12
    assert [json.loads(a.text)["qiSize"] for a in answers[2::3]] == list(range(1, 13))


def test_errors_keep_the_order(connect, version):
    """Errors stand at the place of their commands."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    sent = [conn.make(b"PING"), conn.make(b"HELLO"), conn.make(b"PING", b"x"),
            conn.make(b"SUB", os.urandom(24), queue.rcv_key), conn.make(b"PING"),
            conn.make(b"KEY ", queue.rcv_id, queue.rcv_key),
            conn.make(b"QUE", queue.rcv_id, make_key("ed25519")), conn.make(b"PING")]
    answers, blocks = answers_of(conn, sent)
    check_order(answers, sent)
    assert blocks == 1
    assert [a.raw for a in answers] == [
        b"PONG", b"ERR CMD UNKNOWN", b"ERR CMD HAS_AUTH", b"ERR AUTH", b"PONG",
        b"ERR CMD SYNTAX", b"ERR AUTH", b"PONG"]


@pytest.mark.parametrize("version", range(7, 20))
def test_255_transmissions(connect, version):
    """A block holds up to 255 transmissions, and so does the block of answers."""
    conn = connect()
    sent = [conn.make(b"PING") for _ in range(255)]
    answers, blocks = answers_of(conn, sent)
    check_order(answers, sent)
    assert blocks == 1
    assert {a.raw for a in answers} == {b"PONG"}


def test_as_many_as_fit_version_6(connect):
    """In version 6 the session identifiers leave room for fewer; answers fit one block too."""
    conn = connect(6)
    size = len(conn.make(b"PING").data) + 2
    sent = [conn.make(b"PING") for _ in range(BATCH_ROOM // size)]
    answers, blocks = answers_of(conn, sent)
    check_order(answers, sent)
    assert blocks == 1


def test_largest_content_is_taken(connect, version):
    """A block filled to the last of its 16384 - 19 bytes is read (wire 4)."""
    conn = connect()
    queue = Queue.create(conn)
    half = conn.make(send_command(bytes(8000)), queue.snd_id)
    empty = conn.make(send_command(b""), queue.snd_id)
    size = BATCH_ROOM - 2 * 2 - len(half.data) - len(empty.data)
    rest = conn.make(send_command(bytes(size)), queue.snd_id)
    assert len(batch([half.data, rest.data])) == BATCH_ROOM + 1
    conn.write([half, rest])
    assert [conn.wait(item).raw for item in (half, rest)] == [b"OK", b"OK"]


@pytest.mark.parametrize("size,per_block", [(5000, 3), (7900, 2), (100, 88), (15000, 1)])
def test_answers_fill_few_blocks(connect, size, per_block):
    """Answers are batched into as few blocks as they fit, in order."""
    conn = connect()
    queue = Queue.create(conn, mode="C", link=(os.urandom(24), b"", os.urandom(size)))
    link = queue.ids.link_id
    count = per_block * 3 if per_block < 10 else 180
    sent = [conn.make(b"LGET", link) for _ in range(count)]
    answers, blocks = answers_of(conn, sent)
    check_order(answers, sent)
    assert {a.tag for a in answers} == {"LNK"}
    per_answer = len(answers[0].raw) + 2 + 1 + 25 + 25
    assert blocks == -(-count // (BATCH_ROOM // per_answer))


def test_commands_run_in_order(connect):
    """Each command sees what the ones before it in the block did."""
    conn = connect()
    queue = Queue.create(conn)
    key = make_key("x25519")
    sent = [conn.make(send_command(b"early"), queue.snd_id),
            conn.make(key_command("KEY", key.der), queue.rcv_id, queue.rcv_key),
            conn.make(send_command(b"refused"), queue.snd_id),
            conn.make(send_command(b"signed"), queue.snd_id, key),
            conn.make(b"OFF", queue.rcv_id, queue.rcv_key),
            conn.make(send_command(b"too late"), queue.snd_id, key),
            conn.make(b"DEL", queue.rcv_id, queue.rcv_key),
            conn.make(b"QUE", queue.rcv_id, queue.rcv_key)]
    conn.write_content(batch([item.data for item in sent]))
    answers = [conn.wait(item).raw for item in sent]
    assert answers == [b"OK", b"OK", b"ERR AUTH", b"OK", b"OK", b"ERR AUTH", b"OK", b"ERR AUTH"]


def test_messages_of_one_block_keep_their_order(connect, version):
    """SENDs of one block are stored in order."""
    conn = connect()
    queue = Queue.create(conn)
    bodies = [b"message %d" % number for number in range(20)]
    sent = [conn.make(send_command(body), queue.snd_id) for body in bodies]
    conn.write(sent)
    assert {conn.wait(item).raw for item in sent} == {b"OK"}
    message = queue.next_message(conn)
    found = [message.body]
    for _ in bodies[1:]:
        message = queue.open(queue.ack(conn, message.msg_id))
        found.append(message.body)
    assert found == bodies


def test_blocks_in_one_write(connect, version):
    """Several blocks that arrive together are all answered, in order."""
    conn = connect()
    sent = [conn.make(b"PING") for _ in range(40)]
    blocks = [conn.session.seal(batch([item.data])) for item in sent]
    conn.link.write(b"".join(blocks))
    answers = []
    while len(answers) < len(sent):
        answers += conn.read()
    check_order(answers, sent)


def test_block_in_many_writes(connect, version):
    """A block may arrive in pieces, each its own TLS record."""
    conn = connect()
    sent = conn.make(b"PING")
    block = conn.session.seal(batch([sent.data]))
    cuts = [0, 1, 2, 3, 100, 1000, 1001, BLOCK_SIZE - 1, BLOCK_SIZE]
    for start, end in zip(cuts, cuts[1:]):
        conn.link.write(block[start:end])
    assert conn.wait(sent).raw == b"PONG"


def test_pieces_of_two_connections_do_not_mix(connect):
    """Half blocks of two connections at the same time are kept apart."""
    one, two = connect(), connect()
    made = [(conn, conn.make(b"PING")) for conn in (one, two)]
    blocks = [conn.session.seal(batch([sent.data])) for conn, sent in made]
    for start, end in ((0, 7000), (7000, BLOCK_SIZE)):
        for (conn, _), block in zip(made, blocks):
            conn.link.write(block[start:end])
    for conn, sent in made:
        assert conn.wait(sent).raw == b"PONG"


def test_same_corr_id_twice(connect):
    """A corrId that is used again is answered again."""
    conn = connect()
    sent = conn.make(b"PING")
    for _ in range(2):
        conn.write([sent])
        assert conn.wait(sent).raw == b"PONG"


@pytest.mark.parametrize("corr_id", [b"", b"1", bytes(24), bytes(255)], ids=len)
def test_corr_id_comes_back(connect, version, corr_id):
    """The corrId of an answer is that of the command, whatever its size (wire 4)."""
    conn = connect()
    conn.write([conn.make(b"PING", corr_id=corr_id)])
    (answer,) = conn.read()
    assert (answer.corr_id, answer.raw, answer.entity) == (corr_id, b"PONG", b"")


def test_many_subscriptions_in_few_blocks(connect):
    """600 SUBs are answered in as few blocks as the commands of each block allow."""
    conn, maker = connect(), connect()
    queues = [Queue.create(maker, subscribe=False) for _ in range(600)]
    sent = [conn.make(b"SUB", q.rcv_id, q.rcv_key) for q in queues]
    conn.write(sent)
    answers = []
    while len(answers) < len(sent):
        answers += conn.read()
    check_order(answers, sent)
    assert {a.tag for a in answers} == {"SOK"}
    assert conn.blocks <= len(split(sent))
