# SPDX-License-Identifier: AGPL-3.0-or-later
"""The control port (operations, section 5). Sessions recorded with the reference are replayed on
the state that they were recorded on; what is deliberately different is listed here."""

import base64
import re
import shutil
import signal
import socket
import threading
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from control import ADMIN, GREETING, USER, Control, use
from program import free_port
from smp_client import connect

from smp import Queue
from smp.crypto import public_of

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "reference-6.5.5"
CHANGES = 4  # lines at the end of the recorded store log that the recorded session made
# Blocked for a day: the reference of that version did not read seconds, and blocked nothing.
NOTICE = "block MbNBP9K--5XYyJckuJ2_eYny4jGvnovP reason=content,notice=86400"
# Figures of the reference's runtime and its threads: ours has others.
OURS = ("stats-rts", "threads", "socket-threads", NOTICE)
# The line of `stats` that the reference has from version 7.0 on, after what 6.5.5 has.
SINCE_RECORDED = ["rslvStats: reqs=N, succ=N, notFound=N, resolverErrs=N, disabled=N"]
HELP = ("commands: stats, stats-rts, clients, sockets, socket-threads, threads, server-info, "
        "delete, status, block, unblock, save, help, quit")


@pytest.fixture(name="port")
def fixture_port(ready):
    """A control port in the settings."""
    port = free_port()
    use(ready, port)
    return port


NO_SUCH = "error: AUTH: there is no such queue on this server"


def recorded(name):
    """A transcript: pairs of a command and the lines of its answer."""
    pairs = []
    for line in (SAMPLES / "control-port" / name).read_text().splitlines():
        if line.startswith(">>> "):
            pairs.append((line[4:], []))
        elif pairs:
            pairs[-1][1].append(line)
    return pairs


def without_numbers(lines):
    """What is left of figures: names, order, punctuation. Lists of numbers are one."""
    out = []
    for line in lines:
        line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", "TIME", line)
        line = re.sub(r"\[[\d,]*\]", "[]", line)
        name, colon, value = line.partition(": ")
        out.append(name + colon + re.sub(r"\d+", "N", value) if colon else re.sub(r"port \d+",
                                                                                "port N", line))
    return out


def check_answer(command, got, expected):
    """Compares with the reference's answer, as far as it can be the same."""
    if command == "help":
        assert got == [HELP]
    elif command == "clients" and expected != ["AUTH"]:
        assert got[0] == expected[0]
        for line in got[1:] + expected[1:]:
            assert re.fullmatch(r"\d+,[\w+/]{43}=,True(,\d+){5}", line), line
    elif command == "stats" and expected != ["AUTH"]:
        assert without_numbers(got) == without_numbers(expected) + SINCE_RECORDED
    elif command in ("server-info", "sockets"):
        assert without_numbers(got) == without_numbers(expected)
    elif expected[0].startswith("error: "):  # ours say what to do
        assert len(got) == 1 and got[0].startswith("error: ") and got[0].count(" ") > 3, command
        assert (expected == ["error: AUTH"]) == (got == [NO_SUCH])
    else:
        assert got == expected, command


def replay(session, pairs):
    """Says what was said, and hears what was answered."""
    for command, expected in pairs:
        if command in OURS and expected != ["AUTH"]:
            continue
        if command == "quit":
            session.raw(b"quit\n")
            assert session.rest() == b""
        else:
            check_answer(command, session.lines(command), expected)


@pytest.mark.parametrize("name, password", [("control-port-admin.txt", ADMIN),
                                            ("control-port-user.txt", USER)])
def test_transcript(ready, port, name, password):
    """Both roles, as the reference answers them, with a client to be shown."""
    ready.start()
    with connect(ready) as client, Control(port) as session:
        Queue.create(client)
        pairs = [(re.sub(r"^auth \w{9,}", f"auth {password}", command), answer)
                 for command, answer in recorded(name)]
        assert any(command.endswith(password) for command, _ in pairs)
        replay(session, pairs)


def test_transcript_of_queues(ready, port):
    """Moderation: the same answers, and the same lines in the store log."""
    log = (SAMPLES / "daily" / "store-log-after-block.txt").read_text().splitlines(keepends=True)
    rcv_id = next(line for line in log if "gnTqnSDeEjXEieu26WrO8LfWXQCpUj_N" in line)[11:43]
    ready.set("STORE_LOG", "store_messages", "memory")
    shutil.rmtree(ready.state / "journal", ignore_errors=True)
    (ready.state / "smp-server-store.log").write_text("".join(log[:-CHANGES]))
    (ready.state / "smp-server-messages.log").write_text(
        f"v3 {rcv_id} {'B' * 32} 1795305600 flags=F AAAA\n")
    ready.start()
    pairs = recorded("control-port-queues.txt")
    with Control(port, ADMIN) as session:
        replay(session, pairs[1:])
    after = (ready.state / "smp-server-store.log").read_text().splitlines(keepends=True)
    assert after[-CHANGES:] == log[-CHANGES:]


# ---- what the reference has otherwise ----

def test_runtime(ready, port):
    """Our own figures: of the process, of the loops, of the threads."""
    ready.start()
    with Control(port, ADMIN) as session:
        runtime = dict(line.split(": ") for line in session.lines("stats-rts"))
        assert int(runtime["memory, bytes"]) > 1 << 20
        assert int(runtime["event loops"]) >= 1
        head, *loops = session.lines("socket-threads")
        assert head == "thread,clients,subscriptions,ntfSubscriptions"
        assert len(loops) == int(runtime["event loops"])
        head, *threads = session.lines("threads")
        assert head == f"Threads: {len(threads)}" == f"Threads: {runtime['threads']}"
        assert all(re.fullmatch(r"ThreadId \d+ \([A-Z], \d+\.\d\d s\) .+", t) for t in threads)
        assert sum(t.endswith(" loop-0") for t in threads) == 1


# ---- lines and sessions ----

def test_lines_of_terminals(ready, port):
    """CR LF, telnet's negotiation, empty and too long lines."""
    ready.start()
    with Control(port) as session:
        assert session.lines("help", b"\r\n") == [HELP]
        session.raw(b"\xff\xfd\x03\xff\xfb\x18\xff\xfa\x18\x00xterm\xff\xf0")
        assert session.lines("help", b"\r\x00\n") == [HELP]
        assert session.lines("") == []
        assert session.lines("status " + "A" * 5000) == ["error: line too long"]
        assert session.lines("help ") == ["error: there are more words than the command takes"]
    with Control(port) as session:
        session.raw(b"help\nhelp")
        session.sock.shutdown(socket.SHUT_WR)
        assert session.rest().decode() == (HELP + "\n") * 2


def test_both_loopback_addresses_only(ready, port):
    """127.0.0.1 and ::1, and no other address of this machine."""
    ready.start()
    if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
        with Control(port, host="::1") as session:
            assert session.lines("help") == [HELP]
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", port), 5)


def test_sessions_and_their_number(ready, port):
    """Each has its own role; one more than 16 are let in if one without a role gives way."""
    ready.start()
    with ExitStack() as stack:
        sessions = [stack.enter_context(Control(port)) for _ in range(16)]
        sessions[0].auth(ADMIN)
        sessions[1].auth(USER)
        assert sessions[0].lines("resume") == ["resume not implemented"]
        assert sessions[1].lines("resume") == sessions[2].lines("resume") == ["AUTH"]
        assert sessions[9].line("auth no") == "Current role is CPRNone"
        sessions.append(stack.enter_context(Control(port)))  # for who guessed wrong
        assert sessions[9].rest() == b""
        sessions.append(stack.enter_context(Control(port)))  # for the oldest
        assert sessions[2].rest() == b""
        for session in [s for i, s in enumerate(sessions) if i not in (0, 1, 2, 9)]:
            session.auth(USER)
        with socket.create_connection(("127.0.0.1", port), 60) as other:
            assert other.recv(100) == b""
        sessions[15].raw(b"quit\n")
        assert sessions[15].rest() == b""
        with Control(port) as again:
            assert again.lines("help") == [HELP]


def test_strangers_do_not_keep_the_admin_out(ready, port):
    """However many connect and say nothing, or half a line, or guess once: who comes gets in, which is counted."""
    metrics = free_port()
    ready.set("TRANSPORT", "metrics", f"127.0.0.1:{metrics}")
    ready.start()
    with ExitStack() as stack:
        for i in range(60):
            session = stack.enter_context(Control(port))
            session.raw((b"", b"aut", b"help")[i % 3])
        with Control(port) as guesser:
            assert guesser.line("auth no") == "Current role is CPRNone"
            with Control(port) as admin:
                admin.auth(ADMIN)
                assert admin.lines("resume") == ["resume not implemented"]
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    name = 'simplex_smp_limits_reached_total{limit="control_sessions"}'
    assert int(re.search(re.escape(name) + r" (\d+)", text)[1]) == 46


def test_port_in_use(ready, port):
    """A clear line, not a server without its control port."""
    with socket.create_server(("127.0.0.1", port)):
        line = ready.refuse_start()
    assert str(port) in line and "[TRANSPORT] control_port" in line


# ---- roles and passwords ----

def test_roles(ready, port):
    """The first right password of a session decides."""
    ready.start()
    with Control(port) as session:
        assert session.line(f"auth {USER}") == "Current role is CPRUser"
        assert session.line(f"auth {USER}") == "Current role is CPRUser"
        change = "Current role is CPRUser, start new session to change."
        assert session.line(f"auth {ADMIN}") == session.line("auth no") == change
        assert session.lines("save") == session.lines("delete AAAA") == ["AUTH"]


def test_no_password_no_role(ready):
    """Without a password in the settings nobody has the role, whatever is said."""
    port = free_port()
    use(ready, port, control_port_admin_password=None)
    ready.start()
    with Control(port) as session:
        assert session.lines("auth ") == session.lines("auth") == [
            "error: the password is missing: auth PASSWORD"]
        assert session.line(f"auth {ADMIN}") == "Current role is CPRNone"
        assert session.line("auth " + "x" * 2000) == "Current role is CPRNone"
        session.auth(USER)


def test_new_passwords(ready, port):
    """SIGHUP: for sessions from now on; those that have a role keep it."""
    server = ready.start()
    with Control(port, ADMIN) as before:
        ready.set("AUTH", "control_port_admin_password", "another")
        ready.set("AUTH", "daily_block_queue_quota", -1)
        server.process.send_signal(signal.SIGHUP)
        server.wait("settings", server.err)
        with Control(port, "another") as after:
            assert after.lines("resume") == before.lines("resume")
            assert after.lines("block AAAA reason=spam") == [
                "error: reached limit of -1 queues blocked daily"]
            assert Control(port).line(f"auth {ADMIN}") == "Current role is CPRNone"


def test_wrong_passwords_are_slow(ready, port):
    """Those of one session more and more, those of all sessions together by four a second."""
    ready.start()
    began = time.monotonic()
    with Control(port) as session:
        for _ in range(4):
            assert session.line("auth no") == "Current role is CPRNone"
        assert time.monotonic() - began > 1.7  # 0.25 + 0.5 + 1
    began = time.monotonic()
    for _ in range(4):
        with Control(port) as session:
            assert session.line("auth no") == "Current role is CPRNone"
    assert time.monotonic() - began > 0.7
    with Control(port) as session:
        session.auth(USER)


def test_guessing_does_not_keep_others_out(ready, port):
    """A right password is looked at when it is its turn, however many guess without a pause."""
    ready.start()
    ended = threading.Event()

    def guess():
        while not ended.is_set():
            with suppress(OSError, AssertionError):
                with Control(port) as session:
                    for _ in range(9):
                        session.line("auth no")

    guessers = [threading.Thread(target=guess, daemon=True) for _ in range(8)]
    for thread in guessers:
        thread.start()
    time.sleep(8)
    for _ in range(3):
        began = time.monotonic()
        with Control(port) as session:
            session.auth(ADMIN)
        assert time.monotonic() - began < 10
    ended.set()
    for thread in guessers:
        thread.join(30)


def test_race_for_places(ready, port):
    """Many connect and guess at once and without a pause, and come again when they have to go: the
    operator's password is looked at behind those of 15 others, if not at the first try, then soon."""
    ready.start()
    ended = threading.Event()

    def guess():
        while not ended.is_set():
            with suppress(OSError, AssertionError), Control(port) as session:
                session.sock.settimeout(2)
                session.raw(b"auth no\n" * 3)
                while session.receive():
                    pass

    guessers = [threading.Thread(target=guess, daemon=True) for _ in range(24)]
    for thread in guessers:
        thread.start()
    time.sleep(2)
    for _ in range(3):
        began, is_in = time.monotonic(), False
        while not is_in:
            with suppress(OSError, AssertionError), Control(port, ADMIN):
                is_in = True
        assert time.monotonic() - began < 20
    ended.set()
    for thread in guessers:
        thread.join(30)


# ---- moderation, and who is told ----

def b64(data):
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_blocked_client_is_told(ready, port):
    """By sender id, with a notice; the subscriber and the sender hear why at once."""
    ready.start()
    with connect(ready) as client, Control(port, USER) as session:
        queue = Queue.create(client)
        name = b64(queue.snd_id)
        assert session.lines(f"block {name} reason=content,notice=60") == [
            "ok, queue blocked: EntityBlocked (BlockingInfo {reason = BRContent, notice = Just "
            "(ClientNotice {ttl = Just 60})})"]
        error = b'ERR BLOCKED reason=content,notice={"ttl":60}'
        event = client.event()
        assert event.entity == queue.rcv_id and event.raw == error
        assert queue.send(client, b"x").raw == error
        assert session.lines(f"block {name} reason=spam") == [
            "ok, already inactive: EntityBlocked (BlockingInfo {reason = BRSpam, notice = "
            "Nothing})"]
        assert client.event().raw == b"ERR BLOCKED reason=spam"
        assert session.lines(f"unblock {name}")[0].startswith("ok, queue unblocked, reason")
        assert session.lines(f"unblock {name}") == ["ok, queue was active"]
        assert queue.send(client, b"x").raw == b"OK"
        assert queue.off(client).raw == b"OK"
        assert session.lines(f"unblock {name}") == ["error, queue is inactive"]


def test_deleted_queue(ready, port):
    """Its subscriber gets DELD, its messages are counted, and it is gone after a restart."""
    server = ready.start()
    with connect(ready) as client, Control(port, ADMIN) as session:
        queue = Queue.create(client)
        for _ in range(3):
            assert queue.send(client, b"x").raw == b"OK"
        client.event()
        assert session.lines(f"delete {b64(queue.snd_id)}") == ["ok, 3 messages deleted"]
        event = client.event()
        assert (event.entity, event.raw) == (queue.rcv_id, b"DELD")
        assert "qDeletedNew: 1" in session.lines("stats")
        server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    ready.start()
    with Control(port, ADMIN) as session:
        assert session.lines(f"status {b64(queue.snd_id)}") == [NO_SUCH]


def test_links(ready, port):
    """A queue is found by the short link that leads to it, if it is a link of this server."""
    ready.start()
    own = (ready.config / "fingerprint").read_text().strip().rstrip("=")
    other, key = b64(bytes(32)), b64(public_of(bytes(range(32))))
    with connect(ready) as client, Control(port, USER) as session:
        queue = Queue.create(client, link=(b"fixed", b"user"))
        link_id = b64(queue.ids.link_id)
        active = session.lines(f"status {link_id}")
        assert active[0].startswith("status: EntityActive, updatedAt: Just (RoundedSystemTime")
        link = f"i#{link_id}/{key}"
        for text in (f"simplex:/{link}?h=a.example,b.onion&p=5223&c={own}",
                     f"https://a.example/{link}"):
            assert session.lines(f"status {text}") == active
        assert session.lines(f"status simplex:/{link}?h=a.example&c={other}") == [
            "error: the link is of another server"]
        assert session.lines(f"status simplex:/a#{key}?h=a.example") == [NO_SUCH]
        assert session.lines("status https://a.example/") == ["error: bad queue id or link"]


@pytest.mark.parametrize("quota, n", [(2, 2), (-1, 0), (0, 3)])
def test_daily_quota(ready, quota, n):
    """So many queues may be blocked a day, by either role; those blocked already do not count."""
    port = free_port()
    use(ready, port, daily_block_queue_quota=quota)
    ready.start()
    with connect(ready) as client, Control(port, USER) as user, Control(port, ADMIN) as admin:
        names = [b64(Queue.create(client, subscribe=False).snd_id) for _ in range(3)]
        answers = [user.lines(f"block {name} reason=spam")[0] for name in names]
        assert [a.startswith("ok, queue blocked") for a in answers] == [i < n for i in range(3)]
        if n < 3:
            limit = f"error: reached limit of {quota} queues blocked daily"
            assert answers[-1] == admin.lines(f"block {names[0]} reason=spam")[0] == limit


# ---- save, clients ----

def test_save(ready, port):
    """Messages in memory are on disk afterwards: a crash loses none of them."""
    ready.set("STORE_LOG", "store_messages", "memory")
    ready.set("STORE_LOG", "log_stats", "on")
    server = ready.start()
    with connect(ready) as client, Control(port, ADMIN) as session:
        queue = Queue.create(client, subscribe=False)
        assert queue.send(client, b"kept").raw == b"OK"
        assert session.lines("save") == ["saving server state...", "server state saved!"]
        assert "msgSent=1" in (ready.state / "smp-server-stats.log").read_text()
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    ready.start()
    with connect(ready) as client:
        assert queue.open(queue.get(client)).body == b"kept"


def test_save_that_fails(ready, port):
    """What could not be written is said, and the session goes on."""
    ready.set("STORE_LOG", "store_messages", "memory")
    ready.start()
    (ready.state / "smp-server-messages.log.new").mkdir()
    with Control(port, ADMIN) as session:
        first, second = session.lines("save")
        assert first == "saving server state..."
        assert second.startswith("error: cannot save messages to ")
        (ready.state / "smp-server-messages.log.new").rmdir()
        assert session.lines("save")[1] == "server state saved!"


def test_clients(ready, port):
    """All are listed once, with their subscriptions; a reader that stops holds up nobody."""
    ready.start()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(ready)) for _ in range(40)]
        for client in clients[:3]:
            Queue.create(client)
        idle = stack.enter_context(Control(port, ADMIN))
        idle.raw(b"clients\n" * 500)
        session = stack.enter_context(Control(port, ADMIN))
        rows = [line.split(",") for line in session.lines("clients")[1:]]
        assert len({row[0] for row in rows}) == len({row[1] for row in rows}) == len(rows) == 40
        assert sorted(row[7] for row in rows) == ["0"] * 37 + ["1"] * 3
        assert all(abs(int(row[3]) - time.time()) < 600 for row in rows)
        assert "SMP subscribed clients: 3" in session.lines("server-info")
        for client in clients:
            client.ping()


def test_stop_with_open_sessions(ready, port):
    """The server stops at once, whatever its operators are doing."""
    server = ready.start()
    with Control(port, ADMIN) as idle, Control(port, ADMIN) as busy, Control(port) as guessing:
        busy.raw(b"clients\nsave\n" * 200)
        guessing.raw(b"auth no\n" * 5)
        assert server.stop() < 30
        assert idle.rest() == b""
        assert GREETING not in guessing.rest()
