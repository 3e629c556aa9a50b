# SPDX-License-Identifier: AGPL-3.0-or-later
"""A database of a test, filled with what was recorded or with our samples."""

from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "reference-6.5.5"
RECORDED = SAMPLES / "database"
LOGS = ("smp-server-store.log", "smp-server-messages.log")
MIGRATIONS = ["20250207_initial", "20250319_updated_index", "20250320_short_links", "20250514_service_certs",
              "20250903_store_messages"]
SCHEMA = "smp_server"
VACUUM = ["scale_factor='0'", "threshold='20000'", "cost_delay='0'"]
TUNED = ("WITH (" + ", ".join(f"{prefix}autovacuum_vacuum_{one}" for prefix in ("", "toast.") for one in VACUUM) + ");",
         "ALTER TABLE ONLY smp_server.messages ALTER COLUMN msg_body SET STORAGE EXTERNAL;")
TABLES = {"services": "service_id", "msg_queues": "recipient_id", "messages": "message_id"}
IN_ANY_ORDER = {"PGOPTIONS": "-c session_replication_role=replica"}  # rows before those that they refer to


def untuned(dump):
    """A dump without what `tune` sets, which must be there."""
    for line in TUNED:
        assert line in dump
    with_clause, storage = TUNED
    return dump.replace(f")\n{with_clause}", ");").replace(f"{storage}\n", "")


class Database:
    """A database of a test, and the program that is told of it."""

    def __init__(self, postgres, program):
        self.postgres, self.program = postgres, program
        self.name = postgres.database()
        self.connection = postgres.connection(self.name)

    def load(self, schema, data=None):
        """What was recorded, as the superuser: triggers of 7 name functions without their schema."""
        if schema == "7.0.0-beta.2":
            self.sql("CREATE EXTENSION pgcrypto SCHEMA public")
        self.postgres.load(self.name, RECORDED / f"schema-{schema}.sql", role="postgres")
        if data:
            self.postgres.load(self.name, RECORDED / data, role="postgres", **IN_ANY_ORDER)

    def sql(self, text):
        """As the superuser."""
        return self.postgres.sql(self.name, text)

    def within(self, text, role="smp"):
        """With the schema as search path; a transaction."""
        return self.postgres.psql(self.name, "-1", "-c", f"SET search_path TO {SCHEMA}", "-c", text, role=role).splitlines()

    def rows(self, schema=SCHEMA):
        """All rows of the three tables, as PostgreSQL writes them."""
        return {table: self.sql(f"SELECT * FROM {schema}.{table} ORDER BY {key}") for table, key in TABLES.items()}

    def dump(self, schema=SCHEMA):
        """The schema in words."""
        return self.postgres.dump(self.name, schema)

    def migrations(self):
        """Names, in their order."""
        return self.sql(f"SELECT name FROM {SCHEMA}.migrations ORDER BY name")

    def run(self, word, *words, **options):
        """`database word -y`."""
        return self.program.run("database", word, "-y", *words, **options)

    def refuse(self, word, *words):
        """One that must fail: its last line."""
        done = self.run(word, *words, status=1)
        return done.stderr.splitlines()[-1]


def put_logs(program, store_log=SAMPLES / "memory" / LOGS[0], messages_log=SAMPLES / "memory" / LOGS[1]):
    """Logs into the state directory."""
    program.state.mkdir(parents=True, exist_ok=True)
    for source, name in ((store_log, LOGS[0]), (messages_log, LOGS[1])):
        if source:
            (program.state / name).write_bytes(source.read_bytes())
