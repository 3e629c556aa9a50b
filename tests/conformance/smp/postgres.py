# SPDX-License-Identifier: AGPL-3.0-or-later
"""A PostgreSQL of our own in a temporary directory: reached by a socket there, by nobody else.

The machine's own server, if there is one, is not touched. It does not sync, because nothing that it holds outlives a test.
"""

import ctypes
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

TIMEOUT = 60
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
ROLE = "smp"  # owns what tests make; its rights are those of an operator's role
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "listen_addresses": "",
            "shared_buffers": "32MB", "max_connections": "50", "autovacuum": "off", "logging_collector": "off"}


def find_programs():
    """The folder of the newest PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    assert initdb, "no PostgreSQL: run `tools/deps test`"
    return Path(initdb).parent


def end_with_parent():
    """In the child: it does not outlive the tests, however they end."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


class Postgres:
    """One server with as many databases as are asked for."""

    def __init__(self, primary=None, **settings):
        """primary: another one, of which this is to be a standby."""
        self.programs = find_programs()
        self.folder = Path(tempfile.mkdtemp(prefix="smp-pg-", dir="/tmp"))
        self.options = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.folder.chmod(0o755)
        self.settings = SETTINGS | settings
        self.numbers = itertools.count(1)
        self.process = None
        if primary is None:
            self.do("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync",
                    "--no-instructions", **self.options)
        else:
            self.do("pg_basebackup", "-D", self.data, "-U", "postgres", "-h", primary.folder, "-R", "--checkpoint=fast", "--no-sync",
                    **self.options)
        self.start()
        if primary is None:
            self.sql("postgres", f"CREATE ROLE {ROLE} LOGIN")

    @property
    def data(self):
        """Its data directory."""
        return self.folder / "data"

    def do(self, name, *words, **options):
        """Runs one of its programs to its end; gives what it printed."""
        done = subprocess.run([self.programs / name, *words], capture_output=True, text=True, timeout=TIMEOUT,
                              stdin=options.pop("stdin", subprocess.DEVNULL), check=False, cwd=self.folder, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self):
        """Returns when it takes connections."""
        words = [word for pair in self.settings.items() for word in ("-c", "=".join(pair))]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([self.programs / "postgres", "-D", self.data, "-k", self.folder, *words],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                                            preexec_fn=end_with_parent, **self.options)
        ready = [self.programs / "pg_isready", "-q", "-h", self.folder]
        while subprocess.run(ready, check=False).returncode != 0:
            assert self.process.poll() is None, (self.folder / "log").read_text()

    def stop(self, number=signal.SIGINT):
        """SIGINT: fast, SIGQUIT: as a crash would."""
        self.process.send_signal(number)
        self.process.wait(TIMEOUT)

    def promote(self):
        """A standby takes changes from now on."""
        assert self.sql("postgres", "SELECT pg_promote()") == ["t"]

    def end(self):
        """For good."""
        if self.process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    # ---- databases ----

    def database(self):
        """The name of a new one, empty."""
        name = f"smp{next(self.numbers)}"
        self.sql("postgres", f"CREATE DATABASE {name} OWNER {ROLE}")
        return name

    def connection(self, name):
        """What smp-server is told."""
        return f"postgresql://{ROLE}@/{name}?host={self.folder}"

    def psql(self, name, *words, role=ROLE, **options):
        """psql, which stops at the first error."""
        return self.do("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", role, "-d", name,
                       *words, **options)

    def sql(self, name, text, role="postgres"):
        """Rows as lines of values with | between."""
        return self.psql(name, "-c", text, role=role).splitlines()

    def load(self, name, path, role=ROLE, **environment):
        """A file of statements."""
        with Path(path).open("rb") as text:
            self.psql(name, "-f", "-", role=role, stdin=text, env=dict(os.environ, **environment))

    def dump(self, name, schema="smp_server"):
        """The schema in words, without the bodies of functions and what differs from run to run."""
        text = self.do("pg_dump", "-h", self.folder, "-U", "postgres", "--schema-only", f"--schema={schema}", name)
        text = re.sub(r"    AS (\$\w*\$|').*?\1;", "    AS ...;", text, flags=re.DOTALL)
        return "\n".join(line for line in text.splitlines()
                         if line and not line.startswith(("\\", "--", "SET ", "SELECT ")))


POOLER = """[databases]
* = host={host}
[pgbouncer]
listen_addr =
listen_port = 5432
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
pool_mode = {mode}
default_pool_size = 10
max_client_conn = 500
server_idle_timeout = 5
logfile = {folder}/log
"""
PREPARED_SINCE = (1, 21)  # statements that a client has prepared are known in transaction mode


class Pooler:
    """PgBouncer before a PostgreSQL of our own."""

    def __init__(self, postgres, mode):
        self.folder = Path(tempfile.mkdtemp(prefix="smp-pooler-", dir="/tmp"))
        text = POOLER.format(host=postgres.folder, folder=self.folder, mode=mode)
        if mode == "transaction" and self.version() >= PREPARED_SINCE:
            text += "max_prepared_statements = 200\n"
        (self.folder / "ini").write_text(text)
        (self.folder / "users").write_text(f'"{ROLE}" ""\n')
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, "postgres")
        self.folder.chmod(0o755)
        self.process = subprocess.Popen(["pgbouncer", "-q", self.folder / "ini"], stdin=subprocess.DEVNULL,
                                        preexec_fn=end_with_parent, **postgres.options)
        ready = [postgres.programs / "pg_isready", "-q", "-h", self.folder]
        while subprocess.run(ready, check=False).returncode != 0:
            assert self.process.poll() is None, (self.folder / "log").read_text()

    @staticmethod
    def version():
        """As numbers."""
        text = subprocess.run(["pgbouncer", "--version"], capture_output=True, text=True, check=True).stdout
        return tuple(map(int, re.search(r"PgBouncer (\d+)\.(\d+)", text).groups()))

    def end(self):
        """For good."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)
