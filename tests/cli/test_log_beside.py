# SPDX-License-Identifier: AGPL-3.0-or-later
"""`db_store_log`: the store log that is kept beside the database, as the reference keeps it."""

import os
import resource

import pytest
from database import LOGS
from smp import Notifier, Queue
from smp.keys import make_key
from smp_client import connect

ON = (("store_queues", "database"), ("store_messages", "database"), ("db_store_log", "on"))
SERVES = ("--confirm-migrations", "up")


@pytest.fixture
def beside(database):
    """An empty schema, settings of a server on it with a log; that does not exist yet."""
    database.sql("CREATE SCHEMA smp_server AUTHORIZATION smp")
    for key, value in ON:
        database.program.set("STORE_LOG", key, value)
    database.program.state.mkdir(parents=True, exist_ok=True)
    database.log = database.program.state / LOGS[0]
    return database


def change(program):
    """A change of each kind; a queue that is left, with its link."""
    with connect(program) as conn:
        gone = Queue.create(conn, notifier=Notifier())
        assert gone.key(conn, make_key("ed25519")).raw == gone.off(conn).raw == gone.delete(conn).raw == b"OK"
        queue = Queue.create(conn, mode="C", link=(os.urandom(24), b"fixed", b"user"))
        assert queue.rkey(conn, queue.rcv_key, make_key("ed448")).raw == b"OK"
        Notifier.of(conn, queue)
        assert queue.lset(conn, queue.ids.link_id, b"fixed", b"changed").raw == b"OK"
        plain = Queue.create(conn)
        Notifier.of(conn, plain)
        assert plain.recipient(conn, b"NDEL").raw == plain.key(conn, make_key("x25519")).raw == b"OK"
    return queue


def export(database):
    """What `database export` writes of the queues."""
    path = database.log.with_suffix(".beside")
    database.log.rename(path)
    database.run("export", "--table", "queues")
    text = database.log.read_bytes()
    database.log.unlink()
    path.rename(database.log)
    return text


def records(text):
    """CREATE lines without the day of the last use, in any order."""
    return sorted(b" ".join(word for word in line.split(b" ") if not word.startswith(b"updated_at="))
                  for line in text.splitlines() if line.startswith(b"CREATE"))


def test_each_change_is_a_line(beside):
    """In their order; compacted, it is what an export writes, and a server in memory serves it."""
    program = beside.program
    beside.log.touch()
    server = program.start(*SERVES)
    server.wait(f"Store log: {beside.log}, a copy", server.out)
    queue = change(program)
    server.stop()
    tags = [line.split(b" ")[0].decode() for line in beside.log.read_bytes().splitlines()]
    assert [tag for tag in tags if tag != "TIME"] == [
        "CREATE", "SECURE", "SUSPEND", "DELETE", "CREATE", "KEYS", "NOTIFIER", "LINK", "CREATE", "NOTIFIER", "NDELETE", "SECURE"]
    program.start("--compact-log").stop()
    assert records(beside.log.read_bytes()) == records(export(beside))
    for key in ("store_queues", "store_messages"):
        program.set("STORE_LOG", key, "memory")
    program.start()
    with connect(program) as conn:
        assert conn.request(b"LGET", queue.ids.link_id).user == b"changed"


def test_what_is_refused(beside):
    """No file, with the setting; a file with queues, without it; --compact-log without a file to compact."""
    program = beside.program
    line = program.refuse_start(*SERVES)
    assert f"db_store_log is on, and {beside.log} does not exist" in line
    assert "database export --table queues" in line
    beside.log.touch()
    server = program.start(*SERVES)
    change(program)
    server.stop()
    program.set("STORE_LOG", "db_store_log", "off")
    assert f"there are queues in {beside.log}" in program.refuse_start()
    beside.log.unlink()
    assert "--compact-log: there is no store log beside the database, db_store_log is off" in program.refuse_start("--compact-log")


def test_a_torn_end(beside):
    """What a crash left behind the last whole line is cut off."""
    program = beside.program
    beside.log.write_bytes(b"")
    server = program.start(*SERVES)
    change(program)
    server.stop()
    whole = beside.log.read_bytes()
    beside.log.write_bytes(whole + b"CREATE rid=" + b"x" * 5000)
    server = program.start()
    with connect(program) as conn:
        Queue.create(conn)
    server.stop()
    text = beside.log.read_bytes()
    assert text.startswith(whole)
    assert text[len(whole):].startswith(b"CREATE ") and text.count(b"\n") == whole.count(b"\n") + 1


def test_it_cannot_be_written(beside):
    """That is said once, and nobody is refused; when it can be again, that is said too."""
    program = beside.program
    beside.log.touch()
    server = program.start(*SERVES)
    with connect(program) as conn:
        Queue.create(conn)
        size = beside.log.stat().st_size
        pid = server.process.pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
        for _ in range(3):
            Queue.create(conn)
        server.wait("error store-log-beside", server.err)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        Queue.create(conn)
        server.wait('changes="are written again', server.err)
    server.stop()
    assert sum("error store-log-beside" in line for line in server.err) == 1
    assert beside.log.read_bytes().count(b"CREATE ") == 2
    assert beside.sql("SELECT count(*) FROM smp_server.msg_queues") == ["5"]
