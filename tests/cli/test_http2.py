# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages by HTTP/2: what curl and nghttp2's tools get, and frames that no browser sends."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from program import TIMEOUT, free_port
from smp_client import VERSION
from web_client import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY,
                        HEAD, HEADERS, HOST, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
                        Load, dial, field, frame, make_pair, read_frames)

from smp import Address, Connection, Queue
from smp.server import NO_LIMITS, REPO
from smp.transport import decode_fingerprint

NEEDS_H2LOAD = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load (nghttp2-client) is not there")
CONFORMANCE = ["test_queues.py", "test_send.py"]
CALM = struct.pack(">I", ENHANCE_YOUR_CALM)
BEGIN = PREFACE + frame(SETTINGS)


class Site:
    """A server with pages on the port of its clients."""

    def __init__(self, program):
        self.program, self.port = program, program.port
        crt, key = program.config / "web.crt", program.config / "web.key"
        make_pair(crt, key)
        program.set("TRANSPORT", "host", HOST)
        for name, value in (("https", self.port), ("cert", crt), ("key", key)):
            program.set("WEB", name, value)
        self.crt = crt
        self.server = program.start()
        self.server.wait("info start threads=", self.server.err)
        self.files = program.state / "www"

    def curl(self, path, *words):
        """(HTTP version, status, fields in small letters, body)"""
        done = subprocess.run(
            ["curl", "--silent", "--http2", "--include", "--path-as-is", "--cacert", self.crt,
             "--connect-to", f"{HOST}:443:127.0.0.1:{self.port}", *words, f"https://{HOST}{path}"],
            capture_output=True, timeout=TIMEOUT, check=False)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        version, status = first.split()[:2]
        return version, int(status), dict(line.split(": ", 1) for line in lines), body

    def dial(self):
        tls = dial(self.port, alpn=("h2",))
        assert tls.selected_alpn_protocol() == "h2"
        return tls

    def smp(self):
        identity = decode_fingerprint((self.program.config / "fingerprint").read_text())
        return Connection(Address("127.0.0.1", self.port, identity), VERSION, alpn=("http/1.1",),
                          server_name=None)


@pytest.fixture
def site(ready):
    return Site(ready)


# ---- pages ----


def test_page(site):
    """As by HTTP/1.1, byte for byte."""
    version, status, fields, body = site.curl("/")
    assert (version, status) == ("HTTP/2", 200)
    assert body == (site.files / "index.html").read_bytes()
    old = site.curl("/", "--http1.1")
    assert old[0] == "HTTP/1.1" and old[3] == body
    for one in (fields, old[2]):
        assert one.pop("date")
    assert fields == old[2]


def test_alone(site):
    """Who offers h2 and nothing else, as the reference's own test does."""
    with site.dial() as tls:
        tls.sendall(BEGIN + frame(HEADERS, END_STREAM | END_HEADERS, 1, HEAD))
        body, frames = b"", read_frames(tls)
        for kind, flags, stream, payload in frames:
            if kind == DATA and stream == 1:
                body += payload
                if flags & END_STREAM:
                    break
    assert body == (site.files / "index.html").read_bytes()


@pytest.mark.parametrize("words,path,status", [
    ((), "/", 200),
    (("--head",), "/", 200),
    ((), "/contact", 200),
    ((), "/contact/", 200),
    ((), "/nothing", 404),
    ((), "/../etc/passwd", 404),
    ((), "/%2e%2e/etc/passwd", 404),
    ((), "/a%00", 404),
    ((), "//", 404),
    ((), "/" + "x" * 600, 404),
    ((), "/?" + "x" * 4096, 414),
    (("-X", "POST"), "/", 405),
    (("-X", "DELETE"), "/", 405),
    (("-X", "OPTIONS"), "/", 405),
    (("-H", "X: " + "x" * 8300), "/", 431),
    (tuple(w for n in range(61) for w in ("-H", f"X-{n}: y")), "/", 431)])
def test_statuses(site, words, path, status):
    version, got, fields, body = site.curl(path, *words)
    assert (version, got) == ("HTTP/2", status)
    assert fields.get("allow") == ("GET, HEAD" if status == 405 else None)
    assert int(fields["content-length"]) == len(body) or "--head" in words
    assert "connection" not in fields and "server" not in fields


def test_choices(site):
    """Language, coding and what the browser has already."""
    french = site.curl("/", "-H", "Accept-Language: de, fr;q=0.5")
    assert french[2]["content-language"] == "fr" and b'lang="fr"' in french[3]
    packed = site.curl("/", "-H", "Accept-Encoding: gzip;q=0.5, br")
    assert packed[2]["content-encoding"] == "br" and len(packed[3]) < len(site.curl("/")[3])
    same = site.curl("/", "-H", f"If-None-Match: {french[2]['etag']}, \"x\"", "-H",
                     "Accept-Language: fr")
    assert same[1] == 304 and same[3] == b""


def test_counted(site):
    site.server.stop()
    port = free_port()
    site.program.set("TRANSPORT", "metrics", f"127.0.0.1:{port}")
    site.server = site.program.start()
    lines = len(site.server.wait("info start threads=", site.server.err).err)
    for path in ("/", "/contact", "/nothing"):
        site.curl(path)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as c:
        c.request("GET", "/metrics")
        text = c.getresponse().read().decode()
    found = dict(re.findall(r'simplex_smp_web_answers_total\{status="(\dxx)"\} (\d+)', text))
    assert found == {"2xx": "2", "3xx": "0", "4xx": "1", "5xx": "0"}
    assert site.server.err[lines:] == []


def test_plain_port(ready):
    """There HTTP/2 is not spoken, whatever a client knows beforehand."""
    port = free_port()
    ready.set("WEB", "http", port)
    ready.start()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as s:
        s.sendall(BEGIN)
        assert s.makefile("rb").read().startswith(b"HTTP/1.1 4")


# ---- hostile ----


def request(stream, head=HEAD):
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, head)


FLOODS = {
    "ping": frame(PING, 0, 0, bytes(8)) * 5000,
    "ping-acks": frame(PING, ACK, 0, bytes(8)) * 5000,
    "settings": frame(SETTINGS) * 5000,
    "window": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 5000,
    "priority": b"".join(frame(2, 0, 2 * n + 1, bytes(5)) for n in range(5000)),
    "unknown": frame(0x77) * 10000,
    "big-unknown": frame(0x77, 0, 0, bytes(16384)) * 100,
    "empty-data": frame(HEADERS, END_HEADERS, 1, HEAD) + frame(DATA, 0, 1) * 10000,
    "rapid-reset": b"".join(request(2 * n + 1) + frame(RST_STREAM, 0, 2 * n + 1, bytes([0, 0, 0, 8]))
                            for n in range(5000)),
    "made-to-reset": b"".join(
        frame(HEADERS, END_HEADERS, 2 * n + 1, HEAD)
        + frame(WINDOW_UPDATE, 0, 2 * n + 1, b"\x7f\xff\xff\xff") for n in range(5000)),
    "malformed": b"".join(request(2 * n + 1, HEAD[:2]) for n in range(5000)),
    "continuation": frame(HEADERS, END_STREAM, 1, HEAD) + frame(CONTINUATION, 0, 1) * 10000,
    "long-head": frame(HEADERS, END_STREAM, 1, HEAD)
                 + frame(CONTINUATION, 0, 1, field(b"x", b"y" * 120) * 100) * 50,
    "table-bomb": b"".join(request(2 * n + 1, HEAD + b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000
                                   + b"\xbe" * 10000) for n in range(300)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(site, name):
    """Who asks for nothing, or too much, is told so and closed; clients and other browsers do not
    notice."""
    with site.smp() as conn:
        queue = Queue.create(conn)
        with site.dial() as tls:
            sender = threading.Thread(target=send_all, args=(tls, BEGIN + FLOODS[name]))
            sender.start()
            codes = [payload[4:8] for kind, _, _, payload in read_frames(tls) if kind == GOAWAY]
            sender.join(TIMEOUT)
            assert not sender.is_alive()
        # What was sent on when the connection was closed may have cost the last frames.
        assert set(codes) <= {CALM, bytes(4), struct.pack(">I", 1)}
        assert queue.send(conn, b"still there").raw == b"OK"
    assert site.curl("/")[1] == 200


def send_all(tls, data):
    """Until it is closed."""
    with contextlib.suppress(OSError):
        for at in range(0, len(data), 16384):
            tls.sendall(data[at:at + 16384])


@pytest.mark.parametrize("name", ["ping", "settings", "window", "priority"])
def test_goaway(site, name):
    """Where the browser stops to listen, it hears why."""
    one = FLOODS[name][:len(FLOODS[name]) // 5000]
    with site.dial() as tls:
        tls.sendall(BEGIN)
        for n in range(1001):
            tls.sendall(FLOODS[name][n * len(one):(n + 1) * len(one)])
        codes = [payload[4:8] for kind, _, _, payload in read_frames(tls) if kind == GOAWAY]
    assert codes == [CALM]


def test_last_request(site):
    """A hundred on a connection, as by HTTP/1.1."""
    with site.dial() as tls:
        tls.sendall(BEGIN)
        answered, codes, frames = 0, [], read_frames(tls)
        for n in range(100):
            tls.sendall(request(2 * n + 1, b"\x02\x04HEAD" + HEAD[1:]))
            for kind, _, stream, payload in frames:
                if kind == GOAWAY:
                    codes.append(payload[4:8])
                if kind == HEADERS and stream == 2 * n + 1:
                    answered += 1
                    break
        assert next(frames, None) is None
    assert answered == 100 and codes == [bytes(4)]


def test_many_streams(site):
    """More than sixteen at once are refused, not held."""
    with site.dial() as tls:
        # No window: none of them ends.
        no_window = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
        tls.sendall(PREFACE + no_window + b"".join(request(2 * n + 1) for n in range(30)))
        refused = []
        for kind, _, stream, payload in read_frames(tls):
            if kind == RST_STREAM:
                assert payload == struct.pack(">I", 7)
                refused.append(stream)
                if len(refused) == 14:
                    break
    assert refused == [2 * n + 1 for n in range(16, 30)]


def test_slow(site):
    """Whoever does not say what he wants, or does not take it, is closed, whatever he sends beside;
    nobody waits for him meanwhile."""
    no_window = PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
    ping = frame(PING, 0, 0, bytes(8))
    slow = {
        "silent": b"",
        "half a preface": PREFACE[:10],
        "half a head": BEGIN + frame(HEADERS, END_STREAM, 1, HEAD),
        "idle": BEGIN,
        "no window": no_window + request(1),
        "reads nothing": no_window + request(1) + request(3),
    }
    with contextlib.ExitStack() as stack:
        open_ = {name: stack.enter_context(site.dial()) for name in slow}
        for name, tls in open_.items():
            tls.sendall(slow[name])
        began = time.monotonic()
        while time.monotonic() < began + 5:
            with contextlib.suppress(OSError):
                open_["idle"].sendall(ping)
                open_["no window"].sendall(ping)
            assert site.curl("/")[1] == 200
            site.smp().close()
            time.sleep(0.5)
        for tls in open_.values():
            tls.settimeout(TIMEOUT)
            for _ in read_frames(tls):
                pass


def test_stop(site):
    """Browsers are told that the server goes."""
    with site.dial() as tls:
        tls.sendall(BEGIN + request(1))
        frames = read_frames(tls)
        for kind, flags, _, _ in frames:
            if kind == DATA and flags & END_STREAM:
                break
        site.server.stop()
        assert [payload[4:8] for kind, _, _, payload in frames if kind == GOAWAY] == [bytes(4)]


# ---- load ----


@NEEDS_H2LOAD
def test_load(site):
    """Browsers, a hundred requests each, and clients of the web port who do all that they do."""
    n_done = 0
    with Load(site.port) as load:
        while load.n_done < 3:
            with site.smp() as conn:
                queue = Queue.create(conn)
                assert queue.send(conn, b"hello").raw == b"OK"
                assert queue.open(conn.event()).body == b"hello"
                n_done += 1
    assert n_done > 0


@NEEDS_H2LOAD
def test_conformance_beside_load(ready):
    """The rules of the protocol hold for clients of the web port while browsers load it."""
    for (section, key), value in NO_LIMITS.items():
        ready.set(section, key, value)
    site = Site(ready)
    environment = dict(os.environ, SMP_TEST_ALPN="http/1.1", SMP_TEST_VERSIONS="18")
    with Load(site.port, clients=2) as load:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
             *CONFORMANCE, "--smp-host", "127.0.0.1", "--smp-port", str(site.port),
             "--smp-fingerprint", (ready.config / "fingerprint").read_text().strip()],
            cwd=REPO / "tests" / "conformance", env=environment, capture_output=True, text=True,
            timeout=10 * TIMEOUT, check=False)
    assert done.returncode == 0 and re.search(r"\d\d passed", done.stdout), done.stdout + done.stderr
    assert load.n_done > 0
