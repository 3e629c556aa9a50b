# SPDX-License-Identifier: AGPL-3.0-or-later
"""The container's entry point, outside of one, and the compose files."""

import re
import shutil

import pytest
from service import REPO, Service

CONTAINER = REPO / "packaging" / "container"


@pytest.fixture(name="one")
def fixture_one(binary, tmp_path):
    """The program, the scripts and the entry point; folders are there, as volumes are."""
    one = Service(binary, tmp_path)
    shutil.copy(CONTAINER / "entrypoint", one.bin)
    one.config.mkdir(parents=True)
    one.state.mkdir(parents=True)
    (one.bin / "smp-server").unlink()
    # Makes a server, and does not start it.
    (one.bin / "smp-server").write_text(f'#!/bin/sh\necho "ran $*"\n[ "$1" = start ] || exec {one.binary} "$@"\n')
    (one.bin / "smp-server").chmod(0o755)
    one.environment["SIMPLEX_AS_ROOT"] = "1"
    return one


def enter(one, *words, status=0, **variables):
    """What it says."""
    one.environment.update(variables)
    return one.script("entrypoint", *words, status=status)


def settings(one):
    """Section and key to value, of the lines that are no comments."""
    found, section = {}, None
    for line in one.ini.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif re.match(r"\w+ = ", line):
            key, value = line.split(" = ", 1)
            found[section, key] = value
    return found


@pytest.mark.parametrize("addr, words", [
    ("smp1.example.com", "--fqdn smp1.example.com --own-domains=example.com"), ("192.0.2.7", "--ip 192.0.2.7"),
    ("2001:db8::1", "--ip 2001:db8::1"), ("::1", "--ip ::1")])
def test_first_start(one, addr, words):
    """Names, and addresses of both kinds; init is heard; then it starts. The second start makes nothing."""
    said = enter(one, ADDR=addr)
    assert f"ran init --yes --store-log --daily-stats {words} --no-password --source-code" in said
    assert "Server address: smp://" in said and said.endswith("ran start\n")
    found = settings(one)
    assert found["TRANSPORT", "host"].strip("[]") == addr and found["STORE_LOG", "log_stats"] == "on"
    assert (found["WEB", "cert"], found["WEB", "key"]) == (f"/certificates/{addr}.crt", f"/certificates/{addr}.key")
    before = one.ini.read_bytes()
    assert enter(one, ADDR="other.example.com") == "ran start\n"
    assert one.ini.read_bytes() == before and one.ini.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("addr", ["", "localhost"])
def test_wrong_address(one, addr):
    """No server is made of nothing."""
    assert "ADDR" in enter(one, ADDR=addr, status=1)
    assert not one.ini.exists()


def test_without_pages(one):
    """WEB_MANUAL: the reference's port and no certificate."""
    enter(one, ADDR="smp1.example.com", WEB_MANUAL="1")
    found = settings(one)
    assert found["TRANSPORT", "port"] == "5223"
    assert not {("WEB", "https"), ("WEB", "cert"), ("WEB", "key")} & set(found)


def test_password(one):
    """By variable, or by a file, which comes first."""
    (one.root / "secret").write_text("from-file\n")
    enter(one, ADDR="192.0.2.7", PASS="from-variable", PASS_FILE=str(one.root / "secret"))
    assert settings(one)["AUTH", "create_password"] == "from-file"


def test_our_variables(one):
    """Ports, source code, control port."""
    enter(one, ADDR="192.0.2.7", PASS="x", PORT="6223", WEB_HTTP="8000", SOURCE_CODE="https://example.com/fork",
          CONTROL_PORT="7224")
    found = settings(one)
    assert found["TRANSPORT", "port"] == "6223" and found["WEB", "http"] == "8000"
    assert found["INFORMATION", "source_code"] == "https://example.com/fork"
    assert found["TRANSPORT", "control_port"] == "7224" and found["AUTH", "create_password"] == "x"


def test_words_instead(one):
    """Another command of the image."""
    assert enter(one, "smp-server", "-v").startswith("ran -v\nSMP server v")
    assert not one.ini.exists()


def test_failed_init(one):
    """What went wrong is heard, and nothing starts."""
    said = enter(one, ADDR="192.0.2.7", PASS="a b", status=1)
    assert "see above" in said and "password" in said and "ran start" not in said


def test_copies_before_a_start(one):
    """As the reference: the copies that a stop would make."""
    enter(one, ADDR="192.0.2.7")
    (one.state / "smp-server-store.log").write_text("x\n")
    enter(one)
    assert len(list((one.state / "backups" / "queues").iterdir())) == 1


COMPOSE = {
    "": {"ports": ["443:443", "5223:5223", "80:80"], "needs": {"ADDR", "PASS", "ACME_AGREE"}},
    "complete": {"ports": ["443:443", "5223:5223"], "needs": {"CADDY_OPTS", "ADDR", "PASS", "CERT_PATH"}},
    "manual": {"ports": ["5223:5223"], "needs": {"ADDR", "PASS", "WEB_MANUAL"}}}


@pytest.mark.parametrize("name", COMPOSE)
def test_compose(name):
    """Volumes, ports and variables are the reference's; both names of the image variable count."""
    yaml = pytest.importorskip("yaml")
    file = f"docker-compose-smp-{name}".rstrip("-")
    text = (CONTAINER / f"{file}.yml").read_text()
    service = yaml.safe_load(text)["services"]["smp-server"]
    assert [str(port) for port in service["ports"]] == COMPOSE[name]["ports"]
    assert service["volumes"][:2] == ["./smp_configs:/etc/opt/simplex", "./smp_state:/var/opt/simplex"]
    assert service["image"] == "${SIMPLEX_IMAGE:-${SIMPLEX_SMP_IMAGE:-smp-server:latest}}"
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", text)) == COMPOSE[name]["needs"] | {"SIMPLEX_IMAGE", "SIMPLEX_SMP_IMAGE"}
    example = (CONTAINER / f"{file}.env").read_text()
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) <= COMPOSE[name]["needs"]
