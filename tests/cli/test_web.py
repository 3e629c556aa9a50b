# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages: on the http port, and as files; what browsers get, and what others do."""

import contextlib
import gzip
import http.client
import os
import re
import signal
import socket
import time

import pytest
from program import free_port

import smp_client

LINKS = ("contact", "invitation", "a", "c", "g", "r", "i")
HOST = "smp.example.org"
CSP = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
       "form-action 'none'; frame-ancestors 'none'")


class Site:
    """A server with pages, and how to ask it."""

    def __init__(self, program, server, port):
        self.program, self.server, self.port = program, server, port
        self.files = program.state / "www"

    def get(self, path="/", method="GET", **headers):
        """(status, headers in small letters, body)"""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(c):
            c.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def raw(self, data):
        """All that comes for these bytes, until the server closes."""
        with self.socket() as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            return read_all(s)


def read_all(s):
    got = b""
    while part := s.recv(65536):
        got += part
    return got


@pytest.fixture
def site(ready):
    """On a free port, without TLS."""
    port = free_port()
    ready.set("TRANSPORT", "host", f"{HOST},abc.onion")
    ready.set("WEB", "http", port)
    return Site(ready, ready.start(), port)


# ---- what browsers get ----


def test_start_tells(site):
    text = "".join(site.server.out)
    assert (f"Serving SMP protocol on port {site.program.port} (TLS)...\n"
            f"Serving static site on port {site.port}...\n"
            f"Page of this server: http://{HOST}:{site.port}/\n") in text


def test_page_is_the_file(site):
    """As the reference's own test has it: byte for byte, and no redirect."""
    status, _, body = site.get("/")
    assert (status, body) == (200, (site.files / "index.html").read_bytes())


def test_fields(site):
    status, headers, body = site.get("/")
    modified, tag = headers.pop("last-modified"), headers.pop("etag")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", modified)
    assert re.fullmatch(r'"[0-9a-f]{16}"', tag) and headers.pop("date")
    assert status == 200 and headers == {
        "content-type": "text/html; charset=utf-8", "content-length": str(len(body)),
        "content-language": "en", "cache-control": "no-cache",
        "vary": "Accept-Encoding, Accept-Language", "content-security-policy": CSP,
        "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


@pytest.mark.parametrize("language", ["en", "fr", "ja"])
def test_languages(site, language):
    mark = f'<html lang="{language}"'.encode()
    for path in ("/", *(f"/{name}{end}" for name in LINKS for end in ("", "/", "/index.html"))):
        status, headers, body = site.get(path, Accept_Language=f"de, {language};q=0.5")
        assert (status, headers["content-language"]) == (200, language) and mark in body, path
    for folder in ("", "/contact"):
        path = f"{folder}/index.{language}.html"
        assert mark in site.get(path, Accept_Language="de")[2], path
        assert mark in (site.files / path[1:]).read_bytes()
    status, headers, body = site.get("/nothing", Accept_Language=language)
    assert (status, headers["content-language"]) == (404, language) and mark in body


def test_codings(site):
    plain = site.get("/")
    zipped = site.get("/", Accept_Encoding="gzip;q=0.5")
    brotli = site.get("/", Accept_Encoding="gzip, deflate, br")
    assert "content-encoding" not in plain[1]
    assert zipped[1]["content-encoding"] == "gzip" and gzip.decompress(zipped[2]) == plain[2]
    assert brotli[1]["content-encoding"] == "br" and len(brotli[2]) < len(zipped[2])
    assert len({r[1]["etag"] for r in (plain, zipped, brotli)}) == 3
    assert "content-encoding" not in site.get("/", Accept_Encoding="br;q=0, gzip;q=0")[1]


def test_revalidation(site):
    for path in ("/", "/contact", "/.well-known/assetlinks.json"):
        _, headers, _ = site.get(path, Accept_Encoding="gzip")
        for tags in (headers["etag"], f'"x", W/{headers["etag"]}', "*"):
            status, again, body = site.get(path, Accept_Encoding="gzip", If_None_Match=tags)
            assert (status, body, again["etag"]) == (304, b"", headers["etag"]), tags
        assert site.get(path, If_None_Match=headers["etag"])[0] == 200 # another coding


def test_head(site):
    whole, head = site.get("/"), site.get("/", method="HEAD")
    assert (head[0], head[2]) == (200, b"")
    assert head[1]["content-length"] == str(len(whole[2]))


def test_media(site):
    """What a page names is there, and may be kept for ever."""
    for page in ("/", "/contact"):
        for path in set(re.findall(rb'/media/[^"\')]+', site.get(page)[2])):
            status, headers, body = site.get(path.decode())
            assert status == 200 and body
            assert headers["cache-control"] == "public, max-age=31536000, immutable"
            assert (site.files / path.decode()[1:]).read_bytes() == body


def test_well_known(site):
    for name in ("apple-app-site-association", "assetlinks.json"):
        for folder in (".well-known", "well-known"):
            status, headers, body = site.get(f"/{folder}/{name}")
            assert (status, headers["content-type"]) == (200, "application/json")
            assert headers["cache-control"] == "max-age=86400"
            assert (site.files / folder / name).read_bytes() == body


@pytest.mark.parametrize("path", [
    "/nothing", "/index", "/media", "/media/", "/media/style.css", "/contact/x", "/.smp-server-files",
    "/..", "/../etc/passwd", "/media/../index.html", "/%2e%2e/x", "/.%2e/x", "/a%5cb", "/%00",
    "//", "/a//", "/%2fetc/passwd", "/.well-known/", "/.well-known/x", "/" + "x" * 1000, "/%zz"])
def test_not_there(site, path):
    status, headers, body = site.get(path)
    assert status == 404 and "etag" not in headers and b"<html" in body


def test_own_files_only(site):
    """What others put into the directory is theirs to serve."""
    (site.files / "mine.html").write_text("mine")
    assert site.get("/mine.html")[0] == 404


# ---- certificates' challenges ----


def test_challenge(site):
    folder = site.files / ".well-known" / "acme-challenge"
    token = "Abc-_09" * 18
    (folder / token).write_text(token + ".thumbprint")
    status, headers, body = site.get(f"/.well-known/acme-challenge/{token}", Host=HOST)
    assert (status, body.decode()) == (200, token + ".thumbprint")
    assert headers["content-type"] == "text/plain" and headers["cache-control"] == "no-store"
    (folder / token).unlink()
    assert site.get(f"/.well-known/acme-challenge/{token}")[0] == 404


def test_bad_challenges(site):
    folder = site.files / ".well-known" / "acme-challenge"
    (folder / "long").write_text("x" * 1025)
    (folder / "with.dot").write_text("x")
    (folder / ("x" * 129)).write_text("x")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(site.program.ini)
    os.mkfifo(folder / "pipe")
    for name in ("long", "with.dot", "x" * 129, "folder", "link", "pipe", "", "../assetlinks.json",
                 "%2e%2e%2fassetlinks.json", "folder/x"):
        assert site.get(f"/.well-known/acme-challenge/{name}")[0] == 404, name


# ---- others than browsers ----


# Requests, and how they are answered.
STATUSES = [
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200),
    (b"GET / HTTP/1.0\r\n\r\n", 200),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 413),
    (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 64 + b"\r\n", 431),
    (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505)]


@pytest.mark.parametrize("request_, status", STATUSES)
def test_statuses(site, request_, status):
    answer = site.raw(request_ + b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n"
                      if status >= 400 else request_)
    head, _, _ = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) and b"\r\nconnection: close" in head
    assert (b"\r\nallow: GET, HEAD" in head) == (status == 405)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_silent_end(site):
    """A request that is cut off is answered by nothing."""
    assert site.raw(b"GET / HTTP/1.1\r\nHost: a\r\n") == b""
    assert site.raw(b"") == b""


def test_pipeline(site):
    """Requests sent ahead are answered one after another, a hundred of a connection at most."""
    one = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = site.raw(one * 150)
    assert answer.count(b"HTTP/1.1 200 ") == 100 and answer.count(b"connection: close") == 1


def test_pieces(site):
    with site.socket() as s:
        for byte in b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":
            s.sendall(bytes([byte]))
        assert read_all(s).startswith(b"HTTP/1.1 404 ")


def test_slow_heads(site):
    """Those who dribble are closed after ten seconds, who says nothing more after fifteen, and nobody
    waits for them meanwhile."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(site.socket())
        idle.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        slow = [stack.enter_context(site.socket()) for _ in range(200)]
        for s in slow:
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        while time.monotonic() < began + 5:
            asked = time.monotonic()
            assert site.get("/")[0] == 200
            smp_client.connect(site.program).close()
            assert time.monotonic() - asked < 2
            for s in slow:
                s.sendall(b"X")
            time.sleep(0.5)
        for s in slow:
            assert read_all(s) == b""
        assert 8 < time.monotonic() - began < 25
        assert read_all(idle).startswith(b"HTTP/1.1 200 ")
        assert 14 < time.monotonic() - began < 30


# ---- settings, files, ports ----


def test_reload(site):
    """SIGHUP: the page tells what the settings tell now."""
    site.program.set("INFORMATION", "source_code", "https://example.org/source")
    site.program.set("INFORMATION", "operator", "A & B <c>")
    assert b"A &amp; B" not in site.get()[2]
    site.server.process.send_signal(signal.SIGHUP)
    site.server.wait("settings=new", site.server.err)
    body = site.get()[2]
    assert b"A &amp; B &lt;c&gt;" in body and b"<c>" not in body
    assert (site.files / "index.html").read_bytes() == body


def test_every_text_is_escaped(site):
    """Whatever an operator may write, as text or as a link, in each language."""
    links = ["source_code", "usage_conditions", "condition_amendments", "website"]
    texts = [*links, "operator", "hosting", "admin_email", "complaints_email",
             "admin_pgp_fingerprint", "complaints_pgp_fingerprint"]
    pgp = ["admin_pgp", "complaints_pgp"]  # which are seen as links alone, with their fingerprints
    for begin, keys in (("https://a.example/", texts + pgp), ("", texts), ("javascript:", links)):
        for key in keys:
            site.program.set("INFORMATION", key, f"""{begin}{key}<&"'>""")
        site.server.err.clear()
        site.server.process.send_signal(signal.SIGHUP)
        site.server.wait("settings=new", site.server.err)
        for language in ("en", "fr", "ja"):
            page = site.get("/", Accept_Language=language)[2].decode()
            for key in keys:
                assert f"{begin}{key}&lt;&amp;&quot;&#39;&gt;" in page, (key, language)
            assert "<&" not in page and "&\"" not in page and 'href="javascript' not in page


def test_files(site):
    """What an earlier start wrote and this one does not is removed; what others wrote is not."""
    site.server.stop()
    (site.files / "old.html").write_text("old")
    (site.files / "mine.html").write_text("mine")
    outside = site.program.root / "outside"
    outside.write_text("outside")
    with (site.files / ".smp-server-files").open("a") as listed:
        listed.write(f"old.html\n../../../outside\n{outside}\n")
    (site.files / "index.html").write_text("changed")
    (site.files / "media" / "link").symlink_to(outside)
    site.program.start()
    assert not (site.files / "old.html").exists()
    assert (site.files / "mine.html").read_text() == "mine" and outside.read_text() == "outside"
    assert (site.files / "index.html").read_bytes() == site.get()[2]


def test_files_stay(site):
    """A start that changes nothing writes nothing."""
    site.server.stop()
    before = {p: p.stat().st_mtime_ns for p in site.files.rglob("*") if p.is_file()}
    site.program.start()
    assert before == {p: p.stat().st_mtime_ns for p in site.files.rglob("*") if p.is_file()}


def test_files_cannot_be_written(ready):
    """The relay runs all the same, and the pages are served."""
    port = free_port()
    ready.set("WEB", "http", port)
    ready.state.mkdir(parents=True, exist_ok=True)
    (ready.state / "www").write_text("in the way")
    why = f"{ready.state}/www is not a directory: move it away"
    assert f"cannot write into {ready.state}/www: {why}" in ready.run("check").stdout
    server = ready.start()
    server.wait(f"warn web cannot make {ready.state}/www/.well-known: {why}", server.err)
    assert Site(ready, server, port).get()[0] == 200


def test_port_in_use(ready):
    """The relay runs all the same."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ready.set("WEB", "http", port)
        server = ready.start()
    server.wait(f"warn ports there are no pages on port {port}: port {port} (127.0.0.1) is in use "
                f"by another program: stop it, or set another [WEB] http in {ready.ini}", server.err)
    assert not any("static site" in line for line in server.out)


def test_same_port(ready):
    ready.set("WEB", "http", ready.port)
    assert ready.refuse_start() == (f"Error: [TRANSPORT] port and [WEB] http are both {ready.port}: "
                                    f"set another [WEB] http in {ready.ini}")


def test_no_path(ready):
    """Without static_path there are no pages."""
    port = free_port()
    ready.set("WEB", "http", port)
    ready.ini.write_text(re.sub("^static_path = .*\n", "", ready.ini.read_text(), flags=re.MULTILINE))
    server = ready.start()
    server.wait("warn web [WEB] http and https need static_path", server.err)
    with pytest.raises(ConnectionRefusedError):
        Site(ready, server, port).get()


def test_counted(site):
    """Figures, and no line of the log, for what browsers do."""
    site.server.stop()
    port = free_port()
    site.program.set("TRANSPORT", "metrics", f"127.0.0.1:{port}")
    server = site.program.start()
    server.wait("info start threads=", server.err)  # the last that it says of itself
    lines = len(server.err)
    for path in ("/", "/", "/nothing"):
        site.get(path)
    site.get("/", If_None_Match="*")
    site.raw(b"BREW / HTTP/1.1\r\n\r\n")
    text = Site(site.program, server, port).get("/metrics")[2].decode()
    found = dict(re.findall(r'simplex_smp_web_answers_total\{status="(\dxx)"\} (\d+)', text))
    assert found == {"2xx": "2", "3xx": "1", "4xx": "2", "5xx": "0"}
    assert "simplex_smp_web_refused_total 0" in text
    assert server.err[lines:] == []
