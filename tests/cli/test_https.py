# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages with TLS, on the port of the clients and on one of their own: who gets what, and what
becomes of certificates that are not in order."""

import contextlib
import datetime
import http.client
import os
import re
import shutil
import signal
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from program import DAY, TIMEOUT, free_port
from smp_client import VERSION, connect
from test_reload import wait_until
from test_web import STATUSES
from web_client import (HOST, KINDS, SETTINGS, browser_context, dial, fetch, leaf_of, make_pair,
                        read_frames)

from smp import Address, Connection, Queue
from smp.disk import Disk
from smp.transport import decode_fingerprint
from smp.websocket import NoUpgrade, WebLink

ALPNS = {"none": (), "smp/1": ("smp/1",), "http/1.1": ("http/1.1",), "h2": ("h2",),
         "h2,http/1.1": ("h2", "http/1.1"), "smp/1,h2": ("smp/1", "h2"),
         "smp/1,http/1.1": ("smp/1", "http/1.1"), "foo": ("foo",)}
REFUSED = {"alpn": "no application protocol", "name": "unrecognized name"}


class Web:
    """A program with a certificate for browsers, and its server."""

    def __init__(self, program):
        self.program, self.server = program, None
        self.crt, self.key = program.config / "web.crt", program.config / "web.key"
        self.port = program.port
        program.set("TRANSPORT", "host", f"{HOST},abc.onion")
        for key, value in (("https", self.port), ("cert", self.crt), ("key", self.key)):
            program.set("WEB", key, value)

    def make(self, **options):
        """Files of a new certificate; gives its DER."""
        make_pair(self.crt, self.key, **options)
        return leaf_of(self.crt)

    def start(self):
        self.server = self.program.start()
        self.server.wait("info start threads=", self.server.err)  # the last that it says of itself
        return self

    def reload(self):
        """SIGHUP; gives what is said of the pages."""
        before = len(self.server.err)
        self.server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + TIMEOUT
        while not any(line.split()[1] == "web" for line in self.server.err[before:]):
            assert time.monotonic() < deadline, "".join(self.server.err)
            time.sleep(0.01)
        return "".join(line for line in self.server.err[before:] if line.split()[1] == "web")

    def warnings(self):
        return [line for line in self.server.err if line.startswith("warn")]

    def smp(self, alpn=("smp/1",), server_name=None):
        """A client's session."""
        identity = decode_fingerprint((self.program.config / "fingerprint").read_text())
        return Connection(Address("127.0.0.1", self.program.port, identity), VERSION, alpn=alpn,
                          server_name=server_name)


@pytest.fixture
def web(ready):
    return Web(ready)


def leaf_served(port, **options):
    """DER of the certificate that is shown."""
    with dial(port, **options) as tls:
        return tls.getpeercert(binary_form=True)


def what_is_spoken(web, server_name, alpn):
    """(whose certificate, ALPN, who speaks), or the alert that came."""
    leaves = {leaf_of(web.program.config / "server.crt"): "smp"}
    if web.crt.exists():
        leaves[leaf_of(web.crt)] = "web"
    try:
        with dial(web.port, server_name, alpn) as tls:
            leaf, agreed = leaves[tls.getpeercert(binary_form=True)], tls.selected_alpn_protocol()
            if agreed == "h2" and leaf == "web":
                kind, *_ = next(read_frames(tls))
                return leaf, agreed, "h2" if kind == SETTINGS else "smp"
            if leaf == "web":
                tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return leaf, agreed, "http" if tls.recv(9) == b"HTTP/1.1 " else "smp"
    except ssl.SSLError as e:
        return next(name for name, text in REFUSED.items() if text in str(e))


# By the list of ALPN: what who names a server gets, and who names none.
NAMED = {"none": ("web", None, "http"), "smp/1": ("smp", "smp/1", "smp"),
         "http/1.1": ("web", "http/1.1", "http"), "h2": ("web", "h2", "h2"),
         "h2,http/1.1": ("web", "h2", "h2"), "smp/1,h2": ("web", "h2", "h2"),
         "smp/1,http/1.1": ("web", "http/1.1", "http"), "foo": "alpn"}
NAMELESS = {"none": ("smp", None, "smp"), "smp/1": ("smp", "smp/1", "smp"),
            "http/1.1": ("smp", "http/1.1", "smp"), "h2": ("smp", "h2", "smp"),
            "h2,http/1.1": ("smp", "h2", "smp"), "smp/1,h2": ("smp", "smp/1", "smp"),
            "smp/1,http/1.1": ("smp", "smp/1", "smp"), "foo": "alpn"}


# ---- who gets what ----


def test_shared_port(web):
    web.make()
    web.start()
    for names, alpn in ALPNS.items():
        for server_name in (HOST, "www.example.org", "localhost"):
            assert what_is_spoken(web, server_name, alpn) == NAMED[names], names
        assert what_is_spoken(web, None, alpn) == NAMELESS[names], names


def test_shared_port_without_certificate(web):
    """Whoever may be a client is one; browsers are told that there is nothing for them."""
    web.start()
    for names, alpn in ALPNS.items():
        expected = "name" if {"http/1.1", "h2"} & set(alpn) else NAMELESS[names]
        assert what_is_spoken(web, HOST, alpn) == expected, names
        assert what_is_spoken(web, None, alpn) == NAMELESS[names], names


def test_own_port(web):
    """Names do not matter there; and on the port of the clients they still do not."""
    web.make()
    web.port = free_port()
    web.program.set("WEB", "https", web.port)
    web.start()
    for names, alpn in ALPNS.items():
        expected = {"smp/1": "alpn"}.get(names, NAMED[names])
        for server_name in (HOST, None):
            assert what_is_spoken(web, server_name, alpn) == expected, names
    web.port = web.program.port
    assert what_is_spoken(web, HOST, ("http/1.1",)) == ("smp", "http/1.1", "smp")


def test_tls_1_2(web):
    """Older browsers; no certificate is asked for."""
    web.make(kind="RSA")
    web.start()
    context = browser_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with dial(web.port, context=context) as tls:
        assert tls.version() == "TLSv1.2" and tls.getpeercert(binary_form=True) == leaf_of(web.crt)
        assert tls.cipher()[0] == "ECDHE-RSA-AES128-GCM-SHA256"


@pytest.mark.parametrize("alpn,server_name", [
    ("smp/1", None), ("http/1.1", None), ("h2", None), ("smp/1", HOST)])
def test_clients_of_all_ages(web, alpn, server_name):
    """Apps on the web port, and old ones that name the server, use it as before."""
    web.make()
    web.start()
    with web.smp((alpn,), server_name) as conn:
        assert conn.version == VERSION
        queue = Queue.create(conn)
        assert queue.send(conn, b"hello").raw == b"OK"
        assert queue.open(conn.event()).body == b"hello"


# ---- pages ----


def test_start_tells(web):
    web.make()
    out = "".join(web.start().server.out)
    assert (f"Serving SMP protocol on port {web.port} (TLS)...\n"
            f"Serving static site on port {web.port} (TLS)...\n"
            f"Page of this server: https://{HOST}:{web.port}/\n") in out
    assert web.warnings() == []


def test_start_tells_of_its_own_port(web):
    web.make()
    port, plain = free_port(), free_port()
    web.program.set("WEB", "https", port)
    web.program.set("WEB", "http", plain)
    out = "".join(web.start().server.out)
    assert (f"Serving SMP protocol on port {web.port} (TLS)...\n"
            f"Serving static site on port {port} (TLS)...\n"
            f"Serving static site on port {plain}...\n"
            f"Page of this server: https://{HOST}:{port}/\n") in out


def test_page(web):
    """As on the plain port, and what only makes sense with TLS."""
    web.make()
    web.start()
    status, headers, body = fetch(web.port, "/contact", trusted=web.crt)
    assert (status, body) == (200, (web.program.state / "www/contact/index.html").read_bytes())
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["onion-location"] == "http://abc.onion/contact"
    assert "strict-transport-security" not in headers
    assert fetch(web.port, "/nothing")[0] == 404


def test_statuses(web):
    """The table of the plain port."""
    web.make()
    web.start()
    for request, status in STATUSES:
        with dial(web.port) as tls:
            tls.sendall(request)
            answer = tls.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 %d " % status), request[:60]
        assert b"\r\nconnection: close" in answer and answer.count(b"HTTP/1.1 ") == 1


def test_pipelined(web):
    """Several requests in one record of TLS, of which the socket tells once."""
    web.make()
    web.start()
    padding = b"".join(b"X-%d: %b\r\n" % (n, b"y" * 200) for n in range(9))
    ask = b"GET /nothing HTTP/1.1\r\nHost: x\r\n%b%b\r\n"
    with dial(web.port) as tls:
        tls.sendall(ask % (padding, b"") * 6 + ask % (padding, b"Connection: close\r\n"))
        got = b""
        while piece := tls.recv(65536):
            got += piece
    assert got.count(b"HTTP/1.1 404 Not Found\r\n") == 7


def test_redirect(web):
    """From the plain port, where there is TLS: for this server's own name alone."""
    plain = free_port()
    web.program.set("WEB", "http", plain)
    web.start()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", plain)) as c:

        def ask(host, path="/contact"):
            c.request("GET", path, headers={"Host": host})
            r = c.getresponse()
            r.read()
            return r.status, r.getheader("location")

        assert ask(HOST) == (200, None)
        web.make()
        web.reload()
        assert ask(HOST) == ask(f"{HOST}:{plain}") == (301, f"https://{HOST}:{web.port}/contact")
        assert ask("abc.onion")[0] == ask("www.example.org")[0] == 200
        assert ask(HOST, "/.well-known/acme-challenge/x")[0] == 404


# ---- WebSocket ----


def by_websocket(web, port=None, server_name=HOST, **options):
    """A session of who comes as a browser does, with a challenge; its proof is verified."""
    identity = decode_fingerprint((web.program.config / "fingerprint").read_text())
    address = Address("127.0.0.1", port or web.port, identity)
    link = WebLink(address, server_name=server_name, challenge=os.urandom(32), is_page=True, **options)
    return Connection(address, VERSION, link=link)


@pytest.mark.parametrize("is_shared", [True, False])
def test_websocket(web, is_shared):
    """On the shared port and on one of its own: an ordinary session, beside clients and pages, whose
    hello shows the server's certificate, not that of the pages."""
    web.make()
    port = web.port if is_shared else free_port()
    web.program.set("WEB", "https", port)
    web.start()
    with by_websocket(web, port) as one, by_websocket(web, port) as other, web.smp() as plain:
        for recipient, sender in ((one, plain), (plain, other), (other, one)):
            queue = Queue.create(recipient)
            assert queue.send(sender, b"x" * 5000).raw == b"OK"
            message = queue.next_message(recipient)
            assert message.body == b"x" * 5000
            assert queue.ack(recipient, message.msg_id).raw == b"OK"
        assert fetch(port)[0] == 200
        one.ping()


def test_websocket_refused(web):
    """The next request may be another."""
    web.make()
    web.start()
    link = WebLink(Address("127.0.0.1", web.port, b""), server_name=HOST, raw=True)
    with link, pytest.raises(NoUpgrade) as caught:
        link.upgrade("/", Sec_WebSocket_Version="12")
    assert caught.value.status == 426
    assert (caught.value.fields["sec-websocket-version"], caught.value.fields["upgrade"]) == (
        "13", "websocket")
    assert fetch(web.port, Upgrade="h2c", Connection="Upgrade")[0] == 200


def test_no_websocket_without_tls(web):
    """There is no session id without TLS: the plain port has pages alone."""
    port = free_port()
    web.program.set("WEB", "http", port)
    web.start()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as c:
        c.request("GET", "/contact", headers={
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
        assert c.getresponse().status == 200


def test_websocket_and_new_certificates(web):
    """Sessions go on when both certificates are replaced; new ones are shown the new ones."""
    web.make()
    web.start()
    with by_websocket(web) as before:
        web.program.run("cert")
        web.make()
        web.reload()
        with by_websocket(web) as after:
            assert after.session.hello.chain[0] != before.session.hello.chain[0]
            assert after.session.hello.chain[1] == before.session.hello.chain[1]
            after.ping()
        before.ping()


# ---- certificates ----


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(web, kind):
    leaf = web.make(kind=kind)
    web.start()
    assert leaf_served(web.port, trusted=web.crt) == leaf
    assert fetch(web.port)[0] == 200 and web.warnings() == []


@pytest.mark.parametrize("kind", [("-newkey", "rsa:1024"), ("-newkey", "ed448")])
def test_kinds_that_are_not_taken(web, kind):
    web.make(kind=kind)
    assert check_says_what_start_says(web) == (
        f"{web.key} is of a kind that is not taken: RSA of 2048 bits and more, P-256, P-384 and "
        "Ed25519 are (there is no https until it is in order; see [WEB] cert and key)")


def check_says_what_start_says(web):
    """The one warning of a start; the relay runs, and `check` says the same."""
    web.start()
    [line] = web.warnings()
    with connect(web.program) as conn:
        Queue.create(conn)
    assert "static site" not in "".join(web.server.out)
    text = line.strip().removeprefix("warn web ")
    assert text in web.program.run("check", status=None).stdout
    return text


def test_missing(web):
    assert check_says_what_start_says(web) == (
        f"{web.crt} is not there: get a certificate for browsers (there is no https until it is in "
        "order; see [WEB] cert and key)")


def test_missing_on_a_port_of_its_own(web):
    """Which is left to others then."""
    port = free_port()
    web.program.set("WEB", "https", port)
    assert check_says_what_start_says(web) == (
        f"there are no pages on port {port}: {web.crt} and {web.key} are not both there; get a "
        f"certificate and restart, or remove https in {web.program.ini}")
    with pytest.raises(ConnectionRefusedError):
        dial(port)


def test_mismatched(web):
    web.make()
    make_pair(web.program.root / "other.crt", web.key)
    assert check_says_what_start_says(web).startswith(f"{web.key} is not the key of the certificate (")


def test_no_pem(web):
    web.make()
    web.key.write_text("no key")
    assert check_says_what_start_says(web).startswith(f"{web.key} has no readable private key (PEM")


def test_cut_off(web):
    """A chain that is being written."""
    leaf = web.make()
    text = web.crt.read_text()
    web.crt.write_text(text + text[:200])
    assert check_says_what_start_says(web).startswith(f"{web.crt} has no readable certificate (PEM)")
    web.crt.write_text(text)
    assert "certificate=new" in web.reload()
    assert leaf_served(web.port) == leaf


def test_unreadable(web):
    web.make()
    web.crt.unlink()
    web.crt.mkdir()
    assert check_says_what_start_says(web).startswith(f"cannot read {web.crt}: ")


def expire(web, days, lasts=90):
    """The certificate ends in so many days. openssl programs make none that has ended."""
    old = x509.load_pem_x509_certificate(web.crt.read_bytes())
    key = load_pem_private_key(web.key.read_bytes(), None)
    end = datetime.datetime.now(datetime.timezone.utc) + days * DAY + DAY / 2
    new = x509.CertificateBuilder(
        issuer_name=old.issuer, subject_name=old.subject, public_key=old.public_key(),
        serial_number=x509.random_serial_number(), not_valid_before=end - lasts * DAY,
        not_valid_after=end, extensions=list(old.extensions))
    web.crt.write_bytes(new.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return end


def test_expired(web):
    """Warned of and served."""
    web.make()
    day = expire(web, -3).strftime("%Y-%m-%d")
    web.start()
    assert web.warnings() == [f"warn web {web.crt} has expired, and browsers warn of it: renew it\n"]
    assert leaf_served(web.port) == leaf_of(web.crt)
    found = web.program.run("check").stdout
    assert f"{web.crt} expired on {day}, and browsers warn of it: renew it" in found


def test_not_yet_valid(web):
    """A clock that is behind: the same."""
    web.make()
    day = (expire(web, 90, lasts=87) - 87 * DAY).strftime("%Y-%m-%d")
    web.start()
    why = "browsers warn of it: is the clock of this machine behind?"
    assert web.warnings() == [f"warn web {web.crt} is not valid yet, and {why}\n"]
    assert leaf_served(web.port) == leaf_of(web.crt)
    assert f"{web.crt} is valid only from {day} on, and {why}" in web.program.run("check").stdout


def test_expires(web):
    """From 14 days on it is said."""
    web.make()
    expire(web, 13)
    web.start()
    assert web.warnings() == [f"warn web {web.crt} expires in 13 days: renew it\n"]
    assert f"{web.crt} expires on " in web.program.run("check").stdout
    expire(web, 14)
    assert web.reload() == "info web certificate=new\n"
    found = web.program.run("check").stdout
    assert re.search(rf"certificate of the pages for {HOST}, valid until [\d-]+ \(14 days\)", found)


def test_for_another_name(web):
    web.make(host="www.example.org")
    web.start()
    assert (f"{web.crt} is not for {HOST}, and browsers warn of it: get one for this name"
            in web.program.run("check").stdout)


@pytest.mark.parametrize("host", ["2001:db8::1", "[2001:db8::1]"])
def test_for_an_address(web, host):
    """The certificate has the address without the brackets that a URL needs."""
    web.program.set("TRANSPORT", "host", host)
    web.make(host="2001:db8::1")
    found = web.program.run("check").stdout
    assert "certificate of the pages for [2001:db8::1], valid until " in found
    web.make(host="2001:db8::2")
    assert f"{web.crt} is not for [2001:db8::1], " in web.program.run("check").stdout


def test_metrics(web):
    port = free_port()
    web.program.set("TRANSPORT", "metrics", f"127.0.0.1:{port}")
    web.make()
    end = expire(web, 20)

    def ask():
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as c:
            c.request("GET", "/metrics")
            text = c.getresponse().read().decode()
        name = "simplex_smp_certificate_expiry_timestamp_seconds"
        return dict(re.findall(rf'{name}{{certificate="(\w+)"}} (\d+)', text))

    web.start()
    found = ask()
    assert int(found["web"]) == int(end.timestamp()) and int(found["smp"]) > int(found["web"])
    web.server.stop()
    web.crt.unlink()
    web.start()
    assert set(ask()) == {"smp"}


# ---- certificates that are replaced ----


def test_replaced_under_sessions(web):
    """50 sessions of clients go on, none is disconnected; browsers get the new one."""
    first = web.make()
    web.start()
    sessions = [web.smp(("http/1.1",)) for _ in range(50)]
    assert leaf_served(web.port) == first
    new = web.program.root / "new.crt", web.program.root / "new.key"
    make_pair(*new, kind="RSA")
    second = leaf_of(new[0])
    with dial(web.port) as browser:
        for old, path in zip((web.crt, web.key), new):
            path.replace(old)
        assert web.reload() == "info web certificate=new\n"
        browser.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert browser.recv(12) == b"HTTP/1.1 200"
    wait_until(lambda: leaf_served(web.port) == second)
    for conn in sessions:
        queue = Queue.create(conn)
        assert queue.send(conn, b"still there").raw == b"OK"
        conn.close()


def test_replaced_without_a_signal(web):
    """The same when nobody says so: the files are looked at once a minute, by the clock that is not
    set. The watchdog's interval is how soon the server sees that a minute is over."""
    web.program.environment["WATCHDOG_USEC"] = "200000"
    disk = Disk(web.program)
    first = web.make()
    web.start()
    sessions = [web.smp(("http/1.1",)) for _ in range(50)]
    second = web.make(kind="RSA")
    assert leaf_served(web.port) == first
    disk.set("mono_s", 60)
    web.server.wait("info web certificate=new\n", web.server.err)
    wait_until(lambda: leaf_served(web.port) == second)
    for conn in sessions:
        queue = Queue.create(conn)
        assert queue.send(conn, b"still there").raw == b"OK"
        conn.close()
    assert not any(" reload " in line for line in web.server.err)
    web.server.stop()


def test_half_written(web):
    """The old one is shown until the new one is whole."""
    first = web.make()
    web.start()
    make_pair(web.program.root / "new.crt", web.program.root / "new.key")
    shutil.copy(web.program.root / "new.crt", web.crt)
    assert f"{web.key} is not the key of the certificate" in web.reload()
    assert leaf_served(web.port) == first
    shutil.copy(web.program.root / "new.key", web.key)
    assert web.reload() == "info web certificate=new\n"
    wait_until(lambda: leaf_served(web.port) == leaf_of(web.crt))


def test_renewed_behind_links(web):
    """As certbot keeps them: links in one directory, files in another, out of /etc."""
    live, archive = (web.program.root / "letsencrypt" / name for name in ("live", "archive"))
    for path in (live, archive):
        path.mkdir(parents=True)
    web.crt, web.key = live / "fullchain.pem", live / "privkey.pem"
    web.program.set("WEB", "cert", web.crt)
    web.program.set("WEB", "key", web.key)
    for n in ("1", "2"):
        make_pair(archive / f"fullchain{n}.pem", archive / f"privkey{n}.pem")

    def point_to(n):
        for path in (web.crt, web.key):
            path.unlink(missing_ok=True)
            os.symlink(archive / f"{path.stem}{n}.pem", path)

    point_to("1")
    web.start()
    assert leaf_served(web.port) == leaf_of(archive / "fullchain1.pem")
    point_to("2")
    assert web.reload() == "info web certificate=new\n"


def test_out_of_the_sandbox(web):
    """A directory that was not there at the start cannot be read later."""
    where = web.program.root / "certificates"
    web.crt, web.key = where / "web.crt", where / "web.key"
    web.program.set("WEB", "cert", web.crt)
    web.program.set("WEB", "key", web.key)
    web.start()
    if not any("sandbox files=own" in line for line in web.server.err):
        pytest.skip("a kernel without Landlock")
    where.mkdir()
    web.make()
    assert (f"{web.crt} is out of reach of the sandbox, which knows the directories that were there "
            "at the start: restart smp-server") in web.reload()
    web.server.stop()
    web.start()
    assert leaf_served(web.port) == leaf_of(web.crt)
