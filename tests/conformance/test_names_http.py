# SPDX-License-Identifier: AGPL-3.0-or-later
"""Names: what the resolver's side of the connection may look like (spec: names, "HTTP")."""

import datetime
import gzip
import itertools
import os
import zlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from smp import Connection, Queue
from smp.commands import send_command
from smp.resolver import (PATIENT_MS, Answer, Resolver, Rubbish, compact, record, script,
                          settings)
from smp.server import REPO, over

NAME = "alice.simplex"
ASK = b"RSLV alice.simplex"
FOUND = b"RNAME " + compact(record(NAME))
ERR = b"ERR NAME RESOLVER "
TRANSPORT = ERR + b"transport failure"
TIMEOUT = ERR + b"timeout"
TOO_LARGE = ERR + b"response too large"
INVALID = ERR + b"invalid response"


def asks(server, times=1):
    """What is answered, the same each time; the server serves on."""
    with Connection(server.address, 20) as conn:
        (raw,) = {conn.request(ASK).raw for _ in range(times)}
        conn.ping()
        return raw


# ---- where it is ----

def test_no_resolver(own_server):
    """Nobody listens: the server starts, says so, and answers."""
    with Resolver() as resolver:
        ini = settings(resolver)
    server = own_server(ini)
    assert asks(server) == TRANSPORT
    assert any("resolver-not-there" in line for line in server.stderr)


@pytest.mark.parametrize("path", ["", "/", "/a/b", "/a/b///", "/a%20b"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_endpoints(own_server, address, path):
    """IPv4 and IPv6, with a path of its own; slashes at its end are dropped."""
    with Resolver(address=address) as resolver:
        server = own_server(settings(resolver, resolver_endpoint=resolver.endpoint + path))
        assert asks(server) == FOUND
        before = path.rstrip("/")
        assert [p for p, _ in resolver.requests] == [f"{before}/health", f"{before}/resolve/{NAME}"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_environment_is_ignored(own_server, monkeypatch, scheme):
    """A proxy of the environment would see what is asked, and what is shown."""
    with Resolver() as resolver, Resolver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy",
                     "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.endpoint)
        server = own_server(settings(
            resolver, resolver_endpoint=resolver.endpoint.replace("http", scheme, 1)))
        assert asks(server) == (FOUND if scheme == "http" else TRANSPORT)
        assert proxy.requests == []


# ---- certificates ----

def certificate(folder, days=range(-1, 2), host="localhost"):
    """A self-signed certificate of a host, with its key, in a file; beside it, .crt, without."""
    key, path = Ed25519PrivateKey.generate(), folder / "resolver.pem"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[-1]))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
            .sign(key, None).public_bytes(Encoding.PEM))
    path.write_bytes(cert + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "resolver.pem.crt").write_bytes(cert)
    return path


def shows(resolver):
    """The ini of a server that shows it a secret."""
    return settings(resolver, resolver_auth="bearer s3cret", resolver_timeout_ms=PATIENT_MS)


def test_https_untrusted(own_server, tmp_path):
    """A certificate that the system does not trust: nothing is asked of such a server."""
    with Resolver(certificate(tmp_path)) as resolver:
        assert asks(own_server(shows(resolver))) == TRANSPORT
        assert resolver.requests == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
@pytest.mark.parametrize("more, answer", [
    ({}, FOUND),
    ({"host": "localhost.example.org"}, TRANSPORT),
    ({"days": (-3, -2)}, TRANSPORT),
    ({"days": (2, 3)}, TRANSPORT),
], ids=["good", "another_host", "expired", "not_yet"])
def test_https_trusted(request, own_server, tmp_path, more, answer):
    """The certificate is in the system's store, as the server sees it; that is not all."""
    binary = REPO / request.config.getoption("--server-binary")
    pem = certificate(tmp_path, **more)
    wrapper = over(tmp_path / "smp-server", binary, f"{pem}.crt",
                   "/etc/ssl/certs/ca-certificates.crt")
    with Resolver(pem) as resolver:
        assert asks(own_server(shows(resolver), binary=wrapper)) == answer
        assert [headers["Authorization"] for _, headers in resolver.requests] == (
            ["Bearer s3cret"] * 2 if answer == FOUND else [])


# ---- statuses ----

@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(own_server, status):
    """Not to another host, which would be shown the secret. A body is an answer like another."""
    with Resolver() as other, Resolver() as resolver:
        to = [("Location", f"{other.endpoint}/resolve/{NAME}")]
        said = [Answer(b"", status, headers=to), Answer(record(NAME), status, headers=to)]
        resolver.script = lambda _: said.pop(0)
        server = own_server(shows(resolver))
        assert [asks(server), asks(server)] == [INVALID, FOUND]
        assert other.requests == [] and len(resolver.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 407, 429, 500, 599])
def test_wants_to_be_shown_more(own_server, status):
    """It is asked once, whatever it wants to see."""
    headers = [("WWW-Authenticate", 'Basic realm="x"'), ("Proxy-Authenticate", "NTLM"),
               ("WWW-Authenticate", 'Digest realm="x", nonce="1", qop="auth"'),
               ("Retry-After", "0")]
    with Resolver(answers=lambda _: Answer(b"no", status, headers=headers)) as resolver:
        assert asks(own_server(shows(resolver))) == ERR + b"HTTP %d" % status
        assert len(resolver.requests) == 2


# ---- compressed ----

BOMB = zlib.compress(b" " * 50_000_000)


@pytest.mark.parametrize("coding, body, answer", [
    ("gzip", gzip.compress(compact(record(NAME))), INVALID),
    ("deflate", zlib.compress(compact(record(NAME))), INVALID),
    ("gzip", gzip.compress(b" " * 10_000_000), INVALID),
    ("deflate", BOMB, TOO_LARGE),
    ("identity", compact(record(NAME)), FOUND),
], ids=["gzip", "deflate", "gzip_bomb", "bomb", "identity"])
def test_compressed(own_server, coding, body, answer):
    """It was not asked for, and is not made large."""
    headers = [("Content-Encoding", coding)]
    with Resolver(answers=lambda _: Answer(body, headers=headers)) as resolver:
        server = own_server(settings(resolver, resolver_timeout_ms=PATIENT_MS))
        assert asks(server) == answer
        for _, asked in resolver.requests:
            assert not {"accept-encoding", "te", "cookie", "referer"} & {k.lower() for k in asked}
        assert server.rss_kib() < 200_000


def test_cookies_are_not_kept(own_server):
    """They would tell one name from another."""
    def answers(name):
        return Answer(record(name), headers=[("Set-Cookie", "id=7; Path=/")])

    with Resolver(answers=answers) as resolver:
        assert asks(own_server(settings(resolver)), 2) == FOUND
        assert all("Cookie" not in headers for _, headers in resolver.requests)


# ---- it goes away ----

def test_it_closes_what_was_kept(own_server):
    """A connection that has ended since the last name is no failure: there is a new one."""
    def speak(sock, _):
        body = compact(record(NAME))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with Rubbish(speak) as web:
        server = own_server(settings(web))
        assert asks(server, 5) == FOUND
        assert len(web.requests) == 6


def test_it_comes_back(own_server):
    """When it was gone, names are resolved as soon as it is there."""
    with Resolver() as resolver:
        server = own_server(settings(resolver))
        assert asks(server) == FOUND
        resolver.script = lambda _: None
        assert asks(server, 3) == TRANSPORT
        resolver.script = script
        assert asks(server) == FOUND


# ---- rubbish ----

@pytest.mark.parametrize("words, answer", [
    (b"\0" * 1000, TRANSPORT),
    (b"SSH-2.0-x\r\n", TRANSPORT),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", TRANSPORT),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{", TRANSPORT),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", TRANSPORT),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{", TRANSPORT),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000, TRANSPORT),
    (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 1_000_000, TOO_LARGE),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b" " * 20000, TOO_LARGE),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: deflate\r\n\r\n" + BOMB,
     (TOO_LARGE, TRANSPORT)),  # newer libraries refuse what was not asked for
    (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08", INVALID),
    (b"HTTP/1.1 503 No\r\n\r\n" + b" " * 1_000_000, ERR + b"HTTP 503"),
    (b"HTTP/1.1 101 Upgrade\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", TRANSPORT),
], ids=["nuls", "another_protocol", "cut", "negative_length", "chunks", "cut_chunk", "head",
        "endless", "lying_length", "bomb", "compressed", "endless_error", "upgrade"])
def test_rubbish(own_server, words, answer):
    """Each has its error, in bounded time and memory, and the next name is asked for as before."""
    with Rubbish(lambda sock, _: sock.sendall(words)) as web:
        server = own_server(settings(web, resolver_timeout_ms=PATIENT_MS))
        answers = answer if isinstance(answer, tuple) else (answer,)
        assert asks(server, 3) in answers
        assert server.rss_kib() < 200_000


DRIPS = {
    "head": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "not_yet": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("kind", DRIPS)
def test_slow(own_server, kind):
    """It never stops, a little at a time: the whole has one limit. Nothing else of the session
    waits for it."""
    first, then = DRIPS[kind]

    def speak(sock, request):
        if b"/resolve/" not in request:
            return
        for words in itertools.chain([first], itertools.repeat(then)):
            sock.sendall(words)
            if web.ended.wait(0.02):
                return

    with Rubbish(speak) as web:
        server = own_server(settings(web, resolver_timeout_ms=1500))
        with Connection(server.address, 20) as conn:
            sent = conn.make(ASK)
            conn.write([sent])
            web.wait_for(2)
            queue = Queue.create(conn)
            assert conn.request(send_command(b"x"), queue.snd_id, queue.snd_key).raw == b"OK"
            assert queue.next_message(conn).body == b"x"
            assert sent.corr_id not in conn.answers
            assert conn.wait(sent).raw == TIMEOUT


@pytest.mark.parametrize("line", [b"HTTP/1.1 100 Continue\r\n", b"X: " + b"y" * 90_000],
                         ids=["not_yet", "headers"])
def test_fast_and_endless(own_server, line):
    """A head without an end, as fast as it can be read, is given up in bounded memory."""
    def speak(sock, request):
        if b"/resolve/" in request:
            sock.sendall(b"HTTP/1.1 200 OK\r\n" if line.startswith(b"X") else b"")
            while not web.ended.is_set():
                sock.sendall(line + b"\r\n")

    with Rubbish(speak) as web:
        server = own_server(settings(web, resolver_timeout_ms=1500))
        assert asks(server) in (TIMEOUT, TRANSPORT)
        assert server.rss_kib() < 200_000
