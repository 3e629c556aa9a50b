# SPDX-License-Identifier: AGPL-3.0-or-later
"""Databases that the reference has left (6.3.2 to 7.0 beta), served: their clients find all that they left there.

What is expected is what the recorded clients know (data-*.json beside the rows).
"""

import json
import shutil
import time

import pytest
from database import RECORDED, SCHEMA
from smp import Connection, Notifier, Queue, ids_sum
from smp.commands import key_command, send_command, service_command
from smp.crypto import dh
from smp.recorded import key_of
from smp.service import Service
from smp.transport import decode_fingerprint
from smp_client import Address

VERSION = 20  # of clients: whatever the queues were made with
MESSAGES = ("msgId", "timestamp", "flags", "body")

# What the triggers of 7 do, in our words: of the recording only their names and signatures are known.
TRIGGERS = """
CREATE OR REPLACE FUNCTION {s}.xor_combine(state bytea, value bytea) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS
  $$SELECT string_agg(set_byte('x'::bytea, 0, get_byte(state, i) # get_byte(value, i)), ''::bytea ORDER BY i)
    FROM generate_series(0, 15) i$$;
CREATE OR REPLACE FUNCTION {s}.update_aggregates(p_service_id bytea, p_role text, p_queue_id bytea, p_change bigint)
  RETURNS void LANGUAGE plpgsql AS $$BEGIN
    UPDATE services SET queue_count = queue_count + p_change,
      queue_ids_hash = xor_combine(queue_ids_hash, decode(md5(p_queue_id), 'hex'))
    WHERE service_id = p_service_id AND service_role = p_role; END$$;
CREATE OR REPLACE FUNCTION {s}.on_queue_insert() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    PERFORM update_aggregates(NEW.rcv_service_id, 'M', NEW.recipient_id, 1);
    PERFORM update_aggregates(NEW.ntf_service_id, 'N', NEW.notifier_id, 1); RETURN NEW; END$$;
CREATE OR REPLACE FUNCTION {s}.on_queue_delete() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    IF OLD.deleted_at IS NULL THEN
      PERFORM update_aggregates(OLD.rcv_service_id, 'M', OLD.recipient_id, -1);
      PERFORM update_aggregates(OLD.ntf_service_id, 'N', OLD.notifier_id, -1); END IF; RETURN OLD; END$$;
CREATE OR REPLACE FUNCTION {s}.on_queue_update() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    IF OLD.deleted_at IS NULL THEN
      PERFORM update_aggregates(OLD.rcv_service_id, 'M', OLD.recipient_id, -1);
      PERFORM update_aggregates(OLD.ntf_service_id, 'N', OLD.notifier_id, -1); END IF;
    IF NEW.deleted_at IS NULL THEN
      PERFORM update_aggregates(NEW.rcv_service_id, 'M', NEW.recipient_id, 1);
      PERFORM update_aggregates(NEW.ntf_service_id, 'N', NEW.notifier_id, 1); END IF; RETURN NEW; END$$;
""".replace("{s}", SCHEMA)
SUMS = f"""SELECT s.service_id, s.queue_count, count(q), coalesce(bit_xor(('x' || md5(q.id))::bit(128)), 0::bit(128)) =
  ('x' || encode(s.queue_ids_hash, 'hex'))::bit(128) FROM {SCHEMA}.services s LEFT JOIN
  (SELECT rcv_service_id AS service, recipient_id AS id FROM {SCHEMA}.msg_queues WHERE deleted_at IS NULL UNION ALL
   SELECT ntf_service_id, notifier_id FROM {SCHEMA}.msg_queues WHERE deleted_at IS NULL) q ON q.service = s.service_id GROUP BY 1"""
COUNTERS = f"""SELECT count(*) FROM {SCHEMA}.msg_queues q, LATERAL (SELECT count(*) AS n, count(*) FILTER (WHERE msg_quota) AS markers
  FROM {SCHEMA}.messages m WHERE m.recipient_id = q.recipient_id) c WHERE (msg_queue_size, msg_can_write, msg_queue_expire)
  IS DISTINCT FROM (n, markers = 0, n > markers)"""


class Known(Queue):
    """A queue of the recording, as its clients know it."""

    def __init__(self, entry):
        self.entry = entry
        self.rcv_id, self.snd_id = bytes.fromhex(entry["rcvId"]), bytes.fromhex(entry["sndId"])
        self.rcv_keys = [key_of(key) for key in entry["rcvKeys"]]
        self.rcv_key, self.snd_key = self.rcv_keys[0], key_of(entry.get("sndKey"))
        self.secret = bytes.fromhex(entry["sharedDhPoint"])
        assert self.secret == dh(bytes.fromhex(entry["serverDhKeyPublic"]), bytes.fromhex(entry["rcvDhKeyPrivate"]))
        self.status, self.mode = entry["status"], entry["mode"]
        self.messages = entry["messages"]
        self.is_full = any("quota" in message for message in self.messages)
        self.service = entry.get("rcvServiceId")

    def notifier(self):
        """Its notifier, if it has one."""
        known = self.entry.get("notifier")
        if known is None:
            return None
        notifier = Notifier.__new__(Notifier)
        notifier.key, notifier.notifier_id = key_of(known["key"]), bytes.fromhex(known["id"])
        notifier.secret = bytes.fromhex(known["sharedDhPoint"])
        return notifier

    def check_message(self, answer, expected):
        """It is the one that is expected; what the recording does not know of it may be anything. Gives its id."""
        found = self.open(answer)
        is_quota = expected.get("quota", False)
        now = {"msgId": found.msg_id.hex(), "timestamp": found.timestamp, "flags": found.flags.decode(),
               "body": "" if found.body is None else found.body.hex()}
        assert (found.body is None) == bool(is_quota)
        for part in MESSAGES:
            if part in expected and not (is_quota and part in ("flags", "body")):
                assert now[part] == expected[part], self.entry["name"]
        return found.msg_id

    def receive_all(self, conn):
        """SUB with each of its keys; each message in its order, acknowledged."""
        for self.rcv_key in self.rcv_keys:
            answer = self.sub(conn)
            assert answer.tag == "SOK", self.entry["name"]
        for at, expected in enumerate(self.messages):
            message = conn.event() if at == 0 else answer
            answer = self.ack(conn, self.check_message(message, expected))
        assert not self.messages or answer.raw == b"OK"
        conn.events.clear()  # the first one again, for each further SUB


class Stage:
    """The server, and who comes to it."""

    def __init__(self, database, version):
        self.database, self.program, self.version = database, database.program, version
        self.now_s = int(time.time())
        self.recording = json.loads((RECORDED / f"data-{version}.json").read_text())
        self.queues = [Known(entry) for entry in self.recording["queues"]]
        self.ntfs = list(self.read_ntfs())
        if version == "6.3.2":  # they were in its journal
            for queue in self.queues:
                queue.messages, queue.is_full = [], False

    def read_ntfs(self):
        """Notifications that waited, as if they had come just now: they live for a year at most."""
        path = RECORDED / f"data-{self.version}.ntfs.log"
        for line in path.read_text().splitlines(keepends=True) if path.exists() else []:
            words = line.split(" ")
            yield " ".join([*words[:3], str(self.now_s), *words[4:]])

    def prepare(self):
        """Rows, messages and notifications as they were left; the settings of a server on them."""
        self.database.load(self.version, f"data-{self.version}.sql")
        if self.version.startswith("7"):
            self.database.postgres.psql(self.database.name, "-1", "-c", TRIGGERS, role="smp")
        self.program.state.mkdir(parents=True, exist_ok=True)
        source = RECORDED / f"data-{self.version}.messages.log"
        if source.exists():
            shutil.copy(source, self.program.state / "smp-server-messages.log")
        (self.program.state / "smp-server-ntfs.log").write_text("".join(self.ntfs))
        if self.version == "6.4.5":
            done = self.database.run("import", "--table", "messages")
            assert f"Import completed: {sum(len(q.messages) for q in self.queues if q.status != 'deleted')} messages\n" in done.stdout
        for key, value in (("store_queues", "database"), ("store_messages", "database"), ("expire_messages_days", 36500)):
            self.program.set("STORE_LOG", key, value)
        self.program.set("LIMITS", "notification_interval_ms", 50)

    def start(self):
        """Upgrades what has to be."""
        return self.program.start("--confirm-migrations", "up")

    def connect(self, service=None):
        """A client."""
        identity = decode_fingerprint((self.program.config / "fingerprint").read_text())
        return Connection(Address("127.0.0.1", self.program.port, identity, None), VERSION, service=service)

    def by_status(self, status):
        """Queues whose status begins so."""
        return [queue for queue in self.queues if queue.status.startswith(status)]

    def services(self, role):
        """Recorded services of a role, with their ids."""
        for known in self.recording.get("services", []):
            if known["role"] == role:
                chain = [bytes.fromhex(der) for der in known["chain"]]
                yield Service.known(self.program.root, role=role, chain=chain, pem=known["pem"]), bytes.fromhex(known["serviceId"])


def check_links(stage):
    """LGET of addresses, LKEY of what is secured; what was removed is not there."""
    with stage.connect() as conn:
        for queue in stage.by_status("active"):
            if "linkId" not in queue.entry:
                continue
            link_id = bytes.fromhex(queue.entry["linkId"])
            key = queue.snd_key or queue.rcv_keys[0]
            answer = conn.request(b"LGET", link_id) if queue.mode == "C" else \
                conn.request(key_command("LKEY", key.der), link_id, key)
            if queue.entry.get("linkDataRemoved"):
                assert answer.raw == b"ERR AUTH"
                continue
            assert (answer.tag, answer.snd_id) == ("LNK", queue.snd_id), queue.entry["name"]
            assert (answer.fixed.hex(), answer.user.hex()) == (queue.entry["fixedData"], queue.entry["userData"])
            if queue.mode == "M" and queue.snd_key is None:
                queue.snd_key = key  # LKEY has secured it


def check_refused(stage):
    """Queues that are deleted, off, blocked or full, by those who send."""
    with stage.connect() as conn:
        for queue in stage.by_status("deleted"):
            assert queue.sub(conn).raw == queue.send(conn, b"x").raw == b"ERR AUTH"
        for queue in stage.by_status("off"):
            assert queue.send(conn, b"x").raw == b"ERR AUTH"
        for queue in stage.by_status("blocked"):
            words = queue.status.replace("blocked,", "BLOCKED ").encode()
            assert queue.sub(conn).raw == queue.send(conn, b"x").raw == b"ERR " + words
        for queue in stage.by_status("active"):
            if queue.is_full:
                assert queue.send(conn, b"x").raw == b"ERR QUOTA"
            if queue.snd_key is not None:
                assert conn.request(send_command(b"x"), queue.snd_id).raw == b"ERR AUTH"


def check_notifications(stage):
    """Those that had waited, in the log; then one for a new message."""
    n_waited = 0
    with stage.connect() as conn, stage.connect() as sender:
        for queue in stage.by_status("active"):
            notifier = queue.notifier()
            if notifier is None or "ntfServiceId" in queue.entry:
                continue
            assert notifier.sub(conn).tag == "SOK"
            told = [m for m in queue.messages if m["flags"] == "T"] if stage.ntfs else []
            for expected in told:
                assert notifier.open(conn.event()) == (bytes.fromhex(expected["msgId"]), stage.now_s)
                n_waited += 1
            assert queue.send(sender, b"told", b"T").raw == b"OK"
            msg_id, _ = notifier.open(conn.event())
            queue.messages = [*queue.messages, {"msgId": msg_id.hex(), "flags": "T", "body": b"told".hex()}]
    return n_waited


def check_services(stage):
    """They have the ids that they had, and all that was theirs."""
    for service, service_id in (pair for role in "NMP" for pair in stage.services(role)):
        with stage.connect(service) as conn:
            assert conn.service_id == service_id
            part = {"N": "ntfServiceId", "M": "rcvServiceId", "P": "none"}[service.role]
            its = [queue for queue in stage.queues if queue.entry.get(part) == service_id.hex() and queue.status == "active"]
            if not its:
                continue
            ids = [bytes.fromhex(q.entry["notifier"]["id"]) if service.role == "N" else q.rcv_id for q in its]
            check_service(conn, service.role, its, ids)


def check_service(conn, role, its, ids):
    """SUBS or NSUBS: the sum; for messages all that waits, acknowledged as it comes, and ALLS."""
    answer = conn.as_service(service_command("NSUBS" if role == "N" else "SUBS", VERSION))
    assert (answer.tag, (answer.count, answer.ids_hash)) == ("SOKS", ids_sum(ids))
    if role == "N":
        return
    by_id, n_left = {queue.rcv_id: queue for queue in its}, sum(len(queue.messages) for queue in its)
    while n_left:
        event = conn.event()
        if event.tag == "MSG":
            queue = by_id[event.entity]
            msg_id = queue.check_message(event, queue.messages.pop(0))
            n_left -= 1
            assert queue.ack(conn, msg_id).raw == b"OK"


def check_messages(stage):
    """All are there, in their order; then each queue takes and gives another."""
    with stage.connect() as conn, stage.connect() as sender:
        for queue in (*stage.by_status("active"), *stage.by_status("off")):
            queue.receive_all(conn)
            if queue.status == "active":
                assert queue.send(sender, b"new").raw == b"OK", queue.entry["name"]
                assert queue.ack(conn, queue.check_message(conn.event(), {"flags": "F", "body": b"new".hex()})).raw == b"OK"


@pytest.mark.parametrize(("version", "cache_mb"), [("6.3.2", 256), ("6.4.5", 0), ("6.5.5", 0), ("7.0.0-beta.2", 256)])
def test_served(database, version, cache_mb):
    """Links, refusals, notifications, services, messages; after an orderly stop all columns are right."""
    stage = Stage(database, version)
    stage.prepare()
    database.program.set("STORE_LOG", "db_cache_mb", cache_mb)
    server = stage.start()
    check_links(stage)
    check_refused(stage)
    n_waited = check_notifications(stage)
    assert n_waited == (0 if version < "6.5" else 3)
    check_services(stage)
    check_messages(stage)
    server.stop()
    assert database.sql(COUNTERS) == ["0"]
    if version.startswith("7"):
        sums = [row.split("|")[1:] for row in database.sql(SUMS)]
        assert sums
        assert all(count == found and is_hash == "t" for count, found, is_hash in sums)
