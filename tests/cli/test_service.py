# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the service manager is told: sd_notify(3), and its watchdog."""

import ctypes
import os
import re
import shutil
import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from program import TIMEOUT

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "reference-6.5.5"

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WAIT_ALL_THREADS = 0x40000000


@contextmanager
def manager(program, name=None):
    """The socket of a service manager."""
    name = name or str(program.root / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name)
        sock.settimeout(TIMEOUT)
        program.environment["NOTIFY_SOCKET"] = name.replace("\0", "@")
        yield sock


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(ready, abstract):
    """READY=1 when the ports are served, STOPPING=1 when the stop begins."""
    with manager(ready, f"\0smp-test-{os.getpid()}" if abstract else None) as sock:
        server = ready.start()
        assert sock.recv(100) == b"READY=1"
        server.stop(signal.SIGINT)
        assert sock.recv(100) == b"STOPPING=1"


def test_notify_nowhere(ready):
    """A wrong socket is a warning."""
    ready.environment["NOTIFY_SOCKET"] = str(ready.root / "none")
    server = ready.start()
    server.stop()
    assert any(x.startswith("warn notify state=READY=1") for x in server.err)


def test_notify_unread(ready):
    """A manager that does not read what it is told: the server goes on, and hears signals."""
    with manager(ready) as sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.connect(sock.getsockname())
        other.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                other.send(b"x")
        server = ready.start()
        server.stop()
    assert any(x.startswith("warn notify state=READY=1") for x in server.err)


@contextmanager
def full_disk(program):
    """No room for the messages log."""
    path = program.state / "smp-server-messages.log.new"
    done = threading.Event()

    def keep():
        while not done.wait(0.01):
            with suppress(FileExistsError):
                path.symlink_to("/dev/full")

    path.symlink_to("/dev/full")
    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, None])
def test_stop_waits_for_room(ready, number):
    """The manager is asked for more time; a second signal ends the wait, and so does room. Nor
    does it matter that the server was started with it ignored, as a shell does with `&`."""
    ready.set("STORE_LOG", "store_messages", "memory")
    for log in ("store", "messages"):
        shutil.copy(SAMPLES / "memory" / f"smp-server-{log}.log", ready.state)
    ready.set("STORE_LOG", "expire_messages_on_start", "off")
    with manager(ready) as sock:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        server = ready.start()
        signal.signal(signal.SIGINT, before)
        assert sock.recv(100) == b"READY=1"
        with full_disk(ready):
            server.process.send_signal(signal.SIGTERM)
            assert sock.recv(100) == b"STOPPING=1"
            for _ in range(2):
                found = re.fullmatch(rb"EXTEND_TIMEOUT_USEC=(\d+)", sock.recv(100))
                assert int(found[1]) > 1000000
            if number is not None:
                server.process.send_signal(number)
                assert server.wait_end() == -number
        if number is None:
            assert server.wait_end() == 0
            assert (ready.state / "smp-server-messages.log").read_bytes()
    assert any("no-room-to-save" in x for x in server.err)


def test_reload(ready):
    """Type=notify-reload: when it began, by the clock that systemd compares with, and its end."""
    with manager(ready) as sock:
        server = ready.start()
        assert sock.recv(100) == b"READY=1"
        before = time.monotonic_ns() // 1000000
        server.process.send_signal(signal.SIGHUP)
        found = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=(\d+)", sock.recv(100))
        assert before <= int(found[1]) // 1000 <= time.monotonic_ns() // 1000000
        assert sock.recv(100) == b"READY=1"
        server.stop()


def test_watchdog(ready):
    """Comes again and again, until the end."""
    with manager(ready) as sock:
        ready.environment["WATCHDOG_USEC"] = "200000"
        server = ready.start()
        assert sock.recv(100) == b"READY=1"
        for _ in range(5):
            assert sock.recv(100) == b"WATCHDOG=1"
        server.stop()


@pytest.mark.parametrize("usec, pid", [("200000", "1"), ("", ""), ("0", ""), ("2x", ""),
                                       ("-5", "")])
def test_no_watchdog(ready, usec, pid):
    """It is another process that is watched, or nobody."""
    with manager(ready) as sock:
        ready.environment.update(WATCHDOG_USEC=usec, WATCHDOG_PID=pid)
        server = ready.start()
        assert sock.recv(100) == b"READY=1"
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(100)
        sock.settimeout(TIMEOUT)
        server.stop()
        assert sock.recv(100) == b"STOPPING=1"


def ptrace(request, tid):
    """Whether it worked."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    return libc.ptrace(request, tid, None, None) == 0


def hold_threads(pid):
    """Stops all threads but the main one; gives their ids."""
    tids = [int(p.name) for p in Path(f"/proc/{pid}/task").iterdir() if int(p.name) != pid]
    for tid in tids:
        if not ptrace(PTRACE_SEIZE, tid):
            pytest.skip(f"ptrace(2) is not permitted here: {os.strerror(ctypes.get_errno())}")
    for tid in tids:
        assert ptrace(PTRACE_INTERRUPT, tid)
        os.waitpid(tid, WAIT_ALL_THREADS)
    return tids


def test_watchdog_of_a_hanging_server(ready):
    """While loops hang nobody says that they live, though the main thread does."""
    with manager(ready) as sock:
        ready.environment["WATCHDOG_USEC"] = "200000"
        server = ready.start()
        assert sock.recv(100) == b"READY=1"
        tids = hold_threads(server.process.pid)
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            for _ in range(5):  # those that were sent before, and one after the last answers
                sock.recv(100)
        for tid in tids:
            assert ptrace(PTRACE_DETACH, tid)
        sock.settimeout(TIMEOUT)
        assert sock.recv(100) == b"WATCHDOG=1"
        server.stop()
