# SPDX-License-Identifier: AGPL-3.0-or-later
"""`smp-server check`: a server's files, and a server at an address."""

import base64
import json
import os
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from program import ALL_IS_WELL, as_nobody, free_port, served
from smp_client import drain, fill

from smp.encoding import Reader, short  # found by smp_client
from smp.fake_relay import FakeRelay, Identity, Peer
from smp.keys import x25519_der
from smp.resolver import Answer, Resolver
from smp.socks import SocksServer
from smp.transmissions import batch, unbatch

STEPS = ["connect", "tls", "fingerprint", "handshake", "create", "secure", "send", "receive",
         "acknowledge", "delete"]
ONION = "relayrelayrelayrelayrelayrelayrelayrelayrelayrelayrelay2.onion"
OTHER = "LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI="
SOON = ("--timeout", "3")  # a busy machine needs less for what goes well before


def check(program, *words, status=0, **options):
    """The findings as JSON, whose form is looked at too."""
    done = program.run("check", "--json", *words, status=status, **options)
    found = json.loads(done.stdout)
    levels = [item["level"] for item in found["items"]]
    assert found["ok"] is (status == 0)
    assert found["errors"] == levels.count("error") and found["warnings"] == levels.count("warning")
    assert (found["errors"] == 0) == (status == 0)
    assert done.stderr.startswith("Error: ") == (status != 0)
    users = [item for item in found["items"] if item["name"] == "user"]
    if "user" not in options and os.geteuid() == 0 and found["checked"].endswith(".ini"):
        assert len(users) <= 1 and all("runs as root" in item["text"] for item in users)
        found["items"] = [item for item in found["items"] if item not in users]
        found["warnings"] -= len(users)
    for item in found["items"]:
        assert set(item) - {"ms"} == {"name", "level", "text"}
        assert item["level"] in ("ok", "warning", "error") and item.get("ms", 0) >= 0
    return found


def ports(found):
    """The text on the only port."""
    [text] = [item["text"] for item in found["items"] if item["name"] == "ports"]
    return text


def the(found, level, name):
    """The text of the only finding of this level, which has this name."""
    items = [item for item in found["items"] if item["level"] == level]
    assert [item["name"] for item in items] == [name], found
    return items[0]["text"]


def address(program, host="127.0.0.1", password="", fingerprint=None, port=None):
    """Of the server in this configuration directory."""
    fingerprint = fingerprint or (program.config / "fingerprint").read_text().strip()
    return f"smp://{fingerprint}{password}@{host}:{port or program.port}"


def uri(fake):
    """The address of a fake relay."""
    fingerprint = base64.urlsafe_b64encode(fake.address.identity).decode()
    return f"smp://{fingerprint}@127.0.0.1:{fake.address.port}"


def openssl(*words):
    """Runs the openssl program."""
    subprocess.run(["openssl", *map(str, words)], capture_output=True, check=True)


# ---- files ----


def test_files_in_order(ready):
    """All that is looked at, as text and as JSON; nothing is changed, and no lock is made."""
    before = ready.files()
    found = check(ready)
    assert [item["name"] for item in found["items"]] == [
        "settings", "server", "certificate", "keys", "storage", "space", "ports", "descriptors"]
    assert found["checked"] == str(ready.ini) and found["server_pid"] == 0
    assert found["certificate_days_left"] > 10000
    assert not any("ms" in item for item in found["items"])
    text = ready.run("check").stdout
    assert text.startswith(f"Checking {ready.ini}\n  ok       settings ")
    assert text.endswith("\n" + ALL_IS_WELL)
    assert ready.files() == before


def test_while_the_server_runs(ready):
    """It sees the server and its port, and the server does not notice."""
    server = ready.start()
    for _ in range(2):
        found = check(ready)
        assert found["server_pid"] == server.process.pid
        assert ports(found) == f"port {ready.port} (127.0.0.1) {served(ready)}"
    assert drain(ready, fill(ready, [b"x"])) == [b"x"]
    ready.set("TRANSPORT", "port", 1)
    assert "restart it" in the(check(ready, status=1), "error", "ports")
    server.stop()


def test_all_wrong_settings(ready):
    """Not only the first one; a setting that is not known is a warning."""
    ready.set("TRANSPORT", "threads", "many")  # a wrong port would be 5223, another test's
    ready.set("AUTH", "new_queues", "perhaps")
    ready.set("AUTH", "nonsense", "1")
    found = check(ready, status=1)
    texts = {item["level"]: [] for item in found["items"]}
    for item in found["items"]:
        texts[item["level"]].append(item["text"])
    assert len(texts["error"]) == 2 and len(texts["warning"]) == 1
    assert f"{ready.ini}:{ready.line_of('new_queues')}: [AUTH] new_queues: " in texts["error"][0]
    assert "[TRANSPORT] threads" in texts["error"][1] and "nonsense" in texts["warning"][0]
    assert ready.run("check", status=1).stderr == "Error: 2 errors were found\n"


def test_another_ini(ready, tmp_path):
    """The settings of that file, the certificates of the directory."""
    other = tmp_path / "other.ini"
    port = free_port()
    other.write_text(f"[STORE_LOG]\nenable: off\n[TRANSPORT]\nport: {port}\nbind: 127.0.0.1\n")
    found = check(ready, str(other))
    assert found["checked"] == str(other)
    assert ports(found) == f"port {port} (127.0.0.1) is free"
    missing = tmp_path / "no.ini"
    assert ready.refuse("check", str(missing)) == f"Error: there is no file {missing}"


def test_certificate(ready):
    """One that expires soon, and one that is another server's."""
    cfg = ready.config
    openssl("req", "-new", "-key", cfg / "server.key", "-subj", "/CN=a", "-out", cfg / "a.csr")
    openssl("x509", "-req", "-days", "10", "-in", cfg / "a.csr", "-CA", cfg / "ca.crt",
            "-CAkey", cfg / "ca.key", "-set_serial", "7", "-out", cfg / "server.crt")
    found = check(ready)
    assert found["certificate_days_left"] in (9, 10)
    assert "renew it" in the(found, "warning", "certificate")
    assert ready.run("check").stdout.endswith("All is well, but for the warnings.\n")
    (cfg / "fingerprint").write_text(OTHER + "\n")
    assert "is not the fingerprint of" in the(check(ready, status=1), "error", "certificate")
    (cfg / "server.key").unlink()
    assert "server.key" in the(check(ready, status=1), "error", "certificate")


def test_secrets(ready):
    """Keys, and a password in the settings, that everybody may read."""
    (ready.config / "ca.key").chmod(0o640)
    ready.ini.chmod(0o644)
    check(ready)
    (ready.config / "ca.key").chmod(0o644)
    assert "has the mode 0644" in the(check(ready), "warning", "keys")
    (ready.config / "ca.key").chmod(0o600)
    ready.set("AUTH", "create_password", "pass")
    assert str(ready.ini) in the(check(ready), "warning", "keys")


def test_storage(ready):
    """What would keep the server from starting, or from writing."""
    messages = ready.state / "smp-server-messages.log"
    messages.write_text("x\n")
    assert "store_messages is journal" in the(check(ready, status=1), "error", "storage")
    messages.unlink()
    messages.mkdir()
    assert str(messages) in the(check(ready, status=1), "error", "storage")
    messages.rmdir()
    ready.state.rename(f"{ready.state}2")
    assert "make it as root for the user" in the(check(ready, status=1), "error", "storage")


def test_storage_of_another_user(ready):
    """Rights are those of whoever runs the check."""
    nobody = as_nobody(ready)
    (ready.state / "smp-server-store.log").touch(mode=0o400)
    ready.state.chmod(0o500)
    if nobody:
        os.chown(ready.state / "smp-server-store.log", 65534, 65534)
    assert str(ready.state) in the(check(ready, status=1, **nobody), "error", "storage")
    ready.state.chmod(0o700)
    assert "store.log" in the(check(ready, status=1, **nobody), "error", "storage")


def test_settings_that_are_not_read(ready):
    """Files that a server without storage would leave alone."""
    (ready.state / "smp-server-store.log").write_text("x\n")
    ready.set("STORE_LOG", "store_messages", "memory")
    ready.set("STORE_LOG", "enable", "off")
    assert "is not read" in the(check(ready), "warning", "storage")


@pytest.mark.parametrize("host, bind", [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", None),
                                        ("::1", "::1")])
def test_port_in_use(ready, host, bind):
    """By another program."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with taken:
        ready.set("TRANSPORT", "port", taken.getsockname()[1])
        ready.set("TRANSPORT", "bind", bind or "")
        if bind is None:
            ready.ini.write_text(ready.ini.read_text().replace("bind = \n", ""))
        assert "by another program" in the(check(ready, status=1), "error", "ports")


# ---- a server at an address ----


@pytest.mark.parametrize("store", ["journal", "memory"])
def test_server(ready, store):
    """All steps, each with its time; afterwards there is no queue."""
    ready.set("STORE_LOG", "store_messages", store)
    server = ready.start()
    found = check(ready, address(ready))
    assert [item["name"] for item in found["items"]] == STEPS
    assert all("ms" in item for item in found["items"])
    assert found["checked"] == f"127.0.0.1:{ready.port}" and found["version"] == 20
    text = ready.run("check", address(ready, host="localhost")).stdout
    for name in STEPS:
        assert f"\n  ok       {name} " in text
    server.stop()
    again = ready.start()
    again.wait("info store queues=0 messages=0", again.err)


def test_versions(ready):
    """Every version that the server may be held to."""
    for version in range(6, 21):
        ready.set("LIMITS", "smp_version_max", version)
        server = ready.launch()
        server.wait("creating new queues")
        assert check(ready, address(ready))["version"] == version
        server.process.kill()
        server.wait_end()


def test_password(ready):
    """None, the wrong one and the right one; it is never printed."""
    ready.set("AUTH", "create_password", "correct.horse")
    ready.start()
    text = the(check(ready, address(ready), status=1), "error", "create")
    assert "need a password" in text
    for fail, password in ((True, ":battery.staple"), (False, ":correct.horse")):
        found = check(ready, address(ready, password=password), status=int(fail))
        assert password[1:] not in json.dumps(found)
        if fail:
            assert "password is wrong" in the(found, "error", "create")


def test_no_new_queues(ready):
    """A server that only keeps what it has."""
    ready.set("AUTH", "new_queues", "off")
    ready.start()
    assert "switched off" in the(check(ready, address(ready), status=1), "error", "create")


def test_wrong_fingerprint(ready):
    """The server's is told."""
    ready.start()
    found = check(ready, address(ready, fingerprint=OTHER), status=1)
    assert [item["name"] for item in found["items"]] == STEPS[:3]
    assert (ready.config / "fingerprint").read_text().strip() in the(found, "error", "fingerprint")


def test_nobody_there(ready):
    """A closed port, and a name that does not exist."""
    assert "refused" in the(check(ready, address(ready), status=1), "error", "connect")
    found = check(ready, address(ready, host="no-such-host.invalid"), status=1)
    assert "looked up" in the(found, "error", "connect")
    found = check(ready, address(ready, host=ONION), status=1)
    assert "--socks-proxy" in the(found, "error", "connect")


def test_all_hosts(ready):
    """Each host of an address is tested; one that fails is told, and the others all the same."""
    ready.start()
    found = check(ready, address(ready, host="127.0.0.2,127.0.0.1,localhost"), status=1)
    assert found["checked"] == f"127.0.0.2,127.0.0.1,localhost:{ready.port}"
    hosts = [item["text"] for item in found["items"] if item["name"] == "host"]
    assert hosts == ["127.0.0.2", "127.0.0.1", "localhost"]
    assert "refused" in the(found, "error", "connect")
    assert [item["name"] for item in found["items"]] == [
        "host", "connect", "host", *STEPS, "host", *STEPS]
    found = check(ready, address(ready, host=f"127.0.0.1,{ONION}"))
    assert f"{ONION} is not tested: onion hosts need" in the(found, "warning", "host")


def test_address_of_this_server(ready):
    """As a shell puts it together: what `address` prints is what `check` takes."""
    ready.set("TRANSPORT", "host", "127.0.0.1")
    ready.set("AUTH", "create_password", "correct.horse")
    ready.start()
    check(ready, *ready.run("address").stdout.split())


@pytest.mark.parametrize("word", ["127.0.0.1", "smp.example", "smp.example:5223", "",
                                  OTHER + "@smp.example"])
def test_no_address(ready, word):
    """A host without a fingerprint is no missing file."""
    assert ready.refuse("check", word) == (
        f'Error: "{word}" is neither a settings file nor an address: an address is '
        "smp://FINGERPRINT@HOST, as `smp-server address` prints it")


def test_directory(ready):
    """Where the settings are is not what they are."""
    assert ready.refuse("check", str(ready.config)) == (
        f"Error: {ready.config} is a directory: name the settings file in it, as in "
        f"{ready.config}/smp-server.ini")


def test_silent_server(ready):
    """One that accepts and says nothing: before TLS, after TLS, after the handshake."""
    def mute(peer):
        peer.linger()

    def mute_after_tls(peer):
        peer.start_tls()
        peer.linger()

    def mute_after_hello(peer):
        peer.start_tls()
        peer.hello((6, 8))
        peer.linger()

    def run(script, name, text):
        with FakeRelay(script) as fake:
            found = check(ready, uri(fake), *SOON, status=1)
            assert text in the(found, "error", name)

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, (mute, mute_after_tls, mute_after_hello),
                      ("tls", "handshake", "create"),
                      ("nobody speaks TLS", "says nothing", "no answer")))


def test_no_smp_server(ready):
    """Something else than TLS, TLS without our certificates, TLS with something else inside, and
    versions that we do not speak."""
    def speak(peer):
        peer.raw.sendall(b"220 mail.example ESMTP\r\n")
        peer.linger()

    def hang_up(peer):
        peer.start_tls()

    def babble(peer):
        peer.start_tls()
        peer.tls.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 1000)
        peer.linger()

    def come_from_the_future(peer):
        peer.start_tls()
        peer.hello((90, 99))
        peer.linger()

    for script, name, text in ((speak, "tls", "TLS fails"), (hang_up, "handshake", "closed"),
                               (babble, "handshake", "no SMP handshake"),
                               (come_from_the_future, "handshake", "90 to 99")):
        with FakeRelay(script) as fake:
            assert text in the(check(ready, uri(fake), status=1), "error", name)


def test_expired_certificate(ready):
    """It is told from other failures of TLS."""
    with FakeRelay(lambda peer: peer.start_tls(), Identity(leaf_days=5)) as fake:
        assert "out of its dates" in the(check(ready, uri(fake), status=1), "error", "tls")


class BadServer:
    """Speaks version 8, makes a queue, and answers the rest as `answers` says."""

    def __init__(self, answers):
        self.answers, self.seen = answers, []
        self.deleted = threading.Event()

    def __call__(self, peer):
        peer.start_tls()
        peer.hello((6, 8))
        peer.read()
        while True:
            for data in unbatch(peer.read()):
                reader = Reader(data)
                reader.short()  # authorization
                corr_id, entity, command = reader.short(), reader.short(), reader.tail()
                tag = command.split(b" ")[0].decode()
                self.seen.append(tag)
                if tag == "DEL":
                    self.deleted.set()
                answer = self.answers.get(tag, b"OK")
                if answer is None:
                    return
                peer.write(batch([b"\0" + short(corr_id) + short(entity) + answer]))


IDS = b"IDS " + short(b"r" * 24) + short(b"s" * 24) + short(x25519_der(b"\x09" + bytes(31)))


@pytest.mark.parametrize("tag, answer, name, text, deletes", [
    ("KEY", b"ERR QUOTA", "secure", "ERR QUOTA: queue is full", True),
    ("SEND", b"ERR NEWS\x1b[1m", "send", "ERR NEWS?[1m", True),
    ("SEND", b"PONG", "send", "another answer", True),
    ("SEND", b"???", "send", "cannot be read", True),
    ("SEND", b"OK", "receive", "no answer within 3 s", True),
    ("SEND", None, "send", "closed the connection", False),
    ("NEW", IDS[:-32] + bytes(32), "create", "cannot be used", True),
])
def test_failure_in_between(ready, tag, answer, name, text, deletes):
    """The queue is deleted whatever went wrong, if only the connection is there."""
    script = BadServer({"NEW": IDS, tag: answer})
    with FakeRelay(script) as fake:
        found = check(ready, uri(fake), *SOON, status=1)
        assert text in the(found, "error", name)
        assert script.deleted.is_set() == deletes
        assert [item["name"] for item in found["items"]][-1] == ("delete" if deletes else name)


def test_failure_to_delete(ready):
    """It is an error like others."""
    script = BadServer({"NEW": IDS, "KEY": b"ERR INTERNAL", "DEL": b"ERR AUTH"})
    with FakeRelay(script) as fake:
        found = check(ready, uri(fake), status=1)
    assert [item["name"] for item in found["items"] if item["level"] == "error"] == [
        "secure", "delete"]


def test_wrong_message(ready):
    """A MSG that is not what was sent."""
    message = b"MSG " + short(b"m" * 24) + bytes(16122)

    script = BadServer({"NEW": IDS})
    original = Peer.write

    def write(peer, content):
        if script.seen[-1] == "SEND":
            original(peer, batch([b"\0\0" + short(b"r" * 24) + message]))
        original(peer, content)

    with FakeRelay(lambda peer: run_with(peer, write, script)) as fake:
        found = check(ready, uri(fake), status=1)
    assert "not the one that was sent" in the(found, "error", "receive")
    assert script.deleted.is_set()


def run_with(peer, write, script):
    """The script, with another way to write blocks once there is a command."""
    peer.write = lambda content: write(peer, content) if script.seen else Peer.write(peer, content)
    script(peer)


# ---- SOCKS ----


def test_socks(ready):
    """Through a proxy, by name, onion hosts and others."""
    ready.start()
    with SocksServer(lambda host, port: ("127.0.0.1", ready.port)) as socks:
        found = check(ready, address(ready, host=f"a.example,{ONION}"), "--socks-proxy",
                      f"127.0.0.1:{socks.port}")
        assert found["checked"] == f"a.example,{ONION}:{ready.port}"
        check(ready, address(ready, host="b.example"), f"--socks-proxy=127.0.0.1:{socks.port}")
        assert [host for _, host, _ in socks.asked] == [b"a.example", ONION.encode(), b"b.example"]


def test_socks_without_credentials(ready):
    """As other proxies than Tor want it."""
    ready.start()
    with SocksServer(lambda host, port: ("127.0.0.1", ready.port), method=0) as socks:
        check(ready, address(ready), "--socks-proxy", f"@127.0.0.1:{socks.port}")
        assert socks.offered == [b"\0"]


def test_socks_failures(ready):
    """A proxy that refuses, and none."""
    with SocksServer(reply=b"\5\4\0\1" + bytes(6)) as socks:
        found = check(ready, address(ready), "--socks-proxy", f"127.0.0.1:{socks.port}", status=1)
        assert "does not connect" in the(found, "error", "connect")
    found = check(ready, address(ready), "--socks-proxy", f"127.0.0.1:{ready.port}", status=1)
    assert "proxy cannot be connected to" in the(found, "error", "connect")


# ---- the command line ----


@pytest.mark.parametrize("text, why", [
    ("smp://x@a", "the fingerprint is not"),
    (f"smp://{OTHER}a.example", "there is no @"),
    (f"smp://{OTHER}@a.example:0", "the port is not"),
    (f"smp://{OTHER}:a:b@a.example", "the password has"),
    (f"smp://{OTHER}@", "a host is missing"),
    (f"xftp://{OTHER}@a.example", "it does not begin with smp://"),
])
def test_bad_address(ready, text, why):
    """What is wrong with it, and no JSON."""
    for words in ((text,), (text, "--json")):
        assert f"the address is wrong: {why}" in ready.refuse("check", *words)


def test_usage(ready):
    """Options that make no sense."""
    assert "--timeout must be 1 to 600" in ready.refuse("check", address(ready), "--timeout", "0")
    assert "--timeout must be 1 to 600" in ready.refuse("check", address(ready), "--timeout", "1s")
    for given, shown in (("a:b", "a:b"), ("secret:secret@a:b", "a:b"), ("a\nb", "a?b")):
        assert ready.refuse("check", address(ready), "--socks-proxy", given) == (
            "Error: --socks-proxy must be HOST:PORT, with USER:PASSWORD@ or @ (no credentials) "
            f"before it where that is needed, not \"{shown}\"")
    assert "are for checking a server" in ready.refuse("check", "--timeout", "5")
    assert 'takes no further argument "b"' in ready.refuse("check", str(ready.ini), "b")
    out = ready.run("check", "-h").stdout
    assert out.startswith("Usage: smp-server check [OPTIONS] [FILE.ini|smp://ADDRESS]\n")


def test_ipv6(ready):
    """In brackets."""
    ready.set("TRANSPORT", "bind", "::1")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    ready.start()
    found = check(ready, address(ready, host="[::1]"))
    assert found["checked"] == f"[::1]:{ready.port}"


# ---- names ----


def test_resolver(ready):
    """Asked for its health; what it says makes the server neither better nor worse."""
    ready.set("NAMES", "enable", "on")
    with Resolver() as resolver:
        ready.set("NAMES", "resolver_endpoint", resolver.endpoint)
        ready.set("NAMES", "resolver_auth", "bearer s3cret")
        items = [item for item in check(ready)["items"] if item["name"] == "names"]
        assert [item["text"] for item in items] == [f"the resolver answers ({resolver.endpoint})"]
        assert resolver.requests[0][0] == "/health"
        resolver.health = Answer(b"", 503)
        text = the(check(ready), "warning", "names")
        assert f"GET {resolver.endpoint}/health: HTTP 503" in text
    text = the(check(ready), "warning", "names")
    assert "does not answer" in text and "resolver_endpoint" in text and "s3cret" not in text
