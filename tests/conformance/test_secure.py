# SPDX-License-Identifier: AGPL-3.0-or-later
"""Securing queues, KEY, SKEY, RKEY: behaviour "Queues" and "Authorization"."""

import pytest
from smp import Queue, make_key
from smp.commands import key_command, rkey_command, send_command
from smp.crypto import authenticator
from smp.keys import KEY_TYPES, X448_HEAD, FixedAuth, X25519Key, x25519_der

BODY = send_command(b"hello")


class ZeroShared:
    """Authorizes with the all-zero shared point that a low-order key gives."""

    def authorize(self, server_key, corr_id, signed):
        """An authenticator that anybody could make."""
        return authenticator(bytes(32), corr_id, signed)


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_key_secures(connect, version, kind):
    """After KEY a SEND needs the sender's authorization of any type."""
    conn = connect()
    queue = Queue.create(conn)
    key = make_key(kind)
    assert queue.key(conn, key).raw == b"OK"
    assert conn.request(BODY, queue.snd_id, key).raw == b"OK"
    assert conn.request(BODY, queue.snd_id).raw == b"ERR AUTH"
    for other in KEY_TYPES:
        assert conn.request(BODY, queue.snd_id, make_key(other)).raw == b"ERR AUTH", other


@pytest.mark.parametrize("version", range(9, 20))
@pytest.mark.parametrize("kind", KEY_TYPES)
def test_skey_secures(connect, version, kind):
    """SKEY does the same from the sender's side."""
    conn = connect()
    queue = Queue.create(conn)
    key = make_key(kind)
    assert queue.skey(conn, key).raw == b"OK"
    assert conn.request(BODY, queue.snd_id, key).raw == b"OK"
    assert conn.request(BODY, queue.snd_id).raw == b"ERR AUTH"


def test_unsecured_queue_takes_no_authorization(connect, version):
    """Before a queue is secured SEND is without authorization; with one it is AUTH."""
    conn = connect()
    queue = Queue.create(conn)
    assert conn.request(BODY, queue.snd_id).raw == b"OK"
    for kind in KEY_TYPES:
        assert conn.request(BODY, queue.snd_id, make_key(kind)).raw == b"ERR AUTH", kind


def test_key_again_with_the_same_key(connect, version):
    """Repeating KEY with the same key answers OK, with another AUTH."""
    conn = connect()
    queue = Queue.create(conn)
    key = make_key("ed25519")
    assert queue.key(conn, key).raw == b"OK"
    assert queue.key(conn, key).raw == b"OK"
    assert queue.key(conn, make_key("ed25519")).raw == b"ERR AUTH"
    assert conn.request(BODY, queue.snd_id, key).raw == b"OK"


def test_skey_again_with_the_same_key(connect):
    """Repeating SKEY with the same key answers OK, with another AUTH."""
    conn = connect()
    queue = Queue.create(conn)
    key = make_key("x25519")
    assert queue.skey(conn, key).raw == b"OK"
    assert queue.skey(conn, key).raw == b"OK"
    assert queue.skey(conn, make_key("x25519")).raw == b"ERR AUTH"
    assert conn.request(BODY, queue.snd_id, key).raw == b"OK"


def test_key_and_skey_agree(connect):
    """KEY after SKEY and the reverse: the same key OK, another AUTH."""
    conn = connect()
    for first, second in (("key", "skey"), ("skey", "key")):
        queue = Queue.create(conn)
        key = make_key("x25519")
        assert getattr(queue, first)(conn, key).raw == b"OK"
        assert getattr(queue, second)(conn, key).raw == b"OK"
        assert getattr(queue, second)(conn, make_key("x25519")).raw == b"ERR AUTH"


def test_skey_must_be_authorized_by_its_key(connect):
    """SKEY is verified with the key inside it."""
    conn = connect()
    queue = Queue.create(conn)
    command = key_command("SKEY", make_key("x25519").der)
    for kind in KEY_TYPES:
        assert conn.request(command, queue.snd_id, make_key(kind)).raw == b"ERR AUTH", kind
    assert conn.request(BODY, queue.snd_id).raw == b"OK"


def test_skey_only_on_messaging_queues(connect):
    """SKEY on a contact queue answers AUTH and secures nothing."""
    conn = connect()
    queue = Queue.create(conn, mode="C")
    assert queue.skey(conn, make_key("x25519")).raw == b"ERR AUTH"
    assert conn.request(BODY, queue.snd_id).raw == b"OK"


@pytest.mark.parametrize("created", [6, 8])
def test_skey_not_on_queues_of_unknown_mode(connect, created):
    """A queue that was made before modes existed takes no SKEY."""
    old, conn = connect(created), connect()
    queue = Queue.create(old)
    assert queue.skey(conn, make_key("x25519")).raw == b"ERR AUTH"


def test_skey_not_on_queues_without_request_data(connect):
    """NEW without queueReqData leaves the mode unknown: no SKEY, and IDS has no mode."""
    conn = connect()
    queue = Queue.create(conn, mode=None)
    assert queue.ids.mode is None
    assert queue.skey(conn, make_key("x25519")).raw == b"ERR AUTH"


@pytest.mark.parametrize("version", range(9, 15))
def test_snd_secure_flag_makes_the_mode(connect, version):
    """sndSecure T is a messaging queue, F a contact queue (wire 5 and 6)."""
    conn = connect()
    for mode, secure, answer in (("M", True, b"OK"), ("C", False, b"ERR AUTH")):
        queue = Queue.create(conn, mode=mode)
        assert queue.ids.snd_secure is secure
        assert queue.skey(conn, make_key("x25519")).raw == answer


def test_rkey_replaces_recipient_keys(connect):
    """RKEY on a contact queue: each new key works, the old one no longer."""
    conn = connect()
    queue = Queue.create(conn, mode="C", subscribe=False)
    old, keys = queue.rcv_key, [make_key(kind) for kind in KEY_TYPES]
    assert queue.rkey(conn, *keys).raw == b"OK"
    assert conn.request(b"QUE", queue.rcv_id, old).raw == b"ERR AUTH"
    for key in keys:
        assert conn.request(b"QUE", queue.rcv_id, key).tag == "INFO", key.name


def test_rkey_only_on_contact_queues(connect):
    """RKEY on a messaging queue answers AUTH and changes nothing."""
    conn = connect()
    queue = Queue.create(conn, mode="M")
    assert queue.rkey(conn, make_key("ed25519")).raw == b"ERR AUTH"
    assert queue.recipient(conn, b"QUE").tag == "INFO"


def test_rkey_needs_keys(connect):
    """The list of RKEY must not be empty, and holds good keys (wire 2 and 5)."""
    conn = connect()
    queue = Queue.create(conn, mode="C")
    good = make_key("ed25519").der
    for command in (rkey_command([]), rkey_command([good, b""]), rkey_command([good]) + b"x",
                    b"RKEY \x02" + rkey_command([good])[6:]):
        assert queue.recipient(conn, command).raw == b"ERR CMD SYNTAX", command[:10]


@pytest.mark.parametrize("der", [
    b"", b"\x30", bytes(44), X448_HEAD + bytes(56), make_key("ed25519").der + b"\0",
    make_key("ed25519").der[:-1], make_key("ed448").der[:-1],
    # the same key with a length in the long form, which DER forbids
    bytes.fromhex("30812a300506032b6570032100") + bytes(range(32)),
    bytes.fromhex("302b300506032b6570032100") + bytes(range(33)),
    bytes.fromhex("302c300706032b65700500032100") + bytes(range(32)),
], ids=["empty", "one byte", "zeros", "X448", "long", "short", "short Ed448", "long form",
        "bit string too short", "parameters"])
def test_bad_keys_are_syntax_errors(connect, der):
    """A key is the exact DER of an Ed25519, Ed448 or X25519 key (wire 2)."""
    conn = connect()
    queue = Queue.create(conn)
    assert queue.recipient(conn, key_command("KEY", der)).raw == b"ERR CMD SYNTAX"
    assert conn.request(BODY, queue.snd_id).raw == b"OK"


def test_low_order_sender_key_authorizes_nobody(connect):
    """Whoever knows that the shared point is zero cannot send with it (wire 2)."""
    conn = connect()
    queue = Queue.create(conn)
    queue.recipient(conn, key_command("KEY", x25519_der(bytes(32))))
    assert conn.request(BODY, queue.snd_id, ZeroShared()).raw == b"ERR AUTH"


def test_recipient_keys_do_not_send(connect):
    """The recipient's key does not authorize the sender's commands."""
    conn = connect()
    queue = Queue.create(conn)
    assert queue.key(conn, make_key("ed25519")).raw == b"OK"
    assert conn.request(BODY, queue.snd_id, queue.rcv_key).raw == b"ERR AUTH"


def test_authenticator_of_another_session_is_refused(connect):
    """An authorization holds for one session: the session identifier is signed (wire 4)."""
    one, two = connect(), connect()
    queue = Queue.create(one)
    key = X25519Key()
    queue.key(one, key)
    made = one.make(BODY, queue.snd_id, key)
    two.write([made])
    assert two.wait(made).raw == b"ERR AUTH"
    signed = one.make(b"QUE", queue.rcv_id, queue.rcv_key)
    two.write([signed])
    assert two.wait(signed).raw == b"ERR AUTH"


def test_authorization_covers_the_corr_id(connect):
    """The correlation ID is signed, and is the authenticator's nonce (wire 4)."""
    conn = connect()
    queue = Queue.create(conn)
    key = X25519Key()
    queue.key(conn, key)
    for one in (conn.make(BODY, queue.snd_id, key), conn.make(b"QUE", queue.rcv_id, queue.rcv_key)):
        auth = one.data[1:1 + one.data[0]]
        again = conn.make(BODY if len(auth) == 80 else b"QUE", one.entity, FixedAuth(auth))
        conn.write([again])
        assert conn.wait(again).raw == b"ERR AUTH"


@pytest.mark.parametrize("size", [0, 1, 8, 23, 25, 64, 255])
def test_corr_id_of_any_size(connect, size):
    """The nonce is the correlation ID cut or extended with zeros to 24 bytes (wire 2)."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    key = X25519Key()
    queue.key(conn, key)
    made = conn.make(BODY, queue.snd_id, key, bytes(range(1, 256))[:size])
    conn.write([made])
    if size:
        assert conn.wait(made).raw == b"OK"
    else:
        assert conn.event().raw == b"OK"
