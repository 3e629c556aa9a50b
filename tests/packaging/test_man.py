# SPDX-License-Identifier: AGPL-3.0-or-later
"""The manual pages are up to date, complete, and roff without faults."""

import re
import shutil
import subprocess

import pytest
from conftest import REPO

PAGES = [REPO / "docs/man/smp-server.1", REPO / "docs/man/smp-server.ini.5", REPO / "docs/man/simplex-servers.8"]


def test_up_to_date(binary):
    """As `make docs` would write them."""
    done = subprocess.run([REPO / "tools/make-man", "--check", binary], text=True, check=False,
                          stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_roff(page):
    """groff has nothing to say about it."""
    done = subprocess.run(["groff", "-ww", "-z", "-man", "-Tutf8", "-K", "utf8", page], text=True,
                          check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_all_settings():
    """Each row of the table has its paragraph."""
    table = (REPO / "docs/generated/options.md").read_text()
    keys = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    page = PAGES[1].read_text()
    assert keys == re.findall(r"^\.TP\n\\fB(\w+)\\fP$", page, re.MULTILINE)
    assert len(keys) > 50


def test_all_commands(binary):
    """Each command of the program has its heading."""
    said = subprocess.run([binary, "-h"], text=True, check=True, stdout=subprocess.PIPE, timeout=60).stdout
    names = re.findall(r"^  ([a-z]+)  ", said, re.MULTILINE)
    assert names[:2] == ["init", "start"]
    page = PAGES[0].read_text()
    for name in names:
        assert re.search(rf"^\.SS {name}\b", page, re.MULTILINE), name


def test_all_scripts():
    """Each installed script has a page of its name, which leads to the one with its heading."""
    rows = [line.split() for line in (REPO / "tests/packaging/installed.txt").read_text().splitlines()
            if not line.startswith("#")]
    names = [path.rsplit("/", 1)[1] for mode, path, *_ in rows if mode == "755" and "simplex-servers-" in path]
    assert "simplex-servers-backup" in names
    for name in names:
        assert (REPO / f"docs/man/{name}.8").read_text().endswith(".so man8/simplex-servers.8\n")
        assert f".SH {name.upper()}\n".replace("-", "\\-") in PAGES[2].read_text()
