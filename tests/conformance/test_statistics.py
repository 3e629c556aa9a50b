# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is counted: known scripts of commands, after which every counter is compared with what the
script has to make of it; nothing else may have changed (reference: Server.hs and Server/Stats.hs).
Each script has a server of its own, whose counters are read from the file that it leaves."""

import contextlib
import dataclasses
import os
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from smp import Connection, Notifier, Queue, Service, new_command
from smp.commands import ack_command, key_command, nkey_command, send_command, service_command
from smp.crypto import public_of
from smp.fake_relay import FakeRelay
from smp.keys import Ed25519Key, make_key, x25519_der
from smp.proxied import connect_relay
from smp.resolver import Resolver
from smp.server import free_ports

SAMPLE = Path(__file__).parents[1] / "samples/reference-6.5.5/memory/smp-server-stats.log"
PATIENCE = 10
# One thread, so that what belongs to one block or tick does not arrive in parts.
COUNTS = {("STORE_LOG", "log_stats"): "on", ("LIMITS", "notification_interval_ms"): 300,
          ("TRANSPORT", "threads"): 1}


SECTIONS = re.compile(r"(day|week|month)Hashes|requests|successes|errors\w+|assoc\w+|sub[A-Z]\w+|"
                      r"reqs|succ|notFound|resolverErrs|disabled")


def read_counters(path):
    """{name or section.name: value}, without zeroes; of active queues how many."""
    found, section = Counter(), ""
    for line in path.read_text().splitlines():
        name, _, value = line.partition("=")
        if line.endswith(":"):
            section = line[:-1]
        elif name.endswith("Hashes"):
            found[f"{section}.{name.removesuffix('Hashes')}"] = len(value.split(",")) if value else 0
        elif name != "fromTime":
            found[f"{section}.{name}" if SECTIONS.fullmatch(name) else name] = int(value)
    return Counter({name: value for name, value in found.items() if value})


class Script:
    """A server and what its counters have to be."""

    def __init__(self, server):
        self.server = server
        self.expected = Counter()
        self.stack = contextlib.ExitStack()

    def connect(self, version=18, **options):
        """A client, until the end of the script."""
        return self.stack.enter_context(Connection(self.server.address, version, **options))

    def expect(self, **counters):
        """These have grown."""
        self.expected.update({name.replace("__", "."): n for name, n in counters.items()})

    def expect_active(self, queues, with_ntf=0):
        """Messages were sent to, or received from, so many queues."""
        for period in ("day", "week", "month"):
            self.expected[f"activeQueues.{period}"] += queues
            self.expected[f"activeQueuesNtf.{period}"] += with_ntf

    def create(self, conn, **options):
        """NEW."""
        self.expect(qCreated=1, qCount=1)
        return Queue.create(conn, **options)

    def delete(self, conn, queue, secured=False):
        """DEL."""
        assert queue.delete(conn).raw == b"OK"
        self.deleted(1, secured)

    def deleted(self, count, secured=False):
        """So many queues were."""
        self.expected["qCount"] -= count
        self.expect(qDeletedAll=count)
        self.expect(**{"qDeletedSecured" if secured else "qDeletedNew": count})

    def send(self, conn, queue, flags=b"F"):
        """SEND that is accepted."""
        assert queue.send(conn, b"message", flags).raw == b"OK"
        self.expect(msgSent=1, msgSentNtf=int(flags == b"T"))

    def notifier(self, conn, queue):
        """NKEY."""
        self.expect(ntfCreated=1)
        return Notifier.of(conn, queue)


@pytest.fixture(name="new_script")
def fixture_new_script(own_server):
    """Function: a Script with a server of its own; at the end of the test its counters are
    compared."""
    scripts = []

    def new(ini=None, **options):
        scripts.append(Script(own_server({**COUNTS, **(ini or {})}, **options)))
        return scripts[-1]

    yield new
    for script in scripts:
        script.stack.close()
    for script in scripts:
        script.server.stop()
        found = read_counters(script.server.state / "smp-server-stats.log")
        assert found == Counter({k: n for k, n in script.expected.items() if n})


@pytest.fixture(name="script")
def fixture_script(new_script):
    """A Script."""
    return new_script()


def in_one_block(conn, *commands):
    """Sends commands, each (command, entity, key), in one block; gives the answers."""
    sent = [conn.make(*command) for command in commands]
    conn.write(sent)
    return [conn.wait(item) for item in sent]


def subs(*queues):
    """SUB of each."""
    return [(b"SUB", queue.rcv_id, queue.rcv_key) for queue in queues]


def ended(conn, event=b"END"):
    """The next thing that the server says by itself."""
    assert conn.event(PATIENCE).raw == event


# ---- queues ----

def test_records(script):
    """NEW, securing, deleting."""
    one, two = script.connect(), script.connect()
    plain, contact = script.create(one), script.create(one, mode="C")
    key = Ed25519Key()
    assert plain.skey(two, key).raw == plain.skey(two, key).raw == plain.key(one, key).raw == b"OK"
    assert plain.skey(two, Ed25519Key()).raw == plain.key(one, Ed25519Key()).raw == b"ERR AUTH"
    script.expect(qSecured=3)
    linked = script.create(one, link=(b"fixed", b"user"))
    assert two.request(key_command("LKEY", key.der), linked.ids.link_id, key).tag == "LNK"
    script.expect(qSecured=1)
    with_notifier = script.create(one, notifier=Notifier())
    script.expect(ntfNewCreated=1)
    assert two.request(b"PING").raw == b"PONG"
    assert with_notifier.recipient(one, b"QUE").tag == "INFO"
    assert with_notifier.off(one).raw == b"OK"
    script.delete(one, plain, secured=True)
    script.delete(one, contact)
    script.delete(two, linked, secured=True)
    ended(one, b"DELD")
    script.expect(qSubEnd=1, qSubEndB=1)
    assert linked.delete(one).raw == b"ERR AUTH"
    assert one.request(b"NEW", b"", key).raw == b"ERR CMD SYNTAX"
    more = [script.create(one, subscribe=False) for _ in range(3)]
    in_one_block(two, *[(b"DEL", queue.rcv_id, queue.rcv_key) for queue in more])
    script.deleted(3)
    script.expect(qDeletedAllB=1)


def test_subscriptions(script):
    """SUB, once and again, with a message that waits and without, taken over, in batches."""
    one, two, sender = script.connect(), script.connect(), script.connect()
    first, second = script.create(one), script.create(one, subscribe=False)
    assert first.sub(one).tag == second.sub(two).tag == "SOK"
    script.expect(qSubDuplicate=1)
    script.send(sender, first)
    first.next_message(one)
    assert first.sub(one).tag == "SOK"
    first.next_message(one)
    script.expect(qSubDuplicate=1)
    assert first.sub(two).tag == "SOK"
    first.next_message(two)
    ended(one)
    script.expect(qSub=1, qSubEnd=1, qSubEndB=1)
    assert two.request(b"SUB", first.rcv_id, Ed25519Key()).raw == b"ERR AUTH"
    assert two.request(b"SUB", os.urandom(24), first.rcv_key).raw == b"ERR AUTH"
    script.expect(qSubAuth=2)
    three = script.connect()
    answers = in_one_block(three, *subs(first, second))
    assert [answer.tag for answer in answers] == ["SOK", "SOK"]
    first.next_message(three)
    ended(two)
    ended(two)
    script.expect(qSubAllB=1, qSub=1, qSubEnd=2, qSubEndB=1)
    in_one_block(three, *subs(first))
    in_one_block(three, (b"PING",), *subs(second, second))
    in_one_block(three, (b"QUE", first.rcv_id, first.rcv_key), *subs(second))
    script.expect(qSubDuplicate=4)
    script.expect_active(1)


# ---- messages ----

def test_sending_and_receiving(new_script):
    """SEND that is taken or refused, ACK of a message, of another, and of the quota marker."""
    script = new_script({("LIMITS", "message_queue_quota"): 3})
    rcv, snd = script.connect(), script.connect()
    queue, other = script.create(rcv), script.create(rcv, subscribe=False)
    for flags in (b"F", b"T", b"F"):
        script.send(snd, queue, flags)
    assert queue.send(snd, b"x").raw == queue.send(snd, b"x", b"T").raw == b"ERR QUOTA"
    assert queue.send(snd, b"x" * 16049).raw == b"ERR LARGE_MSG"
    script.expect(msgSentQuota=2, msgSentLarge=1)
    message = queue.next_message(rcv)
    assert queue.ack(rcv, os.urandom(24)).raw == b"ERR NO_MSG"
    for _ in range(3):
        message = queue.open(queue.ack(rcv, message.msg_id))
    assert message.body is None
    assert queue.ack(rcv, message.msg_id).raw == b"OK"
    script.expect(msgRecv=3, msgRecvNtf=1)
    script.send(snd, queue)
    message = queue.next_message(rcv)
    queue.open(queue.ack(rcv, b""))
    assert queue.ack(rcv, message.msg_id).raw == b"OK"
    assert queue.ack(rcv, message.msg_id).raw == b"ERR NO_MSG"
    script.expect(msgRecv=1)
    key = Ed25519Key()
    assert other.key(rcv, key).raw == b"OK"
    script.expect(qSecured=1)
    script.send(snd, other)
    for wrong in ((other.snd_id, Ed25519Key()), (other.snd_id, None), (os.urandom(24), key)):
        assert snd.request(send_command(b"x"), *wrong).raw == b"ERR AUTH"
    assert other.off(rcv).raw == b"OK"
    assert other.send(snd, b"x").raw == b"ERR AUTH"
    script.expect(msgSentAuth=4)
    script.expect_active(2, with_ntf=1)


@pytest.mark.parametrize("what", ["NEW", "SEND"])
def test_what_is_lost(new_script, what):
    """What failed with its group is not counted, nor the queue; the attempt to send is activity."""
    script = new_script(disk=True, store="journal")
    conn = script.connect(20)
    queue = script.create(conn, subscribe=False)
    key = make_key("ed25519")
    script.expect_active(1, with_ntf=int(what == "SEND"))
    script.server.disk.set("full")
    if what == "NEW":
        new = new_command(20, key.der, x25519_der(public_of(bytes(32))))
        answer = conn.request(new, b"", key)
    else:
        answer = queue.send(conn, b"lost", b"T")
    assert answer.raw == b"ERR STORE storage"
    script.server.disk.clear()
    deadline = time.monotonic() + 10
    while queue.send(conn, b"message").raw != b"OK":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    script.expect(msgSent=1)


def test_get(script):
    """GET once and again, of nothing, not allowed; ACK of what it gave."""
    rcv, snd, getter = script.connect(), script.connect(), script.connect()
    queue = script.create(rcv, subscribe=False)
    assert queue.get(getter).raw == b"OK"
    script.expect(msgGetNoMsg=1)
    script.send(snd, queue, b"T")
    message = queue.open(queue.get(getter))
    assert queue.open(queue.get(getter)).msg_id == message.msg_id
    script.expect(msgGet=1, msgGetDuplicate=1)
    assert queue.sub(getter).raw == b"ERR CMD PROHIBITED"
    script.expect(qSubProhibited=1)
    assert queue.ack(getter, message.msg_id).raw == b"OK"
    script.expect(msgRecv=1, msgRecvGet=1, msgRecvNtf=1)
    assert getter.request(b"GET", queue.rcv_id, Ed25519Key()).raw == b"ERR AUTH"
    script.expect(msgGetAuth=1)
    assert queue.sub(rcv).tag == "SOK"
    assert queue.get(rcv).raw == b"ERR CMD PROHIBITED"
    script.expect(msgGetProhibited=1)
    script.expect_active(1, with_ntf=1)


def test_expiry(new_script):
    """Messages and notifications that grow old."""
    script = new_script({("LIMITS", "message_ttl"): 1, ("LIMITS", "notification_ttl"): 1,
                         ("LIMITS", "expiry_interval"): 1})
    rcv, snd = script.connect(), script.connect()
    queue = script.create(rcv, subscribe=False)
    script.notifier(rcv, queue)
    script.send(snd, queue, b"T")
    script.send(snd, queue)
    script.expect(msgExpired=2, msgNtfExpired=1)
    script.expect_active(1, with_ntf=1)
    deadline = time.monotonic() + PATIENCE
    for expired in ("messages-expired count=2", "notifications-expired count=1"):
        while not any(expired in line for line in script.server.stderr):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_blocked(new_script):
    """SEND to a blocked queue. Counters outlast the stop."""
    script = new_script(store="memory")
    with Connection(script.server.address, 18) as conn:
        queue = script.create(conn)
    script.server.stop()
    log = script.server.state / "smp-server-store.log"
    line = next(x for x in log.read_text().splitlines() if x.startswith("CREATE "))
    rid = re.search(r"rid=(\S+)", line).group(1)
    log.write_text(log.read_text() + f"BLOCK {rid} reason=spam\n")
    script.server.start()
    conn = script.connect()
    assert queue.send(conn, b"x").raw == queue.sub(conn).raw == b"ERR BLOCKED reason=spam"
    script.expect(msgSentBlock=1)


# ---- notifications ----

def test_notifications(script):
    """NKEY, NDEL, NSUB, and what is sent to the subscriber."""
    rcv, snd, one, two = (script.connect() for _ in range(4))
    queue, other = script.create(rcv), script.create(rcv)
    notifier, last = script.notifier(rcv, queue), script.notifier(rcv, other)
    assert notifier.sub(one).tag == notifier.sub(one).tag == "SOK"
    script.expect(ntfSub=1, ntfSubDuplicate=1)
    sends = [(send_command(b"x", flag), queue.snd_id) for flag in (b"T", b"F", b"T", b"T")]
    in_one_block(snd, *sends)
    script.expect(msgSent=4, msgSentNtf=3, msgNtfs=3, msgNtfsB=1)
    for _ in range(3):
        notifier.open(one.event(PATIENCE))
    for wrong in ((notifier.notifier_id, Ed25519Key()), (os.urandom(24), notifier.key)):
        assert two.request(b"NSUB", *wrong).raw == b"ERR AUTH"
    script.expect(ntfSubAuth=2)
    commands = [(b"NSUB", item.notifier_id, item.key) for item in (notifier, last)]
    assert [answer.tag for answer in in_one_block(two, *commands)] == ["SOK", "SOK"]
    ended(one)
    script.expect(ntfSubB=1, ntfSub=2, qSubEnd=1, qSubEndB=1)
    script.notifier(rcv, queue)
    ended(two, b"DELD")
    script.expect(qSubEnd=1, qSubEndB=1)
    assert queue.recipient(rcv, b"NDEL").raw == queue.recipient(rcv, b"NDEL").raw == b"OK"
    script.expect(ntfDeleted=1)
    in_one_block(rcv, *[(b"NDEL", item.rcv_id, item.rcv_key) for item in (queue, other)])
    ended(two, b"DELD")
    script.expect(ntfDeletedB=1, ntfDeleted=1, qSubEnd=1, qSubEndB=1)
    script.expect_active(1, with_ntf=1)


def test_too_many_notifications(new_script):
    """Of those that nobody takes the oldest are lost."""
    script = new_script({("LIMITS", "message_queue_quota"): 300})
    conn = script.connect()
    queue = script.create(conn, subscribe=False)
    script.notifier(conn, queue)
    in_one_block(conn, *[(send_command(b"x", b"T"), queue.snd_id)] * 260)
    script.expect(msgSent=260, msgSentNtf=260, msgNtfLost=4)
    script.expect_active(1, with_ntf=1)


# ---- services ----

def test_notification_service(script, tmp_path):
    """Associations of notifiers: new, the same, with another service, with none."""
    rcv, plain = script.connect(), script.connect()
    one, two = (script.connect(service=Service(tmp_path)) for _ in range(2))
    queues = [script.create(rcv) for _ in range(2)]
    first, second = [script.notifier(rcv, queue) for queue in queues]
    for notifier in (first, second, second):
        assert notifier.sub(one).service_id == one.service_id
    script.expect(ntfServices__assocNew=2, ntfServices__subCount=1, ntfServices__subQueues=2,
                  ntfServices__assocDuplicate=1)
    assert first.sub(two).service_id == two.service_id
    ended(one)
    script.expect(ntfServices__assocUpdatedt=1, ntfServices__subCount=1, ntfServices__subQueues=1,
                  qSubEnd=1, qSubEndB=1)
    assert first.sub(plain).service_id is None
    ended(two)
    script.expect(ntfServices__assocRemoved=1, ntfSub=1, qSubEnd=1, qSubEndB=1)
    assert one.as_service(service_command("NSUBS", 18)).tag == "SOKS"


def test_messaging_service(script, tmp_path):
    """The same of queues, which NEW associates uncounted; SUB of the first counts its message."""
    plain, service = script.connect(19), Service(tmp_path, "M")
    with Connection(script.server.address, 19, service=service) as before:
        own = script.create(before)
    queues = [script.create(plain, subscribe=False) for _ in range(2)]
    for queue in (own, *queues):
        script.send(plain, queue)
    conn = script.connect(19, service=service)
    for queue in (own, *queues):
        assert queue.sub(conn).service_id == conn.service_id
        queue.next_message(conn)
    script.expect(rcvServices__assocDuplicate=1, rcvServices__assocNew=2, rcvServices__subCount=1,
                  rcvServices__subQueues=3, qSub=1)
    assert queues[0].sub(plain).service_id is None
    queues[0].next_message(plain)
    ended(conn)
    script.expect(rcvServices__assocRemoved=1, qSub=1, qSubEnd=1, qSubEndB=1)
    script.expect_active(3)


# ---- forwarding ----

def answers_nonsense(peer):
    """A relay that answers each request with something else."""
    peer.open()
    for corr_id, _ in peer.requests():
        peer.answer(corr_id, b"PONG")


def test_forwarding(new_script):
    """PRXY and PFWD with each outcome, at the proxy; RFWD at the relay."""
    proxy = new_script({("PROXY", "allow_private_relays"): "on", ("TRANSPORT", "threads"): 3,
                        ("PROXY", "own_server_domains"): "localhost"})
    relay, old = new_script(), new_script({("LIMITS", "smp_version_max"): 7})
    rcv, snd = relay.connect(), proxy.connect()
    queue = relay.create(rcv)
    through = connect_relay(snd, relay.server.address)
    assert connect_relay(snd, relay.server.address).session_id == through.session_id
    own = connect_relay(snd, relay.server.address, hosts=[b"localhost"])
    assert connect_relay(snd, old.server.address).raw == b"ERR PROXY BROKER TRANSPORT VERSION"
    assert connect_relay(snd, relay.server.address, hosts=[b"not a host"]).raw == (
        b"ERR PROXY BROKER HOST")
    nobody = dataclasses.replace(relay.server.address, port=free_ports()[0])
    assert connect_relay(snd, nobody).raw == b"ERR PROXY BROKER NETWORK"
    proxy.expect(pRelays__requests=6, pRelays__successes=3, pRelays__errorsCompat=1,
                 pRelays__errorsOther=1, pRelays__errorsConnect=1,
                 pRelaysOwn__requests=1, pRelaysOwn__successes=1)

    for to in (through, own):
        assert to.request(snd, send_command(b"hello"), queue.snd_id).raw == b"OK"
    assert through.request(snd, send_command(b"x"), os.urandom(24)).raw == b"ERR AUTH"
    assert through.request(snd, b"SUB", queue.rcv_id, queue.rcv_key).raw == b"ERR CMD PROHIBITED"
    relay.expect(msgSent=2, pMsgFwdsRecv=4)
    relay.expect_active(1)
    forwarded = through.seal(snd, b"", 17, secret=bytes(32))
    snd.write([forwarded.sent])
    assert snd.wait(forwarded.sent).raw == b"ERR PROXY PROTOCOL CRYPTO"
    proxy.expect(pMsgFwds__requests=5, pMsgFwds__successes=5,
                 pMsgFwdsOwn__requests=1, pMsgFwdsOwn__successes=1)

    with FakeRelay(answers_nonsense) as bad:
        strange = connect_relay(snd, bad.address)
        assert strange.request(snd, send_command(b"x"), os.urandom(24)).raw.startswith(
            b"ERR PROXY BROKER UNEXPECTED")
    through.session_id = os.urandom(len(through.session_id))
    assert through.request(snd, send_command(b"x"), queue.snd_id).raw == b"ERR PROXY NO_SESSION"
    proxy.expect(pRelays__requests=1, pRelays__successes=1, pMsgFwds__requests=2,
                 pMsgFwds__errorsOther=1, pMsgFwds__errorsConnect=1)


# ---- what there is ----

PREFIX = "simplex_smp_"
NOBODY = {"clients_total": 0, "subscribtion_total": 0, "subscribtion_clients_total": 0,
          "subscribtion_services_total": 0, "subscription_ntf_total": 0,
          "subscription_ntf_clients_total": 0, "subscribtion_nts_services_total": 0,
          "delivered_total": 0, "delivered_clients_total": 0,
          'delivery_ack_pending_count{period="0-60"}': 0}


def read_metrics(server):
    """{name and labels: value}."""
    lines = (server.state / "smp-server-metrics.txt").read_text().splitlines()
    return {line.split(" ")[0].removeprefix(PREFIX): float(line.split(" ")[1])
            for line in lines if line and not line.startswith("#")}


def wait_metrics(server, **expected):
    """Waits until these, and else NOBODY, is what the server writes."""
    expected, found = {**NOBODY, **expected}, None
    deadline = time.monotonic() + 2 * PATIENCE
    while found != expected and time.monotonic() < deadline:
        time.sleep(0.2)
        with contextlib.suppress(FileNotFoundError):
            found = {name: value for name, value in read_metrics(server).items()
                     if name in expected}
    assert found == expected


def test_gauges(own_server, tmp_path):
    """Clients, subscriptions, services, and messages that wait for ACK, as they come and go."""
    server = own_server({("STORE_LOG", "prometheus_interval"): 1, ("TRANSPORT", "threads"): 2})
    plain = {"clients_total": 3, "subscribtion_total": 2, "subscribtion_clients_total": 1,
             "subscription_ntf_total": 1, "subscription_ntf_clients_total": 1}
    with contextlib.ExitStack() as stack:
        rcv, ntf, getter = (stack.enter_context(Connection(server.address, 18))
                            for _ in range(3))
        queues = [Queue.create(rcv) for _ in range(2)] + [Queue.create(rcv, subscribe=False)]
        Notifier.of(rcv, queues[0]).sub(ntf)
        wait_metrics(server, **plain)
        for queue in queues:
            assert queue.send(ntf, b"x").raw == b"OK"
        messages = [queues[0].next_message(rcv), queues[1].next_message(rcv),
                    queues[2].open(queues[2].get(getter))]
        wait_metrics(server, **{**plain, "delivered_total": 3, "delivered_clients_total": 2,
                                'delivery_ack_pending_count{period="0-60"}': 3})
        for conn, queue, message in zip((rcv, rcv, getter), queues, messages):
            assert queue.ack(conn, message.msg_id).raw == b"OK"
        wait_metrics(server, **{**plain,
                                'delivery_ack_confirmed_count{period="0-60"}': 3})
        services = [stack.enter_context(Connection(server.address, 19,
                                                   service=Service(tmp_path, role)))
                    for role in "MN"]
        services[0].as_service(service_command("SUBS", 19))
        Notifier.of(rcv, queues[1]).sub(services[1])
        wait_metrics(server, **{**plain, "clients_total": 5, "subscribtion_clients_total": 2,
                                "subscribtion_services_total": 1,
                                "subscription_ntf_clients_total": 2,
                                "subscribtion_nts_services_total": 1})
    port = f'{{port="{server.address.port}"}}'
    wait_metrics(server, **{"sockets_active" + port: 0})
    found = read_metrics(server)
    assert found["sockets_accepted" + port] == found["sockets_closed" + port] >= 5


# ---- names ----

def test_names(new_script):
    """Each RSLV that could be read, and what became of it; forwarded ones too."""
    with Resolver() as resolver:
        script = new_script({("NAMES", "enable"): "on",
                             ("NAMES", "resolver_endpoint"): resolver.endpoint})
        conn = script.connect(20)
        for name in (b"a.simplex", b"b.simplex", b"e404.simplex", b"e500.simplex",
                     b"notjson.simplex", b"expand7000.simplex", b"no--name"):
            conn.request(b"RSLV " + name)
        script.expect(rslvStats__reqs=6, rslvStats__succ=2, rslvStats__notFound=1,
                      rslvStats__resolverErrs=3)


def test_names_without_a_resolver(new_script):
    """They are counted, but not kept: 6.5 would not start with that section."""
    script = new_script({("STORE_LOG", "prometheus_interval"): 1})
    conn = script.connect(20)
    assert conn.request(b"RSLV a.simplex").raw == b"ERR NAME NO_RESOLVER"
    deadline, found = time.monotonic() + PATIENCE, {}
    while found.get("names_disabled") != 1 and time.monotonic() < deadline:
        time.sleep(0.2)
        with contextlib.suppress(FileNotFoundError):
            found = read_metrics(script.server)
    assert (found["names_reqs"], found["names_disabled"]) == (1, 1)


# ---- what the reference counted ----

def test_as_the_reference(new_script):
    """The script that the sample files come from (tests/samples): all as the reference counted."""
    script = new_script()
    rcv, snd, ntf, last = (script.connect() for _ in range(4))
    first = Queue.create(rcv)
    assert first.key(rcv, Ed25519Key()).raw == b"OK"
    notifier = Notifier.of(rcv, first)
    notifier.sub(ntf)
    in_one_block(snd, *[(send_command(b"x", flag), first.snd_id, first.snd_key)
                        for flag in (b"T", b"T", b"F")])
    message = first.next_message(rcv)
    first.open(first.ack(rcv, message.msg_id))
    for _ in range(2):
        notifier.open(ntf.event(PATIENCE))
    assert snd.request(send_command(b"x"), first.snd_id, Ed25519Key()).raw == b"ERR AUTH"
    assert rcv.request(b"SUB", first.rcv_id, Ed25519Key()).raw == b"ERR AUTH"
    link = (os.urandom(24), b"fixed", b"user")
    contact = Queue.create(rcv, mode="C", link=link, subscribe=False)
    assert contact.send(snd, b"hello").raw == b"OK"
    suspended = Queue.create(rcv, subscribe=False)
    assert suspended.skey(snd, Ed25519Key()).raw == suspended.send(snd, b"x" * 16048).raw == b"OK"
    assert suspended.off(rcv).raw == b"OK"
    assert Queue.create(rcv).delete(rcv).raw == b"OK"
    invitation = Queue.create(rcv, link=(b"fixed", b"user"))
    assert invitation.skey(snd, Ed25519Key()).raw == b"OK"
    full = Queue.create(rcv, subscribe=False)
    assert full.recipient(rcv, b"NDEL").raw == b"OK"
    for _ in range(128):
        assert full.send(snd, b"x").raw == b"OK"
    assert full.send(snd, b"x").raw == b"ERR QUOTA"
    assert first.sub(last).tag == "SOK"
    ended(rcv)
    script.expected = read_counters(SAMPLE)
