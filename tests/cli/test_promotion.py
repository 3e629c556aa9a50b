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
        self.name = name

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
    both = Pair(find_binary(request.config.getoption("--server-binary")))
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
