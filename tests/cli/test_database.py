# SPDX-License-Identifier: AGPL-3.0-or-later
"""`smp-server database`: the reference's tables, made, upgraded, filled and read, and what is refused.

What the reference left in its databases, and what it made of our samples, is in tests/samples/reference-6.5.5/database.
"""

import base64
import json
import re
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from database import LOGS, MIGRATIONS, RECORDED, SAMPLES, SCHEMA, put_logs, untuned
from smp_client import drain, fill

SECRET = "se+cr%40et"
ENOUGH = 60
SOCKET = ".s.PGSQL.5432"


def take_logs(program):
    """Reads the logs and takes them away."""
    texts = [(program.state / name).read_bytes() for name in LOGS]
    for name in LOGS:
        (program.state / name).unlink()
    return texts


def lines(path):
    """Of a recorded log."""
    return (RECORDED / path).read_bytes().splitlines()


def files(program):
    """What is in the state directory, without backups of the time of compaction."""
    return {p.name for p in program.state.iterdir() if not re.search(r"\.log\.\d{4}-", p.name)} - {"smp-server.lock"}


def ask(program, *words, answers):
    """A command that is answered on its standard input: everything that it printed, and its status."""
    done = subprocess.run([program.binary, "database", *words], env=program.environment, input=answers, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=ENOUGH, check=False)
    return done.stdout, done.returncode


# ---- import ----


def test_import_is_the_references(database, recorded):
    """Schema, rows, ids of messages and counters: what the reference made of the same logs."""
    put_logs(database.program)
    done = database.run("import")
    other = recorded("6.5.5", "import-6.5.5.sql")
    assert untuned(database.dump()) == other.dump()
    assert database.rows() == other.rows()
    assert database.migrations() == other.migrations() == MIGRATIONS
    assert "Import completed: 0 services, 5 queues, 133 messages\n" in done.stdout
    assert files(database.program) == {f"{name}.bak" for name in LOGS}
    assert database.sql(f"SELECT last_value FROM {SCHEMA}.messages_message_id_seq") == ["133"]


def test_export_is_the_references(database):
    """The logs that the reference wrote out of the same rows."""
    database.load("6.5.5", "import-6.5.5.sql")
    done = database.run("export")
    store_log, messages_log = take_logs(database.program)
    assert sorted(store_log.splitlines()) == sorted(lines("import-6.5.5.export.store.log"))
    assert messages_log == (RECORDED / "import-6.5.5.export.messages.log").read_bytes()
    assert "Export completed: 0 services, 5 queues, 133 messages\n" in done.stdout


def test_export_of_the_reference_is_read(database, recorded):
    """What it cannot read itself: messages of deleted queues, empty bodies, empty link data, a notice in JSON."""
    put_logs(database.program, RECORDED / "data-6.5.5.export.store.log", RECORDED / "data-6.5.5.export.messages.log")
    done = database.run("import")
    other = recorded("6.5.5", "data-6.5.5.sql")
    live = "recipient_id IN (SELECT recipient_id FROM smp_server.msg_queues WHERE deleted_at IS NULL)"
    queues = f"SELECT * FROM smp_server.msg_queues WHERE {live} ORDER BY recipient_id"
    bodies = f"""SELECT recipient_id, msg_id, msg_ts, msg_quota, msg_ntf_flag, msg_body FROM smp_server.messages
                 WHERE {live} ORDER BY recipient_id, message_id"""
    left_out = other.sql(f"SELECT count(*) FROM smp_server.messages WHERE NOT {live}")[0]
    assert left_out != "0"
    assert f"Left out: {left_out} messages of queues that were deleted or do not exist\n" in done.stdout
    assert database.sql(queues) == other.sql(queues)
    assert database.sql(bodies) == other.sql(bodies)
    assert database.rows()["services"] == other.rows()["services"]
    assert any("notice={" in row for row in database.rows()["msg_queues"])


def test_import_of_queues_then_messages(database, recorded):
    """One after the other gives the same; messages that were there are replaced, and ids go on."""
    put_logs(database.program)
    assert "Import completed: 0 services, 5 queues\n" in database.run("import", "--table", "queues").stdout
    assert files(database.program) == {f"{LOGS[0]}.bak", LOGS[1]}
    database.run("import", "--table", "messages")
    other = recorded("6.5.5", "import-6.5.5.sql")
    assert database.rows() == other.rows()
    put_logs(database.program, store_log=None)
    text, status = ask(database.program, "import", "--table", "messages", answers="Y\nn\n")
    assert status == 1
    assert "WARNING: the database contains 133 messages, they will be deleted." in text
    assert database.rows() == other.rows()
    text, status = ask(database.program, "import", "--table", "messages", answers="Y\nY\n")
    assert status == 0
    assert "Import completed: 133 messages\n" in text
    assert database.sql(f"SELECT min(message_id), max(message_id), count(*) FROM {SCHEMA}.messages") == ["134|266|133"]
    assert database.rows()["msg_queues"] == other.rows()["msg_queues"]


def test_import_corrects_counters(database):
    """Queues without messages too, and those that were full."""
    put_logs(database.program)
    database.run("import")
    before, dump = database.rows()["msg_queues"], database.dump()
    database.sql(f"UPDATE {SCHEMA}.msg_queues SET msg_queue_size = 7, msg_can_write = false, msg_queue_expire = true")
    put_logs(database.program, store_log=None)
    database.run("import", "--table", "messages")
    assert database.rows()["msg_queues"] == before
    assert database.dump() == dump  # indexes are away while rows come


@pytest.mark.parametrize("name", LOGS)
def test_import_is_whole_or_not_at_all(database, name):
    """A line that cannot be read: no schema, logs where they were. With --skip-warnings it is set aside."""
    put_logs(database.program)
    path = database.program.state / name
    text = path.read_bytes()
    path.write_bytes(text + b"not a line\n")
    assert "not a record" in database.refuse("import")
    assert database.sql(f"SELECT 1 FROM pg_namespace WHERE nspname = '{SCHEMA}'") == []
    assert (database.program.state / LOGS[0]).exists()
    assert (database.program.state / LOGS[1]).exists()
    path.write_bytes(text + b"not a line\n")
    done = database.run("import", "--skip-warnings")
    assert "5 queues, 133 messages" in done.stdout
    assert (database.program.state / f"{name}.bad").read_bytes() == b"not a line\n"


def test_import_of_an_unknown_service(database):
    """A queue may name a service that the log does not have: its row names none."""
    put_logs(database.program)
    path = database.program.state / LOGS[0]
    line = path.read_text().splitlines()[0]
    recipient = re.search(r"rid=(\S+)", line).group(1)
    with path.open("a") as log:
        log.write(f"QUEUE_SERVICE {recipient} R {'A' * 32}\n")
    database.run("import")
    assert database.sql(f"SELECT count(*), count(rcv_service_id) FROM {SCHEMA}.msg_queues") == ["5|0"]


def test_round_trip(database):
    """Out and in again: the same logs."""
    database.load("6.5.5", "data-6.5.5.sql")
    database.run("export")
    first = [(database.program.state / name).read_bytes() for name in LOGS]
    database.run("import", "--schema", "other")
    database.run("export", "--schema", "other")
    assert take_logs(database.program) == first
    assert untuned(database.dump("other").replace("other", SCHEMA)) == database.dump()


# ---- what comes in between ----

LOCK = "SELECT pg_advisory_lock(1936552046)"  # that of the steps of the schema: an import waits for it within its transaction


def schema_is_there(database):
    """Is it?"""
    return database.sql(f"SELECT 1 FROM pg_namespace WHERE nspname = '{SCHEMA}'") != []


@pytest.mark.parametrize("who", ["program", "backend"])
def test_import_is_killed(database, who):
    """In the middle: nothing is there, and it can be given again."""
    postgres, program = database.postgres, database.program
    put_logs(program)
    holder = subprocess.Popen([postgres.programs / "psql", "-X", "-q", "-h", postgres.folder, "-U", "postgres", "-d", database.name],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(LOCK + ";", file=holder.stdin, flush=True)
    until = time.monotonic() + ENOUGH
    while database.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted") == []:
        assert time.monotonic() < until
    running = subprocess.Popen([program.binary, "database", "import", "-y"], env=program.environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    waits = f"FROM pg_stat_activity WHERE datname = '{database.name}' AND wait_event_type = 'Lock'"
    while database.sql(f"SELECT 1 {waits}") == []:
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() < until
    if who == "program":
        running.kill()
    else:
        database.sql(f"SELECT pg_terminate_backend(pid) {waits}")
    text, _ = running.communicate(timeout=ENOUGH)
    if who == "backend":
        assert running.returncode == 1
        assert "terminating connection due to administrator command" in text, text
    holder.communicate(timeout=ENOUGH)
    assert not schema_is_there(database)
    assert all((program.state / name).exists() for name in LOGS)
    assert "5 queues, 133 messages" in database.run("import").stdout


class Cutter(threading.Thread):
    """Between program and PostgreSQL: ends the connection when COMMIT is sent, before it is passed on or after."""

    def __init__(self, postgres, passes_on):
        super().__init__(daemon=True)
        self.passes_on, self.target = passes_on, str(postgres.folder / SOCKET)
        self.folder = Path(tempfile.mkdtemp(prefix="smp-cut-", dir="/tmp"))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / SOCKET))
        self.listener.listen()

    def run(self):
        """One connection."""
        client, _ = self.listener.accept()
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self.target)
            while True:
                for side in select.select([client, server], [], [])[0]:
                    piece = side.recv(1 << 16)
                    commits = side is client and b"COMMIT\0" in piece
                    if not commits or self.passes_on:
                        (server if side is client else client).sendall(piece)
                    if commits and self.passes_on:
                        assert server.recv(1 << 16)  # done, and nobody is told
                    if commits or not piece:
                        return

    def end(self):
        """Leaves nothing."""
        self.join(ENOUGH)
        self.listener.close()
        shutil.rmtree(self.folder)


@pytest.mark.parametrize("passes_on", [False, True])
def test_commit_is_cut(database, passes_on):
    """Nobody knows then, and that is what is said; the next import says which it was."""
    put_logs(database.program)
    cutter = Cutter(database.postgres, passes_on)
    cutter.start()
    line = database.refuse("import", "-d", f"postgresql://smp@/{database.name}?host={cutter.folder}")
    cutter.end()
    assert "so it is not known whether it is there: run the command again" in line
    assert all((database.program.state / name).exists() for name in LOGS)
    assert schema_is_there(database) == passes_on
    if passes_on:
        assert f"the schema {SCHEMA} exists" in database.refuse("import")
        assert len(database.rows()["messages"]) == 133
    else:
        database.run("import")


# ---- databases that other versions have left ----


def as_text(hex_bytes):
    """As in the store log."""
    return base64.urlsafe_b64encode(bytes.fromhex(hex_bytes)).decode()


def check_queue(queue, line, messages):
    """A line of the store log, and the messages, are what the clients of the recording know."""
    assert f" rk={','.join(as_text(key['public']) for key in queue['rcvKeys'])} " in line
    assert f" rdh={as_text(queue['sharedDhPoint'])} " in line
    assert f" sid={as_text(queue['sndId'])} " in line
    status = queue["status"]
    assert (f" status={status}" in line) == (status != "active")
    expected = [(bool(m.get("quota")), m.get("flags"), m.get("body", "")) for m in queue["messages"]]
    assert messages == expected


def parse_messages(text):
    """(marker, flag, body in hex) by recipient id."""
    found = {}
    for line in text.decode().splitlines():
        words = line.split(" ")
        is_quota = words[4] == "quota"
        body = "" if is_quota else base64.urlsafe_b64decode(words[5]).hex()
        found.setdefault(words[1], []).append((is_quota, None if is_quota else words[4].removeprefix("flags="), body))
    return found


@pytest.mark.parametrize(("version", "has_messages"), [("6.3.2", False), ("6.4.5", False), ("6.5.5", True), ("7.0.0-beta.2", True)])
def test_recorded(database, recorded, version, has_messages):
    """Opened, upgraded where that is needed, and exported as its json says; a server serves what comes out."""
    database.load(version, f"data-{version}.sql")
    before = database.migrations()
    done = database.run("export")
    store_log, messages_log = take_logs(database.program)
    if has_messages:
        assert database.migrations() == before
        assert sorted(store_log.splitlines()) == sorted(lines(f"data-{version}.export.store.log"))
    else:
        upgraded = recorded("6.5.5", f"data-{version}-upgraded-to-6.5.5.sql")
        assert "Confirm to upgrade using these migrations: " in done.stdout
        assert database.migrations() == MIGRATIONS
        assert database.dump() == upgraded.dump()
        assert database.rows() == upgraded.rows()
    queues = json.loads((RECORDED / f"data-{version}.json").read_text())["queues"]
    by_id = {re.search(r"rid=(\S+)", line).group(1): line for line in store_log.decode().splitlines() if line.startswith("CREATE")}
    messages = parse_messages(messages_log)
    for queue in queues:
        name = as_text(queue["rcvId"])
        if queue["status"] == "deleted":
            assert name not in by_id
            assert name not in messages
            continue
        check_queue(queue if has_messages else queue | {"messages": []}, by_id.pop(name), messages.pop(name, []))
    assert (by_id, messages) == ({}, {})


# ---- migrations ----


def downs(database):
    """Executes what is stored, newest first, as an older server would; gives the name of each before it is."""
    for name in reversed(MIGRATIONS[1:]):
        yield name
        text = "\n".join(database.sql(f"SELECT down FROM {SCHEMA}.migrations WHERE name = '{name}'"))
        database.within(f"{text}; DELETE FROM migrations WHERE name = '{name}'")


def test_each_step_down(database, recorded):
    """Each `down` gives the schema that the reference's gives, and from there it goes up again."""
    put_logs(database.program)
    database.run("import")
    rows = database.rows()
    for name in downs(database):
        at = MIGRATIONS.index(name)
        expected = recorded(f"6.5.5-down-to-{name}" if name != MIGRATIONS[-1] else "6.5.5")
        dump = database.dump() if name != MIGRATIONS[-1] else untuned(database.dump())
        assert dump == expected.dump()
        assert database.migrations() == MIGRATIONS[:at + 1]
    assert database.dump() == recorded(f"6.5.5-down-to-{MIGRATIONS[0]}").dump()
    database.run("export", "--table", "queues", "--confirm-migrations", "up")
    assert database.dump() == recorded("6.5.5").dump()
    again = [row.replace("|C|", "||") for row in rows["msg_queues"]]
    keep = r"^((?:[^|]*\|){11})"  # up to deleted_at: links are gone, as are messages
    assert [re.match(keep, row).group(1) for row in database.rows()["msg_queues"]] == \
        [re.match(keep, row).group(1) for row in again]


def test_several_keys_do_not_go_down(database):
    """The schema before short links holds one key: the step fails and nothing is lost."""
    database.load("6.5.5", "data-6.5.5.sql")
    put_logs(database.program, RECORDED / "data-6.5.5.export.store.log", None)
    database.run("import", "--table", "queues", "--schema", "ours")
    before = database.rows("ours")
    text = "\n".join(database.sql("SELECT down FROM ours.migrations WHERE name = '20250320_short_links'"))
    with pytest.raises(AssertionError, match="there are queues with several recipient keys"):
        database.postgres.psql(database.name, "-1", "-c", "SET search_path TO ours", "-c", text)
    assert database.rows("ours") == before


def test_migrations_are_asked_for(database):
    """Without an option the terminal is; an empty answer and the end of input change nothing."""
    database.load("6.4.5", "data-6.4.5.sql")
    for answers in ("Y\nn\n", "Y\n\n", "Y\n"):
        text, status = ask(database.program, "export", answers=answers)
        assert status == 1
        assert "Confirm to upgrade using these migrations: 20250903_store_messages\n" in text
        assert "nothing was done" in text
        assert database.migrations() == MIGRATIONS[:4]
    text, status = ask(database.program, "export", answers="Y\ny\n")
    assert (status, database.migrations()) == (0, MIGRATIONS)


def test_an_empty_schema_is_made(database):
    """As an operator makes it for a new server."""
    database.postgres.sql(database.name, f"CREATE SCHEMA {SCHEMA} AUTHORIZATION smp")
    done = database.run("export")
    assert f"using these migrations: {', '.join(MIGRATIONS)}\n" in done.stdout
    assert "Export completed: 0 services, 0 queues, 0 messages\n" in done.stdout


@pytest.mark.parametrize("change", [
    "DELETE FROM migrations WHERE name = '20250514_service_certs'",
    "INSERT INTO migrations VALUES ('20991231_unknown', now(), NULL)",
    "UPDATE migrations SET name = '20250208_initial' WHERE name = '20250207_initial'",
    """INSERT INTO migrations VALUES ('20250915_queue_ids_hash', now(), NULL), ('20260101_later', now(), NULL)""",
])
def test_other_migrations_are_refused(database, change):
    """A hole, a strange name, one too many: nothing is changed."""
    put_logs(database.program)
    database.run("import")
    database.within(change)
    before = (database.dump(), database.rows(), database.migrations())
    line = database.refuse("export")
    assert "has the migration" in line
    assert "nothing is changed" in line
    assert (database.dump(), database.rows(), database.migrations()) == before
    assert not any((database.program.state / name).exists() for name in LOGS)


def test_two_make_the_schema_at_once(database):
    """One waits for the other; both find it made."""
    database.sql(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION smp")
    other = database.program.root / "other"
    (other / "var").mkdir(parents=True)
    environments = [database.program.environment, database.program.environment | {"SMP_SERVER_LOG_PATH": str(other / "var")}]
    running = [subprocess.Popen([database.program.binary, "database", "tune", "-y"], env=environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for environment in environments]
    for one in running:
        text, _ = one.communicate(timeout=ENOUGH)
        assert one.returncode == 0, text
    assert database.migrations() == MIGRATIONS


def test_tune(database, recorded):
    """A schema that the reference made; again it changes nothing."""
    database.load("6.5.5", "data-6.5.5.sql")
    before = database.rows()
    plain = database.dump()
    for _ in range(2):
        assert database.run("tune").stdout.startswith(f"Tuned the schema {SCHEMA}: ")
        assert untuned(database.dump()) == plain
    assert database.rows() == before
    assert recorded("6.5.5").dump() == plain


# ---- the functions, which the reference calls ----


def test_functions(database):
    """A queue is filled over its quota, read, and expires, as the reference does it."""
    put_logs(database.program)
    database.run("import")
    queue = database.sql(f"SELECT recipient_id FROM {SCHEMA}.msg_queues WHERE msg_queue_size = 0 LIMIT 1")[0]

    def write(n, when=100):
        return database.within(f"SELECT * FROM write_message('{queue}', decode(lpad('{n}', 48, '0'), 'hex'), {when}, false, true, 'b{n}', 2)")

    def state():
        return database.within(f"SELECT msg_can_write, msg_queue_expire, msg_queue_size FROM msg_queues WHERE recipient_id = '{queue}'")

    def call(function, n):
        rows = database.within(f"SELECT right(encode(r_msg_id, 'hex'), 1), r_msg_quota, r_msg_ntf_flag, convert_from(r_msg_body, 'UTF8') "
                               f"FROM {function}('{queue}', decode(lpad('{n}', 48, '0'), 'hex'))")
        return rows

    assert [write(n) for n in range(1, 5)] == [["f|t"], ["f|f"], ["t|f"], []]
    assert state() == ["f|t|3"]
    assert call("try_del_peek_msg", 2) == ["1|f|t|b1"]
    assert call("try_del_msg", 2) == []
    assert call("try_del_peek_msg", 1) == ["1|f|t|b1", "2|f|t|b2"]
    assert state() == ["f|t|2"]
    assert call("try_del_msg", 2) == ["2|f|t|b2"]
    assert call("try_del_peek_msg", 3) == ["3|t|f|"]
    assert state() == ["t|f|0"]
    assert call("try_del_peek_msg", 3) == []
    assert (write(5, 10), write(6, 20), write(7, 30)) == (["f|t"], ["f|f"], ["t|f"])
    assert database.within(f"SELECT delete_expired_msgs('{queue}', 15)") == ["1"]
    assert state() == ["f|t|2"]
    assert database.within(f"SELECT delete_expired_msgs('{queue}', 1000)") == ["1"]
    assert state() == ["f|f|1"]  # the marker stays
    assert database.within("SELECT * FROM write_message('unknown', '', 0, false, false, '', 2)") == []


def test_procedure_of_expiry(database):
    """All queues, in a transaction each."""
    put_logs(database.program)
    database.run("import")
    kept = database.sql(f"SELECT count(*) FROM {SCHEMA}.messages WHERE msg_quota")[0]
    done = database.postgres.psql(database.name, "-c", f"SET search_path TO {SCHEMA}",
                                  "-c", "CALL expire_old_messages(0, 99999999999, 2, NULL, NULL, NULL)")
    assert done == f"{133 - int(kept)}|{kept}|5\n"
    assert database.sql(f"SELECT count(*) FROM {SCHEMA}.messages WHERE NOT msg_quota") == ["0"]


# ---- what is refused ----


def test_no_schema(database):
    """Each command that needs one."""
    put_logs(database.program, None)
    expected = f"there is no schema {SCHEMA} in the database "
    assert expected in database.refuse("import", "--table", "messages")
    assert expected in database.refuse("delete")
    (database.program.state / LOGS[1]).unlink()
    for words in ([], ["--table", "queues"], ["--table", "messages"]):
        assert expected in database.refuse("export", *words)


def test_nothing_is_overwritten(database):
    """Neither a schema nor a file."""
    put_logs(database.program)
    database.run("import")
    before = database.rows()
    put_logs(database.program)
    for words in ([], ["--table", "queues"]):
        assert f"the schema {SCHEMA} exists" in database.refuse("import", *words)
    for table, name in (("all", LOGS[0]), ("queues", LOGS[0]), ("messages", LOGS[1])):
        assert f"{name} exists: move it away" in database.refuse("export", "--table", table)
    assert database.rows() == before


def test_logs_are_missing(database):
    """The line names the one."""
    database.program.state.mkdir(parents=True, exist_ok=True)
    assert f"there is no {database.program.state}/{LOGS[0]}: nothing to import" in database.refuse("import")
    put_logs(database.program, messages_log=None)
    assert f"there is no {database.program.state}/{LOGS[1]}: without messages, import `--table queues`" in database.refuse("import")


@pytest.mark.parametrize("answers", ["y\n", "n\n", "\n", ""])
def test_only_a_capital_y(database, answers):
    """As in the reference."""
    put_logs(database.program)
    text, status = ask(database.program, "import", answers=answers)
    assert (status, "nothing was done" in text) == (1, True)
    assert database.sql(f"SELECT 1 FROM pg_namespace WHERE nspname = '{SCHEMA}'") == []


@pytest.mark.parametrize("name", ["Smp", "1smp", "smp-server", "smp;drop", "", "a" * 64, "pg_smp"])
def test_bad_schema(database, name):
    """Names that mean another thing without quotes."""
    assert "its name must be of small letters" in database.refuse("export", "--schema", name)


@pytest.mark.parametrize(("words", "text"), [
    (["--table", "some"], "--table must be all, queues or messages"),
    (["--confirm-migrations", "sideways"], "--confirm-migrations must be up or down"),
])
def test_bad_options(database, words, text):
    """Each with what is allowed."""
    assert text in database.refuse("export", *words)


@pytest.mark.parametrize("connection", [
    f"postgresql://smp:{SECRET}@/nobody?host=/nonexistent",
    "postgresql://smp:se@cret@localhost/smp",
    "postgresql://smp:se/cret@localhost/smp",
    "postgresql://smp:se?cret@localhost/smp",
    "postgresql://smp:secret@localhost:port/smp",
    "postgresql://smp:secret@[::1/smp",
    "host=/nonexistent password=secret user=smp",
    "host=/nonexistent password = 'se cret",
    "postgresql://smp:secret@localhost/smp?nonsense=1",
])
@pytest.mark.parametrize("where", ["option", "setting"])
def test_passwords_are_not_shown(database, connection, where):
    """Whatever libpq makes of the string, and wherever it comes from."""
    words = ["-d", connection] if where == "option" else []
    if where == "setting":
        database.program.set("STORE_LOG", "db_connection", connection)
    done = database.run("export", *words, status=1)
    for part in ("cret", "se+", "se@", "se/", "se?", "cr%40"):
        assert part not in done.stdout + done.stderr
    assert done.stderr.startswith("Error: ")


def test_password_of_a_connection_that_works(database):
    """What is announced has none."""
    put_logs(database.program)
    done = database.run("import", "-d", database.connection.replace("smp@", "smp:topsecret@"))
    assert "topsecret" not in done.stdout + done.stderr
    assert f"database user=smp dbname={database.name} host=" in done.stdout


def test_delete_deletes_nothing(database):
    """It tells how."""
    put_logs(database.program)
    database.run("import")
    before = database.rows()
    done = database.run("delete")
    assert f"psql \"user=smp dbname={database.name} host=" in done.stdout
    assert f"DROP SCHEMA {SCHEMA} CASCADE;" in done.stdout
    assert database.rows() == before


def test_no_way_to_the_database(database):
    """One line, with PostgreSQL's words."""
    line = database.refuse("export", "-d", database.connection.replace(database.name, "missing"))
    assert line == ('Error: cannot reach the database: PostgreSQL says "connection to server on socket '
                    f'"{database.postgres.folder}/.s.PGSQL.5432" failed: FATAL:  database "missing" does not exist"')


def test_role_without_rights(database):
    """A schema of somebody else."""
    database.load("6.5.5", "import-6.5.5.sql")
    database.sql(f"ALTER SCHEMA {SCHEMA} OWNER TO postgres; REVOKE ALL ON SCHEMA {SCHEMA} FROM smp, public")
    line = database.refuse("export")
    assert line.startswith("Error: cannot ")
    assert line.endswith("(42501)")  # insufficient privilege


def test_bad_row(database):
    """Named by its column, never by an id."""
    database.load("6.5.5", "import-6.5.5.sql")
    database.sql(f"UPDATE {SCHEMA}.msg_queues SET status = 'strange'")
    assert f"a row of {SCHEMA}.msg_queues cannot be used: its status" in database.refuse("export")
    assert not any((database.program.state / name).exists() for name in LOGS)


def test_server_holds_the_lock(database):
    """Not while a server runs."""
    server = database.program.start()
    assert "smp-server" in database.refuse("export")
    server.stop()


# ---- settings ----


def use_database(program):
    """The server is to run on it."""
    for key in ("store_queues", "store_messages"):
        program.set("STORE_LOG", key, "database")


def test_a_server_on_the_database(database):
    """It serves what was imported, says where that is, and leaves it to be exported."""
    program = database.program
    put_logs(program)
    use_database(program)
    assert "database import" in program.refuse_start()
    database.run("import")
    server = program.start()
    server.wait("PostgreSQL database: user=smp", server.out)
    server.stop()
    database.run("export")
    assert "are queues in" in program.refuse_start()


@pytest.mark.parametrize("where", ["PGSERVICEFILE", "HOME", "PGSYSCONFDIR"])
def test_a_service_of_libpq(database, where):
    """db_connection may name a service: its file is read again with each connection, also within the sandbox."""
    program = database.program
    put_logs(program)
    database.run("import")
    use_database(program)
    folder = program.root / "services"
    folder.mkdir()
    path = folder / {"PGSERVICEFILE": "own.conf", "HOME": ".pg_service.conf", "PGSYSCONFDIR": "pg_service.conf"}[where]
    path.write_text(f"[relay]\nhost={database.postgres.folder}\ndbname={database.name}\nuser=smp\n")
    program.environment[where] = str(path if where == "PGSERVICEFILE" else folder)
    program.set("STORE_LOG", "db_connection", "service=relay")
    server = program.start()
    server.wait("PostgreSQL database: service=relay, schema: smp_server", server.out)
    database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'smp-server'")
    assert drain(program, fill(program, [b"after"])) == [b"after"]
    server.stop()


@pytest.mark.parametrize(("value", "is_days"), [("0", True), ("21", True), ("3650", True), ("3651", False), ("1814400", False)])
def test_days_of_deleted_queues(ready, value, is_days):
    """A small number is days, and that is said: the reference takes any for seconds."""
    use_database(ready)
    ready.set("STORE_LOG", "db_deleted_ttl", value)
    said = ready.run("start", "--print-config").stderr
    assert (f"db_deleted_ttl = {value} is taken for days" in said) == is_days


def test_a_schema_that_is_not_there(database):
    """None, an empty one, and one that is older."""
    program = database.program
    use_database(program)
    line = program.refuse_start()
    assert "there is no schema smp_server" in line and "CREATE SCHEMA smp_server" in line
    database.load("6.4.5", "data-6.4.5.sql")
    line = program.refuse_start()
    assert "it lacks 20250903_store_messages" in line and "--confirm-migrations up" in line
    server = program.start("--confirm-migrations", "up")
    server.stop()
    server = program.start()
    server.stop()


def test_queues_in_the_database_messages_in_the_journal(database):
    """What the reference calls database+journal: to our journal, and to a database with both."""
    program = database.program
    put_logs(program, SAMPLES / "journal" / LOGS[0], None)
    database.run("import", "--table", "queues")
    shutil.copytree(SAMPLES / "journal" / "messages", program.state / "messages")
    program.set("STORE_LOG", "store_queues", "database")
    assert "messages are in the journal: run `smp-server journal export`" in program.refuse_start()
    database.run("export", "--table", "queues")
    program.set("STORE_LOG", "store_queues", "memory")
    done = program.run("journal", "import", "-y")
    messages = re.search(r"Messages: (\d+), queues: 5\.", done.stdout).group(1)
    assert int(messages) > 100
    server = program.start()
    server.wait(f"info store queues=5 messages={messages}", server.err)
    server.stop()
    program.run("journal", "export", "-y")
    program.run("journal", "delete", "-y")
    assert f"Import completed: {messages} messages\n" in database.run("import", "--table", "messages").stdout


def test_exported_logs_are_served(database):
    """From the database to a server in memory, and on to the journal."""
    program = database.program
    database.load("7.0.0-beta.2", "data-7.0.0-beta.2.sql")
    done = database.run("export")
    queues, messages = re.search(r"services, (\d+) queues, (\d+) messages", done.stdout).groups()
    program.set("STORE_LOG", "store_messages", "memory")
    program.set("STORE_LOG", "expire_messages_on_start", "off")
    server = program.start()
    server.wait(f"info store queues={queues} messages={messages}", server.err)
    server.stop()
    done = program.run("journal", "import", "-y")
    assert f"Messages: {messages}, queues: {queues}." in done.stdout
    done = program.run("journal", "export", "-y")
    program.run("journal", "delete", "-y")
    assert f"services, {queues} queues, {messages} messages\n" in database.run("import", "--schema", "second").stdout
