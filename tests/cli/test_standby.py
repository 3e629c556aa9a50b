# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two servers on one database, of which one serves and the other waits.

Whatever happens to the first, all that it had answered holds on the second: the model is that of tests/crash.
"""

import dataclasses
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from smp import Connection, Queue
from smp.commands import send_command
from smp.server import Server, find_binary

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "crash"))

from crash import World  # noqa: E402
from load import VERSION  # noqa: E402

TIMEOUT = 60
STANDBY = {("CLUSTER", "standby"): "on"}
WAITS = "Standby: waits"
EPOCH = "SELECT epoch FROM smp_server.smpn_node"
BEATS = "SELECT beat_at FROM smp_server.smpn_node"


def sees(server, text):
    """Waits for a line in what the server prints or logs."""
    server.wait_output(lambda: any(text in line for line in server.stdout + server.stderr), time.monotonic() + TIMEOUT)


def serves(server):
    """Waits until it serves, as Server.start() does."""
    sees(server, f"Serving SMP protocol on port {server.ports[0]} (TLS)")


def ends(server):
    """Waits for the end of a server that ends by itself; gives its status."""
    process, server.process = server.process, None
    status = process.wait(TIMEOUT)
    for thread in server.readers:
        thread.join(10)
    return status


def check(server):
    """What `smp-server check` says of it."""
    done = subprocess.run([server.binary, "check"], env=server.environment, capture_output=True, text=True, timeout=TIMEOUT,
                          check=False)
    return done.stdout + done.stderr


class Standing(World):
    """Two servers; the first serves, the second waits. An end of the first is what `ending` does."""

    def __init__(self, binary):
        self.first = Server(binary, store="database", ini={**STANDBY, ("TRANSPORT", "threads"): 2})
        self.second = self.make_second(binary)
        super().__init__(self.first, random.Random(16))
        self.round = 0

    def make_second(self, binary):
        """As if it were on another machine: its own directories and address, the same identity and settings."""
        second = Server(binary, store="journal")
        shutil.rmtree(second.config)
        shutil.copytree(self.first.config, second.config)
        second.ports, second.start_args, second.postgres = self.first.ports, self.first.start_args, self.first.postgres
        second.configure({("TRANSPORT", "bind"): "127.0.0.2"})
        second.address = dataclasses.replace(self.first.address, host="127.0.0.2")
        return second

    @property
    def database(self):
        """The name of their database."""
        text = (self.first.config / "smp-server.ini").read_text()
        return text.split("@/")[1].split("?")[0]

    def ask(self, sql):
        """The one value of the one row."""
        return self.first.postgres.sql(self.database, sql)[0]

    def begin(self):
        """The first one serves, the second one waits."""
        self.first.start()
        self.second.launch()
        sees(self.second, WAITS)
        self.fill()

    def disturb(self):
        """Nothing, but for the end."""

    def end_server(self):
        """The first one ends; the second one serves."""
        self.ended.set()
        self.ending()
        serves(self.second)
        self.server, self.address = self.second, self.second.address

    def kill(self):
        """Without warning."""
        self.first.kill()

    def terminate(self):
        """In order."""
        self.first.stop(signal.SIGTERM)

    def stop(self):
        """It is stopped, and goes on when the other one serves: then it ends, and says why."""
        self.first.process.send_signal(signal.SIGSTOP)
        serves(self.second)
        self.first.process.send_signal(signal.SIGCONT)
        assert ends(self.first) == 1
        said = [line for line in self.first.stderr if " database-taken-over " in line]
        assert len(said) == 1, self.first.output()

    def remove(self):
        """All ends."""
        for server in (self.first, self.second):
            if server.process is not None and server.process.poll() is None:
                server.kill()
            server.process = None
            server.remove()


@pytest.fixture
def pair(request):
    """Two servers that were not started."""
    both = Standing(find_binary(request.config.getoption("--server-binary")))
    yield both
    both.remove()


@pytest.mark.parametrize(("how", "why"), [("kill", "the active server shows no sign of life"),
                                          ("terminate", "the active server has left"),
                                          ("stop", "the active server shows no sign of life")])
def test_the_first_one_ends(pair, how, why):
    """By kill -9, SIGTERM, SIGSTOP under load: the second one takes over, with all that was answered."""
    pair.begin()
    epoch = int(pair.ask(EPOCH))
    pair.ending = getattr(pair, how)
    pair.load()
    assert f'reason="{why}"' in "".join(pair.second.stderr)
    assert int(pair.ask(EPOCH)) == epoch + 1
    pair.verify(1)
    pair.second.stop()


def test_what_a_stopped_server_still_gets_is_not_answered(pair):
    """Not OK, and not stored: the database refuses its group."""
    pair.begin()
    with Connection(pair.address, VERSION) as conn:
        queue = Queue.create(conn, subscribe=False)
        assert queue.send(conn, b"before").raw == b"OK"
        pair.first.process.send_signal(signal.SIGSTOP)
        serves(pair.second)
        conn.write([conn.make(send_command(b"after"), queue.snd_id)])
        pair.first.process.send_signal(signal.SIGCONT)
        with pytest.raises((OSError, EOFError)):
            assert conn.read() == []
    assert ends(pair.first) == 1
    assert not is_silent_about(pair.first, "database-taken-over")
    assert int(pair.ask("SELECT count(*) FROM smp_server.messages")) == 1
    pair.second.stop()


def is_silent_about(server, text):
    """Whether no line has it."""
    return not any(text in line for line in server.stderr)


def test_postgresql_is_restarted(pair):
    """The active one stays: nobody could beat meanwhile, so nobody is dead."""
    pair.begin()
    epoch = pair.ask(EPOCH)
    pair.ended.clear()
    with Connection(pair.address, VERSION) as conn:
        queue = Queue.create(conn, subscribe=False)
        pair.first.postgres.stop(signal.SIGQUIT)
        pair.first.postgres.start()
        assert queue.send(conn, b"after").raw == b"OK"
    seen = {pair.ask(BEATS)}
    while len(seen) < 12:  # as long as it takes to be taken for dead
        seen.add(pair.ask(BEATS))
        time.sleep(0.1)
    assert pair.ask(EPOCH) == epoch
    assert pair.second.process.poll() is None and is_silent_about(pair.second, "takes over")
    pair.first.stop(signal.SIGTERM)
    serves(pair.second)
    pair.second.stop()


def test_both_are_started_at_once(pair):
    """On an empty schema: one serves, the other one waits, and has its turn."""
    pair.first.launch()
    pair.second.launch()
    deadline = time.monotonic() + TIMEOUT
    while not any(WAITS in line for server in (pair.first, pair.second) for line in server.stdout):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    waiting, active = pair.first, pair.second
    if not any(WAITS in line for line in waiting.stdout):
        waiting, active = active, waiting
    serves(active)
    active.stop(signal.SIGTERM)
    serves(waiting)
    waiting.stop()


def test_the_second_one_is_told_to_end(pair):
    """In order, and nobody waits any more."""
    pair.begin()
    assert pair.ask("SELECT count(*) FROM smp_server.smpn_standby") == "1"
    pair.second.stop(signal.SIGTERM)
    assert pair.ask("SELECT count(*) FROM smp_server.smpn_standby") == "0"
    pair.first.stop()


def test_check_and_metrics_say_who_is_active(pair):
    """On either machine; a server that waits holds no port, and that is no error."""
    pair.first.configure({("STORE_LOG", "prometheus_interval"): 1})
    pair.begin()
    text = check(pair.first)
    assert f"process {pair.first.process.pid} (this one)" in text and "waiting: 1" in text, text
    text = check(pair.second)
    assert f"process {pair.first.process.pid}, version" in text and "(this one)" not in text, text
    assert "none is held while this server waits" in text and "\nerror" not in text, text
    metrics = pair.first.state / "smp-server-metrics.txt"
    deadline = time.monotonic() + TIMEOUT
    while not metrics.exists() or "simplex_smp_standbys 1" not in metrics.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pair.first.kill()
    assert "no other server waits" not in check(pair.second)


def test_another_identity_does_not_wait(pair, request):
    """Its clients would not be those of the active one."""
    pair.first.start()
    other = Server(find_binary(request.config.getoption("--server-binary")), store="journal", ini=STANDBY)
    ini = (pair.first.config / "smp-server.ini").read_text()
    (other.config / "smp-server.ini").write_text(ini)
    other.launch()
    assert ends(other) == 1
    assert "has another identity" in "".join(other.stderr)
    other.remove()
    pair.first.stop()


def test_a_standby_waits_for_a_database(pair):
    """One that is not there yet, when the machines have just been switched on."""
    pair.first.postgres.stop(signal.SIGQUIT)
    pair.second.launch()
    sees(pair.second, 'state="waits for the database"')
    pair.first.postgres.start()
    serves(pair.second)
    pair.second.stop()


def test_a_standby_needs_a_database(ready):
    """With files it is refused, in words."""
    ready.set("CLUSTER", "standby", "on")
    done = ready.run("start", status=1)
    assert "[CLUSTER] standby" in done.stderr and "it needs PostgreSQL" in done.stderr
