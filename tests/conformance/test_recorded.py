# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recorded sessions of versions 19 and 20, said anew: the same commands, with the same keys, in the
same order, to the server under test, which must say what the reference said. Ids differ and are
mapped; where somebody hears several things for one command, their order is not compared."""

import os
import time

import pytest
from smp import Connection, ids_sum
from smp.crypto import dh, unbox
from smp.queue import read_message
from smp.recorded import RecordedSession, files, mapped_sum

PATIENCE = 10
QUICK = {("LIMITS", "notification_interval_ms"): 50, ("LIMITS", "end_interval_ms"): 0}
NAMES = ("queues", "notifications", "notification service", "messaging service",
         "names, no resolver")
SESSIONS = [(name, entry) for name, data in files().items() for entry in data["sessions"]
            if entry["name"] in NAMES]

# Faults of the reference, which has nothing to give to a connection that got ENDS: test_services.
NOT_SAID = {"NSUBS in the first connection again, which got ENDS",
            "SUBS in the first connection again, which got ENDS"}


class Stage:
    """A recorded session on a live server. `live` maps recorded ids to those of this server."""

    def __init__(self, session, address, folder):
        self.session, self.address, self.folder = session, address, folder
        self.live, self.secrets, self.open = {b"": b""}, {}, {}
        self.services = {}

    def close(self):
        """Closes all connections."""
        for conn in self.open.values():
            conn.close()

    def connection(self, recorded):
        """The live one in the place of a recorded one."""
        if recorded.name not in self.open:
            service = recorded.service(self.folder)
            known = service and service.service_id
            conn = Connection(self.address, recorded.version, service=service)
            self.open[recorded.name] = conn
            if service:
                assert self.live.setdefault(known, conn.service_id) == conn.service_id
        return self.open[recorded.name]

    def say(self, step):
        """Sends the step's command; gives what was sent."""
        conn, command = self.connection(step.connection), step.command
        if command.startswith(b"ACK "):
            command = command[:5] + self.live[command[5:]]
        entity = self.live.get(step.entityId, step.entityId)
        sent = conn.make(command, entity, step.key, step.corrId, step.signed_by_service)
        conn.write([sent])
        return sent

    def run(self, step):
        """Says it, and compares what is heard with what was heard then."""
        if step.what in NOT_SAID:
            return
        conn = self.connection(step.connection)
        sent = self.say(step) if step.command else None
        for answer in sorted(step.answers(), key=lambda a: not a.corr_id):
            if answer.corr_id:
                live = conn.wait(sent, PATIENCE)
            else:
                live = self.event(conn, answer)
            self.compare(step, answer, live)

    def event(self, conn, like):
        """What the server sends of itself that has the tag and entity of a recorded one."""
        entity, deadline = self.live[like.entity], time.monotonic() + PATIENCE
        while True:
            for event in conn.events:
                if (event.tag, event.entity) == (like.tag, entity):
                    conn.events.remove(event)
                    return event
            conn.receive(max(0.001, deadline - time.monotonic()))

    def compare(self, step, old, new):
        """Everything but ids, keys and times must be the same."""
        assert (new.tag, new.entity) == (old.tag, self.live.get(old.entity, old.entity)), step.what
        assert set(new.fields) == set(old.fields)
        check = getattr(self, f"compare_{old.tag.lower()}", None)
        if check is not None:
            check(old, new)
        else:
            assert new.raw == old.raw, step.what

    def learn(self, old, new):
        """Two ids that stand for each other; None for None."""
        assert (old is None) == (new is None)
        if old is not None:
            assert self.live.setdefault(old, new) == new

    def compare_ids(self, old, new):
        """IDS."""
        self.learn(old.rcv_id, new.rcv_id)
        self.learn(old.snd_id, new.snd_id)
        self.learn(old.link_id, new.link_id)
        self.learn(old.service_id, new.service_id)
        assert (old.notifier is None) == (new.notifier is None)
        if old.notifier:
            self.learn(old.notifier[0], new.notifier[0])
        assert new.mode == old.mode
        private = bytes.fromhex(self.session.queue(old.rcv_id)["rcvDhKeyPrivate"])
        self.secrets[new.rcv_id] = dh(new.server_dh, private)

    def compare_nid(self, old, new):
        """NID."""
        self.learn(old.notifier_id, new.notifier_id)

    def compare_sok(self, old, new):
        """SOK."""
        assert self.live.get(old.service_id) == new.service_id

    def compare_lnk(self, old, new):
        """LNK."""
        assert (new.fixed, new.user) == (old.fixed, old.user)
        assert new.snd_id == self.live[old.snd_id]

    def compare_msg(self, old, new):
        """MSG: the same message again, or a new one, with the same content."""
        self.learn(old.msg_id, new.msg_id)
        then = self.session.open(old)
        now = read_message(new.msg_id, unbox(self.secrets[new.entity], new.msg_id, new.body))
        assert (now.flags, now.body) == (then.flags, then.body)

    def compare_nmsg(self, old, new):
        """NMSG: who may read it is in test_notifications."""
        assert (len(new.nonce), len(new.meta)) == (len(old.nonce), len(old.meta))

    def compare_info(self, old, new):
        """INFO: of the same form; values that are no ids or times are in test_queues."""
        assert new.text.split(":")[:4] == old.text.split(":")[:4]

    def compare_soks(self, old, new):
        """SOKS and ENDS: the same count; the hash is that of the same ids. (In one place the
        reference has the recipient ids' for a notifier's service.)"""
        assert new.count == old.count
        if old.ids_hash is None:
            return
        pairs = [(bytes.fromhex(q["rcvId"]),
                  bytes.fromhex(q.get("notifier", q).get("id", q["rcvId"])))
                 for q in self.session.queues]
        known = [pair for pair in pairs if pair[0] in self.live]
        theirs = mapped_sum(old.ids_hash, {ntf: self.live[ntf] for _, ntf in known
                                           if ntf in self.live})
        if theirs is None:
            theirs = mapped_sum(old.ids_hash, {rcv: self.live[ntf] for rcv, ntf in known})
        assert (new.count, new.ids_hash) == theirs

    compare_ends = compare_soks


@pytest.mark.parametrize("name, entry", SESSIONS, ids=[f"{n} {e['name']}" for n, e in SESSIONS])
def test_said_anew(own_server, tmp_path, name, entry):
    """Each step is answered, and heard elsewhere, as it was recorded."""
    stage = Stage(RecordedSession(entry), own_server(QUICK).address, tmp_path)
    try:
        for step in stage.session.steps():
            stage.run(step)
        for who, conn in stage.open.items():
            conn.ping()
            # Where a service was taken over, the recorder did not always listen for ENDS.
            assert {event.tag for event in conn.events} <= {"ENDS"}, (name, who)
    finally:
        stage.close()


def test_sums_of_recordings():
    """The ids of a sum are found by trying; a sum of other ids is not."""
    ids = {os.urandom(24): os.urandom(24) for _ in range(4)}
    for some in ([], list(ids)[:1], list(ids)[1:3], list(ids)):
        assert mapped_sum(ids_sum(some)[1], ids) == ids_sum([ids[item] for item in some])
    assert mapped_sum(ids_sum([os.urandom(24)])[1], ids) is None
