# SPDX-License-Identifier: AGPL-3.0-or-later
"""The directory of the storage is removed or replaced under the server: nothing may be acknowledged
that is in no file any more."""

import shutil
import time
from pathlib import Path

import pytest
from smp import Connection, Queue

PATIENCE = 15


def is_refused(conn):
    """NEW, which every mode has to keep."""
    try:
        Queue.create(conn, subscribe=False)
    except ValueError as error:
        assert "ERR STORE" in str(error)
        return True
    return False


def until_refused(conn):
    """NEW until one is refused; gives how long that took."""
    begun = time.monotonic()
    while not is_refused(conn):
        assert time.monotonic() - begun < PATIENCE, "it goes on acknowledging"
        time.sleep(0.1)
    return time.monotonic() - begun


def lines_said(server):
    """What the log says of it; a line may come later than the refusal."""
    begun = time.monotonic()
    while True:
        said = [line for line in server.stderr if "storage-gone" in line]
        if said or time.monotonic() - begun > PATIENCE:
            return said
        time.sleep(0.05)


def remove(server):
    """All of the state, also what the server is just writing there."""
    shutil.rmtree(server.state.rename(server.state.with_name("old")))


def replace(server):
    """By a copy."""
    copy = server.state.with_name("copy")
    shutil.copytree(server.state, copy)
    server.state.rename(server.state.with_name("old"))
    copy.rename(server.state)


def remove_log(server):
    """The store log alone."""
    (server.state / "smp-server-store.log").unlink()


def replace_log(server):
    """By what an editor or `sed -i` writes."""
    log = server.state / "smp-server-store.log"
    shutil.copy(log, f"{log}.edited")
    Path(f"{log}.edited").rename(log)


def remove_segments(server):
    """To make room."""
    for path in (server.state / "journal").glob("*.journal"):
        path.unlink()


def replace_journal(server):
    """By an empty one."""
    (server.state / "journal").rename(server.state / "journal.old")
    (server.state / "journal").mkdir()


@pytest.mark.parametrize("store, change", [
    ("memory", remove), ("memory", replace), ("memory", remove_log), ("memory", replace_log),
    ("journal", remove), ("journal", replace), ("journal", replace_log),
    ("journal", replace_journal), ("journal", remove_segments)])
def test_gone(own_server, store, change):
    """It is noticed within seconds, said once with the path, and everything is refused from then
    on; what is connected stays so."""
    server = own_server({("STORE_LOG", "prometheus_interval"): 1}, store=store)
    with Connection(server.address, 20) as conn:
        queue = Queue.create(conn, subscribe=False)
        assert queue.send(conn, b"x").raw == b"OK"
        change(server)
        assert until_refused(conn) < 10
        assert is_refused(conn)
        if store == "journal":
            assert queue.send(conn, b"x").raw.startswith(b"ERR STORE")
        conn.ping()
    said = lines_said(server)
    assert len(said) == 1 and str(server.state) in said[0], server.output()
    server.kill()
