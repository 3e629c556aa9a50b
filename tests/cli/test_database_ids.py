# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ids of a server on PostgreSQL tell the shard of their queue, to who has the key: docs/FORMATS.md."""

import pytest
from smp import Connection, Notifier, Queue
from smp.server import Server, find_binary

WORD = (1 << 64) - 1
N = 12


def rotated(word, by):
    """A word, rotated to the left."""
    return (word << by | word >> (64 - by)) & WORD


def mix(v):
    """A round of SipHash."""
    v[0] = (v[0] + v[1]) & WORD
    v[2] = (v[2] + v[3]) & WORD
    v[1], v[3] = rotated(v[1], 13) ^ v[0], rotated(v[3], 16) ^ v[2]
    v[0] = rotated(v[0], 32)
    v[2] = (v[2] + v[1]) & WORD
    v[0] = (v[0] + v[3]) & WORD
    v[1], v[3] = rotated(v[1], 17) ^ v[2], rotated(v[3], 21) ^ v[0]
    v[2] = rotated(v[2], 32)


def siphash(key, text):
    """SipHash-2-4, as its paper has it."""
    k = [int.from_bytes(key[i:i + 8], "little") for i in (0, 8)]
    v = [k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d, k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573]
    padded = text + bytes(7 - len(text) % 8) + bytes([len(text) & 255])
    for i in range(0, len(padded), 8):
        word = int.from_bytes(padded[i:i + 8], "little")
        v[3] ^= word
        mix(v)
        mix(v)
        v[0] ^= word
    v[2] ^= 255
    for _ in range(4):
        mix(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_siphash_of_its_paper():
    """Appendix A: what the tests reckon with is right."""
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xa129ca6149be45e5


@pytest.fixture
def server(request):
    """On a database of its own."""
    one = Server(find_binary(request.config.getoption("--server-binary")), store="database").start()
    yield one
    one.remove()


def rows(server):
    """The key, and the ids of each queue; NULL: empty."""
    name = (server.config / "smp-server.ini").read_text().split("@/")[1].split("?")[0]
    key = server.postgres.sql(name, "SELECT encode(key, 'hex') FROM smp_server.smpn_cluster")[0]
    ids = server.postgres.sql(name, "SELECT encode(recipient_id, 'hex'), encode(sender_id, 'hex'), encode(link_id, 'hex'), "
                                    "encode(notifier_id, 'hex') FROM smp_server.msg_queues")
    return bytes.fromhex(key), [[bytes.fromhex(value) for value in row.split("|")] for row in ids]


def test_ids_tell_the_shard(server):
    """Those that the server makes, whichever way; a recipient id fits the sender id that a client gives."""
    with Connection(server.address, 18) as conn:
        for i in range(N):
            Queue.create(conn, link=(b"fixed", b"user") if i % 2 else None, notifier=Notifier() if i % 3 else None)
            Notifier.of(conn, Queue.create(conn, mode="C"))
    key, ids = rows(server)
    assert len(ids) == 2 * N and sum(len(row[2]) == 24 for row in ids) == N // 2
    assert sum(len(row[3]) == 24 for row in ids) == N + N * 2 // 3
    for recipient, *others in ids:
        for letter, one in zip(b"SLN", others):
            assert not one or siphash(key, bytes([letter]) + one) % 256 == recipient[0]
    assert len({row[0][0] for row in ids}) > N  # of 256


def test_ids_are_drawn_by_the_key_that_is_there(server):
    """It is kept over a restart."""
    before, _ = rows(server)
    server.stop()
    server.start()
    assert rows(server)[0] == before
