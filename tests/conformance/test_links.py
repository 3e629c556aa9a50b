# SPDX-License-Identifier: AGPL-3.0-or-later
"""Link data, LSET, LDEL, LKEY, LGET, client-given ids: behaviour "Queues", wire section 5."""

import os

import pytest
from smp import Queue, X25519Key, make_key, new_command
from smp.commands import key_command, lset_command
from smp.crypto import client_sender_id
from smp.keys import KEY_TYPES

FIXED, USER = b"fixed data" * 20, b"user data" * 300
NEW_LINKS = pytest.mark.parametrize("version", range(15, 20))


def contact(conn, fixed=FIXED, user=USER):
    """A contact queue with a link."""
    return Queue.create(conn, mode="C", link=(os.urandom(24), fixed, user))


def lget(conn, link_id):
    """LGET, which nobody authorizes."""
    return conn.request(b"LGET", link_id)


def lkey(conn, link_id, key, signer=None):
    """LKEY."""
    return conn.request(key_command("LKEY", key.der), link_id, signer or key)


def check_link(answer, queue, fixed=FIXED, user=USER):
    """LNK names the sender id and both data of the link."""
    assert answer.tag == "LNK", answer
    assert (answer.snd_id, answer.fixed, answer.user) == (queue.snd_id, fixed, user)


@NEW_LINKS
def test_new_messaging_queue_with_link(connect, version):
    """NEW with data for a messaging queue: the server makes the link id (wire 5 and 6)."""
    conn = connect()
    queue = Queue.create(conn, mode="M", link=(FIXED, USER))
    assert queue.ids.mode == "M"
    assert len(queue.ids.link_id) == 24
    assert queue.ids.link_id not in (queue.rcv_id, queue.snd_id)


@NEW_LINKS
def test_new_contact_queue_with_link(connect, version):
    """NEW with data for a contact queue: the client gives the link id (wire 5 and 6)."""
    conn = connect()
    link_id = os.urandom(24)
    queue = Queue.create(conn, mode="C", link=(link_id, FIXED, USER))
    assert queue.ids.mode == "C"
    assert queue.ids.link_id == link_id
    check_link(lget(conn, link_id), queue)


@pytest.mark.parametrize("mode", ["M", "C"])
def test_new_without_link(connect, mode):
    """Without data IDS has the mode and no link id."""
    conn = connect()
    queue = Queue.create(conn, mode=mode)
    assert (queue.ids.mode, queue.ids.link_id) == (mode, None)


@pytest.mark.parametrize("mode", ["M", "C"])
def test_client_given_sender_id_is_the_hash_of_the_corr_id(connect, mode):
    """The sender id is the first 24 bytes of SHA3-384 of the corrId (wire 5)."""
    conn = connect()
    corr_id, key = os.urandom(24), make_key("ed25519")
    sender = client_sender_id(corr_id)
    link = (sender, FIXED, USER) if mode == "M" else (os.urandom(24), sender, FIXED, USER)
    command = new_command(18, key.der, X25519Key().der, mode=mode, link=link,
                          password=conn.address.password)
    assert conn.request(command, b"", key, corr_id).snd_id == sender


@pytest.mark.parametrize("mode", ["M", "C"])
def test_other_client_given_sender_ids_are_prohibited(connect, mode):
    """Any other sender id: CMD PROHIBITED, so that NEW is no oracle for ids (wire 5)."""
    conn = connect()
    taken = Queue.create(conn).snd_id
    for sender in (os.urandom(24), taken, b"", bytes(23), bytes(25)):
        key = make_key("ed25519")
        link = (sender, FIXED, USER) if mode == "M" else (os.urandom(24), sender, FIXED, USER)
        command = new_command(18, key.der, X25519Key().der, mode=mode, link=link,
                              password=conn.address.password)
        assert conn.request(command, b"", key).raw == b"ERR CMD PROHIBITED"


def test_taken_ids_answer_auth(connect):
    """A given id that is taken: AUTH, for the link id and for the sender id (wire 5)."""
    conn = connect()
    queue = contact(conn)
    corr_id = os.urandom(24)
    for link_id, answer in ((queue.ids.link_id, "ERR"), (os.urandom(24), "IDS"),
                            (os.urandom(24), "ERR")):
        key = make_key("ed25519")
        link = (link_id, client_sender_id(corr_id), FIXED, USER)
        command = new_command(18, key.der, X25519Key().der, mode="C", link=link,
                              password=conn.address.password)
        found = conn.request(command, b"", key, corr_id)
        assert found.tag == answer
        assert answer == "IDS" or found.raw == b"ERR AUTH"
    check_link(lget(conn, queue.ids.link_id), queue)


def test_lget_does_not_change_the_queue(connect):
    """LGET can be repeated by anybody."""
    conn, other = connect(), connect()
    queue = contact(conn)
    for _ in range(3):
        check_link(lget(other, queue.ids.link_id), queue)


def test_lget_of_unknown_link(connect):
    """An unknown link id answers AUTH, the other ids of the queue too."""
    conn = connect()
    queue = contact(conn)
    for link_id in (os.urandom(24), queue.rcv_id, queue.snd_id, b"\0"):
        assert lget(conn, link_id).raw == b"ERR AUTH"


def test_lget_only_on_contact_queues(connect):
    """LGET of a messaging queue's link answers AUTH."""
    conn = connect()
    queue = Queue.create(conn, mode="M", link=(FIXED, USER))
    assert lget(conn, queue.ids.link_id).raw == b"ERR AUTH"


def test_lget_of_queue_of_unknown_mode(connect):
    """An old queue without a sender key counts as a contact queue, with one it does not."""
    conn = connect()
    queue = Queue.create(conn, mode=None)
    link_id = os.urandom(24)
    assert queue.lset(conn, link_id, FIXED, USER).raw == b"OK"
    check_link(lget(conn, link_id), queue)
    assert queue.key(conn, make_key("ed25519")).raw == b"OK"
    assert lget(conn, link_id).raw == b"ERR AUTH"


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_lkey_secures_and_reads(connect, kind):
    """LKEY secures the queue with its key and answers the link data."""
    conn = connect()
    queue = Queue.create(conn, mode="M", link=(FIXED, USER))
    key = make_key(kind)
    check_link(lkey(conn, queue.ids.link_id, key), queue)
    assert conn.request(b"SEND F hello", queue.snd_id).raw == b"ERR AUTH"
    assert conn.request(b"SEND F hello", queue.snd_id, key).raw == b"OK"


def test_lkey_again(connect):
    """LKEY with the same key answers the data again, with another AUTH."""
    conn = connect()
    queue = Queue.create(conn, mode="M", link=(FIXED, USER))
    key = make_key("x25519")
    for _ in range(2):
        check_link(lkey(conn, queue.ids.link_id, key), queue)
    assert lkey(conn, queue.ids.link_id, make_key("x25519")).raw == b"ERR AUTH"


def test_lkey_must_be_authorized_by_its_key(connect):
    """LKEY is verified with the key inside it; a wrong one secures nothing."""
    conn = connect()
    queue = Queue.create(conn, mode="M", link=(FIXED, USER))
    answer = lkey(conn, queue.ids.link_id, make_key("x25519"), make_key("x25519"))
    assert answer.raw == b"ERR AUTH"
    assert conn.request(b"SEND F hello", queue.snd_id).raw == b"OK"


def test_lkey_only_on_messaging_queues(connect):
    """LKEY on a contact queue's link answers AUTH, also on an unknown link."""
    conn = connect()
    assert lkey(conn, contact(conn).ids.link_id, make_key("x25519")).raw == b"ERR AUTH"
    assert lkey(conn, os.urandom(24), make_key("x25519")).raw == b"ERR AUTH"


def test_send_deletes_the_link_of_a_secured_messaging_queue(connect):
    """A SEND to a secured messaging queue deletes its link data."""
    conn = connect()
    queue = Queue.create(conn, mode="M", link=(FIXED, USER))
    key = make_key("x25519")
    check_link(lkey(conn, queue.ids.link_id, key), queue)
    assert conn.request(b"SEND F hello", queue.snd_id, key).raw == b"OK"
    assert lkey(conn, queue.ids.link_id, key).raw == b"ERR AUTH"


def test_send_keeps_other_links(connect):
    """A SEND to an unsecured messaging queue, or to a contact queue, keeps the link."""
    conn = connect()
    queue = Queue.create(conn, mode="M", link=(FIXED, USER))
    assert queue.send(conn, b"hello").raw == b"OK"
    check_link(lkey(conn, queue.ids.link_id, make_key("x25519")), queue)
    queue = contact(conn)
    assert queue.key(conn, make_key("ed25519")).raw == b"OK"
    assert queue.send(conn, b"hello").raw == b"OK"
    check_link(lget(conn, queue.ids.link_id), queue)


@pytest.mark.parametrize("mode", ["M", "C"])
def test_lset_adds_a_link(connect, mode):
    """LSET on a queue without link stores what LGET or LKEY reads."""
    conn = connect()
    queue = Queue.create(conn, mode=mode)
    link_id = os.urandom(24)
    assert queue.lset(conn, link_id, FIXED, USER).raw == b"OK"
    read = lget(conn, link_id) if mode == "C" else lkey(conn, link_id, make_key("x25519"))
    check_link(read, queue)


def test_lset_changes_user_data_only(connect):
    """User data can be replaced; other fixed data or another link id answer AUTH."""
    conn = connect()
    queue = contact(conn)
    link_id = queue.ids.link_id
    assert queue.lset(conn, link_id, FIXED, b"new").raw == b"OK"
    check_link(lget(conn, link_id), queue, user=b"new")
    assert queue.lset(conn, link_id, FIXED + b"!", b"newer").raw == b"ERR AUTH"
    assert queue.lset(conn, link_id, b"", b"newer").raw == b"ERR AUTH"
    other = os.urandom(24)
    assert queue.lset(conn, other, FIXED, b"newer").raw == b"ERR AUTH"
    check_link(lget(conn, link_id), queue, user=b"new")
    assert lget(conn, other).raw == b"ERR AUTH"


@pytest.mark.parametrize("how", ["key", "skey"])
def test_lset_not_on_secured_messaging_queues(connect, how):
    """LSET on a secured messaging queue answers AUTH."""
    conn = connect()
    queue = Queue.create(conn)
    assert getattr(queue, how)(conn, make_key("x25519")).raw == b"OK"
    assert queue.lset(conn, os.urandom(24), FIXED, USER).raw == b"ERR AUTH"


def test_lset_on_secured_contact_queue(connect):
    """A contact queue keeps taking LSET after KEY."""
    conn = connect()
    queue = contact(conn)
    assert queue.key(conn, make_key("ed25519")).raw == b"OK"
    assert queue.lset(conn, queue.ids.link_id, FIXED, b"new").raw == b"OK"
    check_link(lget(conn, queue.ids.link_id), queue, user=b"new")


def test_ldel(connect):
    """LDEL removes the link; again it answers OK; a new link can be set afterwards."""
    conn = connect()
    queue = contact(conn)
    assert queue.recipient(conn, b"LDEL").raw == b"OK"
    assert lget(conn, queue.ids.link_id).raw == b"ERR AUTH"
    assert queue.recipient(conn, b"LDEL").raw == b"OK"
    link_id = os.urandom(24)
    assert queue.lset(conn, link_id, b"other", b"data").raw == b"OK"
    check_link(lget(conn, link_id), queue, b"other", b"data")


def test_deleted_queue_has_no_link(request, connect):
    """DEL removes the link with the queue, and its id can be used again; in a database, as with the
    reference, not before the row is gone."""
    conn = connect()
    queue = contact(conn)
    assert queue.delete(conn).raw == b"OK"
    assert lget(conn, queue.ids.link_id).raw == b"ERR AUTH"
    if request.config.getoption("--store").startswith("database"):
        with pytest.raises(ValueError, match="ERR AUTH"):
            Queue.create(conn, mode="C", link=(queue.ids.link_id, FIXED, USER))
        return
    again = Queue.create(conn, mode="C", link=(queue.ids.link_id, FIXED, USER))
    check_link(lget(conn, queue.ids.link_id), again)


def test_link_of_suspended_queue_is_read(connect):
    """OFF stops senders of messages; the link data can still be read."""
    conn = connect()
    queue = contact(conn)
    assert queue.off(conn).raw == b"OK"
    check_link(lget(conn, queue.ids.link_id), queue)


@pytest.mark.parametrize("fixed,user", [(b"", b""), (b"", b"u"), (os.urandom(2000),
                                        os.urandom(13784))], ids=["empty", "half", "large"])
def test_sizes_of_link_data(connect, fixed, user):
    """Link data of any size that fits a block is kept whole."""
    conn = connect()
    queue = contact(conn, fixed, user)
    check_link(lget(conn, queue.ids.link_id), queue, fixed, user)


LSET = lset_command(bytes(24), FIXED, USER)


@pytest.mark.parametrize("command,error", [
    (LSET + b"x", b"SYNTAX"), (LSET[:-1], b"SYNTAX"), (b"LSET", b"SYNTAX"), (b"LSET ", b"SYNTAX"),
    (b"LSET" + LSET[5:], b"UNKNOWN")], ids=["longer", "shorter", "bare", "nothing", "no space"])
def test_lset_syntax(connect, command, error):
    """Parameters of LSET that are cut or too long (wire 5)."""
    conn = connect()
    queue = Queue.create(conn, mode="C")
    assert queue.recipient(conn, command).raw == b"ERR CMD " + error
