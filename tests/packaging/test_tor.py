# SPDX-License-Identifier: AGPL-3.0-or-later
"""The files for Tor, judged by Tor itself."""

import re
import shutil
import subprocess

import pytest
from conftest import REPO

FOLDER = REPO / "packaging" / "tor"
pytestmark = pytest.mark.skipif(shutil.which("tor") is None, reason="no tor")


def verify(tmp_path, text):
    """Does Tor take this as its torrc? Its folders are the test's."""
    (tmp_path / "data").mkdir(mode=0o700)
    torrc = tmp_path / "torrc"
    torrc.write_text(text.replace("/var/lib/tor-instances/simplex", str(tmp_path / "data")))
    done = subprocess.run(["tor", "--verify-config", "--defaults-torrc", "/dev/null", "-f", torrc,
                           "--DataDirectory", tmp_path / "data"], text=True, check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", ["onion", "socks"])
def test_accepted(tmp_path, name):
    """Without a warning but that the relay is not anonymous, which it need not be."""
    status, said = verify(tmp_path, (FOLDER / f"{name}.torrc").read_text())
    assert status == 0, said
    warnings = re.findall(r"\[(?:warn|err)\] (.*)", said)
    assert not [line for line in warnings if not re.search("anonym|as root", line, re.IGNORECASE)], said


@pytest.mark.parametrize("change", [("SocksPort 0", "SocksPort 9050"), ("HiddenServiceNonAnonymousMode 1", ""),
                                    ("127.0.0.1:5223", "127.0.0.1:nonsense")])
def test_refused(tmp_path, change):
    """What makes the onion file wrong is seen."""
    text = (FOLDER / "onion.torrc").read_text()
    assert change[0] in text
    status, said = verify(tmp_path, text.replace(*change))
    assert status != 0, said


def test_compose(tmp_path):
    """The options that the container gets make what onion.torrc makes."""
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load((REPO / "packaging" / "container" / "docker-compose-smp.yml").read_text())
    service = compose["services"]["tor"]
    assert service["profiles"] == ["tor"] and service["network_mode"] == "service:smp-server"
    options = [word.replace("/var/lib/tor", str(tmp_path)) for word in service["command"]]
    empty = tmp_path / "torrc"
    empty.touch()
    done = subprocess.run([*options, "--defaults-torrc", "/dev/null", "-f", empty, "--dump-config", "short"],
                          text=True, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60)
    taken = {line for line in done.stdout.splitlines() if re.match("HiddenService|SocksPort", line)}
    torrc = (FOLDER / "onion.torrc").read_text().replace("/var/lib/tor-instances/simplex", str(tmp_path))
    assert taken == set(re.findall(r"^(?:HiddenService|SocksPort).*$", torrc, re.MULTILINE))
    assert done.returncode == 0


def test_ports():
    """They are those of `init` and of its SOCKS proxy."""
    ini = (REPO / "tests" / "cli" / "golden" / "smp-server.ini.txt").read_text()
    ports = re.search(r"^#? *port = ([\d,]+)", ini, re.MULTILINE)[1].split(",")
    onion = (FOLDER / "onion.torrc").read_text()
    assert re.findall(r"^HiddenServicePort (\d+) 127\.0\.0\.1:\1$", onion, re.MULTILINE) == ports
    assert "socks_proxy = localhost:9050" in ini and "SocksPort 127.0.0.1:9050\n" in (FOLDER / "socks.torrc").read_text()
