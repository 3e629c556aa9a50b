# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs smp-server in a directory of its own."""

import datetime
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from smp.server import check_sandbox, free_ports

TIMEOUT = 60
BLOCK = 16384
DAY = datetime.timedelta(days=1)
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", re.MULTILINE)
AS_ROOT = re.compile(r"^warn user this runs as root.*\n", re.MULTILINE)
ALL_IS_WELL = "All is well.\n" if os.geteuid() != 0 else "All is well, but for the warnings.\n"


class Server:
    """`start`, running; its output is collected, that of the log without times in `err`."""


    def __init__(self, command, environment, **options):
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        **options)
        self.out, self.err, self.timed = [], [], []
        pipes = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        self.threads = [threading.Thread(target=self.collect, args=pair, daemon=True)
                        for pair in pipes]
        for thread in self.threads:
            thread.start()

    def collect(self, pipe, lines):
        """Thread: keeps what the server prints."""
        for line in pipe:
            if lines is self.err:
                self.timed.append(line)
                line = untimed(line)
                if not line:
                    continue
            lines.append(line)

    def wait(self, text, lines=None):
        """Waits for a line that has this text."""
        lines = self.out if lines is None else lines
        deadline = time.monotonic() + TIMEOUT
        while not any(text in line for line in lines):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no {text!r} in:\n{''.join(self.out + self.err)}")
            time.sleep(0.01)
        return self

    def wait_end(self):
        """The exit status; all output is there."""
        status = self.process.wait(TIMEOUT)
        for thread in self.threads:
            thread.join(TIMEOUT)
        return status

    def stop(self, number=signal.SIGTERM):
        """Orderly stop; gives the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        status = self.wait_end()
        assert status == 0, "".join(self.out + self.err)
        check_sanitizers("".join(self.err))
        return time.monotonic() - began


class Program:
    """The program, its directories below `root`, and the servers that a test started."""

    def __init__(self, binary, root):
        self.binary = str(binary)
        self.root = root
        self.config, self.state = root / "etc" / "smp", root / "var" / "smp"
        self.ini = self.config / "smp-server.ini"
        self.environment = dict(os.environ, SMP_SERVER_CFG_PATH=str(self.config),
                                SMP_SERVER_LOG_PATH=str(self.state))
        self.environment.pop("NOTIFY_SOCKET", None)
        self.port = free_port()
        self.servers = []

    def run(self, *words, status=0, **options):
        """Runs a command to its end; status None: whatever it is."""
        done = subprocess.run([self.binary, *words], env=self.environment, capture_output=True,
                              text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL, check=False,
                              **options)
        check_sanitizers(done.stderr)
        assert status in (None, done.returncode), done.stdout + done.stderr
        done.stderr = untimed(done.stderr)
        return done

    def refuse(self, *words, **options):
        """Runs a command that must fail: status 1, nothing on stdout, one line, which it gives."""
        done = self.run(*words, status=1, **options)
        assert done.stdout == ""
        return one_line(done.stderr)

    def init(self, *words):
        """`init -y`; gives its output."""
        return self.run("init", "-y", *words).stdout

    def start(self, *words, **options):
        """`start`, until the port is served."""
        server = self.launch(*words, **options)
        server.wait(f"Serving SMP protocol on port {self.port} (TLS)...")
        server.wait("creating new queues")
        if not re.search("^sandbox = off", self.ini.read_text(), re.MULTILINE):
            check_sandbox(server.timed)
        return server

    def launch(self, *words, **options):
        """`start`, without waiting."""
        server = Server([self.binary, "start", *words], self.environment, **options)
        self.servers.append(server)
        return server

    def refuse_start(self, *words, **options):
        """`start` that must fail before it serves anybody; gives the last line of its errors."""
        done = self.run("start", *words, status=1, **options)
        assert "Serving" not in done.stdout
        return [line for line in done.stderr.splitlines() if line.startswith("Error: ")][-1]

    def set(self, section, key, value):
        """Sets a key in the ini file, in place of the one that is there."""
        out, inside = [], False
        for line in self.ini.read_text().splitlines():
            if line.startswith("["):
                inside = line == f"[{section}]"
            elif inside and re.match(rf"{key}\s*[:=]", line):
                continue
            out.append(line)
            if line == f"[{section}]":
                out.append(f"{key} = {value}")
        self.ini.write_text("\n".join(out) + "\n")

    def line_of(self, text):
        """The number of the first line of the ini file that begins so."""
        lines = self.ini.read_text().splitlines()
        return 1 + next(i for i, line in enumerate(lines) if line.startswith(text))

    def files(self):
        """All below the root: names to contents (None: a directory)."""
        return {str(p.relative_to(self.root)): p.read_bytes() if p.is_file() else None
                for p in sorted(self.root.rglob("*"))}

    def connect(self, port=None, host="127.0.0.1"):
        """TLS to the server, which must have the right certificates; the hello is read."""
        context = ssl.create_default_context(cafile=self.config / "ca.crt")
        context.check_hostname = False
        # The reference's form, which clients take: without key usage. Python 3.13 asks for it.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols(["smp/1"])
        raw = socket.create_connection((host, port or self.port), TIMEOUT)
        tls = context.wrap_socket(raw)
        got = b""
        while len(got) < BLOCK:
            piece = tls.recv(BLOCK - len(got))
            assert piece, "the server closed"
            got += piece
        return tls

    def end(self):
        """Kills what still runs."""
        for server in self.servers:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()


def untimed(text):
    """Lines of the log without times, and without the warning of each start as root."""
    return AS_ROOT.sub("", TIME.sub("", text))


def as_nobody(program):
    """Options for run(): as a user without rights, who owns what the test has made."""
    if os.geteuid() != 0:
        return {}
    let_others_in(program.root)
    # The program itself may be below a home that nobody else may enter.
    copy = program.root.parent / "smp-server-for-nobody"
    if not copy.exists():
        shutil.copy(program.binary, copy)
    program.binary = str(copy)
    for path in program.root.rglob("*"):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    return {"user": 65534, "group": 65534, "extra_groups": []}


def let_others_in(folder):
    """Opens pytest's folders, which only their user may enter; no folder that was there before."""
    above = Path(tempfile.gettempdir()).resolve()
    for path in (folder, *folder.parents):
        mode = path.stat().st_mode
        if not mode & stat.S_IXOTH:
            if above not in path.parents:
                pytest.skip(f"another user cannot enter {path}: set TMPDIR to a folder open to all")
            path.chmod(mode | stat.S_IXOTH)


def openssl(*words):
    """Runs the openssl program."""
    subprocess.run(["openssl", *map(str, words)], capture_output=True, check=True)


def expire(program):
    """The certificate of the server ended yesterday. Newer openssl programs make none that has."""
    path = program.config / "server.crt"
    old = x509.load_pem_x509_certificate(path.read_bytes())
    ca_key = load_pem_private_key((program.config / "ca.key").read_bytes(), None)
    yesterday = datetime.datetime.now(datetime.timezone.utc) - DAY
    new = x509.CertificateBuilder(
        issuer_name=old.issuer, subject_name=old.subject, public_key=old.public_key(),
        serial_number=7, not_valid_before=yesterday - DAY, not_valid_after=yesterday)
    path.write_bytes(new.sign(ca_key, None).public_bytes(Encoding.PEM))


def one_line(text):
    """The only line of a text."""
    assert text.endswith("\n") and text.count("\n") == 1, text
    return text[:-1]


def is_dumpable(program):
    """Built with AddressSanitizer, which looks for leaks as a debugger does: so the server's own
    user may look too."""
    return b"__asan_init" in Path(program.binary).read_bytes()


def served(program):
    """What `check` says of a port of the server's own: who is not root may not look into it."""
    may_look = os.geteuid() == 0 or is_dumpable(program)
    return "is served" if may_look else "is served (by a process of the server's user)"


def check_sanitizers(text):
    """Raises when a sanitizer reported something."""
    assert "Sanitizer" not in text and "runtime error:" not in text, text


def free_port():
    """A TCP port of 127.0.0.1 that is free now."""
    return free_ports()[0]
