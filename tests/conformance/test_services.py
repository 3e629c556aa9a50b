# SPDX-License-Identifier: AGPL-3.0-or-later
"""Service sessions: handshake, roles, signatures, associations, SUBS and NSUBS (sections 3 to 6)."""

import os
import threading

import pytest
from smp import Connection, Ed25519Key, Notifier, Queue, Service, ServiceSession, ids_sum
from smp.commands import nkey_command, service_command

PATIENCE = 10
INTERVAL = {("LIMITS", "notification_interval_ms"): 50}
NOTHING = (0, bytes(16))


@pytest.fixture
def service(tmp_path):
    """Function: a new service client."""
    return lambda role="N", length=2: Service(tmp_path, role, length)


@pytest.fixture
def quick(own_server):
    """Address of a server that sends notifications almost at once."""
    return own_server(INTERVAL).address


def subscribe_all(conn, total=NOTHING):
    """NSUBS or SUBS of the connection's service."""
    tag = "NSUBS" if conn.session.service.service.role == "N" else "SUBS"
    return conn.as_service(service_command(tag, conn.version, total))


def assert_total(answer, tag, ids):
    """SOKS or ENDS with exactly the sum of these ids."""
    count, ids_hash = ids_sum(ids)
    assert (answer.tag, answer.count) == (tag, count)
    assert answer.ids_hash in (None, ids_hash)


def notifiers(conn, count):
    """Queues with notifiers: [(queue, notifier)]."""
    queues = [Queue.create(conn, subscribe=False) for _ in range(count)]
    return [(queue, Notifier.of(conn, queue)) for queue in queues]


# ---- handshake ----

@pytest.mark.parametrize("length", [1, 2, 3, 4])
@pytest.mark.parametrize("version", [16, 18, 19, 20])
def test_service_is_known_by_its_certificate(connect, service, version, length):
    """First contact gives an id of 24 bytes; the same certificate the same id (section 3)."""
    client = service(length=length)
    first = connect(version, service=client).service_id
    assert len(first) == 24
    assert connect(version, service=client).service_id == first
    assert connect(version, service=service()).service_id != first


@pytest.mark.parametrize("role", ["M", "N", "P"])
def test_roles(connect, service, role):
    """A certificate has one role; in another it is refused."""
    client = service(role)
    assert connect(service=client).service_id
    for other in "MNP":
        session = ServiceSession(client, role=other)
        conn = connect(service=session)
        if other == role:
            assert session.service_id
        else:
            assert session.error == b"HANDSHAKE BAD_SERVICE"
            assert conn.closed_within(PATIENCE)


def test_proof_must_be_the_services_own(connect, service):
    """Another chain than that of TLS, or a key signed by somebody else: BAD_AUTH."""
    client, other = service(), service()
    for changes in ({"chain": other.chain}, {"signer": other.leaf_key}):
        session = ServiceSession(client, **changes)
        connect(service=session)
        assert session.error == b"HANDSHAKE BAD_AUTH"


def test_services_can_be_refused(connect, own_server, service):
    """accept_service_credentials: off."""
    address = own_server({("TRANSPORT", "accept_service_credentials"): "off"}).address
    session = ServiceSession(service())
    connect(to=address, service=session)
    assert session.error == b"HANDSHAKE BAD_SERVICE"


# ---- what may be sent ----

def test_commands_of_another_role(connect, service):
    """A command of another party than the role's: CMD PROHIBITED, whether the queue exists or not."""
    plain = connect()
    queue = Queue.create(plain)
    notifier = Notifier.of(plain, queue)
    for_ntf, for_msg, for_proxy = (connect(service=service(role)) for role in "NMP")
    for conn in (for_ntf, for_proxy):
        for entity in (queue.rcv_id, os.urandom(24)):
            assert conn.request(b"SUB", entity, queue.rcv_key).raw == b"ERR CMD PROHIBITED"
        assert conn.request(b"SEND F x", queue.snd_id).raw == b"ERR CMD PROHIBITED"
    for conn in (for_msg, for_proxy):
        assert notifier.sub(conn).raw == b"ERR CMD PROHIBITED"
    for conn in (for_ntf, for_msg, for_proxy):
        conn.ping()


def test_service_signature(connect, service):
    """NEW, SUB, NSUB need it in a service's session, others must not have it: SERVICE."""
    plain = connect()
    (queue, notifier), = notifiers(plain, 1)
    for_ntf, for_msg = connect(service=service()), connect(19, service=service("M"))

    def answer(conn, command, entity, key, signs):
        sent = conn.make(command, entity, key, service_signs=signs)
        conn.write([sent])
        return conn.wait(sent).raw

    assert answer(for_ntf, b"NSUB", notifier.notifier_id, notifier.key, False) == b"ERR SERVICE"
    assert answer(for_msg, b"SUB", queue.rcv_id, queue.rcv_key, False) == b"ERR SERVICE"
    assert answer(for_msg, b"QUE", queue.rcv_id, queue.rcv_key, True) == b"ERR SERVICE"
    assert answer(for_ntf, b"NSUB", os.urandom(24), notifier.key, False) == b"ERR SERVICE"
    assert answer(for_ntf, b"NSUB", os.urandom(24), notifier.key, True) == b"ERR AUTH"
    assert answer(for_ntf, b"NSUB", notifier.notifier_id, Ed25519Key(), True) == b"ERR AUTH"
    assert answer(for_ntf, b"NSUB", notifier.notifier_id, notifier.key, True).startswith(b"SOK 1")
    for_ntf.session.service.signing = for_msg.session.service.signing
    assert answer(for_ntf, b"NSUB", notifier.notifier_id, notifier.key, True) == b"ERR SERVICE"


def test_authorization_covers_the_certificate(connect, service):
    """The queue's authorization is over the certificate's hash too, where the service signs."""
    plain = connect()
    (_, notifier), = notifiers(plain, 1)
    conn = connect(service=service())
    real = conn.session.service.service.cert_hash
    conn.session.service.service.cert_hash = b""
    assert notifier.sub(conn).raw == b"ERR AUTH"
    conn.session.service.service.cert_hash = os.urandom(32)
    assert notifier.sub(conn).raw == b"ERR AUTH"
    conn.session.service.service.cert_hash = real
    assert notifier.sub(conn).service_id == conn.service_id


@pytest.mark.parametrize("key", ["ed448", "x25519"])
def test_other_keys_cover_the_certificate(connect, service, key):
    """The same with other types of keys."""
    plain = connect()
    queue = Queue.create(plain, subscribe=False)
    notifier = Notifier(key)
    answer = queue.recipient(plain, nkey_command(*notifier.credentials()))
    notifier.accept(answer.notifier_id, answer.server_dh)
    conn = connect(service=service())
    assert notifier.sub(conn).service_id == conn.service_id


@pytest.mark.parametrize("tag", ["SUBS", "NSUBS"])
def test_all_subscriptions_need_the_service(connect, service, tag):
    """SUBS and NSUBS: by this service's own session key only."""
    plain, conn = connect(19), connect(19, service=service("M" if tag == "SUBS" else "N"))
    command = service_command(tag, 19)
    assert plain.request(command, conn.service_id, Ed25519Key()).raw == b"ERR SERVICE"
    assert conn.as_service(command, Ed25519Key()).raw == b"ERR SERVICE"
    assert conn.request(command, os.urandom(24), conn_key(conn)).raw == b"ERR SERVICE"
    assert conn.as_service(command).tag == "SOKS"
    other = "NSUBS" if tag == "SUBS" else "SUBS"
    assert conn.as_service(service_command(other, 19)).raw == b"ERR CMD PROHIBITED"


def conn_key(conn):
    """A key that authorizes by the service's session key."""
    class Key:
        """Its only method."""

        @staticmethod
        def authorize(_server_key, _corr_id, signed):
            """The authorization of a command."""
            return conn.session.service.sign(signed)
    return Key


# ---- notifications ----

@pytest.mark.parametrize("version", [16, 18, 19, 20])
def test_nsub_associates(connect, quick, service, version):
    """NSUB by a service: SOK with its id, its notifications; NSUBS later has them all."""
    plain, sender = connect(to=quick), connect(to=quick)
    pairs = notifiers(plain, 5)
    ids = [notifier.notifier_id for _, notifier in pairs]
    client = service()
    with Connection(quick, version, service=client) as conn:
        for _, notifier in pairs:
            assert notifier.sub(conn).service_id == conn.service_id
        for queue, notifier in pairs:
            assert queue.send(sender, b"x", b"T").raw == b"OK"
            notifier.open(conn.event(PATIENCE))
        assert conn.quiet()
    for queue, _ in pairs:
        assert queue.send(sender, b"x", b"T").raw == b"OK"
    conn = connect(version, to=quick, service=client)
    assert_total(subscribe_all(conn), "SOKS", ids)
    assert {conn.event(PATIENCE).entity for _ in ids} == set(ids)
    for queue, notifier in pairs:
        assert queue.send(sender, b"x", b"T").raw == b"OK"
        notifier.open(conn.event(PATIENCE))
    assert_total(subscribe_all(conn, ids_sum(ids)), "SOKS", ids)
    assert conn.quiet()


def test_nsub_without_service_removes_the_association(connect, quick, service):
    """A plain NSUB takes the notifier from the service, which gets END; and the reverse."""
    plain, sender, conn = connect(to=quick), connect(to=quick), connect(to=quick, service=service())
    pairs = notifiers(plain, 2)
    for _, notifier in pairs:
        notifier.sub(conn)
    taken, kept = pairs
    assert taken[1].sub(plain).service_id is None
    end = conn.event(PATIENCE)
    assert (end.raw, end.entity) == (b"END", taken[1].notifier_id)
    for queue, _ in pairs:
        assert queue.send(sender, b"x", b"T").raw == b"OK"
    taken[1].open(plain.event(PATIENCE))
    kept[1].open(conn.event(PATIENCE))
    assert taken[1].sub(conn).service_id == conn.service_id
    end = plain.event(PATIENCE)
    assert (end.raw, end.entity) == (b"END", taken[1].notifier_id)
    assert_total(subscribe_all(conn), "SOKS", [n.notifier_id for _, n in pairs])


def test_another_service_takes_a_notifier(connect, service):
    """NSUB by another service moves the association."""
    plain, one, two = connect(), connect(service=service()), connect(service=service())
    pairs = notifiers(plain, 2)
    for _, notifier in pairs:
        notifier.sub(one)
    pairs[0][1].sub(two)
    assert one.event(PATIENCE).entity == pairs[0][1].notifier_id
    assert_total(subscribe_all(one), "SOKS", [pairs[1][1].notifier_id])
    assert_total(subscribe_all(two), "SOKS", [pairs[0][1].notifier_id])


@pytest.mark.parametrize("how", ["NDEL", "NKEY", "DEL"])
def test_end_of_an_associated_notifier(connect, service, how):
    """DELD to the service, and one less in its sum."""
    plain, conn = connect(), connect(service=service())
    pairs = notifiers(plain, 3)
    for _, notifier in pairs:
        notifier.sub(conn)
    queue, gone = pairs[0]
    if how == "NKEY":
        Notifier.of(plain, queue)
    else:
        assert queue.recipient(plain, how.encode()).raw == b"OK"
    event = conn.event(PATIENCE)
    assert (event.raw, event.entity) == (b"DELD", gone.notifier_id)
    assert_total(subscribe_all(conn), "SOKS", [n.notifier_id for _, n in pairs[1:]])


@pytest.mark.parametrize("version", [16, 18, 19, 20])
def test_take_over(connect, quick, service, version):
    """Another connection of the service: the earlier gets ENDS with what it had."""
    plain, sender, client = connect(to=quick), connect(to=quick), service()
    pairs = notifiers(plain, 4)
    ids = [notifier.notifier_id for _, notifier in pairs]
    one = connect(version, to=quick, service=client)
    for _, notifier in pairs:
        notifier.sub(one)
    two = connect(version, to=quick, service=client)
    assert_total(subscribe_all(two), "SOKS", ids)
    ends = one.event(PATIENCE)
    assert ends.entity == one.service_id
    assert_total(ends, "ENDS", ids)
    for queue, notifier in pairs:
        assert queue.send(sender, b"x", b"T").raw == b"OK"
        notifier.open(two.event(PATIENCE))
    assert one.quiet() and two.quiet()
    assert_total(subscribe_all(one), "SOKS", ids)
    assert_total(two.event(PATIENCE), "ENDS", ids)
    assert one.quiet()


def test_hash_is_of_notifiers(connect, service):
    """NSUBS first and NSUB later, in one connection: SOKS and ENDS have the hash of notifier ids,
    as clients compute it."""
    plain, client = connect(19), service()
    pairs = notifiers(plain, 3)
    ids = [notifier.notifier_id for _, notifier in pairs]
    one, two = connect(19, service=client), connect(19, service=client)
    assert_total(subscribe_all(one), "SOKS", [])
    for known, (_, notifier) in enumerate(pairs, 1):
        assert notifier.sub(one).service_id == one.service_id
        assert_total(subscribe_all(one), "SOKS", ids[:known])
    assert pairs[0][1].sub(one).service_id == one.service_id
    assert_total(subscribe_all(two), "SOKS", ids)
    assert_total(one.event(PATIENCE), "ENDS", ids)


@pytest.mark.parametrize("role", ["N", "M"])
def test_told_sum_changes_nothing(connect, service, role):
    """Count and hash in SUBS and NSUBS are the client's own: the answer has the server's."""
    conn, plain = connect(19, service=service(role)), connect(19)
    if role == "M":
        ids = [Queue.create(conn).rcv_id for _ in range(2)]
    else:
        pairs = notifiers(plain, 2)
        ids = [notifier.notifier_id for _, notifier in pairs]
        for _, notifier in pairs:
            notifier.sub(conn)
    for told in (NOTHING, ids_sum(ids), (7, b"U" * 16), (-1, bytes(16)), (2**62, b"\xff" * 16)):
        assert_total(subscribe_all(conn, told), "SOKS", ids)


@pytest.mark.parametrize("version", [16, 18, 19, 20])
def test_parameters_of_the_version(connect, service, version):
    """SUBS and NSUBS have no parameters below version 19, count and hash from it."""
    for role, tag in (("N", b"NSUBS"), ("M", b"SUBS")):
        conn = connect(version, service=service(role))
        with_sum = tag + b" " + bytes(8) + bytes((16,)) + bytes(16)
        good, bad = (tag, with_sum) if version < 19 else (with_sum, tag)
        for text in (bad, tag + b" ", tag + b" " + bytes(8), with_sum[:-1], with_sum + b"x"):
            assert conn.as_service(text).raw == b"ERR CMD SYNTAX", text
        if (role, version < 19) != ("M", True):
            assert conn.as_service(good).tag == "SOKS"


def test_take_over_races(connect, service):
    """Two connections take the service from each other: each ENDS answers one SOKS, one serves."""
    plain, client = connect(), service()
    pairs = notifiers(plain, 3)
    ids = [notifier.notifier_id for _, notifier in pairs]
    conns = [connect(19, service=client) for _ in range(2)]
    for _, notifier in pairs:
        notifier.sub(conns[0])
    answers = [[], []]

    def run(number):
        for _ in range(60):
            answers[number].append(subscribe_all(conns[number]))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for conn, found in zip(conns, answers):
        conn.ping()
        for answer in found:
            assert_total(answer, "SOKS", ids)
        for event in conn.events:
            assert event.tag == "ENDS" and event.count <= len(ids)
    last = [subscribe_all(conn) for conn in conns][1]
    assert_total(last, "SOKS", ids)


def test_closed_connection_serves_nobody(connect, quick, service):
    """What comes after the service's connection closed waits for the next."""
    plain, sender, client = connect(to=quick), connect(to=quick), service()
    (queue, notifier), = notifiers(plain, 1)
    with Connection(quick, 18, service=client) as conn:
        notifier.sub(conn)
    assert queue.send(sender, b"x", b"T").raw == b"OK"
    conn = connect(to=quick, service=client)
    assert conn.quiet(0.2)
    subscribe_all(conn)
    notifier.open(conn.event(PATIENCE))


# ---- messages ----

def test_new_associates(connect, service):
    """NEW by a service: its id in IDS, messages to its session; subMode C is PROHIBITED."""
    conn, sender = connect(19, service=service("M")), connect(19)
    queue = Queue.create(conn)
    assert queue.ids.service_id == conn.service_id
    assert queue.send(sender, b"hello").raw == b"OK"
    message = queue.next_message(conn)
    assert message.body == b"hello"
    assert queue.ack(conn, message.msg_id).raw == b"OK"
    assert queue.ack(conn, message.msg_id).raw == b"ERR NO_MSG"
    with pytest.raises(ValueError, match="PROHIBITED"):
        Queue.create(conn, subscribe=False)
    assert_total(subscribe_all(conn), "SOKS", [queue.rcv_id])


def test_subs_delivers_what_waits(connect, service):
    """SUBS: SOKS, then the waiting messages, then ALLS; each queue one message at a time."""
    plain, sender, client = connect(19), connect(19), service("M")
    queues = [Queue.create(plain, subscribe=False) for _ in range(30)]
    ids = [queue.rcv_id for queue in queues]
    with Connection(plain.address, 19, service=client) as conn:
        for queue in queues:
            assert queue.sub(conn).service_id == conn.service_id
    for queue in queues[:10]:
        assert queue.send(sender, b"one").raw == queue.send(sender, b"two").raw == b"OK"
    conn = connect(19, service=client)
    assert_total(subscribe_all(conn, ids_sum(ids)), "SOKS", ids)
    found = {}
    for _ in range(10):
        event = conn.event(PATIENCE)
        found[event.entity] = event
    assert set(found) == {queue.rcv_id for queue in queues[:10]}
    alls = conn.event(PATIENCE)
    assert (alls.tag, alls.entity) == ("ALLS", b"")
    for queue in queues[:10]:
        first = queue.open(found[queue.rcv_id])
        second = queue.open(queue.ack(conn, first.msg_id))
        assert (first.body, second.body) == (b"one", b"two")
        assert queue.ack(conn, second.msg_id).raw == b"OK"
    assert queues[20].send(sender, b"later").raw == b"OK"
    assert queues[20].next_message(conn).body == b"later"
    assert conn.quiet()


def test_subs_of_nothing(connect, service):
    """A service without queues: a sum of nothing, and ALLS."""
    conn = connect(19, service=service("M"))
    assert_total(subscribe_all(conn), "SOKS", [])
    assert conn.event(PATIENCE).tag == "ALLS"
    assert_total(subscribe_all(conn), "SOKS", [])
    assert conn.quiet()


def test_subs_before_version_19(connect, service):
    """Below version 19 a messaging service cannot subscribe all; its SUB is that of a connection."""
    conn, plain = connect(18, service=service("M")), connect()
    assert conn.as_service(b"SUBS").raw == b"ERR CMD PROHIBITED"
    queue = Queue.create(plain)
    assert queue.sub(conn).service_id is None
    assert plain.event(PATIENCE).raw == b"END"
    assert queue.send(plain, b"x").raw == b"OK"
    assert queue.next_message(conn).body == b"x"


def test_sub_in_a_service_session_before_version_19(connect, service):
    """There too NEW associates, and SUB takes the queue from the service; ENDS tells what is left."""
    client, sender = service("M"), connect()
    conn = connect(18, service=client)
    queues = [Queue.create(conn) for _ in range(3)]
    for _ in range(2):
        assert queues[0].sub(conn).service_id is None
    for queue in queues:
        assert queue.send(sender, b"x").raw == b"OK"
    assert {conn.event(PATIENCE).entity for _ in queues} == {queue.rcv_id for queue in queues}
    later = connect(19, service=client)
    assert_total(subscribe_all(later), "SOKS", [queue.rcv_id for queue in queues[1:]])
    ends = conn.event(PATIENCE)
    assert (ends.tag, ends.count) == ("ENDS", 2)
    assert {later.event(PATIENCE).entity for _ in range(2)} == {q.rcv_id for q in queues[1:]}
    assert later.event(PATIENCE).tag == "ALLS"


def test_sub_moves_between_service_and_connection(connect, service):
    """SUB by a plain connection removes the association; END to the service; and the reverse."""
    conn, plain, sender = connect(19, service=service("M")), connect(19), connect(19)
    one, two = Queue.create(conn), Queue.create(conn)
    assert one.send(sender, b"x").raw == b"OK"
    message = one.next_message(conn)
    assert one.sub(plain).service_id is None
    end = conn.event(PATIENCE)
    assert (end.raw, end.entity) == (b"END", one.rcv_id)
    assert one.next_message(plain).msg_id == message.msg_id
    assert one.ack(conn, message.msg_id).raw == b"ERR NO_MSG"
    assert_total(subscribe_all(conn), "SOKS", [two.rcv_id])
    assert conn.event(PATIENCE).tag == "ALLS"
    assert one.sub(conn).service_id == conn.service_id
    assert one.next_message(conn).msg_id == message.msg_id
    assert plain.event(PATIENCE).raw == b"END"
    assert_total(subscribe_all(conn), "SOKS", [one.rcv_id, two.rcv_id])


def test_deleted_queue_of_a_service(connect, service):
    """DEL by the service itself counts down in silence."""
    conn = connect(19, service=service("M"))
    one, two = Queue.create(conn), Queue.create(conn)
    assert one.delete(conn).raw == b"OK"
    assert conn.quiet()
    assert_total(subscribe_all(conn), "SOKS", [two.rcv_id])


@pytest.mark.parametrize("how", ["DEL", "SUB"])
def test_queue_taken_from_a_service(connect, service, how):
    """Somebody else deletes a queue of the service: DELD; subscribes to it: END; one less in the
    sum."""
    conn, plain = connect(19, service=service("M")), connect(19)
    one, two = Queue.create(conn), Queue.create(conn)
    assert one.recipient(plain, how.encode()).tag == ("OK" if how == "DEL" else "SOK")
    event = conn.event(PATIENCE)
    assert (event.raw, event.entity) == (b"DELD" if how == "DEL" else b"END", one.rcv_id)
    assert_total(subscribe_all(conn), "SOKS", [two.rcv_id])


def test_messages_are_taken_back(connect, service):
    """A connection that got ENDS takes its service over again: what waits, and ALLS, come anew."""
    client, sender = service("M"), connect(19)
    one, two = connect(19, service=client), connect(19, service=client)
    queue = Queue.create(one)
    assert queue.send(sender, b"x").raw == b"OK"
    message = queue.next_message(one)
    for now, before in ((two, one), (one, two), (two, one)):
        assert_total(subscribe_all(now), "SOKS", [queue.rcv_id])
        assert_total(before.event(PATIENCE), "ENDS", [queue.rcv_id])
        assert queue.next_message(now).msg_id == message.msg_id
        assert now.event(PATIENCE).tag == "ALLS"
        assert_total(subscribe_all(now), "SOKS", [queue.rcv_id])
        assert now.quiet() and before.quiet()
    assert queue.ack(one, message.msg_id).raw == b"ERR NO_MSG"
    assert queue.ack(two, message.msg_id).raw == b"OK"


def test_take_over_of_messages(connect, service):
    """What the earlier connection did not acknowledge goes to the later one."""
    client, sender = service("M"), connect(19)
    one = connect(19, service=client)
    queue = Queue.create(one)
    assert queue.send(sender, b"x").raw == b"OK"
    message = queue.next_message(one)
    two = connect(19, service=client)
    assert_total(subscribe_all(two), "SOKS", [queue.rcv_id])
    assert_total(one.event(PATIENCE), "ENDS", [queue.rcv_id])
    assert queue.next_message(two).msg_id == message.msg_id
    assert two.event(PATIENCE).tag == "ALLS"
    assert queue.ack(one, message.msg_id).raw == b"ERR NO_MSG"
    assert queue.ack(two, message.msg_id).raw == b"OK"


def test_many_waiting_messages(connect, service):
    """More waiting messages than may wait in memory: all come, and ALLS last."""
    plain, sender, client = connect(19), connect(19), service("M")
    queues = [Queue.create(plain, subscribe=False) for _ in range(400)]
    with Connection(plain.address, 19, service=client) as conn:
        sent = [conn.make(b"SUB", queue.rcv_id, queue.rcv_key) for queue in queues]
        conn.write(sent)
        assert {conn.wait(item).service_id for item in sent} == {conn.service_id}
    sent = [sender.make(b"SEND F x", queue.snd_id) for queue in queues]
    sender.write(sent)
    assert {sender.wait(item).raw for item in sent} == {b"OK"}
    conn = connect(19, service=client)
    assert_total(subscribe_all(conn), "SOKS", [queue.rcv_id for queue in queues])
    events = [conn.event(PATIENCE) for _ in range(401)]
    assert {event.entity for event in events[:400]} == {queue.rcv_id for queue in queues}
    assert events[400].tag == "ALLS"


# ---- restarts ----


def kill(server):
    """Ends the server as a crash does."""
    server.process.kill()
    server.process.wait()
    server.process = None


@pytest.mark.parametrize("store", ["memory", "journal", "database"])
def test_associations_survive_restarts(own_server, service, store):
    """Services and associations are there after a stop, and after a crash."""
    server = own_server({**INTERVAL, ("STORE_LOG", "enable"): "on"}, store=store)
    for_ntf, for_msg = service(), service("M")
    with Connection(server.address, 19) as plain:
        pairs = notifiers(plain, 4)
        with Connection(server.address, 19, service=for_ntf) as conn:
            ntf_id = conn.service_id
            for _, notifier in pairs:
                notifier.sub(conn)
            pairs[3][1].sub(plain)
        with Connection(server.address, 19, service=for_msg) as conn:
            msg_id = conn.service_id
            queues = [Queue.create(conn) for _ in range(3)]
            assert pairs[0][0].sub(conn).service_id == msg_id
            queues[2].delete(conn)
    ntf_ids = [notifier.notifier_id for _, notifier in pairs[:3]]
    rcv_ids = [queue.rcv_id for queue in queues[:2] + [pairs[0][0]]]
    for end in (server.stop, server.stop, lambda: kill(server), server.stop):
        end()
        server.start()
        with Connection(server.address, 19, service=for_ntf) as conn:
            assert conn.service_id == ntf_id
            assert_total(subscribe_all(conn), "SOKS", ntf_ids)
        with Connection(server.address, 19, service=for_msg) as conn:
            assert conn.service_id == msg_id
            assert_total(subscribe_all(conn), "SOKS", rcv_ids)
    with Connection(server.address, 19) as plain:
        assert pairs[0][1].sub(plain).service_id is None
    kill(server)
    server.start()
    with Connection(server.address, 19, service=for_ntf) as conn:
        assert_total(subscribe_all(conn), "SOKS", ntf_ids[1:])
