# SPDX-License-Identifier: AGPL-3.0-or-later
"""`smp-server cert`: new online certificates for the same identity."""

import os
import re
import shutil
import signal
import ssl
import stat
import subprocess
import time

import pytest
from golden import check_golden, normalize
from program import TIMEOUT, as_nobody, expire
from smp_client import drain, fill

REPLACED = {"server.key", "server.crt"}


def openssl(*words):
    """Output of the openssl program."""
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True,
                          check=True).stdout


def names_of(text):
    """Subject and algorithm that `openssl x509 -text` shows of server.crt."""
    subject = re.search(r"Subject: CN ?= ?(\S+)$", text, re.MULTILINE)[1]
    return subject, next(a for a in ("ED25519", "ED448") if f"Public Key Algorithm: {a}" in text)


def contents(program):
    """The configuration directory: names to contents."""
    return {p.name: p.read_bytes() for p in program.config.iterdir()}


@pytest.mark.parametrize("words, host, algorithm", [
    ([], "a.example", "ED448"),
    (["-a", "ED25519"], "a.example", "ED25519"),
    (["--sign-algorithm=ED448", "--cn", "b.example"], "b.example", "ED448"),
    (["--cn=192.0.2.1"], "192.0.2.1", "ED448"),
])
def test_new_certificate(program, words, host, algorithm):
    """Host and algorithm stay unless others are asked for; key and certificate are new."""
    program.init("-n", "a.example", "-a", "ED448")
    before = contents(program)
    assert program.run("cert", *words).stderr == ""
    after = contents(program)
    assert {name for name in after if after[name] != before.get(name)} == REPLACED
    assert set(after) == set(before)
    crt = program.config / "server.crt"
    assert "OK" in openssl("verify", "-CAfile", program.config / "ca.crt", crt)
    text = openssl("x509", "-in", crt, "-noout", "-text")
    assert names_of(text) == (host, algorithm)
    for line in ("CA:FALSE", "Digital Signature, Non Repudiation, Key Agreement",
                 "TLS Web Server Authentication"):
        assert line in text
    program.run("start", "--print-config")


def test_output(program):
    """As the guide shows it."""
    program.init("-n", "a.example")
    check_golden("cert.txt", normalize(program.run("cert").stdout, program))


@pytest.mark.parametrize("told_by", ["SIGHUP", "restart"])
def test_identity_stays(ready, told_by):
    """A client that knows the address connects before and after, and finds its queue."""
    server = ready.start()
    queue = fill(ready, [b"one", b"two"])
    with ready.connect() as client:
        old = client.getpeercert(binary_form=True)
    ready.run("cert")
    with ready.connect() as client:
        assert client.getpeercert(binary_form=True) == old  # until it is told
    if told_by == "SIGHUP":
        server.process.send_signal(signal.SIGHUP)
        server.wait("info reload certificates=new", server.err)
    else:
        server.stop()
        server = ready.start()
    deadline = time.monotonic() + TIMEOUT  # each loop takes it in its own turn
    served = old
    while served == old and time.monotonic() < deadline:
        with ready.connect() as client:
            served = client.getpeercert(binary_form=True)
    assert served != old
    assert drain(ready, queue) == [b"one", b"two"]
    server.stop()


def test_expired_certificate(ready):
    """`start` refuses it and names the remedy, which works."""
    crt = ready.config / "server.crt"
    expire(ready)
    line = ready.refuse_start()
    assert line.startswith(f"Error: {crt}: expired on ")
    assert line.endswith(": make a new one with `smp-server cert`")
    ready.run("cert")
    ready.run("start", "-m")
    assert ssl.PEM_cert_to_DER_cert(crt.read_text())


def test_offline_copy(program):
    """Where the CA key is kept there are only files of the configuration, not even settings."""
    program.init("-n", "a.example")
    program.ini.unlink()
    shutil.rmtree(program.state)
    (program.config / "fingerprint").unlink()
    program.run("cert")
    assert not program.state.exists()
    program.environment.pop("SMP_SERVER_LOG_PATH")
    program.run("cert")
    assert (program.config / "fingerprint").stat().st_size == 45


def test_mode_and_owner_stay(program):
    """Whoever runs the command: the server must be able to read its key."""
    program.init()
    for name in REPLACED:
        (program.config / name).chmod(0o640)
    if os.geteuid() == 0:
        as_nobody(program)
    before = {name: (program.config / name).stat() for name in REPLACED}
    program.run("cert")
    for name, old in before.items():
        new = (program.config / name).stat()
        assert (new.st_uid, new.st_gid) == (old.st_uid, old.st_gid)
        assert stat.S_IMODE(new.st_mode) == 0o640


def refuse(program, *words, **options):
    """`cert` that must fail and leave all files as they are; gives its one line."""
    before = contents(program) if program.config.exists() else None
    line = program.refuse("cert", *words, **options)
    assert (contents(program) if program.config.exists() else None) == before
    return line


@pytest.mark.parametrize("words, message", [
    (["-a", "RSA"], "--sign-algorithm must be ED25519 or ED448, not \"RSA\""),
    (["--cn", ""], "--cn must be one host name or address of at most 64 characters, not \"\""),
    (["--cn", "a b"], "--cn must be one host name"),
    (["--cn", "a,b"], "--cn must be one host name"),
    (["--cn", "x" * 65], "--cn must be one host name"),
    (["--cn"], "option --cn needs a value: see `smp-server cert -h`"),
    (["-y"], "option -y of `smp-server cert` is unknown"),
    (["word"], "`smp-server cert` takes no argument \"word\""),
])
def test_bad_options(program, words, message):
    """One line, and nothing changes."""
    program.init()
    assert message in refuse(program, *words)


def test_no_server(program):
    """Says where it looked."""
    assert refuse(program) == (
        f"Error: there is no server in {program.config} ({program.config}/ca.crt does not exist): "
        "run `smp-server init`, or set SMP_SERVER_CFG_PATH")


def test_no_ca_key(program):
    """It is kept offline, as the operator was told."""
    program.init()
    (program.config / "ca.key").unlink()
    assert refuse(program) == (
        f"Error: {program.config}/ca.key does not exist: only it can sign a new certificate; if "
        "you keep it elsewhere, put it back for this command")


@pytest.mark.parametrize("missing, cert", [
    (["server.key"], []), (["server.crt"], ["-a", "ED448", "--cn", "HOST"]),
    (["server.key", "server.crt"], ["-a", "ED448", "--cn", "HOST"])])
def test_missing_certificate(ready, missing, cert):
    """start, check and cert name the command that makes it anew; it does."""
    for name in missing:
        (ready.config / name).unlink()
    words = " ".join(["smp-server cert", *cert])
    line = ready.refuse_start()
    # the certificate is read first
    first = "server.crt" if "server.crt" in missing else "server.key"
    assert line == (f"Error: cannot read {ready.config}/{first}: No such file or directory: make a "
                    f"new one with `{words}` (it needs ca.key; the address stays), or restore it "
                    "from your backup")
    assert line.removeprefix("Error: ") in ready.run("check", status=1).stdout
    if cert:
        assert refuse(ready) == (
            f"Error: {ready.config}/server.crt does not exist, so its successor has to be told all: "
            "pass both -a (ED25519 or ED448) and --cn")
    ready.run("cert", *(w.replace("HOST", "a.example") for w in cert))
    ready.start().stop()


def other_server(program):
    """The configuration directory of another server."""
    ours = program.root / "ours"
    program.config.rename(ours)
    program.init("--no-password")
    theirs = program.root / "theirs"
    program.config.rename(theirs)
    ours.rename(program.config)
    return theirs


@pytest.mark.parametrize("name, message", [
    ("ca.key", "ca.key is not the private key of {0}/ca.crt: bring back the one that belongs"),
    ("ca.crt", "ca.key is not the private key of {0}/ca.crt: bring back the one that belongs"),
    ("fingerprint", "fingerprint is not the fingerprint of {0}/ca.crt"),
])
def test_mix_up(program, name, message):
    """A file of another server."""
    program.init()
    shutil.copy(other_server(program) / name, program.config / name)
    assert message.format(program.config) in refuse(program)


def test_other_ca(program):
    """CA key and certificate that belong together, but are not this server's."""
    program.init()
    theirs = other_server(program)
    for name in ("ca.key", "ca.crt"):
        shutil.copy(theirs / name, program.config / name)
    assert f"{program.config}/fingerprint is not the fingerprint of" in refuse(program)


@pytest.mark.parametrize("name, message", [
    ("ca.key", "ca.key is not the private key of"),
    ("ca.crt", "ca.crt has no readable certificate of a server's CA"),
    ("server.crt", "server.crt does not say how its successor should be: pass both -a and --cn"),
])
def test_damaged_file(program, name, message):
    """Named, with a remedy; an online certificate is not needed when all is said."""
    program.init()
    (program.config / name).write_text("nonsense\n")
    assert message in refuse(program)
    if name == "server.crt":
        program.run("cert", "-a", "ED25519", "--cn", "a.example")
        program.run("start", "--print-config")


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "server.crt"])
def test_unreadable_file(program, name):
    """As another user than root."""
    program.init()
    options = as_nobody(program)
    (program.config / name).chmod(0)
    try:
        line = program.refuse("cert", **options)
    finally:
        (program.config / name).chmod(0o600)
    path = program.config / name
    if options:
        assert line == (f"Error: cannot read {path}: Permission denied: it has the mode 0000: "
                        f"`chmod u+rw {path}`")
    else:
        assert line.startswith(f"Error: cannot read {path}: Permission denied: ")


def test_unwritable_directory(program):
    """Nothing is half new."""
    program.init()
    options = as_nobody(program)
    program.config.chmod(0o555)
    line = refuse(program, **options)
    assert line == (f"Error: cannot write {program.config}/server.key: Permission denied: "
                    f"{program.config} has the mode 0555: `chmod u+rwx {program.config}`")


def test_link(program):
    """It is not replaced, and what it points to neither."""
    program.init()
    elsewhere = program.root / "server.key"
    (program.config / "server.key").rename(elsewhere)
    (program.config / "server.key").symlink_to(elsewhere)
    assert refuse(program) == (f"Error: {program.config}/server.key is not a regular file: put one "
                               "in its place")
