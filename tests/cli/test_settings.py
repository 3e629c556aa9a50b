# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every setting: what is printed of it, and that a value which is not allowed says what to do.

The settings and what they allow are taken from docs/generated/options.md, which a unit test compares
with the program's table; so a new setting is tested as soon as it is there.
"""

import ctypes
import os
import re
import shutil
import sys
import threading
from pathlib import Path

import pytest
from golden import check_golden, normalize
from program import TIMEOUT

REPO = Path(__file__).resolve().parents[2]
SAMPLES = REPO / "tests" / "samples" / "reference-6.5.5"
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def read_table():
    """(section, key, allowed, is secret) of each setting."""
    section = None
    for line in (REPO / "docs" / "generated" / "options.md").read_text().splitlines():
        if line.startswith("## ["):
            section = line[4:-1]
        found = re.match(r"\| `(\w+)` \| [^|]* \| ([^|]*) \|.*\| (.*) \|$", line)
        if found:
            yield section, found[1], found[2], "Secret: never printed." in found[3]


TABLE = list(read_table())

# What the description of the allowed values begins with, and values that are not.
BAD_VALUES = [
    ("on or off", ["", "yes", "ON", "1", "on off"]),
    ("one of ", ["", "nonsense", "MEMORY", "a,b"]),
    ("1 to 255 printable", ["", "a b", "a@b", "a:b", "a/b", "é", "p" * 256]),
    ("host names", ["", "a,,b", "a b", "a@b", "smp..com", "192.168.1.300", "x:443", "1.2.3",
                    "h" * 64 + ".com", "[::1]:5223", "[a.b]", "<host>", "-a.b"]),
    ("domain names", ["a/b", "a@b", "a..b", "a:1", "d" * 1024]),
    ("up to 16 different ports", ["", "0", "65536", "1,1", "443 5223", "https"]),
    ("up to 16 numeric", ["", "localhost", "1.2.3", "::1,", "1.2.3.4:5223"]),
    ("an absolute path", ["", "here", "/" + "p" * 1024]),
    ("a path", ["", "p" * 1024, "a\x01b"]),
    ("host:port, or", ["", "localhost", "localhost:0", "localhost:port", "a b:1", "192.168.1.300:9050",
                       "a..b:1"]),
    ("a text of up to", ["a\x01b", "t" * 1024]),
    ("a SimpleX address", ["SimpleX address", "http://example.org", "https://"]),
    ("the two letters", ["France", "F", "F1", "é"]),
    ("off, or a loopback", ["", "9090", "0.0.0.0:9090", "192.0.2.1:9090", "[::]:1", "::1:1"]),
    ("off, on, or ports", ["", "maybe", "0", "443,443"]),
]


def bad_values(allowed):
    """Values that are not allowed."""
    number = re.match(r"(?:off, or )?(-?\d+) to (\d+)\b(?! printable)", allowed)
    if number:
        return ["", str(int(number[1]) - 1), str(int(number[2]) + 1), "9" * 30, "1x", "1.5", "many"]
    return next(values for start, values in BAD_VALUES if allowed.startswith(start))


@pytest.mark.parametrize("section, key, allowed, secret", TABLE,
                         ids=[f"{row[0]}.{row[1]}" for row in TABLE])
def test_bad_value(program, section, key, allowed, secret):
    """One line with file, line, section, key, value and what is allowed; status 1; nothing is
    changed, nothing made."""
    program.config.mkdir(parents=True)
    for value in bad_values(allowed):
        program.ini.write_text(f"[TRANSPORT]\n\n[{section}]\n{key} = {value}\n")
        before = program.files()
        shown = "its value" if secret else '"' + value[:200].replace("\x01", "?") + '"'
        assert program.refuse("start") == (f"Error: {program.ini}:4: [{section}] {key}: {shown} is "
                                           f"not allowed; must be {allowed}")
        assert program.files() == before


def test_table_is_whole():
    """The document was understood."""
    assert len(TABLE) > 80 and {row[0] for row in TABLE} == {
        "INFORMATION", "STORE_LOG", "CLUSTER", "AUTH", "TRANSPORT", "PROXY", "NAMES", "INACTIVE_CLIENTS", "WEB",
        "LIMITS", "PROCESS"}


# ---- texts ----


def test_file_that_init_writes(program):
    """Every setting explained, those of the reference in its sections."""
    program.init("--no-password", "-n", "smp.example.org")
    text = program.ini.read_text()
    check_golden("smp-server.ini.txt", normalize(text, program))
    section = None
    explained = set()
    for line in text.splitlines():
        if line.startswith("["):
            section = line[1:-1]
        found = re.match(r"(?:# )?(\w+) =(?: |$)", line)
        if found:
            explained.add((section, found[1]))
    assert {row[:2] for row in TABLE} <= explained


def test_print_config_of_defaults(program):
    """Where the file says nothing."""
    program.config.mkdir(parents=True)
    program.ini.write_text("[AUTH]\nnew_queues = on\n")
    check_golden("print-config.txt", program.run("start", "--print-config").stdout)


@pytest.mark.parametrize("store", ["memory", "journal"])
def test_print_config_of_the_reference(program, store):
    """The file that the reference writes."""
    program.config.mkdir(parents=True)
    shutil.copy(SAMPLES / store / "smp-server.ini", program.ini)
    done = program.run("start", "--print-config")
    assert done.stderr == ""
    check_golden(f"print-config-reference-{store}.txt", done.stdout)


def test_printed_config_is_a_settings_file(program):
    """What is printed says the same when it is read, secrets apart."""
    program.config.mkdir(parents=True)
    shutil.copy(SAMPLES / "memory" / "smp-server.ini", program.ini)
    first = program.run("start", "--print-config").stdout
    program.ini.write_text(re.sub(r".*\(hidden\)\n", "", first))
    second = program.run("start", "--print-config").stdout
    assert [x for x in second.splitlines() if not x.startswith("# ")] == [
        x for x in first.splitlines() if not x.startswith("# ") and "(hidden)" not in x]


# ---- rules between settings ----


def test_information_without_source_code(program):
    """Says what to add."""
    program.config.mkdir(parents=True)
    program.ini.write_text("[INFORMATION]\nhosting_type = virtual\noperator = me\n")
    assert program.refuse("start") == (f"Error: {program.ini}:3: [INFORMATION] operator is set "
                                       "without source_code: set that too, or remove both")


def test_file_without_information(ready):
    """The reference writes hosting_type always, and nothing else unless it was told."""
    text = ready.ini.read_text().replace("[INFORMATION]\n", "[INFORMATION]\nhosting_type = owned\n")
    ready.ini.write_text(text)
    done = ready.run("start", "-m")
    assert "hosting_type" not in done.stderr


URL = "; must be an http or https URL such as http://localhost:8000"
AUTH = "; must be bearer TOKEN or basic USER:PASSWORD, with https or on localhost"
AT_EXAMPLE = "resolver_endpoint = https://names.example.org\n"


@pytest.mark.parametrize("lines, words", [
    ("enable = on", "2: [NAMES] resolver_endpoint: it is not set" + URL),
    ("resolver_auth = bearer s3cret", "2: [NAMES] resolver_endpoint: it is not set" + URL),
    ("resolver_endpoint = ftp://x", "2: [NAMES] resolver_endpoint: it is not http or https" + URL),
    ("resolver_endpoint = localhost", "2: [NAMES] resolver_endpoint: it is no absolute URL" + URL),
    ("resolver_endpoint = http://u:p@localhost",
     "2: [NAMES] resolver_endpoint: it has a user or a password: they go into resolver_auth" + URL),
    (AT_EXAMPLE + "resolver_auth = s3cret",
     "3: [NAMES] resolver_auth: it begins with neither bearer nor basic" + AUTH),
    (AT_EXAMPLE + "resolver_auth = basic s3cret",
     "3: [NAMES] resolver_auth: basic is not followed by USER:PASSWORD" + AUTH),
    ("resolver_endpoint = http://10.0.0.1\nresolver_auth = bearer s3cret",
     "3: [NAMES] resolver_auth: it would be sent unencrypted: use https, or a resolver on localhost"
     + AUTH),
])
def test_bad_resolver(program, lines, words):
    """What belongs together is looked at together; the secret is never shown."""
    program.config.mkdir(parents=True)
    program.ini.write_text(f"[NAMES]\n{lines}\n")
    assert program.refuse("start") == f"Error: {program.ini}:{words}"


def test_resolver_auth_is_hidden(program):
    """In what is printed."""
    program.config.mkdir(parents=True)
    program.ini.write_text(f"[NAMES]\n{AT_EXAMPLE}resolver_auth = bearer s3cret\n")
    printed = program.run("start", "--print-config").stdout
    assert "https://names.example.org" in printed and "s3cret" not in printed


# ---- without IPv6 ----


def enter_network_of(pid, function):
    """Calls function in a thread that is in another process's network; gives its result."""
    results = []

    def run():
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{pid}/ns/net", "rb") as f:
            assert libc.setns(f.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        results.append(function())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(TIMEOUT)
    return results[0]


# A program of its own, as the server must be in that network from its first line.
WITHOUT_IPV6 = """#!{python}
import ctypes, fcntl, glob, os, socket, struct, sys
if ctypes.CDLL(None).unshare({newnet}) != 0:
    sys.exit("unshare")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, {set_flags}, struct.pack("16sH22x", b"lo", {up}))
for path in glob.glob("/proc/sys/net/ipv6/conf/*/disable_ipv6"):
    with open(path, "w") as f:
        f.write("1")
os.execv({binary!r}, [{binary!r}, *sys.argv[1:]])
"""


def without_ipv6(program):
    """Puts the program into a network without IPv6, which has a loopback interface only."""
    script = program.root / "without-ipv6"
    script.write_text(WITHOUT_IPV6.format(python=sys.executable, binary=program.binary,
                                          newnet=CLONE_NEWNET, set_flags=SIOCSIFFLAGS, up=IFF_UP))
    script.chmod(0o755)
    binary, program.binary = program.binary, str(script)
    try:
        program.run("-v")
    except (AssertionError, OSError):
        program.binary = binary
        pytest.skip("no network namespace can be made here")


def test_without_ipv6(ready):
    """Serves IPv4 at all addresses; an IPv6 address is named as what is wrong."""
    ready.ini.write_text(ready.ini.read_text().replace("bind = 127.0.0.1\n", ""))
    without_ipv6(ready)
    server = ready.start()
    enter_network_of(server.process.pid, lambda: ready.connect(host="127.0.0.9").close())
    server.stop()
    ready.set("TRANSPORT", "bind", "127.0.0.1,::1")
    assert ready.refuse_start() == ("Error: ::1 is not an address of this machine: correct "
                                    f"[TRANSPORT] bind in {ready.ini}")
