# SPDX-License-Identifier: AGPL-3.0-or-later
"""The exact forms of commands and answers in every version: wire sections 4, 5 and 6."""

import pytest
from smp import Queue, X25519Key, make_key, new_command
from smp.encoding import boolean, maybe, short
from smp.keys import FixedAuth, x25519_der
from smp.transmissions import Sent, signed_text


def ids_text(version, ids, mode):
    """IDS of a queue without link, written out."""
    out = b"IDS " + short(ids.rcv_id) + short(ids.snd_id) + short(x25519_der(ids.server_dh))
    if 9 <= version < 15:
        out += boolean(mode == "M")
    if version >= 15:
        out += maybe(mode.encode() if mode else None) + maybe(None)
    if version >= 16:
        out += maybe(None)
    if version >= 17:
        out += maybe(None)
    return out


@pytest.mark.parametrize("version,mode", [
    (version, mode) for version in range(6, 21) for mode in ("M", "C", None)
    if mode or not 9 <= version < 15])
def test_ids(connect, version, mode):
    """IDS has exactly the fields of the version."""
    ids = Queue.create(connect(), mode=mode).ids
    assert ids.raw == ids_text(version, ids, mode)


@pytest.mark.parametrize("version", range(15, 21))
def test_ids_with_link(connect, version):
    """IDS says the link id from version 15."""
    ids = Queue.create(connect(), mode="M", link=(b"fixed", b"user")).ids
    tail = b"1M1" + short(ids.link_id) + {15: b"", 16: b"0"}.get(version, b"00")
    assert ids.raw.endswith(tail)


def test_sub_answer(connect, version):
    """SUB is answered by `OK` below version 16, by `SOK 0` from it."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    assert queue.sub(conn).raw == (b"SOK 0" if version >= 16 else b"OK")


def test_plain_answers(connect, version):
    """OK, PONG and errors have the same text in every version."""
    conn = connect()
    queue = Queue.create(conn)
    assert conn.request(b"PING").raw == b"PONG"
    assert queue.send(conn, b"hello").raw == b"OK"
    assert queue.off(conn).raw == b"OK"
    assert queue.send(conn, b"hello").raw == b"ERR AUTH"


FORMS = {6: 6, 7: 6, 8: 6, **{v: 9 for v in range(9, 15)}, 15: 15, 16: 15,
         **{v: 17 for v in range(17, 21)}}


@pytest.mark.parametrize("version,form", [
    (version, form) for version in range(6, 21) for form in (6, 9, 15, 17)
    if form != FORMS[version]])
def test_new_of_another_version(connect, version, form):
    """Only the version's own form of NEW is read: any other is a syntax error."""
    conn = connect()
    key = make_key("ed25519")
    command = new_command(form, key.der, X25519Key().der)
    assert conn.request(command, b"", key).raw == b"ERR CMD SYNTAX"


@pytest.mark.parametrize("version", [6, 7, 8])
def test_new_with_password_in_the_old_form(connect, version):
    """Below version 9 the password follows an `A`; any other letter is a syntax error."""
    conn = connect()
    key = make_key("ed25519")
    head = b"NEW " + short(key.der) + short(X25519Key().der)
    password = conn.address.password or b"anything"
    assert conn.request(head + b"A" + short(password) + b"S", b"", key).tag == "IDS"
    for tail in (b"B" + short(password) + b"S", b"A" + short(password), b"AS", b"1\x01xS"):
        assert conn.request(head + tail, b"", key).raw == b"ERR CMD SYNTAX", tail


@pytest.mark.parametrize("tail", [
    b"S1", b"S2M", b"S1X0", b"S1M", b"S1M2", b"S1M1", b"S1C1\x18", b"S1", b"2S0", b"1S", b"0",
    b"0S01M0"])
def test_new_with_bad_parameters(connect, tail):
    """Optional values of NEW that are cut or have another tag (wire 2 and 5)."""
    conn = connect(15)
    key = make_key("ed25519")
    head = b"NEW " + short(key.der) + short(X25519Key().der)
    start = b"0" if tail[:1] == b"S" else b""
    assert conn.request(head + start + tail, b"", key).raw == b"ERR CMD SYNTAX"


def test_session_id_is_sent_in_version_6_only(connect, version):
    """Answers of version 6 begin with the session identifier, later ones do not (wire 4)."""
    conn = connect()
    conn.write([conn.make(b"PING")])
    content = conn.session.unseal(conn.link.read_block())
    transmission = content[3:]
    prefix = short(conn.session.session_id) if version == 6 else b""
    assert transmission.startswith(b"\0" + prefix + b"\x18")
    assert transmission.endswith(b"\0PONG")


def test_blocks_are_encrypted_from_version_11(connect, version):
    """From version 11 blocks are sealed with block keys, below they are padded plainly."""
    conn = connect()
    assert (conn.session.send_chain is not None) is (version >= 11)
    conn.write([conn.make(b"PING")])
    block = conn.link.read_block()
    assert block.endswith(b"#" * 1000) is (version < 11)


@pytest.mark.parametrize("version", range(16, 21))
def test_service_flag_follows_authorizations_from_version_16(connect, version):
    """After an authorization there is one more field; without it the rest cannot be read."""
    conn = connect()
    queue = Queue.create(conn)
    sent = conn.make(b"QUE", queue.rcv_id, queue.rcv_key)
    flag = 1 + 64
    conn.write([Sent(sent.corr_id, sent.entity, sent.data[:flag] + sent.data[flag + 1:])])
    assert conn.event().raw == b"ERR BLOCK"
    conn.write([sent])
    assert conn.wait(sent).tag == "INFO"


def test_what_is_signed_includes_the_session_id(connect, version):
    """The session identifier is signed in every version, sent or not (wire 4)."""
    conn = connect()
    queue = Queue.create(conn)
    for prefix, tag in ((conn.session.session_id, "INFO"), (b"", "ERR")):
        corr_id = bytes(range(24))
        signed = signed_text(prefix, corr_id, queue.rcv_id, b"QUE") if prefix else \
            short(corr_id) + short(queue.rcv_id) + b"QUE"
        auth = FixedAuth(queue.rcv_key.authorize(None, corr_id, signed))
        assert conn.request(b"QUE", queue.rcv_id, auth, corr_id).tag == tag
