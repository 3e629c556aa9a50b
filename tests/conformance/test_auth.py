# SPDX-License-Identifier: AGPL-3.0-or-later
"""Credentials of each command and the failures of authorization: wire 5, behaviour."""

import os

import pytest
from smp import Connection, Queue, X25519Key, make_key, new_command
from smp.commands import (ack_command, key_command, lset_command, pfwd_command, prxy_command,
                          rkey_command, send_command)
from smp.keys import KEY_TYPES, FixedAuth

ED_DER = make_key("ed25519").der
DH_DER = X25519Key().der
SERVICE_SUBS = b" " + bytes(8) + b"\x10" + bytes(16)

BOTH = {
    "SUB": b"SUB", "KEY": key_command("KEY", ED_DER), "RKEY": rkey_command([ED_DER]),
    "LSET": lset_command(bytes(24), b"fixed", b"user"), "LDEL": b"LDEL",
    "NKEY": key_command("NKEY", ED_DER) + b"\x2c" + DH_DER, "NDEL": b"NDEL", "GET": b"GET",
    "ACK": ack_command(bytes(24)), "OFF": b"OFF", "DEL": b"DEL", "QUE": b"QUE",
    "SKEY": key_command("SKEY", ED_DER), "LKEY": key_command("LKEY", ED_DER), "NSUB": b"NSUB",
    "SUBS": b"SUBS", "NSUBS": b"NSUBS",
}
ENTITY_ONLY = {"LGET": b"LGET", "PFWD": pfwd_command(18, DH_DER, bytes(100))}
NEITHER = {"PING": b"PING", "RFWD": b"RFWD " + bytes(100),
           "PRXY": prxy_command(b"relay.example", b"5223", bytes(32))}
RECIPIENT = ["SUB", "GET", "ACK", "KEY", "RKEY", "LSET", "LDEL", "OFF", "DEL", "QUE"]

AUTHS = {name: FixedAuth(bytes(size)) for name, size in
         (("Ed25519", 64), ("Ed448", 114), ("authenticator", 80))}
SOME_ID = bytes(range(24))


def ask(conn, command, entity, auth):
    """The text of the answer."""
    return conn.request(command, entity, auth).raw


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("auth", AUTHS)
def test_commands_that_need_both(connect, name, auth):
    """Without authorization, without entity, or without both: NO_AUTH."""
    conn = connect()
    command = BOTH[name]
    assert ask(conn, command, SOME_ID, None) == b"ERR CMD NO_AUTH"
    assert ask(conn, command, b"", AUTHS[auth]) == b"ERR CMD NO_AUTH"
    assert ask(conn, command, b"", None) == b"ERR CMD NO_AUTH"


@pytest.mark.parametrize("name", ["SUBS", "NSUBS"])
def test_service_subscriptions_of_version_19_need_both(connect, name):
    """From version 19 SUBS and NSUBS have parameters, and the same credentials."""
    conn = connect(19)
    command = name.encode() + SERVICE_SUBS
    assert ask(conn, command, SOME_ID, None) == b"ERR CMD NO_AUTH"
    assert ask(conn, command, b"", AUTHS["Ed25519"]) == b"ERR CMD NO_AUTH"


@pytest.mark.parametrize("name", ENTITY_ONLY)
@pytest.mark.parametrize("auth", AUTHS)
def test_commands_with_entity_only(connect, name, auth):
    """LGET and PFWD: NO_ENTITY without entity, HAS_AUTH with authorization."""
    conn = connect()
    command = ENTITY_ONLY[name]
    assert ask(conn, command, b"", None) == b"ERR CMD NO_ENTITY"
    assert ask(conn, command, b"", AUTHS[auth]) == b"ERR CMD NO_ENTITY"
    assert ask(conn, command, SOME_ID, AUTHS[auth]) == b"ERR CMD HAS_AUTH"


@pytest.mark.parametrize("name", NEITHER)
@pytest.mark.parametrize("auth", AUTHS)
def test_commands_with_neither(connect, name, auth):
    """PING, PRXY and RFWD have neither: HAS_AUTH with any of the two."""
    conn = connect()
    command = NEITHER[name]
    assert ask(conn, command, SOME_ID, None) == b"ERR CMD HAS_AUTH"
    assert ask(conn, command, b"", AUTHS[auth]) == b"ERR CMD HAS_AUTH"
    assert ask(conn, command, SOME_ID, AUTHS[auth]) == b"ERR CMD HAS_AUTH"


def test_new_needs_authorization_and_no_entity(connect, version):
    """NEW: NO_AUTH without authorization, HAS_AUTH with an entity."""
    conn = connect()
    key = make_key("ed25519")
    command = new_command(version, key.der, DH_DER, password=conn.address.password)
    assert ask(conn, command, b"", None) == b"ERR CMD NO_AUTH"
    assert ask(conn, command, SOME_ID, None) == b"ERR CMD NO_AUTH"
    assert ask(conn, command, SOME_ID, key) == b"ERR CMD HAS_AUTH"


def test_send_needs_an_entity(connect, version):
    """SEND: NO_ENTITY without entity, whether authorized or not."""
    conn = connect()
    assert ask(conn, send_command(b"hello"), b"", None) == b"ERR CMD NO_ENTITY"
    for auth in AUTHS.values():
        assert ask(conn, send_command(b"hello"), b"", auth) == b"ERR CMD NO_ENTITY"


def test_answers_keep_the_entity(connect, version):
    """Also errors of credentials answer with the entity of the command (wire 4)."""
    conn = connect()
    assert conn.request(b"SUB", SOME_ID).entity == SOME_ID
    assert conn.request(b"PING", b"1").entity == b"1"
    assert conn.request(b"HELLO", b"12345").entity == b"12345"


def test_syntax_is_judged_before_credentials(connect):
    """An unknown or malformed command is that, whatever credentials it lacks."""
    conn = connect()
    assert ask(conn, b"HELLO", b"", None) == b"ERR CMD UNKNOWN"
    assert ask(conn, b"KEY \0", b"", None) == b"ERR CMD SYNTAX"
    assert ask(conn, b"SUB ", b"", None) == b"ERR CMD SYNTAX"
    assert ask(conn, b"PING x", SOME_ID, None) == b"ERR CMD SYNTAX"


@pytest.mark.parametrize("name", RECIPIENT)
@pytest.mark.parametrize("kind", KEY_TYPES)
def test_recipient_commands_with_a_wrong_key(connect, name, kind):
    """Wrong key, wrong type and no such queue all answer AUTH, for every command."""
    conn = connect()
    queue = Queue.create(conn, key="ed25519", mode="C")
    wrong = make_key(kind)
    assert ask(conn, BOTH[name], queue.rcv_id, wrong) == b"ERR AUTH"
    assert ask(conn, BOTH[name], os.urandom(24), queue.rcv_key) == b"ERR AUTH"
    assert ask(conn, BOTH[name], os.urandom(24), wrong) == b"ERR AUTH"
    assert queue.recipient(conn, b"QUE").tag == "INFO"


@pytest.mark.parametrize("owner", KEY_TYPES)
@pytest.mark.parametrize("kind", KEY_TYPES)
def test_type_of_authorization_must_match_the_key(connect, owner, kind):
    """An authorization of another type, or by another key of the type, answers AUTH."""
    conn = connect()
    queue = Queue.create(conn, key=owner)
    assert ask(conn, b"QUE", queue.rcv_id, make_key(kind)) == b"ERR AUTH"
    assert queue.recipient(conn, b"QUE").tag == "INFO"


@pytest.mark.parametrize("entity", [b"", b"x", bytes(23), bytes(25), bytes(255)], ids=len)
def test_entities_of_other_sizes(connect, entity):
    """An id that no queue can have answers AUTH like any unknown one."""
    conn = connect()
    expected = b"ERR AUTH" if entity else b"ERR CMD NO_AUTH"
    assert ask(conn, b"SUB", entity, make_key("ed25519")) == expected


@pytest.mark.parametrize("kind", ["ed25519", "x25519"])
def test_a_changed_authorization_is_refused(connect, kind):
    """Any changed bit of a signature or of an authenticator answers AUTH."""
    conn = connect()
    queue = Queue.create(conn, key=kind)
    size = 64 if kind == "ed25519" else 80
    for at in (0, 15, 16, 31, 32, size - 1):
        sent = conn.make(b"QUE", queue.rcv_id, queue.rcv_key)
        data = bytearray(sent.data)
        data[1 + at] ^= 0x10
        sent.data = bytes(data)
        conn.write([sent])
        assert conn.wait(sent).raw == b"ERR AUTH", at


def test_a_changed_command_is_refused(connect):
    """The command, the entity and the correlation ID are all authorized (wire 4)."""
    conn = connect()
    queue, other = Queue.create(conn), Queue.create(conn)
    auth = None
    for command, entity in ((b"QUE", queue.rcv_id), (b"SUB", queue.rcv_id),
                            (b"QUE", other.rcv_id)):
        made = conn.make(command, entity, auth or queue.rcv_key)
        conn.write([made])
        answer = conn.wait(made)
        assert (answer.tag == "INFO") is (auth is None), (command, answer.raw)
        auth = auth or FixedAuth(made.data[1:65])
