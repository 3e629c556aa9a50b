# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two PostgreSQL servers, a primary and its standby, which is promoted under load when the primary dies.

What was answered OK is there: with a synchronous standby because PostgreSQL had it on both; with an asynchronous one because
the last groups are sent again.
"""

import random
import signal
import sys
import time
from pathlib import Path

import pytest
from smp import Connection, Queue
from smp.postgres import Postgres
from smp.server import Server, find_binary

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "crash"))

from crash import World  # noqa: E402
from load import VERSION  # noqa: E402

ENOUGH = 60
REPLICATED = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '{}'"


def wait_for(what):
    """Until it is so."""
    deadline = time.monotonic() + ENOUGH
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Pair:
    """Primary and standby, and an smp-server that knows both."""

    def __init__(self, binary, **ini):
        self.primary = Postgres(synchronous_commit="on")
        self.server = None
        self.standby = None
        name = self.primary.database()
        self.primary.sql(name, "CREATE SCHEMA smp_server AUTHORIZATION smp")
        self.standby = Postgres(primary=self.primary, synchronous_commit="on")
        both = f"{self.primary.folder},{self.standby.folder}"
        connection = f"postgresql://smp@/{name}?host={both}&target_session_attrs=read-write"
        settings = {("STORE_LOG", "db_connection"): connection, ("TRANSPORT", "threads"): 2}
        self.server = Server(binary, store="database", ini=settings | {("STORE_LOG", key): value for key, value in ini.items()})
        self.name, self.connection = name, connection

    def synchronous(self):
        """A commit is on both from now on."""
        self.primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.sql("postgres", "SELECT pg_reload_conf()")
        wait_for(lambda: self.primary.sql("postgres", REPLICATED.format("sync")) == ["1"])

    def fail_over(self):
        """The primary dies, as by a power loss; the standby is promoted."""
        self.primary.stop(signal.SIGQUIT)
        self.standby.promote()

    def remove(self):
        """All ends."""
        if self.server is not None:
            self.server.remove()
        for postgres in (self.standby, self.primary):
            if postgres is not None:
                postgres.end()


@pytest.fixture
def pair(request):
    """Not started."""
    both = Pair(find_binary(request.config.getoption("--server-binary")), **getattr(request, "param", {}))
    yield both
    both.remove()


class Promoted(World):
    """The end of the primary is what disturbs; the server and its clients go on."""

    def __init__(self, pair, seed):
        super().__init__(pair.server, random.Random(seed))
        self.pair, self.round = pair, 0

    def disturb(self):
        """Clients wait meanwhile, and notice nothing else."""
        time.sleep(1)
        self.pair.fail_over()
        before = self.counts["sent"]
        wait_for(lambda: self.counts["sent"] > before + 50)

    def end_server(self):
        """It runs on; its clients leave."""
        self.ended.set()
        self.server.check()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_a_synchronous_standby_is_promoted(pair, seed):
    """Under load: no error, and all that was answered."""
    pair.synchronous()
    pair.server.start()
    world = Promoted(pair, seed)
    world.fill()
    world.load()
    assert pair.standby.sql(pair.name, "SELECT pg_is_in_recovery()") == ["f"]
    world.verify(1)
    assert not any("database-went-back" in line for line in pair.server.stderr)


def went_back(pair):
    """The line that says so."""
    return next((line for line in pair.server.stderr if " database-went-back " in line), "")


def lose_some(pair, conn):
    """An asynchronous standby has a queue with one message; the primary alone has what comes then, and dies. Gives both queues."""
    old = Queue.create(conn, subscribe=False)
    assert old.send(conn, b"both have it").raw == b"OK"
    wait_for(lambda: pair.standby.sql(pair.name, "SELECT count(*) FROM smp_server.messages") == ["1"])
    pair.standby.stop(signal.SIGQUIT)
    new = Queue.create(conn, subscribe=False)
    for i in range(10):
        assert old.send(conn, b"%d" % i).raw == b"OK"
        assert new.send(conn, b"%d" % i).raw == b"OK"
    pair.primary.stop(signal.SIGQUIT)
    pair.standby.start()
    pair.standby.promote()
    assert pair.standby.sql(pair.name, "SELECT count(*) FROM smp_server.messages") == ["1"]
    return old, new


def receive(conn, queue):
    """All that it has."""
    assert queue.sub(conn).tag == "SOK"
    message, found = queue.next_message(conn), []
    while True:
        found.append(message.body)
        answer = queue.ack(conn, message.msg_id)
        if answer.tag != "MSG":
            return found
        message = queue.open(answer)


@pytest.mark.parametrize("first", ["look-up", pytest.param("change", marks=pytest.mark.long)])
def test_an_asynchronous_standby_is_promoted(pair, first):
    """What it had not got is written again, in its order, before anybody reads; ids are not drawn twice."""
    pair.server.configure({("STORE_LOG", "db_cache_mb"): 0, ("STORE_LOG", "db_connection"): pair.connection})
    pair.server.start()
    with Connection(pair.server.address, VERSION) as conn:
        old, new = lose_some(pair, conn)
        if first == "change":
            assert old.send(conn, b"after").raw == b"OK"
        numbers = [b"%d" % i for i in range(10)]
        assert receive(conn, new) == numbers
        assert receive(conn, old) == [b"both have it", *numbers] + ([b"after"] if first == "change" else [])
    assert "groups=21 written_again=21 missing=0" in went_back(pair)
    assert pair.standby.sql(pair.name, "SELECT last_value >= (SELECT coalesce(max(message_id), 0) FROM smp_server.messages) "
                                       "FROM smp_server.messages_message_id_seq") == ["t"]


@pytest.mark.long
@pytest.mark.parametrize("pair", [{"db_replay_s": 0}], indirect=True)
def test_nothing_is_kept(pair):
    """One clear line says how much is missing; the server goes on with what it has."""
    pair.server.start()
    with Connection(pair.server.address, VERSION) as conn:
        old, _ = lose_some(pair, conn)
        assert old.send(conn, b"after").raw == b"OK"
    assert "groups=21 written_again=0 missing=21" in went_back(pair)
