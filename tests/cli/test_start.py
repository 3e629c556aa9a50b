# SPDX-License-Identifier: AGPL-3.0-or-later
"""`smp-server start`: what it checks, prints and serves, and how it ends."""

import os
import re
import resource
import shutil
import signal
import socket

import pytest
from program import TIMEOUT, as_nobody, free_port, openssl

# ---- serving ----


def test_output(ready):
    """All that is printed, in order; the ports answer when their lines are there."""
    ready.set("AUTH", "create_password", "pass")
    ready.set("TRANSPORT", "host", "smp.example")
    server = ready.start()
    ready.connect().close()
    server.stop()
    fingerprint = (ready.config / "fingerprint").read_text().strip()
    assert "".join(server.out) == (
        ready.run("-v").stdout +
        f"Fingerprint: {fingerprint}\n"
        f"Server address: smp://{fingerprint}:pass@smp.example:{ready.port}\n"
        f"Store log: {ready.state}/smp-server-store.log\n"
        f"Messages: journal {ready.state}/journal\n"
        "Backups must copy the journal too: there is no "
        f"{ready.state}/smp-server-messages.log with it\n"
        f"Serving SMP protocol on port {ready.port} (TLS)...\n"
        "expiring messages after 21 days\n"
        "expiring clients inactive for 21600 seconds every 3600 seconds\n"
        "creating new queues requires password\n")
    assert re.fullmatch(r"info sandbox files=\w+ syscalls=\w+ core=off keys=\w+\n"
                        r"info store queues=0 messages=0\ninfo start threads=\d+\n"
                        r"info stop signal=SIGTERM\ninfo stopped status=0\n", "".join(server.err))


@pytest.mark.parametrize("settings, line", [
    ({("AUTH", "new_queues"): "off"}, "creating new queues NOT allowed"),
    ({}, "creating new queues allowed"),
    ({("INACTIVE_CLIENTS", "disconnect"): "off"}, "not expiring inactive clients"),
    ({("INACTIVE_CLIENTS", "ttl"): "5", ("INACTIVE_CLIENTS", "check_interval"): "2"},
     "expiring clients inactive for 5 seconds every 2 seconds"),
    ({("STORE_LOG", "expire_messages_days"): "7"}, "expiring messages after 7 days"),
    ({("LIMITS", "message_ttl"): "90"}, "expiring messages after 90 seconds"),
    ({("INFORMATION", "source_code"): "https://example.org/x"},
     "Server source code: https://example.org/x"),
])
def test_settings_are_printed(ready, settings, line):
    """The lines that depend on settings."""
    for (section, key), value in settings.items():
        ready.set(section, key, value)
    server = ready.start()
    server.stop()
    assert line + "\n" in server.out
    assert not [x for x in server.err if "not used by this version" in x]


def test_default_port_is_not_in_the_address(ready):
    """5223 goes without saying; the address has the first port only."""
    ready.set("TRANSPORT", "port", f"5223,{ready.port}")
    ready.set("TRANSPORT", "bind", "127.0.0.199")
    server = ready.start()
    server.stop()
    assert any(re.fullmatch(r"Server address: smp://[^:@]+@<hostnames>\n", x) for x in server.out)


def test_several_ports_and_addresses(ready):
    """Every port at every address, and nowhere else."""
    other = free_port()
    hosts = ["127.0.0.1", "127.0.0.2"] + (["::1"] if socket.has_ipv6 and has_ipv6() else [])
    ready.set("TRANSPORT", "port", f"{ready.port}, {other}")
    ready.set("TRANSPORT", "bind", ",".join(hosts))
    server = ready.start()
    for host in hosts:
        for port in (ready.port, other):
            ready.connect(port, host).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.3", ready.port))
    server.stop()
    assert f"Serving SMP protocol on port {other} (TLS)...\n" in server.out


def has_ipv6():
    """Whether ::1 exists here."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_all_addresses(program):
    """Without bind."""
    program.init("--no-password")
    program.set("TRANSPORT", "port", program.port)
    server = program.start()
    for host in ["127.0.0.1", "127.0.0.7"] + (["::1"] if has_ipv6() else []):
        program.connect(host=host).close()
    server.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("threads", [1, 3])
def test_stop_with_clients(ready, number, threads):
    """Clients are sent away at once, TLS or not yet; status 0."""
    ready.set("TRANSPORT", "threads", threads)
    server = ready.start()
    clients = [ready.connect() for _ in range(8)]
    silent = socket.create_connection(("127.0.0.1", ready.port))
    assert server.stop(number) < 10
    for client in clients:
        client.settimeout(TIMEOUT)
        assert client.recv(1) == b""
        client.close()
    silent.close()


def test_start_again_at_once(ready):
    """The port is free as soon as the server has ended, though clients were connected."""
    for _ in range(3):
        server = ready.start()
        client = ready.connect()
        server.stop()
        client.close()


def test_maintenance(ready):
    """Opens and closes what there is; nobody is served."""
    done = ready.run("start", "-m")
    assert "Serving" not in done.stdout
    assert done.stdout.endswith("Maintenance mode: start and stop tasks are done, nobody is "
                                "served.\n")


def test_ignored_options(ready):
    """Options for storage, and arguments of the reference's run-time system."""
    words = ["-m", "--skip-warnings", "--compact-log", "--confirm-migrations", "up",
             "+RTS", "-N", "-RTS"]
    assert "Note: " in ready.run("start", *words).stderr


def test_print_config(ready):
    """The settings in force, and nothing is started; secrets are hidden."""
    ready.set("AUTH", "create_password", "verysecret")
    done = ready.run("start", "--print-config")
    assert f"\nport = {ready.port}\nbind = 127.0.0.1\n" in done.stdout
    assert "verysecret" not in done.stdout + done.stderr


def test_log_level(ready):
    """More and fewer lines."""
    assert ready.run("start", "-m", "--log-level", "error").stderr == ""
    assert "debug start step=store" in ready.run("start", "-m", "--log-level=debug").stderr


def test_unknown_and_unused_settings(ready):
    """A warning with its line for the one, one line for all the others; the server starts."""
    ready.set("STORE_LOG", "log_stat", "on")
    ready.set("STORE_LOG", "db_pool_size", "20")
    ready.set("TRANSPORT", "control_port", "5224")
    line = ready.line_of("log_stat =")
    done = ready.run("start", "-m")
    assert (f"warn settings {ready.ini}:{line}: unknown setting [STORE_LOG] log_stat is ignored: "
            "did you mean [STORE_LOG] log_stats?\n" in done.stderr)
    assert ("info settings not used by this version: STORE_LOG.db_pool_size\n"
            in done.stderr)


def test_slip_in_auth(ready):
    """A password that was mistyped would let everybody in: no start."""
    ready.set("AUTH", "create_pasword", "x")
    assert ready.refuse_start() == (
        f"Error: {ready.ini}:{ready.line_of('create_pasword')}: unknown setting [AUTH] "
        "create_pasword: did you mean [AUTH] create_password? Correct it, or begin the line with #")


def test_forgotten_equals_sign(ready):
    """A random password ends with =, so the line looks like one that sets something else."""
    text = ready.ini.read_text()
    ready.ini.write_text(re.sub("^new_queues = .*", "create_password c2VjcmV0=", text, flags=re.M))
    line = ready.refuse_start()
    assert line == (f"Error: {ready.ini}:{ready.line_of('create_password')}: there is no = after "
                    "[AUTH] create_password: write it, or begin the line with #")


def test_file_of_the_reference(ready):
    """As the reference writes it."""
    text = (f"[INFORMATION]\nsource_code = https://example.com/{'x' * 400}\n"
            "[STORE_LOG]\nenable = on\n"
            "store_queues = memory\nstore_messages = memory\nexpire_ntfs_hours = 24\n[AUTH]\n"
            f"new_queues = on\n[TRANSPORT]\nhost = localhost\nport = {ready.port}\n"
            "log_tls_errors = off\nwebsockets = off\n[PROXY]\n[INACTIVE_CLIENTS]\ndisconnect = on\n"
            f"ttl = 21600\ncheck_interval = 3600\n[WEB]\nstatic_path = {ready.state}/www\n")
    ready.ini.write_text(text)
    ready.start().stop()


# ---- refusals ----


def test_not_initialized(program):
    """Says what to run."""
    assert program.refuse("start") == (f"Error: server is not initialized ({program.ini} does not "
                                       "exist): run `smp-server init`")


@pytest.mark.parametrize("words, message", [
    (["--log-level", "loud"], "--log-level must be error, warn, info, debug or trace, not \"lou"),
    (["--confirm-migrations", "left"], "--confirm-migrations must be up or down, not \"left\""),
    (["--nonsense"], "option --nonsense of `smp-server start` is unknown"),
    (["now"], "`smp-server start` takes no argument \"now\""),
])
def test_bad_options(ready, words, message):
    """One line."""
    assert message in ready.refuse("start", *words)


@pytest.mark.parametrize("section, key, value, message", [
    ("TRANSPORT", "port", "0", "[TRANSPORT] port: \"0\" is not allowed; must be up to 16"),
    ("TRANSPORT", "threads", "-1", "[TRANSPORT] threads: \"-1\" is not allowed; must be 0 to 256"),
    ("AUTH", "create_password", "a b", "[AUTH] create_password: its value is not allowed"),
    ("STORE_LOG", "store_queues", "database", "run `smp-server journal export`, then"),
    ("STORE_LOG", "journal_path", "journal", "must be an absolute path"),
    ("LIMITS", "message_queue_quota", "0", "must be 1 to 10000 messages"),
])
def test_bad_values(ready, section, key, value, message):
    """File, line, section, key, value, what is allowed."""
    ready.set(section, key, value)
    line = ready.refuse_start()
    assert line.startswith(f"Error: {ready.ini}:{ready.line_of(key + ' =')}: [{section}] {key}")
    assert message in line


@pytest.mark.parametrize("text", ["", "\n# nothing\n[AUTH]\n"])
def test_no_settings(ready, text):
    """What a full disk leaves of an edited file is no server that forgets and lets everybody in."""
    ready.ini.write_text(text)
    message = (f"Error: there are no settings in {ready.ini}: restore it from your backup, or move "
               "it away and run `smp-server init --keep-identity`")
    assert ready.refuse_start() == message
    assert message[7:] in ready.run("check", status=1).stdout


def test_no_text_file(ready):
    """Bytes that no ini file has."""
    ready.ini.write_bytes(b"[AUTH]\n\0\n")
    assert "has a NUL character" in ready.refuse_start()
    ready.ini.write_bytes(b"#" * (1 << 20) + b"\n")
    assert "is larger than 1 MiB" in ready.refuse_start()


@pytest.mark.parametrize("name", ["smp-server.ini", "fingerprint", "server.key", "server.crt",
                                  "ca.crt"])
def test_unreadable_file(ready, name):
    """Names the file."""
    options = as_nobody(ready)
    (ready.config / name).chmod(0)
    line = ready.refuse_start(**options)
    assert str(ready.config / name) in line and "Permission denied" in line


@pytest.mark.parametrize("name", ["fingerprint", "server.key", "server.crt", "ca.crt"])
def test_missing_file(ready, name):
    """Names the file."""
    (ready.config / name).unlink()
    assert str(ready.config / name) in ready.refuse_start()


def test_wrong_fingerprint(ready):
    """The file and the certificate disagree: which one is right?"""
    message = f"{ready.config}/fingerprint is not the fingerprint of {ready.config}/ca.crt"
    for text in ("", "?", "AAAA\n", "A" * 43 + "=\n", "x" * 5000):
        (ready.config / "fingerprint").write_text(text)
        assert message in ready.refuse_start()


def test_fingerprint_without_newline(ready):
    """As some editors leave it."""
    path = ready.config / "fingerprint"
    path.write_text(path.read_text().strip())
    ready.run("start", "-m")


def test_ca_key_is_not_needed(ready):
    """It may be kept offline."""
    (ready.config / "ca.key").unlink()
    ready.run("start", "-m")


def test_mixed_certificates(ready):
    """The key of another certificate; the certificate of another CA."""
    openssl("genpkey", "-algorithm", "ED25519", "-out", ready.config / "server.key")
    assert "server.key" in ready.refuse_start()
    old = ready.root / "old"
    ready.config.rename(old)
    ready.init()
    shutil.copy(old / "ca.crt", ready.config / "ca.crt")
    shutil.copy(old / "fingerprint", ready.config / "fingerprint")
    assert "ca.crt" in ready.refuse_start()


@pytest.mark.parametrize("shares", [False, True])
def test_port_in_use(ready, shares):
    """By another program, even one that would share the port."""
    with socket.socket() as sock:
        if shares:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", ready.port))
        sock.listen()
        line = ready.refuse_start()
    assert line == (f"Error: port {ready.port} (127.0.0.1) is in use by another program: stop "
                    f"it, or set another [TRANSPORT] port in {ready.ini}")


def test_second_server(ready):
    """Two servers on one port would each get half of the clients."""
    ready.set("STORE_LOG", "enable", "off")
    ready.set("STORE_LOG", "store_messages", "memory")
    server = ready.start()
    ready.environment["SMP_SERVER_LOG_PATH"] = str(ready.root / "other")
    assert "is in use" in ready.refuse_start()
    server.stop()


def test_address_of_another_machine(ready):
    """192.0.2.0/24 is for documentation."""
    ready.set("TRANSPORT", "bind", "127.0.0.1,192.0.2.1")
    line = ready.refuse_start()
    assert line == ("Error: 192.0.2.1 is not an address of this machine: correct [TRANSPORT] bind "
                    f"in {ready.ini}")


def test_privileged_port(ready):
    """Names the capability."""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as f:
        if int(f.read()) == 0:
            pytest.skip("all users may open all ports here")
    ready.set("TRANSPORT", "port", "443")
    line = ready.refuse_start(**as_nobody(ready))
    assert line.startswith("Error: port 443 needs the capability CAP_NET_BIND_SERVICE: grant it")


def test_too_few_descriptors(ready):
    """Says which limit to raise, and `check` says the same."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    line = ready.refuse_start(preexec_fn=limit)
    assert line.startswith("Error: only 100 files may be open: raise the limit")
    assert line in ready.run("check", status=1, preexec_fn=limit).stderr.replace("descriptors: ", "")


def test_descriptors_of_the_server_that_runs(ready):
    """Its limit counts, not that of whoever asks."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
    ready.start(preexec_fn=limit)
    assert " descriptors  1000 files may be open: enough for " in ready.run("check").stdout
