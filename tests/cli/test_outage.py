# SPDX-License-Identifier: AGPL-3.0-or-later
"""A server whose way to PostgreSQL is cut: before, in and after COMMIT, and for long.

A proxy is between them and counts what it does; nothing here goes by the clock.
"""

import contextlib
import random
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from smp import Connection, Queue
from smp.commands import send_command
from smp.server import Server, find_binary
from smp.transport import HandshakeRefused

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "crash"))

from crash import World  # noqa: E402
from load import VERSION  # noqa: E402

SOCKET = ".s.PGSQL.5432"
COMMIT = b"\0commit\0"  # Bind: a portal without name, and the prepared statement
N_MESSAGES, EVERY, ENOUGH = 60, 3, 60


class Proxy(threading.Thread):
    """Takes connections for PostgreSQL. `how`: what becomes of every few COMMITs; None: nothing. `is_open`: whether
    there is a way; else connections end as soon as they come. `parts`: PostgreSQL does not learn of their end, as when
    a network is parted. `is_mute`: all goes in, and nothing comes out."""

    def __init__(self, postgres):
        super().__init__(daemon=True)
        self.target = str(postgres.folder / SOCKET)
        self.folder = Path(tempfile.mkdtemp(prefix="smp-proxy-", dir="/tmp"))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / SOCKET))
        self.listener.listen(64)
        self.how, self.is_open, self.parts, self.is_mute = None, True, False, False
        self.parted = []
        self.n_commits, self.n_cuts, self.n_refused = 0, 0, 0

    def run(self):
        """Accepts."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_open:
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()
            else:
                self.n_refused += 1
                client.close()

    def serve(self, client):
        """One connection."""
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self.target)
            with contextlib.suppress(OSError):
                while self.is_open and self.pass_on(client, server):
                    continue
            if self.parts:
                self.parted.append(server.dup())

    def pass_on(self, client, server):
        """What has come; False at the end."""
        for side in select.select([client, server], [], [], 0.05)[0]:
            piece = side.recv(1 << 20)
            if not piece:
                return False
            if self.is_mute:
                continue
            if side is server:
                client.sendall(piece)
            elif self.is_cut(piece):
                self.cut(piece, server)
                return False
            else:
                server.sendall(piece)
        return True

    def is_cut(self, piece):
        """Whether this COMMIT is one of those."""
        if COMMIT not in piece or self.how is None:
            return False
        self.n_commits += 1
        return self.n_commits % EVERY == 0

    def cut(self, piece, server):
        """Before it: nothing is passed on. In it: up to its middle. After it: all, and its answer is not."""
        self.n_cuts += 1
        if self.how == "in":
            server.sendall(piece[:piece.index(COMMIT) + len(COMMIT) // 2])
        if self.how == "after":
            server.sendall(piece)
            assert server.recv(1 << 16)

    def end(self):
        """Leaves nothing."""
        self.is_open = False
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join(ENOUGH)
        for sock in self.parted:
            sock.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def both(request):
    """A server, and the proxy that it reaches its database through."""
    server = Server(find_binary(request.config.getoption("--server-binary")), store="database",
                    ini={("STORE_LOG", "db_patience"): getattr(request, "param", 3600)})
    proxy = Proxy(server.postgres)
    ini = server.config / "smp-server.ini"
    ini.write_text(ini.read_text().replace(f"?host={server.postgres.folder}", f"?host={proxy.folder}"))
    proxy.start()
    server.start()
    yield server, proxy
    proxy.is_open = True
    server.remove()
    proxy.end()


def bodies(conn, queue):
    """All that a queue has, received one after the other."""
    found = []
    answer = queue.sub(conn)
    message = queue.next_message(conn, 10) if answer.tag == "SOK" else None
    while message is not None:
        found.append(message.body)
        answer = queue.ack(conn, message.msg_id)
        message = queue.open(answer) if answer.tag == "MSG" else None
    return found


@pytest.mark.parametrize("how", ["before", "in", "after"])
def test_a_commit_is_cut(both, how):
    """Whatever became of it: each message is answered OK and there once, in its place."""
    server, proxy = both
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn, subscribe=False)
        proxy.how = how
        for i in range(N_MESSAGES):
            assert queue.send(conn, b"%d" % i).raw == b"OK"
        proxy.how = None
        assert proxy.n_cuts >= N_MESSAGES // EVERY // 2
        assert bodies(conn, queue) == [b"%d" % i for i in range(N_MESSAGES)]
    server.check()


def database_of(server):
    """Its name."""
    return (server.config / "smp-server.ini").read_text().split("@/")[1].split("?")[0]


@contextlib.contextmanager
def locked(postgres, name, table):
    """Nobody may write to a table meanwhile, as when an operator's psql has forgotten to commit."""
    with subprocess.Popen([postgres.programs / "psql", "-X", "-q", "-A", "-t", "-h", postgres.folder, "-U", "postgres", "-d", name],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as psql:
        print(f"BEGIN; LOCK TABLE {table} IN SHARE MODE; SELECT 1;", file=psql.stdin, flush=True)
        assert psql.stdout.readline() == "1\n"
        yield
        print("COMMIT;", file=psql.stdin, flush=True)
        psql.stdin.close()


def wait_for(what):
    """Until it is so."""
    deadline = time.monotonic() + ENOUGH
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def connect_again(server):
    """A client, as soon as one is taken again: within a second or two of the database's being back."""
    found = []

    def is_taken():
        with contextlib.suppress(HandshakeRefused):
            found.append(Connection(server.address, 18))
        return bool(found)
    wait_for(is_taken)
    return found[0]


def cut_off(conn, proxy):
    """A queue with one message; from now on there is no database."""
    queue = Queue.create(conn, subscribe=False)
    assert queue.send(conn, b"before").raw == b"OK"
    proxy.is_open = False
    return queue


def test_an_outage_is_waited_for(both):
    """Commands are held while there is no database, and answered OK when it is back."""
    server, proxy = both
    with Connection(server.address, 18) as conn:
        queue = cut_off(conn, proxy)
        sent = [conn.make(send_command(b"%d" % i), queue.snd_id) for i in range(20)]
        conn.write(sent)
        wait_for(lambda: proxy.n_refused >= 5)
        with pytest.raises(TimeoutError):
            conn.read(0.1)
        proxy.is_open = True
        answers = []
        while len(answers) < len(sent):
            answers += conn.read()
        assert {answer.raw for answer in answers} == {b"OK"}
        assert bodies(conn, queue) == [b"before", *(b"%d" % i for i in range(20))]


@pytest.mark.parametrize("both", [1], indirect=True)
def test_an_outage_lasts(both):
    """Who has waited for db_patience is disconnected without an answer; what was accepted is written when it is back."""
    server, proxy = both
    with Connection(server.address, 18) as conn:
        queue = cut_off(conn, proxy)
        conn.write([conn.make(send_command(b"held"), queue.snd_id)])
        answers = []
        with pytest.raises((OSError, EOFError)):
            while True:
                answers += conn.read(ENOUGH)
        assert answers == []
    proxy.is_open = True
    wait_for(lambda: any('database-back changes="go on"' in line for line in server.stderr))
    with connect_again(server) as conn:
        assert queue.send(conn, b"after").raw == b"OK"
        assert bodies(conn, queue) == [b"before", b"held", b"after"]


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def test_the_connection_goes_while_a_group_waits(both):
    """For a lock that somebody holds. The group is sent again, and then both go on: it counts once."""
    server, proxy = both
    postgres, name = server.postgres, database_of(server)
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn, subscribe=False)
        with locked(postgres, name, "smp_server.messages"):
            conn.write([conn.make(send_command(b"once"), queue.snd_id)])
            wait_for(lambda: postgres.sql("postgres", WAITING) == ["1"])
            proxy.parts, proxy.is_open = True, False
            wait_for(lambda: proxy.n_refused >= 1)
            proxy.is_open = True
            wait_for(lambda: postgres.sql("postgres", WAITING) == ["2"])
        assert [answer.raw for answer in conn.read(ENOUGH)] == [b"OK"]
        assert queue.send(conn, b"after").raw == b"OK"
        assert bodies(conn, queue) == [b"once", b"after"]
    server.check()


def ends_without(server):
    """A stop that ends in the time that it gives a database, and says that not all could be written."""
    process, server.process = server.process, None
    process.terminate()
    assert process.wait(ENOUGH) == 1
    for thread in server.readers:
        thread.join(10)
    assert "not everything could be written to the database" in "".join(server.stderr)


@pytest.mark.long
def test_a_stop_without_a_database(both):
    """There is none, and something waits to be written."""
    server, proxy = both
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn, subscribe=False)
        proxy.is_open = False
        conn.write([conn.make(send_command(b"lost"), queue.snd_id)])
        wait_for(lambda: proxy.n_refused >= 2)
        ends_without(server)


@pytest.mark.long
def test_a_stop_with_a_silent_database(both):
    """Connections are there, and nothing comes: not for a look-up, not for a change."""
    server, proxy = both
    with Connection(server.address, 18) as conn:
        queue, other = Queue.create(conn, subscribe=False), Queue.create(conn, subscribe=False)
    server.stop()
    server.start()
    with Connection(server.address, 18) as conn:
        assert other.send(conn, b"loaded").raw == b"OK"
        proxy.is_mute = True
        conn.write([conn.make(send_command(b"lost"), other.snd_id)])
        conn.write([conn.make(b"SUB", queue.rcv_id, queue.rcv_key)])
        with pytest.raises(TimeoutError):
            conn.read(0.5)
        ends_without(server)


@pytest.mark.parametrize("both", [1], indirect=True)
def test_a_silent_database(both):
    """It counts as one that is not there, from when it fell silent."""
    server, proxy = both
    with Connection(server.address, 18) as conn:
        queue = Queue.create(conn, subscribe=False)
        assert queue.send(conn, b"before").raw == b"OK"
        proxy.is_mute = True
        conn.write([conn.make(send_command(b"held"), queue.snd_id)])
        with pytest.raises((OSError, EOFError)):
            assert conn.read(ENOUGH) == []
    proxy.is_mute, proxy.is_open = False, False  # what was swallowed is gone
    wait_for(lambda: proxy.n_refused >= 1)
    proxy.is_open = True
    wait_for(lambda: any('database-back changes="go on"' in line for line in server.stderr))
    with connect_again(server) as conn:
        assert bodies(conn, queue) == [b"before", b"held"]


class Away(World):
    """PostgreSQL is out of reach for some seconds under load. `patience_s`: after which clients are disconnected."""

    def __init__(self, server, proxy, away_s, patience_s):
        super().__init__(server, random.Random(away_s))
        self.proxy, self.away_s, self.patience_s = proxy, away_s, patience_s
        self.round = 0

    def disturb(self):
        """The outage; of a long one clients may end, and none is taken until it is over."""
        time.sleep(1)
        self.proxy.is_open = False
        if self.away_s > self.patience_s:
            time.sleep(self.patience_s / 2)  # they are held still
            self.ended.set()
            time.sleep(self.away_s - self.patience_s / 2)
            with pytest.raises(HandshakeRefused):
                Connection(self.address, VERSION).close()
        else:
            time.sleep(self.away_s)
        rss = self.server.rss_kib()
        self.proxy.is_open = True
        wait_for(lambda: any('database-back changes="go on"' in line for line in self.server.stderr))
        connect_again(self.server).close()
        assert self.server.is_sanitized() or rss < 300 << 10
        time.sleep(1)

    def end_server(self):
        """It runs on; its clients leave."""
        self.ended.set()
        self.server.check()


@pytest.mark.long
@pytest.mark.parametrize(("both", "away_s"), [(15, 5), (15, 60)], indirect=["both"])
def test_an_outage_under_load(both, away_s):
    """5 s: held, no error at all. 60 s: held, then disconnected. What was answered OK is there; never ERR STORE."""
    server, proxy = both
    world = Away(server, proxy, away_s, 15)
    world.fill()
    world.load()
    assert world.counts["sent"] > 0
    world.verify(1)
    assert not any("database-refused" in line for line in server.stderr)
