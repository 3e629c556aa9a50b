# SPDX-License-Identifier: AGPL-3.0-or-later
"""Browsers take no more than their share of a server, and what they are shown has parameters of its
own: clients beside them do not notice."""

import contextlib
import re
import resource
import socket
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from program import TIMEOUT, free_port
from smp_client import connect
from test_https import Web
from test_web import Site
from web_client import HOST, dial

from smp import Queue
from smp.transport import Closed, HandshakeRefused

HEAD = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"


class Browsers:
    """Connections that are kept, each of which was answered once."""

    def __init__(self, port):
        self.port, self.open = port, []

    def come(self):
        """One more; whether it was answered."""
        with contextlib.suppress(OSError):
            one = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
            self.open.append(one)
            one.sendall(HEAD)
            return one.recv(12) == b"HTTP/1.1 200"
        return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.open:
            one.close()


@pytest.fixture
def plain(ready):
    """A program with pages on a port without TLS; the port."""
    port = free_port()
    ready.set("WEB", "http", port)
    return port


def test_a_quarter_of_all_connections(ready, plain):
    """One browser more is closed and counted; clients have the rest."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
    metrics = free_port()
    ready.set("TRANSPORT", "metrics", f"127.0.0.1:{metrics}")
    server = ready.start(preexec_fn=limit)
    [clients] = re.findall(r"400 files may be open: enough for (\d+) ", ready.run("check").stdout)
    with Browsers(plain) as browsers:
        for _ in range(int(clients) // 4):
            assert browsers.come()
        assert not browsers.come()
        with connect(ready) as conn:
            Queue.create(conn)
        text = Site(ready, server, metrics).get("/metrics")[2].decode()
        assert "simplex_smp_web_refused_total 1\n" in text
        browsers.open.pop(0).close()
        assert any(browsers.come() for _ in range(100))  # its end is seen soon


def test_inside_of_the_limits_of_an_address(ready, plain):
    """A browser's connection is one of its address."""
    ready.set("LIMITS", "connections_per_address", 3)
    ready.set("LIMITS", "limit_localhost", "on")
    ready.start()
    with Browsers(plain) as browsers:
        assert all(browsers.come() for _ in range(3))
        assert not browsers.come()
        with pytest.raises((OSError, Closed, HandshakeRefused)):
            connect(ready)


# ---- TLS ----


@pytest.fixture
def web(ready):
    one = Web(ready)
    one.make()
    return one.start()


def handshake(web, is_browser, *words):
    """What openssl's client tells of it."""
    name = ["-servername", HOST] if is_browser else ["-noservername"]
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{web.port}", "-alpn", "http/1.1", "-msg",
         *name, *words],
        input="", capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    assert "ClientHello" in done.stdout
    return done.stdout


def is_taken(*handshake_of):
    """Did they agree?"""
    return "Finished" in handshake(*handshake_of)


@pytest.mark.parametrize("group,for_browsers,for_clients", [
    ("X25519", True, True), ("P-256", True, False), ("P-384", True, False), ("P-521", False, False)])
def test_groups(web, group, for_browsers, for_clients):
    """Those of browsers are for browsers: on the same port clients of SMP have theirs."""
    assert is_taken(web, True, "-groups", group) == for_browsers
    assert is_taken(web, False, "-groups", group) == for_clients


@pytest.mark.parametrize("cipher,for_browsers", [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", True), ("ECDHE-ECDSA-AES256-GCM-SHA384", True),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", True), ("ECDHE-ECDSA-AES128-SHA256", False),
    ("ECDHE-ECDSA-AES128-SHA", False)])
def test_ciphers(web, cipher, for_browsers):
    """Of TLS 1.2; clients have one, which is not for certificates of this kind."""
    assert is_taken(web, True, "-tls1_2", "-cipher", cipher) == for_browsers
    assert not is_taken(web, False, "-tls1_2", "-cipher", cipher, "-groups", "P-256")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_no_certificate_is_asked_for(web, version):
    """Of browsers. Of clients one is, since services have them; and none of the two gets a ticket."""
    browser, client = handshake(web, True, version), handshake(web, False, version)
    assert "CertificateRequest" not in browser and "CertificateRequest" in client
    assert "SessionTicket" not in browser + client and "Finished" in browser


def x509_of(tls):
    """The certificate that was shown."""
    return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))


def test_as_the_reference_tests_it(ready):
    """Its test "static files", step by step: the file on the plain port, then by HTTP/2 with a
    certificate for RSA of 4096 bits on the port of the clients, then a client there."""
    web, plain = Web(ready), free_port()
    ready.set("TRANSPORT", "host", "localhost")
    ready.set("WEB", "http", plain)
    web.make(kind=("-newkey", "rsa:4096"), host="localhost")
    site = Site(ready, web.start().server, plain)
    file = (site.files / "index.html").read_bytes()
    assert site.get("/", Host=f"127.0.0.1:{plain}")[::2] == (200, file)
    with dial(web.port, "localhost", ("h2",), trusted=web.crt) as tls:
        assert tls.selected_alpn_protocol() == "h2"
        assert x509_of(tls).public_key().key_size == 4096
    done = subprocess.run(
        ["curl", "--silent", "--http2", "--cacert", web.crt, "--write-out", "%{http_version}",
         "--connect-to", f"localhost:{web.port}:127.0.0.1:{web.port}", f"https://localhost:{web.port}/"],
        capture_output=True, timeout=TIMEOUT, check=True)
    assert done.stdout == file + b"2"
    with dial(web.port, None, ("smp/1",)) as tls:
        assert isinstance(x509_of(tls).public_key(), Ed25519PublicKey)
    with web.smp(("smp/1",)) as conn:
        Queue.create(conn)
