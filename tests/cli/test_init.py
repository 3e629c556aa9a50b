# SPDX-License-Identifier: AGPL-3.0-or-later
"""`smp-server init`: what it makes and prints, and that it makes all or nothing."""

import base64
import hashlib
import os
import re
import ssl
import stat
import subprocess

import pytest
from golden import check_golden, normalize
from program import as_nobody

NAMES = {"ca.key", "ca.crt", "server.key", "server.crt", "fingerprint", "smp-server.ini"}


def fingerprint(program):
    """As clients compute it."""
    der = ssl.PEM_cert_to_DER_cert((program.config / "ca.crt").read_text())
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode()


def openssl(*words):
    """Output of the openssl program."""
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True,
                          check=True).stdout


def test_files_and_modes(program):
    """Six files and both directories, nobody else may read the keys."""
    program.init()
    assert {p.name for p in program.config.iterdir()} == NAMES
    assert list(program.state.iterdir()) == []
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in program.config.iterdir()}
    assert modes == {"ca.key": 0o600, "server.key": 0o600, "smp-server.ini": 0o600,
                     "ca.crt": 0o644, "server.crt": 0o644, "fingerprint": 0o644}
    assert stat.S_IMODE(program.config.stat().st_mode) == 0o700
    assert stat.S_IMODE(program.state.stat().st_mode) == 0o750
    assert (program.config / "fingerprint").read_text() == fingerprint(program) + "\n"


def test_output(program):
    """The lines that scripts look for."""
    out = program.init("--password", "pass", "-n", "smp.example")
    check_golden("init.txt", normalize(out, program))
    assert f"\nServer address: smp://{fingerprint(program)}:pass@smp.example\n" in out


@pytest.mark.parametrize("words, algorithm", [([], "ED25519"), (["-a", "ED448"], "ED448"),
                                              (["--sign-algorithm=ED25519"], "ED25519")])
def test_certificates(program, words, algorithm):
    """One chain, of the algorithm asked for, for the host."""
    program.init("--fqdn", "a.example,b.onion", *words)
    crt = program.config / "server.crt"
    assert "OK" in openssl("verify", "-CAfile", program.config / "ca.crt", crt)
    assert openssl("x509", "-in", crt, "-noout", "-subject", "-nameopt",
                   "RFC2253").strip() == "subject=CN=a.example"
    for key in ("ca.key", "server.key"):
        assert algorithm in openssl("pkey", "-in", program.config / key, "-noout", "-text")


@pytest.mark.parametrize("words, host", [
    ([], "<hostnames>"),
    (["--ip", "192.0.2.7"], "192.0.2.7"),
    (["--ip", "127.0.0.1"], "127.0.0.1"),
    (["--ip=2001:db8::1"], "[2001:db8::1]"),
    (["-n", "smp.example", "--ip", "192.0.2.7"], "smp.example"),
    (["--fqdn", "smp.example,x.onion"], "smp.example,x.onion"),
    (["--fqdn", "smp.example,2001:db8::1"], "smp.example,[2001:db8::1]"),
])
def test_host(program, words, host):
    """Goes into address and settings."""
    out = program.init("--no-password", *words)
    assert out.splitlines()[-4] == f"Server address: smp://{fingerprint(program)}@{host}"
    assert f"\nhost = {host}\n" in program.ini.read_text()


def test_random_password(program):
    """32 bytes, base64url, another one each time."""
    found = re.search(r"^Server address: smp://[^:@]+:([^@]+)@", program.init(), re.MULTILINE)
    assert len(base64.urlsafe_b64decode(found.group(1))) == 32
    assert f"\ncreate_password = {found.group(1)}\n" in program.ini.read_text()


def test_no_password(program):
    """Its setting is a comment."""
    program.init("--no-password")
    assert "\n# create_password = password\n" in program.ini.read_text()


def test_settings_are_accepted(program):
    """What init writes is what start reads, without remarks."""
    program.init("--no-password")
    done = program.run("start", "--print-config")
    assert done.stderr == ""
    for line in ("enable = on", "store_messages = journal", "sync = always", "port = 5223,443",
                 "disconnect = on", "# create_password ="):
        assert f"\n{line}\n" in done.stdout


@pytest.mark.parametrize("words, enable, messages", [
    ([], "on", "journal"), (["-l"], "on", "journal"), (["--store-log"], "on", "journal"),
    (["--disable-store-log"], "off", "memory"),
])
def test_storage(program, words, enable, messages):
    """On disk unless that is declined."""
    program.init("--no-password", *words)
    done = program.run("start", "--print-config")
    assert f"\nenable = {enable}\n" in done.stdout
    assert f"\nstore_messages = {messages}\n" in done.stdout


def test_all_options(program):
    """Each is a line of the settings file; those that may lack their value have a default."""
    program.init(
        "-s", "--control-port=5225", "--socks-proxy=@localhost:9150", "--own-domains",
        "a.example,b.example", "--source-code=https://example.org/source", "--operator", "Ex & Co",
        "--operator-country", "se", "--website", "https://example.org", "--hosting", "Host: Ltd",
        "--hosting-country", "FI", "--hosting-type", "owned", "--server-country", "DE",
        "--web-path", "/srv/www")
    lines = program.ini.read_text().splitlines()
    for line in (
            "log_stats = on", "control_port = 5225", "socks_proxy = @localhost:9150",
            "own_server_domains = a.example,b.example", "source_code = https://example.org/source",
            "operator = Ex & Co", "operator_country = se", "website = https://example.org",
            "hosting = Host: Ltd", "hosting_country = FI", "hosting_type = owned",
            "server_country = DE", "static_path = /srv/www"):
        assert line in lines
    passwords = [line.partition(" = ")[2] for line in lines if line.startswith("control_port_")]
    assert len(set(passwords)) == 2 and {len(x) for x in passwords} == {24}
    assert program.run("start", "--print-config").stderr == ""


def test_options_without_value(program):
    """What they stand for; and --operator-website, as the reference calls it."""
    out = program.init("--control-port", "--socks-proxy", "--source-code")
    lines = program.ini.read_text().splitlines()
    for line in ("control_port = 5224", "socks_proxy = localhost:9050"):
        assert line in lines
    assert not any(line.startswith("source_code") for line in lines)
    assert "\nWarning: server source code is not specified.\n" in out


def test_source_code(program):
    """Is printed, and nothing is said against it."""
    done = program.run("init", "-y", "--source-code=https://example.org/x", "--no-password")
    assert "\nServer source code: https://example.org/x\n" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name, found", [
    ("smp-server-store.log", "smp-server-store.log"),
    ("smp-server-store.log.start", "smp-server-store.log.start"),
    ("smp-server-messages.log", "smp-server-messages.log"),
    ("smp-server-ntfs.log", "smp-server-ntfs.log"),
    ("journal/0000000001.journal", "journal"),
    ("messages/ab/cd/messages.abcd.log", "messages"),
    ("messages/ab/cd/queue_state.abcd.log", "messages"),
])
def test_beside_a_store(program, name, found):
    """Its queues belong to another identity: refused, and nothing is changed."""
    path = program.state / name
    path.parent.mkdir(parents=True)
    path.write_text("precious\n")
    before = program.files()
    assert program.refuse("init", "-y") == (
        f"Error: {program.state}/{found} is of a server whose settings are not in {program.config}"
        ": to keep its identity, put back that directory's files and run `smp-server start`; for a "
        f"new server move {program.state}/{found} away")
    assert program.files() == before


@pytest.mark.parametrize("name", ["journal/notes.txt", "messages/notes.txt", "smp-server-store.log"])
def test_beside_nothing(program, name):
    """Other files, and empty ones, are no store."""
    path = program.state / name
    path.parent.mkdir(parents=True)
    path.write_text("" if name.endswith(".log") else "x")
    program.init()


def test_beside_a_store_of_ours(ready):
    """The steps that the refusal tells keep identity and queues."""
    from smp_client import fill
    ready.start().stop()
    server = ready.start()
    fill(ready, [b"x"])
    server.stop()
    identity = fingerprint(ready)
    elsewhere = ready.root / "elsewhere"
    ready.config.rename(elsewhere)
    assert "put back that directory's files and run `smp-server start`" in ready.refuse(
        "init", "-y")
    elsewhere.rename(ready.config)
    server = ready.start()
    server.stop()
    assert identity == fingerprint(ready)
    assert any("queues=1 messages=1" in line for line in server.err)


@pytest.mark.parametrize("words, message", [
    (["-l", "--disable-store-log"], "--store-log and --disable-store-log exclude each other"),
    (["--password", "x", "--no-password"], "exclude each other"),
    (["--password", ""], "--password must be 1 to 255 printable"),
    (["--password", "a b"], "--password must be 1 to 255 printable"),
    (["--password", "a:b"], "--password must be 1 to 255 printable"),
    (["--password", "x" * 256], "--password must be 1 to 255 printable"),
    (["-a", "RSA"], "--sign-algorithm must be ED25519 or ED448"),
    (["--ip", "localhost"], "--ip must be an IPv4 or IPv6 address"),
    (["--ip", ""], "--ip must be an IPv4 or IPv6 address"),
    (["-n", ""], "--fqdn must be a host name"),
    (["-n", "a b"], "--fqdn must be a host name"),
    (["-n", "a" * 65], "--fqdn must be a host name"),
    (["--ip"], "option --ip needs a value: see `smp-server init -h`"),
    (["-n"], "option -n needs a value: see `smp-server init -h`"),
    (["--nonsense"], "option --nonsense of `smp-server init` is unknown"),
    (["-z"], "option -z of `smp-server init` is unknown"),
    (["--yes=no"], "option --yes=no of `smp-server init` is unknown or wrongly used"),
    (["word"], "takes no argument \"word\""),
    (["--control-port", "5225"], "takes no argument \"5225\" (is a = missing before it?)"),
    (["--operator", "x"], "--operator is information about the server, which needs --source-code"),
    (["--server-country", "DE"], "--server-country is information about the server, which needs "),
    (["--website", "https://x"], "--website is information about the server, which needs --sour"),
    (["--hosting-type", "owned"], "--hosting-type is information about the server, which needs "),
    (["--source-code=https://a", "--operator-country", "DE"], "--operator-country needs --operator: add it"),
    (["--source-code=https://a", "--hosting-country", "DE"], "--hosting-country needs --hosting: add it"),
    (["--source-code=https://a", "--operator", "x", "--operator-country", "Germany"],
     "--operator-country must be the two letters that ISO 3166 has for the country, as in DE, not"
     " \"Germany\""),
    (["--source-code=https://a", "--server-country", "D1"], "--server-country must be the two letters that"),
    (["--source-code=https://a", "--operator", ""], "--operator must be a text of one line, not empty"),
    (["--source-code=https://a", "--operator", "a\nb"], "--operator must be a text of one line"),
    (["--source-code=here"], "--source-code must be an address that begins with https:// or http"),
    (["--source-code=https://a", "--website", "x"], "--website must be an address that begins with https:"),
    (["--source-code=https://a", "--hosting", "x", "--hosting-type", "cloud"],
     "--hosting-type must be one of virtual,dedicated,colocation,owned, not \"cloud\""),
    (["--control-port=65536"], "--control-port must be off, or 1 to 65535"),
    (["--control-port=ssh"], "--control-port must be off, or 1 to 65535"),
    (["--socks-proxy=host:0"], "--socks-proxy must be host:port, or user:password@host:port"),
    (["--own-domains", "a/b"], "--own-domains must be domain names, separated by spaces or commas"),
    (["--web-path", ""], "--web-path must be a text of one line, not empty, not \"\""),
    (["--web-path", "/www", "--disable-web"], "--web-path and --disable-web exclude each other"),
    (["--schema", ""], "--schema must be a text of one line, not empty"),
    (["--pool-size", "0"], "--pool-size must be 1 to 1000 connections, not \"0\""),
])
def test_bad_options(program, words, message):
    """One line, and nothing is made."""
    assert message in program.refuse("init", "-y", *words)
    assert program.files() == {}


def test_database(program):
    """The keys are written; what keeps queues and messages is what it was without."""
    done = program.run("init", "-y", "-d", "host=/run/x dbname=relay", "--schema", "smp_server", "--pool-size", "4")
    text = program.ini.read_text()
    assert "\ndb_connection = host=/run/x dbname=relay\n" in text
    assert "\ndb_schema = smp_server\n" in text
    assert "\nstore_queues = memory\nstore_messages = journal" in re.sub(r"\n(#.*)?(?=\n)", "", text)
    assert "--pool-size" in done.stdout + done.stderr


def test_again(program):
    """Refused, nothing changes."""
    program.init()
    before = program.files()
    line = program.refuse("init", "-y")
    assert line == (f"Error: server is already initialized ({program.ini} exists): run "
                    "`smp-server start`")
    assert program.files() == before


def run_commands(program, line, *more):
    """Runs the commands that a line names, as `smp-server ...`; what the last prints."""
    commands = re.findall(r"`smp-server ([^`]*)`", line)
    assert commands, line
    for command in commands:
        words = command.split(" ")
        done = program.run(*words, *(more if words[0] == "init" else ()))
        assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("lost", [
    [], ["ca.key"], ["server.crt"], ["server.key"], ["fingerprint"],
    ["server.crt", "server.key", "fingerprint"],
])
def test_identity_without_settings(ready, lost):
    """Refused; the commands that the refusal names keep the identity, and its queues."""
    from smp_client import fill
    server = ready.start()
    fill(ready, [b"x"])
    server.stop()
    identity = fingerprint(ready)
    for name in [*lost, "smp-server.ini"]:
        (ready.config / name).unlink()
    before = ready.files()
    line = ready.refuse("init", "-y")
    there = [x for x in ("ca.key", "ca.crt", "server.key", "server.crt", "fingerprint")
             if x not in lost]
    assert line.startswith(f"Error: {ready.config} has {', '.join(there)} of a server, but no "
                           "smp-server.ini: to keep its identity, ")
    assert line.endswith("; for a new server move these files away")
    assert ready.files() == before
    out = run_commands(ready, line, "-y", "--no-password", "--fqdn", "smp.example")
    assert f"\nServer address: smp://{identity}@smp.example\n" in out
    assert ("CA private key location" in out) == ("ca.key" not in lost)
    assert stat.S_IMODE(ready.ini.stat().st_mode) == 0o600
    ready.set("TRANSPORT", "port", ready.port)
    ready.set("TRANSPORT", "bind", "127.0.0.1")
    server = ready.start()
    server.stop()
    assert fingerprint(ready) == identity
    assert any("queues=1 messages=1" in x for x in server.err)


@pytest.mark.parametrize("kept, missing", [
    (["ca.key"], "ca.crt"), (["ca.crt"], "ca.key, or server.key, server.crt and fingerprint"),
    (["server.crt", "server.key", "fingerprint"], "ca.crt"),
    (["ca.crt", "server.key"], "ca.key, or server.crt and fingerprint"),
])
def test_identity_in_pieces(program, kept, missing):
    """What cannot be made again has to be put back; with it the identity is kept."""
    program.init()
    saved = {name: (program.config / name).read_bytes() for name in NAMES}
    for name in NAMES - set(kept):
        (program.config / name).unlink()
    before = program.files()
    line = program.refuse("init", "-y")
    assert f": to keep its identity, put back {missing} from your backup; for a new " in line
    assert program.refuse("init", "-y", "--keep-identity").startswith("Error: cannot read ")
    assert program.files() == before
    for name in re.findall(r"[a-z]+[.][a-z]+|fingerprint", missing):
        (program.config / name).write_bytes(saved[name])
    run_commands(program, program.refuse("init", "-y"), "-y")
    assert (program.config / "ca.crt").read_bytes() == saved["ca.crt"]


def test_keep_identity(program):
    """Only with an identity that fits, and without what would be of a new one."""
    assert program.refuse("init", "-y", "--keep-identity").startswith(
        f"Error: cannot read {program.config}/server.crt: ")
    assert program.files() == {}
    program.init()
    program.ini.unlink()
    (program.config / "fingerprint").write_text("x\n")
    before = program.files()
    assert "is not the fingerprint of" in program.refuse("init", "-y", "--keep-identity")
    assert program.refuse("init", "-y", "--keep-identity", "-a", "ED448") == (
        "Error: --keep-identity and --sign-algorithm exclude each other: leave one out")
    assert program.files() == before


def test_existing_directories_stay(program):
    """They may have been made with another mode and owner; what is in them is not ours."""
    for directory in (program.config, program.state):
        directory.mkdir(parents=True, mode=0o755)
        (directory / "other").write_text("x")
    program.init()
    assert (program.config / "other").read_text() == (program.state / "other").read_text() == "x"
    assert stat.S_IMODE(program.config.stat().st_mode) == 0o755


def test_file_in_place_of_directory(program):
    """The state directory cannot be made: the configuration is not made either."""
    (program.root / "var").write_text("")
    line = program.refuse("init", "-y")
    assert line == f"Error: {program.root}/var is not a directory: move it away"
    assert program.files() == {"var": b""}


def test_unwritable_directory(program):
    """As another user than root, who may write anywhere."""
    (program.root / "etc").mkdir(mode=0o555)
    (program.root / "var").mkdir()
    line = program.refuse("init", "-y", **as_nobody(program))
    above = program.config.parent
    assert line == (f"Error: cannot make the directory {program.config}: Permission denied: "
                    f"{above} has the mode 0555: `chmod u+rwx {above}`")
    assert program.files() == {"etc": None, "var": None}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to own a directory")
def test_directory_of_root(program):
    """What a user without rights is told: whose it is, and what root has to type, which gives
    away nothing that is above. Then it works."""
    options = as_nobody(program)
    (program.root / "etc").mkdir(mode=0o755)
    for directory, mode in ((program.config, 700), (program.state, 750)):
        above = directory.parent
        above.mkdir(exist_ok=True)
        line = program.refuse("init", "-y", **options)
        command = f"install -d -o nobody -m {mode} {directory}"
        assert line == (f"Error: cannot make the directory {directory}: Permission denied: {above} "
                        f"belongs to root (mode 0755), this is nobody: as root, `{command}`")
        subprocess.run(command.split(), check=True)
    program.run("init", "-y", **options)


def test_directory_that_cannot_be(program):
    """No backup would help."""
    program.environment["SMP_SERVER_CFG_PATH"] = "/proc/simplex"
    assert program.refuse("init", "-y") == (
        "Error: cannot make the directory /proc/simplex: No such file or directory: choose another "
        "place with SMP_SERVER_CFG_PATH and SMP_SERVER_LOG_PATH")


def test_trailing_slashes(program):
    """They change neither modes nor what is printed."""
    program.environment.update(SMP_SERVER_CFG_PATH=f"{program.config}/",
                               SMP_SERVER_LOG_PATH=f"{program.state}//")
    done = program.run("init", "-y")
    assert f"{program.ini}.\n" in done.stdout
    assert stat.S_IMODE(program.config.stat().st_mode) == 0o700
    assert stat.S_IMODE(program.state.stat().st_mode) == 0o750


def test_too_long_path(program):
    """Named by its variable."""
    program.environment["SMP_SERVER_CFG_PATH"] = "/x" * 3000
    line = program.refuse("init", "-y")
    assert line == ("Error: the path of the configuration is too long: set SMP_SERVER_CFG_PATH to "
                    "a shorter one")
