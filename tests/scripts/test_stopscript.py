# SPDX-License-Identifier: AGPL-3.0-or-later
"""simplex-servers-stopscript: what it copies, when, and which copies it removes."""

import gzip
import re
import shutil

import pytest
from service import Service
from smp_client import drain, fill

BODIES = [b"one", b"two"]
LOGS = {"queues": "smp-server-store.log", "messages": "smp-server-messages.log", "stats": "smp-server-stats.log"}


@pytest.fixture(name="stopped", params=["journal", "memory"])
def fixture_stopped(binary, tmp_path, request):
    """A service that has stopped with messages in `one.queue`."""
    one = Service(binary, tmp_path)
    one.init("--no-password")
    one.set("TRANSPORT", "port", one.port)
    one.set("STORE_LOG", "store_messages", request.param)
    one.set("STORE_LOG", "log_stats", "on")
    server = one.start()
    one.queue = fill(one, BODIES)
    server.stop()
    one.copies = one.state / "backups"
    yield one
    one.end()


def run(one, *words, status=0, **variables):
    """As systemd calls it, or as `variables` say."""
    before = dict(one.environment)
    one.environment.update(variables or {"SERVICE_RESULT": "success", "EXIT_STATUS": "0"})
    said = one.script("simplex-servers-stopscript", *(words or ["smp-server"]), status=status)
    one.environment = before
    return said


def test_copies(stopped):
    """Equal to what the server has left, and enough to go on from."""
    assert run(stopped) == ""
    for kind, name in LOGS.items():
        if (stopped.state / name).exists():
            (path,) = (stopped.copies / kind).iterdir()
            assert re.fullmatch(rf"{name}\.20..-..-..T..:..:..\.gz", path.name)
            assert gzip.decompress(path.read_bytes()) == (stopped.state / name).read_bytes()
    shutil.rmtree(stopped.state / "journal", ignore_errors=True)
    for name in LOGS.values():
        (stopped.state / name).unlink(missing_ok=True)
    for kind, name in LOGS.items():
        for path in (stopped.copies / kind).glob("*.gz"):
            (stopped.state / name).write_bytes(gzip.decompress(path.read_bytes()))
    for path in (stopped.copies / "journal").glob("journal.*"):
        shutil.copytree(path, stopped.state / "journal")
        (stopped.state / "journal" / "smp-server-journal.stop").replace(stopped.state / "smp-server-journal.stop")
    (stopped.state / "smp-server-store.log.sums").unlink()
    stopped.start()
    assert drain(stopped, stopped.queue) == BODIES


@pytest.mark.parametrize("variables, copied", [
    ({"SERVICE_RESULT": "success", "EXIT_STATUS": "0"}, True),
    ({"SERVICE_RESULT": "success", "EXIT_STATUS": "TERM"}, False),
    ({"SERVICE_RESULT": "exit-code", "EXIT_STATUS": "1"}, False),
    ({"SERVICE_RESULT": "signal", "EXIT_STATUS": "KILL"}, False),
    ({"NO": "systemd"}, False), ({"DOCKER": "true"}, True)])
def test_when(stopped, variables, copied):
    """After a good stop alone, or in a container."""
    run(stopped, **variables)
    assert stopped.copies.exists() == copied


def test_old_copies(stopped):
    """Those of the newest two days that have any stay, ten at most; other files are left alone."""
    folder = stopped.copies / "queues"
    folder.mkdir(parents=True)
    names = [f"smp-server-store.log.2026-01-{day:02}T0{hour}:00:00" for day in (1, 2, 3) for hour in range(3)]
    for name in (*names, "smp-server-store.log.2025-12-31T00:00:00.gz", "notes.txt"):
        (folder / name).touch()
    run(stopped)
    left = sorted(path.name for path in folder.iterdir())
    assert left[:-1] == ["notes.txt", *names[-3:]] and left[-1].endswith(".gz")
    for hour in range(10, 24):
        (folder / f"smp-server-store.log.2999-01-03T{hour}:00:00").touch()
    run(stopped)
    left = sorted(path.name for path in folder.iterdir())
    assert len(left) == 11 and left[-1].endswith("2999-01-03T23:00:00")


@pytest.mark.parametrize("stopped", ["journal"], indirect=True)
def test_large_journal(stopped):
    """It is not copied where that would keep a server from starting for long, and that is said."""
    said = run(stopped, DOCKER="1", JOURNAL_MB="0")
    assert "simplex-servers-backup" in said or list((stopped.copies / "journal").glob("journal.*"))
    assert (stopped.copies / "queues").exists()


def test_no_room(stopped):
    """A copy that fails is told, leaves no part behind, and is no failure of the stop."""
    gzip_stub = stopped.bin / "gzip"
    gzip_stub.write_text("#!/bin/sh\nexit 1\n")
    gzip_stub.chmod(0o755)
    assert "is the disk full?" in run(stopped)
    assert not list((stopped.copies / "queues").iterdir())


def test_other_servers(stopped):
    """Another server of the reference is its own script's, which install.sh has kept."""
    assert "usage" in run(stopped, "xftp-server", status=2)
    other = stopped.bin / "simplex-servers-stopscript.reference"
    other.write_text('#!/bin/sh\necho "reference $*"\n')
    other.chmod(0o755)
    assert run(stopped, "xftp-server") == "reference xftp-server\n"
