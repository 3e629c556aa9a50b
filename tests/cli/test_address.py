# SPDX-License-Identifier: AGPL-3.0-or-later
"""`smp-server address`: what `start` prints, and a QR code that says the same."""

import base64
import hashlib
import os
import pty
import re
import ssl
import subprocess

import pytest
from program import TIMEOUT, as_nobody
from qr_reader import read_qr


def fingerprint(program):
    """As clients compute it."""
    der = ssl.PEM_cert_to_DER_cert((program.config / "ca.crt").read_text())
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode()


def on_terminal(program, *words):
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen([program.binary, *words], env=program.environment,
                            stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 1 << 16)
        except OSError:
            break
    os.close(ours)
    assert done.wait(TIMEOUT) == 0
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("host, port, tail", [
    ("smp.example", "5223,443", "smp.example"),
    ("smp.example", "443,5223", "smp.example:443"),
    ("smp.example, abc.onion", "5223", "smp.example,abc.onion"),
    ("[2001:db8::1]", "5224", "[2001:db8::1]:5224"),
    ("a.example,2001:db8::1", "5224", "a.example,[2001:db8::1]:5224"),
])
def test_address(program, host, port, tail):
    """Fingerprint, password, hosts, and the port unless it is 5223; for programs nothing else."""
    program.init("--password", "pass")
    program.set("TRANSPORT", "host", host)
    program.set("TRANSPORT", "port", port)
    head = program.run("-v").stdout + f"Fingerprint: {fingerprint(program)}\nServer address: "
    for words, address in (([], f"smp://{fingerprint(program)}:pass@{tail}\n"),
                           (["--no-password"], f"smp://{fingerprint(program)}@{tail}\n")):
        assert program.run("address", *words).stdout == address
        assert on_terminal(program, "address", *words) == head + address


def test_same_as_start(ready):
    """Line for line, on a terminal."""
    ready.set("AUTH", "create_password", "pass")
    assert ready.run("start", "-m").stdout.startswith(on_terminal(ready, "address"))


def test_needs_no_key(ready):
    """The online certificate may be anything."""
    for name in ("ca.key", "server.key", "server.crt"):
        (ready.config / name).unlink()
    assert f"smp://{fingerprint(ready)}@" in ready.run("address").stdout


@pytest.mark.parametrize("words, shown", [(["--qr"], ":pass@"), (["--qr", "--no-password"], "@")])
def test_qr(program, words, shown):
    """The code is read again by other means; it has a margin of four modules."""
    program.init("--password", "pass", "-n", "smp.example,abc.onion")
    lines = program.run("address", *words).stdout.splitlines()
    address = f"smp://{fingerprint(program)}{shown}smp.example,abc.onion"
    assert lines[2] == f"Server address: {address}"
    assert read_qr(lines[3:]) == address
    for line in [*lines[3:5], *(x[:4] for x in lines[3:]), *(x[-4:] for x in lines[3:])]:
        assert set(line) == {"█"}
    assert len(lines) <= 3 + 40 and max(map(len, lines[3:])) <= 80


def test_qr_on_a_terminal(program):
    """Black and white, whatever the terminal's colours are."""
    program.init("--no-password", "-n", "smp.example")
    rows = on_terminal(program, "address", "--qr").split("\n")[3:-1]
    plain = [re.fullmatch("\x1b\\[97;40m([█▀▄ ]+)\x1b\\[0m", row).group(1) for row in rows]
    assert read_qr(plain) == f"smp://{fingerprint(program)}@smp.example"


def test_qr_needs_a_host(program):
    """`<hostnames>` is no address for anybody."""
    program.init()
    assert program.run("address").stdout.endswith("@<hostnames>\n")
    assert program.refuse("address", "--qr") == (
        f"Error: the address has no host yet: set [TRANSPORT] host in {program.ini}")


def test_longest_address(program):
    """All that the settings allow still fits."""
    program.init("--password", "p" * 255, "-n", "smp.example")
    program.set("TRANSPORT", "host", ",".join(["x" * 60 + ".onion"] * 15))
    lines = program.run("address", "--qr").stdout.splitlines()
    assert read_qr(lines[3:]) == lines[2].removeprefix("Server address: ")


def test_refusals(program):
    """One line each."""
    assert program.refuse("address") == (
        f"Error: server is not initialized ({program.ini} does not exist): run `smp-server init`")
    program.init()
    assert "takes no argument" in program.refuse("address", "me")
    assert "is unknown or wrongly used" in program.refuse("address", "--qr=no")
    kept = (program.config / "fingerprint").read_text()
    (program.config / "fingerprint").write_text("A" * 43 + "=\n")
    assert "fingerprint is not the fingerprint of" in program.refuse("address")
    (program.config / "fingerprint").write_text(kept)
    (program.config / "ca.crt").write_text("x")
    assert "ca.crt: has no readable certificate" in program.refuse("address")
    (program.config / "ca.crt").unlink()
    assert f"cannot read {program.config}/ca.crt: No such file" in program.refuse("address")


def test_unreadable_settings(program):
    """They are for the user that runs the server."""
    program.init()
    options = as_nobody(program)
    program.ini.chmod(0)
    assert f"cannot read {program.ini}" in program.refuse("address", **options)
