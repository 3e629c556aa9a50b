# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the running server may still do on its machine. That all else works inside of the sandbox is
shown by all other tests, which run in it."""

import os
import re
import resource
import socket
import time
from pathlib import Path

import pytest
from program import TIMEOUT, as_nobody, is_dumpable

LINE = re.compile(r"^info sandbox files=(own|all) syscalls=(own|all) core=(on|off) "
                  r"keys=(locked|partly-locked|unlocked)$", re.MULTILINE)


def tasks(server):
    """The kernel's words on each thread: names to values."""
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        yield dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def n_others(server):
    """Threads that are not the server's: ThreadSanitizer has one."""
    return int(b"__tsan_init" in Path(server.process.args[0]).read_bytes())


def wait_until(server, is_good):
    """True of all threads of the server, when the last that was started has run."""
    deadline = time.monotonic() + TIMEOUT
    while sum(not is_good(task) for task in tasks(server)) > n_others(server):
        assert time.monotonic() < deadline, list(tasks(server))
        time.sleep(0.01)


def state(server):
    """What the log says is on."""
    return LINE.search("".join(server.err)).groups()


def test_sandbox(ready):
    """On in each thread; one line says so."""
    ready.set("TRANSPORT", "threads", 2)
    ready.set("TRANSPORT", "metrics", f"127.0.0.1:{ready.port + 1}")
    server = ready.start()
    files, syscalls, core, _ = state(server)
    for task in tasks(server):
        assert task["NoNewPrivs"] == "1"
        assert task["Seccomp"] == ("2" if syscalls == "own" else "0"), task["Name"]
    ports = 1 << 10
    wait_until(server, lambda task: int(task["CapPrm"], 16) & ports == 0 and
               (os.geteuid() == 0 or int(task["CapPrm"], 16) == 0))
    assert core == "off"
    limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    if os.uname().sysname == "Linux" and Path("/sys/kernel/security/landlock").exists():
        assert files == "own"
    server.stop()


def test_others_cannot_look(ready):
    """Not even another process of the same user reads its memory."""
    if os.geteuid() != 0:
        pytest.skip("needs root, which may look at the owner")
    if is_dumpable(ready):
        pytest.skip("sanitizers look at the process as a debugger does")
    server = ready.start(**as_nobody(ready))
    assert os.stat(f"/proc/{server.process.pid}/mem").st_uid == 0
    server.stop()


def test_off(ready):
    """Off, for a debugger; rights are given up all the same."""
    ready.set("PROCESS", "sandbox", "off")
    server = ready.start()
    assert state(server)[:3] == ("all", "all", "on")
    for task in tasks(server):
        assert (task["NoNewPrivs"], task["Seccomp"]) == ("1", "0")
    server.stop()


def locked_kib(server):
    """Memory that is not written to swap."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmLck:\s+(\d+) kB", status).group(1))


@pytest.mark.parametrize("limit, says", [(0, "unlocked"), (65536, "partly-locked"),
                                         (4 << 20, "locked")])
def test_keys_are_locked(ready, limit, says):
    """So far as the limit allows, up to which it is raised; the line says how far."""
    if 0 <= resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] < limit:
        pytest.skip("may not lock so much")

    def prepare():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, limit))
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))

    server = ready.start(preexec_fn=prepare)
    assert state(server)[3] == says
    assert locked_kib(server) <= limit >> 10
    assert (locked_kib(server) >= 1024) == (says == "locked")
    server.stop()


def test_files_of_others(ready, tmp_path_factory):
    """A certificate that leads out of the directories of the start is not read any more."""
    outside = tmp_path_factory.mktemp("outside") / "server.crt"
    server = ready.start()
    if state(server)[0] != "own":
        pytest.skip("no Landlock in this kernel")
    crt = ready.config / "server.crt"
    outside.write_bytes(crt.read_bytes())
    crt.unlink()
    crt.symlink_to(outside)
    server.process.send_signal(1)
    server.wait("reload certificates=kept", server.err)
    assert f"cannot read {crt}: Permission denied" in "".join(server.err)
    server.stop()
    server = ready.start()  # where the link leads is known at a start
    server.process.send_signal(1)
    server.wait("reload certificates=unchanged", server.err)
    server.stop()


def test_journal_elsewhere(ready, tmp_path_factory):
    """journal_path is made, and is one of its own directories."""
    journal = tmp_path_factory.mktemp("disk") / "journal"
    ready.set("STORE_LOG", "journal_path", journal)
    ready.start().stop()
    assert any(journal.iterdir())


def test_pages_elsewhere(ready, tmp_path_factory):
    """static_path is made, with what is above it, and is one of its own directories."""
    pages = tmp_path_factory.mktemp("sites") / "smp" / "www"
    ready.set("WEB", "static_path", pages)
    server = ready.start()
    server.process.send_signal(1)
    server.wait("reload certificates=unchanged", server.err)
    server.stop()
    assert (pages / "index.html").is_file()
    assert not [line for line in server.err if line.startswith("warn web")]


def test_pages_that_cannot_be_made(ready, tmp_path_factory):
    """The warning says why, and nothing else fails."""
    site = tmp_path_factory.mktemp("sites") / "a-file"
    site.write_text("")
    ready.set("WEB", "static_path", site / "www")
    server = ready.start()
    server.wait(f"warn web cannot make {site}", server.err)
    server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_user(ready):
    """Started as root it becomes its user, who makes all files; port 443 is served."""
    ready.set("PROCESS", "user", "nobody")
    ready.set("TRANSPORT", "port", f"{ready.port},443")
    as_nobody(ready)  # who owns the files; it is root who starts
    server = ready.start()
    assert not [line for line in server.err if "runs as root" in line]
    wait_until(server, lambda task: set(task["Uid"].split()) == {"65534"} and
               int(task["CapPrm"], 16) == 0)
    socket.create_connection(("127.0.0.1", 443), timeout=TIMEOUT).close()
    server.stop()
    assert {path.stat().st_uid for path in ready.state.rglob("*")} == {65534}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_no_such_user(ready):
    """It never goes on as root instead."""
    ready.set("PROCESS", "user", "no-such-user")
    assert 'there is no user "no-such-user"' in ready.refuse_start()
