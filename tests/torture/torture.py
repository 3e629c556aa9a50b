#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Torture: a server under load loses what it needs -- descriptors, memory, its disk, its clock -- and
gets it back.

After each fault the same is asked for: the server has not ended, or has ended with one error that
says why; it serves again, at the latest after a restart; and nothing that it had acknowledged is
lost, changed, repeated or disordered (the model of tests/crash). What was not answered, or with an
error, may have happened or not. Exit status 0 when all scenarios passed.
"""

import argparse
import collections
import contextlib
import functools
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "conformance"), str(HERE.parent / "crash")]

from model import Bodies, Broken, Tracked  # noqa: E402
from smp import Connection, Queue  # noqa: E402
from smp.commands import ack_command, send_command  # noqa: E402
from smp.disk import Disk  # noqa: E402
from smp.proxied import prxy  # noqa: E402
from smp.server import Server, ServerFailed, default_binary, find_binary, over  # noqa: E402
from smp.transport import HandshakeRefused  # noqa: E402
from verify import Verifier  # noqa: E402

VERSION = 20  # clients are told when something was not stored
QUEUES = 6    # of each client
BACKLOG_MAX = 60
BUSY = 50     # messages, then the load has begun
GONE = (OSError, EOFError, ValueError, HandshakeRefused)  # of a connection


class Client(threading.Thread):
    """Sends to its queues, receives, acknowledges; connects anew when something goes wrong."""

    def __init__(self, world, queues, seed):
        super().__init__(daemon=True)
        self.world, self.queues, self.rng = world, queues, random.Random(seed)
        self.conn, self.error = None, None

    def run(self):
        """The thread."""
        while not self.world.ended.is_set():
            try:
                self.work()
            except GONE:
                self.world.count("connections lost")
                self.world.ended.wait(0.05)
            except Exception as error:  # whatever it is, the scenario has to fail
                self.error = f"{type(error).__name__}: {error}"
                return
            finally:
                if self.conn is not None:
                    self.conn.close()
                    self.conn = None

    def work(self):
        """One connection's worth."""
        self.conn = Connection(self.world.server.address, VERSION, timeout=10)
        while not self.world.ended.is_set():
            tracked = self.rng.choice(self.queues)
            if len(tracked.messages) < BACKLOG_MAX and self.rng.random() < 0.7:
                self.send(tracked)
            else:
                self.receive(tracked)

    def send(self, tracked):
        """SEND."""
        size = self.rng.choice((64, 500, 4000, 16000))
        number = tracked.add(size)
        body = self.world.bodies.make(tracked.number, number, size)
        answer = self.conn.request(send_command(body), tracked.queue.snd_id)
        if answer.raw == b"OK":
            tracked.was_stored(number)
            self.world.count("sent")
        elif answer.tag == "ERR" and answer.raw != b"ERR AUTH":
            self.world.count(answer.raw.decode())
        else:
            raise Broken(f"answer to SEND: {answer.raw[:60]!r}")

    def receive(self, tracked):
        """GET, and ACK of what it gives."""
        queue = tracked.queue
        answer = self.conn.request(b"GET", queue.rcv_id, queue.rcv_key)
        if answer.tag != "MSG":
            if answer.raw in (b"ERR AUTH", b"ERR CMD PROHIBITED"):
                raise Broken(f"answer to GET: {answer.raw!r}")
            return
        number = tracked.delivered(queue.open(answer), self.world.bodies)
        tracked.messages[number].acked = True
        answer = self.conn.request(ack_command(answer.msg_id), queue.rcv_id, queue.rcv_key)
        if answer.raw == b"OK":
            tracked.was_acked(number)
            self.world.count("acked")


class World:
    """A server with its faults, queues, clients."""

    def __init__(self, options, name):
        self.rng = random.Random(f"{options.seed} {name}")
        self.directory = Path(tempfile.mkdtemp(prefix=f"smp-torture-{name}-"))
        self.server = Server(find_binary(options.server_binary), store="journal",
                             directory=self.directory,
                             ini=INI)
        self.disk = Disk(self.server)
        self.seconds = options.seconds
        self.bodies, self.counts = Bodies(self.rng), collections.Counter()
        self.ended, self.lock = threading.Event(), threading.Lock()
        self.queues = []

    @property
    def address(self):
        """For the verifier."""
        return self.server.address

    def count(self, what):
        """One more."""
        with self.lock:
            self.counts[what] += 1

    def preload(self, library):
        """One more library comes before the others."""
        environment = self.server.environment
        environment["LD_PRELOAD"] = f"{library} {environment['LD_PRELOAD']}"

    def begin(self, clients=3):
        """Starts the server, makes queues."""
        self.server.start()
        with Connection(self.address, VERSION) as conn:
            self.queues = [Tracked(i, Queue.create(conn, subscribe=False))
                           for i in range(clients * QUEUES)]

    @contextlib.contextmanager
    def load(self):
        """Clients work inside of this."""
        self.ended.clear()
        n = len(self.queues) // QUEUES
        clients = [Client(self, self.queues[i::n], self.rng.random()) for i in range(n)]
        for client in clients:
            client.start()
        try:
            deadline = time.monotonic() + 30
            while self.counts["sent"] < BUSY and time.monotonic() < deadline:
                time.sleep(0.05)
            yield
            time.sleep(self.seconds / 4)
        finally:
            self.ended.set()
            for client in clients:
                client.join(30)
        for client in clients:
            if client.error or client.is_alive():
                raise Broken(client.error or "a client waits for ever")

    def wait(self, share=1.0):
        """A part of a scenario's time."""
        time.sleep(self.seconds * share)

    def accepts(self, within_s):
        """A queue can be made and deleted, at the latest when the server has looked for room again."""
        deadline = time.monotonic() + within_s
        with Connection(self.address, VERSION) as conn:
            while time.monotonic() < deadline:
                with contextlib.suppress(ValueError):
                    queue = Queue.create(conn)
                    if queue.delete(conn).raw == b"OK":
                        return
                time.sleep(0.1)
        raise Broken(f"nothing is stored after {within_s} s")

    def serves(self, conn=None):
        """A queue can be made and used."""
        with contextlib.ExitStack() as stack:
            conn = conn or stack.enter_context(Connection(self.address, VERSION))
            queue = Queue.create(conn)
            if queue.send(conn, b"x").raw != b"OK" or queue.next_message(conn).body != b"x":
                raise Broken("it does not serve")
            if queue.delete(conn).raw != b"OK":
                raise Broken("DEL was refused")

    def verify(self):
        """All that was acknowledged is there; a restart first, and after it the same again."""
        for restart in (False, True):
            if restart:
                self.server.stop()
                self.server.start()
            Verifier(self, {t for t in self.queues if restart}).run(self.queues, [], [])
        self.serves()
        self.server.stop()


# ---- scenarios ----

def slow_disk(world):
    """Every sync takes half a second."""
    world.begin()
    with world.load():
        world.disk.set("sync_ms", 500)
        world.wait()
        world.disk.clear()
    world.serves()


def full_disk(world):
    """Nothing can be written; then there is room again."""
    world.begin()
    with world.load():
        world.disk.set("full")
        world.wait()
        world.disk.clear()
        world.accepts(20)
    world.serves()


def broken_disk(world):
    """A sync fails: changes are refused until a restart."""
    world.begin()
    with world.load():
        world.disk.set("fail_sync")
        world.wait()
        world.disk.clear()
    one_line(world, "storage")
    world.server.kill()
    world.server.start()
    world.serves()


def read_only(world):
    """The file system is read-only, as after an error; then it is mounted again."""
    world.begin()
    with world.load():
        world.disk.set("read_only")
        world.wait()
        world.disk.clear()
    world.server.check()
    world.server.kill()
    world.server.start()
    world.serves()


def one_line(world, word):
    """It was said, and not a thousand times."""
    lines = [line for line in world.server.stderr if word in line.lower()]
    if not 1 <= len(lines) <= 10:
        raise Broken(f"{len(lines)} lines say {word}:\n{world.server.output()}")


def descriptors(world):
    """There are only so many more, for each number from none to twenty; then enough."""
    world.begin()
    pid = world.server.process.pid
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    with world.load():
        for more in range(0, 21, 1 if world.seconds >= 1 else 4):
            used = len(os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + more, hard))
            for _ in range(3):
                with contextlib.suppress(*GONE):
                    Connection(world.address, VERSION, timeout=0.3).close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        world.wait(0.5)
    world.server.check()
    world.serves()


def descriptors_at_start(world):
    """A start with few: it says what is wrong, in one line, and ends; or it serves."""
    world.begin()
    world.server.stop()
    started = 0
    for count in range(4, 420, 4 if world.seconds >= 4 else 52):
        done = start_with(world, lambda n=count: resource.setrlimit(
            resource.RLIMIT_NOFILE, (n, n)))
        started += done
    print(f"  {started} starts served")
    world.server.start()


def start_with(world, prepare=None, environment=None):
    """Starts the server in odd circumstances: True when it serves; then it is stopped."""
    server = world.server
    before = dict(server.environment)
    server.environment.update(environment or {})
    usual = server.prepare_child
    server.prepare_child = lambda: (usual(), prepare and prepare())
    try:
        server.start()
    except ServerFailed as error:
        status = server.process.wait(60)
        process, server.process = server.process, None
        for thread in server.readers:
            thread.join(10)
        text = "".join(server.stderr)
        said = [line for line in text.splitlines() if line.startswith("Error: ")]
        if process.returncode < 0 or status == 0 or len(said) != 1:
            raise Broken(f"{environment} ended with {status}, and said:\n{text}") from error
        return False
    finally:
        server.environment = before
        server.prepare_child = usual
    server.stop()
    return True


@functools.cache
def memory_library():
    """Builds memory.c once."""
    folder = tempfile.TemporaryDirectory(prefix="smp-memory-")
    path = Path(folder.name, "memory.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, HERE / "memory.c"], check=True)
    return folder, path


def memory(world):
    """One allocation in a hundred fails, then one in ten; then none."""
    world.preload(memory_library()[1])
    world.begin()
    with world.load():
        for every in (1009, 101, 11):
            world.disk.set("fail_malloc", every)
            world.wait(0.4)
        world.disk.clear()
        world.wait(0.5)
    world.server.check()
    world.serves()


def memory_at_start(world):
    """The n-th allocation of a start fails."""
    world.preload(memory_library()[1])
    world.begin()
    world.server.stop()
    most, few = 1500, world.seconds < 4
    numbers = [world.rng.randrange(1, most) for _ in range(12)] if few else range(1, most, 3)
    served = sum(start_with(world, environment={"SMP_TEST_FAIL_AT": str(n)}) for n in numbers)
    print(f"  {served} of {len(numbers)} starts served")
    world.server.start()


def clock(world):
    """The wall clock jumps, forwards and back, by less than messages are kept."""
    world.begin()
    with world.load():
        for ahead_s in (3600, -3600, 86400, -10 * 86400, 10 * 86400, 0):
            world.disk.set_clock(ahead_s)
            world.wait(0.3)
    world.server.check()
    world.serves()


def silent_names(world):
    """No name server answers, while a client asks for one relay after the other by name, and goes
    away, and comes again. Then none is there to be asked."""
    resolv = world.directory / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    world.server.binary = str(over(world.directory / "asks-here", world.server.binary, resolv,
                                   "/etc/resolv.conf"))
    world.begin()
    with world.load(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
        names.bind(("127.0.0.1", 53))
        for number in range(20):
            with Connection(world.address, VERSION, timeout=10) as conn:
                conn.write([prxy(conn, world.address, hosts=[b"silent%d-%d.example" % (number, i)])
                            for i in range(10)])
                conn.ping()
                world.count("names")
                world.wait(0.05)
        if not names.recv(512, socket.MSG_DONTWAIT):
            raise Broken("no name server was asked")
    world.server.check()
    world.serves()


def signals(world):
    """Bursts of those that it handles; at the end many that ask it to stop, of which the second ends
    it as kill would."""
    world.begin()
    process = world.server.process
    with world.load():
        for _ in range(200):
            process.send_signal(world.rng.choice(
                (signal.SIGHUP, signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD)))
            time.sleep(world.rng.random() * 0.01)
        world.wait(0.3)
    world.server.check()
    world.serves()
    for _ in range(20):
        process.send_signal(world.rng.choice((signal.SIGTERM, signal.SIGINT)))
    world.server.process = None
    if process.wait(60) not in (0, -signal.SIGTERM, -signal.SIGINT):
        raise Broken(f"it ended with {process.returncode}:\n{world.server.output()}")
    world.server.start()


SCENARIOS = {fn.__name__: fn for fn in (
    slow_disk, full_disk, broken_disk, read_only, descriptors, descriptors_at_start, memory,
    memory_at_start, clock, silent_names, signals)}
SHORT = ("read_only", "descriptors", "memory")
INI = {("TRANSPORT", "threads"): 2}


def run(options, name):
    """One scenario: what was wrong, or None."""
    world = World(options, name)
    began = time.monotonic()
    try:
        SCENARIOS[name](world)
        world.verify()
    except (AssertionError, OSError, ValueError, EOFError) as error:
        print(f"FAILED: {name}, seed {options.seed}: {type(error).__name__}: {error}")
        print(f"{world.server.output()}files are kept in {world.directory}", flush=True)
        if world.server.process is not None:
            world.server.process.kill()
        return False
    figures = ", ".join(f"{n} {what}" for what, n in sorted(world.counts.items()))
    print(f"{name}: {time.monotonic() - began:.1f} s, {figures}", flush=True)
    shutil.rmtree(world.directory)
    return True


def main():
    """Exit status 0 when all passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO",
                        help=f"of {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--seconds", type=float, default=4,
                        help=f"of a fault; below 1 only {', '.join(SHORT)} unless they are named")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--server-binary", default=default_binary())
    options = parser.parse_args()
    names = options.scenarios or list(SHORT if options.seconds < 1 else SCENARIOS)
    if os.geteuid() != 0:
        print("descriptors and silent_names are left out: they are for root")
        names = [name for name in names if name not in ("descriptors", "silent_names")]
    if set(names) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(set(names) - set(SCENARIOS))}")
    print(f"seed {options.seed}", flush=True)
    failed = [name for name in names if not run(options, name)]
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
