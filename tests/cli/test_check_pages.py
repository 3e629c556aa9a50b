# SPDX-License-Identifier: AGPL-3.0-or-later
"""`smp-server check` as a visitor of the pages that `start` says it serves."""

import contextlib
import datetime
import json
import socket
import ssl
import threading

import pytest
from program import free_port
from web_client import make_pair

ELSEWHERE = "127.0.0.9"  # where the server does not listen


class Site:
    """A server with pages on a port for both and on one without TLS, and what `check` says."""

    def __init__(self, program):
        self.program, self.plain = program, free_port()
        self.crt, self.key = program.config / "web.crt", program.config / "web.key"
        self.settings = {"https": program.port, "http": self.plain, "cert": self.crt,
                         "key": self.key}

    def start(self, host, *, cert_host=None, without=()):
        self.host = host
        make_pair(self.crt, self.key, host=cert_host or host)
        self.program.set("TRANSPORT", "host", host)
        for key, value in self.settings.items():
            if key not in without:
                self.program.set("WEB", key, value)
        self.server = self.program.start()
        self.server.wait("info start threads=", self.server.err)
        return self

    def url(self, is_secure):
        return f"http{'s' if is_secure else ''}://{self.host}:" \
               f"{self.program.port if is_secure else self.plain}/"

    def visit(self, trusted=True):
        """(level, text) of each finding about pages that are fetched."""
        self.program.environment.pop("SSL_CERT_FILE", None)
        if trusted:
            self.program.environment["SSL_CERT_FILE"] = str(self.crt)
        found = json.loads(self.program.run("check", "--json").stdout)
        return [(item["level"], item["text"]) for item in found["items"] if item["name"] == "page"]


@pytest.fixture
def site(ready):
    return Site(ready)


def day_of(site):
    days = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=90)
    return days.strftime("%Y-%m-%d")


@contextlib.contextmanager
def listening(port, serve):
    """Somebody else, where the name of the server leads to."""
    with socket.create_server((ELSEWHERE, port)) as listener:

        def run():
            with contextlib.suppress(OSError):
                while True:
                    conn, _ = listener.accept()
                    with conn, contextlib.suppress(OSError):
                        serve(conn)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def answering(head, body=b""):
    """Answers each request alike."""

    def serve(conn):
        conn.recv(4096)
        conn.sendall(b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
                     % (head, len(body), body))

    return serve


# ---- all in order ----


def test_in_order(site):
    """By name: the page in each language, its certificate, and where the plain port leads."""
    site.start("localhost")
    secure, plain = site.visit()
    assert secure[0] == plain[0] == "ok"
    assert secure[1].startswith(f"{site.url(True)} shows the page of this server in en, fr, ja (at ")
    assert f"), with a certificate for localhost that is valid until {day_of(site)} (" in secure[1]
    assert plain[1].startswith(f"{site.url(False)} leads to {site.url(True)} (at ")


def test_without_tls(site):
    site.start("localhost", without=("https", "cert", "key"))
    [(level, text)] = site.visit()
    assert level == "ok" and text.startswith(f"{site.url(False)} shows the page of this server in en, ")


def test_onion(site):
    """Which Tor finds, and DNS does not."""
    site.start("abc.onion", without=("https", "cert", "key"))
    assert site.visit() == [
        ("ok", f"{site.url(False)} shows the page of this server in en, fr, ja (at 127.0.0.1)")]


def test_not_running(site):
    """Nothing is asked for that nobody serves."""
    site.start("localhost")
    site.server.stop()
    assert site.visit() == []


# ---- the certificate, as browsers take it ----


def test_not_trusted(site):
    """Browsers warn; what is behind the warning is looked at all the same."""
    site.start("localhost")
    warning, page, _ = site.visit(trusted=False)
    assert warning[0] == "warning" and page[0] == "ok"
    assert warning[1].startswith(f"browsers warn of {site.url(True)} (SSL certificate problem: ")
    assert warning[1].endswith(f"get a certificate of an authority for this name into {site.crt}, "
                               "with its whole chain, as simplex-servers-certs does")
    assert "that is valid" not in page[1]


def test_for_another_name(site):
    site.start("localhost", cert_host="www.example.org")
    (level, text), page, _ = site.visit()
    assert level == "warning" and "subject name" in text and "localhost" in text
    assert page[0] == "ok"


def test_another_is_shown(site):
    """What stands before the server has not taken it over."""
    site.start(ELSEWHERE, cert_host="localhost")
    page = (site.program.state / "www" / "index.html").read_bytes()
    old = site.program.root / "old.crt", site.program.root / "old.key"
    make_pair(*old, days=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*old)

    def serve(conn):
        with context.wrap_socket(conn, server_side=True) as tls:
            answering(b"200 OK", page)(tls)

    with listening(site.program.port, serve):
        found = site.visit()
    [text] = [text for level, text in found if "shows a certificate" in text]
    assert text.startswith(f"{site.url(True)} shows a certificate that is valid until ")
    assert f" and that of {site.crt} until {day_of(site)}: " in text


# ---- names and networks ----


def test_unknown_name(site):
    """Said once; what visitors would see is fetched from here."""
    site.start("smp.invalid")
    lost, secure, plain = site.visit()
    assert lost == ("warning", f"smp.invalid cannot be looked up here, so nobody finds {site.url(True)}: "
                    "give this name an address in DNS, or correct [TRANSPORT] host in "
                    f"{site.program.ini}")
    assert secure[0] == plain[0] == "ok"
    assert secure[1].startswith(f"{site.url(True)} shows the page of this server in en, fr, ja (at "
                                "127.0.0.1), with a certificate for smp.invalid that is valid until ")
    assert plain[1] == f"{site.url(False)} leads to {site.url(True)} (at 127.0.0.1)"


def test_not_reached(site):
    site.start(ELSEWHERE, without=("https", "cert", "key"))
    (level, text), page = site.visit()
    assert level == "warning"
    assert text.startswith(f"{site.url(False)} cannot be connected to from here (")
    assert f"let port {site.plain} through firewalls and routers, and see whether {ELSEWHERE} leads" in text
    assert page == ("ok", f"{site.url(False)} shows the page of this server in en, fr, ja (at "
                    "127.0.0.1)")


@pytest.mark.parametrize("serve,said", [
    (answering(b"200 OK", b"welcome"), "{url} shows another page than this server's (at {host}): "
     "{host} leads to another machine or program; correct DNS, or the web server in between"),
    (answering(b"502 Bad Gateway"), "{url} is answered with HTTP 502 (at {host}), and not with the "
     "page of this server: see what else answers by this name and port"),
    (answering(b"302 Found\r\nLocation: https://a.example/\x1b[2J"), "{url} is answered with HTTP "
     "302 to https://a.example/?[2J (at {host}), and not with the page of this server: see what "
     "else answers by this name and port"),
    (lambda conn: conn.sendall(b"SSH-2.0-nothing\r\n"), "{url}: what answers at {host} is no web "
     "server ("),
    (lambda conn: conn.recv(4096), "{url}: what answers at {host} is no web server ("),
    (lambda conn: (conn.recv(4096), conn.recv(1)), "{url} is connected to ({host}) and does not "
     "answer within 5 s: see the server's log and load, or what stands before it")])
def test_somebody_else(site, serve, said):
    """Where the name leads, and the server is not: what is told, and safe for a terminal."""
    site.start(ELSEWHERE, without=("https", "cert", "key"))
    with listening(site.plain, serve):
        [(level, text)] = site.visit()
    assert level == "warning" and text.startswith(said.format(url=site.url(False), host=ELSEWHERE))


def test_no_tls(site):
    site.start(ELSEWHERE, cert_host="localhost", without=("http",))
    with listening(site.program.port, answering(b"200 OK")):
        [(level, text)] = site.visit()
    assert level == "warning"
    assert text.startswith(f"{site.url(True)}: no TLS with what answers at {ELSEWHERE} (")
