# SPDX-License-Identifier: AGPL-3.0-or-later
"""`check` finds an error where `start` refuses, in the same words, and none where it serves; what
both say of rights."""

import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from program import AS_ROOT, TIMEOUT, Server, as_nobody, expire, free_port, is_dumpable, served
from smp_client import VERSION
from test_check import check

from smp import Address, Connection
from smp.transport import decode_fingerprint
from smp.websocket import WebLink

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "reference-6.5.5"
LOG, MESSAGES = "smp-server-store.log", "smp-server-messages.log"


def put(program, name, text):
    """A file in the state directory."""
    (program.state / name).write_text(text)


def set_all(program, **settings):
    """Keys of [TRANSPORT]."""
    for key, value in settings.items():
        program.set("TRANSPORT", key, value)


def mix(program):
    """The key is that of the CA."""
    shutil.copy(program.config / "ca.key", program.config / "server.key")


def fill_journal(program):
    """A journal with a message, and the settings of memory mode."""
    from smp_client import fill
    server = program.start()
    fill(program, [b"x"])
    server.stop()
    program.set("STORE_LOG", "store_messages", "memory")


def damage_journal(program):
    """A byte in the middle of a message that is there."""
    from smp_client import fill
    server = program.start()
    fill(program, [b"x", b"y"])
    server.stop()
    segment = sorted(program.state.glob("journal/*.journal"))[0]
    data = bytearray(segment.read_bytes())
    data[4096 + 50] ^= 0xff
    segment.write_bytes(data)


def use_reference_journal(program):
    """The reference's directory with a queue's messages."""
    place = program.state / "messages" / "ab" / "cd"
    place.mkdir(parents=True)
    (place / "messages.abcd.log").write_text("x\n")


def change_log(program, change):
    """What happened to the store log after a server had used it."""
    shutil.copy(SAMPLES / "memory" / LOG, program.state)
    program.start().stop()
    path = program.state / LOG
    path.write_bytes(change(path.read_bytes()))


def flip(data):
    """A bit in an id: the line remains one."""
    at = data.index(b" sid=") + 10
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def crc32c(data, crc=0):
    """CRC-32C, bit by bit."""
    crc ^= 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def cut_erasing(program):
    """The power went while the first line was overwritten: its place is noted, its first half is a filler's."""
    change_log(program, lambda data: data)
    path = program.state / LOG
    data = path.read_bytes()
    length = data.index(b"\n") + 1
    note = struct.pack(">QI", 0, length)
    head = b"SMPERAS\n" + struct.pack(">QII", len(data), crc32c(data[length:]), 1)
    (program.state / (LOG + ".erasing")).write_bytes(head + struct.pack(">I", crc32c(head + note)) + note)
    half = b"TIME " + b"A" * (length // 2 - 5)
    path.write_bytes(half + data[len(half):])


BROKEN = {
    "bind": lambda p: set_all(p, bind="192.0.2.1"),
    "bind twice": lambda p: set_all(p, bind="127.0.0.1,127.0.0.1"),
    "port twice": lambda p: set_all(p, port=f"{p.port},{p.port}"),
    "low port": lambda p: set_all(p, port="443"),
    "control_port is port": lambda p: set_all(p, control_port=p.port),
    "metrics is port": lambda p: set_all(p, metrics=f"127.0.0.1:{p.port}"),
    "metrics is control_port": lambda p: set_all(p, control_port=p.port + 1,
                                                 metrics=f"127.0.0.1:{p.port + 1}"),
    "control_port at ::1": lambda p: set_all(p, bind="::1", control_port=p.port),
    "metrics elsewhere": lambda p: set_all(p, metrics="127.0.0.1:1"),
    "low control_port": lambda p: set_all(p, control_port=1),
    "garbage in the store log": lambda p: put(p, LOG, "garbage\nCREATE nonsense\n"),
    "a flipped bit in the store log": lambda p: change_log(p, flip),
    "store log cut": lambda p: change_log(p, lambda d: d[:d.rindex(b"\n", 0, -1) + 1]),
    "store log emptied": lambda p: change_log(p, lambda d: b""),
    "store log is a directory": lambda p: (p.state / LOG).mkdir(),
    "messages without settings": lambda p: put(p, MESSAGES, "x\n"),
    "messages log is a directory": lambda p: (p.state / MESSAGES).mkdir(),
    "garbage in the messages log": lambda p: (p.set("STORE_LOG", "store_messages", "memory"),
                                              put(p, MESSAGES, "garbage\nmore\n")),
    "statistics are a directory": lambda p: (p.set("STORE_LOG", "log_stats", "on"),
                                             (p.state / "smp-server-stats.log").mkdir()),
    "lock is a link": lambda p: (p.state / "smp-server.lock").symlink_to("elsewhere"),
    "journal not read": fill_journal,
    "damaged journal": damage_journal,
    "journal in no directory": lambda p: p.set("STORE_LOG", "journal_path", p.root / "a" / "b"),
    "journal is a file": lambda p: put(p, "journal", "x"),
    "journal of the reference": use_reference_journal,
    "no state directory": lambda p: p.state.rename(p.root / "moved"),
    "no server.crt": lambda p: (p.config / "server.crt").unlink(),
    "no server.key": lambda p: (p.config / "server.key").unlink(),
    "no ca.crt": lambda p: (p.config / "ca.crt").unlink(),
    "no fingerprint": lambda p: (p.config / "fingerprint").unlink(),
    "expired": expire,
    "mixed": mix,
    "no ini": lambda p: p.ini.unlink(),
    "ini is a directory": lambda p: (p.ini.unlink(), p.ini.mkdir()),
    "bad value": lambda p: set_all(p, port="many"),
    "host mode": lambda p: p.set("PROXY", "host_mode", "x"),
    "versions": lambda p: (p.set("LIMITS", "smp_version_min", 12),
                           p.set("LIMITS", "smp_version_max", 11)),
}
SOUND = {
    "as init made it": lambda p: None,
    "memory": lambda p: p.set("STORE_LOG", "store_messages", "memory"),
    "nothing": lambda p: (p.set("STORE_LOG", "enable", "off"),
                          p.set("STORE_LOG", "store_messages", "memory")),
    "control port and metrics": lambda p: set_all(p, control_port=free_port(),
                                                  metrics=f"127.0.0.1:{free_port()}"),
    "other families": lambda p: set_all(p, bind="127.0.0.1", metrics=f"[::1]:{p.port}"),
    "samples": lambda p: shutil.copy(SAMPLES / "memory" / LOG, p.state),
    "store log edited": lambda p: change_log(p, lambda d: d[d.index(b"\n") + 1:]),
    "store log by another server": lambda p: (
        change_log(p, lambda d: d[:d.rindex(b"\n", 0, -1) + 1]),
        put(p, LOG + ".2099-01-01T00:00:00.123456789Z", "x\n")),
    "no store log, and no checksums": lambda p: (
        change_log(p, lambda d: b""), (p.state / (LOG + ".sums")).unlink()),
    "torn store log": lambda p: put(p, LOG, (SAMPLES / "memory" / LOG).read_text() + "CREATE r"),
    "used": lambda p: (p.start().stop()),
    "erasing cut short": cut_erasing,
}


def nobody(program):
    """Options for run(): without the rights of root, which are above all of this."""
    return as_nobody(program)


def contents(program):
    """All files, but for the lock that a start makes."""
    return {name: data for name, data in program.files().items() if not name.endswith(".lock")}


@pytest.mark.parametrize("name", BROKEN)
def test_both_refuse(ready, name):
    """`check` has the error that `start` ends with, and changes nothing."""
    BROKEN[name](ready)
    user = nobody(ready)
    before = ready.files()
    found = check(ready, status=1, **user)
    assert ready.files() == before
    errors = [item["text"] for item in found["items"] if item["level"] == "error"]
    done = ready.run("start", status=1, **user)
    line = [x for x in done.stderr.splitlines() if x.startswith("Error: ")][-1]
    assert "Serving" not in done.stdout
    assert any(line == f"Error: {text}" for text in errors), (line, errors)


@pytest.mark.parametrize("name", SOUND)
def test_both_agree_to_serve(ready, name):
    """No error, nothing changed, and it starts."""
    SOUND[name](ready)
    user = nobody(ready)
    before = ready.files()
    check(ready, **user)
    assert ready.files() == before
    ready.start().stop()


def test_port_taken(ready):
    """By another program: each port that the settings name."""
    for key, value in (("port", "{}"), ("control_port", "{}"), ("metrics", "127.0.0.1:{}")):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            saved = ready.ini.read_text()
            ready.set("TRANSPORT", key, value.format(taken.getsockname()[1]))
            line = ready.refuse_start()
            errors = [item["text"] for item in check(ready, status=1)["items"]
                      if item["level"] == "error"]
            assert errors == [line.removeprefix("Error: ")]
            assert f"[TRANSPORT] {key} in {ready.ini}" in line
            ready.ini.write_text(saved)


def test_low_port_beside_another(ready):
    """The start goes on without a port that may not be bound to while another one is served: both
    warn in the same words, with the cure. Where the server runs, its rights count, not the asker's."""
    user = nobody(ready)
    for ports in (f"{ready.port},443", f"443,{ready.port}"):
        set_all(ready, port=ports)
        texts = [item["text"] for item in check(ready, **user)["items"]
                 if item["level"] == "warning"]
        server = ready.start(**user)
        running = [item["text"] for item in check(ready)["items"]
                   if item["level"] == "warning" and item["name"] == "ports"]
        ready.connect().close()
        asked = ready.run("address").stdout
        server.stop()
        assert texts == running == [
            "port 443 (127.0.0.1) is left out, as it needs the capability CAP_NET_BIND_SERVICE: "
            "grant it (`setcap cap_net_bind_service=+ep` on the program, or AmbientCapabilities="
            "CAP_NET_BIND_SERVICE in the systemd unit), or set another [TRANSPORT] port in "
            f"{ready.ini}"]
        assert f"warn ports {texts[0]}\n" in server.err
        address = next(line for line in server.out if line.startswith("Server address: "))
        assert address == f"Server address: {asked}" and asked.endswith(f":{ready.port}\n")
        assert [line for line in server.out if line.startswith("Serving")] == [
            f"Serving SMP protocol on port {ready.port} (TLS)...\n"]


def test_low_port_beside_a_bad_one(ready):
    """What is wrong in another way still ends the start."""
    user = nobody(ready)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        set_all(ready, port=f"443,{taken.getsockname()[1]}")
        line = ready.refuse_start(**user)
        assert "is in use by another program" in line
        errors = [item["text"] for item in check(ready, status=1, **user)["items"]
                  if item["level"] == "error"]
        assert line.removeprefix("Error: ") in errors


# ---- ports for WebSocket ----


def texts_of_ports(ready):
    """What `check` says of ports."""
    return [item["text"] for item in check(ready)["items"] if item["name"] == "ports"]


def websocket(ready, port):
    """A session over WebSocket."""
    identity = decode_fingerprint((ready.config / "fingerprint").read_text())
    address = Address("127.0.0.1", port, identity)
    return Connection(address, VERSION, link=WebLink(address))


def test_websockets(ready):
    """What is served is printed; those that are in port too are left out."""
    port = free_port()
    ready.set("TRANSPORT", "websockets", f"{ready.port},{port}")
    found = texts_of_ports(ready)
    assert f"port {port} (127.0.0.1) is free" in found and len(found) == 2
    server = ready.start()
    assert [line for line in server.out if line.startswith("Serving")] == [
        f"Serving SMP protocol on port {ready.port} (TLS)...\n",
        f"Serving SMP protocol on port {port} (WebSockets)...\n"]
    found = texts_of_ports(ready)
    assert f"port {port} (127.0.0.1) {served(ready)}" in found
    with websocket(ready, port) as conn:
        conn.ping()
    ready.connect().close()


def test_websockets_on(ready):
    """It is port 80 then, as in the reference; `http` cannot have that too."""
    ready.set("TRANSPORT", "websockets", "on")
    ready.set("WEB", "http", "80")
    assert ready.refuse_start() == ("Error: [TRANSPORT] websockets and [WEB] http are both 80: set "
                                    f"another [WEB] http in {ready.ini}")
    assert "websockets = 80\n" in ready.run("start", "--print-config").stdout


def test_websockets_taken(ready):
    """A port that cannot be had is warned of, by start and check, and the relay runs."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ready.set("TRANSPORT", "websockets", port)
        text = (f"there is no WebSocket on port {port}: port {port} (127.0.0.1) is in use by another "
                f"program: stop it, or set another [TRANSPORT] websockets in {ready.ini}")
        assert text in texts_of_ports(ready)
        server = ready.start()
        server.wait(f"warn ports {text}", server.err)
        assert not any("WebSockets" in line for line in server.out)
        ready.connect().close()


# ---- whose it is ----


def journal_refused(ready, path, **user):
    """What start and check say when the journal is to be there."""
    ready.set("STORE_LOG", "journal_path", path)
    line = ready.refuse_start(**user).removeprefix("Error: ")
    assert line in [item["text"] for item in check(ready, status=1, **user)["items"]
                    if item["level"] == "error"]
    return line


def test_journal_in_no_directory(ready):
    """Only one directory is made."""
    path = ready.root / "no" / "journal"
    assert journal_refused(ready, path) == (
        f"cannot make the directory {path}: No such file or directory: choose another place with "
        "[STORE_LOG] journal_path")


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a directory of root")
def test_journal_in_a_directory_of_root(ready):
    """Root makes that one directory, and gives nothing else away."""
    user = nobody(ready)
    above = ready.root / "disk"
    above.mkdir(mode=0o755)
    command = f"install -d -o nobody -m 700 {above}/journal"
    assert journal_refused(ready, above / "journal", **user) == (
        f"cannot make the directory {above}/journal: Permission denied: {above} belongs to root "
        f"(mode 0755), this is nobody: as root, `{command}`")
    subprocess.run(command.split(), check=True, timeout=TIMEOUT)
    ready.run("start", "-m", **user)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
@pytest.mark.parametrize("name", [LOG, "smp-server.lock", ".", "journal"])
def test_not_my_file(ready, name):
    """What root has left behind: path, owner, reason, and the command that mends it."""
    ready.start().stop()
    user = nobody(ready)
    path = ready.state / name
    os.chown(path, 0, 0)
    path.chmod(0o700 if path.is_dir() else 0o600)
    line = ready.refuse_start(**user)
    mend = f"`chown nobody {ready.state}`" if name == "." else f"`chown -R nobody {ready.state}`"
    if name == ".":  # the directory above is nobody's too
        mend = f"`chown -R nobody {ready.state.parent}`"
    assert str(path if name != "." else ready.state) in line
    assert "Permission denied" in line and "belongs to root" in line and "this is nobody" in line
    assert line.endswith(mend)
    errors = [item["text"] for item in check(ready, status=1, **user)["items"]
              if item["level"] == "error"]
    assert line.removeprefix("Error: ") in errors
    subprocess.run(mend.strip("`").split(" "), check=True, timeout=TIMEOUT)
    check(ready, **user)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
def test_not_my_statistics(ready):
    """Counters that cannot be read end the start; a day's line that could not be written is a
    warning in time. Without `log_stats` both do not matter."""
    counters, daily = (ready.state / name for name in ("smp-server-stats.log",
                                                       "smp-server-stats.daily.log"))
    user = nobody(ready)
    for path in (counters, daily):
        path.write_text("")
        path.chmod(0o600)
    check(ready, **user)
    ready.set("STORE_LOG", "log_stats", "on")
    mend = f"`chown -R nobody {ready.state}`"
    why = f"Permission denied: it belongs to root (mode 0600), this is nobody: {mend}"
    line = ready.refuse_start(**user)
    assert line == f"Error: cannot read {counters}: {why}"
    items = check(ready, status=1, **user)["items"]
    assert [item["text"] for item in items if item["level"] == "error"] == [
        line.removeprefix("Error: ")]
    counters.unlink()
    warning = f"cannot read and write {daily}: {why}"
    items = check(ready, **user)["items"]
    assert warning in [item["text"] for item in items if item["level"] == "warning"]
    server = ready.start(**user)
    server.stop()
    assert any(f"warn statistics {warning}" in said for said in server.err)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
@pytest.mark.parametrize("name", ["smp-server.ini", "server.crt", "server.key", "fingerprint"])
def test_not_my_configuration(ready, name):
    """The same of what is only read; in a directory of root as in one of the server."""
    user = nobody(ready)
    path = ready.config / name
    for owner in (0, 65534):
        os.chown(ready.config, owner, owner)
        ready.config.chmod(0o755)
        os.chown(path, 0, 0)
        path.chmod(0o600)
        line = ready.refuse_start(**user)
        mend = f"chown nobody {path}" if owner == 0 else f"chown -R nobody {ready.config}"
        assert line == (f"Error: cannot read {path}: Permission denied: it belongs to root "
                        f"(mode 0600), this is nobody: `{mend}`")
        subprocess.run(mend.split(" "), check=True, timeout=TIMEOUT)
        check(ready, **user)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a directory of root")
@pytest.mark.parametrize("owner", ["root", "daemon"])
@pytest.mark.parametrize("below", ["", "deep/"])
def test_closed_directory(ready, owner, below):
    """A directory that may not be entered is named, and is not given away."""
    user = nobody(ready)
    above = ready.root / "closed"
    (above / below).mkdir(parents=True)
    shutil.chown(above, owner)
    above.chmod(0o700)
    file = above / below / "password.txt"
    file.write_text("x")
    environment = {**ready.environment, "SMP_SERVER_CFG_PATH": str(file.parent)}
    ready.environment.update(environment)
    line = ready.refuse_start(**user)
    mend = f"`chmod a+x {above}`, or keep these files elsewhere"
    if not below:
        own = (f"`chown nobody {above}`" if owner == "root" else "run smp-server as daemon")
        mend = f"{own} if this directory is the server's own; else {mend}"
    assert line == (f"Error: cannot read {file.parent}/smp-server.ini: Permission denied: {above} "
                    f"cannot be entered: it belongs to {owner} (mode 0700), this is nobody: {mend}")
    above.chmod(0o711)
    assert "is not initialized" in ready.refuse_start(**user)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
def test_somebody_elses_server(ready):
    """Who is not the server's user is told who is."""
    nobody(ready)
    for path in (ready.config, ready.state):
        path.chmod(0o700)
    user = {"user": 1, "group": 1, "extra_groups": []}
    line = ready.refuse_start(**user)
    assert "belongs to nobody" in line and "this is daemon: run smp-server as nobody" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="runs as root")
def test_as_root(ready):
    """A warning of both; it names the user that has the directory."""
    server = ready.start()
    server.stop()
    assert AS_ROOT.search("".join(line.partition(" ")[2] for line in server.timed))
    nobody(ready)
    text = ready.run("check").stdout
    assert f"WARNING  user         this runs as root, but {ready.state} belongs to nobody" in text


def test_open_keys_and_settings(ready):
    """Both warn of what others may read or change."""
    (ready.config / "server.key").chmod(0o644)
    ready.ini.chmod(0o666)
    server = ready.start()
    server.stop()
    warnings = [line for line in server.err if line.startswith("warn keys ")]
    found = [item["text"] for item in check(ready)["items"] if item["level"] == "warning"]
    assert [line.removeprefix("warn keys ").rstrip("\n") for line in warnings] == found
    assert len(found) == 2
    assert f"`chmod 600 {ready.config}/server.key`" in found[0]
    assert f"everybody may change {ready.ini}" in found[1]


def test_open_web_key_and_token(ready):
    """The same of the key of the pages, which a script may have copied, and of a resolver's token.
    What the server's group may read is as it should be."""
    key = ready.config / "web.key"
    for path in (ready.config / "web.crt", key):
        path.write_text("x")
    ready.set("WEB", "https", free_port())
    ready.set("WEB", "cert", ready.config / "web.crt")
    ready.set("WEB", "key", key)
    ready.set("NAMES", "enable", "on")
    ready.set("NAMES", "resolver_endpoint", f"http://localhost:{free_port()}")
    ready.set("NAMES", "resolver_auth", "bearer token")

    def found():
        return [item["text"] for item in check(ready)["items"]
                if item["level"] == "warning" and item["name"] == "keys"]
    key.chmod(0o640)
    ready.ini.chmod(0o640)
    assert found() == []
    key.chmod(0o644)
    ready.ini.chmod(0o644)
    assert found() == [
        f"{key}, which holds the private key of the pages, has the mode 0644: `chmod o=,g-w {key}`",
        f"{ready.ini}, which holds a password, has the mode 0644: `chmod 600 {ready.ini}`"]
    server = ready.start()
    server.stop()
    assert [line for line in server.err if line.startswith("warn keys ")] == [
        f"warn keys {text}\n" for text in found()]


# ---- the clock ----

CLOCK = """
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t c, struct timespec *t) {
    int r = (int)syscall(SYS_clock_gettime, c, t);
    if (r == 0 && c == CLOCK_REALTIME) t->tv_sec -= 300;
    return r;
}
time_t time(time_t *p) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (p) *p = t.tv_sec;
    return t.tv_sec;
}
"""


def test_clock_behind(ready):
    """Five minutes before the certificates begin: a warning, and it serves."""
    source, library = ready.root / "clock.c", ready.root / "clock.so"
    source.write_text(CLOCK)
    made = subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=False,
                          capture_output=True, timeout=TIMEOUT)
    assert made.returncode == 0, made.stderr
    ready.environment["LD_PRELOAD"] = str(library)
    done = subprocess.run([ready.binary, "-v"], env=ready.environment, capture_output=True,
                          text=True, timeout=TIMEOUT, check=False)
    if "ASan runtime" in done.stderr:
        pytest.skip("the sanitizer wants to be first")
    warnings = [item["text"] for item in check(ready)["items"] if item["level"] == "warning"]
    assert len(warnings) == 1 and "the clock of this machine is behind" in warnings[0]
    server = ready.start()
    del ready.environment["LD_PRELOAD"]
    ready.connect().close()
    server.stop()
    assert f"warn certificate {warnings[0]}\n" in server.err


@pytest.mark.skipif(os.geteuid() != 0, reason="runs a server as another user")
def test_under_the_unit_of_the_guide(ready):
    """A server is closed to its own user: check knows its port all the same, and that of another
    program."""
    ready.set("TRANSPORT", "port", f"443,{ready.port}")
    user = nobody(ready)
    capability = "+net_bind_service"
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
               f"--inh-caps={capability}", f"--ambient-caps={capability}", ready.binary, "start"]
    server = Server(command, ready.environment)
    ready.servers.append(server)
    server.wait("creating new queues")
    found = check(ready, **user)
    by = "" if is_dumpable(ready) else " (by a process of the server's user)"
    assert [item["text"] for item in found["items"] if item["name"] == "ports"] == [
        f"port {port} (127.0.0.1) is served{by}" for port in (443, ready.port)]
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ready.set("TRANSPORT", "port", port)
        texts = [item["text"] for item in check(ready, status=1, **user)["items"]
                 if item["level"] == "error"]
        assert len(texts) == 1 and f"port {port} (127.0.0.1) is in use by another prog" in texts[0]
    server.stop()
