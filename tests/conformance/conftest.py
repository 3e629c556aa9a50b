# SPDX-License-Identifier: AGPL-3.0-or-later
"""Options and fixtures: one shared server for ordinary tests, own servers for special settings."""

import os
import re

import pytest
import smp
from smp import MAX_VERSION, MIN_VERSION, Address, Connection
from smp.disk import Disk
from smp.encoding import unpad
from smp.server import STORES, Server, ServerFailed, find_binary
from smp.transport import ServerHello, decode_fingerprint
from smp.websocket import WebLink


def pytest_addoption(parser):
    """How to reach the server under test."""
    group = parser.getgroup("smp")
    group.addoption("--store", choices=list(STORES), default="off",
                    help="how servers that are started here keep queues and messages")
    group.addoption("--transport", choices=["tls", "websocket"], default="tls",
                    help="how clients come to servers that are started here")
    group.addoption("--smp-host", help="test a server that already runs")
    group.addoption("--smp-port", type=int, default=5223)
    group.addoption("--smp-fingerprint", help="its identity, base64url")
    group.addoption("--smp-password", help="its password for new queues")


def pytest_configure(config):
    """Before tests are imported, so that they take the link that they are to use."""
    Server.transport = config.getoption("--transport")
    if Server.transport == "websocket":
        for module in (smp, smp.connection, smp.transport):
            module.Link = WebLink
    config.addinivalue_line("markers", "tls_only(why): makes no sense over WebSocket")


def pytest_collection_modifyitems(items):
    """Over WebSocket a few tests are left out, each with its reason."""
    if Server.transport == "tls":
        return
    for item in items:
        for mark in item.iter_markers("tls_only"):
            item.add_marker(pytest.mark.skip(reason=mark.args[0]))


def external_address(config):
    """The address given by options, or None."""
    host = config.getoption("--smp-host")
    if not host:
        return None
    fingerprint = config.getoption("--smp-fingerprint")
    if not fingerprint:
        raise pytest.UsageError("--smp-host needs --smp-fingerprint")
    password = config.getoption("--smp-password")
    return Address(host, config.getoption("--smp-port"), decode_fingerprint(fingerprint),
                   password.encode() if password else None)


@pytest.fixture(scope="session")
def shared_server(request):
    """The server of ordinary tests; None when an external one is tested."""
    if external_address(request.config):
        yield None
        return
    server = Server(find_binary(request.config.getoption("--server-binary")),
                    ini={("LIMITS", "end_interval_ms"): 50, ("TRANSPORT", "threads"): 4},
                    store=request.config.getoption("--store"), has_websocket=True)
    try:
        server.start()
        yield server
        server.check()
        server.stop()
        check_later(server)
    finally:
        server.remove()


def check_later(server):
    """Of smp-server-later (tests/later): it is what its name says."""
    if server.binary.endswith("-later"):
        assert re.search(r"smp-server-later: [1-9]\d* answers came later", "".join(server.stderr))


@pytest.fixture
def address(request, shared_server):
    """Address of the server under test, whose health is checked after the test."""
    if shared_server is None:
        yield external_address(request.config)
        return
    yield shared_server.address
    shared_server.check()


@pytest.fixture
def own_server(request):
    """Function: starts a server with special settings, checked and stopped after the test."""
    if external_address(request.config):
        pytest.skip("needs its own server with special settings")
    servers = []

    def start(ini=None, disk=False, **options):
        """Starts one more server; with a `disk` it has one whose faults the test decides."""
        options.setdefault("store", request.config.getoption("--store"))
        options.setdefault("binary", find_binary(request.config.getoption("--server-binary")))
        server = Server(options.pop("binary"), ini=ini, **options)
        servers.append(server)
        if disk:
            server.disk = Disk(server)
        return server.start()

    yield start
    failures = [failure for failure in map(finish, servers) if failure]
    assert not failures, failures[0]


def finish(server):
    """Checks, stops and removes a server; gives what was wrong."""
    try:
        if server.process is not None:
            server.check()
        server.stop()
        return None
    except ServerFailed as error:
        return str(error)
    finally:
        server.remove()


@pytest.fixture(scope="session")
def server_versions(request, shared_server):
    """The range that the server offers."""
    target = shared_server.address if shared_server else external_address(request.config)
    with smp.Link(target) as link:
        hello = ServerHello.parse(unpad(link.read_block()))
    return hello.min_version, hello.max_version


def pytest_generate_tests(metafunc):
    """`version` runs a test with every version, unless the test lists its own."""
    marks = metafunc.definition.iter_markers("parametrize")
    listed = any("version" in mark.args[0] for mark in marks)
    if "version" in metafunc.fixturenames and not listed:
        metafunc.parametrize("version", wanted_versions())


def wanted_versions():
    """All of them, or those of SMP_TEST_VERSIONS (6,20)."""
    wanted = os.environ.get("SMP_TEST_VERSIONS")
    return [int(v) for v in wanted.split(",")] if wanted else range(MIN_VERSION, MAX_VERSION + 1)


@pytest.fixture
def connect(request, address, server_versions):
    """Function: opens connections, of `version` or 18, all closed after the test."""
    opened = []

    def open_one(version=None, to=None, **options):
        """Opens one more connection."""
        if version is None:
            version = request.node.callspec.params["version"] if has_version(request) else 18
        if version > server_versions[1]:
            pytest.skip(f"the server offers versions up to {server_versions[1]}")
        conn = Connection(to or address, version, **options)
        opened.append(conn)
        return conn

    yield open_one
    for conn in opened:
        conn.close()


def has_version(request):
    """Whether the test runs for every version."""
    return "version" in getattr(getattr(request.node, "callspec", None), "params", {})
