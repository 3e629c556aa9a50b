# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clients that go away, and a server that stops, while the queues of a block are looked for."""

import signal

from smp import Queue
from smp.commands import send_command
from smp.connection import Connection
from smp.transmissions import batch

CLIENTS, COMMANDS = 24, 20


def ask_much(conn, queue):
    """Sends one block of commands whose answers nobody reads."""
    commands = [conn.make(send_command(b"x"), queue.snd_id) for _ in range(COMMANDS)]
    commands += [conn.make(b"SUB", queue.rcv_id, queue.rcv_key) for _ in range(COMMANDS)]
    conn.write_content(batch([item.data for item in commands]))


def test_clients_that_go_away(connect, address):
    """A session that ended before its answer came leaves nothing behind: the next one is served."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    for _ in range(CLIENTS):
        gone = Connection(address, 18)
        ask_much(gone, queue)
        gone.close()
    assert conn.request(b"SUB", queue.rcv_id, queue.rcv_key).tag in ("SOK", "MSG", "OK")
    assert Queue.create(conn, subscribe=False).send(conn, b"after").raw == b"OK"


def test_commands_keep_their_order_over_blocks(connect):
    """A block is run after the one before it, however long its queues were looked for."""
    conn = connect()
    queue = Queue.create(conn, subscribe=False)
    sent = []
    for number in range(CLIENTS):
        block = [conn.make(send_command(b"%d" % number), queue.snd_id)] * (number % 2)
        block += [conn.make(b"QUE", queue.rcv_id, queue.rcv_key), conn.make(b"PING")]
        conn.write_content(batch([item.data for item in block]))
        sent += block
    found = []
    while len(found) < len(sent):
        found += conn.read()
    assert [answer.corr_id for answer in found] == [item.corr_id for item in sent]


def test_stop_while_queues_are_looked_for(own_server):
    """The server ends in order, with all that was under way."""
    server = own_server(ini={("TRANSPORT", "threads"): 4})
    with Connection(server.address, 18) as maker:
        queue = Queue.create(maker, subscribe=False)
    clients = [Connection(server.address, 18) for _ in range(CLIENTS)]
    try:
        for conn in clients:
            ask_much(conn, queue)
        server.stop(signal.SIGTERM)
    finally:
        for conn in clients:
            conn.close()
