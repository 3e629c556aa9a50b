# SPDX-License-Identifier: AGPL-3.0-or-later
"""The StackScript and the user data for cloud-init: on a machine with nothing, with a release to fetch.

What they call of the system (apt-get, ufw, hostname, su) is noted by stand-ins, and curl has the release and
Linode's answers.
"""

import hashlib
import re
import shutil
import subprocess

import pytest
from machine import Machine
from program import TIMEOUT
from service import REPO, STUBS
from smp_client import drain, fill

CLOUD = REPO / "packaging" / "cloud"
NOTED = "#!/bin/sh\necho \"$(basename \"$0\") $*\" >>\"$STUB/done\"\n"
CURL = NOTED + """
for url; do case $url in https://api.linode.com/*) [ ! -e "$STUB/no-api" ] || exit 22; echo '{"data": [{"id": 42}]}'; exit ;; esac; done
while [ "$1" != --output ]; do shift; done
cp "$RELEASE/${3##*/}" "$2"
"""
# Ports of a test in the settings that init makes.
SU = NOTED + """
sh -euc "$3"
case $3 in *" init "*) sed -i "s/^port = .*/port = $PORT\\nbind = 127.0.0.1/" "$SMP_SERVER_CFG_PATH/smp-server.ini" ;; esac
"""


@pytest.fixture(name="machine")
def fixture_machine(binary, tmp_path, release):
    """A machine with nothing installed."""
    one = Machine(binary, tmp_path)
    shutil.copy(STUBS / "systemctl", one.bin)
    for name, text in {"curl": CURL, "su": SU, "apt-get": NOTED, "ufw": NOTED, "hostname": "#!/bin/sh\necho 192.0.2.1 2001:db8::1\n"}.items():
        (one.bin / name).write_text(text)
        (one.bin / name).chmod(0o755)
    for name in ("root", "log"):
        (tmp_path / name).mkdir()
    one.release = release
    one.environment.update(RELEASE=str(release), PORT=str(one.port), LINODE_ID="7", ENABLE_STORE_LOG="on", API_TOKEN="", FQDN="",
                           RELEASES="https://releases.invalid/smp", INSTALL_SHA256=sha256(release / "install.sh"))
    yield one
    one.end()


def sha256(path):
    """As sha256sum prints it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(one, shell, text, status=0, **environment):
    """Runs a script with the folders of the test; gives all that it did."""
    for place, mine in {"/root": "root", "/var/log": "log", "/etc/motd": "motd"}.items():
        text = re.sub(rf"(?<![\w$]){place}\b", str(one.root / mine), text)
    text = text.replace("/etc/opt/simplex", str(one.config))
    done = subprocess.run([shell, "-c", text], env={**one.environment, **environment}, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False)
    assert done.returncode == status, done.stdout
    path = one.stub / "done"
    return path.read_text() if path.exists() else ""


def serves(one):
    """It runs and keeps messages over a restart; gives its address."""
    queue = fill(one, [b"one"])
    assert one.systemctl("restart", "smp-server") == 0
    assert drain(one, queue) == [b"one"]
    return (one.root / "root" / "smp-server-address").read_text().strip()


def stackscript(one, **options):
    """Runs it."""
    return run(one, "bash", (CLOUD / "stackscript.sh").read_text(), **options)


def test_stackscript(machine):
    """With nothing filled in but the release: a server at the machine's address; Linode is not asked."""
    did = stackscript(machine)
    assert serves(machine).endswith(f"@192.0.2.1:{machine.port}")
    assert "api.linode.com" not in did and "ufw allow ssh" in did
    assert did.index("ufw allow ssh") < did.index("ufw --force enable")
    assert "Is it well: simplex-servers-health" in (machine.root / "motd").read_text()
    assert not re.search(r"^(https|cert|key) =", machine.ini.read_text(), re.MULTILINE)


def test_stackscript_with_name(machine):
    """The record is made in the zone of the name, tags for the machine; the token is in a header alone."""
    did = stackscript(machine, FQDN="smp.example.com", API_TOKEN="secret")
    assert serves(machine).endswith(f"@smp.example.com:{machine.port}")
    assert 'X-Filter: {"domain": "example.com"}' in did
    assert '{"type": "A", "name": "smp", "target": "192.0.2.1", "ttl_sec": 300} https://api.linode.com/v4/domains/42/records' in did
    assert re.search(r'--data \{"tags": \["[\w-]{43}=", "smp.example.com", "SMP server v[^"]*"\]\} '
                     r"https://api.linode.com/v4/linode/instances/7\n", did)


def test_stackscript_without_linode(machine):
    """An API that does not answer leaves a server that runs, and says what is left to do."""
    (machine.stub / "no-api").touch()
    stackscript(machine, FQDN="smp.example.com", API_TOKEN="secret")
    assert serves(machine)


def test_stackscript_without_store_log(machine):
    """As its field says."""
    stackscript(machine, ENABLE_STORE_LOG="off")
    assert "\nenable = off\n" in machine.ini.read_text()


def test_other_installer(machine):
    """What is not the install.sh that was named is not run."""
    stackscript(machine, INSTALL_SHA256="0" * 64, status=1)
    assert not machine.ini.exists() and not (machine.bin / "smp-server").exists()


def test_fields():
    """The fields of the reference's script are there, and those that we need more."""
    names = re.findall(r'^# <UDF name="(\w+)" label="[^"]+"', (CLOUD / "stackscript.sh").read_text(), re.MULTILINE)
    assert names == ["enable_store_log", "api_token", "fqdn", "releases", "install_sha256"]


def user_data():
    """The user data."""
    return pytest.importorskip("yaml").safe_load((CLOUD / "user-data.yaml").read_text())


@pytest.mark.parametrize("password", ["", "secret"])
def test_user_data(machine, password):
    """The script in it makes a server when its lines are filled in."""
    text = user_data()["write_files"][0]["content"]
    for name, value in (("PASSWORD", password), ("RELEASES", machine.environment["RELEASES"]),
                        ("INSTALL_SHA256", machine.environment["INSTALL_SHA256"])):
        text, count = re.subn(rf"^{name}=\S*", f"{name}={value}", text, flags=re.MULTILINE)
        assert count == 1
    run(machine, "sh", text)
    assert ("\ncreate_password = secret\n" in machine.ini.read_text()) == bool(password)
    address = (machine.root / "root" / "smp-server-address").read_text()
    assert f"{':secret' if password else ''}@smp.example.com:{machine.port}\n" in address
    assert machine.systemctl("is-active") == 0


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="no cloud-init")
def test_schema():
    """cloud-init takes it."""
    done = subprocess.run(["cloud-init", "schema", "--config-file", CLOUD / "user-data.yaml"], text=True, check=False,
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_shellcheck():
    """It has nothing to say about either."""
    for text in ((CLOUD / "stackscript.sh").read_text(), user_data()["write_files"][0]["content"]):
        done = subprocess.run(["shellcheck", "-"], input=text, text=True, check=False, capture_output=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "")
