# SPDX-License-Identifier: AGPL-3.0-or-later
"""The guide of docs/guide: its commands are typed, page by page, each page on a machine of its own.

Paths and ports are those of the test; su, systemctl, journalctl and nc are stand-ins (stubs/). Blocks
with `sh chroot` are run by `make check-deb`.
"""

import os
import re
import shutil
import subprocess

import pytest
from guide import KINDS, PAGES, REPO, blocks
from program import TIMEOUT, free_ports
from service import STUBS, Service
from smp_client import drain, fill

NAMES = [page.name for page in PAGES]
BODIES = [b"one", b"two" * 1000, b"three"]
LINK = re.compile(r"\]\(([^)#:]*)(#[^)]*)?\)")


@pytest.fixture(name="host")
def fixture_host(binary, tmp_path):
    """A machine where nothing is set up. After init the server has ports that are free."""
    one = Service(binary, tmp_path)
    control, http, metrics = (str(port) for port in free_ports(3))
    one.places = {"/etc/opt/simplex": str(one.config), "/var/opt/simplex": str(one.state),
                  "/var/backups": str(tmp_path / "backups"), "/root": str(tmp_path / "root"),
                  "5224": control, "8000": http, "9100": metrics, "443": str(one.port)}
    (tmp_path / "root").mkdir()
    for stub in STUBS.iterdir():
        shutil.copy(stub, one.bin)
    (one.bin / "smp-server").unlink()
    (one.bin / "smp-server").write_text(f"""#!/bin/sh
[ "$1" = init ] || exec {one.binary} "$@"
{one.binary} "$@" || exit
[ ! -e "$SMP_SERVER_CFG_PATH/smp-server.ini" ] || sed -i 's/^port = .*/port = {one.port}\\nbind = 127.0.0.1/; s/^https = .*/https = {one.port}/
s/^control_port = .*/control_port = {control}/' "$SMP_SERVER_CFG_PATH/smp-server.ini"
""")
    (one.bin / "smp-server").chmod(0o755)
    yield one
    one.end()


def here(one, text):
    """A text of the guide with the paths and ports of the test."""
    return re.sub("|".join(rf"(?<![\w./]){re.escape(place)}\b" for place in one.places),
                  lambda found: one.places[found[0]], text)


def type_in(one, text):
    """Gives commands to the shell; gives all that they say."""
    done = subprocess.run(["sh", "-euc", here(one, text)], env=one.environment, cwd=one.root / "root", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          timeout=TIMEOUT, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}"
    return done.stdout


def edit(one, text):
    """Sets what the guide says in the settings file."""
    section = None
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line:
            key, value = line.split(" = ")
            one.set(section, key, here(one, value))


def password(one):
    """For new queues."""
    found = re.search(r"^create_password = (\S+)", one.ini.read_text(), re.MULTILINE)
    return found and found[1].encode()


def is_as_shown(said, shown):
    """Does the output have this form?"""
    return re.fullmatch(re.escape(shown.strip()).replace(r"\.\.\.", r"[\s\S]*"), said.strip())


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffixes == [".md"]], ids=lambda page: page.name)
def test_page(host, page):
    """What is to be typed works, in its order, and says what is shown; messages outlive all of it."""
    if page.name == "backup.md" and os.geteuid() != 0:
        pytest.skip("only root restores over a server that runs")
    said, queue = "", None
    for block in blocks(page):
        if (block.kind, block.how) == ("sh", "run"):
            said = type_in(host, block.text)
            if queue is None and host.systemctl("is-active") == 0:
                queue = fill(host, BODIES, password(host))
        elif block.kind == "ini":
            edit(host, block.text)
        elif block.kind == "output":
            assert is_as_shown(said, block.text), f"{page.name}:{block.line}: {said}"
    if not host.ini.exists():
        return
    assert host.run("start", "--print-config").stderr == "", "remarks about the settings"
    if queue is not None:
        assert host.systemctl("is-active") == 0 or host.systemctl("start") == 0
        assert drain(host, queue) == BODIES


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_blocks(page):
    """Each is of a kind that is known, and says why when it is not run; a shell can read its commands."""
    for block in blocks(page):
        assert block.kind in KINDS and KINDS[block.kind].fullmatch(block.how), f"{page.name}:{block.line}"
        if block.kind == "sh":
            done = subprocess.run(["sh", "-n"], input=block.text, text=True, check=False, capture_output=True, timeout=60)
            assert done.returncode == 0, f"{page.name}:{block.line}: {done.stderr}"


@pytest.mark.parametrize("language", ["fr", "ja"])
def test_translations(language):
    """They have the commands of the English page."""
    english, other = (blocks(REPO / "docs" / "guide" / name) for name in ("quick-start.md", f"quick-start.{language}.md"))
    assert [block[1:] for block in english] == [block[1:] for block in other] and english


def heading(line):
    """The anchor that a heading gets."""
    return "#" + re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links(page):
    """Links lead to files that are there, and to headings in them."""
    for name, anchor in LINK.findall(page.read_text()):
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {name}"
        if anchor:
            assert anchor in [heading(line) for line in target.read_text().splitlines() if line.startswith("#")], f"{name}{anchor}"


def test_contents():
    """The first page leads to all others."""
    first = (REPO / "docs" / "guide" / "README.md").read_text()
    assert [name for name in NAMES if name != "README.md" and f"]({name})" not in first] == []
