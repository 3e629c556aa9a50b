# SPDX-License-Identifier: AGPL-3.0-or-later
"""SIGHUP: certificates and settings are read again, and nobody is disconnected."""

import shutil
import signal
import socket
import time

import pytest
from program import TIMEOUT, openssl
from smp_client import connect

from smp import Queue


def reload(server):
    """SIGHUP, waits until it was dealt with, and gives the lines that it wrote."""
    server.wait("info start threads=", server.err)  # the last that a start says
    before = len(server.err)
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + TIMEOUT
    while not any(" reload certificates=" in line for line in server.err[before:]):
        assert time.monotonic() < deadline, "".join(server.err)
        time.sleep(0.01)
    return "".join(server.err[before:])


def wait_until(check):
    """Each loop takes news over in its own time."""
    deadline = time.monotonic() + TIMEOUT
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sign_server_crt(program):
    """Another online certificate for server.key."""
    cfg = program.config
    request = program.root / "server.csr"
    openssl("req", "-new", "-key", cfg / "server.key", "-subj", "/CN=127.0.0.1", "-out", request)
    openssl("x509", "-req", "-days", "10", "-in", request, "-CA", cfg / "ca.crt",
            "-CAkey", cfg / "ca.key", "-set_serial", time.time_ns(), "-out", cfg / "server.crt")


def new_key(program, algorithm="ED25519"):
    """Another online key and its certificate."""
    openssl("genpkey", "-algorithm", algorithm, "-out", program.config / "server.key")
    sign_server_crt(program)


def other_identity(program):
    """The files of another server, in the same directory."""
    old = program.root / "old"
    old.mkdir()
    for path in list(program.config.iterdir()):
        path.rename(old / path.name)
    program.init()
    shutil.copy(old / "smp-server.ini", program.ini)


def served_certificate(program):
    """The online certificate that a new client gets."""
    with program.connect() as client:
        return client.getpeercert(binary_form=True)


def may_create(program, password=None):
    """Whether a new client can make a queue."""
    with connect(program, password) as conn:
        try:
            Queue.create(conn, subscribe=False)
        except ValueError as error:
            assert "ERR AUTH" in str(error)
            return False
    return True


# ---- certificates ----


def test_unchanged(ready):
    """Nothing happens."""
    server = ready.start()
    before = served_certificate(ready)
    assert reload(server) == "info reload settings=unchanged\ninfo reload certificates=unchanged\n"
    assert served_certificate(ready) == before
    server.stop()


@pytest.mark.parametrize("renew", [sign_server_crt, new_key, lambda p: new_key(p, "ED448")],
                         ids=["same_key", "new_key", "other_algorithm"])
def test_new_certificate(ready, renew):
    """New clients get it, in TLS and in the SMP handshake; those that are connected stay, also one
    that is between the two; more than once."""
    server = ready.start()
    seen = {served_certificate(ready)}
    with connect(ready) as old:
        queue = Queue.create(old, subscribe=False)
        for _ in range(3):
            renew(ready)
            assert "info reload certificates=new\n" in reload(server)
            wait_until(lambda: served_certificate(ready) not in seen)
            seen.add(served_certificate(ready))
            with connect(ready) as new:  # compares the certificates of both handshakes
                assert queue.send(new, b"hello").raw == b"OK"
        assert queue.send(old, b"hello").raw == b"OK"
    assert len(seen) == 4
    server.stop()


@pytest.mark.parametrize("damage, reason", [
    (lambda p: (p.config / "server.crt").write_text("x"), "server.crt"),
    (lambda p: (p.config / "server.key").unlink(), "server.key"),
    (lambda p: (p.config / "fingerprint").write_text("x\n"), "is not the fingerprint of"),
    (other_identity, "is of another identity"),
])
def test_bad_certificate(ready, damage, reason):
    """The old certificates stay, one line says why."""
    server = ready.start()
    before = served_certificate(ready)
    ca = (ready.config / "ca.crt").read_text()
    damage(ready)
    lines = reload(server)
    assert "error reload certificates=kept reason=" in lines and reason in lines
    (ready.config / "ca.crt").write_text(ca)
    assert served_certificate(ready) == before
    server.stop()


# ---- settings ----


def test_password(ready):
    """A password is set, changed and taken away, under the eyes of a client that stays."""
    ready.set("TRANSPORT", "threads", 3)
    server = ready.start()
    with connect(ready) as conn:
        for password, wrong in ((b"first", None), (b"second", b"first"), (None, None)):
            if password is None:
                text = ready.ini.read_text()
                ready.ini.write_text(text.replace("create_password = second\n", ""))
            else:
                ready.set("AUTH", "create_password", password.decode())
            assert reload(server).startswith("info reload settings=new\n")
            wait_until(lambda: all(may_create(ready, password) for _ in range(6)))
            if wrong is not None:
                assert not any(may_create(ready, wrong) for _ in range(6))
        Queue.create(conn, subscribe=False)
    server.stop()
    assert "first" not in "".join(server.err) and "second" not in "".join(server.err)


def test_new_queues(ready):
    """Off, and on again."""
    server = ready.start()
    for value, may in (("off", False), ("on", True)):
        ready.set("AUTH", "new_queues", value)
        assert "info reload settings=new\n" in reload(server)
        wait_until(lambda: may_create(ready) is may)
    server.stop()


def test_what_needs_a_restart(ready):
    """One line each, each time, until the file says again what is in force."""
    server = ready.start()
    port = ready.port
    ready.set("TRANSPORT", "port", "1234")
    ready.set("LIMITS", "message_ttl", "99")
    ready.set("PROXY", "socks_proxy", "user:secret@localhost:1")
    for _ in range(2):
        assert reload(server) == (
            "warn settings [TRANSPORT] port changed: restart to use it\n"
            "warn settings [PROXY] socks_proxy changed: restart to use it\n"
            "warn settings [LIMITS] message_ttl changed: restart to use it\n"
            "info reload settings=unchanged\ninfo reload certificates=unchanged\n")
    ready.connect(port).close()
    ready.set("TRANSPORT", "port", port)
    assert "port changed" not in reload(server)
    server.stop()


def test_names_need_a_restart(ready):
    """What the resolver is shown is in no line."""
    server = ready.start()
    ready.set("NAMES", "resolver_endpoint", "http://localhost:1")
    ready.set("NAMES", "resolver_auth", "bearer s3cret")
    ready.set("NAMES", "enable", "on")
    said = reload(server)
    for key in ("enable", "resolver_endpoint", "resolver_auth"):
        assert f"warn settings [NAMES] {key} changed: restart to use it\n" in said
    assert "s3cret" not in said
    server.stop()


def test_bad_settings(ready):
    """One line, and all stays as it was, also what was right; certificates are another matter."""
    server = ready.start()
    ready.set("AUTH", "new_queues", "off")
    ready.set("LIMITS", "message_ttl", "never")
    lines = reload(server)
    assert lines.count("error ") == 1 and lines.count("\n") == 2
    assert (f"error reload settings=kept reason=\"{ready.ini}:{ready.line_of('message_ttl =')}: "
            "[LIMITS] message_ttl: \"never\" is not allowed; must be 1 to") in lines
    assert may_create(ready)
    ready.ini.unlink()
    assert "error reload settings=kept reason=" in reload(server)
    assert may_create(ready)
    server.stop()


# ---- what is logged ----


@pytest.mark.parametrize("words, shown", [([], True), (["--log-level", "info"], False)])
def test_log_level(ready, words, shown):
    """The one of the settings, unless the command line has one."""
    server = ready.start(*words)
    ready.set("TRANSPORT", "log_level", "debug")
    assert "info reload settings=new\n" in reload(server)
    server.stop()
    assert any(line.startswith("debug stop step=") for line in server.err) is shown
    assert not any(line.startswith("debug start step=") for line in server.err)


# ---- log_tls_errors ----


def fail_tls(program, data, close=True):
    """A client that does not speak TLS."""
    with socket.create_connection(("127.0.0.1", program.port), TIMEOUT) as sock:
        sock.sendall(data)
        if close:
            sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass


def test_log_tls_errors(ready):
    """Nothing when it is off; a line with the reason, and no address, when it is on."""
    server = ready.start()
    fail_tls(ready, b"GET / HTTP/1.0\r\n\r\n")
    ready.set("TRANSPORT", "log_tls_errors", "on")
    assert "info reload settings=new\n" in reload(server)
    assert "tls_error" not in "".join(server.err)
    fail_tls(ready, b"GET / HTTP/1.0\r\n\r\n")
    server.wait("info tls_error reason=\"http request\"\n", server.err)
    fail_tls(ready, b"")
    server.wait("info tls_error reason=\"closed by the peer\"\n", server.err)
    server.stop()
    assert "127.0.0" not in "".join(server.err)


def test_log_of_tls_errors_is_limited(ready):
    """Whoever connects cannot fill the log: the next line says how many were left out."""
    ready.set("TRANSPORT", "log_tls_errors", "on")
    server = ready.start()
    began = time.monotonic()
    while not any("left_out=" in line for line in server.err):
        fail_tls(ready, b"GET / HTTP/1.0\r\n\r\n")
        assert time.monotonic() - began < TIMEOUT
    seconds = time.monotonic() - began
    server.stop()
    n_lines = sum("tls_error" in line for line in server.err)
    assert n_lines <= 10 * (int(seconds) + 2)
