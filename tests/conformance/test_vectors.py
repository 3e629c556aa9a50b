# SPDX-License-Identifier: AGPL-3.0-or-later
"""Proves this client against recorded sessions and known answers (tests/vectors), serverless."""

import hashlib
import json
from pathlib import Path

import pytest
from cryptography import x509
from smp import crypto
from smp.commands import Answer, ack_command, key_command, new_command, parse_answer
from smp.crypto import Chain, CryptoError, chain_init, dh, nonce_of, public_of
from smp.encoding import pad, short, unpad, word16
from smp.keys import Ed25519Key, X25519Key, x25519_der, x25519_raw
from smp.proxied import PADDED, reverse
from smp.queue import Queue
from smp.recorded import RecordedSession, files
from smp.transmissions import batch, decode, encode, signed_text, unbatch
from smp.transport import ServerHello, check_chain, client_hello, read_signed_key

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
SESSIONS = sorted(VECTORS.glob("session-v*.json"))
PRIMITIVES = json.loads((VECTORS / "primitives.json").read_text())


def known(name):
    """Known answers of one primitive, bytes decoded."""
    out = []
    for item in PRIMITIVES:
        if item["primitive"] == name:
            out.append({k: bytes.fromhex(v) for k, v in item.items() if k != "primitive"})
    assert out, name
    return out


class Recorded:
    """A recorded session; `blocks` are (who, content) with all block encryption undone."""

    def __init__(self, path):
        data = json.loads(path.read_text())
        self.version = data["version"]
        self.range = tuple(data["serverRange"])
        self.session_id = bytes.fromhex(data["sessionIdentifier"])
        self.private = bytes.fromhex(data["clientSessionKeyPrivate"])
        self.server_key = bytes.fromhex(data["serverSessionKeyPublic"])
        self.queue = {k: v if k == "sndKeyType" else bytes.fromhex(v)
                      for k, v in data["queue"].items()}
        self.steps = data["steps"]
        self.raw = [(who, bytes.fromhex(block)) for who, block in data["blocks"]]
        self.handshake = [unpad(block) for _, block in self.raw[:2]]
        self.blocks = self.open_blocks()

    def chains(self):
        """Fresh chains of both directions, or None below version 11."""
        if self.version < 11:
            return None
        sends, receives = chain_init(self.session_id, dh(self.server_key, self.private))
        return {"server": Chain(sends), "client": Chain(receives)}

    def open_blocks(self):
        """Contents of all blocks after the handshake."""
        chains = self.chains()
        return [(who, chains[who].open(block) if chains else unpad(block))
                for who, block in self.raw[2:]]

    def sender_key(self):
        """The key that authorizes the sender's commands."""
        kind = {"Ed25519": Ed25519Key, "X25519": X25519Key}[self.queue["sndKeyType"]]
        return kind(self.queue["sndKeyPrivate"])

    def recipient_key(self):
        """The key that authorizes the recipient's commands."""
        return Ed25519Key(self.queue["rcvAuthKeyPrivateEd25519"])


@pytest.fixture(scope="module", params=SESSIONS, ids=lambda p: p.stem)
def recorded(request):
    """Each recorded session."""
    return Recorded(request.param)


def test_there_are_sessions_of_all_block_forms():
    """Sessions without and with block keys are there."""
    versions = {json.loads(path.read_text())["version"] for path in SESSIONS}
    assert {6, 7, 8, 9, 11, 14, 15, 16, 17, 18, 19, 20} <= versions


@pytest.mark.parametrize("case", known("box"), ids=lambda c: str(len(c["message"])))
def test_box(case):
    """box and unbox give the known answer; a changed byte is refused."""
    assert crypto.box(case["key"], case["nonce"], case["message"]) == case["box"]
    assert crypto.unbox(case["key"], case["nonce"], case["box"]) == case["message"]
    changed = bytes((case["box"][0] ^ 1,)) + case["box"][1:]
    with pytest.raises(CryptoError):
        crypto.unbox(case["key"], case["nonce"], changed)


@pytest.mark.parametrize("case", known("chain init"))
def test_chain_init(case):
    """The server sends with the first key."""
    keys = chain_init(case["sessionIdentifier"], case["sharedDhPoint"])
    assert keys == (case["serverSends"], case["serverReceives"])


@pytest.mark.parametrize("case", known("chain step"))
def test_chain_step(case):
    """Next chain key, block key, nonce."""
    expected = case["nextChainKey"], case["blockKey"], case["nonce"]
    assert crypto.chain_step(case["chainKey"]) == expected


@pytest.mark.parametrize("case", known("client-given senderId"))
def test_client_given_sender_id(case):
    """First 24 bytes of SHA3-384 of the corrId."""
    assert crypto.client_sender_id(case["corrId"]) == case["senderId"]


def test_low_order_point_is_refused():
    """dh refuses the all-zero result."""
    with pytest.raises(CryptoError):
        dh(bytes(32), bytes(range(32)))


def test_server_hello(recorded):
    """The first block: range, session identifier, a chain and a key that pass every check."""
    hello = ServerHello.parse(recorded.handshake[0])
    assert (hello.min_version, hello.max_version) == recorded.range
    assert hello.session_id == recorded.session_id
    identity = hashlib.sha256(hello.chain[1]).digest()
    leaf = check_chain(hello.chain, identity, hello.chain[0])
    assert read_signed_key(hello.signed_key, leaf.public_key()) == recorded.server_key
    with pytest.raises(ValueError):
        check_chain(hello.chain, bytes(32), hello.chain[0])
    other = x509.load_der_x509_certificate(hello.chain[1]).public_key()
    with pytest.raises(Exception):
        read_signed_key(hello.signed_key, other)


def test_client_hello(recorded):
    """Our handshake block has the recorded bytes."""
    identity = hashlib.sha256(ServerHello.parse(recorded.handshake[0]).chain[1]).digest()
    key = x25519_der(public_of(recorded.private))
    ours = client_hello(recorded.version, identity, key)
    assert recorded.handshake[1] == ours
    assert recorded.raw[1] == ("client", pad(ours, crypto.BLOCK_SIZE))


def test_blocks_can_be_remade(recorded):
    """Sealing the opened contents gives the recorded bytes, in both directions."""
    chains = recorded.chains()
    for (who, content), (_, block) in zip(recorded.blocks, recorded.raw[2:]):
        remade = chains[who].seal(content) if chains else pad(content, crypto.BLOCK_SIZE)
        assert remade == block


def test_batches_can_be_remade(recorded):
    """Each block is the batch of its transmissions and nothing else."""
    for _, content in recorded.blocks:
        assert batch(unbatch(content)) == content


def test_server_transmissions_parse(recorded):
    """Every message of the server is read strictly, and the session starts with IDS."""
    answers = []
    for who, content in recorded.blocks:
        if who == "server":
            for data in unbatch(content):
                item = decode(recorded.version, recorded.session_id, data)
                answers.append(parse_answer(recorded.version, *item))
    ids = answers[0]
    assert ids.tag == "IDS"
    assert ids.rcv_id == recorded.queue["rcvId"]
    assert ids.snd_id == recorded.queue["sndId"]
    assert ids.server_dh == recorded.queue["serverDhKeyPublic"]
    if 9 <= recorded.version < 15:
        assert ids.snd_secure
    if recorded.version >= 15:
        assert ids.mode == "M"
    assert {a.tag for a in answers} >= {"IDS", "OK", "MSG", "PONG", "ERR"}


def test_new_command(recorded):
    """NEW of the version has the recorded bytes, its signature included."""
    data = unbatch(recorded.blocks[0][1])[0]
    key = recorded.recipient_key()
    dh_der = x25519_der(public_of(recorded.queue["rcvDhKeyPrivate"]))
    corr_id = recorded_corr_id(recorded, data)
    for password in (None, b"test"):
        for sub in (True, False):
            command = new_command(recorded.version, key.der, dh_der, password=password,
                                  subscribe=sub)
            if remake(recorded, corr_id, b"", command, key) == data:
                return
    pytest.fail("NEW differs from the recorded one")


def recorded_corr_id(recorded, data):
    """The corrId of a recorded transmission of the client that is signed with Ed25519."""
    at = 1 + 64 + (1 if recorded.version >= 16 else 0)
    at += 33 if recorded.version < 7 else 0
    return data[at + 1:at + 1 + data[at]]


def remake(recorded, corr_id, entity, command, key):
    """A transmission with its authorization, as this client makes it."""
    auth = b""
    if key:
        signed = signed_text(recorded.session_id, corr_id, entity, command)
        auth = key.authorize(recorded.server_key, corr_id, signed)
    return encode(recorded.version, recorded.session_id, corr_id, entity, command, auth)


def step_key(recorded, step):
    """Who authorizes a recorded step; None for those that need nobody."""
    if step["step"] in ("PING", "bad tag"):
        return None
    if step["step"] == "SKEY":
        return recorded.sender_key()
    return recorded.recipient_key()


def test_steps_can_be_remade(recorded):
    """Signatures and authenticators of all recorded commands come out the same."""
    remade = 0
    for step in recorded.steps:
        if "transmission" not in step or step["step"] == "SUB unknown queue":
            continue
        corr_id, entity, command = (bytes.fromhex(step[k])
                                    for k in ("corrId", "entityId", "command"))
        ours = remake(recorded, corr_id, entity, command, step_key(recorded, step))
        assert ours == bytes.fromhex(step["transmission"]), step["step"]
        remade += 1
    assert remade >= 5


def test_command_texts(recorded):
    """KEY, SKEY and ACK are written as recorded."""
    texts = {step["step"]: bytes.fromhex(step["command"]) for step in recorded.steps
             if "command" in step}
    secure = "SKEY" if recorded.version >= 9 else "KEY"
    assert texts[secure] == key_command(secure, recorded.sender_key().der)
    message = next(s for s in recorded.steps if s["step"] == "SEND/MSG")
    assert texts["ACK"] == ack_command(bytes.fromhex(message["msgId"]))


def test_message_opens(recorded):
    """The recorded MSG decrypts to its timestamp, flags and body."""
    step = next(s for s in recorded.steps if s["step"] == "SEND/MSG")
    info = recorded.queue
    ids = Answer(b"", b"", b"", "IDS", {"rcv_id": info["rcvId"], "snd_id": info["sndId"],
                                        "server_dh": info["serverDhKeyPublic"]})
    queue = Queue(ids, recorded.recipient_key(), info["rcvDhKeyPrivate"], "M")
    assert queue.secret == info["sharedDhPoint"]
    answer = parse_answer(recorded.version, b"", info["rcvId"], bytes.fromhex(step["msg"]))
    message = queue.open(answer)
    assert message.msg_id.hex() == step["msgId"]
    assert message.timestamp == step["timestamp"]
    assert message.flags == step["flags"].encode()
    assert message.body == step["body"].encode()


SESSIONS_APART = [(name, entry) for name, data in files().items() for entry in data["sessions"]]


@pytest.fixture(params=SESSIONS_APART, ids=lambda p: f"{p[0]} {p[1]['name']}")
def apart(request):
    """Each session that was recorded transmission by transmission."""
    return RecordedSession(request.param[1])


def test_hellos_of_services(apart, tmp_path):
    """Handshakes, those of services and proxies too, are read and made again."""
    for conn in apart.connections:
        leaf = check_chain(conn.hello.chain, hashlib.sha256(conn.hello.chain[1]).digest(),
                           conn.hello.chain[0])
        assert read_signed_key(conn.hello.signed_key, leaf.public_key()) == conn.server_key
        assert conn.hello.session_id == conn.session_id
        service = conn.service(tmp_path)
        ours = client_hello(conn.version, hashlib.sha256(conn.hello.chain[1]).digest(),
                            x25519_der(public_of(conn.private)), conn.name == "proxy",
                            service and service.hello())
        assert conn.handshake[1] == ("client", ours)
        if service:
            expected, service.service_id = service.service_id, None
            service.accept(conn.handshake[2][1])
            assert service.service_id == expected


def test_commands_of_services(apart, tmp_path):
    """Every transmission, with its service signature where it has one, is made again."""
    for conn in apart.connections:
        service = conn.service(tmp_path)
        for step in conn.steps:
            if step.command:
                assert conn.remake(step, service) == step.transmission, step.what


def test_answers_about_services(apart):
    """Every answer is read strictly; messages and notifications open."""
    told = 0
    for step in apart.steps():
        for answer in step.answers():
            told += 1
            if answer.tag == "MSG":
                assert apart.open(answer).body
            elif answer.tag == "NMSG":
                assert len(apart.open_nmsg(answer)[0]) == 24
    assert told or "grows" in apart.name


def test_forwarded_layers(apart):
    """Both layers of RFWD and RRES are made again."""
    for step in apart.steps():
        if "clientVersion" not in step.json:
            continue
        conn, version = step.connection, step.json["clientVersion"]
        outer = dh(conn.server_key, conn.private)
        inner = dh(conn.server_key, step.clientKeyPrivate)
        body = box_layer(inner, step.clientCorrId, [step.innerTransmission])
        key = x25519_der(public_of(step.clientKeyPrivate))
        text = short(step.clientCorrId) + word16(version) + short(key) + body
        assert step.command == b"RFWD " + crypto.box(outer, nonce_of(step.corrId), text)
        if "innerAnswer" in step.json:
            corr_id, entity, answer = map(bytes.fromhex, step.json["innerAnswer"])
            data = encode(version, conn.session_id, corr_id, entity, answer)
            body = box_layer(inner, step.clientCorrId, [data], reverse)
            text = short(step.clientCorrId) + body
            (rres,) = step.answers()
            assert rres.body == crypto.box(outer, reverse(nonce_of(step.corrId)), text)


def box_layer(secret, corr_id, transmissions, turn=bytes):
    """The inner layer of a forwarded command, or of its answer."""
    return crypto.box(secret, turn(nonce_of(corr_id)), pad(batch(transmissions), PADDED))


def test_x25519_der_round_trip():
    """The DER of a key is read back; another length is refused."""
    key = X25519Key()
    assert x25519_raw(key.der) == key.public
    with pytest.raises(ValueError):
        x25519_raw(key.der[:-1])
