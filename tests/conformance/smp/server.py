# SPDX-License-Identifier: AGPL-3.0-or-later
"""Starts an smp-server of its own in a temporary directory, watches it, and stops it."""

import atexit
import ctypes
import dataclasses
import functools
import hashlib
import itertools
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from .postgres import ROLE, Pooler, Postgres
from .proxied import RELAY_PORTS
from .transport import Address, decode_fingerprint, pem_to_der

COUNTED_WITHIN = 30  # seconds
START_TIMEOUT = 60
STOP_TIMEOUT = 60
SANITIZERS = ("ERROR: AddressSanitizer", "runtime error:", "WARNING: ThreadSanitizer",
              "ERROR: LeakSanitizer", "LeakSanitizer: detected")
NO_LIMITS = {("LIMITS", "connections_per_address"): 0, ("LIMITS", "new_queues_per_minute"): 0,
             ("LIMITS", "handshakes_per_second"): 10000, ("LIMITS", "new_queues_in_all"): 0}
# How a server keeps queues and messages: arguments of init, settings.
STORES = {
    "off": (["--disable-store-log"], {}),
    "memory": ([], {("STORE_LOG", "store_messages"): "memory"}),
    "journal": ([], {}),
    "journal-holds": ([], {("STORE_LOG", "hold_ms"): 100}),
    "database": ([], {}),
    "database-pooled": ([], {}),
    "database-evicts": ([], {("STORE_LOG", "db_cache_mb"): 0}),
}
IN_DATABASE = {("STORE_LOG", "store_queues"): "database", ("STORE_LOG", "store_messages"): "database"}
LIBC = ctypes.CDLL(None)
CREATE_RULESET, RULESET_VERSION = 444, 1  # of Landlock
PR_SET_PDEATHSIG = 1
PORTS_BEGIN, PORTS_END, WORKERS_MAX = 10000, 32000, 16
REPO = Path(__file__).resolve().parents[3]


class ServerFailed(AssertionError):
    """The server did not start, died, ended badly or a sanitizer complained."""


def own_ports():
    """Ports below those that the kernel gives to clients, apart from other workers' of this run."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % WORKERS_MAX
    size = (PORTS_END - PORTS_BEGIN) // WORKERS_MAX
    first = PORTS_BEGIN + worker * size
    return itertools.cycle(random.sample(range(first, first + size), size))


PORTS = own_ports()


def is_free(port):
    """Whether nobody listens on it now."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_sanitized(binary):
    """Whether a program carries a sanitizer."""
    data = Path(binary).read_bytes()
    return b"__asan_init" in data or b"__tsan_init" in data


def free_ports(count=1):
    """TCP ports of 127.0.0.1 that are free now, and that nobody else will be given soon."""
    return list(itertools.islice((port for port in PORTS if is_free(port)), count))


def has_landlock():
    """Whether this kernel confines processes to some files."""
    return LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), RULESET_VERSION) > 0


def check_sandbox(log):
    """A server that has begun to serve is in its sandbox, as far as there is one here (log: its
    lines; one that is set to say less says nothing of it)."""
    found = re.search(r" sandbox files=(\w+) syscalls=(\w+) core=(\w+) keys=\w+$", "".join(log), re.MULTILINE)
    if found is None:
        return
    files, syscalls, core = found.groups()
    known = os.uname().machine in ("x86_64", "aarch64", "riscv64")
    if (core, syscalls) != ("off", "own" if known else "all") or (files != "own" and has_landlock()):
        raise ServerFailed(f"not in its sandbox: {found.group()}")


def check_counted(server, limit):
    """That a limit was reached is in the metrics, which the server writes every second."""
    line = f'simplex_smp_limits_reached_total{{limit="{limit}"}} '
    path = server.state / "smp-server-metrics.prom"
    deadline = time.monotonic() + COUNTED_WITHIN
    while not any(text.startswith(line) and float(text[len(line):].split()[0]) > 0
                  for text in (path.read_text().splitlines() if path.exists() else [])):
        assert time.monotonic() < deadline, "not counted"
        time.sleep(0.1)


def set_ini(text, section, key, value):
    """The ini text with this key set once, in its section, which is added when absent."""
    out, inside, done = [], False, False
    for line in text.splitlines():
        header = re.fullmatch(r"\[(\w+)\]\s*", line.strip())
        if header:
            inside = header.group(1) == section
        elif inside and re.match(rf"{re.escape(key)}\s*[:=]", line.strip()):
            continue
        out.append(line)
        if header and inside and not done:
            out.append(f"{key}: {value}")
            done = True
    if not done:
        out += [f"[{section}]", f"{key}: {value}"]
    return "\n".join(out) + "\n"


@functools.lru_cache(maxsize=None)
def own_postgres():
    """The PostgreSQL of this run, which ends with it; what it has committed outlives a crash of its."""
    postgres = Postgres(synchronous_commit="on")
    atexit.register(postgres.end)
    return postgres


@functools.lru_cache(maxsize=None)
def own_pooler():
    """PgBouncer before it; the mode is that of SMP_TEST_POOL_MODE."""
    pooler = Pooler(own_postgres(), os.environ.get("SMP_TEST_POOL_MODE", "session"))
    atexit.register(pooler.end)
    return pooler


class Server:
    """One server process. `ini` maps (section, key) to values; `ports` are the SMP ports; `store`
    is one of STORES. Its files are in `directory`, or in one that is removed with it.
    `has_sandbox`: False where something below the server, as valgrind, knows of none."""

    transport = "tls"  # or "websocket": how clients come, if they are told no other way

    def __init__(self, binary, *, ini=None, password=None, init_args=(), port_count=1,
                 nofile=None, store="off", directory=None, has_sandbox=True,
                 has_websocket=False):
        self.binary = str(binary)
        self.has_sandbox = has_sandbox
        self.nofile = nofile
        self.process = None
        self.readers = []
        self.stdout, self.stderr = [], []
        self.changed = threading.Condition()
        self.temporary = None
        if directory is None:
            self.temporary = tempfile.TemporaryDirectory(prefix="smp-conformance-")
            directory = self.temporary.name
        self.config, self.state = Path(directory, "config"), Path(directory, "state")
        self.ports = free_ports(port_count)
        self.web_port = free_ports()[0] if has_websocket or self.by_websocket() else None
        self.environment = dict(os.environ, SMP_SERVER_CFG_PATH=str(self.config),
                                SMP_SERVER_LOG_PATH=str(self.state))
        store_args, store_ini = STORES[store]
        self.start_args, self.postgres = [], None
        if store.startswith("database"):
            store_ini = {**IN_DATABASE, **store_ini, **self.make_database(store == "database-pooled")}
        self.printed_address = self.initialise(password, [*store_args, *init_args])
        self.configure({**NO_LIMITS, **store_ini, **(ini or {})})
        der = pem_to_der(self.config / "ca.crt")
        port = self.web_port if self.by_websocket() else self.ports[0]
        self.address = Address("127.0.0.1", port, hashlib.sha256(der).digest(),
                               password.encode() if password else None)
        if self.by_websocket():
            RELAY_PORTS[self.web_port] = self.ports[0]

    def by_websocket(self):
        """Whether `address` is for who comes by WebSocket."""
        return self.transport == "websocket"

    def web_address(self):
        """Its address for who comes by WebSocket."""
        return dataclasses.replace(self.address, port=self.web_port)

    def make_database(self, is_pooled):
        """A database of its own with an empty schema, as the operator makes it; gives its setting."""
        self.postgres = postgres = own_postgres()
        name = postgres.database()
        postgres.sql(name, f"CREATE SCHEMA smp_server AUTHORIZATION {ROLE}")
        self.start_args = ["--confirm-migrations", "up"]
        folder = own_pooler().folder if is_pooled else postgres.folder
        return {("STORE_LOG", "db_connection"): f"postgresql://{ROLE}@/{name}?host={folder}"}

    def initialise(self, password, init_args):
        """Runs `init`; gives the address that it printed."""
        words = ["--password", password] if password else ["--no-password"]
        command = [self.binary, "init", "-y", "--ip", "127.0.0.1", *words, *init_args]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True,
                              timeout=START_TIMEOUT, check=False)
        if done.returncode != 0:
            raise ServerFailed(f"init ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        check_sanitizers(done.stderr)
        found = re.search(r"^Server address: (smp://\S+)", done.stdout, re.MULTILINE)
        if not found:
            raise ServerFailed(f"init printed no server address:\n{done.stdout}")
        return found.group(1)

    def configure(self, ini):
        """Rewrites keys of smp-server.ini."""
        path = self.config / "smp-server.ini"
        text = path.read_text()
        ini.setdefault(("TRANSPORT", "port"), ",".join(map(str, self.ports)))
        ini.setdefault(("TRANSPORT", "bind"), "127.0.0.1")
        if self.web_port is not None:
            ini.setdefault(("TRANSPORT", "websockets"), self.web_port)
        for (section, key), value in ini.items():
            text = set_ini(text, section, key, value)
        path.write_text(text)

    def identity_file(self):
        """The 32 bytes of the `fingerprint` file."""
        return decode_fingerprint((self.config / "fingerprint").read_text())

    def start(self):
        """Starts the server and waits until it serves every port."""
        self.launch()
        deadline = time.monotonic() + START_TIMEOUT
        for port in self.ports:
            line = f"Serving SMP protocol on port {port} (TLS)"
            self.wait_output(lambda line=line: any(line in x for x in self.stdout), deadline)
        if self.has_sandbox:
            check_sandbox(self.stderr)
        return self

    def launch(self):
        """Starts the server without waiting."""
        self.stdout, self.stderr = [], []
        self.process = subprocess.Popen(
            [self.binary, "start", *self.start_args], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            preexec_fn=self.prepare_child)
        pipes = ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr))
        self.readers = [threading.Thread(target=self.collect, args=pair, daemon=True)
                        for pair in pipes]
        for thread in self.readers:
            thread.start()

    def prepare_child(self):
        """In the child: it ends with its parent, and has as many files as asked for."""
        LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if self.nofile:
            hard = max(self.nofile, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, hard))

    def collect(self, pipe, lines):
        """Thread: keeps the lines of one output."""
        for line in pipe:
            with self.changed:
                lines.append(line)
                self.changed.notify_all()

    def wait_output(self, seen, deadline):
        """Waits until `seen()`; fails when the server ends or time is up."""
        with self.changed:
            while not seen():
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise ServerFailed(f"the server did not start:\n{self.output()}")
                self.changed.wait(0.2)

    def output(self):
        """The end of what the server printed."""
        return "".join(self.stdout[-40:] + self.stderr[-80:])

    def check(self):
        """Raises unless the server runs and no sanitizer complained."""
        if self.process.poll() is not None:
            raise ServerFailed(f"the server ended with {self.process.returncode}:\n"
                               f"{self.output()}")
        check_sanitizers("".join(self.stderr))

    def kill(self):
        """An end without warning, as in a crash."""
        process, self.process = self.process, None
        process.kill()
        process.wait()
        for thread in self.readers:
            thread.join(10)
        check_sanitizers("".join(self.stderr))

    def stop(self, number=signal.SIGINT):
        """Orderly stop: exit status 0 in time, nothing from the sanitizers."""
        if self.process is None:
            return
        process, self.process = self.process, None
        already = process.poll()
        try:
            process.send_signal(number)
            status = process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise ServerFailed(f"no end in {STOP_TIMEOUT} s after {number!r}:\n"
                               f"{self.output()}") from error
        finally:
            for thread in self.readers:
                thread.join(10)
        check_sanitizers("".join(self.stderr))
        if already is not None:
            raise ServerFailed(f"the server had ended before, with {already}:\n{self.output()}")
        if status != 0:
            raise ServerFailed(f"the server stopped with status {status}:\n{self.output()}")

    def remove(self):
        """Ends the server if it still runs and removes its directory."""
        try:
            self.stop()
        finally:
            if self.temporary is not None:
                self.temporary.cleanup()

    def rss_kib(self):
        """Resident memory of the server."""
        return rss_kib(self.process.pid)

    def is_sanitized(self):
        """Whether it carries a sanitizer, whose own memory hides that of the server."""
        return is_sanitized(self.binary)

    def cpu_seconds(self):
        """CPU time of the server."""
        return cpu_seconds(self.process.pid)

    def cpu_ns(self):
        """The same in nanoseconds, of the threads that run."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks)


def check_sanitizers(text):
    """Raises when a sanitizer reported something."""
    for mark in SANITIZERS:
        at = text.find(mark)
        if at >= 0:
            raise ServerFailed(f"sanitizer report:\n{text[max(0, at - 200):at + 4000]}")


def rss_kib(pid):
    """VmRSS of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ServerFailed(f"process {pid} has no VmRSS")


def cpu_seconds(pid):
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def default_binary():
    """SMP_SERVER_BINARY, or the one in the build directory."""
    return os.environ.get("SMP_SERVER_BINARY") or "build/smp-server"


def find_binary(path):
    """A path relative to the top of the repository, or absolute."""
    return REPO / path


# Starts the server where one file is another; mount(8) may not be there.
ANOTHER_FILE = """#!{python}
import ctypes, os, sys
NEWNS, BIND, REC, PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(NEWNS) or libc.mount(b"none", b"/", None, REC | PRIVATE, None) or libc.mount(
        {path!r}.encode(), {place!r}.encode(), None, BIND, None):
    sys.exit("no mount namespace: " + os.strerror(ctypes.get_errno()))
os.execv({binary!r}, [{binary!r}, *sys.argv[1:]])
"""


def over(wrapper, binary, path, place):
    """Makes `wrapper`, which is the program where `path` lies over the file at `place`."""
    wrapper.write_text(ANOTHER_FILE.format(python=sys.executable, binary=str(binary),
                                           path=str(path), place=place))
    wrapper.chmod(0o755)
    return wrapper


def bench_beside(binary):
    """The smp-bench of the same build."""
    return str(Path(binary).with_name("smp-bench"))
