# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sessions recorded transmission by transmission (key `sessions` of tests/vectors, versions 19 and
20): their steps, keys and services, and what of them is said anew to another server."""

import json
from dataclasses import dataclass
from pathlib import Path

import nacl.signing

from .commands import parse_answer
from .crypto import dh, unbox
from .encoding import unpad
from .keys import Ed448Key, Ed25519Key, X25519Key
from .queue import read_message
from .service import Service, ServiceSession, ids_sum
from .transmissions import decode, encode, signed_text
from .transport import ServerHello

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
KEYS = {"Ed25519": Ed25519Key, "Ed448": Ed448Key, "X25519": X25519Key}


def files():
    """Recordings with such sessions, by name."""
    names = ("session-v19", "session-v20")
    return {name: json.loads((VECTORS / f"{name}.json").read_text()) for name in names}


def key_of(entry):
    """The key that a recorded object describes; None without one."""
    return KEYS[entry["type"]](bytes.fromhex(entry["private"])) if entry else None


@dataclass
class Step:
    """What one connection said, and heard for it; or, without a command, what it heard."""

    connection: "RecordedConnection"
    json: dict

    def __getattr__(self, name):
        return bytes.fromhex(self.json.get(name, ""))

    @property
    def what(self):
        """In words."""
        return self.json["step"]

    @property
    def key(self):
        """What authorizes the command."""
        return key_of(self.json.get("key"))

    @property
    def signed_by_service(self):
        """Whether the service signs it too."""
        return "serviceSigned" in self.json

    def answers(self):
        """All that was heard, read strictly."""
        version = self.connection.version
        return [parse_answer(version, *map(bytes.fromhex, item)) for item in self.json["answers"]]


class RecordedConnection:
    """A connection and its steps."""

    def __init__(self, entry):
        self.name = entry["name"]
        self.version = entry["version"]
        self.session_id = bytes.fromhex(entry["sessionIdentifier"])
        self.private = bytes.fromhex(entry["clientSessionKeyPrivate"])
        self.server_key = bytes.fromhex(entry["serverSessionKeyPublic"])
        self.handshake = [(who, bytes.fromhex(text)) for who, text in entry["handshake"]]
        self.hello = ServerHello.parse(self.handshake[0][1])
        self.service_json = entry.get("service")
        self.steps = [Step(self, step) for step in entry["steps"]]

    def service(self, folder):
        """The service, its session signing with the recorded key; None without one."""
        if not self.service_json:
            return None
        known = {k: self.service_json[k] for k in ("role", "pem")}
        known["chain"] = [bytes.fromhex(der) for der in self.service_json["chain"]]
        session = ServiceSession(Service.known(folder, **known))
        private = bytes.fromhex(self.service_json["sessionKeyPrivateEd25519"])
        session.signing = nacl.signing.SigningKey(private)
        session.service_id = bytes.fromhex(self.service_json["serviceId"])
        return session

    def remake(self, step, service):
        """The recorded transmission, by this client."""
        text = signed_text(self.session_id, step.corrId, step.entityId, step.command)
        auth, service_auth = b"", None
        if step.signed_by_service:
            service_auth = service.sign(text)
            text = service.service.cert_hash + text
        if step.key:
            auth = step.key.authorize(self.server_key, step.corrId, text)
        return encode(self.version, self.session_id, step.corrId, step.entityId, step.command,
                      auth, service_auth)


class RecordedSession:
    """Connections that speak about the same queues."""

    def __init__(self, entry):
        self.name = entry["name"]
        self.queues = entry["queues"]
        self.connections = [RecordedConnection(item) for item in entry["connections"]]

    def steps(self):
        """In the order in which they were recorded."""
        found = [step for conn in self.connections for step in conn.steps]
        return sorted(found, key=lambda step: step.json["order"])

    def queue(self, rcv_id):
        """The queue of this recipient id."""
        return next(q for q in self.queues if q["rcvId"] == rcv_id.hex())

    def open(self, msg):
        """Decrypts a recorded MSG."""
        secret = bytes.fromhex(self.queue(msg.entity)["sharedDhPoint"])
        return read_message(msg.msg_id, unbox(secret, msg.msg_id, msg.body))

    def open_nmsg(self, nmsg):
        """(id, time) of the message that a recorded NMSG tells of."""
        found = [q["notifier"] for q in self.queues if q.get("notifier")]
        secret = next(n["sharedDhPoint"] for n in found if n["id"] == nmsg.entity.hex())
        meta = unpad(unbox(bytes.fromhex(secret), nmsg.nonce, nmsg.meta))
        return meta[1:25], int.from_bytes(meta[25:], "big")


def mapped_sum(recorded_hash, ids):
    """The sum that `recorded_hash` says of some of these ids, recorded -> live, of the live ones;
    None when it is of none of them."""
    for bits in range(1 << len(ids)):
        some = [item for at, item in enumerate(ids) if bits >> at & 1]
        if ids_sum(some)[1] == recorded_hash:
            return ids_sum([ids[item] for item in some])
    return None
