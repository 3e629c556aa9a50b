# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `meson install` installs, and where to."""

import json
import subprocess

import pytest
from conftest import REPO

LIST = REPO / "tests" / "packaging" / "installed.txt"


def options_of(build):
    """The options of a build folder: names to values."""
    out = subprocess.run(["meson", "introspect", "--buildoptions", build], check=True, text=True,
                         stdout=subprocess.PIPE, timeout=300).stdout
    return {option["name"]: option["value"] for option in json.loads(out)}


def expected(options):
    """Path to mode, by the list."""
    prefix, etc = options["prefix"], options["sysconfdir"]
    dirs = {"prefix": prefix, "sysconfdir": etc if etc.startswith("/") else f"{prefix}/{etc}",
            "units": options["systemd_unit_dir"] or f"{prefix}/lib/systemd/system"}
    rows = [line.split() for line in LIST.read_text().splitlines() if not line.startswith("#")]
    return {path.format(**dirs): mode for mode, path in rows}


def test_staged(binary, staged):
    """DESTDIR is honoured, and all files with their modes are in the list."""
    found = {f"/{path.relative_to(staged)}": f"{path.stat().st_mode & 0o7777:o}"
             for path in staged.rglob("*") if not path.is_dir()}
    assert found == expected(options_of(binary.parent))


@pytest.fixture(scope="module", name="usr")
def fixture_usr(tmp_path_factory):
    """A build folder as a distribution makes it, not built."""
    build = tmp_path_factory.mktemp("usr") / "build"
    subprocess.run(["meson", "setup", build, REPO, "--prefix=/usr", "--sysconfdir=/etc",
                    "-Dsystemd_unit_dir=/units", "-Dtests=disabled"], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=300)
    return build


def test_distribution(usr):
    """Where a distribution installs: settings in /etc, units where it says."""
    out = subprocess.run(["meson", "introspect", "--installed", usr], check=True, text=True,
                         stdout=subprocess.PIPE, timeout=300).stdout
    found = set(json.loads(out).values())
    assert found == set(expected(options_of(usr)))
    assert {"/usr/bin/smp-server", "/etc/ufw/applications.d/smp-server",
            "/units/smp-server.service"} <= found


def test_unit_runs_what_is_installed(binary, staged, usr):
    """The unit names the program where the prefix puts it."""
    prefix = options_of(binary.parent)["prefix"]
    unit = next(staged.rglob("smp-server.service")).read_text()
    assert f"ExecStart={prefix}/bin/smp-server start\n" in unit
    assert "ExecStart=/usr/bin/smp-server start\n" in (usr / "packaging/smp-server.service").read_text()
