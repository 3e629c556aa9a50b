# SPDX-License-Identifier: AGPL-3.0-or-later
"""What strangers make the server open takes nothing from its storage."""

import resource
import socket

import pytest
from smp import Connection, Queue
from smp.proxied import prxy
from smp.server import Server, find_binary
from smp.transport import Address

FILES = 320  # that may be open
N_CLIENTS, N_EACH = 10, 30
INI = {("PROXY", "allow_private_relays"): "on", ("PROXY", "connect_timeout"): 20,
       ("TRANSPORT", "threads"): 1}


class PoorServer(Server):
    """One that may open few files."""

    def prepare_child(self):
        """In the child."""
        super().prepare_child()
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


@pytest.fixture(name="server")
def fixture_server(request):
    """Runs with the journal."""
    from conftest import external_address
    if external_address(request.config):
        pytest.skip("needs its own server with special settings")
    binary = find_binary(request.config.getoption("--server-binary"))
    server = PoorServer(binary, ini=INI, store="journal")
    try:
        yield server.start()
        server.check()
        server.stop()
    finally:
        server.remove()


def test_silent_relays_do_not_use_up_the_files(server):
    """Hundreds of relays that never answer are asked for: queues and messages are stored."""
    with socket.socket() as silent:
        silent.bind(("0.0.0.0", 0))
        silent.listen(1024)
        port = silent.getsockname()[1]
        clients = [Connection(server.address) for _ in range(N_CLIENTS)]
        for i, client in enumerate(clients):
            hosts = [Address(f"127.1.{i}.{j + 1}", port, bytes(32), None) for j in range(N_EACH)]
            client.write([prxy(client, host) for host in hosts])
            client.ping()
        with Connection(server.address) as client:
            queue = Queue.create(client)
            assert queue.send(client, b"stored").raw == b"OK"
        for client in clients:
            client.close()
